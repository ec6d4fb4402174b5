"""Text files: their formats, their lines one at a time, plain or gzipped, and the faults in them."""

import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from tqdm.auto import tqdm

from lmtx.corpus import CorpusError

SHOWN = 5  # faults that an error message shows
STEP = 1000  # lines between two updates of the progress bar
STANDARD_INPUT = Path("-")
FORMATS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".rdf", ".xml"), "rdf"),
    **{".csv": "csv", ".tsv": "tsv", ".txt": "text", ".ttl": "turtle"},
}
SKOS = ("turtle", "rdf")
LABELS_ONLY = (*SKOS, "vocabulary")
"""The formats that hold labels, and never documents."""

IN_BRACKETS = re.compile(r"<([^<>]+)>")
URIS = re.compile(r"\s*(<[^<>]+>\s*)+")
"""Names in angle brackets, one behind the other: `<a><b>`, `<URI> <URI>`."""

Row = tuple[int, dict[str, Any]]
"""A row's number, from 1, and its columns."""


def source_name(path: Path) -> str:
    """The name of a file in messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


class Faults:
    """The faults of the lines (or rows) of one file: all are counted, the first five are kept."""

    def __init__(self, source: Path, unit: str = "line", latin1: bool = False) -> None:
        """`latin1`: a line that is not UTF-8 is read as Latin-1 and counted, instead of being a fault.

        No text of some length in Latin-1 is valid UTF-8 by chance, so the two are told apart line by line.
        """
        self.source, self.unit, self.latin1 = source_name(source), unit, latin1
        self.file: str | None = None  # of a folder: the file that is read at present
        self.count = self.latin1_lines = 0
        self.shown: list[str] = []

    @property
    def full(self) -> bool:
        """Whether a further message would not be shown."""
        return self.count >= SHOWN

    def add(self, number: int, message: str) -> None:
        """Note a fault in the line of this number, the first one being 1."""
        if not self.full:
            self.shown.append(self.located(number, message))
        self.count += 1

    def located(self, number: int, message: str) -> str:
        """Put the file and, but for a folder, the line before the message."""
        where = f"{self.source}, {self.unit} {number}" if self.file is None else f"{self.source}/{self.file}"
        return whole([f"{where}: {message}"])[0]

    def check(self) -> None:
        """Raise `CorpusError` with the faults, if there are any."""
        head = f"{self.source}: {self.count:,} {self.unit}s cannot be used; the first {SHOWN}:"
        if self.count:
            raise CorpusError("\n".join([head, *self.shown] if self.count > SHOWN else self.shown))


def lines(
    path: Path, faults: Faults, *, keep_ends: bool = False, bar: bool = True
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, from 1, without their line ends.

    `path` is a plain or gzipped file, or `STANDARD_INPUT`. A byte order mark is dropped, LF or CRLF is a line
    end (CR, where a file has no LF), and the last line needs none. A line that cannot be decoded is noted in
    `faults` and left out. `bar` shows the progress in a regular file.

    Raises `CorpusError` for a missing, damaged or UTF-16 file.
    """
    bar = bar and path.is_file()
    size, number = path.stat().st_size if bar else 0, 0
    with (
        _opened(path) as (raw, content),
        tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=not bar) as progress,
    ):
        try:
            for number, line in enumerate(_split(content), start=1):
                if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise CorpusError(f"{source_name(path)} is UTF-16 text; save it as UTF-8")
                if bar and number % STEP == 0:
                    progress.update(raw.tell() - progress.n)
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    if not faults.latin1:
                        byte = f"byte {line[error.start]:#04x} at {error.start}"
                        faults.add(number, f"{byte} is not UTF-8; save it as UTF-8")
                        continue
                    faults.latin1_lines += 1
                    text = line.decode("latin-1")
                yield number, text if keep_ends else text.rstrip("\r\n")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            name = source_name(path)
            raise CorpusError(
                f"{name} is damaged after line {number} ({error}); get the file again"
            ) from None
        progress.update(size - progress.n)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a file; yield it as it lies on disk, and its unzipped content."""
    try:
        opened = _standard_input() if path == STANDARD_INPUT else path.open("rb")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
    with opened as raw:
        zipped = raw.peek(2).startswith(b"\x1f\x8b")
        yield raw, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if zipped else raw


def _standard_input() -> BinaryIO:
    """Open standard input anew: Python aborts if it ends while a thread reads `sys.stdin`."""
    if sys.stdin is None:
        raise CorpusError("standard input is closed; name a file, or send lines to it")
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError):  # no file, as in a notebook
        return nullcontext(sys.stdin.buffer)


def _split(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines; a file without one LF has the line ends of old Macs, a CR each."""
    for number, line in enumerate(content):
        yield from [line] if number or line.endswith(b"\n") else line.splitlines(keepends=True)


