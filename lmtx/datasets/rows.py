"""Rows of a user's own files: JSONL, CSV, TSV, Parquet, a text a line, or a folder of texts."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import IN_BRACKETS, URIS, Faults, Lines, kind

BATCH = 256  # rows of a Parquet file in memory at once
BUFFER = 1 << 20  # bytes of a Parquet column read at once
LONGEST_FIELD = 2**31 - 1  # characters of a CSV field; Python's own limit is 131,072

Row = tuple[int, dict[str, Any]]


def rows(path: Path, faults: Faults, bar: bool = True) -> Iterator[Row]:
    """The rows of a file with their numbers, from 1, as its errors name them.

    A row is a dictionary of its columns. Those of a text file have `text` alone; those of Annif's
    vocabularies `uid`, `text` and `notation`, and of its corpora `text` and `labels`. CSV and TSV give texts
    only, and an empty field is None. All but Parquet may be gzipped (`.gz`), and are UTF-8. A folder's rows
    are its .txt and .md files, in the order of their names, with `text`, the path within it as `uid`, and as
    `labels` those in a .tsv or .key file of the same name.

    Broken rows are noted in `faults` and left out. `bar` shows the progress.

    Raises
    ------
    CorpusError
        When the file is missing, damaged or of no known kind.
    """
    readers = {
        "jsonl": _jsonl,
        "csv": partial(_table, delimiter=","),
        "tsv": partial(_table, delimiter="\t"),
        "parquet": _parquet,
        "text": _text,
        "vocabulary": _vocabulary,
        "corpus": _corpus,
        "folder": _folder,
    }
    return readers[kind(path)](path, faults, bar)


def text_fault(row: dict[str, Any]) -> str | None:
    """Describe the fault of a row's `text`, which must not be empty; None: there is none."""
    text = row.get("text")
    if text is None and "text" not in row:
        return f"there is no `text`; there are: {', '.join(map(str, row)) or 'no columns'}"
    if text is None or (isinstance(text, str) and not text.strip()):
        return "`text` is empty; fill it, or drop the row"
    return None if isinstance(text, str) else f"`text` is {str(text)[:60]}, not a text"


def optional_fault(row: dict[str, Any], column: str) -> str | None:
    """Describe the fault of a column that holds a text or nothing; None: there is none."""
    value = row.get(column)
    return None if value is None or isinstance(value, str) else f"`{column}` is {str(value)[:60]}, not a text"


def uid_fault(row: dict[str, Any], column: str = "uid") -> str | None:
    """Describe the fault of a column that holds a text, a whole number or nothing; None: there is none."""
    uid = row.get(column)
    if uid is None or type(uid) is int or (isinstance(uid, str) and uid.strip()):
        return None
    return f"`{column}` is {str(uid)[:60]!r}; expected a text or a whole number"


def json_rows(lines: Iterable[tuple[int, str]], faults: Faults, example: str) -> Iterator[Row]:
    """Yield the objects of JSON lines with the numbers of their lines; errors show the `example`."""
    for number, line in lines:
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


def _jsonl(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    return json_rows(Lines(path, faults, bar=bar), faults, '{"text": "…"}')


def _table(path: Path, faults: Faults, bar: bool, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    lines = (line for _, line in Lines(path, faults, keep_ends=True, bar=bar))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    separator = {",": "comma", "\t": "tab"}[delimiter]
    header: list[str] | None = None
    number = 1
    while True:
        # A record may span lines; the user looks for the one where it begins.
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            faults.add(number, f"not CSV ({error}); the rest of the file was not read")
            break
        if not fields:
            continue
        if header is None:
            header = [name.strip() for name in fields]
            _check_columns(path, header)
        elif len(fields) != len(header):
            faults.add(
                number,
                f"{len(fields)} fields, and the header has {len(header)}; a {separator} within a text needs "
                "quotation marks around it",
            )
        else:
            yield number, {name: field or None for name, field in zip(header, fields, strict=True)}
    if header is None:
        raise CorpusError(f"{path} is empty; its first line must name the columns")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python would take the last of several values for a key."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {_doubled(names)!r} stands twice")
    return row


def _check_columns(path: Path, names: list[str]) -> None:
    if doubled := _doubled(filter(None, names)):
        raise CorpusError(f"{path} has several columns {doubled!r}; rename or drop all but one")


def _doubled(names: Iterable[str]) -> str | None:
    """The first name that stands more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _vocabulary(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    for number, line in _text_lines(path, faults, bar):
        uri, *names = (cell.strip() for cell in line.split("\t"))
        if IN_BRACKETS.fullmatch(uri) and len(names) <= 2:
            label, notation = (*names, "", "")[:2]
            yield number, {"uid": uri[1:-1], "text": label or None, "notation": notation or None}
        else:
            faults.add(
                number, f"{line[:60]!r} is not `<URI>`, a tab and a label, maybe with a tab and a notation"
            )


def _corpus(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    for number, line in _text_lines(path, faults, bar):
        text, tab, uris = line.partition("\t")
        if tab and (not uris.strip() or URIS.fullmatch(uris)):
            yield number, {"text": text, "labels": uris}
        elif tab:
            faults.add(number, f"{uris[:60]!r} stands behind the tab; expected `<URI> <URI>`, one or more")
        else:
            faults.add(number, f"{line[:60]!r} has no tab; expected a text, a tab and `<URI> <URI>`")


def _parquet(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    try:
        # With these two a column is read as it is decoded, instead of a whole group of rows before.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            _check_columns(path, file.schema_arrow.names)
            number = 0
            with tqdm(total=file.metadata.num_rows, desc=path.name, unit="row", disable=not bar) as progress:
                for batch in file.iter_batches(BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, row
                    progress.update(batch.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read as Parquet: {error}") from None


def _folder(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    files = text_files(path)
    if not files:
        raise CorpusError(f"the folder {path} holds no .txt or .md file")
    for number, file in enumerate(tqdm(files, desc=path.name, unit="file", disable=not bar), 1):
        faults.file = file.relative_to(path).as_posix()
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            faults.add(number, f"byte {error.start} is not UTF-8; save it as UTF-8")
            continue
        labels, fault = _annotations(file)
        if fault:
            faults.add(number, fault)
        else:
            yield number, {"text": text, "uid": faults.file} | labels


def text_files(folder: Path) -> list[Path]:
    """The .txt and .md files in a folder and below it, sorted."""
    return sorted(
        file for file in folder.rglob("*") if file.suffix.lower() in (".txt", ".md") and file.is_file()
    )


def _annotations(file: Path) -> tuple[dict[str, list[str]], str | None]:
    """The `labels` in Annif's .tsv or .key file beside a document, if there is one; and its first fault."""
    for suffix, read in ((".tsv", _vocabulary), (".key", _text)):
        beside = file.with_suffix(suffix)
        if beside.is_file():
            faults = Faults(Path(beside.name))
            labels = [row.get("uid", row["text"]) for _, row in read(beside, faults, False)]
            return {"labels": labels}, faults.shown[0] if faults.count else None
    return {}, None


def _text(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    for number, line in _text_lines(path, faults, bar):
        yield number, {"text": line}


def _text_lines(path: Path, faults: Faults, bar: bool) -> Iterator[tuple[int, str]]:
    """The lines that are not blank."""
    return ((number, line) for number, line in Lines(path, faults, bar=bar) if line.strip())
