"""Documents in, answers out: they are tagged as they arrive, in memory that does not grow."""

import io
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from lmtx.datasets.lines import Faults, unit, whole
from lmtx.datasets.own import Document, documents
from lmtx.tagger import Tagger
from lmtx.tagger.labels import TaggerError
from lmtx.tagger.windows import document_table, longer
from lmtx.tagger.writing import WRITERS

FIRST, SIZE = 16, 256  # documents in the first batch, so that an answer comes soon, and in the others
WAIT = 0.05  # seconds that a batch waits for more documents
_CHARACTERS = 8 << 20  # of documents read ahead, and of those in a batch
_SHOWN = 5


class DocumentError(TaggerError):
    """A row of input that is no document."""


class Broken(NamedTuple):
    """A row of input that is no document: its number, and what is wrong with it."""

    number: int
    error: str


@dataclass
class Summary:
    """The outcome of a stream: documents tagged and skipped, seconds."""

    documents: int = 0
    broken: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = f", {self.documents / self.seconds:,.0f} a second" if self.seconds else ""
        broken = f"; {self.broken:,} skipped" if self.broken else ""
        return f"{self.documents:,} documents tagged in {self.seconds:.1f} s{rate}{broken}"


def tag_stream(
    tagger: Tagger,
    sources: Iterable[Path],
    out: TextIO,
    *,
    k: int = 5,
    threshold: float | None = None,
    strict: bool = False,
    form: str = "jsonl",
    text: bool = False,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Summary:
    """Tag the documents of files, one answer a document, in the same order.

    A row that is no document is answered with no labels and an `error`, so that input and output stay
    side by side; the corpus of Annif leaves it out.

    Parameters
    ----------
    sources
        Files or folders as `data/README.md` describes them, and `STANDARD_INPUT` for JSON lines; they are
        read one after the other.
    out
        Gets the answers of a batch in one piece, so that a reader sees complete lines only, and is flushed.
        A batch is at most 256 documents (16 in the first), and no document waits longer than 0.05 s for
        others.
    k, threshold
        As for `Tagger.tag`.
    strict
        Raise `DocumentError` at the first broken row, after the documents before it are answered.
    form
        A key of `lmtx.tagger.writing.WRITERS`.
    text
        Whether an answer holds the document's title or, without one, its text.
    say
        Tells the user of the first five broken rows, and whether documents of the first batch are longer than
        what is read.
    """
    started, summary = time.monotonic(), Summary()
    lines = io.StringIO()  # of one batch
    answers = WRITERS[form](lines, tagger, text)
    items = _BoundedQueue(_CHARACTERS)
    threading.Thread(target=_read, args=(sources, items), daemon=True).start()
    for batch in _batches(items):
        broken = [number for number, item in enumerate(batch) if isinstance(item, Broken)]
        answered = batch[: broken[0]] if strict and broken else batch
        readable = [item for item in answered if isinstance(item, Document)]
        titles = [document.title for document in readable]
        if not summary.documents and readable:
            table = document_table(titles, [document.text for document in readable])
            if note := longer(tagger.encoder, table, tagger.windows):
                say(f"of the first {len(readable):,}, {note}")
        labels = iter(tagger.tag([document.text for document in readable], k, threshold, titles))
        for item in answered:
            if isinstance(item, Document):
                answers.write(item, next(labels))
                continue
            answers.skip(*item)
            summary.broken += 1
            if summary.broken <= _SHOWN:
                say(f"{item.error}; it is skipped")
        _pass_on(lines, out)
        summary.documents += len(readable)
        if len(answered) < len(batch):
            raise DocumentError(batch[len(answered)].error)
    _pass_on(lines, out)  # a header without rows
    if summary.broken > _SHOWN:
        say(f"{summary.broken:,} were skipped in all; the first {_SHOWN} are named above")
    summary.seconds = time.monotonic() - started
    return summary


def _pass_on(lines: io.StringIO, out: TextIO) -> None:
    """Write all lines at once, and forget them."""
    if lines.tell():
        out.write(lines.getvalue())
        out.flush()
        lines.seek(0)
        lines.truncate()


class _BoundedQueue(queue.Queue):
    """A queue that is full when its texts hold `maxsize` characters: a text may be a word or a book."""

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
    return 1 + len(item.text) if isinstance(item, Document) else 1


class _PutFaults(Faults):
    """Faults that go into a queue, between the documents around them."""

    def __init__(self, source: Path, items: queue.Queue) -> None:
        super().__init__(source, unit(source))
        self._items = items

    def add(self, number: int, message: str) -> None:
        self._items.put(Broken(number, self.located(number, message)))


def _read(sources: Iterable[Path], items: queue.Queue) -> None:
    """Put each document into the queue, then None, or what went wrong."""
    try:
        for source in sources:
            for document in documents(source, _PutFaults(source, items), bar=False):
                uid, title, text = document.uid, *whole([document.title, document.text])
                uid = whole([uid])[0] if isinstance(uid, str) else uid
                items.put(Document(document.number, uid, title, text, None))
        items.put(None)
    except BaseException as error:
        items.put(error)


def _batches(items: queue.Queue) -> Iterator[list[Document | Broken]]:
    """Items that are there together, each batch closed by its size, its characters or the wait."""
    size, item = FIRST, items.get()
    while isinstance(item, Document | Broken):
        batch, held, deadline = [item], _weight(item), time.monotonic() + WAIT
        with suppress(queue.Empty):
            while len(batch) < size and held < _CHARACTERS:
                item = items.get(timeout=max(0.0, deadline - time.monotonic()))
                if not isinstance(item, Document | Broken):
                    break
                batch.append(item)
                held += _weight(item)
        yield batch
        size = SIZE
        if isinstance(item, Document | Broken):
            item = items.get()
    if isinstance(item, BaseException):
        raise item
