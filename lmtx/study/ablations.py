"""Points of an ablation: their settings, and points with the same settings."""

import pyarrow as pa

from lmtx.config import Config

MAIN = "main"
"""The name of the main run's cycle 1 among the points."""


def cycle(config: Config, point: str) -> int:
    """Return the cycle of a point: 1 on E0's shortlists, or 1 + the cycle of the point before it."""
    previous = config.ablations[point].previous
    return 1 if previous == "zero-shot" else 1 + cycle(config, previous.removeprefix("ablate-"))


def same_as(config: Config, point: str) -> str | None:
    """Return the run with identical settings, `MAIN` or an earlier point; None without one.

    Such a point need not run. A point with `keep` always runs.
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
    """Return the settings by which the report distinguishes points, as plain values.

    `point` may be `MAIN`. `documents` is the number of judged documents.
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
    """Cut each text of the label table before its first ": ", where a description begins."""
    names = [text.partition(": ")[0] for text in labels["text"].to_pylist()]
    return labels.set_column(1, "text", pa.array(names, labels["text"].type))


def _identity(config: Config, point: str | None) -> tuple:
    """Return everything that determines a point's result; for None, that of the main run's cycle 1."""
    at = config if point is None else config.at(point)
    previous, descriptions = "zero-shot", True
    if point is not None:
        previous, descriptions = config.ablations[point].previous, config.ablations[point].descriptions
    # The section `curriculum` does not affect a first cycle.
    if previous == "zero-shot":
        return previous, descriptions, at.digest("teacher", "shortlist", "training")
    return previous, descriptions, at.digest("teacher", "shortlist", "training", "curriculum")
