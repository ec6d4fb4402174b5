"""The numbers behind tables and figures as data frames."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from lmtx.report.groups import Group
from lmtx.report.schema import Interval, Point

_RUN_COUNTS = ("seed", "seeds", "n")


def flat(name: str, interval: Interval | None) -> dict[str, float | None]:
    """An interval as the three columns NAME, NAME_low, NAME_high; `None` gives three gaps."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {name + end: getattr(interval, field, None) for end, field in ends.items()}


def flat_columns(names: Iterable[str]) -> list[str]:
    """The columns of the intervals of these names."""
    return [column for name in names for column in flat(name, None)]


def frame_of(rows: list[dict], counts: Sequence[str], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame whose `counts` stay whole numbers where other rows have gaps."""
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(counts, "Int64"))


def frame_of_groups(
    groups: Sequence[Group],
    facts: Mapping[str, Callable[[Group], object]],
    metrics: Sequence[str],
    numbers: Mapping[str, Callable[[Point], float | None]],
) -> pd.DataFrame:
    """The numbers that a figure draws: a mark for each group, and a point for each of its seeds.

    A group of one seed is a mark alone. `facts` maps columns to what all runs of a group share, `numbers` to
    what each run has of its own; the mark has their mean. `metrics` come with their intervals.
    """
    rows = []
    for group in groups:
        shared = {"point": group.name} | {column: fact(group) for column, fact in facts.items()}
        # The mark: means and intervals over the seeds.
        several = len(group.points) > 1
        mark = {"drawn": "mark", "seed": None if several else group.seeds[0], "seeds": len(group.points)}
        mark |= {"n": group.points[0].n}
        for name in metrics:
            mark |= flat(name, group.metric(name))
        rows.append(shared | mark | {column: group.mean(number) for column, number in numbers.items()})
        # The points: the single runs.
        for run in group.points if several else ():
            point = {"drawn": "point", "seed": run.seed, "seeds": 1, "n": run.n}
            for name in metrics:
                point |= flat(name, run.metrics.get(name))
            rows.append(shared | point | {column: number(run) for column, number in numbers.items()})
    columns = ["point", *facts, "drawn", *_RUN_COUNTS, *flat_columns(metrics), *numbers]
    return frame_of(rows, _RUN_COUNTS, columns)
