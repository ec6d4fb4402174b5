"""Progress of a curriculum: the systems checked so far, the best of them, and whether it has ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.files import CARD, read_json


@dataclass(frozen=True)
class Checked:
    """A system of the curriculum and its check. E0, "zero-shot", comes first."""

    system: str
    check: float  # the share of first labels that the teacher accepted, of those that it answered on
    accepted: str = ""  # of each document, in order: 1, 0 or, without an answer, -

    def improves(self, best: "Checked") -> bool:
        """Whether the check is higher, and after the first cycle by more than chance explains.

        Documents that lack an answer to either system do not count. The judge of the check is the teacher,
        which accepts its own students ever more readily: the gain of a later cycle must exceed 1.96 standard
        errors of the mean difference on the same documents.
        """
        pairs = zip(self.accepted, best.accepted, strict=True)
        changes = [int(one) - int(other) for one, other in pairs if "-" not in (one, other)]
        if not changes:
            return False
        chance = 0 if best.system == "zero-shot" else 1.96 * np.std(changes) / np.sqrt(len(changes))
        return bool(np.mean(changes) > chance)


@dataclass(frozen=True)
class Progress:
    """The curriculum so far."""

    checked: tuple[Checked, ...] = ()  # the systems, in order
    ended: str | None = None  # why a cycle could not be trained; None: each could

    @property
    def best(self) -> Checked:
        """The last system that improved on those before it; E0 where nothing was checked."""
        first, *later = self.checked or (Checked("zero-shot", 0.0),)
        return reduce(lambda best, entry: entry if entry.improves(best) else best, later, first)

    @property
    def stopped(self) -> str | None:
        """Why no further cycle is trained, or None: the last one did not improve on the best before it."""
        if self.ended:
            return self.ended
        if len(self.checked) < 2 or self.best == self.checked[-1]:
            return None
        last = self.checked[-1]
        checks = f"({last.check:.1%} after {self.best.check:.1%} of {self.best.system})"
        failed = f"{last.system} did not improve the teacher's check beyond chance"
        return f"{failed} {checks}; the curriculum ended there"

    def then(self, system: str, accepted: Sequence[bool | None]) -> "Progress":
        """The progress with one more system checked: for each document, was its first label accepted?"""
        answers = [yes for yes in accepted if yes is not None]
        share = sum(answers) / len(answers) if answers else 0.0
        entry = Checked(system, share, "".join("-" if yes is None else "01"[yes] for yes in accepted))
        return replace(self, checked=(*self.checked, entry))

    def end(self, reason: str) -> "Progress":
        """The progress with the reason why the next cycle cannot be trained."""
        return replace(self, ended=reason)

    @classmethod
    def load(cls, model: str | Path) -> "Progress":
        """The progress up to the system saved in the folder `model`."""
        card = read_json(Path(model) / CARD)
        return cls(tuple(Checked(**entry) for entry in card["checked"]), card.get("ended"))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a model's card."""
        return {"checked": [asdict(entry) for entry in self.checked], "ended": self.ended}
