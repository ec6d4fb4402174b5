"""The figures of the ablations, from the result files of their points: F3, F4, F5 and the map of teachers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from lmtx.report import drawing, words
from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.points import SAMPLE, Group, intervals, load_groups, on_axis, rows, subset
from lmtx.report.render import interval, percent
from lmtx.report.results import Result, flat, load_results, measured, table_of

STAGE = "ablations"
_COUNTS = ("seed", "seeds", "n")
_DRAWN = ("random", "hardest", "rejected")
_COMPARED = {"P@1": "Top label is right", "R@10": "True labels in the top ten"}
_AMOUNT = FuncFormatter(lambda value, _: f"{value:,.10g}")


def f3_sample_size(reports: str | Path, dataset: str) -> Drawing:
    """F3: P@1 and the seconds to train against the number of training documents."""
    groups = on_axis(load_groups(reports, dataset), SAMPLE)
    groups = sorted(groups, key=lambda g: g.settings.documents)
    zero = measured(load_results(reports, dataset), "zero-shot")
    frame = _frame(
        groups,
        ("P@1",),
        {"documents": lambda g: g.settings.documents},
        {"train_seconds": lambda p: p.seconds.get("train"), "trained_on": lambda p: p.trained_on},
    )

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _zero_line(left, zero, "P@1", level=True)
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

    return _drawing(
        ("f3_sample_size", "F3 Sample size"),
        (dataset, groups, SAMPLE),
        words.sample_size(groups, zero),
        frame,
        (7.6, 4.0),
        draw,
    )


def f4_negatives(reports: str | Path, dataset: str) -> Drawing:
    """F4: P@1 and R@10 of each way to draw negatives, one row a strategy."""
    groups = on_axis(load_groups(reports, dataset), "negatives")
    order = {drawn: place for place, drawn in enumerate(_DRAWN)}
    groups = sorted(
        groups,
        key=lambda g: (order.get(g.settings.negatives, len(order)), g.settings.rejected_negatives),
        reverse=True,
    )
    zero = measured(load_results(reports, dataset), "zero-shot")
    facts = {"strategy": words.strategy, "rejected_negatives": lambda g: g.settings.rejected_negatives}
    frame = _frame(groups, ("P@1", "R@10"), facts, {})

    def draw(figure: Figure) -> None:
        places = {group.name: place for place, group in enumerate(groups)}
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, title) in zip(panels, _COMPARED.items(), strict=True):
            _zero_line(axes, zero, name)
            for y, row in ((places[row["point"]], row) for row in frame.to_dict("records")):
                if pd.notna(row[name]):
                    _row_mark(axes, y, row, name)
            axes.set_yticks(range(len(groups)), [words.strategy(g).replace(" + ", "\n+ ") for g in groups])
            axes.set_ylim(-0.6, len(groups) - 0.4)
            axes.set_title(title)
            axes.set_xlabel(f"{name} (%)")
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            axes.xaxis.set_major_formatter(drawing.PERCENT)
            axes.grid(axis="x")
            axes.spines["left"].set_visible(False)
            axes.tick_params(length=0)

    return _drawing(
        ("f4_negatives", "F4 Negatives"),
        (dataset, groups, ""),
        words.negatives(groups),
        frame,
        (7.6, 1.9 + 0.5 * len(groups)),
        draw,
    )


def f5_shortlist(reports: str | Path, dataset: str) -> Drawing:
    """F5: P@1 and R@10 against the shortlist's size j; below, what it asks of the teacher and what for."""
    groups = on_axis(load_groups(reports, dataset), "shortlist")
    groups = sorted(groups, key=lambda g: g.settings.shortlist)
    zero = measured(load_results(reports, dataset), "zero-shot")
    numbers = {
        "verdicts_per_document": lambda p: p.verdicts_per_document,
        "yes_rate": lambda p: p.yes_rate,
        "pseudo_precision": lambda p: p.pseudo_precision,
        "pseudo_recall": lambda p: p.pseudo_recall,
        "prompt_tokens": lambda p: p.cost.prompt_tokens,
        "usd": lambda p: p.cost.usd,
    }
    frame = _frame(groups, ("P@1", "R@10"), {"shortlist": lambda g: g.settings.shortlist}, numbers)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 2, sharex=True)
        sizes = sorted(frame["shortlist"].unique())
        for axes, (column, title, label, colour) in zip(
            panels.flat,
            (
                *((name, title, f"{name} (%)", BLUE) for name, title in _COMPARED.items()),
                ("verdicts_per_document", "What the teacher is asked", "Verdicts a document", ORANGE),
                ("pseudo_precision", "How much of its yes is annotated", "Share (%)", GREEN),
            ),
            strict=True,
        ):
            axes.set_title(title)
            axes.set_ylabel(label)
            if column in _COMPARED:
                _zero_line(axes, zero, column, level=True)
            _marks(axes, frame, "shortlist", column, colour)
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.grid(axis="both")
            axes.tick_params(length=0)
            if column == "verdicts_per_document":
                axes.set_ylim(bottom=0)
        for axes in panels[1]:
            axes.set_xlabel("Shortlist size j")

    return _drawing(
        ("f5_shortlist", "F5 Shortlist size"),
        (dataset, groups, ""),
        words.shortlist(groups),
        frame,
        (7.6, 5.6),
        draw,
    )


