"""The JSONL files of the Extreme Classification Repository, as data/README.md describes them.

The weights of annotated labels, `target_rel`, are all 1 and are not read. The pairs of the filter files are
a page and itself, under another number. Some of the files are UTF-8, some Latin-1.

Sources: the repository's page (manikvarma.org/downloads/XC/XMLRepository.html); for the field and
file names the data preparation of NGAME and of DEXA, which both use; for the filter files their tools
for evaluation.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.config import FolderConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import assemble_sides, label_table, read_sides
from lmtx.datasets.download import find
from lmtx.datasets.lines import Faults, json_rows, lines
from lmtx.datasets.spool import RawDocument

FILES = {"train": ("trn.json",), "test": ("tst.json",)}
EXAMPLE = '{"uid": "7", "title": "…", "content": "…", "target_ind": [0, 3]}'
LABEL_FILES = ("lbl.json", "Yf.txt")
FILTERS = {
    "train": ("filter_labels_train.txt", "trn_filter_labels.txt"),
    "test": ("filter_labels_test.txt", "tst_filter_labels.txt"),
}


def read(config: FolderConfig, root: Path, scratch: Path) -> Reading:
    """Read `config.folder`, one side after the other, in memory that does not grow with the documents.

    Dev takes the `dev_documents` training documents whose uids have the lowest hashes. `train_documents` and
    `test_documents` limit how much is read from the start of a side. The text of a label is its title, or
    else its content, or else its uid.

    Raises `CorpusError` when a file is missing or damaged, or lines of it are broken: file, line, value, and
    remedy.
    """
    paths = {split: find(config, root, names) for split, names in FILES.items()}
    label_path = find(config, root, LABEL_FILES)
    faults = {name: Faults(path, latin1=True) for name, path in {**paths, "labels": label_path}.items()}
    uids, texts = _labels(label_path, faults["labels"])
    sources = {s: (faults[s], _documents(path, len(uids), faults[s])) for s, path in paths.items()}
    sides, filters = read_sides(config, sources, scratch), {}
    for split, side in sides.items():
        # Pairs that are no candidates, such as a page and itself.
        files = [root / config.folder / name for name in FILTERS[split]]
        file = next((file for file in files if file.is_file()), None)
        filters[split] = file and file.name
        if file is not None:
            side.excluded = _pairs(file, side.total, len(uids))
    manifest = {"filter_files": filters, "latin1_lines": sum(f.latin1_lines for f in faults.values())}
    return assemble_sides(config, label_table(uids, texts), sides, manifest)


def _documents(path: Path, n_labels: int, faults: Faults) -> Iterator[RawDocument]:
    for position, (number, row) in enumerate(json_rows(path, faults, example=EXAMPLE)):
        if fault := _fault(row, n_labels):
            faults.add(number, fault)
            continue
        title, text = row.get("title") or "", row.get("content") or ""
        yield position, _uid(row, position), title, text, row.get("target_ind") or []


def _uid(row: dict[str, Any], position: int) -> str:
    """Return the uid of a document or a label; without one, its position."""
    return str(position if row.get("uid") is None else row["uid"])


def _fault(row: dict[str, Any], n_labels: int) -> str | None:
    """Describe the fault of a document or a label, or return None."""
    for key in ("title", "content"):
        if not isinstance(row.get(key) or "", str):
            return f"`{key}` is {row[key]!r}, not a text"
    if "title" not in row and "content" not in row:
        return f"there is neither `title` nor `content`; there are {', '.join(row) or 'no fields'}"
    labels = row.get("target_ind") or []
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        return f"`target_ind` is {str(labels)[:60]}, not a list of whole numbers"
    if labels and not 0 <= min(labels) <= max(labels) < n_labels:
        bad = next(label for label in labels if not 0 <= label < n_labels)
        return f"`target_ind` holds {bad}; the numbers of labels run from 0 to {n_labels - 1}"
    return None


def _labels(path: Path, faults: Faults) -> tuple[list[str], list[str]]:
    """Return the uids and the texts of the labels."""
    uids, texts = [], []
    if ".json" in path.suffixes:
        for position, (number, row) in enumerate(json_rows(path, faults, example=EXAMPLE)):
            title, content = row.get("title") or "", row.get("content") or ""
            if not (isinstance(title, str) and isinstance(content, str)):
                faults.add(number, f"`title` or `content` is not a text: {str(row)[:60]}")
                continue
            uids.append(_uid(row, position))
            texts.append(title.strip() or content.strip() or uids[-1])
    else:
        for number, line in lines(path, faults):
            uids.append(str(number - 1))
            texts.append(line.strip() or uids[-1])
    faults.check()
    return uids, texts


def _pairs(path: Path, n_documents: int | None, n_labels: int) -> np.ndarray:
    """Read the pairs of a filter file: int64 (m, 2), document and label.

    With `n_documents` None, for a side that was not read to its end, document numbers are not checked.
    """
    if not path.stat().st_size:
        return np.empty((0, 2), dtype=np.int64)
    try:
        pairs = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: {error}; expected two whole numbers a line: document, label") from None
    if pairs.shape[1] != 2:
        raise CorpusError(f"{path} has {pairs.shape[1]} columns; expected two: document, label")
    ends = np.array([np.inf if n_documents is None else n_documents, n_labels])
    wrong = (pairs < 0) | (pairs >= ends)
    if wrong.any():
        line, column = np.argwhere(wrong)[0]
        noun = ("documents", "labels")[column]
        raise CorpusError(
            f"{path}, line {line + 1}: {pairs[line, column]}; the numbers of {noun} run from 0 to "
            f"{ends[column] - 1:.0f}"
        )
    return pairs
