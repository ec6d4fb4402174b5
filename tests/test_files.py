"""Destinations: every command that writes looks at the path first, and leaves alone what is not its own."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import encoder_config, label_table, random_texts, save_tiny_encoder

from lmtx import cli
from lmtx.encoder import Encoder
from lmtx.files import DestinationError, check_destination, replacing
from lmtx.tagger import Tagger
from lmtx.teachers.store import VerdictStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tagger, a store with a verdict, documents and labels; copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    encoder = Encoder.load(encoder_config(save_tiny_encoder(folder / "tiny")))
    Tagger.build(encoder, label_table(random_texts(30, longest=10, seed=2))).export(folder / "tagger")
    with VerdictStore(folder / "verdicts.sqlite") as store:
        teacher = store.teacher("tiny", {"model": "tiny"})
        keys = np.zeros((1, 16), np.uint8)
        store.save(teacher, keys, ["a"], ["b"], np.ones(1, np.float32), np.ones(1, np.int8))
    (folder / "docs.jsonl").write_text('{"text": "ant1"}\n')
    (folder / "labels.txt").write_text("ant1\nbee1\n")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """The current folder: what was made, the user's own notes, a pipe, and links to some of it."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for folder in ("mine", "empty"):
        os.mkdir(folder)
    for file in ("mine/notes", "notes"):
        with open(file, "w") as out:
            out.write("mine")
    os.mkfifo("pipe")
    os.symlink("mine", "link")
    os.symlink("tagger", "linked")
    os.symlink("verdicts.sqlite", "linked.sqlite")
    return tmp_path / "here"


def listing():
    """Every path with its content."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


VERDICTS = ["verdicts", "export", "--store", "verdicts.sqlite"]
LEARN = ["learn", "docs.jsonl", "labels.txt", "-o"]
REVIEW = ["review", "tagger", "docs.jsonl", "--answers"]


@pytest.mark.parametrize(
    ("command", "destination", "message"),
    [
        (VERDICTS, "mine", "mine is a folder; name a file"),
        (VERDICTS, "link", "link is a folder; name a file"),
        (VERDICTS, "verdicts.sqlite", "verdicts.sqlite is read at the same time"),
        (VERDICTS, "linked.sqlite", "linked.sqlite is read at the same time"),
        (VERDICTS, "notes", "notes is there and is another kind of file"),
        (VERDICTS, "pipe", "pipe is a device or a pipe"),
        (VERDICTS, ".", ". is the current folder"),
        (VERDICTS, "notes/out.parquet", "notes is no folder that you may write to"),
        (["verdicts", "merge", "verdicts.sqlite", "--store"], "mine", "mine is a folder; name a file"),
        (["export", "tagger"], "mine", "mine is there and holds no model"),
        (["export", "tagger"], "notes", "notes is a file; name a folder"),
        (["export", "tagger"], "linked", "linked is read at the same time"),
        (["export", "tagger"], "..", ".. is the current folder, or one around it"),
        (LEARN, "link", "link is there and holds no model"),
        (LEARN, "pipe", "pipe is a device or a pipe"),
        (LEARN, "/", "/ is where a file system begins"),
        (REVIEW, "docs.jsonl", "docs.jsonl is read at the same time"),
        (REVIEW, "mine", "mine is a folder; name a file"),
    ],
)
def test_nothing_of_the_users_is_replaced(here, capsys, command, destination, message):
    before = listing()
    assert cli.main([*command, destination]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lmtx: ")]
    assert len(errors) == 1 and message in errors[0]
    assert listing() == before


def test_a_tagger_is_not_replaced_from_within(here, monkeypatch, capsys):
    """A shell that stands in it would be left in a folder that is gone."""
    monkeypatch.chdir("tagger")
    for folder in (".", "../tagger"):
        assert cli.main(["add-labels", folder, "../labels.txt"]) == 1
        assert f"{folder} is the current folder" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["docs.jsonl", "-", "texts"])
def test_answers_do_not_go_into_what_is_tagged(here, source, monkeypatch, capsys):
    os.mkdir("texts")
    out = "texts/out.txt" if source == "texts" else "docs.jsonl"
    with open(out, "a") as file, open("docs.jsonl") as given:
        monkeypatch.setattr("sys.stdout", file)
        monkeypatch.setattr("sys.stdin", given)
        assert cli.main(["tag", "tagger", source]) == 1
    assert "is to be tagged; name another file" in capsys.readouterr().err
    assert os.path.getsize("docs.jsonl") == 17


def test_results_go_through_links_and_stay_out_of_the_way(here):
    os.symlink("empty", "other")
    assert cli.main(["export", "tagger", "other"]) == 0
    assert os.path.islink("other") and Tagger.load("empty")
    # A tagger that is published from its folder keeps its history.
    os.mkdir("tagger/.git")
    shutil.copy("notes", "tagger/.git/config")
    assert cli.main(["add-labels", "linked", "labels.txt"]) == 0
    assert os.path.islink("linked") and len(Tagger.load("tagger").labels) == 32
    assert (here / "tagger/.git/config").read_text() == "mine"


def test_a_replaced_tagger_keeps_none_of_its_scales_and_thresholds(here):
    assert cli.main(["export", "tagger", "small", "--int8"]) == 0
    Tagger.load("tagger").export("small")
    assert Tagger.load("small").labels.storage == "float32"
    assert not os.path.exists("small/label_scales.npy")


@pytest.mark.parametrize("there", ["mine", "notes"])
def test_a_file_replaces_no_folder_and_a_folder_no_file(here, there):
    with pytest.raises(DestinationError, match=rf"{there} is a"), replacing(there) as scratch:
        scratch.write_text("new") if there == "mine" else scratch.mkdir()
    assert (here / "mine/notes").read_text() == (here / "notes").read_text() == "mine"


def test_a_killed_run_of_the_same_number_is_not_in_the_way(here):
    (here / f".out.{os.getpid()}.part").mkdir()
    with replacing("out") as scratch:
        scratch.mkdir()
    assert os.path.isdir("out") and not os.path.exists(f".out.{os.getpid()}.part")


def test_where_files_are_written_is_checked_beforehand(here):
    check_destination("new/deep/file")
    check_destination("empty", folder=True)
    with pytest.raises(DestinationError, match="notes is no folder that you may write to"):
        check_destination("notes/deep/folder", folder=True)
