"""One's own files: documents, labels and, where there are any, annotations (see data/README.md).

The columns of the documents are `text` and, where there are any, `uid`, `title` and `labels`; those of the
labels are `text` and, where there are any, `uid`, `description` and `notation`. A label then reads
"text: description".
"""

import difflib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lmtx.config import Describe, OwnConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import (
    DEV,
    TEST,
    TRAIN,
    RawDocument,
    Side,
    assemble,
    described,
    label_table,
    spool_documents,
)
from lmtx.datasets.lines import IN_BRACKETS, LABELS_ONLY, SKOS, URIS, Faults, kind, unit
from lmtx.datasets.rows import Row, optional_fault, rows, text_fault, uid_fault
from lmtx.datasets.spool import hashes, lowest

BAR = "|"  # between the labels of a cell
GUESSED_AMONG = 20_000  # labels; among more, an unknown one is not compared with all


def read(config: OwnConfig, root: Path, scratch: Path) -> Reading:
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
    main = read_side(root / config.documents, labels, scratch)
    test = None
    if config.test is not None:
        test = read_side(root / config.test, labels, scratch, config.test_documents)
    manifest = {
        "files": {"documents": config.documents, "labels": config.labels, "test": config.test},
        "labels_merged": labels.merged,
        "labels_left_out": len(labels.left_out),
    }
    if labels.note:
        print(labels.note)
        manifest["vocabulary"] = labels.note
    return assemble(config.name, labels.table(), main, _assign(config, main, test), test, manifest)


def read_side(path: Path, labels: "Labels", scratch: Path, limit: int | None = None) -> Side:
    """Spool the documents of a file in a folder for scratch files, the first `limit` of them; None: all."""
    faults = Faults(path, unit(path))

    def annotated() -> Iterator[RawDocument]:
        for number, uid, title, text, cell in islice(documents(path, faults), limit):
            label_ids = _label_ids(cell, labels, guess=not faults.full)
            if isinstance(label_ids, str):
                faults.add(number, label_ids)
            else:
                yield number, str(uid), title, text, label_ids

    return spool_documents(path, annotated(), scratch, faults, unit=unit(path))


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


class Labels:
    """The label set, and the names that annotations may use for a label.

    Attributes
    ----------
    merged
        How many labels were equal to one before them, and are one with it.
    left_out
        The uids of the concepts of a SKOS vocabulary that are no labels, and why.
    note
        A line on the choices made in reading a SKOS vocabulary; "" for other files.
    """

    def __init__(self, path: Path, language: str | None = None, describe: Describe = "name") -> None:
        """Read a file of labels.

        `language` and `describe` are for a SKOS vocabulary (`lmtx.datasets.skos.read`). Raises `CorpusError`
        naming file and lines.
        """
        self.path, self.merged, self.note = path, 0, ""
        self.left_out: dict[str, str] = {}
        self._uids: list[str] = []
        self._texts: list[str] = []
        self._by_uid: dict[str, int] = {}
        self._by_name: dict[str, int | None] = {}  # None: several labels have this name
        self._by_alias: dict[str, int | None] = {}
        faults = Faults(path, unit(path))
        for number, row in self._rows(faults, language, describe):
            if fault := self._add(row):
                faults.add(number, fault)
        faults.check()
        if not self._texts:
            raise CorpusError(f"{faults.source} holds no labels; write at least one")
        self._ids: dict[str, int | None] = self._by_alias | self._by_name | self._by_uid

    def _rows(self, faults: Faults, language: str | None, describe: Describe) -> Iterable[Row]:
        if kind(self.path) in SKOS:
            from lmtx.datasets import skos  # its library takes a while to import

            vocabulary = skos.read(self.path, language, describe)
            self.left_out, self.note = vocabulary.left_out, f"{self.path}: {vocabulary}"
            return enumerate(vocabulary.concepts, 1)
        if language is not None or describe != "name":
            raise CorpusError(
                f"{self.path} is no SKOS vocabulary, for which alone `language` and `describe` are; "
                "leave them out"
            )
        if kind(self.path) == "corpus":
            raise CorpusError(
                f"{self.path} holds documents; a line of a vocabulary is `<URI>`, a tab and a label"
            )
        return rows(self.path, faults)

    def table(self) -> pa.Table:
        """The table of labels."""
        return label_table(self._uids, self._texts)

    def find(self, called: str) -> int | None:
        """The id of a label; None where none, or more than one, is called so.

        A label is called by its uid or else its text; where no label is, by its notation or by its text up to
        the first ": ", before which a described label's name stands. Letters are the same whether an accent
        is part of them or a character behind them.
        """
        return self._ids.get(_key(called))

    def fault(self, called: str, guess: bool = True) -> str:
        """The reason why `find` finds none; `guess` adds a label that is called nearly so."""
        called = _key(called)
        if called in self._ids:
            return f"label {called!r} is the name of several labels in {self.path}; use their uids"
        if called in self.left_out:
            return f"label {called!r} is {self.left_out[called]} in {self.path}; drop it"
        guess = guess and len(self._by_name) <= GUESSED_AMONG
        near = difflib.get_close_matches(called, self._by_name, n=1) if guess else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"label {called!r} is not in {self.path}{hint}"

    def _add(self, row: dict[str, Any]) -> str | None:
        """Take up a label; return its fault, or None."""
        fault = text_fault(row) or optional_fault(row, "description") or uid_fault(row)
        if fault := fault or uid_fault(row, "notation"):
            return fault
        name = row["text"].strip()
        text = described(name, [(row.get("description") or "").strip()])
        uid = name if row.get("uid") is None else str(row["uid"])
        key, name = _key(uid), _key(name)
        if key in self._by_uid:
            namesake = self._texts[self._by_uid[key]]
            if _key(namesake) != _key(text):
                noun = "label" if row.get("uid") is None else "uid"
                return f"{noun} {uid!r} stands for {namesake!r} already; give each its own"
            self.merged += 1
            return None
        self._by_uid[key] = len(self._uids)
        self._by_name[name] = None if name in self._by_name else len(self._uids)
        notation = "" if row.get("notation") is None else str(row["notation"]).strip()
        for alias in {_key(notation), _key(text.partition(": ")[0])} - {"", name}:
            self._by_alias[alias] = None if alias in self._by_alias else len(self._uids)
        self._uids.append(uid)
        self._texts.append(text)
        return None


def _key(name: str) -> str:
    """Normalize a name for the look-up: names that are shown alike are one (Unicode's normal form C)."""
    return unicodedata.normalize("NFC", name.strip())


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
