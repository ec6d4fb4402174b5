"""JSON lines in, JSON lines out: documents are tagged as they arrive, in memory that does not grow."""

import json
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from lmtx.tagger import Tagger
from lmtx.tagger.labels import TaggerError

FIRST, SIZE = 16, 256  # documents in the first batch, so that an answer comes soon, and in the others
WAIT = 0.05  # seconds that a batch waits for more documents
_BYTES = 8 << 20  # of lines read ahead, and of lines in a batch
_SHOWN = 5


@dataclass(frozen=True)
class Line:
    """A line of input: where it stands, as `FILE:NUMBER` for people, its number and its bytes."""

    place: str
    number: int
    content: bytes


class LineError(TaggerError):
    """A line that is no document."""


@dataclass
class Summary:
    """What a stream came to: documents tagged, broken lines, seconds."""

    documents: int = 0
    broken: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = f", {self.documents / self.seconds:,.0f} a second" if self.seconds else ""
        broken = f"; {self.broken:,} broken lines" if self.broken else ""
        return f"{self.documents:,} documents tagged in {self.seconds:.1f} s{rate}{broken}"


def tag_stream(
    tagger: Tagger,
    sources: Iterable[tuple[str, BinaryIO]],
    out: TextIO,
    *,
    k: int = 5,
    threshold: float | None = None,
    strict: bool = False,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Summary:
    """Tag the documents of JSON lines; one line of output a line of input, in the same order.

    A line is an object with `text`, and maybe `title` and `uid`; empty lines are passed over. Its answer
    is `{"uid": …, "labels": […]}` with the labels of `Tagger.tag`; the line's number stands in for a
    missing uid. A line that is no document is answered with `"labels": []` and an `error`, so that
    input and output stay side by side.

    Parameters
    ----------
    sources
        Names and open binary files, read one after the other.
    out
        Flushed after each batch. A batch is at most 256 documents (16 in the first), and no document
        waits longer than 0.05 s for others.
    k, threshold
        As for `Tagger.tag`.
    strict
        Raise `LineError` at the first broken line, after the documents before it are answered.
    say
        Tells the user of the first five broken lines.
    """
    started, summary = time.monotonic(), Summary()
    lines = _LineQueue(_BYTES)
    threading.Thread(target=_read, args=(sources, lines), daemon=True).start()
    for batch in _batches(lines):
        records: list[dict[str, Any]] = []
        failed = None
        for line in batch:
            try:
                records.append(parse(line))
            except LineError as error:
                if strict:
                    failed = error
                    break
                records.append({"uid": line.number, "error": str(error)})
                summary.broken += 1
                if summary.broken <= _SHOWN:
                    say(f"{error}; the line is skipped")
        documents = [record for record in records if "error" not in record]
        labels = iter(
            tagger.tag(
                [record["text"] for record in documents],
                k,
                threshold,
                [record["title"] for record in documents],
            )
        )
        for record in records:
            error = {"error": record["error"]} if "error" in record else {}
            answer = {"uid": record["uid"], "labels": [] if error else next(labels), **error}
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
        out.flush()
        summary.documents += len(documents)
        if failed:
            raise failed
    if summary.broken > _SHOWN:
        say(f"{summary.broken:,} lines were skipped in all; the first {_SHOWN} are named above")
    summary.seconds = time.monotonic() - started
    return summary


def parse(line: Line, what: str = "document", numbered: bool = True) -> dict[str, Any]:
    """The `text`, `title` ("" for none) and `uid` of a line.

    Without a uid it gets the line's number, or None where not `numbered`. `what` the line should be, an
    error says.

    Raises `LineError` naming the place, what was found and what is expected.
    """
    expected = f'a {what} is a line such as {{"text": "…"}}'
    try:
        record = json.loads(line.content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineError(
            f"{line.place}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise LineError(f"{line.place}: not JSON ({error}): {_shown(line)}; {expected}") from None
    if not isinstance(record, dict) or "text" not in record:
        raise LineError(f"{line.place}: no `text` in {_shown(line)}; {expected}")
    text, title, uid = record["text"], record.get("title"), record.get("uid")
    if not isinstance(text, str) or not text.strip():
        raise LineError(f"{line.place}: `text` is {_cut(repr(text))}; expected a string that is not empty")
    if not isinstance(title, str | None):
        raise LineError(f"{line.place}: `title` is {_cut(repr(title))}; expected a string or null")
    if not isinstance(uid, str | int | None):
        raise LineError(f"{line.place}: `uid` is {_cut(repr(uid))}; expected a string or a whole number")
    # A lone half of a surrogate pair can be written in JSON, but is no text that could be encoded.
    text, title = (part.encode("utf-8", "replace").decode() for part in (text, title or ""))
    return {"text": text, "title": title, "uid": line.number if uid is None and numbered else uid}


def read_lines(name: str, file: BinaryIO) -> Iterator[Line]:
    """The lines of a file that are not empty, without a byte order mark or line ends."""
    for number, content in enumerate(file, 1):
        content = content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content
        if content := content.strip():
            yield Line(f"{name}:{number}", number, content)


class _LineQueue(queue.Queue):
    """A queue that is full when its lines hold `maxsize` bytes: lines may be a few bytes or megabytes."""

    def _init(self, maxsize: int) -> None:
        self.queue: deque = deque()
        self.held = 0

    def _qsize(self) -> int:
        return self.held

    def _put(self, item: Any) -> None:
        self.queue.append(item)
        self.held += _weight(item)

    def _get(self) -> Any:
        item = self.queue.popleft()
        self.held -= _weight(item)
        return item


def _weight(item: Any) -> int:
    return len(item.content) if isinstance(item, Line) else 1


def _read(sources: Iterable[tuple[str, BinaryIO]], lines: queue.Queue) -> None:
    """Put each line into the queue, then None, or what went wrong."""
    try:
        for name, file in sources:
            for line in read_lines(name, file):
                lines.put(line)
        lines.put(None)
    except BaseException as error:
        lines.put(error)


def _batches(lines: queue.Queue) -> Iterator[list[Line]]:
    """Lines that are there together, each batch closed by its size, its bytes or the wait."""
    size, item = FIRST, lines.get()
    while isinstance(item, Line):
        batch, held, deadline = [item], len(item.content), time.monotonic() + WAIT
        with suppress(queue.Empty):
            while len(batch) < size and held < _BYTES:
                item = lines.get(timeout=max(0.0, deadline - time.monotonic()))
                if not isinstance(item, Line):
                    break
                batch.append(item)
                held += len(item.content)
        yield batch
        size = SIZE
        if isinstance(item, Line):
            item = lines.get()
    if isinstance(item, BaseException):
        raise item


def _shown(line: Line) -> str:
    return _cut(repr(line.content.decode("utf-8", "replace")))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
