"""The figures of the ablations, from the runs of their points: one for each axis, and the map of teachers."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation

from lmtx.report import drawing
from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.figures import COMPARED
from lmtx.report.render import frame_of, listed, percent, span
from lmtx.report.results import Group, Results, difference, measured, on_axis, sizes
from lmtx.report.schema import Interval

STAGE = "ablations"
_NOT_RUN = "Not run yet"


class Axis(NamedTuple):
    """How a figure shows an axis: as a curve over numbers, or with a row a text.

    `setting` is the property of `Settings` that the points differ in, `words` say it in a sentence, `label`
    stands at a curve's axis.
    """

    file: str
    title: str
    setting: str
    words: str = "{}"
    label: str = ""


_ACCEPTED = "Judged pairs that count as a yes (%)"
AXES = {
    "sample": Axis("f3_sample_size", "F3 Sample size", "documents", "{} documents", "Training documents"),
    "negatives": Axis("f4_negatives", "F4 Negatives", "strategy"),
    "shortlist": Axis("f5_shortlist", "F5 Shortlist size", "shortlist", "j = {}", "Shortlist size j"),
    "source": Axis("f5_source", "F5 Shortlist source", "source"),
    "acceptance": Axis("acceptance", "Accepted share", "acceptance_percent", "{} % accepted", _ACCEPTED),
}
"""The axes of F3 to F5; a new one is a line here."""
_MORE = {
    "sample": ("train_seconds", "verdicts"),
    "shortlist": ("verdicts_per_document", "pseudo_precision"),
    "source": ("shortlist_recall",),
    "acceptance": ("pseudo_precision", "pseudo_recall"),
}
"""The columns of `PANELS` that an axis shows beside P@1 and R@10."""
PANELS = {
    # column: (title, axis, colour)
    **{name: (title, f"{name} (%)", BLUE) for name, title in COMPARED.items()},
    "train_seconds": ("Time to train the student", "Seconds", ORANGE),
    "verdicts": ("Asked of the teacher", "Verdicts", ORANGE),
    "verdicts_per_document": ("Asked of the teacher", "Verdicts a document", ORANGE),
    "pseudo_precision": ("Accepted labels that are annotated", "Share (%)", GREEN),
    "pseudo_recall": ("Annotated labels that are accepted", "Share (%)", GREEN),
    "shortlist_recall": ("Shortlisted true labels", "Share (%)", GREEN),
}


def of_axis(results: Results, name: str) -> Drawing:
    """The figure of an axis of `AXES`; a gap where none of its points was run."""
    axis = AXES[name]
    value = attrgetter(f"settings.{axis.setting}")
    groups = [g for g in on_axis(results.points, name) if value(g) is not None]
    # A curve runs by its numbers, and rows by P@1, the highest on top.
    groups.sort(key=value if axis.label else lambda g: p1.value if (p1 := g.metric("P@1")) else 0.0)
    frame = _frame(groups, lambda g: {axis.setting: value(g)})
    panels = [*COMPARED, *_MORE.get(name, ())]

    def curves(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex=True)
        for axes, column in zip(grid.flat, panels, strict=True):
            _zero_line(axes, results, column, level=True)
            _curve(axes, frame, axis.setting, column)
        for axes in grid[-1]:
            axes.set_xlabel(axis.label)

    def rows(figure: Figure) -> None:
        for axes, column in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
            _zero_line(axes, results, column, level=False)
            _rows(axes, frame, [g.name for g in groups], column)
            axes.set_yticks(range(len(groups)), [value(g).replace(" + ", "\n+ ") for g in groups])

    caption = f"{ran_on(results.dataset, groups)}."
    if groups:
        several = any(len(g.points) > 1 for g in groups)
        caption += " Dashed: zero-shot." + " Small points: single seeds." * several
    draw, height = (curves, 5.6) if axis.label else (rows, 1.9 + 0.5 * len(groups))
    message, size, nothing = _best(groups, axis), (7.6, height), None if groups else _missing(results)
    return Drawing(axis.file, axis.title, message, caption, frame, size, draw, nothing, STAGE)


def teacher_map(results: Results) -> Drawing:
    """How good a teacher must be: the student's gain in P@1 for simulated teachers, by their error rates."""
    groups = [g for g in on_axis(results.points, "map") if g.settings.true_yes is not None]
    rates = ("true_yes", "false_yes")
    frame = _frame(groups, lambda g: {rate: getattr(g.settings, rate) for rate in rates} | {"gain": _gain(g)})
    frame = frame[frame["drawn"] == "mark"] if groups else frame
    gains = [(g.settings, gain) for g in groups if (gain := _gain(g))]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        lines, columns = (sorted({getattr(g.settings, rate) for g in groups}) for rate in rates)
        strongest = max((abs(gain.value) for _, gain in gains), default=0) or 1
        for settings, gain in gains:
            x, y = columns.index(settings.false_yes), lines.index(settings.true_yes)
            # The larger the difference, the stronger the colour; the text stays readable on the strongest.
            colour, alpha = BLUE if gain.value >= 0 else ORANGE, 0.06 + 0.5 * abs(gain.value) / strongest
            square = {"xy": (x - 0.5, y - 0.5), "width": 1, "height": 1}
            axes.add_patch(Rectangle(**square, facecolor=colour, alpha=alpha, edgecolor="none"))
            axes.add_patch(Rectangle(**square, fill=False, edgecolor=PAPER, linewidth=2))
            middle = {"ha": "center", "va": "center"}
            weight = "normal" if gain.within_noise else "bold"
            axes.text(x, y + 0.16, percent(gain.value, sign=True), fontweight=weight, **middle)
            axes.text(x, y - 0.2, span(gain, sign=True), fontsize=7.5, color=INK, **middle)
        axes.set_xticks(range(len(columns)), [f"{100 * rate:.3g}" for rate in columns])
        axes.set_yticks(range(len(lines)), [f"{100 * rate:.3g}" for rate in lines])
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(lines) - 0.5))
        axes.set(xlabel="Other labels that the teacher accepts (%)", ylabel="True labels that it accepts (%)")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    caption, message = f"{ran_on(results.dataset, groups)}.", _NOT_RUN
    if groups:
        caption += (
            " P@1 minus zero-shot, in points; bold: the interval leaves 0 out. Simulated: these teachers "
            "read the annotations and err at the rates given; no real one does."
        )
        clear = sum(gain.low > 0 for _, gain in gains)
        message = f"{clear} of {len(gains)} simulated teachers lift the student clearly above zero-shot"
    size, title = (7.6, 2.9 + 0.6 * len({g.settings.true_yes for g in groups})), "How good a teacher must be"
    nothing = None if groups else _missing(results)
    return Drawing("teacher_map", title, message, caption, frame, size, draw, nothing, STAGE)


