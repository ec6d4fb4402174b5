"""The figures of the ablations, from the groups of their runs: F3, F4, F5 and the map of teachers.

"Clearly" in a figure's sentence means that the 95 % interval of a difference leaves 0 out.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, takewhile

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from lmtx.report import drawing
from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.figures import COMPARED
from lmtx.report.groups import SAMPLE, Group, caption_of, difference, frame_of_groups, on_axis, ran_on
from lmtx.report.render import flat, interval, percent
from lmtx.report.results import Results, measured

_DRAWN = ["random", "hardest", "rejected"]
_NOT_RUN = "Not run yet"


def f3_sample_size(results: Results) -> Drawing:
    """F3: P@1 and the seconds to train against the number of training documents."""
    groups = sorted(on_axis(results.groups, SAMPLE), key=lambda g: g.settings.documents)
    numbers = ["train_seconds", "trained_on"]
    frame = frame_of_groups(groups, lambda g: {"documents": g.settings.documents}, ["P@1"], numbers)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _zero_line(left, results, "P@1", level=True)
        _marks(left, frame, "documents", "P@1", BLUE)
        left.set(title="Quality of the student", ylabel="P@1 (%)")
        _marks(right, frame, "documents", "train_seconds", ORANGE)
        right.set(title="Time to train it", ylabel="Seconds", yscale="log")
        drawing.log_ticks(right.yaxis)
        for axes in (left, right):
            axes.set(xscale="log", xlabel="Training documents")
            drawing.log_ticks(axes.xaxis)
            axes.grid(axis="both")

    def message(groups: Sequence[Group]) -> str:
        """From which sample on more documents add nothing clear to P@1."""
        enough = next(g for i, g in enumerate(groups) if not any(_above(h, g) for h in groups[i + 1 :]))
        documents = f"{enough.settings.documents:,} documents"
        if enough is groups[-1]:
            return f"More documents pay up to the largest sample, {documents}"
        return f"From {documents} on, more of them add nothing clear"

    caption = caption_of(results.dataset, groups, vary=SAMPLE)
    return _drawing(
        results, groups, "f3_sample_size", "F3 Sample size", message, caption, frame, draw, height=4.0
    )


def f4_negatives(results: Results) -> Drawing:
    """F4: P@1 and R@10 of each way to draw negatives, one row a strategy."""

    def order(group: Group) -> tuple[int, int]:
        drawn = group.settings.negatives
        return _DRAWN.index(drawn) if drawn in _DRAWN else len(_DRAWN), group.settings.rejected_negatives

    def facts(group: Group) -> dict:
        return {"strategy": _strategy(group), "rejected_negatives": group.settings.rejected_negatives}

    groups = sorted(on_axis(results.groups, "negatives"), key=order, reverse=True)
    frame = frame_of_groups(groups, facts, [*COMPARED], [])

    def draw(figure: Figure) -> None:
        height = {group.name: y for y, group in enumerate(groups)}
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, title) in zip(panels, COMPARED.items(), strict=True):
            _zero_line(axes, results, name)
            for row in frame[frame[name].notna()].to_dict("records"):
                _row_mark(axes, height[row["point"]], row, name)
            axes.set_yticks(range(len(groups)), [_strategy(g).replace(" + ", "\n+ ") for g in groups])
            axes.set_ylim(-0.6, len(groups) - 0.4)
            axes.set_title(title)
            drawing.row_axes(axes, f"{name} (%)")

    def message(groups: Sequence[Group]) -> str:
        """Which strategy is best in P@1, and how many others are clearly below it."""
        best = max(groups, key=lambda g: g.metric("P@1").value)
        p1 = percent(best.metric("P@1").value)
        below, others = sum(_above(best, g) for g in groups), len(groups) - 1
        if not below:
            return f"No strategy is clearly best; {_strategy(best)} is highest, {p1} %"
        count = f"{below} of {others} others" if below < others else "all others"
        return f"Best P@1: {_strategy(best)}, {p1} %, clearly above {count}"

    caption, height = caption_of(results.dataset, groups), 1.9 + 0.5 * len(groups)
    return _drawing(results, groups, "f4_negatives", "F4 Negatives", message, caption, frame, draw, height)


def f5_shortlist(results: Results) -> Drawing:
    """F5: P@1 and R@10 against the shortlist's size j; below, the number of verdicts and their precision."""
    groups = sorted(on_axis(results.groups, "shortlist"), key=lambda g: g.settings.shortlist)
    numbers = ["verdicts_per_document", "yes_rate", "pseudo_precision", "pseudo_recall"]
    numbers += ["prompt_tokens", "usd"]
    frame = frame_of_groups(groups, lambda g: {"shortlist": g.settings.shortlist}, [*COMPARED], numbers)
    panels = [(name, title, f"{name} (%)", BLUE) for name, title in COMPARED.items()]
    panels += [
        ("verdicts_per_document", "What the teacher is asked", "Verdicts a document", ORANGE),
        ("pseudo_precision", "How much of its yes is annotated", "Share (%)", GREEN),
    ]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex=True)
        sizes = sorted(frame["shortlist"].unique())
        for axes, (column, title, label, colour) in zip(grid.flat, panels, strict=True):
            axes.set(title=title, ylabel=label)
            if column in COMPARED:
                _zero_line(axes, results, column, level=True)
            _marks(axes, frame, "shortlist", column, colour)
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.grid(axis="both")
            axes.tick_params(length=0)
            if column == "verdicts_per_document":
                axes.set_ylim(bottom=0)
        for axes in grid[1]:
            axes.set_xlabel("Shortlist size j")

    def message(groups: Sequence[Group]) -> str:
        """The smallest shortlist within noise of the best in P@1."""
        best = max(groups, key=lambda g: g.metric("P@1").value)
        shortest = next(g for g in groups if g is best or not _above(best, g))
        j, p1 = best.settings.shortlist, percent(best.metric("P@1").value)
        if shortest is not best:
            return f"j = {shortest.settings.shortlist} is the shortest list within noise of the best, j = {j}"
        if best is groups[0]:
            return f"The shortest list, j = {j}, is as good as any longer one: P@1 {p1} %"
        return f"j = {j} is best, P@1 {p1} %, clearly above every shorter list"

    caption = caption_of(results.dataset, groups)
    return _drawing(
        results, groups, "f5_shortlist", "F5 Shortlist size", message, caption, frame, draw, height=5.6
    )