def json_rows(path: Path, faults: Faults, bar: bool = True, example: str = '{"text": "…"}') -> Iterator[Row]:
    """Yield the objects of JSON lines with the numbers of their lines; errors show the `example`."""
    for number, line in lines(path, faults, bar=bar):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            row, kind_of_line = None, f"JSON ({error})"
        else:
            kind_of_line = "a JSON object"
        if isinstance(row, dict):
            yield number, row
        elif line.lstrip().startswith("["):
            faults.add(number, f"{line[:60]!r} begins a JSON list; write one object a line (JSON Lines)")
        else:
            faults.add(number, f"{line[:60]!r} is not {kind_of_line}; expected an object such as {example}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object; Python would take the last of several values for a key."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"the key {doubled(name for name, _ in pairs)!r} stands twice")
    return row


def doubled(names: Iterable[str]) -> str | None:
    """Return the first name that stands more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def whole(texts: Sequence[str]) -> list[str]:
    """Replace half surrogate pairs, which JSON can write and UTF-8 cannot, by U+FFFD."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return list(texts)


def kind(path: Path) -> str:
    """Return the format: a value of `FORMATS`, "vocabulary" or "corpus" (both Annif's TSV), or "folder".

    Standard input and pipes are JSONL, and so is a file of another name that begins with `{`.

    Raises `CorpusError` when the file is missing, or neither its name nor its first line tells the format.
    """
    if path == STANDARD_INPUT:
        return "jsonl"
    if path.is_dir():
        return "folder"
    name = path.name.lower()
    key = FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    if key is None or (key == "parquet" and name.endswith(".gz")):
        # The content of a pipe can be read once, and not here.
        if path.exists() and (not path.is_file() or _first_line(path).lstrip().startswith("{")):
            return "jsonl"
        raise CorpusError(
            f"{path} has none of the endings .jsonl, .csv, .tsv, .txt, .ttl, .rdf, .xml (or these with .gz) "
            "and .parquet, which say how to read it; rename or convert it"
        )
    if not path.exists():
        raise CorpusError(f"{path} cannot be read: No such file or directory")
    if key == "tsv" and not path.is_file():
        raise CorpusError(
            f"{path} is a pipe, which gives its first line once, and that line says how to read a TSV file; "
            "write a file, or send JSON lines"
        )
    return _tsv(path) if key == "tsv" else key


def unit(path: Path) -> str:
    """Return the unit that the row numbers of a file count: "line", "row", "file" or "concept"."""
    units = {"parquet": "row", "folder": "file", "turtle": "concept", "rdf": "concept"}
    return units.get(kind(path), "line")


def _tsv(path: Path) -> str:
    """Tell Annif's two formats from a table whose first line names the columns."""
    line = _first_line(path)
    cells = [cell.strip() for cell in line.split("\t")]
    if "text" in cells:
        return "tsv"
    if IN_BRACKETS.fullmatch(cells[0]):
        return "vocabulary"
    if len(cells) == 2 and (not cells[1] or URIS.fullmatch(cells[1])):
        return "corpus"
    raise CorpusError(
        f"{path}, line 1: {line[:60]!r} begins no TSV file that can be read; expected `<URI>`, a tab and a "
        "label; a text, a tab and `<URI> <URI>`; or names of columns, `text` among them"
    )


def _first_line(path: Path) -> str:
    """Return the first line that is not blank; "" without one."""
    numbered = lines(path, Faults(path, latin1=True), bar=False)
    return next((line for _, line in numbered if line.strip()), "")
