"""People's answers to proposed labels, in a file that holds annotated documents (see data/README.md)."""

import json
from pathlib import Path

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import Faults
from lmtx.datasets.rows import rows
from lmtx.files import replacing

COLUMNS = {"y": "labels", "n": "rejected", "s": "skipped"}
"""The column of a document's row that takes a label, by the answer."""


class Answers:
    """What people said of labels of documents, kept in a JSONL file: a document a line.

    A line has `uid`, `title` and `text` of the document, and three lists of label uids: `labels`, which fit,
    `rejected`, and `skipped`, of which nobody could tell. Each change writes the file anew, whole or not at
    all. Lines of other documents, and other columns, stay as they are.
    """

    def __init__(self, path: Path) -> None:
        """Open a file that may not be there yet. Raises `CorpusError` naming file, line and value."""
        self.path = path
        self._documents: dict[str, dict] = {}
        self._lines: dict[str, int] = {}
        if not path.exists():
            return
        faults = Faults(path)
        for number, row in rows(path, faults):
            if fault := self._fault(row):
                faults.add(number, f"{fault}; mend the line, or move the file away to begin anew")
            else:
                self._documents[row["uid"]] = row
                self._lines[row["uid"]] = number
        faults.check()

    def check(self, document: dict[str, str]) -> None:
        """Raise `CorpusError` where the answers are on another document of this uid."""
        row = self._documents.get(document["uid"])
        if row is not None and row["text"] != document["text"]:
            raise CorpusError(
                f"{self.path}, line {self._lines[document['uid']]}: document {document['uid']!r} has another "
                "text now; review the file that these answers are on, or name another one with --answers"
            )

    def get(self, document: str, label: str) -> str | None:
        """The answer, a key of `COLUMNS`, to a label of a document, both by uid; None: not answered."""
        row = self._documents.get(document, {})
        return next((key for key, column in COLUMNS.items() if label in row.get(column, ())), None)

    def set(self, document: dict[str, str], label: str, answer: str | None) -> None:
        """Write down an answer to the label of this uid, in place of an earlier one; None: take it back.

        `document` has uid, title and text.
        """
        row = self._documents.setdefault(document["uid"], document | {c: [] for c in COLUMNS.values()})
        for key, column in COLUMNS.items():
            others = [uid for uid in row.get(column, []) if uid != label]
            row[column] = [*others, label] if key == answer else others
        with replacing(self.path) as scratch, scratch.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self._documents.values())

    def _fault(self, row: dict) -> str | None:
        for column in ("uid", "text"):
            if not isinstance(row.get(column), str):
                return f"`{column}` is {str(row.get(column))[:60]!r}, not a text"
        if row["uid"] in self._documents:
            return f"document {row['uid']!r} stands in line {self._lines[row['uid']]} already"
        for column in COLUMNS.values():
            labels = row.get(column, [])
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                return f"`{column}` is {str(labels)[:60]!r}, not a list of uids of labels"
        return None
