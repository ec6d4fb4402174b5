"""The record of a stage: what ran, how long it took, what it cost, and where it ran. One schema for all."""

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
    """The record of one run, as plain data.

    Parameters
    ----------
    config
        The parameters of the run.
    sections
        The sections of `config` that decide its result; their hash is in the record.
    seconds
        Wall time by part of the work.
    cost
        A teacher's `Cost`, or a dict of its fields. None: nothing was asked.
    notes
        Remarks that a table shows beside the system.
    precision
        Of the encoder.
    more
        Any further fields.
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
    """Put a folder with nothing but `card` where a model would be: for a stage that trained nothing."""
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
