"""The figures that compare the systems and the cycles of LMTX, from their results."""

from collections.abc import Sequence
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmtx.report import drawing
from lmtx.report.drawing import BLUE, GREEN, MUTED, ORANGE, PURPLE, Drawing
from lmtx.report.render import frame_of, percent, points
from lmtx.report.results import Results, cycles, each_once, from_zero, gain_of_lmtx, measured, on_documents
from lmtx.report.schema import Result

COMPARED = {"P@1": "Top label is right", "R@10": "True labels in the top ten"}
_FAMILY_COLOURS = {"lmtx": BLUE, "baseline": ORANGE, "hybrid": PURPLE}
_VERDICTS = {
    # column: (legend, colour, marker)
    "check": ("held-out documents: top label accepted", PURPLE, "^"),
    "yes_rate": ("shortlisted labels: accepted", ORANGE, "s"),
    "pseudo_precision": ("accepted labels: annotated", GREEN, "o"),
}
_BUCKETS = {
    # column: (legend, colour, marker)
    "never": ("never", ORANGE, "o"),
    "rare": ("1 to 3 times", PURPLE, "s"),
    "common": ("4 times or more", BLUE, "^"),
}
_INTERVALS = "; 95 % bootstrap intervals over them"


def main_comparison(results: Results) -> Drawing:
    """Every system's P@1 and R@10 with intervals, as dots in the order of P@1.

    The best cycle of LMTX is drawn once, as `lmtx`; the other cycles are hollow.
    """
    dataset, systems = results.dataset, results.systems
    shown = [r for r in each_once(systems) if r.metrics]
    frame = _frame(shown, ("system", "label", "family", "zero_shot", "n"), [*COMPARED])
    caption = f"{on_documents(dataset, systems)}{_INTERVALS}." if shown else f"{dataset}."
    if not frame["zero_shot"].all():
        caption += " † reads annotations."
    if missing := [r.label for r in systems if r.stopped is not None]:
        caption += f" Without a result: {', '.join(missing)}; T2 says why."

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(COMPARED), sharey=True)
        for axes, (name, title) in zip(panels, COMPARED.items(), strict=True):
            _systems(axes, frame, name)
            axes.set_title(title)

    size = (7.6, 1.75 + 0.38 * max(3, len(frame)))
    nothing = None if shown else f"No system has a result on {dataset} yet."
    title, message = "Every system at a glance", _gain_sentence(systems)
    return Drawing("main_comparison", title, message, caption, frame, size, draw, nothing)


def by_frequency(results: Results) -> Drawing:
    """The contribution of labels of each frequency to every system's P@5; the three add up to it."""
    shown = [r for r in each_once(results.systems) if r.by_frequency]
    frame = _frame(shown, ("system", "label", "zero_shot", "n"), ["P@5", *_BUCKETS])
    caption = f"{results.dataset}."
    if shown:
        caption = (
            f"{on_documents(results.dataset, results.systems)}{_INTERVALS}. The three marks of a system "
            "add up to its P@5. Annotations serve this figure, not the systems."
        )
        if not frame["zero_shot"].all():
            caption += " † reads them in training."

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (bucket, (legend, colour, marker)) in enumerate(_BUCKETS.items()):
            y = [row + 0.22 * (1 - i) for row in range(len(frame))]
            axes.hlines(y, frame[f"{bucket}_low"], frame[f"{bucket}_high"], color=colour, linewidth=2)
            axes.plot(frame[bucket], y, linestyle="", marker=marker, color=colour, markersize=6, label=legend)
        _name_systems(axes, frame)
        axes.set_ylim(-0.6, len(frame) - 0.4)
        axes.set_xlim(left=0)
        drawing.row_axes(axes, "Contribution to P@5 (points)", ticks=8)
        above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        title = "How often the training side's annotations hold the label"
        axes.legend(title=title, alignment="left", ncols=3, **above)

    size = (7.6, 2.5 + 0.42 * max(3, len(frame)))
    nothing = None if shown else f"No system has a result on {results.dataset} yet."
    title, message = "Rare and common labels", _rare_sentence(frame)
    return Drawing("by_frequency", title, message, caption, frame, size, draw, nothing)


