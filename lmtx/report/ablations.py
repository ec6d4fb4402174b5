"""The figures of the ablations, from the runs of their points: one for each axis, and the map of teachers."""

from collections.abc import Callable, Sequence
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
from lmtx.report.render import flat, flat_all, frame_of, interval, listed, percent
from lmtx.report.results import Group, Results, difference, measured, on_axis, ran_on
from lmtx.report.schema import Settings

STAGE = "ablations"


class Axis(NamedTuple):
    """How a figure shows an axis: as a curve over numbers, or with a row a text.

    `column` names the value in the CSV, `words` say it in a sentence, `label` stands at a curve's axis, and
    `more` are the columns of `PANELS` that it shows beside P@1 and R@10.
    """

    file: str
    title: str
    column: str
    value: Callable[[Settings], float | str | None]
    words: str = "{}"
    label: str = ""
    more: tuple[str, ...] = ()


def _strategy(s: Settings) -> str:
    """How negatives are drawn; in brackets, how many rejected labels join."""
    if s.negatives == "rejected":
        return f"rejected only ({s.rejected_negatives})"
    return f"{s.negatives} in batch" + (f" + rejected ({s.rejected_negatives})" * bool(s.rejected_negatives))


def _source(s: Settings) -> str | None:
    if s.lexical_weight is None:
        return None
    return f"encoder + {s.lexical_weight:g} × letters" if s.lexical_weight else "encoder alone"


AXES = {
    "sample": Axis(
        "f3_sample_size",
        "F3 Sample size",
        "documents",
        lambda s: s.documents,
        "{} documents",
        "Training documents",
        ("train_seconds", "verdicts"),
    ),
    "negatives": Axis("f4_negatives", "F4 Negatives", "strategy", _strategy),
    "shortlist": Axis(
        "f5_shortlist",
        "F5 Shortlist size",
        "shortlist",
        lambda s: s.shortlist,
        "j = {}",
        "Shortlist size j",
        ("verdicts_per_document", "pseudo_precision"),
    ),
    "source": Axis("f5_source", "F5 Shortlist source", "source", _source, "{}", more=("shortlist_recall",)),
    "acceptance": Axis(
        "acceptance",
        "Accepted share",
        "acceptance_percent",
        lambda s: s.acceptance and 100 * s.acceptance,
        "{} % accepted",
        "Judged pairs that count as a yes (%)",
        ("pseudo_precision", "pseudo_recall"),
    ),
}
"""The axes of F3 to F5; a new one is a line here."""
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
    groups = [g for g in on_axis(results.points, name) if axis.value(g.settings) is not None]
    # A curve runs by its numbers, and rows by P@1, the highest on top.
    by_p1 = {id(g): m.value if (m := g.metric("P@1")) else 0.0 for g in groups}
    groups.sort(key=lambda g: axis.value(g.settings) if axis.label else by_p1[id(g)])
    frame = _frame(groups, lambda g: {axis.column: axis.value(g.settings)})
    panels = {column: PANELS[column] for column in (*COMPARED, *axis.more)}
    rows = [] if axis.label else [axis.value(g.settings) for g in groups]

    def draw(figure: Figure) -> None:
        shape = (
            {"nrows": 2, "ncols": 2, "sharex": True} if axis.label else {"ncols": len(panels), "sharey": True}
        )
        grid = figure.subplots(squeeze=False, **shape)
        for axes, (column, (title, label, colour)) in zip(grid.flat, panels.items(), strict=True):
            axes.set_title(title)
            _zero_line(axes, results, column, level=bool(axis.label))
            if axis.label:
                _curve(axes, frame, axis.column, column, colour)
                axes.set_ylabel(label)
            else:
                _rows(axes, frame, [g.name for g in groups], column, colour)
                axes.set_yticks(range(len(rows)), [row.replace(" + ", "\n+ ") for row in rows])
                drawing.row_axes(axes, label)
        for axes in grid[-1] if axis.label else ():
            axes.set_xlabel(axis.label)

    caption = f"{ran_on(results.dataset, groups)}."
    if groups:
        caption += " Dashed: zero-shot." + " Small points: single seeds." * any(
            len(g.points) > 1 for g in groups
        )
    height = 5.6 if axis.label else 1.9 + 0.5 * len(groups)
    return _drawing(results, groups, axis.file, axis.title, _best(groups, axis), caption, frame, draw, height)


