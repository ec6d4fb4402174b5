"""The conversation of a review: a document, its proposals one by one, and a key for each."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lmtx.tagger.answers import COLUMNS, Answers
from lmtx.tagger.proposals import Proposals

KEYS = "y: it fits, n: it does not, s: skip, I cannot tell; u: undo, q: quit, to go on later"
_CHARACTERS = 1500  # of a document that are shown


def ask(
    proposals: Proposals, answers: Answers, read: Callable[[str], str], say: Callable[[str], None]
) -> bool:
    """Ask until all is answered, which is True, or the person quits."""
    documents, labels = proposals.documents.to_pylist(), proposals.labels
    questions = [
        (documents[row], place, labels.slice(label, 1).to_pylist()[0])
        for row, ids in enumerate(proposals.ids.tolist())
        for place, label in enumerate(ids, 1)
        if label >= 0
    ]
    shown = None
    while True:
        at = next(
            (i for i, (d, _, q) in enumerate(questions) if answers.get(d["uid"], q["uid"]) is None), None
        )
        if at is None:
            return True
        document, place, label = questions[at]
        if shown is None:
            say(f"{at:,} of {len(questions):,} proposals are answered. {KEYS}")
        if shown is not document:
            say(_page(document, documents.index(document) + 1, len(documents)))
            shown = document
        try:
            key = read(f"  {place}  {_printable(label['text'])}   y/n ").strip()[:1].lower()
        except (EOFError, KeyboardInterrupt):
            key = "q"
        if key == "q":
            return False
        if key == "u" and at:
            document, _, label = questions[at - 1]
            answers.set(document, label["uid"], None)
        elif key in COLUMNS:
            answers.set(document, label["uid"], key)
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
    """What shows a prompt and returns an answer: a key of the terminal, or a line where there is none."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield input
        return
    if not sys.stdin.isatty():
        yield input
        return

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
