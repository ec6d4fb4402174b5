"""One's own files: documents, labels and, where there are any, annotations (see data/README.md).

The columns of the documents are `text` and, where there are any, `uid`, `title` and `labels`; those of the
labels are `text` and, where there are any, `uid`, `description` and `notation`. A label then reads
"text: description".
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from lmtx.config import OwnConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import DEV, TEST, TRAIN, Side, assemble
from lmtx.datasets.labels import Labels
from lmtx.datasets.lines import IN_BRACKETS, LABELS_ONLY, URIS, Faults, kind, unit
from lmtx.datasets.rows import optional_fault, rows, text_fault, uid_fault
from lmtx.datasets.spool import Spool, hashes, lowest

BAR = "|"  # between the labels of a cell


def read(config: OwnConfig, root: Path, scratch: str | Path | None = None) -> Reading:
    """Read `config.documents`, `config.labels` and `config.test`, relative to `root`.

    The test documents are the first `test_documents` (null: all) of the file `config.test`. Others are kept
    apart by hashes of their uids, which are their line numbers where they have none: for the test, where
    `config.test` is null, up to `test_documents` of those that have annotations, or, where none has, of
    all, but never more than half; for dev up to `dev_documents`, but never more than half of the rest.
    Without any annotation the truth is empty: systems are trained and rank, and no metric has a value.

    Raises
    ------
    CorpusError
        When a file is missing, or rows cannot be used: their number, and the first five by file, line, value
        and remedy.
    """
    labels = Labels(root / config.labels, config.language, config.describe)
    folder = TemporaryDirectory(prefix=".reading-", dir=scratch)
    main = read_side(root / config.documents, labels, Path(folder.name))
    test = None
    if config.test is not None:
        test = read_side(root / config.test, labels, Path(folder.name), config.test_documents)
    assigned = _assign(config, main, test)
    manifest = {
        "files": {"documents": config.documents, "labels": config.labels, "test": config.test},
        "labels_merged": labels.merged,
        "labels_left_out": len(labels.left_out),
    }
    if labels.note:
        print(labels.note)
        manifest["vocabulary"] = labels.note
    return assemble(config.name, labels.table(), main, assigned, test, folder, manifest)


def read_side(path: Path, labels: Labels, scratch: Path, limit: int | None = None) -> Side:
    """Spool the documents of a file in a folder for scratch files, the first `limit` of them; None: all."""
    faults = Faults(path, unit(path))
    spool = scratch / f"{len(list(scratch.iterdir()))}.spool"
    side = Side(path, Spool(spool), unit=unit(path))
    for document in islice(documents(path, faults), limit):
        label_ids = _label_ids(document.labels, labels, guess=not faults.full)
        if isinstance(label_ids, str):
            faults.add(document.number, label_ids)
        elif not faults.count:
            side.spool.add(document.number, str(document.uid), document.title, document.text, label_ids)
    side.spool.close()
    faults.check()
    return side


class Document(NamedTuple):
    """A document of a file: its row's number, its texts, and its annotations as they stand there."""

    number: int
    uid: str | int
    title: str
    text: str
    labels: Any


def documents(path: Path, faults: Faults, bar: bool = True) -> Iterator[Document]:
    """The documents of a file.

    A document without a uid goes by its row's number. One of a title alone has it for a text. Rows that are
    no documents are noted in `faults` and left out. `bar` shows the progress.

    Raises
    ------
    CorpusError
        When the file is missing, damaged, of no known kind, or a vocabulary.
    """
    if kind(path) in LABELS_ONLY:
        raise CorpusError(f"{path} is a vocabulary, which holds labels; name a file of documents")
    for number, row in rows(path, faults, bar):
        fault = optional_fault(row, "title") or uid_fault(row)
        title = "" if fault else (row.get("title") or "").strip()
        if title and not row.get("text"):
            row, title = row | {"text": title}, ""
        fault = fault or text_fault(row)
        if fault:
            faults.add(number, fault)
        else:
            uid = number if row.get("uid") is None else row["uid"]
            yield Document(number, uid, title, row["text"], row.get("labels"))


def _assign(config: OwnConfig, main: Side, test: Side | None) -> np.ndarray:
    """int8 (n,): the split of each document of `main`; -1 for those beyond `train_documents`."""
    n = len(main.spool)
    least = 2 if test is not None else 3
    if n < least:
        wanted = "train and to check on" if test is not None else "train, to check and to test on"
        raise CorpusError(f"{main.source} holds {n} documents; at least {least} are needed, to {wanted}")
    uids = main.spool.table()["uid"]
    assigned = np.full(n, TRAIN, dtype=np.int8)
    if test is None:
        annotated = np.flatnonzero(np.diff(np.frombuffer(main.spool.ends, dtype=np.int64)))
        rows_ = annotated if len(annotated) else np.arange(n)
        wanted = n // 2 if config.test_documents is None else min(config.test_documents, n // 2)
        assigned[lowest(hashes(uids, "test"), rows_, wanted)] = TEST
    rest = np.flatnonzero(assigned == TRAIN)
    assigned[lowest(hashes(uids, "dev"), rest, min(config.dev_documents, len(rest) // 2))] = DEV
    rest = np.flatnonzero(assigned == TRAIN)
    if config.train_documents is not None:
        trained_on = lowest(hashes(uids, "train"), rest, config.train_documents)
        assigned[np.setdiff1d(rest, trained_on)] = -1
    return assigned


def _label_ids(cell: Any, labels: Labels, guess: bool) -> list[int] | str:
    """Return the ids of a document's labels, or their fault."""
    names = _names(cell)
    if isinstance(names, str):
        return names
    label_ids = [labels.find(name) for name in names]
    if None in label_ids:
        return labels.fault(names[label_ids.index(None)], guess)
    return label_ids


def _names(labels: Any) -> list[str] | str:
    """Return the names of a document's labels, or their fault.

    They are a list, or a text: a JSON list, names in angle brackets, or names with a bar between them.
    """
    if labels is None:
        return []
    if isinstance(labels, str) and labels.lstrip().startswith("["):
        try:
            labels = json.loads(labels)
        except ValueError:
            return f"`labels` is {labels[:60]!r}, which begins as a JSON list and is none"
    elif isinstance(labels, str):
        names = IN_BRACKETS.findall(labels) if URIS.fullmatch(labels) else labels.split(BAR)
        return [name for name in names if name.strip()]
    if not isinstance(labels, list) or any(type(label) not in (str, int) for label in labels):
        return f"`labels` is {str(labels)[:60]!r}; expected a list of texts or uids of labels"
    return [str(label) for label in labels]
