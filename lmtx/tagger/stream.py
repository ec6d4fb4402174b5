"""Documents in, answers out: they are tagged as they arrive, in memory that does not grow."""

import csv
import io
import json
import os
import queue
import stat
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow.compute as pc

from lmtx.datasets.lines import STANDARD_INPUT, Faults, kind, source_name, unit, whole
from lmtx.datasets.own import Document, documents
from lmtx.datasets.rows import text_files
from lmtx.tagger import Tagger
from lmtx.tagger.labels import TaggerError
from lmtx.tagger.windows import document_table, longer

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

    `sources` are files or folders as `data/README.md` describes them, and `STANDARD_INPUT` for JSON lines;
    they are read one after the other. `k` and `threshold` are as for `Tagger.tag`, `form` is a key of
    `FORMATS`, and with `text` an answer holds the document's title or, without one, its text.

    `out` gets the answers of a batch in one piece, so that a reader sees complete lines only, and is flushed.
    A batch is at most 256 documents (16 in the first), and no document waits longer than 0.05 s for others.

    A row that is no document is answered with no labels and an `error`, so that input and output stay
    side by side; the corpus of Annif leaves it out. `say` tells the user of the first five, and whether
    documents of the first batch are longer than what is read.

    Raises `DocumentError` at the first broken row with `strict`, after the documents before it are answered;
    and `TaggerError` where the uid of a label is no URI, for Annif's "tsv".
    """
    started, summary = time.monotonic(), Summary()
    lines = io.StringIO()  # of one batch
    answer = FORMATS[form](lines, tagger, text)
    items = _BoundedQueue(_CHARACTERS)
    threading.Thread(target=_read, args=(sources, items), daemon=True).start()
    for batch in _batches(items):
        broken = [number for number, item in enumerate(batch) if isinstance(item, Broken)]
        answered = batch[: broken[0]] if strict and broken else batch
        readable = [item for item in answered if isinstance(item, Document)]
        titles, texts = ([getattr(item, name) for item in readable] for name in ("title", "text"))
        first = document_table(titles, texts) if readable and not summary.documents else None
        if first and (note := longer(tagger.encoder, first, tagger.windows)):
            say(f"of the first {len(readable):,}, {note}")
        labels = iter(tagger.tag(texts, k, threshold, titles))
        for item in answered:
            answer(item, next(labels) if isinstance(item, Document) else [])
            if isinstance(item, Broken):
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


def tag(options: Namespace) -> int:
    """Run `lmtx tag`; returns the exit status, 1 where some documents were skipped."""
    sources = options.files or [STANDARD_INPUT]
    for source in sources:
        kind(source)  # a file that is missing, or of no known format, is an error before the model is loaded
    _check_output(sources)
    if options.k < 1:
        raise TaggerError(f"-k is {options.k}; at least 1 label a document is needed")
    tagger = Tagger.load(options.folder)
    tagger.windows = options.windows or tagger.windows
    threshold = options.threshold
    if options.precision is not None:
        if tagger.calibration is None:
            raise TaggerError(
                f"{options.folder} is not calibrated, so no precision can be promised: let people answer "
                "with `lmtx review`, use annotations with `lmtx export --annotated`, or give --threshold"
            )
        threshold = tagger.calibration.threshold(options.precision)
        print(f"lmtx: {tagger.calibration.step(options.precision)}", file=sys.stderr)
    sys.stdout.reconfigure(encoding="utf-8")
    answers = {"strict": options.strict, "form": options.format, "text": options.text}
    summary = tag_stream(tagger, sources, sys.stdout, k=options.k, threshold=threshold, **answers)
    print(f"lmtx: {summary}", file=sys.stderr)
    return 1 if summary.broken else 0


def _check_output(sources: Iterable[Path]) -> None:
    """Raise `TaggerError` where standard output is closed, or goes into a file that is to be tagged."""
    if sys.stdout is None:
        raise TaggerError("standard output is closed; send the answers to a file or a program")
    try:
        out = os.fstat(sys.stdout.fileno())
    except OSError:  # no file, as in a notebook
        return
    for source in sources if stat.S_ISREG(out.st_mode) else ():
        for file in text_files(source) if source.is_dir() else [source]:
            if file == STANDARD_INPUT and sys.stdin is None:
                return
            read = os.fstat(sys.stdin.fileno()) if file == STANDARD_INPUT else file.stat()
            if os.path.samestat(read, out):
                raise TaggerError(
                    f"the answers go to {source_name(file)}, which is to be tagged; name another file"
                )


def _pass_on(lines: io.StringIO, out: TextIO) -> None:
    """Write all lines at once, and forget them."""
    if lines.tell():
        out.write(lines.getvalue())
        out.flush()
        lines.seek(0)
        lines.truncate()


class _BoundedQueue(queue.Queue):
    """A queue that is full when its texts hold `maxsize` characters: a text may be a word or a book."""

    held = 0  # characters in it

    def _qsize(self) -> int:
        return self.held

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.held += _weight(item)

    def _get(self) -> Any:
        item = super()._get()
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
                uid = whole([document.uid])[0] if isinstance(document.uid, str) else document.uid
                title, text = whole([document.title, document.text])
                items.put(document._replace(uid=uid, title=title, text=text, labels=None))
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


def _json_lines(out: TextIO, tagger: Tagger, text: bool) -> Callable[[Document | Broken, list[dict]], None]:
    """A line a document: `{"uid": …, "labels": […]}` with the labels of `Tagger.tag`."""
    return lambda item, labels: out.write(
        json.dumps(_answer(item, text, {"labels": labels}), ensure_ascii=False) + "\n"
    )


def _csv(out: TextIO, tagger: Tagger, text: bool) -> Callable[[Document | Broken, list[dict]], None]:
    """A row a label under a header; a document without labels has one row that names none."""
    renamed = {"uid": "label_uid", "text": "label"}
    columns = ["uid", "text" if text else None, *renamed.values(), "score"]
    columns += ["p_yes" if tagger.calibration else None, "error"]
    table = csv.DictWriter(out, [name for name in columns if name], lineterminator="\n")
    table.writeheader()

    def write(item: Document | Broken, labels: list[dict]) -> None:
        for label in labels or [{}]:
            table.writerow(_answer(item, text, {renamed.get(k, k): v for k, v in label.items()}))

    return write


def _annif(out: TextIO, tagger: Tagger, text: bool) -> Callable[[Document | Broken, list[dict]], None]:
    """A line a document, the text on one line: `text<tab><URI> <URI>`. Broken rows have none."""
    uids = tagger.labels.table["uid"]
    if len(no_uri := uids.filter(pc.match_substring_regex(uids, r"[\s<>]"))):
        raise TaggerError(
            f"the uid {no_uri[0].as_py()!r} of a label is no URI, by which Annif's format names labels; "
            "write jsonl or csv"
        )

    def write(item: Document | Broken, labels: list[dict]) -> None:
        if isinstance(item, Document):
            line = " ".join(f"{item.title} {item.text}".split())
            out.write(line + "\t" + " ".join(f"<{label['uid']}>" for label in labels) + "\n")

    return write


def _answer(item: Document | Broken, text: bool, labels: dict[str, Any]) -> dict[str, Any]:
    """`labels`, in a format's own columns, and what they are on."""
    if isinstance(item, Broken):
        return {"uid": item.number} | labels | {"error": item.error}
    return {"uid": item.uid} | ({"text": item.title or item.text} if text else {}) | labels


FORMATS = {"jsonl": _json_lines, "csv": _csv, "tsv": _annif}
"""`lmtx tag --format`: functions of the file, the tagger and `text` that return one that writes an answer."""
