"""Points of an ablation: their settings, points with the same settings, and how their results are written."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import takewhile
from typing import Any

import pyarrow as pa

from lmtx.config import Config
from lmtx.config.sections import PointConfig
from lmtx.study import Study, skip_rest
from lmtx.study.records import run_record, write_card, write_judged, write_record

MAIN = "main"
"""The name of the main run's cycle 1 among the points."""
_OF_TEACHER = ("mode", "model", "prompt", "acceptance", "true_yes", "false_yes")
"""Settings that a teacher may have."""
_MAIN_POINT = PointConfig(previous="zero-shot")


def cycle(config: Config, point: str) -> int:
    """Return the cycle of a point: 1 on E0's shortlists, or 1 + the cycle of the point before it."""
    previous = config.ablations.get(point, _MAIN_POINT).previous
    return 1 if previous == "zero-shot" else 1 + cycle(config, previous.removeprefix("ablate-"))


def same_as(config: Config, point: str) -> str | None:
    """Return the run with identical settings, `MAIN` or an earlier point; None without one.

    Such a point need not run. A point with `keep` always runs.
    """
    if config.ablations[point].keep:
        return None
    earlier = takewhile(lambda name: name != point, config.ablations)
    identity = _identity(config, point)
    return next((other for other in (MAIN, *earlier) if _identity(config, other) == identity), None)


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
        **{name: getattr(at.teacher, name, None) for name in _OF_TEACHER},
        "lexical_weight": at.shortlist.lexical_weight,
        "negatives": at.training.negatives,
        "rejected_negatives": at.training.rejected_negatives,
        "soft_targets": at.training.soft_targets,
        "refresh": at.curriculum.refresh,
        "restart": at.curriculum.restart,
        "descriptions": config.ablations.get(point, _MAIN_POINT).descriptions,
        "cycle": cycle(config, point),
    }


def names_only(labels: pa.Table) -> pa.Table:
    """Cut each text of the label table before its first ": ", where a description begins."""
    names = [text.partition(": ")[0] for text in labels["text"].to_pylist()]
    return labels.set_column(1, "text", pa.array(names, labels["text"].type))


def leave_out(study: Study, point: str, reason: str, **record: str) -> None:
    """Record that a point has no ranking of its own, and skip the rest of the notebook."""
    write_card(study.point(point), record, "record.json")
    write_card(study.model(f"ablate-{point}"), record)
    skip_rest(f"{point} {reason}")


def write_point(
    study: Study,
    point: str,
    lesson: Any,
    ranking: Any,
    teacher: Any,
    look: Any,
    trained_on: int,
    seconds: Mapping[str, float],
) -> None:
    """Write the verdicts and the ranking of a point, its record, and its model where `keep` says so.

    `lesson` is the `Lesson` of its cycle, `ranking` a `Shortlist`, and `look` the `Discrimination` of its
    teacher or None.
    """
    settings, model = study.config.at(point), study.model(f"ablate-{point}")
    card = {"system": model.name, "encoder": settings.encoder.model_dump(), "teacher": teacher.name}
    if study.config.ablations[point].keep:
        lesson.student.save(model, card)
    else:
        write_card(model, card)
    record = run_record(
        settings,
        "dataset encoder teacher shortlist training curriculum",
        trained_on=trained_on,
        look=look and asdict(look),
        seconds=seconds,
        cost=teacher.cost,
        notes=teacher.notes,
        precision=lesson.student.precision,
    )
    write_judged(study.point(point), lesson.judged, rows=lesson.rows, ids=ranking.ids)
    write_record(study, study.point(point) / "record.json", record)


def _identity(config: Config, point: str) -> tuple:
    """Return everything that determines the result of a point, or of `MAIN`."""
    at = config if point == MAIN else config.at(point)
    section = config.ablations.get(point, _MAIN_POINT)
    sections = ["teacher", "shortlist", "training"]
    if section.previous != "zero-shot":  # a first cycle takes nothing from one before it
        sections.append("curriculum")
    return section.previous, section.descriptions, at.digest(*sections)
