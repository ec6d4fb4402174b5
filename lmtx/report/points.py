"""The points of the ablations: their result files, runs of several seeds as one group, and comparisons.

`reports/ablations/<dataset>/<point>.json` holds one run: a point of an axis, with one seed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path
from statistics import fmean, stdev

from pydantic import ConfigDict
from scipy.special import stdtrit

from lmtx.report.render import listed
from lmtx.report.results import Interval, Part, Run, flat, read

BASE = "base"
"""The group of the settings that every other point changes one thing of; it belongs to every axis."""
SAMPLE = "sample"


class Settings(Part):
    """What a point was run with; other keys are kept, and tell points apart.

    `documents` are the training documents whose labels the teacher judged; `None` in `true_yes`,
    `false_yes` and `mode` means that its teacher has no such setting.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    documents: int
    shortlist: int
    teacher: str
    teacher_kind: str | None = None
    mode: str | None = None
    true_yes: float | None = None
    false_yes: float | None = None
    negatives: str = "hardest"
    rejected_negatives: int = 0
    soft_targets: bool = False
    refresh: bool = True
    restart: bool = True
    descriptions: bool = True
    cycle: int = 1


class Point(Run):
    """One run of one point.

    `against_zero_shot` and `against_base` hold paired differences, this run minus the other. `verdicts`
    counts the judged pairs, `pseudo_positives` the yes-verdicts a document; `pseudo_precision` and
    `pseudo_recall` compare these with the annotations, for the report only. `same_as` names the point
    whose run this one is, where both have the same settings.
    """

    point: str
    axis: str
    seed: int
    same_as: str | None = None
    settings: Settings
    n: int
    metrics: dict[str, Interval]
    against_zero_shot: dict[str, Interval] | None = None
    against_base: dict[str, Interval] | None = None
    trained_on: int | None = None
    verdicts: int | None = None
    yes_rate: float | None = None
    pseudo_positives: float | None = None
    pseudo_precision: float | None = None
    pseudo_recall: float | None = None

    @property
    def verdicts_per_document(self) -> float | None:
        return None if self.verdicts is None else self.verdicts / self.settings.documents


@dataclass(frozen=True)
class Group:
    """The runs of one point that differ in nothing but the seed.

    Attributes
    ----------
    name
        The point's name without the seed, such as "shortlist-3".
    axes
        The axes that it belongs to.
    points
        Its runs, one a seed, in the order of the seeds.
    """

    name: str
    axes: frozenset[str]
    points: tuple[Point, ...]

    @property
    def settings(self) -> Settings:
        return self.points[0].settings

    @property
    def seeds(self) -> list[int]:
        return [point.seed for point in self.points]

    def metric(self, name: str) -> Interval | None:
        """A metric: its mean and t-interval over seeds, or the single run with its bootstrap interval."""
        return over_seeds([p.metrics[name] for p in self.points if name in p.metrics])

    def gain(self, name: str) -> Interval | None:
        """The paired difference to zero-shot, in the manner of `metric`."""
        found = [(p.against_zero_shot or {}).get(name) for p in self.points]
        return over_seeds([d for d in found if d is not None])

    def change(self, name: str) -> Interval | None:
        """The paired difference to base, in the manner of `metric`; `None` for base itself."""
        found = [(p.against_base or {}).get(name) for p in self.points]
        return over_seeds([d for d in found if d is not None])

    def mean(self, number: Callable[[Point], float | None]) -> float | None:
        """The mean of a number of each run over the runs that have it."""
        found = [value for point in self.points if (value := number(point)) is not None]
        return fmean(found) if found else None


def load_points(reports: str | Path, dataset: str) -> list[Point]:
    """Every run of the ablations of a data set, by name.

    Raises `ValueError` naming the file and the field of a result file that cannot be used.
    """
    points = []
    for path in sorted((Path(reports) / "ablations" / dataset).glob("*.json")):
        points.append(read(path, Point))
        if points[-1].point != path.stem:
            found = points[-1].point
            raise ValueError(f"{path}: `point` is {found!r}, not the file's name; rename one of them")
    return points


def load_groups(reports: str | Path, dataset: str) -> list[Group]:
    """The runs of the ablations, those that differ in their seed together; base is first.

    A run that another point has, too (`same_as`), is there once and belongs to the axes of both.
    """
    runs: dict[tuple, dict[int, Point]] = {}
    axes: dict[tuple, set[str]] = {}
    # The point that was run comes before those that only name it.
    for point in sorted(load_points(reports, dataset), key=lambda p: (p.axis != BASE, p.same_as is not None)):
        key = (_stem(point.same_as or point.point), point.settings.model_dump_json())
        runs.setdefault(key, {}).setdefault(point.seed, point)
        axes.setdefault(key, set()).update({point.axis} | ({BASE} & {key[0]}))
    return [
        Group(key[0], frozenset(axes[key]), tuple(found[seed] for seed in sorted(found)))
        for key, found in runs.items()
    ]


