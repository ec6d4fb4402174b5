"""The command line: tag, add-labels and export, with errors in one line and an honest exit status."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import label_table, random_texts

import lmtx
from lmtx import cli
from lmtx.tagger import Tagger

LABELS = label_table(random_texts(30, longest=10, seed=2))


@pytest.fixture
def folder(encoder, tmp_path):
    Tagger.build(encoder, LABELS).export(tmp_path / "tagger")
    return str(tmp_path / "tagger")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command with `given` as standard input; its status, the lines of output, and the errors."""

    def running(*arguments, given=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(given))))
        capsys.readouterr()  # what making the folder said
        status = cli.main([str(argument) for argument in arguments])
        out, errors = capsys.readouterr()
        return status, out.splitlines(), errors

    return running


def answers(lines):
    return [(answer["uid"], len(answer["labels"])) for answer in map(json.loads, lines)]


def test_standard_input_is_tagged(run, folder):
    status, lines, errors = run("tag", folder, "-k", 3, given=b'{"text": "ant1"}\n{"text": "bee1"}\n')
    assert status == 0 and answers(lines) == [(1, 3), (2, 3)]
    assert errors.startswith("lmtx: 2 documents tagged in")


def test_files_may_stand_before_and_behind_options(run, folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps({"uid": name, "text": "ant1"}))
    for order in (
        ["tag", folder, tmp_path / "a", tmp_path / "b", "-k", 2],
        ["tag", folder, "-k", 2, tmp_path / "a", tmp_path / "b"],
        ["tag", folder, "-k", 2, tmp_path / "a", "-"],
    ):
        _, lines, _ = run(*order, given=b'{"text": "ant1", "uid": "b"}')
        assert answers(lines) == [("a", 2), ("b", 2)]


def test_a_threshold_leaves_labels_out(run, folder):
    _, lines, _ = run("tag", folder, "--threshold", 1.01, given=b'{"text": "ant1"}')
    assert answers(lines) == [(1, 0)]


def test_broken_lines_show_in_the_status(run, folder):
    status, lines, errors = run("tag", folder, given=b'{"text": "ant1"}\nbroken\n{"text": "ant1"}\n')
    assert status == 1 and answers(lines) == [(1, 5), (2, 0), (3, 5)]
    assert "standard input, line 2: 'broken' is not JSON" in errors and "; 1 skipped" in errors
    status, lines, errors = run("tag", folder, "--strict", given=b'{"text": "ant1"}\nbroken\n')
    assert status == 1 and len(lines) == 1
    assert errors.startswith("lmtx: standard input, line 2: 'broken' is not JSON") and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tag", "none"], "no folder none"),
        (["tag", "FOLDER", "none"], "none has none of the endings"),
        (["tag", "FOLDER", "-k", "0"], "-k is 0"),
        (["tag", "FOLDER", "--precision", "0.8"], "not calibrated"),
        (["add-labels", "none"], "no folder none"),
        (["add-labels", "."], ". has no lmtx.json"),
        (["review", ".", "none"], "has no lmtx.json"),
        (["export", "none", "out"], "no folder none"),
    ],
)
def test_errors_are_one_line(run, folder, arguments, message):
    status, lines, errors = run(*[folder if word == "FOLDER" else word for word in arguments])
    assert status == 1 and not lines
    assert errors.startswith("lmtx: ") and message in errors and len(errors.splitlines()) == 1


def test_a_model_that_has_no_labels_with_it_is_to_be_exported(run, folder):
    (Path(folder) / "labels.parquet").unlink()
    for arguments in (["add-labels", folder, "none"], ["review", folder, "none"]):
        status, _, errors = run(*arguments)
        assert status == 1 and f"{folder} is no exported tagger; make one first: lmtx export" in errors


def remove(name):
    return lambda folder: (folder / name).unlink()


def cut(name, size=0):
    return lambda folder: os.truncate(folder / name, size)


def replace(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut("labels.npy", 200), "export again"),
        (remove("labels.npy"), "labels.npy"),
        (lambda folder: np.save(folder / "labels.npy", np.array([{}] * 30)), "export again"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros((30, 32), np.int8)), "label_scales.npy"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros((30, 32), np.float64)), "float64"),
        (cut("labels.parquet", 100), "export again"),
        (cut("model.safetensors", 5000), "export it again"),
        (remove("tokenizer.json"), "export it again"),
        (replace("config.json", b"[]"), "export it again"),
        (cut("lmtx.json"), "lmtx.json is not valid JSON"),
        (replace("lmtx.json", b'{"encoder": \xff}'), "lmtx.json is not UTF-8"),
        (replace("lmtx.json", b'{"stopped": "the curriculum ended there"}'), "the curriculum ended there"),
        (replace("lmtx.json", b'{"encoder": {"model": "x"}}'), "`encoder.name` cannot be used (Field"),
        (remove("lmtx.json"), "has no lmtx.json; name an exported tagger"),
        (remove("labels.parquet"), "no labels, and no study around it"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros((3, 32), np.float32)), "has 30 rows"),
        (lambda folder: np.save(folder / "labels.npy", np.zeros((30, 8), np.float32)), "8 dimensions, the"),
        (replace("calibration.json", b"{}"), "calibration.json cannot be read"),
        (replace("calibration.json", b'{"steps": []}'), "(an older version wrote it); remove it"),
    ],
)
def test_a_damaged_tagger_is_one_line(run, folder, harm, message):
    """With `--debug` the trace is there too."""
    harm(Path(folder))
    status, lines, errors = run("tag", folder, given=b'{"text": "ant1"}')
    assert status == 1 and not lines and len(errors.splitlines()) == 1
    assert errors.startswith("lmtx: ") and message in errors and "fault of the program" not in errors
    with pytest.raises(Exception, match=re.escape(errors.strip().removeprefix("lmtx: "))):
        run("tag", folder, "--debug", given=b'{"text": "ant1"}')