def teacher_map(reports: str | Path, dataset: str) -> Drawing:
    """How good a teacher must be: the student's gain in P@1 for simulated teachers of known error rates."""
    groups = [
        g
        for g in on_axis(load_groups(reports, dataset), "map")
        if g.settings.true_yes is not None and g.settings.false_yes is not None
    ]
    frame = _frame(
        groups,
        ("P@1",),
        {
            "true_yes": lambda g: g.settings.true_yes,
            "false_yes": lambda g: g.settings.false_yes,
            **{key: lambda g, key=key: flat("gain", g.gain("P@1"))[key] for key in flat("gain", None)},
        },
        {"pseudo_precision": lambda p: p.pseudo_precision},
    )
    frame = frame[frame["drawn"] == "mark"] if len(frame) else frame

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        columns, lines = (sorted(frame[key].unique()) for key in ("false_yes", "true_yes"))
        strongest = frame["gain"].abs().max() or 1
        for row in frame.to_dict("records"):
            if pd.notna(row["gain"]):
                _cell(axes, columns.index(row["false_yes"]), lines.index(row["true_yes"]), row, strongest)
        axes.set_xticks(range(len(columns)), [f"{100 * rate:.3g}" for rate in columns])
        axes.set_yticks(range(len(lines)), [f"{100 * rate:.3g}" for rate in lines])
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(-0.5, len(lines) - 0.5)
        axes.set_xlabel("Other labels that the teacher accepts (%)")
        axes.set_ylabel("True labels that it accepts (%)")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return _drawing(
        ("teacher_map", "How good a teacher must be"),
        (dataset, groups, ""),
        words.teacher_map(groups),
        frame,
        (7.6, 2.9 + 0.6 * frame["true_yes"].nunique() if len(frame) else 2),
        draw,
        "P@1 minus zero-shot, in points; bold: the interval leaves 0 out. Simulated: these teachers read the "
        "annotations and err at the rates given; no real one does.",
    )


def _drawing(
    names: tuple[str, str],
    ran_on: tuple[str, list[Group], str],
    sentences: list[str],
    frame: pd.DataFrame,
    size: tuple[float, float],
    draw: Callable[[Figure], None],
    marks: str = "Dashed: zero-shot.",
) -> Drawing:
    """The figure with its headline and caption, or the gap where its axis was not run."""
    dataset, groups, vary = ran_on
    message = sentences[0] if sentences else "Not run yet"
    caption = f"{dataset}."
    if groups:
        several = any(len(group.points) > 1 for group in groups)
        caption = f"{subset(dataset, groups, vary)}; {intervals(groups)}"
        caption += ", small points: single seeds. " if several and "Dashed" in marks else ". "
        caption += marks
    with drawing.style():
        figure = drawing.blank(*(size if groups else (7.6, 2)))
        if groups:
            draw(figure)
        else:
            drawing.gap(figure.subplots(), f"The ablations have no point of this axis on {dataset} yet.")
        drawing.headline(figure, message, caption)
    return Drawing(*names, message, caption, figure, frame, sentences[1:], STAGE)


