"""Destinations: every command that writes looks at the path first, and leaves alone what is not its own."""

import ctypes
import itertools
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import encoder_config, label_table, random_texts, save_tiny_encoder

from lmtx import cli
from lmtx.encoder import Encoder
from lmtx.files import DestinationError, check_destination, replacing
from lmtx.tagger import Tagger
from lmtx.tagger.stream import tag_stream
from lmtx.teachers.store import VerdictStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tagger, a store with a verdict, documents and labels; copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    encoder = Encoder.load(encoder_config(save_tiny_encoder(folder / "tiny")))
    Tagger.build(encoder, label_table(random_texts(30, longest=10, seed=2))).export(folder / "tagger")
    with VerdictStore(folder / "verdicts.sqlite") as store:
        teacher = store.teacher("tiny", {"model": "tiny"})
        keys = np.zeros(1, "V16")
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


# --- files of other people -----------------------------------------------------------------------


def as_anybody(*arguments):
    """Run a command for which permissions hold, also where root runs the tests."""

    def drop():
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP

    command = [sys.executable, "-m", "lmtx.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=drop)


@pytest.fixture
def locked(here):
    """A folder with a store in it, where nobody may write."""
    (here / "locked").mkdir()
    shutil.copy("verdicts.sqlite", "locked")
    os.chmod("locked/verdicts.sqlite", 0o444)
    os.chmod("locked", 0o555)
    yield
    os.chmod("locked", 0o755)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (["list", "--store", "locked/verdicts.sqlite"], "tiny"),
        (["merge", "locked/verdicts.sqlite", "--store", "new.sqlite"], "1 new verdicts from locked"),
    ],
)
def test_who_reads_a_store_need_not_write(locked, command, output):
    done = as_anybody("verdicts", *command)
    assert (done.returncode, done.stderr) == (0, "") and output in done.stdout
    assert os.listdir("locked") == ["verdicts.sqlite"]


def test_who_writes_a_store_must(locked):
    done = as_anybody("verdicts", "merge", "verdicts.sqlite", "--store", "locked/verdicts.sqlite")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("lmtx: locked/verdicts.sqlite cannot be written")


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775)])
def test_others_may_read_what_is_written(here, mask, file, folder):
    usual = os.umask(mask)
    try:
        assert cli.main(["export", "tagger", "out"]) == 0
        assert cli.main([*VERDICTS, "out.parquet"]) == 0
    finally:
        os.umask(usual)
    for path in (Path("out"), *Path("out").rglob("*"), Path("out.parquet")):
        assert stat.S_IMODE(path.stat().st_mode) == (folder if path.is_dir() else file), path


# --- death ---------------------------------------------------------------------------------------


def killed(work, moment):
    """Do something in a process that is killed after so many seconds."""
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            work()
        finally:
            os._exit(1)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "it ended before"


def visible():
    return {name for name in os.listdir() if not name.startswith(".")}


def test_a_killed_export_leaves_the_old_tagger_or_the_new_one(here):
    taggers = {30: Tagger.load("tagger"), 32: Tagger.load("tagger")}
    taggers[32].add_labels(["fox1", "fox2"])
    names, chance = visible() | {"out"}, random.Random(1)
    taggers[30].export("out")

    def export_forever():
        for number in itertools.cycle((32, 30)):
            taggers[number].export("out")

    for _ in range(8):
        killed(export_forever, chance.uniform(0, 0.2))
        made = Tagger.load("out")
        np.testing.assert_array_equal(made.labels.vectors, taggers[len(made.labels)].labels.vectors)
        assert made.card.get("added_labels", 0) == len(made.labels) - 30
        assert visible() == names
    for number, tagger in taggers.items():
        tagger.export("out")
        assert len(Tagger.load("out").labels) == number


def test_killed_while_tagging_leaves_complete_lines(here):
    tagger, chance = Tagger.load("tagger"), random.Random(3)
    texts = random_texts(400, seed=4)
    Path("docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def tag(out):
        tag_stream(tagger, [Path("docs.jsonl")], out, k=2, say=lambda text: None)

    def tag_forever():
        while True:
            with open("out.jsonl", "w") as out:
                tag(out)

    with open("whole.jsonl", "w") as whole:
        tag(whole)
    lines = [json.loads(line)["uid"] for line in Path("whole.jsonl").read_text().splitlines()]
    for _ in range(4):
        killed(tag_forever, chance.uniform(0, 0.3))
        if os.path.exists("out.jsonl"):
            content = Path("out.jsonl").read_text()
            assert content.endswith("\n") or not content
            answered = [json.loads(line)["uid"] for line in content.splitlines()]
            assert answered == lines[: len(answered)]
