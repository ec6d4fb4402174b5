"""One's own files: documents, labels and, where there are any, annotations (see data/README.md).

The columns of the documents are `text` and, where there are any, `uid`, `title` and `labels`; those of the
labels are `text` and, where there are any, `uid` and `description`. A label then reads "text: description".
"""

import difflib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.config import OwnData
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import DEV, TEST, TRAIN, Side, assemble, label_table
from lmtx.datasets.lines import Faults
from lmtx.datasets.rows import kind, rows, unit
from lmtx.datasets.spool import Spool, hashes, lowest

BAR = "|"  # between the labels of a CSV field
GUESSED_AMONG = 20_000  # labels; among more, an unknown one is not compared with all


def read(config: OwnData, root: Path, scratch: str | Path | None = None) -> Reading:
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
        and what to do.
    """
    known = Labels(root / config.labels)
    place = TemporaryDirectory(prefix=".reading-", dir=scratch)
    main = read_side(root / config.documents, known, Path(place.name))
    test = None
    if config.test is not None:
        test = read_side(root / config.test, known, Path(place.name), config.test_documents)
    assigned = _assign(config, main, test)
    manifest = {
        "files": {"documents": config.documents, "labels": config.labels, "test": config.test},
        "labels_merged": known.merged,
    }
    return assemble(config.name, known.table(), main, assigned, test, place, manifest)


class Labels:
    """The label set, and what its labels may be called in annotations.

    Attributes
    ----------
    merged
        How many labels were equal to one before them, and are one with it.
    """

    def __init__(self, path: Path) -> None:
        """Read a file of labels. Raises `CorpusError` naming file and lines."""
        self.path, self.merged = path, 0
        self._uids: list[str] = []
        self._texts: list[str] = []
        self._by_uid: dict[str, int] = {}
        self._by_name: dict[str, int | None] = {}  # None: several labels have this name
        faults = Faults(path, unit(path))
        for number, row in rows(path, faults):
            fault = self._add(row)
            if fault:
                faults.add(number, fault)
        faults.check()
        if not self._texts:
            raise CorpusError(f"{path} holds no labels; write at least one")

    def table(self) -> pa.Table:
        """The table of labels."""
        return label_table(self._uids, self._texts)

    def find(self, called: str) -> int | str:
        """The id of the label with this uid or, failing that, this text; or what is wrong."""
        called = called.strip()
        if called in self._by_uid:
            return self._by_uid[called]
        found = self._by_name.get(called, -1)
        if found is None:
            return f"label {called!r} is the text of several labels in {self.path}; use their uids"
        return found if found >= 0 else f"label {called!r} is not in {self.path}"

    def guess(self, called: str) -> str:
        """A hint at a label that is called nearly so, or ""."""
        if len(self._by_name) > GUESSED_AMONG:
            return ""
        near = difflib.get_close_matches(called, self._by_name, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def _add(self, row: dict[str, Any]) -> str | None:
        """Take up a label; what is wrong with it, or None."""
        fault = _text_fault(row, "text") or _optional_fault(row, "description") or _uid_fault(row)
        if fault:
            return fault
        name, description = row["text"].strip(), (row.get("description") or "").strip()
        text = f"{name}: {description}" if description else name
        uid = name if row.get("uid") is None else str(row["uid"])
        if uid in self._by_uid:
            if self._texts[self._by_uid[uid]] != text:
                what = "uid" if row.get("uid") is not None else "label"
                return (
                    f"{what} {uid!r} stands for {self._texts[self._by_uid[uid]]!r} already; give each its own"
                )
            self.merged += 1
            return None
        self._by_uid[uid] = len(self._uids)
        self._by_name[name] = None if name in self._by_name else len(self._uids)
        self._uids.append(uid)
        self._texts.append(text)
        return None


def read_side(path: Path, known: Labels, scratch: Path, limit: int | None = None) -> Side:
    """Spool the documents of a file in a folder for scratch files, the first `limit` of them; None: all."""
    faults = Faults(path, unit(path))
    spool = scratch / f"{len(list(scratch.iterdir()))}.spool"
    side = Side(path, Spool(spool), unit=unit(path))
    for number, title, text, uid, labels in islice(_documents(path, known, faults), limit):
        if not faults.count:
            side.spool.add(number, uid, title, text, labels)
    side.spool.close()
    faults.check()
    return side


def _documents(path: Path, known: Labels, faults: Faults) -> Iterator[tuple[int, str, str, str, list[int]]]:
    """Line, title, text, uid and label ids of each document; broken ones are noted instead."""
    split = _split_field if kind(path) == "csv" else _given_list
    for number, row in rows(path, faults):
        fault = _optional_fault(row, "title") or _uid_fault(row)
        if not fault:
            title = (row.get("title") or "").strip()
            # A document of a title alone is one: its text is the title.
            source = row if row.get("text") or not title else {"text": title}
            fault = _text_fault(source, "text")
        if fault:
            faults.add(number, fault)
            continue
        called = split(row.get("labels"))
        if isinstance(called, str):
            faults.add(number, called)
            continue
        labels = [known.find(label) for label in called]
        wrong = next((i for i, label in enumerate(labels) if isinstance(label, str)), None)
        if wrong is not None:
            faults.add(number, labels[wrong] + ("" if faults.full else known.guess(called[wrong].strip())))
            continue
        uid = str(number if row.get("uid") is None else row["uid"])
        yield number, "" if source is not row else title, source["text"], uid, labels


def _assign(config: OwnData, main: Side, test: Side | None) -> np.ndarray:
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
        kept = lowest(hashes(uids, "train"), rest, config.train_documents)
        assigned[np.setdiff1d(rest, kept)] = -1
    return assigned


def _text_fault(row: dict[str, Any], column: str) -> str | None:
    text = row.get(column)
    if text is None and column not in row:
        return f"there is no `{column}`; there are: {', '.join(map(str, row)) or 'no columns'}"
    if text is None or (isinstance(text, str) and not text.strip()):
        return f"`{column}` is empty; fill it, or drop the row"
    return None if isinstance(text, str) else f"`{column}` is {str(text)[:60]}, not a text"


def _optional_fault(row: dict[str, Any], column: str) -> str | None:
    found = row.get(column)
    return None if found is None or isinstance(found, str) else f"`{column}` is {str(found)[:60]}, not a text"


def _uid_fault(row: dict[str, Any]) -> str | None:
    uid = row.get("uid")
    if uid is None or type(uid) is int or (isinstance(uid, str) and uid.strip()):
        return None
    return f"`uid` is {str(uid)[:60]!r}; expected a text or a whole number"


def _given_list(labels: Any) -> list[str] | str:
    """The labels of a document in JSONL or Parquet, or what is wrong with them."""
    if labels is None:
        return []
    if not isinstance(labels, list) or any(type(label) not in (str, int) for label in labels):
        return f"`labels` is {str(labels)[:60]!r}; expected a list of texts or uids of labels"
    return [str(label) for label in labels]


def _split_field(labels: str | None) -> list[str] | str:
    """The labels of a CSV field: a JSON list, or texts with a bar between them."""
    if labels is None:
        return []
    if labels.lstrip().startswith("["):
        try:
            return _given_list(json.loads(labels))
        except ValueError:
            return f"`labels` is {labels[:60]!r}, which begins as a JSON list and is none"
    return [label for label in labels.split(BAR) if label.strip()]
