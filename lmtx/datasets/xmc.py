"""The JSONL files of the Extreme Classification Repository.

A folder holds `trn.json`, `tst.json` and `lbl.json`, each plain or with `.gz`: an object a line with `uid`,
`title`, `content` and, for documents, `target_ind`, the numbers of the annotated labels counted from 0
in the order of `lbl.json` (their weights `target_rel` are all 1). AmazonCat-13K has `Yf.txt`, a label a line,
in the place of `lbl.json`. `filter_labels_train.txt` and `filter_labels_test.txt` list pairs "document
label", both counted from 0, that are to be ignored: a page and itself, under another number. Some of the
files are UTF-8, some Latin-1.

Sources: the repository's page (manikvarma.org/downloads/XC/XMLRepository.html); for the field and
file names the data preparation of NGAME and of DEXA, which both use; for the filter files their tools
for evaluation.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.config import FolderData
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import assemble, kept_apart, label_table
from lmtx.datasets.lines import Faults, Lines, find
from lmtx.datasets.published import check_dev, folder_of, limits, read_side, remedy

FILES = {"train": ("trn.json",), "test": ("tst.json",)}
LABEL_FILES = ("lbl.json", "Yf.txt")
FILTERS = {
    "train": ("filter_labels_train.txt", "trn_filter_labels.txt"),
    "test": ("filter_labels_test.txt", "tst_filter_labels.txt"),
}


def read(config: FolderData, root: Path, scratch: str | Path | None = None) -> Reading:
    """Read `config.folder`, a side after the other, in memory that does not grow with the documents.

    Dev takes the `dev_documents` training documents whose uids have the lowest hashes. A side that is limited
    (`train_documents`, `test_documents`) is read from its start. A label without a title gets its content,
    or its uid, for a text.

    Raises
    ------
    CorpusError
        When a file is missing or damaged, or lines of it are broken: file, line, value, and what to do.
    """
    folder = folder_of(config, root)
    paths = {split: find(folder, names, remedy(config)) for split, names in FILES.items()}
    labels, latin1 = _labels(find(folder, LABEL_FILES, remedy(config)))
    place = TemporaryDirectory(prefix=".reading-", dir=scratch)
    sides, filters = {}, {}
    for split, limit in limits(config).items():
        faults, lines = Faults(paths[split]), Lines(paths[split])
        documents = _documents(lines, labels.num_rows, faults)
        side = sides[split] = read_side(paths[split], documents, split, limit, place, faults)
        latin1 += lines.latin1
        filters[split] = _filter_file(folder, split)
        side.excluded = _pairs(filters[split], side.total, labels.num_rows)
    check_dev(config, sides["train"])
    manifest = {
        "source": {split: side.total for split, side in sides.items()},
        "filter_files": {split: path and path.name for split, path in filters.items()},
        "latin1_lines": latin1,
    }
    assigned = kept_apart(sides["train"].spool, config.dev_documents)
    return assemble(config.name, labels, sides["train"], assigned, sides["test"], place, manifest)


def _objects(lines: Lines, faults: Faults) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The objects of a JSONL file with their line numbers; None in the place of one that is broken."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            faults.add(number, f"{line[:60]!r} is not JSON ({error})")
            found = None
        if found is not None and not isinstance(found, dict):
            faults.add(number, f"{line[:60]!r} is not a JSON object")
            found = None
        yield number, found


def _documents(
    lines: Lines, n_labels: int, faults: Faults
) -> Iterator[tuple[str, str, str, list[int]] | None]:
    for row, (number, found) in enumerate(_objects(lines, faults)):
        fault = None if found is None else _fault(found, n_labels)
        if fault:
            faults.add(number, fault)
        if found is None or fault:
            yield None
            continue
        uid = str(found.get("uid", row))
        yield uid, found.get("title") or "", found.get("content") or "", found.get("target_ind") or []


def _fault(found: dict[str, Any], n_labels: int) -> str | None:
    """What is wrong with a document, or None."""
    for key in ("title", "content"):
        if not isinstance(found.get(key) or "", str):
            return f"`{key}` is {found[key]!r}, not a text"
    if "title" not in found and "content" not in found:
        return f"there is neither `title` nor `content`; there are {', '.join(found) or 'no fields'}"
    labels = found.get("target_ind") or []
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        return f"`target_ind` is {str(labels)[:60]}, not a list of whole numbers"
    if labels and not 0 <= min(labels) <= max(labels) < n_labels:
        bad = next(label for label in labels if not 0 <= label < n_labels)
        return f"`target_ind` holds {bad}; the numbers of labels run from 0 to {n_labels - 1}"
    return None


def _labels(path: Path) -> tuple[pa.Table, int]:
    """The label table, and how many of its lines were Latin-1."""
    faults, lines = Faults(path), Lines(path)
    uids, texts = [], []
    if ".json" in path.suffixes:
        for row, (number, found) in enumerate(_objects(lines, faults)):
            if found is None:
                continue
            given = [found.get(key) or "" for key in ("title", "content")]
            if not all(isinstance(text, str) for text in given):
                faults.add(number, f"`title` or `content` is not a text: {str(found)[:60]}")
                continue
            uids.append(str(found.get("uid", row)))
            texts.append(next((text.strip() for text in given if text.strip()), uids[-1]))
    else:
        for number, line in lines:
            uids.append(str(number - 1))
            texts.append(line.strip() or uids[-1])
    faults.check()
    return label_table(uids, texts), lines.latin1


def _filter_file(folder: Path, split: str) -> Path | None:
    """A side's filter file; not every data set has one."""
    return next((folder / name for name in FILTERS[split] if (folder / name).is_file()), None)


def _pairs(path: Path | None, n_documents: int | None, n_labels: int) -> np.ndarray:
    """The pairs of a filter file: int64 (m, 2), document and label; without the file none.

    `n_documents` None: the side was not read to its end, and the numbers of documents are not checked.
    """
    if path is None or not path.stat().st_size:
        return np.empty((0, 2), dtype=np.int64)
    try:
        pairs = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: {error}; expected two whole numbers a line: document, label") from None
    if pairs.shape[1] != 2:
        raise CorpusError(f"{path} has {pairs.shape[1]} columns; expected two: document, label")
    ends = {"documents": np.inf if n_documents is None else n_documents, "labels": n_labels}
    for column, (what, end) in enumerate(ends.items()):
        wrong = (pairs[:, column] < 0) | (pairs[:, column] >= end)
        if wrong.any():
            line = int(wrong.argmax())
            raise CorpusError(
                f"{path}, line {line + 1}: {pairs[line, column]}; "
                f"the numbers of {what} run from 0 to {end - 1}"
            )
    return pairs
