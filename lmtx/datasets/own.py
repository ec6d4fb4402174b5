"""One's own files: documents, labels and, where there are any, annotations, as data/README.md has them."""

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
from lmtx.datasets.assemble import assemble, described, label_table
from lmtx.datasets.lines import IN_BRACKETS, LABELS_ONLY, SKOS, URIS, Faults, Row, kind, unit
from lmtx.datasets.rows import rows
from lmtx.datasets.spool import DEV, TEST, TRAIN, RawDocument, Side, hashes, lowest, spool

GUESSED_AMONG = 20_000  # labels; among more, an unknown one is not compared with all


def read(config: OwnConfig, root: Path, scratch: Path) -> Reading:
    """Read `config.documents`, `config.labels` and `config.test`, relative to `root`.

    The test documents are the first `test_documents` (null: all) of the file `config.test`. Without one, and
    for dev, documents are kept apart as data/README.md says. Without any annotation the truth is empty.

    Raises `CorpusError` when a file is missing, or rows cannot be used: their number, and the first five by
    file, line, value and remedy.
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


def _assign(config: OwnConfig, main: Side, test: Side | None) -> np.ndarray:
    """int8 (n,): the split of each document of `main`; -1 for those beyond `train_documents`."""
    n, least = len(main), 3 if test is None else 2
    if n < least:
        wanted = "train, to check and to test on" if test is None else "train and to check on"
        raise CorpusError(f"{main.source} holds {n} documents; at least {least} are needed, to {wanted}")
    uids = main.table()["uid"]
    assigned = np.full(n, -1, dtype=np.int8)

    def take(candidates: np.ndarray, split: int, salt: str, most: int | None) -> None:
        assigned[lowest(hashes(uids, salt), candidates, most)] = split

    if test is None:
        annotated = np.flatnonzero(np.diff(main.ends))
        wanted = n // 2 if config.test_documents is None else min(config.test_documents, n // 2)
        take(annotated if len(annotated) else np.arange(n), TEST, "test", wanted)
    rest = np.flatnonzero(assigned == -1)
    take(rest, DEV, "dev", min(config.dev_documents, len(rest) // 2))
    take(np.flatnonzero(assigned == -1), TRAIN, "train", config.train_documents)
    return assigned


# --- documents -----------------------------------------------------------------------------------


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

    Raises `CorpusError` when the file is missing, damaged, of no known kind, or a vocabulary.
    """
    if kind(path) in LABELS_ONLY:
        raise CorpusError(f"{path} is a vocabulary, which holds labels; name a file of documents")
    for number, row in rows(path, faults, bar):
        if isinstance(title := row.get("title"), str) and title.strip() and not row.get("text"):
            row |= {"text": title.strip(), "title": None}
        if fault := _fault(row, texts=("title", "text"), ids=("uid",)):
            faults.add(number, fault)
        else:
            uid = number if row.get("uid") is None else row["uid"]
            yield Document(number, uid, (row.get("title") or "").strip(), row["text"], row.get("labels"))


def read_side(path: Path, labels: "Labels", scratch: Path, limit: int | None = None) -> Side:
    """Spool the documents of a file in a folder for scratch files, the first `limit` of them; None: all."""
    faults = Faults(path, unit(path))

    def annotated() -> Iterator[RawDocument]:
        for number, uid, title, text, cell in islice(documents(path, faults), limit):
            try:
                label_ids = [labels.find(name, guess=not faults.full) for name in _names(cell)]
            except ValueError as fault:
                faults.add(number, str(fault))
            else:
                yield number, str(uid), title, text, label_ids

    return spool(faults, annotated(), scratch, unit=faults.unit)


def _names(cell: Any) -> list[str]:
    """Return the names of a document's labels. Raises `ValueError` that describes a fault.

    They are a list, or a text: a JSON list, names in angle brackets, or names with a bar between them.
    """
    if cell is None:
        return []
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise ValueError(f"`labels` is {cell[:60]!r}, which begins as a JSON list and is none") from None
    elif isinstance(cell, str):
        names = IN_BRACKETS.findall(cell) if URIS.fullmatch(cell) else cell.split("|")
        return [name for name in names if name.strip()]
    if not isinstance(cell, list) or any(type(label) not in (str, int) for label in cell):
        raise ValueError(f"`labels` is {str(cell)[:60]!r}; expected a list of texts or uids of labels")
    return [str(label) for label in cell]


def _fault(row: dict[str, Any], texts: Iterable[str], ids: Iterable[str]) -> str | None:
    """Describe the first fault of a row, or return None.

    `text` must be there; the columns `texts` hold a text or nothing, `ids` also a whole number.
    """
    if "text" not in row:
        return f"there is no `text`; there are: {', '.join(map(str, row)) or 'no columns'}"
    if row["text"] is None or (isinstance(row["text"], str) and not row["text"].strip()):
        return "`text` is empty; fill it, or drop the row"
    for column in texts:
        if not isinstance(value := row.get(column), str | None):
            return f"`{column}` is {str(value)[:60]}, not a text"
    for column in ids:
        value = row.get(column)
        if not (value is None or type(value) is int or (isinstance(value, str) and value.strip())):
            return f"`{column}` is {str(value)[:60]!r}; expected a text or a whole number"
    return None


