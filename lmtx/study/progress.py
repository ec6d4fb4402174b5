"""Progress of a curriculum: the systems checked so far, the best of them, and whether it has ended."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lmtx.files import CARD, read_json


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
    ended
        Why a cycle could not be trained; None: each could.
    """

    checked: tuple[Checked, ...] = ()
    threshold: float = 0.5
    ended: str | None = None

    @property
    def best(self) -> Checked:
        """The system of highest check, the earlier one of two equals; E0 where nothing was checked."""
        return max(self.checked, key=lambda entry: entry.check, default=Checked("zero-shot", 0.0))

    @property
    def stopped(self) -> str | None:
        """Why no further cycle is trained, or None: the last one did not improve on the best before it."""
        if self.ended:
            return self.ended
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

    def end(self, reason: str) -> "Progress":
        """The progress with the reason why the next cycle cannot be trained."""
        return replace(self, ended=reason)

    @classmethod
    def load(cls, model: str | Path) -> "Progress":
        """The progress up to the system saved in the folder `model`."""
        card = read_json(Path(model) / CARD)
        checked = tuple(Checked(**entry) for entry in card["checked"])
        return cls(checked, card.get("threshold", cls.threshold), card.get("ended"))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a model's card."""
        checked = [asdict(entry) for entry in self.checked]
        return {"checked": checked, "threshold": self.threshold, "ended": self.ended}
