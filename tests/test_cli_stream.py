"""Documents through the tagger: in order, as they come, whatever a line holds; and the answers' formats."""

import csv
import gzip
import io
import json
import os
import sys
import threading
from types import SimpleNamespace

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tiny_encoders import label_table, random_texts

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import STANDARD_INPUT, kind
from lmtx.tagger import Tagger, TaggerError
from lmtx.tagger.stream import DocumentError, tag_stream


@pytest.fixture(scope="module")
def tagger(encoder):
    return Tagger.build(encoder, label_table(random_texts(60, longest=20, seed=2)))


class Out:
    """A text file that keeps what was written up to each flush."""

    def __init__(self):
        self.pending, self.lines, self.flushes = "", [], []

    def write(self, text):
        self.pending += text

    def flush(self):
        self.lines += [json.loads(line) for line in self.pending.splitlines()]
        self.pending = ""
        self.flushes.append(len(self.lines))


def stream(tagger, content, tmp_path, name="in.jsonl", **options):
    (tmp_path / name).write_bytes(content)
    out, said = Out(), []
    summary = tag_stream(tagger, [tmp_path / name], out, say=said.append, **options)
    return out.lines, said, summary


@pytest.fixture
def given(monkeypatch):
    """Lets lines, which may be endless, be standard input."""

    def giving(lines):
        iterator = iter(lines)

        class Buffer:
            def peek(self, n):
                return b"{"

            def __iter__(self):
                return iterator

        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Buffer()))

    return giving


def test_lines_in_lines_out(tagger, tmp_path):
    """A byte order mark, CRLF, an empty line, other fields, no final newline."""
    content = (
        '\ufeff{"text": "ant1 bee2", "uid": "a"}\r\n\r\n{"text": "elk1", "title": "cat1", "x": [1]}\r\n'
        '{"text": "fox1 é \\ud800", "uid": 7, "title": null}'
    ).encode()
    lines, said, summary = stream(tagger, content, tmp_path, k=3)
    assert [line["uid"] for line in lines] == ["a", 3, 7]
    assert lines[0]["labels"] == tagger.tag(["ant1 bee2"], k=3)[0]
    assert lines[1]["labels"] == tagger.tag(["elk1"], k=3, titles=["cat1"])[0]
    assert not said and (summary.documents, summary.broken) == (3, 0)
    assert stream(tagger, b"", tmp_path)[0] == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"plain text", "in.jsonl, line 2: 'plain text' is not JSON"),
        (b'{"text": "cut', 'in.jsonl, line 2: \'{"text": "cut\' is not JSON'),
        (b'{"text": "\xff"}', "in.jsonl, line 2: byte 0xff at 10 is not UTF-8"),
        (b'["text"]', "in.jsonl, line 2: .* begins a JSON list"),
        (b'"text"', "in.jsonl, line 2: .* is not a JSON object"),
        (b'{"txt": "ant1"}', "in.jsonl, line 2: there is no `text`; there are: txt"),
        (b'{"text": 5}', "in.jsonl, line 2: `text` is 5, not a text"),
        (b'{"text": "  "}', "in.jsonl, line 2: `text` is empty"),
        (b'{"text": "ant1", "title": 5}', "in.jsonl, line 2: `title` is 5, not a text"),
        (b'{"text": "ant1", "uid": [5]}', r"in.jsonl, line 2: `uid` is '\[5\]'"),
        (b'{"text": "ant1", "text": "bee1"}', "in.jsonl, line 2: .*the key 'text' stands twice"),
        (b'{"\\ud83d": 1}', "in.jsonl, line 2: there is no `text`; there are: \ufffd"),
        (b'{"text": {"\\udc00": 1}}', "in.jsonl, line 2: `text` is .*, not a text"),
        (b"[" * 100_000, "in.jsonl, line 2: .* begins a JSON list"),
    ],
)
def test_a_broken_line_is_named_and_the_stream_goes_on(tagger, tmp_path, line, message):
    content = b'{"text": "ant1"}\n' + line + b'\n{"text": "bee1"}\n'
    lines, said, summary = stream(tagger, content, tmp_path, k=1)
    assert [len(answer["labels"]) for answer in lines] == [1, 0, 1]
    assert [answer["uid"] for answer in lines] == [1, 2, 3]
    assert len(said) == 1 and (summary.documents, summary.broken) == (2, 1)
    with pytest.raises(DocumentError, match=message):
        stream(tagger, content, tmp_path, k=1, strict=True)
    assert said[0].startswith(lines[1]["error"])