def _missing(results: Results) -> str:
    return f"The ablations have no point of this axis on {results.dataset} yet."


def ran_on(dataset: str, groups: Sequence[Group]) -> str:
    """The data set, the sample, the seeds and the intervals of the groups, as a caption says it.

    The number of training documents is left out where the groups differ in it.
    """
    if not groups:
        return dataset
    points = [point for group in groups for point in group.points]
    documents = {group.settings.documents for group in groups}
    counts = {len(group.points) for group in groups}
    seeds = sorted({point.seed for point in points})
    intervals = "mean and 95 % t-interval over seeds" if max(counts) > 1 else ""
    if 1 in counts:
        alone = "95 % bootstrap intervals over test documents"
        intervals += f"; of one seed, {alone}" if intervals else alone
    sample = f", {documents.pop():,} training documents" if len(documents) == 1 else ""
    run = f"{dataset}{sample}, seed{'s' if len(seeds) > 1 else ''} {listed(map(str, seeds))}"
    return f"{run}; {sizes(points)}; {intervals}"


def _gain(group: Group) -> Interval | None:
    return group.metric("P@1", "against_zero_shot")


def _best(groups: Sequence[Group], axis: Axis) -> str:
    """The value with the highest P@1, and those that are not clearly below it."""
    ran, groups = bool(groups), [group for group in groups if group.metric("P@1") is not None]
    if not groups:
        return "P@1 was not measured" if ran else _NOT_RUN

    def say(some: Sequence[Group]) -> str:
        values = [getattr(group.settings, axis.setting) for group in some]
        return axis.words.format(listed(v if isinstance(v, str) else f"{v:,.10g}" for v in values))

    best = max(groups, key=lambda g: g.metric("P@1").value)
    others = [g for g in groups if g is not best]
    near = [g for g in others if (d := difference(best, g, "P@1")) is None or d.low <= 0]
    highest = f"Highest P@1: {say([best])}, {percent(best.metric('P@1').value)} %"
    if not near:
        return f"{highest}, clearly above all others" if others else highest
    return f"{highest}; within noise of it: {'all others' if len(near) == len(others) > 1 else say(near)}"