def teacher_map(results: Results) -> Drawing:
    """How good a teacher must be: the student's gain in P@1 for simulated teachers, by their error rates."""

    def facts(group: Group) -> dict:
        s = group.settings
        return {"true_yes": s.true_yes, "false_yes": s.false_yes} | flat("gain", group.gain("P@1"))

    groups = on_axis(results.groups, "map")
    groups = [g for g in groups if g.settings.true_yes is not None and g.settings.false_yes is not None]
    frame = frame_of_groups(groups, facts, ["P@1"], ["pseudo_precision"])
    frame = frame[frame["drawn"] == "mark"] if groups else frame

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        columns, lines = (sorted(frame[key].unique()) for key in ("false_yes", "true_yes"))
        strongest = frame["gain"].abs().max() or 1
        for row in frame[frame["gain"].notna()].to_dict("records"):
            _cell(axes, columns.index(row["false_yes"]), lines.index(row["true_yes"]), row, strongest)
        axes.set_xticks(range(len(columns)), [f"{100 * rate:.3g}" for rate in columns])
        axes.set_yticks(range(len(lines)), [f"{100 * rate:.3g}" for rate in lines])
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(lines) - 0.5))
        axes.set(xlabel="Other labels that the teacher accepts (%)", ylabel="True labels that it accepts (%)")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    caption = ran_on(results.dataset, groups)
    if groups:
        caption += " P@1 minus zero-shot, in points; bold: the interval leaves 0 out. Simulated: these "
        caption += "teachers read the annotations and err at the rates given; no real one does."
    height, title = 2.9 + 0.6 * len({g.settings.true_yes for g in groups}), "How good a teacher must be"
    return _drawing(results, groups, "teacher_map", title, _weakest_helper, caption, frame, draw, height)


def _weakest_helper(groups: Sequence[Group]) -> str:
    """Name the weakest teacher of the map that lifts the student clearly above zero-shot."""

    def helps(group: Group) -> bool:
        return group.gain("P@1").low > 0

    groups = [group for group in groups if group.gain("P@1") is not None]
    if not groups:
        return _NOT_RUN
    groups.sort(key=lambda g: (-g.settings.true_yes, g.settings.false_yes))
    helping = [group for group in groups if helps(group)]
    if not helping:
        return "No teacher on the map lifts the student clearly above zero-shot"
    # Of each row of the map, the teachers that help, up to the first one that does not.
    rows = [list(takewhile(helps, row)) for _, row in groupby(groups, key=lambda g: g.settings.true_yes)]
    if sum(map(len, rows)) < len(helping):
        # By chance, one that errs more helps where one that errs less does not: no weakest can be named.
        return f"{len(helping)} of {len(groups)} teachers lift the student clearly above zero-shot"
    weakest = [row for row in rows if row][-1][-1].settings
    return (
        f"The weakest teacher that helps says yes to {100 * weakest.true_yes:.3g} % of the true labels "
        f"and to at most {100 * weakest.false_yes:.3g} % of the others"
    )


