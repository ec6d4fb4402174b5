"""The record of a stage, in one schema for all; its time, cost and machine are kept outside DVC's outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from lmtx.config import Config
from lmtx.files import CARD, read_json, replacing, write_json
from lmtx.provenance import host, versions
from lmtx.study import Study

INCIDENTAL = ("seconds", "cost", "host", "commit")
"""The fields of a record or result that differ between two runs of one study."""


def write_record(study: Study, path: Path, record: Mapping[str, Any]) -> None:
    """Write a record to `path`, and its `INCIDENTAL` fields to a file outside DVC's outputs."""
    write_json(path, _lasting(record))
    write_json(study.measured(path), {name: record[name] for name in INCIDENTAL if name in record})


def read_record(study: Study, path: Path) -> dict[str, Any]:
    """Read a record; its `INCIDENTAL` fields are empty where it was not made here."""
    file = study.measured(path)
    measured = read_json(file) if file.is_file() else {}
    return {"seconds": {}, "cost": {}, "host": {}} | measured | read_json(path)


def write_results(folder: Path, results: Mapping[str, Mapping[str, Any]], scores: Path | None = None) -> None:
    """Write a JSON file a result, and to `scores`, an output of DVC, all but their `INCIDENTAL` fields."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        for name, result in results.items():
            write_json(scratch / f"{name}.json", result)
    if scores:
        write_json(scores, {name: _lasting(result) for name, result in results.items()})


def _lasting(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in INCIDENTAL}


def leave_out(folder: Path, reason: str) -> None:
    """Write the folder of a result that there is not, with the reason."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        (scratch / "stopped.txt").write_text(reason + "\n")


def run_record(
    config: Config,
    sections: str,
    *,
    seconds: Mapping[str, float],
    cost: Any = None,
    notes: Sequence[str] = (),
    precision: str = "fp32",
    **more: Any,
) -> dict[str, Any]:
    """Make the record of one run, as plain data: wall time by step, cost, machine, versions, and a hash.

    The hash is that of the `sections` of `config`, separated by spaces, that determine the result. `cost` is
    a teacher's `Cost` or a dict of its fields, `notes` are remarks for the tables, `precision` is the
    encoder's, and `more` are further fields.
    """
    return {
        **more,
        "notes": list(notes),
        "seconds": dict(seconds),
        "cost": asdict(cost) if is_dataclass(cost) else dict(cost or {}),
        "precision": precision,
        "host": host(),
        "versions": versions(),
        "config_hash": config.digest(*sections.split()),
    }


def write_card(folder: str | Path, card: Mapping[str, Any]) -> None:
    """Write a model's folder with nothing but `card`, for a stage without training."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        write_json(scratch / CARD, card)


def write_stopped(study: Study, system: str, label: str, reason: str) -> dict[str, str]:
    """Record that `system` has no result. Returns the record."""
    stopped = {"system": system, "label": label, "stopped": reason}
    write_record(study, study.record(system), stopped)
    leave_out(study.ranking(system), reason)
    return stopped
