"""The record of a stage: run time, cost, machine and versions, in one schema for all stages."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from lmtx.config import Config
from lmtx.files import CARD, replacing, write_json
from lmtx.provenance import host, versions
from lmtx.study import Study


def run_record(
    config: Config,
    *sections: str,
    seconds: Mapping[str, float],
    cost: Any = None,
    notes: Sequence[str] = (),
    precision: str = "fp32",
    **more: Any,
) -> dict[str, Any]:
    """Make the record of one run, as plain data: wall time by step, cost, machine, versions, and a hash.

    The hash is that of the `sections` of `config` that determine the result. `cost` is a teacher's `Cost` or
    a dict of its fields, `notes` are remarks for the tables, `precision` is the encoder's, and `more` are
    further fields.
    """
    return {
        **more,
        "notes": list(notes),
        "seconds": dict(seconds),
        "cost": asdict(cost) if is_dataclass(cost) else dict(cost or {}),
        "precision": precision,
        "host": host(),
        "versions": versions(),
        "config_hash": config.digest(*sections),
    }


def write_card(folder: str | Path, card: Mapping[str, Any]) -> None:
    """Write a model's folder with nothing but `card`, for a stage without training."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        write_json(scratch / CARD, card)


def write_stopped(study: Study, system: str, label: str, reason: str) -> dict[str, str]:
    """Record that `system` has no result, with an empty ranking. Returns the record."""
    stopped = {"system": system, "label": label, "stopped": reason}
    write_json(study.record(system), stopped)
    with replacing(study.ranking(system)) as folder:
        folder.mkdir()
    return stopped