# --- labels --------------------------------------------------------------------------------------


class Labels:
    """The label set of a file, and the names that annotations may use for a label.

    `language` and `describe` are for a SKOS vocabulary (`lmtx.datasets.skos.read`). Raises `CorpusError`
    naming file and lines.
    """

    def __init__(self, path: Path, language: str | None = None, describe: Describe = "name") -> None:
        self.path = path
        self.merged = 0  # labels that were equal to one before them, and are one with it
        self.left_out: dict[str, str] = {}  # uids of concepts of a SKOS vocabulary that are no labels: why
        self.note = ""  # a line on the choices made in reading
        self._uids: list[str] = []
        self._texts: list[str] = []
        # The ids of labels by uid, by text, and by other names; None: several labels have this name.
        self._by_uid: dict[str, int] = {}
        self._by_name: dict[str, int | None] = {}
        self._by_alias: dict[str, int | None] = {}
        faults = Faults(path, unit(path))
        for number, row in self._rows(faults, language, describe):
            if fault := self._add(row):
                faults.add(number, fault)
        faults.check()
        if not self._texts:
            raise CorpusError(f"{faults.source} holds no labels; write at least one")
        if self.merged:
            merged = f"{self.merged:,} of the labels repeat one before them, and are one with it"
            self.note = "; ".join(filter(None, (self.note, merged)))
        self._ids: dict[str, int | None] = self._by_alias | self._by_name | self._by_uid

    def table(self) -> pa.Table:
        """The table of labels."""
        return label_table(self._uids, self._texts)

    def find(self, name: str, guess: bool = True) -> int:
        """The id of a label.

        A label is called by its uid or else its text; where no label is, by its notation or by its text up to
        the first ": ", before which a described label's name stands. Letters are the same whether an accent
        is part of them or a character behind them.

        Raises `ValueError` where none, or more than one, has this name; with `guess` it names a label that is
        called nearly so.
        """
        name = _key(name)
        if (label := self._ids.get(name)) is not None:
            return label
        if name in self._ids:
            raise ValueError(f"label {name!r} is the name of several labels in {self.path}; use their uids")
        if name in self.left_out:
            raise ValueError(f"label {name!r} is {self.left_out[name]} in {self.path}; drop it")
        guess = guess and len(self._by_name) <= GUESSED_AMONG
        near = difflib.get_close_matches(name, self._by_name, n=1) if guess else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"label {name!r} is not in {self.path}{hint}")

    def _rows(self, faults: Faults, language: str | None, describe: Describe) -> Iterable[Row]:
        form = kind(self.path)
        if form in SKOS:
            from lmtx.datasets import skos  # its library takes a while to import

            concepts, self.left_out, self.note = skos.read(self.path, language, describe)
            return enumerate(concepts, 1)
        if language is not None or describe != "name":
            raise CorpusError(
                f"{self.path} is no SKOS vocabulary, for which alone `language` and `describe` are; "
                "leave them out"
            )
        if form == "corpus":
            raise CorpusError(
                f"{self.path} holds documents; a line of a vocabulary is `<URI>`, a tab and a label"
            )
        return rows(self.path, faults)

    def _add(self, row: dict[str, Any]) -> str | None:
        """Take up a label; return its fault, or None."""
        if fault := _fault(row, texts=("text", "description"), ids=("uid", "notation")):
            return fault
        name = row["text"].strip()
        text = described(name, [(row.get("description") or "").strip()])
        uid = name if row.get("uid") is None else str(row["uid"])
        number, key, name = len(self._uids), _key(uid), _key(name)
        if key in self._by_uid:
            namesake = self._texts[self._by_uid[key]]
            if _key(namesake) != _key(text):
                noun = "label" if row.get("uid") is None else "uid"
                return f"{noun} {uid!r} stands for {namesake!r} already; give each its own"
            self.merged += 1
            return None
        self._by_uid[key] = number
        self._by_name[name] = None if name in self._by_name else number
        notation = "" if row.get("notation") is None else str(row["notation"]).strip()
        for alias in {_key(notation), _key(text.partition(": ")[0])} - {"", name}:
            self._by_alias[alias] = None if alias in self._by_alias else number
        self._uids.append(uid)
        self._texts.append(text)
        return None


def _key(name: str) -> str:
    """Normalize a name for the look-up: names that are shown alike are one (Unicode's normal form C)."""
    return unicodedata.normalize("NFC", name.strip())
