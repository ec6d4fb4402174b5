"""Run the whole study at tiny sizes in a scratch copy: a check that everything runs, not a result.

`make smoke` runs this file; the tests of the stages use its functions.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from warm import serving

from lmtx.config import compose

ROOT = Path(__file__).resolve().parents[1]
# Less text than by hand: nobody looks at the figures.
SHORT = ("dataset.train_documents=96", "encoder.document_tokens=16", "encoder.label_tokens=12")


def copy_study(folder: Path, overrides: list[str], results: bool = False) -> dict[str, str]:
    """Copy the project into `folder`, with its parameters composed from presets and `overrides`.

    Every file that git tracks or would add is copied; result files only with `results`. Returns the
    environment in which `dvc` uses the copy's code and leaves no trace elsewhere.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in names:
        result = name == "dvc.lock" or (name.startswith("reports/") and not name.endswith(".gitkeep"))
        source = ROOT / name
        if (source.is_file() or source.is_symlink()) and (results or not result):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    (folder / "params.yaml").write_text(yaml.safe_dump(compose(overrides, ROOT / "conf"), sort_keys=False))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    (folder / ".git" / "info" / "exclude").write_text("/.venv\n")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site"),
    }


def chains(folder: Path) -> list[list[list[str]]]:
    """Return the arguments of `dvc repro` in a copied study: groups to run in turn, each of parallel chains.

    At tiny sizes a stage is mostly the start of a kernel, on one core, so two chains take less time.
    """
    parameters = yaml.safe_load((folder / "params.yaml").read_text())
    cycles = [f"{stage}@{cycle}" for cycle in parameters["cycles"] for stage in ("label", "train")]
    points = [f"ablate@{point}" for point in parameters["ablations"]]
    baselines = [f"baseline@{name}" for name in parameters["baselines"]]
    work = [["--single-item", *cycles, *points], ["--single-item", *baselines, "supervised"]]
    scores = [["--single-item", stage] for stage in ("evaluate", "ablations")]
    return [[["encode"]], work, scores, [[]]]


def run(folder: Path, environment: dict[str, str], groups: list[list[list[str]]]) -> int:
    """Run the groups of `chains` in a copied study; return the first exit status that is not 0."""
    command = [folder / ".venv" / "bin" / "dvc", "--wait-for-lock", "repro"]
    for group in groups:
        running = [subprocess.Popen([*command, *chain], cwd=folder, env=environment) for chain in group]
        try:
            if status := next(filter(None, [process.wait() for process in running]), 0):
                return status
        finally:
            for process in running:
                process.terminate()
    return 0


@contextmanager
def warm(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Let `warm.py` stand in a copied study for its dvc, and for the papermill of its stages."""
    programs = folder / ".venv" / "bin"
    with serving(folder / "notebooks.socket", folder, environment) as command:
        (folder / ".venv").unlink()
        programs.mkdir(parents=True)
        for name in ("dvc", "papermill"):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join([*command, name])} "$@"\n')
            (programs / name).chmod(0o755)
        yield


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lmtx-smoke-") as scratch:
        folder = Path(scratch).resolve()
        environment = copy_study(folder, ["size=smoke", *SHORT]) | {"OMP_NUM_THREADS": "1"}
        with warm(folder, environment):
            if status := run(folder, environment, chains(folder)):
                return status
        for table in sorted((folder / "reports" / "tables").glob("t2_*.md")):
            print(f"\n{table.read_text().strip()}")
    print(f"\nThe study runs, in {time.monotonic() - started:.0f} s at tiny sizes. Its figures mean nothing.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