ODD = st.text(st.characters() | st.sampled_from("\ud83d\udc00\0\r\u2028"), max_size=6)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD,
    lambda value: st.lists(value, max_size=2) | st.dictionaries(ODD, value, max_size=2),
    max_leaves=3,
)
OBJECT = st.fixed_dictionaries({}, optional={"text": ODD | VALUE} | dict.fromkeys(("uid", "title"), VALUE))
LINE = st.one_of(
    OBJECT.map(lambda row: json.dumps(row).encode()),
    OBJECT.map(lambda row: json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.dictionaries(ODD, VALUE).map(lambda row: json.dumps(row).encode()),
    VALUE.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")),
)
"""What a line may hold, but for its end: documents, other JSON, and bytes that are none."""


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@hypothesis.given(lines=st.lists(LINE, min_size=1, max_size=20))
def test_each_line_has_one_answer_in_order(tagger, tmp_path, lines):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "ant1"}\n' + b"\n".join(lines) + b"\n")
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    tag_stream(tagger, [path], out, k=1, say=lambda text: None)
    answers = [json.loads(answer) for answer in out.buffer.getvalue().decode().split("\n")[:-1]]
    numbers = [number for number, line in enumerate(lines, 2) if line.decode("utf-8", "replace").strip()]
    assert len(answers) == 1 + len(numbers)
    for number, answer in zip(numbers, answers[1:], strict=True):
        if "error" in answer:
            assert answer["uid"] == number and f"in.jsonl, line {number}: " in answer["error"]
        else:
            row = json.loads(lines[number - 2])
            uid = row.get("uid")
            assert len(answer["labels"]) == 1
            assert answer["uid"] == (number if uid is None else uid) or "\ufffd" in answer["uid"]


def test_strict_answers_what_came_before(tagger, given):
    out = Out()
    given([b'{"text": "ant1"}\n', b"broken\n", b'{"text": "bee1"}\n'])
    with pytest.raises(DocumentError, match="standard input, line 2"):
        tag_stream(tagger, [STANDARD_INPUT], out, strict=True)
    assert [line["uid"] for line in out.lines] == [1]


def test_many_broken_lines_are_a_count(tagger, tmp_path):
    lines, said, summary = stream(tagger, b"broken\n" * 10_000, tmp_path)
    assert len(lines) == summary.broken == 10_000
    assert len(said) == 6 and "10,000 were skipped" in said[-1]


def test_an_answer_does_not_wait_for_the_end_of_the_input(tagger, monkeypatch):
    """Over a pipe that stays open: the first document is answered before the second is sent."""
    read, write = os.pipe()
    answered, out = threading.Event(), Out()

    class Seen(Out):
        def flush(self):
            super().flush()
            answered.set()

    out = Seen()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb", buffering=0) as sink:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=source))
        worker = threading.Thread(target=tag_stream, args=(tagger, [STANDARD_INPUT], out))
        worker.start()
        for text in ("ant1", "bee1"):
            answered.clear()
            sink.write(json.dumps({"text": text}).encode() + b"\n")
            assert answered.wait(60)
        sink.close()
        worker.join(60)
    assert out.flushes == [1, 2]


def test_the_first_batch_is_small_and_the_others_are_large(tagger, given):
    out = Out()
    lines = [json.dumps({"text": text}).encode() for text in random_texts(600)]
    given(lines)
    tag_stream(tagger, [STANDARD_INPUT], out, k=1)
    assert out.flushes[0] == 16 and out.flushes[-1] == len(lines)
    assert len(out.flushes) < 20


def test_memory_does_not_grow_with_the_input(tagger, given, monkeypatch):
    """The reader stays a bounded number of characters ahead of what was answered."""
    monkeypatch.setattr("lmtx.tagger.stream._CHARACTERS", 50_000)
    ahead, read, out = [], 0, Out()

    def endless():
        nonlocal read
        for i in range(400):
            read += 1
            ahead.append(read - (out.flushes[-1] if out.flushes else 0))
            yield json.dumps({"text": f"ant{i % 12} " + "x" * 5000}).encode()

    given(endless())
    tag_stream(tagger, [STANDARD_INPUT], out, k=1)
    assert len(out.lines) == 400
    assert max(ahead) <= 30  # at 5 kB a line: ten waiting, ten in the batch, one in the hand


def test_an_error_of_the_source_ends_the_stream(tagger, given):
    def failing():
        yield b'{"text": "ant1"}'
        raise OSError("the disk is gone")

    out = Out()
    with pytest.raises(OSError, match="the disk is gone"):
        given(failing())
        tag_stream(tagger, [STANDARD_INPUT], out)
    assert len(out.lines) == 1


TEXTS = ["ant1 bee2", "cat3"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl.gz", gzip.compress(b'{"text": "ant1 bee2"}\n{"text": "cat3"}\n', mtime=0)),
        ("in.csv", b"text,labels\nant1 bee2,none\ncat3,\n"),
        ("in.csv.gz", gzip.compress(b"text\nant1 bee2\ncat3\n", mtime=0)),
        ("in.tsv", b"ant1 bee2\t<http://a>\ncat3\t<http://b> <http://c>\n"),
        ("in.txt", b"ant1 bee2\n\ncat3"),
        ("in.txt.gz", gzip.compress(b"ant1 bee2\ncat3\n", mtime=0)),
        ("in", b'{"text": "ant1 bee2"}\n{"text": "cat3"}\n'),
    ],
)
def test_files_of_each_kind_are_tagged(tagger, tmp_path, name, content):
    lines, said, _ = stream(tagger, content, tmp_path, name, k=2)
    assert [line["labels"] for line in lines] == tagger.tag(TEXTS, k=2) and not said


