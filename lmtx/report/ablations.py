"""The figures of the ablations, from the groups of their runs: F3, F4, F5 and the map of teachers."""

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from lmtx.report import drawing, words
from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.figures import COMPARED
from lmtx.report.groups import SAMPLE, Group, frame_of_groups, intervals_of, on_axis, sample_of
from lmtx.report.render import flat, interval, percent
from lmtx.report.results import Results, measured

_DRAWN = ["random", "hardest", "rejected"]
_AMOUNT = FuncFormatter(lambda value, _: f"{value:,.10g}")


def f3_sample_size(results: Results) -> Drawing:
    """F3: P@1 and the seconds to train against the number of training documents."""
    groups = sorted(on_axis(results.groups, SAMPLE), key=lambda g: g.settings.documents)
    facts, numbers = {"documents": lambda g: g.settings.documents}, ["train_seconds", "trained_on"]
    frame = frame_of_groups(groups, facts, ["P@1"], numbers)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _zero_line(left, results, "P@1", level=True)
        _marks(left, frame, "documents", "P@1", BLUE)
        left.set_title("Quality of the student")
        left.set_ylabel("P@1 (%)")
        _marks(right, frame, "documents", "train_seconds", ORANGE)
        right.set_title("Time to train it")
        right.set_ylabel("Seconds")
        right.set_yscale("log")
        _log_ticks(right.yaxis)
        for axes in (left, right):
            axes.set_xscale("log")
            _log_ticks(axes.xaxis)
            axes.set_xlabel("Training documents")
            axes.grid(axis="both")

    caption = _caption(results.dataset, groups, vary=SAMPLE)
    message = words.sample_size(groups)
    return _drawing(results, "f3_sample_size", "F3 Sample size", message, caption, frame, (7.6, 4.0), draw)


def f4_negatives(results: Results) -> Drawing:
    """F4: P@1 and R@10 of each way to draw negatives, one row a strategy."""

    def order(group: Group) -> tuple[int, int]:
        drawn = group.settings.negatives
        return _DRAWN.index(drawn) if drawn in _DRAWN else len(_DRAWN), group.settings.rejected_negatives

    groups = sorted(on_axis(results.groups, "negatives"), key=order, reverse=True)
    facts = {"strategy": words.strategy, "rejected_negatives": lambda g: g.settings.rejected_negatives}
    frame = frame_of_groups(groups, facts, [*COMPARED], [])

    def draw(figure: Figure) -> None:
        height = {group.name: y for y, group in enumerate(groups)}
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, title) in zip(panels, COMPARED.items(), strict=True):
            _zero_line(axes, results, name)
            for row in frame[frame[name].notna()].to_dict("records"):
                _row_mark(axes, height[row["point"]], row, name)
            axes.set_yticks(range(len(groups)), [words.strategy(g).replace(" + ", "\n+ ") for g in groups])
            axes.set_ylim(-0.6, len(groups) - 0.4)
            axes.set_title(title)
            drawing.row_axes(axes, f"{name} (%)")

    message, caption = words.negatives(groups), _caption(results.dataset, groups)
    size = (7.6, 1.9 + 0.5 * len(groups))
    return _drawing(results, "f4_negatives", "F4 Negatives", message, caption, frame, size, draw)


def f5_shortlist(results: Results) -> Drawing:
    """F5: P@1 and R@10 against the shortlist's size j; below, the number of verdicts and their precision."""
    groups = sorted(on_axis(results.groups, "shortlist"), key=lambda g: g.settings.shortlist)
    numbers = [
        "verdicts_per_document",
        "yes_rate",
        "pseudo_precision",
        "pseudo_recall",
        "prompt_tokens",
        "usd",
    ]
    frame = frame_of_groups(groups, {"shortlist": lambda g: g.settings.shortlist}, [*COMPARED], numbers)
    panels = [(name, title, f"{name} (%)", BLUE) for name, title in COMPARED.items()]
    panels += [
        ("verdicts_per_document", "What the teacher is asked", "Verdicts a document", ORANGE),
        ("pseudo_precision", "How much of its yes is annotated", "Share (%)", GREEN),
    ]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex=True)
        sizes = sorted(frame["shortlist"].unique())
        for axes, (column, title, label, colour) in zip(grid.flat, panels, strict=True):
            axes.set_title(title)
            axes.set_ylabel(label)
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

    message, caption = words.shortlist(groups), _caption(results.dataset, groups)
    return _drawing(results, "f5_shortlist", "F5 Shortlist size", message, caption, frame, (7.6, 5.6), draw)


def teacher_map(results: Results) -> Drawing:
    """How good a teacher must be: the student's gain in P@1 for simulated teachers, by their error rates."""
    groups = [
        group
        for group in on_axis(results.groups, "map")
        if group.settings.true_yes is not None and group.settings.false_yes is not None
    ]
    facts = {"true_yes": lambda g: g.settings.true_yes, "false_yes": lambda g: g.settings.false_yes}
    for column in flat("gain", None):
        facts[column] = lambda g, column=column: flat("gain", g.gain("P@1"))[column]
    frame = frame_of_groups(groups, facts, ["P@1"], ["pseudo_precision"])
    frame = frame[frame["drawn"] == "mark"] if len(frame) else frame

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        columns, lines = (sorted(frame[key].unique()) for key in ("false_yes", "true_yes"))
        strongest = frame["gain"].abs().max() or 1
        for row in frame[frame["gain"].notna()].to_dict("records"):
            _cell(axes, columns.index(row["false_yes"]), lines.index(row["true_yes"]), row, strongest)
        axes.set_xticks(range(len(columns)), [f"{100 * rate:.3g}" for rate in columns])
        axes.set_yticks(range(len(lines)), [f"{100 * rate:.3g}" for rate in lines])
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(-0.5, len(lines) - 0.5)
        axes.set_xlabel("Other labels that the teacher accepts (%)")
        axes.set_ylabel("True labels that it accepts (%)")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    caption = f"{results.dataset}."
    if groups:
        caption = f"{sample_of(results.dataset, groups)}; {intervals_of(groups)}. P@1 minus zero-shot, in "
        caption += "points; bold: the interval leaves 0 out. Simulated: these teachers read the annotations "
        caption += "and err at the rates given; no real one does."
    title, message = "How good a teacher must be", words.teacher_map(groups)
    size = (7.6, 2.9 + 0.6 * frame["true_yes"].nunique())
    return _drawing(results, "teacher_map", title, message, caption, frame, size, draw)


def _drawing(
    results: Results,
    name: str,
    title: str,
    message: str,
    caption: str,
    frame: pd.DataFrame,
    size: tuple[float, float],
    draw: Callable[[Figure], None],
) -> Drawing:
    """The figure of an axis, or a low one with a gap where the axis was not run."""
    missing = None
    if frame.empty:
        size, missing = (7.6, 2), f"The ablations have no point of this axis on {results.dataset} yet."
    return Drawing.make(name, title, message, caption, frame, size, draw, missing, stage="ablations")


def _caption(dataset: str, groups: Sequence[Group], vary: str = "") -> str:
    """The sample, and the meaning of the marks; the data set alone where nothing was run."""
    if not groups:
        return f"{dataset}."
    several = any(len(group.points) > 1 for group in groups)
    seeds = ", small points: single seeds" if several else ""
    return f"{sample_of(dataset, groups, vary)}; {intervals_of(groups)}{seeds}. Dashed: zero-shot."


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
    axes.yaxis.set_major_formatter(drawing.PERCENT if share else _AMOUNT)


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


def _log_ticks(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    axis.set_major_formatter(_AMOUNT)
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


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
