"""The study with every point of its ablations and three seeds; its report goes to `reports/full`.

`make full` runs this file, in a scratch copy that leaves the working tree's results alone. Cache and
verdict store are the project's own: what was computed there is not computed again, and a run that was
interrupted goes on at the point where it was.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from smoke import ROOT, copy_study

from lmtx import report
from lmtx.config import load_config


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="lmtx-full-") as scratch:
        folder = Path(scratch).resolve()
        environment = copy_study(folder, ["size=full"], results=True)
        (folder / "data" / "verdicts.sqlite").symlink_to(ROOT / "data" / "verdicts.sqlite")
        for command in (
            ["config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")],
            ["checkout", "--quiet", "--allow-missing"],
            ["repro", "evaluate", "ablations"],
        ):
            finished = subprocess.run([sys.executable, "-m", "dvc", *command], cwd=folder, env=environment)
            if finished.returncode:
                return finished.returncode
        for kind in ("ablations", "corpus", "metrics"):
            target = ROOT / "reports" / "full" / kind
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder / "reports" / kind, target)
        name = load_config(folder / "params.yaml").dataset.name
    paths = report.write(ROOT / "reports" / "full", name)
    print(f"{len(paths)} files; open {paths[-1].relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
