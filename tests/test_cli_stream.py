"""JSON lines through the tagger: in order, as they come, whatever a line holds."""

import json
import os
import threading

import pytest
from tiny_encoders import encoder_config, label_table, random_texts, save_tiny_encoder

from lmtx.encoder import Encoder
from lmtx.tagger import Tagger
from lmtx.tagger.stream import LineError, tag_stream


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    folder = save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")
    return Tagger.build(
        Encoder.load(encoder_config(folder)), label_table(random_texts(60, longest=20, seed=2))
    )


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


def stream(tagger, content, tmp_path, **options):
    (tmp_path / "in.jsonl").write_bytes(content)
    out, said = Out(), []
    with (tmp_path / "in.jsonl").open("rb") as file:
        summary = tag_stream(tagger, [("in.jsonl", file)], out, say=said.append, **options)
    return out.lines, said, summary


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
        (b"plain text", "in.jsonl:2: not JSON"),
        (b'{"text": "cut', "in.jsonl:2: not JSON"),
        (b'{"text": "\xff"}', "in.jsonl:2: byte 11 is not UTF-8"),
        (b'["text"]', "in.jsonl:2: no `text`"),
        (b'{"txt": "ant1"}', "in.jsonl:2: no `text`"),
        (b'{"text": 5}', "in.jsonl:2: `text` is 5; expected a string"),
        (b'{"text": "  "}', "in.jsonl:2: `text` is '  '; expected a string that is not empty"),
        (b'{"text": "ant1", "title": 5}', "in.jsonl:2: `title` is 5"),
        (b'{"text": "ant1", "uid": [5]}', r"in.jsonl:2: `uid` is \[5\]"),
        (b"[" * 100_000, "in.jsonl:2: not JSON"),
    ],
)
def test_a_broken_line_is_named_and_the_stream_goes_on(tagger, tmp_path, line, message):
    content = b'{"text": "ant1"}\n' + line + b'\n{"text": "bee1"}\n'
    lines, said, summary = stream(tagger, content, tmp_path, k=1)
    assert [len(answer["labels"]) for answer in lines] == [1, 0, 1]
    assert [answer["uid"] for answer in lines] == [1, 2, 3]
    assert len(said) == 1 and (summary.documents, summary.broken) == (2, 1)
    with pytest.raises(LineError, match=message):
        stream(tagger, content, tmp_path, k=1, strict=True)
    assert said[0].startswith(lines[1]["error"])


def test_strict_answers_what_came_before(tagger):
    out = Out()
    lines = [b'{"text": "ant1"}\n', b"broken\n", b'{"text": "bee1"}\n']
    with pytest.raises(LineError, match="here:2"):
        tag_stream(tagger, [("here", lines)], out, strict=True)
    assert [line["uid"] for line in out.lines] == [1]


def test_many_broken_lines_are_a_count(tagger, tmp_path):
    lines, said, summary = stream(tagger, b"broken\n" * 10_000, tmp_path)
    assert len(lines) == summary.broken == 10_000
    assert len(said) == 6 and "10,000 lines were skipped" in said[-1]


def test_an_answer_does_not_wait_for_the_end_of_the_input(tagger):
    """Over a pipe that stays open: the first document is answered before the second is sent."""
    read, write = os.pipe()
    answered, out = threading.Event(), Out()

    class Seen(Out):
        def flush(self):
            super().flush()
            answered.set()

    out = Seen()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb", buffering=0) as sink:
        worker = threading.Thread(target=tag_stream, args=(tagger, [("pipe", source)], out))
        worker.start()
        for text in ("ant1", "bee1"):
            answered.clear()
            sink.write(json.dumps({"text": text}).encode() + b"\n")
            assert answered.wait(60)
        sink.close()
        worker.join(60)
    assert out.flushes == [1, 2]


def test_the_first_batch_is_small_and_the_others_are_large(tagger):
    out = Out()
    lines = [json.dumps({"text": text}).encode() for text in random_texts(600)]
    tag_stream(tagger, [("here", lines)], out, k=1)
    assert out.flushes[0] == 16 and out.flushes[-1] == len(lines)
    assert len(out.flushes) < 20


def test_memory_does_not_grow_with_the_input(tagger, monkeypatch):
    """The reader stays a bounded number of bytes ahead of what was answered."""
    monkeypatch.setattr("lmtx.tagger.stream._BYTES", 50_000)
    ahead, read, out = [], 0, Out()

    def endless():
        nonlocal read
        for i in range(400):
            read += 1
            ahead.append(read - (out.flushes[-1] if out.flushes else 0))
            yield json.dumps({"text": f"ant{i % 12} " + "x" * 5000}).encode()

    tag_stream(tagger, [("here", endless())], out, k=1)
    assert len(out.lines) == 400
    assert max(ahead) <= 30  # at 5 kB a line: ten waiting, ten in the batch, one in the hand


def test_an_error_of_the_source_ends_the_stream(tagger):
    def failing():
        yield b'{"text": "ant1"}'
        raise OSError("the disk is gone")

    out = Out()
    with pytest.raises(OSError, match="the disk is gone"):
        tag_stream(tagger, [("here", failing())], out)
    assert len(out.lines) == 1
