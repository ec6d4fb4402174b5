"""The study of pydocs with every point of its ablations and three seeds; its report goes to `reports/full`.

`make full` runs this file. The stages run in a copy of the project within `.dvc/tmp`, so that the working
tree's results stay as they are. Cache and verdict store are the project's own: what is there is not
computed again. The copy goes when the run is complete; one that was interrupted goes on in it.
"""

import os
import shutil
import subprocess
import sys

import yaml
from smoke import ROOT, copy_study, run

from lmtx import report
from lmtx.config import load_config

COPY = ROOT / ".dvc" / "tmp" / "full"


def points() -> list[list[list[str]]]:
    """The points in groups of two chains: those that start from E0, then those that go on from one."""
    previous = {
        f"ablate@{name}": point["previous"]
        for name, point in yaml.safe_load((COPY / "params.yaml").read_text())["ablations"].items()
    }
    first = [stage for stage in previous if previous[stage] == "zero-shot"]
    later = [stage for stage in previous if stage not in first]
    return [
        [["--single-item", *stages[half::2]] for half in (0, 1) if stages[half:]] for stages in (first, later)
    ]


def main() -> int:
    begun = COPY.exists()
    COPY.mkdir(parents=True, exist_ok=True)
    environment = copy_study(COPY, ["dataset=pydocs", "size=full"], results=not begun)
    # Points are small: two of them side by side, each on half of the cores, take less time.
    halved = environment | {"OMP_NUM_THREADS": str(max(1, os.cpu_count() // 2))}
    store = COPY / "data" / "verdicts.sqlite"
    if not store.is_symlink():
        store.symlink_to(ROOT / "data" / "verdicts.sqlite")
    for command in (
        ["config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")],
        *([] if begun else [["checkout", "--quiet", "--allow-missing"]]),
        ["repro", "evaluate"],
    ):
        finished = subprocess.run([sys.executable, "-m", "dvc", *command], cwd=COPY, env=environment)
        if finished.returncode:
            return finished.returncode
    if status := run(COPY, halved, [*points(), [["ablations"]]]):
        return status
    full = ROOT / "reports" / "full"
    for kind in ("ablations", "corpus", "metrics"):
        target = full / kind
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(COPY / "reports" / kind, target)
    results = report.load(full, load_config(COPY / "params.yaml").dataset.name)
    paths = report.write(results, full)
    shutil.rmtree(COPY)
    print(f"{len(paths)} files; open {paths[-1].relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