def test_a_word_too_many_is_refused(run, folder, capsys):
    for arguments in (["export", folder, "out", "more"], ["tag", folder, "--thresold", "0.5"]):
        with pytest.raises(SystemExit):
            run(*arguments)
        assert "unrecognized arguments" in capsys.readouterr().err


def test_labels_are_added(run, folder):
    given = b'{"text": "fox1 fox2", "uid": 12}\n{"text": "fox3 fox4"}\n'
    status, lines, _ = run("add-labels", folder, given=given)
    assert status == 0 and lines == [f"2 labels added; {folder} has 32 now"]
    _, lines, _ = run("tag", folder, "-k", 1, given=b'{"text": "fox1 fox2"}\n{"text": "fox3 fox4"}')
    assert [json.loads(line)["labels"][0]["uid"] for line in lines] == ["12", "fox3 fox4"]
    status, _, errors = run("add-labels", folder, given=b'{"text": "fox5"}\nfox6')
    assert status == 1 and "line 2: 'fox6' is not JSON" in errors and '{"text": "…"}' in errors
    assert len(Tagger.load(folder).labels) == 32


def test_labels_of_a_vocabulary_are_added(run, folder, tmp_path):
    (tmp_path / "v.ttl").write_text(
        "@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n"
        '<http://v/1> a skos:Concept ; skos:prefLabel "fox1 fox2"@en, "kettu"@fi ; skos:altLabel "elk1"@en .'
    )
    skos = ["--language", "en", "--describe", "alternatives"]
    status, lines, _ = run("add-labels", folder, tmp_path / "v.ttl", *skos)
    assert status == 0 and lines[0].endswith("v.ttl: 1 concepts with labels in 'en' (others: 'fi')")
    _, lines, _ = run("tag", folder, "-k", 1, given=b'{"text": "fox1 fox2: elk1"}')
    label = json.loads(lines[0])["labels"][0]
    assert (label["uid"], label["text"]) == ("http://v/1", "fox1 fox2: elk1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "more.csv.gz",
            gzip.compress(b" text ,description\r\n fox1 fox2 , like a dog \r\nelk1,\r\n", mtime=0),
        ),
        ("more.txt", b"fox1 fox2: like a dog\relk1 \r\r"),
    ],
)
def test_labels_are_added_as_the_study_reads_them(run, folder, tmp_path, name, content):
    """Trimmed, with their descriptions, whatever ends a line."""
    (tmp_path / name).write_bytes(content)
    status, lines, _ = run("add-labels", folder, tmp_path / name)
    assert status == 0 and lines == [f"2 labels added; {folder} has 32 now"]
    added = Tagger.load(folder).labels.table.slice(30).to_pylist()
    assert [label["text"] for label in added] == ["fox1 fox2: like a dog", "elk1"]
    assert added[0]["uid"] == (added[0]["text"] if name == "more.txt" else "fox1 fox2")


def test_a_file_is_tagged_into_csv(run, folder, tmp_path):
    (tmp_path / "in.txt").write_text("ant1\nbee1\n")
    status, lines, _ = run("tag", folder, tmp_path / "in.txt", "-k", 1, "--format", "csv", "--text")
    assert status == 0 and lines[0] == "uid,text,label_uid,label,score,error"
    assert [line.split(",")[:2] for line in lines[1:]] == [["1", "ant1"], ["2", "bee1"]]


def test_a_tagger_is_exported_again_in_int8(run, folder, tmp_path):
    status, lines, _ = run("export", folder, tmp_path / "small", "--int8")
    assert status == 0 and lines == [f"30 labels; tag with: lmtx tag {tmp_path / 'small'} -k 5"]
    assert Tagger.load(tmp_path / "small").labels.storage == "int8"


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"lmtx {lmtx.__version__}\n"
    assert lmtx.__version__ == version("lmtx")


@pytest.mark.parametrize("command", cli.EXAMPLES)
def test_every_help_ends_with_an_example_that_parses(command, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        cli.main([*command.split()[1:], "--help"])
    *_, example = capsys.readouterr().out.split("example: ")
    parsed = []
    monkeypatch.setattr(cli, "run", parsed.append)
    cli.main(example.split()[1:])
    assert parsed, "nothing was refused"


def test_help_is_instant():
    """It imports nothing heavy, so that completion and a mistyped option do not wait."""
    code = "import sys, lmtx.cli; print([m for m in ('torch', 'numpy', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# --- how it ends ---------------------------------------------------------------------------------


def test_ctrl_c_ends_with_complete_lines(folder):
    command = [sys.executable, "-m", "lmtx.cli", "tag", folder, "-k", "2"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A shell lets what it starts in the background ignore it.
    pipes |= {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(b'{"text": "ant1"}\n' * 3)
        process.stdin.flush()
        lines = [process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        assert process.stderr.read() == b"lmtx: interrupted\n" and process.wait() == 130
    assert all(len(json.loads(line)["labels"]) == 2 for line in lines) and lines[-1].endswith(b"\n")


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        ("stdin", "standard input is closed"),
        ("stdout", "standard output is closed"),
        ("full", "No space left"),
    ],
)
def test_files_that_are_closed_or_full_are_one_line(folder, monkeypatch, capsys, closed, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b'{"text": "ant1"}'))))
    capsys.readouterr()
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout" if closed == "full" else closed, full if closed == "full" else None)
        assert cli.main(["tag", folder]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("lmtx: ") and message in errors and len(errors.splitlines()) == 1


def test_a_reader_that_has_seen_enough_is_no_error(run, folder, monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert run("tag", folder, given=b'{"text": "ant1"}\n')[::2] == (0, "")
