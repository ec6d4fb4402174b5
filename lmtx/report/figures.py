"""The figures of the study, from result files alone."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lmtx.report import drawing
from lmtx.report.drawing import BLUE, GREEN, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.render import interval, percent
from lmtx.report.results import Result, cycles, each_once, flat, load_results, measured, sample, table_of

FAMILY_COLOURS = {"lmtx": BLUE, "baseline": ORANGE, "hybrid": PURPLE}
COMPARED = {"P@1": "Top label is right", "R@10": "True labels in the top ten"}
VERDICTS = {
    # column: (legend, colour, marker)
    "check": ("held-out documents: top label accepted", PURPLE, "^"),
    "yes_rate": ("shortlisted labels: accepted", ORANGE, "s"),
    "pseudo_precision": ("accepted labels: annotated", GREEN, "o"),
}
_INTERVALS = "; 95 % bootstrap intervals over them"
_SYSTEM_FIELDS = ("system", "label", "family", "zero_shot", "n")
_CYCLE_FIELDS = (
    *("best", "yes_rate", "pseudo_precision", "pseudo_recall"),
    *("pseudo_positives", "check", "documents_used"),
)


def main_comparison(reports: str | Path, dataset: str) -> Drawing:
    """Every system's P@1 and R@10 with intervals, as dots in the order of P@1.

    The best cycle of LMTX is drawn once, as `lmtx`; the other cycles are hollow.
    """
    results = load_results(reports, dataset)
    rows = []
    for r in each_once(results):
        if r.metrics:
            row = {
                "system": r.system,
                "label": r.label,
                "family": r.family,
                "zero_shot": r.zero_shot,
                "n": r.n,
            }
            for name in COMPARED:
                row |= flat(name, r.metrics.get(name))
            rows.append(row)
    columns = [
        "system",
        "label",
        "family",
        "zero_shot",
        "n",
        *(c for name in COMPARED for c in flat(name, None)),
    ]
    frame = table_of(rows, ("n",), columns).sort_values("P@1", kind="stable", na_position="first")

    caption = f"{sample(dataset, results)}{_INTERVALS}." if rows else f"{dataset}."
    if not frame["zero_shot"].all():
        caption += " † reads annotations."
    missing = [r.label for r in results if r.stopped is not None]
    if missing:
        caption += f" Without a result: {', '.join(missing)}; T2 says why."
    message = _gain_message(results)
    with drawing.style():
        figure = drawing.blank(7.6, 1.75 + 0.38 * max(3, len(frame)))
        if frame.empty:
            drawing.gap(figure.subplots(), f"No system has a result on {dataset} yet.")
        else:
            panels = figure.subplots(1, len(COMPARED), sharey=True)
            for axes, (name, title) in zip(panels, COMPARED.items(), strict=True):
                _dots(axes, frame, name)
                axes.set_title(title)
        drawing.headline(figure, message, caption)
    return Drawing("main_comparison", "Every system at a glance", message, caption, figure, frame)


def f6_curriculum(reports: str | Path, dataset: str) -> Drawing:
    """F6: the student's P@1 and the quality of the teacher's verdicts, cycle by cycle.

    Cycle 0 is the encoder before training (`zero-shot`). Cycle c's verdicts are on shortlists
    made by cycle c - 1; its check is on the top labels of its own student.
    """
    results = load_results(reports, dataset)
    zero = measured(results, "zero-shot")
    found = cycles(results)
    rows = []
    for number, r in (({0: zero} if zero else {}) | found).items():
        row = {"cycle": number, "system": r.system, "n": r.n, **flat("P@1", r.metrics.get("P@1"))}
        rows.append(row | {key: getattr(r.cycle, key, None) for key in _CYCLE_FIELDS} | {"gap": r.stopped})
    columns = ["cycle", "system", "n", *flat("P@1", None), *_CYCLE_FIELDS, "gap"]
    frame = table_of(rows, ("n", "documents_used"), columns)

    caption = f"{dataset}."
    if frame["P@1"].notna().any():
        caption = (
            f"{sample(dataset, results)}{_INTERVALS}; filled: the cycle kept. A cycle's verdicts are on "
            "shortlists made by the cycle before; annotations serve this figure, not the training."
        )
    if zero is None:
        caption += " Cycle 0 is missing: zero-shot has no result."
    stopped = [f"{r.label} ({r.stopped})" for r in found.values() if r.stopped is not None]
    if stopped:
        caption += f" Without a result: {'; '.join(stopped)}."
    message = _curriculum_message(found, zero)
    with drawing.style():
        figure = drawing.blank(7.6, 4.5)
        if not any("P@1" in r.metrics for r in found.values()):
            drawing.gap(figure.subplots(), f"No cycle of LMTX has a result on {dataset} yet.")
        else:
            # The legend has a place of its own, right below the axes that it is for.
            panels = figure.subplot_mosaic(
                [["student", "verdicts"], ["student", "legend"]], height_ratios=(5, 1)
            )
            _student(panels["student"], frame)
            _verdicts(panels["verdicts"], panels["legend"], frame[frame["cycle"] > 0])
        drawing.headline(figure, message, caption)
    return Drawing("f6_curriculum", "F6 The curriculum", message, caption, figure, frame)


def _dots(axes: Axes, frame: pd.DataFrame, name: str) -> None:
    for y, row in enumerate(frame.to_dict("records")):
        if pd.isna(row[name]):
            axes.text(0.02, y, "not measured", va="center", color=MUTED, transform=axes.get_yaxis_transform())
            continue
        colour = FAMILY_COLOURS.get(row["family"], GREEN)
        filled = row["family"] != "lmtx" or row["system"] == "lmtx"
        axes.hlines(y, row[f"{name}_low"], row[f"{name}_high"], color=colour, linewidth=2)
        _dot(axes, row[name], y, colour, filled)
        _annotate(axes, percent(row[name]), row[name], y, (0, 6), ha="center", va="bottom")
    drawing.name_systems(axes, frame)
    axes.set_ylim(-0.6, len(frame) - 0.3)
    axes.margins(x=0.08)
    axes.set_xlabel(f"{name} (%)")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(drawing.PERCENT)
    if frame[name].isna().all():
        axes.set_xticks([])
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def _student(axes: Axes, frame: pd.DataFrame) -> None:
    done = frame[frame["P@1"].notna()]
    axes.plot(done["cycle"], done["P@1"], color=BLUE, linewidth=1.5)
    falls = done["P@1"].diff().shift(-1) < 0  # the text keeps out of the line's way
    for row, beside in zip(done.to_dict("records"), falls, strict=True):
        kept = row["best"] is True
        axes.vlines(row["cycle"], row["P@1_low"], row["P@1_high"], color=BLUE, linewidth=2)
        _dot(axes, row["cycle"], row["P@1"], BLUE, kept)
        offset, va = ((5, 5), "bottom") if beside else ((5, -6), "top")
        _annotate(axes, percent(row["P@1"]), row["cycle"], row["P@1"], offset, va=va)
    axes.set_title("The student on test documents")
    axes.set_ylabel("P@1 (%)")
    _cycle_axis(axes, frame)


def _verdicts(axes: Axes, below: Axes, frame: pd.DataFrame) -> None:
    below.set_axis_off()
    if frame[[*VERDICTS]].isna().all(axis=None):
        drawing.gap(axes, "The teacher's verdicts were not measured.")
        return
    for column, (legend, colour, marker) in VERDICTS.items():
        values = frame[["cycle", column]].dropna().astype(float)
        if values.empty:
            legend += " (not measured)"
        axes.plot(
            *values.T.to_numpy(), marker=marker, color=colour, label=legend, linewidth=1.5, markersize=7
        )
    axes.set_title("The teacher's verdicts")
    axes.set_ylabel("Share (%)")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    _cycle_axis(axes, frame)
    below.legend(*axes.get_legend_handles_labels(), loc="upper left", borderaxespad=0)


def _cycle_axis(axes: Axes, frame: pd.DataFrame) -> None:
    labels = [
        f"{cycle}\nnot run"
        if isinstance(reason, str)
        else f"{cycle}\nzero-shot"
        if cycle == 0
        else str(cycle)
        for cycle, reason in zip(frame["cycle"], frame["gap"], strict=True)
    ]
    axes.set_xticks(frame["cycle"], labels)
    axes.set_xlim(frame["cycle"].min() - 0.3, frame["cycle"].max() + 0.55)
    axes.set_xlabel("Cycle")
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(drawing.PERCENT)
    axes.grid(axis="y")
    axes.tick_params(length=0)


def _dot(axes: Axes, x: float, y: float, colour: str, filled: bool) -> None:
    face = colour if filled else PAPER
    axes.plot(x, y, "o", color=colour, markersize=7, markeredgewidth=1.6, markerfacecolor=face)


def _annotate(axes: Axes, text: str, x: float, y: float, offset: tuple[int, int], **alignment: str) -> None:
    axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", fontsize=8.5, **alignment)


def _gain_message(results: list[Result]) -> str:
    """LMTX's P@1 and its paired gain over zero-shot, or what is missing to say it."""
    lmtx, zero = measured(results, "lmtx"), measured(results, "zero-shot")
    if lmtx is None:
        return "LMTX has no result yet"
    first = f"LMTX's first label is right for {percent(lmtx.metrics['P@1'].value)} % of the documents"
    d = (zero.against_lmtx or {}).get("P@1") if zero else None
    if d is None:
        return first
    span = interval(-d.high, -d.low, sign=True)
    if d.low <= 0 <= d.high:
        return f"{first}: no clear difference to its encoder before training, {span} points"
    place = "above" if d.value < 0 else "below"
    return f"{first}, {percent(abs(d.value))} points {place} its encoder before training {span}"


def _curriculum_message(found: dict[int, Result], zero: Result | None) -> str:
    """Which cycle is kept, and what it added."""
    done = {number: r for number, r in found.items() if "P@1" in r.metrics}
    if not done:
        return "No cycle of LMTX has a result yet"
    count = f"{len(done)} cycle{'s' if len(done) > 1 else ''}"
    kept = next((number for number, r in done.items() if r.cycle and r.cycle.best), None)
    if kept is None:
        return f"{count} ran, and none was kept"
    message = f"Of {count}, the teacher's check keeps cycle {kept}"
    if zero is not None:
        before, after = zero.metrics["P@1"].value, done[kept].metrics["P@1"].value
        verb = "rises" if after > before else "falls" if after < before else "stays"
        message += f": P@1 {verb} from {percent(before)} % to {percent(after)} %"
    return message
