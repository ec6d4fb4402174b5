"""Each notebook runs from its first cell to its last, as by *Run All*, but at the size of a smoke test.

nbval runs those for exploring in kernels, as JupyterLab does, and the first of them runs the stages it needs
itself. The notebooks of stages run in forks of one process (see `warm`).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import papermill
import pytest
import warm
from smoke import ROOT, SHORT

EXPLORING = ("compare_teachers", "explore", "tag_your_own")
NOTEBOOKS = sorted(ROOT.glob("notebooks/**/*.ipynb"), key=lambda path: (path.stem != EXPLORING[0], path))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Where the notebooks work; what one of them makes, the next ones find."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def forks(tmp_path_factory) -> Iterator[str]:
    """The address of the process that runs notebooks in its forks."""
    address = tmp_path_factory.mktemp("forks") / "socket"
    with warm.serving(address, ROOT, dict(os.environ)):
        yield str(address)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, workspace, forks, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("JUPYTER_PATH", str(ROOT / ".jupyter"))  # as the Makefile does
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    parameters = {"workspace": str(workspace)}
    if notebook.stem != "tag_your_own":  # which has files of its own
        parameters |= {"size": "smoke", "overrides": " ".join(SHORT)}
    executed = str(workspace / notebook.name)
    if notebook.stem in EXPLORING:
        prepared = (
            ROOT / "scratch" / "prepared" / notebook.name
        )  # below params.yaml, which a notebook looks for
        prepared.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(notebook, prepared, parameters, prepare_only=True, progress_bar=False)
        nbval = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-p", "no:xdist"]
        command = [sys.executable, "-m", "pytest", "-q", *nbval, f"--rootdir={prepared.parent}", prepared]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
    else:
        given = [word for name, value in parameters.items() for word in ("-r", name, value)]
        assert warm.ask(forks, [str(notebook), executed, "-k", "python3", *given]) == 0
