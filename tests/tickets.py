"""The help desk of `tag_your_own`, whose truth is known: made by the notebook's own cell."""

import json
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "tag_your_own.ipynb"


@cache
def _made() -> dict:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (part,) = [text.split("demo, records")[0] for text in sources if text.startswith("concerns")]
    names: dict = {"root": ROOT}
    exec("import json, random\n" + part, names)
    return names


def concerns() -> list[str]:
    """The labels."""
    return list(_made()["concerns"])


def tickets(n: int, seed: int) -> dict[str, list[int]]:
    """Ticket -> the numbers of its concerns."""
    return _made()["write_tickets"](n, seed)
