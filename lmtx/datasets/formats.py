"""The format of a user's file, by its name and, where the name leaves it open, by its first line."""

import re
from pathlib import Path

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import STANDARD_INPUT, Lines

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


def kind(path: Path) -> str:
    """The format: a key of `SUFFIXES`, "vocabulary" or "corpus" (both Annif's TSV), or "folder".

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
    """The unit that the row numbers of a file count: "line", "row", "file" or "concept"."""
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
    """The first line that is not blank; "" where there is none."""
    return next((line for _, line in Lines(path, bar=False) if line.strip()), "")
