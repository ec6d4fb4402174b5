"""Each notebook runs from its first cell to its last, as by *Run All*, and prints no warning."""

from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/**/*.ipynb"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Where the notebooks work; what one of them makes, the next ones find."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_warns_of_nothing(notebook, workspace, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(ROOT / ".jupyter"))  # as the Makefile does
    parameters = {"workspace": str(workspace), "size": "smoke"}
    if notebook.stem == "tag_your_own":  # which has files of its own
        del parameters["size"]
    executed = workspace / f"{notebook.stem}.ipynb"
    papermill.execute_notebook(notebook, executed, parameters, kernel_name="python3", progress_bar=False)
    cells = nbformat.read(executed, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
