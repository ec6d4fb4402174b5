"""Each notebook runs from its first cell to its last, as by *Run All*, but at the size of a smoke test.

The report needs what the notebooks of all stages make, so it runs these first. nbval runs one notebook in a
kernel, as JupyterLab does; the others run in forks of one process (see `warm`), which imports once.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import papermill
import pytest
import warm
from own_sets import SETS, right, untrained
from smoke import ROOT, SHORT
from tiny_encoders import small_encoder

from lmtx import Tagger

NOTEBOOKS = ROOT / "notebooks"
EXPLORING = {"compare_teachers", "explore", "tag_your_own"}


@pytest.fixture(scope="module", autouse=True)
def surroundings() -> Iterator[None]:
    """The project's folder and its kernel, as the Makefile has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("JUPYTER_PATH", str(ROOT / ".jupyter"))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Where the notebooks work; what one of them makes, the next ones find."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> dict[str, str]:
    """Parameters of a small study."""
    encoder = small_encoder(tmp_path_factory.mktemp("encoder") / "small")
    return {"size": "smoke", "overrides": " ".join([*SHORT, *encoder])}


@pytest.fixture(scope="module")
def run(tmp_path_factory, workspace) -> Iterator[Callable[..., None]]:
    """Runs a notebook of this name, with these parameters, in a fork."""
    address = tmp_path_factory.mktemp("forks") / "socket"

    def run(name: str, **parameters: str) -> None:
        parameters["workspace"] = str(workspace)
        given = [word for key, value in parameters.items() for word in ("-r", key, value)]
        files = [str(NOTEBOOKS / f"{name}.ipynb"), str(workspace / f"{name}.ipynb")]
        assert warm.ask(str(address), ["papermill", *files, "-k", "python3", *given]) == 0

    with warm.serving(address, ROOT, dict(os.environ)):
        yield run


def test_the_report_runs_the_notebooks_of_all_stages_first(run, workspace, smoke):
    run("07_report", **smoke)
    ran = {path.stem.partition("-")[0] for path in (workspace / "reports" / "notebooks").iterdir()}
    files = [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("stages/*.ipynb")]
    assert ran == {file.stem for file in files} - EXPLORING - {"07_report"}
    assert (workspace / "reports" / "index.html").is_file()


def test_teachers_are_compared(run, smoke):
    run("compare_teachers", **smoke)


def test_a_notebook_runs_in_a_kernel(workspace, smoke):
    # Below params.yaml, which a notebook looks for.
    prepared = ROOT / "scratch" / "prepared" / "explore.ipynb"
    prepared.parent.mkdir(parents=True, exist_ok=True)
    parameters = {"workspace": str(workspace), **smoke}
    papermill.execute_notebook(
        NOTEBOOKS / "explore.ipynb", prepared, parameters, prepare_only=True, progress_bar=False
    )
    nbval = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-q", *nbval, f"--rootdir={prepared.parent}", prepared]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_makes_a_tagger_that_is_better_than_the_encoder(run, workspace):
    """Its promise, with the recorded verdicts of the 1.5B model."""
    run("tag_your_own")
    tagger, (_, _, measured) = Tagger.load(workspace / "tagger"), SETS["help desk"]()
    assert tagger.card["outcome"].startswith("Kept: after cycle")
    assert "in another wording, the first labels are better" in tagger.card["outcome"]
    assert right(tagger, measured).mean() >= right(untrained(tagger), measured).mean() + 0.08