def _frame(
    groups: Sequence[Group],
    metrics: tuple[str, ...],
    facts: dict[str, Callable],
    numbers: dict[str, Callable],
) -> pd.DataFrame:
    """What a figure draws as the columns of its CSV, also where there is nothing to draw."""
    found = rows(
        groups,
        metrics,
        lambda group: {key: fact(group) for key, fact in facts.items()},
        lambda point: {key: number(point) for key, number in numbers.items()},
    )
    columns = ["point", *facts, "drawn", *_COUNTS, *(c for m in metrics for c in flat(m, None)), *numbers]
    return table_of(found, _COUNTS, columns)


def _marks(axes: Axes, frame: pd.DataFrame, x: str, y: str, colour: str) -> None:
    """Groups as marks with intervals, joined by a line; single seeds as small points."""
    found = frame[frame[y].notna()]
    if found.empty:
        axes.text(0.5, 0.5, "not measured", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set_yticks([])
        return
    marks, points = (found[found["drawn"] == kind] for kind in ("mark", "point"))
    axes.plot(marks[x], marks[y].astype(float), color=colour, linewidth=1.2, alpha=0.6)
    if f"{y}_low" in found:
        axes.vlines(marks[x], marks[f"{y}_low"], marks[f"{y}_high"], color=colour, linewidth=2)
    aside = axes.transData + ScaledTranslation(6 / 72, 0, axes.figure.dpi_scale_trans)
    axes.plot(points[x], points[y].astype(float), ".", color=MUTED, markersize=4, transform=aside)
    axes.update_datalim(points[[x, y]].astype(float).to_numpy())  # points that are moved aside do not count
    axes.plot(marks[x], marks[y].astype(float), "o", color=colour, markersize=6.5)
    axes.tick_params(length=0)
    axes.margins(x=0.08, y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    share = f"{y}_low" in found or y.startswith("pseudo")
    axes.yaxis.set_major_formatter(drawing.PERCENT if share else _AMOUNT)


def _row_mark(axes: Axes, y: float, row: dict, name: str) -> None:
    if row["drawn"] == "point":
        axes.plot(row[name], y - 0.2, ".", color=MUTED, markersize=5)
        return
    axes.hlines(y, row[f"{name}_low"], row[f"{name}_high"], color=BLUE, linewidth=2)
    axes.plot(row[name], y, "o", color=BLUE, markersize=7)
    text = percent(row[name])
    axes.annotate(text, (row[name], y), (0, 6), textcoords="offset points", fontsize=8.5, ha="center")


def _zero_line(axes: Axes, zero: Result | None, name: str, level: bool = False) -> None:
    """Zero-shot as a dashed line: level, its name beside the panel where no interval can lie; or upright."""
    if zero is None or name not in zero.metrics:
        return
    value = zero.metrics[name].value
    look = {"color": PURPLE, "linestyle": (0, (4, 3)), "linewidth": 1.4}
    note = {"textcoords": "offset points", "fontsize": 8, "color": MUTED}
    if not level:
        axes.axvline(value, **look)
        axes.annotate("zero-shot", (value, 0), (3, 3), xycoords=axes.get_xaxis_transform(), **note)
        return
    axes.axhline(value, **look)
    axes.annotate("zero-shot", (1, value), (3, 0), xycoords=axes.get_yaxis_transform(), va="center", **note)


def _log_ticks(axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    axis.set_major_formatter(_AMOUNT)
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _cell(axes: Axes, x: int, y: int, row: dict, strongest: float) -> None:
    """A cell of the map: stronger colour, larger difference; the text stays readable on the strongest."""
    colour = BLUE if row["gain"] >= 0 else ORANGE
    alpha = 0.06 + 0.5 * abs(row["gain"]) / strongest
    place = (x - 0.5, y - 0.5)
    axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, alpha=alpha, edgecolor="none"))
    axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=PAPER, linewidth=2))
    weight = "bold" if row["gain_low"] > 0 or row["gain_high"] < 0 else "normal"
    axes.text(x, y + 0.16, percent(row["gain"], sign=True), ha="center", va="center", fontweight=weight)
    ends = interval(row["gain_low"], row["gain_high"], sign=True)
    axes.text(x, y - 0.2, ends, ha="center", va="center", fontsize=7.5, color=INK)