def f6_curriculum(results: Results) -> Drawing:
    """F6: the student's P@1 and the quality of the teacher's verdicts, cycle by cycle.

    Cycle 0 is the encoder before training (`zero-shot`). Cycle c's verdicts are on shortlists
    made by cycle c - 1; its check is on the top labels of its own student.
    """
    dataset, systems = results.dataset, results.systems
    fields = ["best", "yes_rate", "pseudo_precision", "pseudo_recall", "pseudo_positives", "check"]
    rows, shown = [], from_zero(systems)
    for number, r in shown.items():
        row = {"cycle": number, "system": r.system, "n": r.n, "P@1": r.metrics.get("P@1")}
        row |= {key: getattr(r.cycle, key, None) for key in (*fields, "documents_used")}
        rows.append(row | {"gap": r.stopped})
    frame = frame_of(rows, ("cycle", "system", "n", "P@1", *fields, "documents_used", "gap"), ("P@1",))

    caption = f"{dataset}."
    if frame["P@1"].notna().any():
        caption = (
            f"{on_documents(dataset, shown.values())}{_INTERVALS}; filled: the cycle kept. A cycle's "
            "verdicts are on shortlists made by the cycle before; annotations serve this figure, not the "
            "training."
        )
    if measured(systems, "zero-shot") is None:
        caption += " Cycle 0 is missing: zero-shot has no result."
    if stopped := [f"{r.label} ({r.stopped})" for r in cycles(systems).values() if r.stopped is not None]:
        caption += f" Without a result: {'; '.join(stopped)}."

    def draw(figure: Figure) -> None:
        # The legend has axes of its own, right below those that it is for.
        layout = [["student", "verdicts"], ["student", "legend"]]
        panels = figure.subplot_mosaic(layout, height_ratios=(5, 1))
        _student(panels["student"], frame)
        _verdicts(panels["verdicts"], panels["legend"], frame[frame["cycle"] > 0])

    ran = any("P@1" in r.metrics for r in cycles(systems).values())
    nothing = None if ran else f"No cycle of LMTX has a result on {dataset} yet."
    message = _curriculum_sentence(systems)
    return Drawing("f6_curriculum", "F6 The curriculum", message, caption, frame, (7.6, 4.5), draw, nothing)


def _gain_sentence(systems: list[Result]) -> str:
    """LMTX's P@1 and its paired gain over zero-shot, as far as both are measured."""
    lmtx, gain = measured(systems, "lmtx"), gain_of_lmtx(systems)
    if lmtx is None:
        return "LMTX has no result yet"
    sentence = f"LMTX's first label is right for {percent(lmtx.metrics['P@1'].value)} % of the documents"
    return f"{sentence}; gain over its encoder before training: {points(gain)}" if gain else sentence


def _curriculum_sentence(systems: list[Result]) -> str:
    """Which cycle the check keeps, and its gain in P@1 over zero-shot."""
    ran = {number: r for number, r in cycles(systems).items() if "P@1" in r.metrics}
    if not ran:
        return "No cycle of LMTX has a result yet"
    count = f"{len(ran)} cycle{'s' if len(ran) > 1 else ''}"
    best = next((number for number, r in ran.items() if r.cycle and r.cycle.best), None)
    if best is None:
        return f"{count} ran, and none was kept"
    sentence, gain = f"Of {count}, the teacher's check keeps cycle {best}", gain_of_lmtx(systems)
    return f"{sentence}; gain in P@1 over zero-shot: {points(gain)}" if gain else sentence


def _rare_sentence(frame: pd.DataFrame) -> str:
    """Who contributes most from labels that no training annotation holds."""
    zero_shot = frame["zero_shot"].astype(bool)
    systems = frame[zero_shot & frame["never"].notna()]
    if systems.empty:
        return "No system has a result yet"
    best = systems.loc[systems["never"].idxmax()]
    sentence = f"Labels that were never annotated: {best['label']} finds most, "
    sentence += f"{percent(best['never'])} points of P@5"
    if near := int((systems["never_high"] >= best["never_low"]).sum()) - 1:
        sentence += f" (intervals of {near} more systems overlap)"
    if not zero_shot.all():
        sentence += f"; with annotations, {percent(frame[~zero_shot]['never'].max())}"
    return sentence