def test_parquet_and_folders_are_tagged(tagger, tmp_path):
    pq.write_table(pa.table({"uid": ["a", "b"], "text": TEXTS}), tmp_path / "in.parquet")
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "a.txt").write_text(TEXTS[0])
    (tmp_path / "docs" / "deep" / "b.md").write_text(TEXTS[1])
    (tmp_path / "docs" / "c.txt").write_text(" ")
    out, said = Out(), []
    tag_stream(tagger, [tmp_path / "in.parquet", tmp_path / "docs"], out, say=said.append)
    assert [line["uid"] for line in out.lines] == ["a", "b", "a.txt", 2, "deep/b.md"]
    assert out.lines[0]["labels"] == out.lines[2]["labels"] == tagger.tag(TEXTS)[0]
    assert said == [f"{tmp_path}/docs/c.txt: `text` is empty; fill it, or drop the row; it is skipped"]


def test_a_pipe_is_json_lines(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert kind(tmp_path / "pipe") == "jsonl"


def test_a_damaged_file_ends_the_stream(tagger, tmp_path):
    content = gzip.compress(b"".join(b'{"text": "ant%d"}\n' % i for i in range(3000)))
    with pytest.raises(CorpusError, match=r"in.jsonl.gz is damaged after line \d+"):
        stream(tagger, content[:-50], tmp_path, "in.jsonl.gz", k=1)


DOCUMENTS = (
    b'{"text": "ant1\\nbee2", "title": "=A, \\"b\\"", "uid": "x"}\n{"text": 5}\n{"text": "a\\t\\u00e9\\nb"}\n'
)


def written(tagger, tmp_path, **options):
    (tmp_path / "in.jsonl").write_bytes(DOCUMENTS)
    out = io.StringIO()
    tag_stream(tagger, [tmp_path / "in.jsonl"], out, say=lambda text: None, **options)
    return out.getvalue()


def test_an_answer_with_the_documents_title_or_text(tagger, tmp_path):
    lines = [json.loads(line) for line in written(tagger, tmp_path, k=1, text=True).splitlines()]
    assert [line.get("text") for line in lines] == ['=A, "b"', None, "a\té\nb"]
    assert list(lines[0]) == ["uid", "text", "labels"] and "error" in lines[1]


@pytest.mark.parametrize("text", [True, False])
def test_answers_in_csv(tagger, tmp_path, text):
    rows = list(csv.DictReader(io.StringIO(written(tagger, tmp_path, k=2, form="csv", text=text))))
    best = tagger.tag(["ant1\nbee2"], k=2, titles=['=A, "b"'])[0]
    assert [row["uid"] for row in rows] == ["x", "x", "2", "3", "3"]
    assert [(row["label_uid"], row["label"], float(row["score"])) for row in rows[:2]] == [
        (label["uid"], label["text"], label["score"]) for label in best
    ]
    assert rows[2]["label"] == "" and rows[2]["error"].endswith("line 2: `text` is 5, not a text")
    assert "p_yes" not in rows[0]
    assert (
        ([row["text"] for row in rows] == ['=A, "b"'] * 2 + [""] + ["a\té\nb"] * 2)
        if text
        else ("text" not in rows[0])
    )


def test_a_document_without_labels_keeps_its_row_of_csv(tagger, tmp_path):
    rows = list(csv.DictReader(io.StringIO(written(tagger, tmp_path, form="csv", threshold=1.01))))
    assert [(row["uid"], row["label"]) for row in rows] == [("x", ""), ("2", ""), ("3", "")]


def test_answers_are_a_corpus_for_annif(tagger, tmp_path):
    lines = written(tagger, tmp_path, k=2, form="tsv").split("\n")
    best = [label["uid"] for label in tagger.tag(["a\té\nb"], k=2)[0]]
    assert len(lines) == 3 and lines[0].startswith('=A, "b" ant1 bee2\t<')
    assert lines[1] == f"a é b\t<{best[0]}> <{best[1]}>" and lines[2] == ""
    (tmp_path / "out.tsv").write_text("\n".join(lines))
    assert kind(tmp_path / "out.tsv") == "corpus"


def test_annif_names_labels_by_uris(tagger, tmp_path):
    other = Tagger(tagger.encoder, tagger.labels, tagger.card)
    other.add_labels(["machine learning"])
    with pytest.raises(TaggerError, match="the uid 'machine learning' of a label is no URI"):
        written(other, tmp_path, form="tsv")
