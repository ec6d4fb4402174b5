"""How far a curriculum has come: the systems checked so far, the best of them, and whether it has ended."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lmtx.files import read_json, replacing, write_json

CARD = "lmtx.json"
"""The file in a model's folder that says what the model is."""


def write_card(folder: str | Path, card: dict) -> None:
    """Put a folder with nothing but `card` where a model would be: for a cycle that was not trained."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        write_json(scratch / CARD, card)


@dataclass(frozen=True)
class Checked:
    """A system of the curriculum and its check score. E0, "zero-shot", comes first."""

    system: str
    check: float


@dataclass(frozen=True)
class Progress:
    """The curriculum so far.

    Attributes
    ----------
    checked
        The systems checked, in order.
    threshold
        The teacher's threshold in every check: that of the first cycle, so that the scores compare.
    """

    checked: tuple[Checked, ...] = ()
    threshold: float = 0.5

    @property
    def best(self) -> Checked:
        """The system of highest check; the earlier one of two equals."""
        return max(self.checked, key=lambda entry: entry.check)

    @property
    def stopped(self) -> str | None:
        """Why no further cycle is trained, or None: the last one did not improve on the best before it."""
        if len(self.checked) < 2 or self.best == self.checked[-1]:
            return None
        last = self.checked[-1]
        return (
            f"{last.system} did not improve the teacher's check "
            f"({last.check:.1%} after {self.best.check:.1%} of {self.best.system}); "
            "the curriculum ended there"
        )

    def then(self, system: str, score: float) -> "Progress":
        """The progress with one more system checked."""
        return replace(self, checked=(*self.checked, Checked(system, score)))

    @classmethod
    def load(cls, model: str | Path) -> "Progress":
        """The progress up to the system saved in the folder `model`."""
        card = read_json(Path(model) / CARD)
        checked = tuple(Checked(**entry) for entry in card["checked"])
        return cls(checked, card.get("threshold", cls.threshold))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a model's card."""
        return {"checked": [asdict(entry) for entry in self.checked], "threshold": self.threshold}
