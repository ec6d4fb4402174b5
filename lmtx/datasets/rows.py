"""Rows of a user's own files: JSONL, CSV, TSV, Parquet, a text a line, or a folder of texts."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import IN_BRACKETS, URIS, Faults, Row, doubled, json_rows, kind, lines

BATCH = 256  # rows of a Parquet file in memory at once
BUFFER = 1 << 20  # bytes of a Parquet column read at once
LONGEST_FIELD = 2**31 - 1  # characters of a CSV field; Python's own limit is 131,072


def rows(path: Path, faults: Faults, bar: bool = True) -> Iterator[Row]:
    """The rows of a file with their numbers, from 1, as its errors name them.

    A row is a dictionary of its columns. Those of a text file have `text` alone; those of Annif's
    vocabularies `uid`, `text` and `notation`, and of its corpora `text` and `labels`. CSV and TSV give texts
    only, and an empty field is None. All but Parquet may be gzipped (`.gz`), and are UTF-8. A folder's rows
    are its .txt and .md files, in the order of their names, with `text`, the path within it as `uid`, and as
    `labels` those in a .tsv or .key file of the same name.

    Broken rows are noted in `faults` and left out. `bar` shows the progress.

    Raises `CorpusError` when the file is missing, damaged or of no known kind.
    """
    readers = {
        "jsonl": json_rows,
        "csv": partial(_table, delimiter=","),
        "tsv": partial(_table, delimiter="\t"),
        "parquet": _parquet,
        "text": _text,
        "vocabulary": _vocabulary,
        "corpus": _corpus,
        "folder": _folder,
    }
    return readers[kind(path)](path, faults, bar)


def text_files(folder: Path) -> list[Path]:
    """The .txt and .md files in a folder and below it, sorted."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in (".txt", ".md"))
    return sorted(file for file in files if file.is_file())


def _table(path: Path, faults: Faults, bar: bool, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    content = (line for _, line in lines(path, faults, keep_ends=True, bar=bar))
    reader = csv.reader(content, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        number = reader.line_num + 1  # a record may span lines; the user looks for the one where it begins
        try:
            fields = next(reader, None)
        except csv.Error as error:
            faults.add(number, f"not CSV ({error}); the rest of the file was not read")
            break
        if fields is None:
            break
        if not header:
            header = [name.strip() for name in fields]
            _check_columns(path, header)
        elif fields and len(fields) != len(header):
            counts = f"{len(fields)} fields, and the header has {len(header)}"
            separator = {",": "comma", "\t": "tab"}[delimiter]
            faults.add(number, f"{counts}; a {separator} within a text needs quotation marks around it")
        elif fields:
            yield number, {name: field or None for name, field in zip(header, fields, strict=True)}
    if not header and not faults.count:
        raise CorpusError(f"{path} is empty; its first line must name the columns")


def _check_columns(path: Path, names: list[str]) -> None:
    if name := doubled(filter(None, names)):
        raise CorpusError(f"{path} has several columns {name!r}; rename or drop all but one")


def _parquet(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    try:
        # With these two a column is read as it is decoded, instead of a whole group of rows before.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            _check_columns(path, file.schema_arrow.names)
            content = (row for batch in file.iter_batches(BATCH) for row in batch.to_pylist())
            total = file.metadata.num_rows
            yield from enumerate(tqdm(content, path.name, total, unit="row", disable=not bar), 1)
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read as Parquet: {error}") from None


def _text(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    return ((number, {"text": line}) for number, line in lines(path, faults, bar=bar) if line.strip())


def _vocabulary(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    for number, row in _text(path, faults, bar):
        uri, *names = (cell.strip() for cell in row["text"].split("\t"))
        if IN_BRACKETS.fullmatch(uri) and len(names) <= 2:
            label, notation = (*names, "", "")[:2]
            yield number, {"uid": uri[1:-1], "text": label or None, "notation": notation or None}
        else:
            expected = "`<URI>`, a tab and a label, maybe with a tab and a notation"
            faults.add(number, f"{row['text'][:60]!r} is not {expected}")


def _corpus(path: Path, faults: Faults, bar: bool) -> Iterator[Row]:
    for number, row in _text(path, faults, bar):
        text, tab, uris = row["text"].partition("\t")
        if tab and (not uris.strip() or URIS.fullmatch(uris)):
            yield number, {"text": text, "labels": uris}
        elif tab:
            faults.add(number, f"{uris[:60]!r} stands behind the tab; expected `<URI> <URI>`, one or more")
        else:
            faults.add(number, f"{text[:60]!r} has no tab; expected a text, a tab and `<URI> <URI>`")


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
        row = {"text": text, "uid": faults.file}
        # The annotations are in Annif's file beside the document, if there is one.
        beside = next(filter(Path.is_file, (file.with_suffix(".tsv"), file.with_suffix(".key"))), None)
        if beside is not None:
            faults_beside = Faults(Path(beside.name))
            read = _vocabulary if beside.suffix == ".tsv" else _text
            labels = [label for _, label in read(beside, faults_beside, False)]
            if faults_beside.count:
                faults.add(number, faults_beside.shown[0])
                continue
            row["labels"] = [label.get("uid", label["text"]) for label in labels]
        yield number, row
