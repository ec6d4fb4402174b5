"""The result files of a study, read once, and the questions that tables and figures ask of them.

Nothing but the result files is read, so a report can be made long after the run, of any subset of them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from scipy.special import stdtrit

from lmtx.files import read_json
from lmtx.report.schema import Interval, Point, Result, Settings, Statistics

# The order of the systems in every table: those without training, those that train without a teacher,
# those that ask a language model at prediction time, the one that reads annotations; then LMTX, cycle by
# cycle, its best cycle, and that one fused with another system.
BASELINES = """
    zero-shot hubness tfidf bm25 hybrid hybrid-tfidf rts maclr label-tuning rerank icxml supervised
""".split()  # noqa: SIM905 (a list literal would take a line a word)
BASE = "base"
"""The point whose settings every other point changes one thing of; it belongs to every axis."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Results:
    """Everything that a report is made from; the dictionaries begin with `dataset`, others follow by name."""

    dataset: str  # the one that the report is about
    by_dataset: dict[str, list[Result]]  # in reading order; E0 or LMTX without a file is a gap
    statistics: dict[str, Statistics | None]  # None where they were not written yet
    ablations: dict[str, list[Point]]  # every run of the ablations, by name

    @property
    def systems(self) -> list[Result]:
        """The results on `dataset`."""
        return self.by_dataset[self.dataset]

    @property
    def points(self) -> list[Point]:
        """The runs of the ablations on `dataset`."""
        return self.ablations[self.dataset]


def load(reports: str | Path, dataset: str) -> Results:
    """Read every result file in `reports`; the report is about `dataset`.

    Raises `ValueError` naming the file and the field of a result file that cannot be used.
    """
    reports = Path(reports)
    others = {path.parent.name for path in (reports / "metrics").glob("*/*.json")}
    others |= {path.stem for path in (reports / "corpus").glob("*.json")}
    names = [dataset, *sorted(others - {dataset})]
    statistics = {name: reports / "corpus" / f"{name}.json" for name in names}
    return Results(
        dataset,
        {name: _load_systems(reports / "metrics" / name) for name in names},
        {name: _read(path, Statistics) if path.is_file() else None for name, path in statistics.items()},
        {name: _read_folder(reports / "ablations" / name, Point, "point") for name in names},
    )


def measured(systems: list[Result], name: str) -> Result | None:
    """The result of a system, or `None` where it is missing or has no P@1."""
    return next((r for r in systems if r.system == name and "P@1" in r.metrics), None)


def gain_of_lmtx(systems: list[Result], over: str = "zero-shot") -> Interval | None:
    """The paired difference in P@1 of LMTX and another system, its encoder before training."""
    other = measured(systems, over)
    return other.minus_lmtx.reverse if other and other.minus_lmtx else None


def cycles(systems: list[Result]) -> dict[int, Result]:
    """The cycles of the curriculum among the systems by number, in their order, stopped ones too."""
    return {int(r.system.removeprefix("lmtx-c")): r for r in systems if re.fullmatch(r"lmtx-c\d+", r.system)}


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


def sizes(runs: Iterable[Result | Point]) -> str:
    """The number of test documents, as captions say it; nothing where no run has one."""
    *fewer, most = [f"{n:,}" for n in sorted({run.n for run in runs if run.n is not None})] or [""]
    numbers = f"{', '.join(fewer)} or {most}" if fewer else most
    return f"n = {numbers} test documents" if numbers else ""


def on_documents(dataset: str, runs: Iterable[Result | Point]) -> str:
    """The data set and its number of test documents."""
    return ", ".join(filter(None, [dataset, sizes(runs)]))


@dataclass(frozen=True)
class Group:
    """The runs of one point that differ in nothing but the seed.

    `name` is the point's without the seed, such as "shortlist-3", `axes` are those that it belongs to, and
    `points` its runs in the order of their seeds.
    """

    name: str
    axes: frozenset[str]
    points: tuple[Point, ...]

    @property
    def settings(self) -> Settings:
        return self.points[0].settings

    def metric(self, name: str, of: str = "metrics") -> Interval | None:
        """A metric, or its paired difference in `of`: over seeds, or of the single run as it is."""
        return over_seeds([(getattr(p, of) or {}).get(name) for p in self.points])

    def mean(self, name: str) -> float | None:
        """The mean of an attribute of `Point` over the runs that have it."""
        values = [value for point in self.points if (value := getattr(point, name)) is not None]
        return fmean(values) if values else None


