"""A user's labels: a file of them, or a SKOS vocabulary; and the names by which annotations call them."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from lmtx.config import Describe
from lmtx.corpus import CorpusError
from lmtx.datasets.assemble import described, label_table
from lmtx.datasets.lines import SKOS, Faults, kind, unit
from lmtx.datasets.rows import Row, optional_fault, rows, text_fault, uid_fault

GUESSED_AMONG = 20_000  # labels; among more, an unknown one is not compared with all


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
            fault = self._add(row)
            if fault:
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
        near = []
        if guess and len(self._by_name) <= GUESSED_AMONG:
            near = difflib.get_close_matches(called, self._by_name, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"label {called!r} is not in {self.path}{hint}"

    def _add(self, row: dict[str, Any]) -> str | None:
        """Take up a label; return its fault, or None."""
        fault = (
            text_fault(row)
            or optional_fault(row, "description")
            or uid_fault(row)
            or uid_fault(row, "notation")
        )
        if fault:
            return fault
        name = row["text"].strip()
        text = described(name, [(row.get("description") or "").strip()])
        uid = name if row.get("uid") is None else str(row["uid"])
        key, name = _key(uid), _key(name)
        if key in self._by_uid:
            if _key(self._texts[self._by_uid[key]]) != _key(text):
                noun = "uid" if row.get("uid") is not None else "label"
                return (
                    f"{noun} {uid!r} stands for {self._texts[self._by_uid[key]]!r} already; give each its own"
                )
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
