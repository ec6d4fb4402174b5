"""What a review asks: labels drawn from the student and from E0, one by one, and the answers in a file."""

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa

from lmtx.corpus import CorpusError
from lmtx.datasets.lines import Faults
from lmtx.datasets.rows import rows
from lmtx.datasets.spool import hashes
from lmtx.files import replacing
from lmtx.index import Shortlist
from lmtx.tagger import Tagger

SHOWN = 5
"""Labels that people are asked about, of each document; drawn from as many first labels of each system."""
COLUMNS = {"y": "labels", "n": "rejected", "s": "skipped"}
"""The column of a document's row in the file of answers that takes a label, by the answer."""
KEYS = "y: it fits, n: it does not, s: skip, I cannot tell; u: undo, q: quit, to go on later"
_CHARACTERS = 1500  # of a document that are shown


@dataclass(frozen=True)
class Proposals:
    """Labels of documents to ask people about."""

    documents: pa.Table  # n rows with the columns uid, title, text
    labels: pa.Table  # L rows with the columns uid, text
    rankings: dict[str, Shortlist]  # the first `SHOWN` labels of each document by each system
    ids: np.ndarray  # int32 (n, SHOWN), in an order that says nothing of the systems; -1 pads
    # float64 (n, SHOWN): how many labels of the rankings each stands for. First labels stand for themselves.
    weights: np.ndarray


def propose(systems: dict[str, Tagger], documents: pa.Table) -> Proposals:
    """The first label of each system, and a draw from the others that a system ranks among its first five.

    The draw hangs on a document's uid alone, so that a review goes on with the labels it began with. As each
    label's chance is known, a system's precision over all of its five is estimated without bias.
    """
    rankings = {name: tagger.rank(documents, SHOWN) for name, tagger in systems.items()}
    ids = np.full((documents.num_rows, SHOWN), -1, dtype=np.int32)
    weights = np.zeros(ids.shape)
    for row, seed in enumerate(hashes(pa.chunked_array(documents["uid"]), "review")):
        rng = np.random.default_rng(seed)
        first = np.unique([ranking.ids[row, 0] for ranking in rankings.values()])
        every = np.unique(np.concatenate([ranking.ids[row] for ranking in rankings.values()]))
        others = np.setdiff1d(every[every >= 0], first)
        drawn = rng.choice(others, min(len(others), SHOWN - len(first)), replace=False)
        shown = np.concatenate([first, drawn])
        stands_for = np.repeat([1.0, len(others) / max(len(drawn), 1)], [len(first), len(drawn)])
        order = rng.permutation(len(shown))
        ids[row, : len(shown)], weights[row, : len(shown)] = shown[order], stands_for[order]
    return Proposals(documents, next(iter(systems.values())).labels.table, rankings, ids, weights)


class Answers:
    """What people said of labels of documents, kept in a JSONL file: a document a line (see data/README.md).

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


def ask(
    proposals: Proposals, answers: Answers, read: Callable[[str], str], say: Callable[[str], None]
) -> bool:
    """Ask until all is answered, which is True, or the person quits."""
    documents, labels = proposals.documents.to_pylist(), proposals.labels
    questions = [
        (number, place, labels.slice(label, 1).to_pylist()[0])
        for number, ids in enumerate(proposals.ids.tolist())
        for place, label in enumerate(ids, 1)
        if label >= 0
    ]
    shown = None
    while True:
        given = (answers.get(documents[number]["uid"], label["uid"]) for number, _, label in questions)
        at = next((i for i, answer in enumerate(given) if answer is None), None)
        if at is None:
            return True
        number, place, label = questions[at]
        if shown is None:
            say(f"{at:,} of {len(questions):,} proposals are answered. {KEYS}")
        if shown != number:
            say(_page(documents[number], number + 1, len(documents)))
            shown = number
        try:
            key = read(f"  {place}  {_printable(label['text'])}   y/n ").strip()[:1].lower()
        except (EOFError, KeyboardInterrupt):
            key = "q"
        if key == "q":
            return False
        if key == "u" and at:
            number, _, label = questions[at - 1]
        if key in COLUMNS or (key == "u" and at):
            answers.set(documents[number], label["uid"], key if key in COLUMNS else None)
        else:
            say(KEYS)


def _page(document: dict[str, str], number: int, count: int) -> str:
    """A document as it is shown, its beginning where it is long."""
    text = _printable(document["text"])
    text = text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} …"
    width = min(100, shutil.get_terminal_size().columns)
    head = f"{number} of {count}   {_printable(document['title'])}".rstrip()
    return "\n".join(["", "-" * width, head, "", textwrap.fill(text, width), ""])


def _printable(text: str) -> str:
    """The text on one line, without characters that would steer a terminal."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


@contextmanager
def keys() -> Iterator[Callable[[str], str]]:
    """Yield a function that shows a prompt and returns a key of the terminal; elsewhere, a line."""
    terminal = sys.stdin is not None and sys.stdin.isatty() and find_spec("termios")  # Windows has none
    if not terminal:
        yield input
        return
    import termios
    import tty

    def read(prompt: str) -> str:
        print(prompt, end="", flush=True)
        key = sys.stdin.read(1)
        print(key if key.isprintable() else "", flush=True)
        if key in ("", "\x04"):  # the end of the input, and Ctrl-D
            raise EOFError
        return key

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield read
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