def grouped(points: Sequence[Point]) -> list[Group]:
    """The runs of the ablations, those that differ in their seed together; base is first.

    A run that another point has, too (`same_as`), is there once and belongs to the axes of both.
    """

    def seedless(name: str) -> str:
        return re.sub(r"-s\d+$", "", name)

    # Further seeds of a point that is another's run belong to that one.
    run_of = {p.point: seedless(p.same_as) for p in points if p.same_as}
    runs: dict[tuple, dict[int, Point]] = {}
    axes: dict[tuple, set[str]] = {}
    # The point that was run comes before those that only name it.
    for point in sorted(points, key=lambda p: (p.axis != BASE, p.same_as is not None)):
        name = seedless(point.same_as or point.point)
        key = (run_of.get(name, name), point.settings.model_dump_json())
        runs.setdefault(key, {}).setdefault(point.seed, point)
        axes.setdefault(key, set()).update({point.axis} | ({BASE} & {*key}))
    return [
        Group(key[0], frozenset(axes[key]), tuple(by_seed[seed] for seed in sorted(by_seed)))
        for key, by_seed in runs.items()
    ]


def on_axis(points: Sequence[Point], *axes: str) -> list[Group]:
    """The groups on some axes, base among them; none where only base was run.

    The main run, on all documents, belongs to the axis of the sample size.
    """
    groups = grouped(points)
    if not any(group.axes & {*axes} and BASE not in group.axes for group in groups):
        return []
    return [group for group in groups if group.axes & {*axes, BASE, *(("main",) if "sample" in axes else ())}]


def minus_base(group: Group, groups: Sequence[Group]) -> Interval | None:
    """The difference to base in P@1; `None` for base itself and where it was not run."""
    base = next((group for group in groups if BASE in group.axes), None)
    return None if base is None or group is base else difference(group, base, "P@1")


def over_seeds(intervals: Sequence[Interval | None]) -> Interval | None:
    """The mean and its 95 % t-interval where there are two or more; a single one as it is; else `None`."""
    measured = [one for one in intervals if one is not None]
    if len(measured) < 2:
        return measured[0] if measured else None
    values = [one.value for one in measured]
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / sqrt(len(values))
    return Interval(value=fmean(values), low=fmean(values) - half, high=fmean(values) + half)


def difference(one: Group, other: Group, name: str) -> Interval | None:
    """`one` minus `other` in a metric, with a 95 % interval; `None` where one of them lacks the metric.

    Over two or more shared seeds: the t-interval of the differences, seed by seed. Else against base: the
    paired interval. Else from the intervals of both against base (or against zero-shot, or of the metric
    alone, where they have no other) as if they were independent (Zou and Donner, 2008, "Construction of
    confidence limits about effect measures: a general approach"). That is wider than it need be, since
    both are measured on the same test documents.
    """
    # Runs hold their difference to base, never base's to them.
    if BASE in one.axes and BASE not in other.axes:
        d = difference(other, one, name)
        return d and d.reverse
    # Seed by seed.
    values = [{p.seed: p.metrics[name].value for p in g.points if name in p.metrics} for g in (one, other)]
    shared = sorted(values[0].keys() & values[1].keys())
    if len(shared) > 1:
        pairs = [values[0][seed] - values[1][seed] for seed in shared]
        return over_seeds([Interval(value=d, low=d, high=d) for d in pairs])
    # Paired over test documents, as the run has it.
    if BASE in other.axes and (paired := one.metric(name, "against_base")):
        return paired
    # From two intervals, the narrowest that both have.
    for of in ("against_base", "against_zero_shot", "metrics"):
        a, b = one.metric(name, of), other.metric(name, of)
        if a is not None and b is not None:
            d = a.value - b.value
            low, high = hypot(a.value - a.low, b.high - b.value), hypot(a.high - a.value, b.value - b.low)
            return Interval(value=d, low=d - low, high=d + high)
    return None


def _load_systems(folder: Path) -> list[Result]:
    # Without these two the study has no result: their absence is shown as a gap.
    systems = {
        name: Result(system=name, label=name, stopped=f"no file {name}.json in {folder.name}")
        for name in ("zero-shot", "lmtx")
    }
    for r in _read_folder(folder, Result, "system"):
        if not r.metrics and r.stopped is None:
            path = folder / f"{r.system}.json"
            raise ValueError(f"{path}: neither `metrics` nor `stopped`; run the `evaluate` stage again")
        systems[r.system] = r
    return sorted(systems.values(), key=_order)


def _order(r: Result) -> tuple:
    if r.system in BASELINES:
        return (0, BASELINES.index(r.system), "")
    if cycle := re.fullmatch(r"lmtx-c(\d+)", r.system):
        return (2, int(cycle.group(1)), "")
    return (3 if r.system == "lmtx" else 4 if r.system.startswith("hybrid-") else 1, 0, r.system)


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