def _frame(systems: Sequence[Result], fields: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """A row a system, its fields and its intervals of these names, in the order of the first of them."""
    rows = []
    for r in systems:
        intervals = r.metrics | r.by_frequency
        rows.append({f: getattr(r, f) for f in fields} | {name: intervals.get(name) for name in names})
    frame = frame_of(rows, (*fields, *names), names)
    return frame.sort_values(names[0], kind="stable", na_position="first")


def _systems(axes: Axes, frame: pd.DataFrame, name: str) -> None:
    """A row a system: its mark and its interval."""
    for y, row in enumerate(frame.to_dict("records")):
        if pd.isna(row[name]):
            axes.text(0.02, y, "not measured", va="center", color=MUTED, transform=axes.get_yaxis_transform())
            continue
        colour = _FAMILY_COLOURS.get(row["family"], GREEN)
        drawing.bar(axes, y, row, name, colour, filled=row["family"] != "lmtx" or row["system"] == "lmtx")
    _name_systems(axes, frame)
    axes.set_ylim(-0.6, len(frame) - 0.3)
    axes.margins(x=0.08)
    drawing.row_axes(axes, f"{name} (%)")
    if frame[name].isna().all():
        axes.set_xticks([])


def _name_systems(axes: Axes, frame: pd.DataFrame) -> None:
    """Write the `label` of each row beside it on the y axis.

    † marks a system that reads annotations; one of fewer documents than the others tells how many.
    """
    labels = frame["label"].where(frame["zero_shot"].astype(bool), frame["label"] + " †")
    fewer = frame["n"] < frame["n"].max()
    labels = labels.mask(fewer, labels + ", n\u00a0=\u00a0" + frame["n"].astype(str))
    axes.set_yticks(range(len(frame)), [fill(label, 24, break_on_hyphens=False) for label in labels])


def _student(axes: Axes, frame: pd.DataFrame) -> None:
    ran = frame[frame["P@1"].notna()]
    axes.plot(ran["cycle"], ran["P@1"], color=BLUE, linewidth=1.5)
    falls = ran["P@1"].diff().shift(-1) < 0  # the text keeps out of the line's way
    for row, beside in zip(ran.to_dict("records"), falls, strict=True):
        axes.vlines(row["cycle"], row["P@1_low"], row["P@1_high"], color=BLUE, linewidth=2)
        drawing.dot(axes, row["cycle"], row["P@1"], BLUE, filled=row["best"] is True)
        offset, va = ((5, 5), "bottom") if beside else ((5, -6), "top")
        drawing.note(axes, percent(row["P@1"]), row["cycle"], row["P@1"], offset, va=va)
    axes.set_title("The student on test documents")
    axes.set_ylabel("P@1 (%)")
    _cycle_axis(axes, frame)


def _verdicts(axes: Axes, below: Axes, frame: pd.DataFrame) -> None:
    below.set_axis_off()
    if frame[[*_VERDICTS]].isna().all(axis=None):
        return drawing.gap(axes, "The teacher's verdicts were not measured.")
    for column, (legend, colour, marker) in _VERDICTS.items():
        values = frame[["cycle", column]].dropna().astype(float)
        label = f"{legend} (not measured)" if values.empty else legend
        look = {"marker": marker, "color": colour, "linewidth": 1.5, "markersize": 7}
        axes.plot(*values.T.to_numpy(), label=label, **look)
    axes.set_title("The teacher's verdicts")
    axes.set_ylabel("Share (%)")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    _cycle_axis(axes, frame)
    below.legend(*axes.get_legend_handles_labels(), loc="upper left", borderaxespad=0)


def _cycle_axis(axes: Axes, frame: pd.DataFrame) -> None:
    labels = []
    for cycle, reason in zip(frame["cycle"], frame["gap"], strict=True):
        remark = "not run" if isinstance(reason, str) else "zero-shot" if cycle == 0 else ""
        labels.append(f"{cycle}\n{remark}".strip())
    axes.set_xticks(frame["cycle"], labels)
    axes.set_xlim(frame["cycle"].min() - 0.3, frame["cycle"].max() + 0.55)
    axes.set_xlabel("Cycle")
    drawing.percent_axis(axes.yaxis)
    axes.grid(axis="y")
    axes.tick_params(length=0)