def _frame(groups: Sequence[Group], facts: Callable[[Group], dict]) -> pd.DataFrame:
    """A mark for each group, with its `facts`, and a point for each of several seeds."""
    numbers = [column for column in PANELS if column not in COMPARED]
    rows = []
    for group in groups:
        first, several = group.points[0], len(group.points) > 1
        shared = {"point": group.name} | facts(group)
        mark = {"drawn": "mark", "seed": None if several else first.seed, "seeds": len(group.points)}
        mark |= {"n": first.n} | {metric: group.metric(metric) for metric in COMPARED}
        rows.append(shared | mark | {name: group.mean(name) for name in numbers})
        for run in group.points if several else ():
            point = {"drawn": "point", "seed": run.seed, "seeds": 1, "n": run.n}
            point |= {metric: run.metrics.get(metric) for metric in COMPARED}
            rows.append(shared | point | {name: getattr(run, name) for name in numbers})
    return frame_of(rows, intervals=(*COMPARED, "gain"))


def _curve(axes: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """Groups as marks with intervals, joined by a line; single seeds as small points."""
    title, label, colour = PANELS[y]
    axes.set_title(title)
    axes.set_ylabel(label)
    values = sorted(frame[x].unique())
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(values, [f"{value:,.10g}" for value in values])
    frame = frame[frame[y].notna()]
    if frame.empty:
        return drawing.gap(axes, "not measured")
    marks, points = (frame[frame["drawn"] == kind] for kind in ("mark", "point"))
    axes.plot(marks[x], marks[y].astype(float), color=colour, linewidth=1.2, alpha=0.6)
    if y in COMPARED:
        axes.vlines(marks[x], marks[f"{y}_low"], marks[f"{y}_high"], color=colour, linewidth=2)
    aside = axes.transData + ScaledTranslation(6 / 72, 0, axes.figure.dpi_scale_trans)
    axes.plot(points[x], points[y].astype(float), ".", color=MUTED, markersize=4, transform=aside)
    axes.update_datalim(points[[x, y]].astype(float).to_numpy())  # points that are moved aside do not count
    axes.plot(marks[x], marks[y].astype(float), "o", color=colour, markersize=6.5)
    axes.margins(x=0.08, y=0.12)
    axes.grid(axis="both")
    axes.tick_params(length=0)
    if "%" in label:
        drawing.percent_axis(axes.yaxis, 5)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda amount, _: f"{amount:,.10g}")


def _rows(axes: Axes, frame: pd.DataFrame, names: Sequence[str], column: str) -> None:
    """A row a group: its mark with its interval, and single seeds as small points below."""
    title, label, colour = PANELS[column]
    for row in frame[frame[column].notna()].to_dict("records"):
        y = names.index(row["point"])
        if row["drawn"] == "point":
            axes.plot(row[column], y - 0.2, ".", color=MUTED, markersize=5)
        else:
            drawing.bar(axes, y, row, column, colour)
    axes.set_title(title)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.margins(x=0.15)
    drawing.row_axes(axes, label)


def _zero_line(axes: Axes, results: Results, name: str, level: bool) -> None:
    """Zero-shot as a dashed line: level, its name beside the panel where no interval can lie; or upright."""
    zero = measured(results.systems, "zero-shot")
    if zero is None or name not in zero.metrics:
        return
    value = zero.metrics[name].value
    look = {"color": PURPLE, "linestyle": (0, (4, 3)), "linewidth": 1.4}
    note = {"textcoords": "offset points", "fontsize": 8, "color": MUTED}
    if level:
        axes.axhline(value, **look)
        beside = axes.get_yaxis_transform()
        axes.annotate("zero-shot", (1, value), (3, 0), xycoords=beside, va="center", **note)
    else:
        axes.axvline(value, **look)
        axes.annotate("zero-shot", (value, 0), (3, 3), xycoords=axes.get_xaxis_transform(), **note)
