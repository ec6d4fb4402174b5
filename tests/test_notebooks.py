"""Each notebook runs from its first cell to its last, as by *Run All*, but at the size of a smoke test."""

import os
import subprocess
import sys
from pathlib import Path

import papermill
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/**/*.ipynb"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Where the notebooks work; what one of them makes, the next ones find."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, workspace):
    parameters = {"workspace": str(workspace), "size": "smoke"}
    if notebook.stem == "tag_your_own":  # which has files of its own
        del parameters["size"]
    prepared = (
        ROOT / "scratch" / "prepared" / notebook.name
    )  # below the parameters, which a notebook looks for
    prepared.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(notebook, prepared, parameters, prepare_only=True, progress_bar=False)
    nbval = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *nbval, f"--rootdir={prepared.parent}", prepared],
        env=os.environ | {"JUPYTER_PATH": str(ROOT / ".jupyter")},  # as the Makefile does
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