def on_axis(groups: Sequence[Group], axis: str) -> list[Group]:
    """The groups that a figure of `axis` shows, base among them; none where only base was run.

    The main run, on all documents, belongs to the axis of the sample size.
    """
    own = {axis, "main"} if axis == SAMPLE else {axis}
    found = [group for group in groups if group.axes & (own | {BASE})]
    return found if any(group.axes & {axis} and BASE not in group.axes for group in found) else []


def over_seeds(found: Sequence[Interval]) -> Interval | None:
    """The mean and its 95 % t-interval where there are two or more; a single one as it is; else `None`.

    Student's t with one degree of freedom fewer than there are seeds.
    """
    if len(found) < 2:
        return found[0] if found else None
    values = [one.value for one in found]
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
    if BASE in one.axes and BASE not in other.axes:
        reverse = difference(other, one, name)
        return reverse and Interval(value=-reverse.value, low=-reverse.high, high=-reverse.low)
    values = [{p.seed: p.metrics[name].value for p in g.points if name in p.metrics} for g in (one, other)]
    shared = sorted(values[0].keys() & values[1].keys())
    if len(shared) > 1:
        pairs = [values[0][seed] - values[1][seed] for seed in shared]
        return over_seeds([Interval(value=d, low=d, high=d) for d in pairs])
    if BASE in other.axes and (paired := one.change(name)):
        return paired
    for measure in (Group.change, Group.gain, Group.metric):
        a, b = measure(one, name), measure(other, name)
        if a is not None and b is not None:
            d = a.value - b.value
            low, high = hypot(a.value - a.low, b.high - b.value), hypot(a.high - a.value, b.value - b.low)
            return Interval(value=d, low=d - low, high=d + high)
    return None


def clear(found: Interval | None) -> bool:
    """Whether a difference is there and its interval leaves 0 out."""
    return found is not None and not found.low <= 0 <= found.high


def rows(
    groups: Sequence[Group],
    metrics: Sequence[str],
    facts: Callable[[Group], dict],
    numbers: Callable[[Point], dict[str, float | None]],
) -> list[dict]:
    """What a figure draws, as rows of its CSV: a mark for each group, and a point for each of its seeds.

    `facts` are the same for all runs of a group; `numbers` are each run's own, and their mean the mark's.
    A group of one seed is a mark alone.
    """
    found = []
    for group in groups:
        several = len(group.points) > 1
        means = {key: group.mean(lambda p, key=key: numbers(p)[key]) for key in numbers(group.points[0])}
        shared = {"point": group.name, **facts(group)}
        row = {"drawn": "mark", "seed": None if several else group.seeds[0], "seeds": len(group.points)}
        row |= {"n": group.points[0].n}
        for name in metrics:
            row |= flat(name, group.metric(name))
        found.append(shared | row | means)
        for point in group.points if several else ():
            row = {"drawn": "point", "seed": point.seed, "seeds": 1, "n": point.n}
            for name in metrics:
                row |= flat(name, point.metrics.get(name))
            found.append(shared | row | numbers(point))
    return found


def subset(dataset: str, groups: Sequence[Group], vary: str = "") -> str:
    """What the groups were run on, as captions name it; without the documents where `vary` is the sample."""
    base = next((group for group in groups if BASE in group.axes), groups[0])
    documents = f", {base.settings.documents:,} training documents" if vary != SAMPLE else ""
    seeds = sorted({seed for group in groups for seed in group.seeds})
    sizes = sorted({point.n for group in groups for point in group.points})
    return (
        f"{dataset}{documents}, seed{'s' if len(seeds) > 1 else ''} {listed(map(str, seeds))}; "
        f"n = {' or '.join(f'{n:,}' for n in sizes)} test documents"
    )


def intervals(groups: Sequence[Group]) -> str:
    """Which intervals the groups have, as captions say it."""
    counts = [len(group.points) for group in groups]
    if max(counts) == 1:
        return "95 % bootstrap intervals over test documents"
    if min(counts) > 1:
        return "mean and 95 % t-interval over seeds"
    return "mean and 95 % t-interval over seeds; of one seed, the bootstrap interval over test documents"


def _stem(point: str) -> str:
    return re.sub(r"-s\d+$", "", point)