def _strategy(group: Group) -> str:
    """How a group draws its negatives, in the field's words; in brackets, how many rejected labels join."""
    drawn, rejected = group.settings.negatives, group.settings.rejected_negatives
    if drawn == "rejected":
        return f"rejected only ({rejected})"
    return f"{drawn} in batch" + (f" + rejected ({rejected})" if rejected else "")


def _above(one: Group, other: Group) -> bool:
    d = difference(one, other, "P@1")
    return d is not None and d.low > 0


def _drawing(
    results: Results,
    groups: Sequence[Group],
    name: str,
    title: str,
    message: Callable[[Sequence[Group]], str],
    caption: str,
    frame: pd.DataFrame,
    draw: Callable[[Figure], None],
    height: float,
) -> Drawing:
    """The figure of an axis, headed by the `message` of its measured groups; a gap where none was run."""
    have_p1 = [group for group in groups if group.metric("P@1") is not None]
    sentence = message(have_p1) if have_p1 else _NOT_RUN
    missing = None if groups else f"The ablations have no point of this axis on {results.dataset} yet."
    size = (7.6, height if groups else 2)
    return Drawing.make(name, title, sentence, caption, frame, size, draw, missing, stage="ablations")


def _marks(axes: Axes, frame: pd.DataFrame, x: str, y: str, colour: str) -> None:
    """Groups as marks with intervals, joined by a line; single seeds as small points."""
    frame = frame[frame[y].notna()]
    if frame.empty:
        axes.text(0.5, 0.5, "not measured", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set_yticks([])
        return
    marks, points = (frame[frame["drawn"] == kind] for kind in ("mark", "point"))
    axes.plot(marks[x], marks[y].astype(float), color=colour, linewidth=1.2, alpha=0.6)
    if f"{y}_low" in frame:
        axes.vlines(marks[x], marks[f"{y}_low"], marks[f"{y}_high"], color=colour, linewidth=2)
    aside = axes.transData + ScaledTranslation(6 / 72, 0, axes.figure.dpi_scale_trans)
    axes.plot(points[x], points[y].astype(float), ".", color=MUTED, markersize=4, transform=aside)
    axes.update_datalim(points[[x, y]].astype(float).to_numpy())  # points that are moved aside do not count
    axes.plot(marks[x], marks[y].astype(float), "o", color=colour, markersize=6.5)
    axes.tick_params(length=0)
    axes.margins(x=0.08, y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    share = f"{y}_low" in frame or y.startswith("pseudo")
    axes.yaxis.set_major_formatter(drawing.PERCENT if share else drawing.AMOUNT)


def _row_mark(axes: Axes, y: float, row: dict, name: str) -> None:
    if row["drawn"] == "point":
        axes.plot(row[name], y - 0.2, ".", color=MUTED, markersize=5)
        return
    axes.hlines(y, row[f"{name}_low"], row[f"{name}_high"], color=BLUE, linewidth=2)
    axes.plot(row[name], y, "o", color=BLUE, markersize=7)
    text = percent(row[name])
    axes.annotate(text, (row[name], y), (0, 6), textcoords="offset points", fontsize=8.5, ha="center")


def _zero_line(axes: Axes, results: Results, name: str, level: bool = False) -> None:
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


def _cell(axes: Axes, x: int, y: int, row: dict, strongest: float) -> None:
    """A cell of the map: stronger colour, larger difference; the text stays readable on the strongest."""
    colour = BLUE if row["gain"] >= 0 else ORANGE
    alpha = 0.06 + 0.5 * abs(row["gain"]) / strongest
    corner = (x - 0.5, y - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=alpha, edgecolor="none"))
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=PAPER, linewidth=2))
    weight = "bold" if row["gain_low"] > 0 or row["gain_high"] < 0 else "normal"
    axes.text(x, y + 0.16, percent(row["gain"], sign=True), ha="center", va="center", fontweight=weight)
    ends = interval(row["gain_low"], row["gain_high"], sign=True)
    axes.text(x, y - 0.2, ends, ha="center", va="center", fontsize=7.5, color=INK)
