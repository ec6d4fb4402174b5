"""The record of a stage, in one schema for all; its time, cost and machine are kept outside DVC's outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lmtx.config import Config
from lmtx.files import CARD, read_json, replacing, write_json
from lmtx.provenance import host, versions
from lmtx.study import Study, skip_rest

INCIDENTAL = ("seconds", "cost", "host", "commit")
"""The fields of a record or result that differ between two runs of one study."""
HASHED = {
    "lmtx": "dataset encoder teacher shortlist training curriculum check",
    "supervised": "dataset encoder training",
    "baseline": "dataset encoder",
}
"""For each family of systems the sections of the parameters that its records hash."""


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
    with replacing(folder, folder=True) as scratch:
        for name, result in results.items():
            write_json(scratch / f"{name}.json", result)
    if scores:
        write_json(scores, {name: _lasting(result) for name, result in results.items()})


def _lasting(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in INCIDENTAL}


def leave_out(folder: Path, reason: str) -> None:
    """Write the folder of a result that there is not, with the reason."""
    with replacing(folder, folder=True) as scratch:
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


def write_card(folder: str | Path, card: Mapping[str, Any], name: str = CARD) -> None:
    """Write a folder with nothing but `card`, such as that of a model for a stage without training."""
    with replacing(folder, folder=True) as scratch:
        write_json(scratch / name, card)


def write_judged(folder: Path, judged: pa.Table, **arrays: np.ndarray) -> None:
    """Write a folder with the table of `lmtx.curriculum.judge` and arrays: NAME.npy each."""
    with replacing(folder, folder=True) as scratch:
        pq.write_table(judged, scratch / "verdicts.parquet")
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", array)


def write_system(
    study: Study,
    system: str,
    ranking: Any,
    *,
    encoder: Any = None,
    card: Mapping[str, Any] | None = None,
    losses: Sequence[float] | None = None,
    **record: Any,
) -> None:
    """Write the results of a system's stage: its record and its ranking, a `Shortlist`.

    `encoder` is the `Encoder` to save, trained with the seed of the parameters, or None, and `card` what its
    card says; `losses` are of the steps of a cycle of LMTX, and `record` the arguments of `run_record`.
    """
    label, family = _described(study.config, system)
    if encoder is not None:
        record = {"seed": study.config.training.seed, "precision": encoder.precision} | record
        encoder.save(study.model(system), {"system": system, **card})
    if losses is not None:
        _write_losses(study, system, losses)
    run = run_record(study.config, HASHED[family], system=system, label=label, family=family, **record)
    write_record(study, study.record(system), run)
    ranking.save(study.ranking(system))


def write_stopped(study: Study, system: str, reason: str, card: Mapping[str, Any] | None = None) -> None:
    """Record that `system` has no result, and skip the rest of the notebook.

    `card` joins the card of a model's folder without a model; None: the stage has no model.
    """
    label, family = _described(study.config, system)
    stopped = {"system": system, "label": label, "stopped": reason}
    write_record(study, study.record(system), stopped)
    leave_out(study.ranking(system), reason)
    if card is not None:
        write_card(study.model(system), stopped | card)
    if family == "lmtx":
        _write_losses(study, system, [])
    skip_rest(f"{label}: {reason}")


def _described(config: Config, system: str) -> tuple[str, str]:
    """Return a system's label in tables, and its family."""
    if system in config.baselines:
        return config.baselines[system].label, "baseline"
    if system == "supervised":
        return "Supervised reference", "supervised"
    return f"LMTX, cycle {system.removeprefix('lmtx-c')}", "lmtx"


def _write_losses(study: Study, system: str, losses: Sequence[float]) -> None:
    with replacing(study.losses(system.removeprefix("lmtx-"))) as file:
        file.write_text("step,loss\n" + "".join(f"{i},{loss:.6f}\n" for i, loss in enumerate(losses, 1)))
