"""`make repro` says what DVC needs before a stage runs, not after."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path):
    """A folder with the Makefile, a set-up that is done, and a `dvc` that only says that it runs."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / "Makefile", folder)
    dvc = folder / ".venv" / "bin" / "dvc"
    dvc.write_text("#!/bin/sh\necho dvc $@\n")
    dvc.chmod(0o755)
    return folder


def make_repro(folder):
    command = ["make", "-o", ".venv/project.toml", "repro"]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_an_archive_without_a_repository_is_told_how_to_go_on(project):
    code, said = make_repro(project)
    assert code and "run git init, then make repro again" in said and "dvc repro" not in said
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    code, said = make_repro(project)
    assert code == 0 and "dvc repro" in said


@pytest.mark.parametrize(
    "link", ["data", "data/processed", "data/processed/semanlink", "models", "models/own"]
)
def test_a_folder_on_another_disk_is_refused_before_the_stages_run(project, tmp_path, link):
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    (project / link).parent.mkdir(parents=True, exist_ok=True)
    (project / link).symlink_to(tmp_path)
    code, said = make_repro(project)
    assert code and f"{link} is a link" in said and "dvc repro" not in said
