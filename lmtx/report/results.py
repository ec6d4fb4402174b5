"""The results that a report is made from: read once, with the questions that tables and figures ask of them.

Nothing but the result files is read, so a report can be made long after the run, of any subset of them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lmtx.files import read_json
from lmtx.report.groups import Group, grouped
from lmtx.report.schema import Frozen, Interval, Point, Result, Statistics

# The order of the systems in every table: those without training, those that train without a teacher,
# those that ask a language model at prediction time, the one that reads annotations; then LMTX, cycle by
# cycle, its best cycle, and that one fused with another system.
BASELINES = [
    "zero-shot",
    "hubness",
    "tfidf",
    "bm25",
    "hybrid",
    "hybrid-tfidf",
    "rts",
    "maclr",
    "label-tuning",
    "rerank",
    "icxml",
    "supervised",
]
# Without these two the study has no result: their absence is shown as a gap.
EXPECTED = ("zero-shot", "lmtx")

Model = TypeVar("Model", bound=Frozen)


@dataclass(frozen=True)
class Results:
    """Everything that a report is made from.

    Attributes
    ----------
    dataset
        The data set that the report is about. It comes first in the two dictionaries; the others follow by
        name.
    by_dataset
        Data set -> its results in reading order; a system of `EXPECTED` without a file is there as a gap.
    statistics
        Data set -> its statistics, `None` where they were not written yet.
    points
        Every run of the ablations of `dataset`, by name.
    groups
        The same runs, those that differ in nothing but the seed together.
    """

    dataset: str
    by_dataset: dict[str, list[Result]]
    statistics: dict[str, Statistics | None]
    points: list[Point]
    groups: list[Group]

    @property
    def systems(self) -> list[Result]:
        """The results on `dataset`."""
        return self.by_dataset[self.dataset]


def load(reports: str | Path, dataset: str) -> Results:
    """Read every result file in `reports`: of the systems on all data sets, of the ablations on `dataset`.

    Raises `ValueError` naming the file and the field of a result file that cannot be used.
    """
    reports = Path(reports)
    others = {path.parent.name for path in (reports / "metrics").glob("*/*.json")}
    others |= {path.stem for path in (reports / "corpus").glob("*.json")}
    names = [dataset, *sorted(others - {dataset})]
    statistics = {name: reports / "corpus" / f"{name}.json" for name in names}
    points = _read_folder(reports / "ablations" / dataset, Point, "point")
    return Results(
        dataset,
        {name: _load_systems(reports / "metrics" / name) for name in names},
        {name: _read(path, Statistics) if path.is_file() else None for name, path in statistics.items()},
        points,
        grouped(points),
    )


def measured(systems: list[Result], name: str) -> Result | None:
    """The result of a system, or `None` where it is missing or has no P@1."""
    return next((r for r in systems if r.system == name and "P@1" in r.metrics), None)


def gain_of_lmtx(systems: list[Result]) -> Interval | None:
    """The paired difference in P@1 of LMTX and its encoder before training."""
    zero = measured(systems, "zero-shot")
    d = (zero.against_lmtx or {}).get("P@1") if zero else None
    return d and d.reverse


def cycles(systems: list[Result]) -> dict[int, Result]:
    """The cycles of the curriculum among the systems by number, in their order, stopped ones too."""
    return {number: r for r in systems if (number := _cycle_number(r.system)) is not None}


def from_zero(systems: list[Result]) -> dict[int, Result]:
    """`cycles`, with the encoder before training as cycle 0 where it has a result."""
    zero = measured(systems, "zero-shot")
    return ({0: zero} if zero else {}) | cycles(systems)


def each_once(systems: list[Result]) -> list[Result]:
    """The systems without the cycle that also has the name `lmtx`."""
    if measured(systems, "lmtx") is None:
        return systems
    twice = {r.system for r in cycles(systems).values() if r.cycle and r.cycle.best}
    return [r for r in systems if r.system not in twice]


def on_documents(dataset: str, systems: list[Result]) -> str:
    """The data set and its number of test documents, as captions name it."""
    sizes = sorted({r.n for r in systems if r.n is not None})
    return f"{dataset}, n = {' or '.join(f'{n:,}' for n in sizes)} test documents" if sizes else dataset


def _load_systems(folder: Path) -> list[Result]:
    systems = {r.system: r for r in _read_folder(folder, Result, "system")}
    for r in systems.values():
        if not r.metrics and r.stopped is None:
            path = folder / f"{r.system}.json"
            raise ValueError(f"{path}: neither `metrics` nor `stopped`; run the `evaluate` stage again")
    for name in EXPECTED:
        missing = Result(system=name, label=name, stopped=f"no file {name}.json in {folder.name}")
        systems.setdefault(name, missing)
    return [systems[name] for name in sorted(systems, key=_order)]


def _cycle_number(system: str) -> int | None:
    match = re.fullmatch(r"lmtx-c(\d+)", system)
    return int(match.group(1)) if match else None


def _order(system: str) -> tuple:
    if system in BASELINES:
        return (0, BASELINES.index(system), "")
    number = _cycle_number(system)
    if number is not None:
        return (2, number, "")
    return (3 if system == "lmtx" else 4 if system.startswith("hybrid-") else 1, 0, system)


def _read_folder(folder: Path, kind: type[Model], field: str) -> list[Model]:
    """Every file of a folder; each must hold the file's name in `field`."""
    models = []
    for path in sorted(folder.glob("*.json")):
        models.append(_read(path, kind))
        name = getattr(models[-1], field)
        if name != path.stem:
            raise ValueError(f"{path}: `{field}` is {name!r}, not the file's name; rename one of them")
    return models


def _read(path: Path, kind: type[Model]) -> Model:
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ValueError(f"{path}: `{field}`: {message}; run the stage that writes it again") from None
