"""The ablations' runs of several seeds as one group, and comparisons of groups."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from statistics import fmean, stdev

import pandas as pd
from scipy.special import stdtrit

from lmtx.report.render import flat_all, frame_of, listed
from lmtx.report.schema import Interval, Point, Settings

BASE = "base"
"""The group of the settings that every other point changes one thing of; it belongs to every axis."""
SAMPLE = "sample"


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
        return over_seeds([p.metrics.get(name) for p in self.points])

    def gain(self, name: str) -> Interval | None:
        """The paired difference to zero-shot, in the manner of `metric`."""
        return over_seeds([(p.against_zero_shot or {}).get(name) for p in self.points])

    def change(self, name: str) -> Interval | None:
        """The paired difference to base, in the manner of `metric`; `None` for base itself."""
        return over_seeds([(p.against_base or {}).get(name) for p in self.points])

    def mean(self, name: str) -> float | None:
        """The mean of an attribute of `Point` over the runs that have it."""
        values = [value for point in self.points if (value := getattr(point, name)) is not None]
        return fmean(values) if values else None


def grouped(points: Sequence[Point]) -> list[Group]:
    """The runs of the ablations, those that differ in their seed together; base is first.

    A run that another point has, too (`same_as`), is there once and belongs to the axes of both.
    """
    runs: dict[tuple, dict[int, Point]] = {}
    axes: dict[tuple, set[str]] = {}
    # The point that was run comes before those that only name it.
    for point in sorted(points, key=lambda p: (p.axis != BASE, p.same_as is not None)):
        name = re.sub(r"-s\d+$", "", point.same_as or point.point)
        key = (name, point.settings.model_dump_json())
        runs.setdefault(key, {}).setdefault(point.seed, point)
        axes.setdefault(key, set()).update({point.axis} | ({BASE} & {name}))
    return [
        Group(key[0], frozenset(axes[key]), tuple(by_seed[seed] for seed in sorted(by_seed)))
        for key, by_seed in runs.items()
    ]


def on_axis(groups: Sequence[Group], axis: str) -> list[Group]:
    """The groups that a figure of `axis` shows, base among them; none where only base was run.

    The main run, on all documents, belongs to the axis of the sample size.
    """
    shown = {axis, BASE} | ({"main"} if axis == SAMPLE else set())
    if not any(axis in group.axes and BASE not in group.axes for group in groups):
        return []
    return [group for group in groups if group.axes & shown]


def base_of(groups: Sequence[Group]) -> Group | None:
    """The group of the shared settings, or `None` where it was not run."""
    return next((group for group in groups if BASE in group.axes), None)


def over_seeds(intervals: Sequence[Interval | None]) -> Interval | None:
    """The mean and its 95 % t-interval where there are two or more; a single one as it is; else `None`.

    Student's t with one degree of freedom fewer than there are seeds.
    """
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
    if BASE in other.axes and (paired := one.change(name)):
        return paired
    # From two intervals, the narrowest that both have.
    for measure in (Group.change, Group.gain, Group.metric):
        a, b = measure(one, name), measure(other, name)
        if a is not None and b is not None:
            d = a.value - b.value
            low, high = hypot(a.value - a.low, b.high - b.value), hypot(a.high - a.value, b.value - b.low)
            return Interval(value=d, low=d - low, high=d + high)
    return None


def sample_of(dataset: str, groups: Sequence[Group], vary: str = "") -> str:
    """The data set, training documents, seeds and test documents of the groups, as captions name them.

    Where `vary` is the axis of the sample, the number of training documents is left out.
    """
    base = base_of(groups) or groups[0]
    documents = f", {base.settings.documents:,} training documents" if vary != SAMPLE else ""
    seeds = sorted({seed for group in groups for seed in group.seeds})
    sizes = sorted({point.n for group in groups for point in group.points})
    return (
        f"{dataset}{documents}, seed{'s' if len(seeds) > 1 else ''} {listed(map(str, seeds))}; "
        f"n = {' or '.join(f'{n:,}' for n in sizes)} test documents"
    )


def intervals_of(groups: Sequence[Group]) -> str:
    """Which intervals the groups have, as captions say it."""
    counts = [len(group.points) for group in groups]
    if max(counts) == 1:
        return "95 % bootstrap intervals over test documents"
    if min(counts) > 1:
        return "mean and 95 % t-interval over seeds"
    return "mean and 95 % t-interval over seeds; of one seed, the bootstrap interval over test documents"


def ran_on(dataset: str, groups: Sequence[Group]) -> str:
    """The sample and the intervals of the groups as a sentence; the data set alone where nothing was run."""
    return f"{sample_of(dataset, groups)}; {intervals_of(groups)}." if groups else f"{dataset}."


def caption_of(dataset: str, groups: Sequence[Group], vary: str = "") -> str:
    """`ran_on`, and the meaning of a figure's marks."""
    if not groups:
        return f"{dataset}."
    seeds = ", small points: single seeds" if any(len(group.points) > 1 for group in groups) else ""
    return f"{sample_of(dataset, groups, vary)}; {intervals_of(groups)}{seeds}. Dashed: zero-shot."


def frame_of_groups(
    groups: Sequence[Group],
    facts: Callable[[Group], dict],
    metrics: Sequence[str],
    numbers: Sequence[str],
) -> pd.DataFrame:
    """The numbers that a figure draws: a mark for each group, and a point for each of its seeds.

    A group of one seed is a mark alone. `facts` gives the columns in which all runs of a group agree.
    `metrics` come with their intervals; `numbers` are attributes of `Point`, and a mark has their mean.
    """
    rows = []
    for group in groups:
        shared = {"point": group.name} | facts(group)
        # The mark: means and intervals over the seeds.
        several = len(group.points) > 1
        mark = {"drawn": "mark", "seed": None if several else group.seeds[0], "seeds": len(group.points)}
        mark |= {"n": group.points[0].n} | flat_all({name: group.metric(name) for name in metrics}, metrics)
        rows.append(shared | mark | {name: group.mean(name) for name in numbers})
        # The points: the single runs.
        for run in group.points if several else ():
            point = {"drawn": "point", "seed": run.seed, "seeds": 1, "n": run.n}
            point |= flat_all(run.metrics, metrics)
            rows.append(shared | point | {name: getattr(run, name) for name in numbers})
    return frame_of(rows)
