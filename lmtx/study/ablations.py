"""Points of an ablation: what each varies, and whether its result is there already."""

import pyarrow as pa

from lmtx.config import Config

MAIN = "main"
"""The name that cycle 1 of the main run goes by among the points."""


def cycle(config: Config, point: str) -> int:
    """Which cycle a point is: 1 on E0's shortlists, one more than that of the point it goes on from."""
    previous = config.ablations[point].previous
    return 1 if previous == "zero-shot" else 1 + cycle(config, previous.removeprefix("ablate-"))


def same_as(config: Config, point: str) -> str | None:
    """The result that has a point's very settings, so that it need not be run; None without one.

    That is `MAIN`, or a point named earlier in `config.ablations`. A point to `keep` is always run.
    """
    if config.ablations[point].keep:
        return None
    this = _identity(config, point)
    if this == _identity(config, None):
        return MAIN
    for other in config.ablations:
        if other == point:
            return None
        if _identity(config, other) == this:
            return other
    return None


def settings(config: Config, point: str, documents: int) -> dict:
    """What the report tells points apart by: plain values, whatever the axis.

    `point` may be `MAIN`. `documents` is how many documents were judged.
    """
    at = config if point == MAIN else config.at(point)
    return {
        "documents": documents,
        "shortlist": at.shortlist.size,
        "teacher": at.teacher.name,
        "teacher_kind": at.teacher.kind,
        "mode": getattr(at.teacher, "mode", None),
        "true_yes": getattr(at.teacher, "true_yes", None),
        "false_yes": getattr(at.teacher, "false_yes", None),
        "negatives": at.training.negatives,
        "rejected_negatives": at.training.rejected_negatives,
        "soft_targets": at.training.soft_targets,
        "refresh": at.curriculum.refresh,
        "restart": at.curriculum.restart,
        "descriptions": point == MAIN or config.ablations[point].descriptions,
        "cycle": 1 if point == MAIN else cycle(config, point),
    }


def names_only(labels: pa.Table) -> pa.Table:
    """The label table with each text cut before its first ": ", where a description begins."""
    names = [text.partition(": ")[0] for text in labels["text"].to_pylist()]
    return labels.set_column(1, "text", pa.array(names, labels["text"].type))


def _identity(config: Config, point: str | None) -> tuple:
    """All that a point's result hangs on; None: cycle 1 of the main run."""
    at = config if point is None else config.at(point)
    previous, descriptions = "zero-shot", True
    if point is not None:
        previous, descriptions = config.ablations[point].previous, config.ablations[point].descriptions
    # The first cycle has nothing to take from one before it.
    if previous == "zero-shot":
        return previous, descriptions, at.digest("teacher", "shortlist", "training")
    return previous, descriptions, at.digest("teacher", "shortlist", "training", "curriculum")
