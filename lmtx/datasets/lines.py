"""Text files: their formats, their lines one at a time, plain or gzipped, and the faults in them."""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm

from lmtx.corpus import CorpusError

SHOWN = 5  # faults that an error message shows
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
STEP = 1000  # lines between two updates of the progress bar
STANDARD_INPUT = Path("-")
SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "parquet": (".parquet", ".pq"),
    "text": (".txt",),
    "turtle": (".ttl",),
    "rdf": (".rdf", ".xml"),
}
SKOS = ("turtle", "rdf")
LABELS_ONLY = (*SKOS, "vocabulary")
"""The formats that hold labels, and never documents."""

IN_BRACKETS = re.compile(r"<([^<>]+)>")
URIS = re.compile(r"\s*(<[^<>]+>\s*)+")
"""Names in angle brackets, one behind the other: `<a><b>`, `<URI> <URI>`."""


def source_name(path: Path) -> str:
    """The name of a file in messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


class Faults:
    """The faults of the lines (or rows) of one file: all are counted, the first five are kept."""

    def __init__(self, source: Path, unit: str = "line") -> None:
        self.source, self.unit = source_name(source), unit
        self.file: str | None = None  # of a folder: the file that is read at present
        self.count = 0
        self.shown: list[str] = []

    @property
    def full(self) -> bool:
        """Whether a further message would not be shown."""
        return self.count >= SHOWN

    def add(self, number: int, message: str) -> None:
        """Note a fault in the line of this number, the first one being 1."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(self.located(number, message))

    def located(self, number: int, message: str) -> str:
        """Put the file and, but for a folder, the line before the message."""
        if self.file is not None:
            return whole([f"{self.source}/{self.file}: {message}"])[0]
        return whole([f"{self.source}, {self.unit} {number}: {message}"])[0]

    def check(self) -> None:
        """Raise `CorpusError` with the faults, if there are any."""
        if self.count > SHOWN:
            head = f"{self.source}: {self.count:,} {self.unit}s cannot be used; the first {SHOWN}:"
            raise CorpusError("\n".join([head, *self.shown]))
        if self.count:
            raise CorpusError("\n".join(self.shown))


class Lines:
    """The lines of a text file with their numbers, without their line ends.

    A byte order mark is dropped, LF or CRLF is a line end (CR, where a file has no LF), and the last line
    needs none. Iterating yields (number from 1, text).

    Attributes
    ----------
    path
        A plain or gzipped file, or `STANDARD_INPUT`.
    latin1
        After reading: how many lines were not UTF-8 and were read as Latin-1.
    """

    def __init__(
        self, path: Path, faults: Faults | None = None, keep_ends: bool = False, bar: bool = True
    ) -> None:
        """Without `faults`, a line that is not UTF-8 is read as Latin-1; with it, it is a fault.

        No text of some length in Latin-1 is valid UTF-8 by chance, so that this tells the two apart
        without reading a file twice. `bar` shows the progress in a regular file.
        """
        self.path, self.latin1 = path, 0
        self._faults, self._keep_ends = faults, keep_ends
        self._bar = bar and path.is_file()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Raises `CorpusError` for a missing, damaged or UTF-16 file."""
        number = 0
        with self._open() as (raw, content):
            size = self.path.stat().st_size if self._bar else 0
            with tqdm(
                total=size, desc=self.path.name, unit="B", unit_scale=True, disable=not self._bar
            ) as bar:
                try:
                    for number, line in enumerate(_split(content), start=1):
                        if number == 1:
                            line = self._without_mark(line)
                        text = self._decode(number, line)
                        if text is not None:
                            yield number, text if self._keep_ends else text.rstrip("\r\n")
                        if self._bar and number % STEP == 0:
                            bar.update(raw.tell() - bar.n)
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    name = source_name(self.path)
                    raise CorpusError(
                        f"{name} is damaged after line {number} ({error}); get the file again"
                    ) from None
                bar.update(size - bar.n)

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """Open the file; yield it as it lies on disk, and its unzipped content."""
        try:
            opened = _standard_input() if self.path == STANDARD_INPUT else self.path.open("rb")
        except OSError as error:
            raise CorpusError(f"{self.path} cannot be read: {error.strerror}") from None
        with opened as raw:
            zipped = raw.peek(2).startswith(b"\x1f\x8b")
            yield raw, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if zipped else raw

    def _without_mark(self, line: bytes) -> bytes:
        if line.startswith(UTF16_MARKS):
            raise CorpusError(f"{source_name(self.path)} is UTF-16 text; save it as UTF-8")
        return line.removeprefix(UTF8_MARK)

    def _decode(self, number: int, line: bytes) -> str | None:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            if self._faults is None:
                self.latin1 += 1
                return line.decode("latin-1")
            byte = line[error.start]
            self._faults.add(number, f"byte {byte:#04x} at {error.start} is not UTF-8; save it as UTF-8")
            return None


def _split(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines; a file without one LF has the line ends of old Macs, a CR each."""
    for number, line in enumerate(content):
        yield from [line] if number or line.endswith(b"\n") else line.splitlines(keepends=True)


def _standard_input() -> BinaryIO:
    """Open standard input anew: Python aborts if it ends while a thread reads `sys.stdin`."""
    if sys.stdin is None:
        raise CorpusError("standard input is closed; name a file, or send lines to it")
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError):  # no file, as in a notebook
        return nullcontext(sys.stdin.buffer)


def whole(texts: Sequence[str]) -> list[str]:
    """Replace half surrogate pairs, which JSON can write and UTF-8 cannot, by U+FFFD."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return list(texts)


def find(folder: Path, names: tuple[str, ...], missing: str) -> Path:
    """Find the first of these files that exists, as it is or with `.gz` added.

    Raises `CorpusError` that names them all and ends with `missing`, the remedy.
    """
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise CorpusError(f"{folder} has none of the files {', '.join(names)} (or .gz); {missing}")


def kind(path: Path) -> str:
    """Return the format: a key of `SUFFIXES`, "vocabulary" or "corpus" (both Annif's TSV), or "folder".

    Standard input and pipes are JSONL, and so is a file of another name that begins with `{`.

    Raises
    ------
    CorpusError
        When the file is missing, or neither its name nor its first line tells the format.
    """
    if path == STANDARD_INPUT:
        return "jsonl"
    if path.is_dir():
        return "folder"
    name = path.name.lower().removesuffix(".gz")
    by_name = next((key for key, suffixes in SUFFIXES.items() if name.endswith(suffixes)), None)
    if by_name == "parquet" and name != path.name.lower():
        by_name = None
    if by_name is None:
        # The content of a pipe can be read once, and not here.
        if path.exists() and (not path.is_file() or _first_line(path).lstrip().startswith("{")):
            return "jsonl"
        raise CorpusError(
            f"{path} has none of the endings .jsonl, .csv, .tsv, .txt, .ttl, .rdf, .xml (or these with .gz) "
            "and .parquet, which say how to read it; rename or convert it"
        )
    if not path.exists():
        raise CorpusError(f"{path} cannot be read: No such file or directory")
    if by_name == "tsv" and not path.is_file():
        raise CorpusError(
            f"{path} is a pipe, which gives its first line once, and that line says how to read a TSV file; "
            "write a file, or send JSON lines"
        )
    return _tsv(path) if by_name == "tsv" else by_name


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
    return next((line for _, line in Lines(path, bar=False) if line.strip()), "")
