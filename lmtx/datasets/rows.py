"""Rows of a user's own files: JSONL, CSV, Parquet, a text a line, or a folder of texts, by the name."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import Faults, Lines

SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv",),
    "parquet": (".parquet", ".pq"),
    "text": (".txt",),
}
BATCH = 256  # rows of a Parquet file in memory at once
LONGEST_FIELD = 2**31 - 1  # characters of a CSV field; Python's own limit is 131,072

Row = tuple[int, dict[str, Any]]


def rows(path: Path, faults: Faults) -> Iterator[Row]:
    """The rows of a file with their numbers, from 1, as its errors name them.

    A row is a dictionary of its columns; those of a text file have `text` alone. CSV gives texts only, and
    an empty field is None. JSONL, CSV and text files may be gzipped (`.gz`), and are UTF-8. A folder's rows
    are its .txt and .md files, in the order of their names, with `text` and, as `uid`, the path within it.

    Broken rows are noted in `faults` and left out.

    Raises
    ------
    CorpusError
        When the file is missing, damaged or of no known kind.
    """
    readers = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet, "text": _text, "folder": _folder}
    return readers[kind(path)](path, faults)


def kind(path: Path) -> str:
    """How it is read: a key of `SUFFIXES`, or "folder". Raises `CorpusError` for a name that says nothing."""
    if path.is_dir():
        return "folder"
    name = path.name.lower().removesuffix(".gz")
    for found, suffixes in SUFFIXES.items():
        if name.endswith(suffixes) and not (found == "parquet" and name != path.name.lower()):
            return found
    raise CorpusError(
        f"{path} has none of the endings .jsonl, .csv, .txt (or these with .gz) and .parquet, which say "
        "how to read it; rename or convert it"
    )


def unit(path: Path) -> str:
    """What a file's numbers count: "line", "row" or "file"."""
    return {"parquet": "row", "folder": "file"}.get(kind(path), "line")


def _jsonl(path: Path, faults: Faults) -> Iterator[Row]:
    for number, line in Lines(path, faults):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == 1 and line.lstrip().startswith("["):
                raise CorpusError(
                    f"{path} holds one JSON list; write one object a line instead (JSON Lines)"
                ) from None
            faults.add(number, f"{line[:60]!r} is not JSON ({error})")
            continue
        if number == 1 and isinstance(found, list):
            raise CorpusError(f"{path} holds one JSON list; write one object a line instead (JSON Lines)")
        if isinstance(found, dict):
            yield number, found
        else:
            faults.add(number, f'{line[:60]!r} is not a JSON object such as {{"text": "…"}}')


def _csv(path: Path, faults: Faults) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader((line for _, line in Lines(path, faults, keep_ends=True)), strict=True)
    header: list[str] | None = None
    number = 1
    while True:
        # A record may span lines; what the user looks for is where it begins.
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
        elif len(fields) != len(header):
            faults.add(
                number,
                f"{len(fields)} fields, and the header has {len(header)}; a comma within a text needs "
                "quotation marks around it",
            )
        else:
            yield number, {name: field or None for name, field in zip(header, fields, strict=True)}
    if header is None:
        raise CorpusError(f"{path} is empty; its first line must name the columns")


def _parquet(path: Path, faults: Faults) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            with tqdm(total=file.metadata.num_rows, desc=path.name, unit="row") as bar:
                for batch in file.iter_batches(BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, row
                    bar.update(batch.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read as Parquet: {error}") from None


def _folder(path: Path, faults: Faults) -> Iterator[Row]:
    files = sorted(
        file for file in path.rglob("*") if file.suffix.lower() in (".txt", ".md") and file.is_file()
    )
    if not files:
        raise CorpusError(f"the folder {path} holds no .txt or .md file")
    for number, file in enumerate(files, 1):
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            faults.add(number, f"{file} is not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8")
            continue
        yield number, {"text": text, "uid": file.relative_to(path).as_posix()}


def _text(path: Path, faults: Faults) -> Iterator[Row]:
    for number, line in Lines(path, faults):
        if line.strip():
            yield number, {"text": line}