def teacher_map(results: Results) -> Drawing:
    """How good a teacher must be: the student's gain in P@1 for simulated teachers, by their error rates."""

    def facts(group: Group) -> dict:
        s, gain = group.settings, group.metric("P@1", "against_zero_shot")
        return {"true_yes": s.true_yes, "false_yes": s.false_yes} | flat("gain", gain)

    groups = [g for g in on_axis(results.points, "map") if g.settings.true_yes is not None]
    frame = _frame(groups, facts)
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

    caption = f"{ran_on(results.dataset, groups)}."
    if groups:
        caption += " P@1 minus zero-shot, in points; bold: the interval leaves 0 out. Simulated: these "
        caption += "teachers read the annotations and err at the rates given; no real one does."
    gains = [gain for g in groups if (gain := g.metric("P@1", "against_zero_shot"))]
    message = (
        f"{sum(gain.low > 0 for gain in gains)} of {len(gains)} simulated teachers lift the student clearly"
    )
    message += " above zero-shot"
    height, title = 2.9 + 0.6 * len({g.settings.true_yes for g in groups}), "How good a teacher must be"
    return _drawing(results, groups, "teacher_map", title, message, caption, frame, draw, height)


def _best(groups: Sequence[Group], axis: Axis) -> str:
    """The value with the highest P@1, and those that are not clearly below it."""
    groups = [group for group in groups if group.metric("P@1") is not None]
    if not groups:
        return "P@1 was not measured"

    def say(values: Sequence[Group]) -> str:
        texts = [v if isinstance(v := axis.value(g.settings), str) else f"{v:,.10g}" for g in values]
        return axis.words.format(listed(texts))

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
        several = len(group.points) > 1
        shared = {"point": group.name} | facts(group)
        mark = {
            "drawn": "mark",
            "seed": None if several else group.points[0].seed,
            "seeds": len(group.points),
        }
        mark |= {"n": group.points[0].n} | flat_all({m: group.metric(m) for m in COMPARED}, COMPARED)
        rows.append(shared | mark | {name: group.mean(name) for name in numbers})
        for run in group.points if several else ():
            point = {"drawn": "point", "seed": run.seed, "seeds": 1, "n": run.n}
            point |= flat_all(run.metrics, COMPARED)
            rows.append(shared | point | {name: getattr(run, name) for name in numbers})
    return frame_of(rows)


def _drawing(
    results: Results,
    groups: Sequence[Group],
    name: str,
    title: str,
    message: str,
    caption: str,
    frame: pd.DataFrame,
    draw: Callable[[Figure], None],
    height: float,
) -> Drawing:
    """A figure of the ablations; a gap where none of its points was run."""
    if groups:
        return Drawing.make(name, title, message, caption, frame, (7.6, height), draw, stage=STAGE)
    missing = f"The ablations have no point of this axis on {results.dataset} yet."
    return Drawing.make(name, title, "Not run yet", caption, frame, (7.6, 2), draw, missing, stage=STAGE)


def _curve(axes: Axes, frame: pd.DataFrame, x: str, y: str, colour: str) -> None:
    """Groups as marks with intervals, joined by a line; single seeds as small points."""
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
    if "%" in PANELS[y][1]:
        drawing.percent_axis(axes.yaxis, 5)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(drawing.AMOUNT)


def _rows(axes: Axes, frame: pd.DataFrame, names: Sequence[str], column: str, colour: str) -> None:
    """A row a group: its mark with its interval, and single seeds as small points below."""
    for row in frame[frame[column].notna()].to_dict("records"):
        y = names.index(row["point"])
        if row["drawn"] == "point":
            axes.plot(row[column], y - 0.2, ".", color=MUTED, markersize=5)
            continue
        if column in COMPARED:
            axes.hlines(y, row[f"{column}_low"], row[f"{column}_high"], color=colour, linewidth=2)
        axes.plot(row[column], y, "o", color=colour, markersize=7)
        text = percent(row[column])
        axes.annotate(text, (row[column], y), (0, 6), textcoords="offset points", fontsize=8.5, ha="center")
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.margins(x=0.15)


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
