"""Figures that set the systems side by side: rare and common labels, and how each makes its pairs."""

from pathlib import Path
from textwrap import shorten, wrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lmtx.report import drawing
from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.render import percent
from lmtx.report.results import each_once, flat, load_results, sample, table_of

_BUCKETS = {"never": (ORANGE, "o"), "rare": (PURPLE, "s"), "common": (BLUE, "^")}
_LEGEND = {"never": "never", "rare": "1 to 3 times", "common": "4 times or more"}
# Which systems F1 shows, and how each of them makes a pair.
_MAKERS = {
    "rts": ("RTS", "two segments of the document", ORANGE),
    "maclr": ("MACLR", "title, and content without the title's words", GREEN),
    "lmtx-c1": ("LMTX", "document, and a label that the teacher accepted", BLUE),
}
_WRAP, _LINES = 36, 9


def by_frequency(reports: str | Path, dataset: str) -> Drawing:
    """What labels of each frequency contribute to every system's P@5, which is their sum."""
    results = load_results(reports, dataset)
    rows = []
    for r in each_once(results):
        if r.by_frequency:
            row = {"system": r.system, "label": r.label, "zero_shot": r.zero_shot, "n": r.n}
            row |= flat("P@5", r.metrics.get("P@5"))
            for bucket in _BUCKETS:
                row |= flat(bucket, r.by_frequency.get(bucket))
            rows.append(row)
    columns = ["system", "label", "zero_shot", "n", *(c for b in ("P@5", *_BUCKETS) for c in flat(b, None))]
    frame = table_of(rows, ("n",), columns).sort_values("P@5", kind="stable", na_position="first")
    caption = f"{dataset}."
    if rows:
        caption = (
            f"{sample(dataset, results)}; 95 % bootstrap intervals over them. The three marks of a system "
            "add up to its P@5. Annotations serve this figure, not the systems."
        )
    message = _tail_message(frame)
    with drawing.style():
        figure = drawing.blank(7.6, 2.5 + 0.42 * max(3, len(frame)))
        axes = figure.subplots()
        if frame.empty:
            drawing.gap(axes, f"No system has a result on {dataset} yet.")
        else:
            _buckets(axes, frame)
        drawing.headline(figure, message, caption)
    return Drawing("by_frequency", "Rare and common labels", message, caption, figure, frame)


def f1_pairs(reports: str | Path, dataset: str) -> Drawing:
    """F1: the training pair that each method makes from the same real document."""
    results = {r.system: r for r in load_results(reports, dataset)}
    examples = {
        system: {example["document"]: example for example in results[system].examples}
        for system in _MAKERS
        if system in results and results[system].examples
    }
    # The first document of which every system at hand has made a pair.
    shared = [
        document
        for document in next(iter(examples.values()), {})
        if all(document in found for found in examples.values())
    ]
    rows = [
        {"document": shared[0], "system": system, "anchor": e["anchor"], "positive": e["positive"]}
        for system in examples
        if shared
        for e in [examples[system][shared[0]]]
    ]
    frame = pd.DataFrame(rows, columns=["document", "system", "anchor", "positive"])
    message = "No training pairs have been written yet"
    caption = f"{dataset}."
    if rows:
        message = f"What each method learns from: one training pair of {shared[0]}"
        caption += " Texts as the encoder reads them, cut to fit; negatives are the other texts of a batch."
    if missing := [_MAKERS[system][0] for system in _MAKERS if system not in examples]:
        caption += f" Without pairs: {', '.join(missing)}."
    with drawing.style():
        figure = drawing.blank(7.6, 3.9)
        if rows:
            for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
                _pair(axes, row)
        else:
            drawing.gap(figure.subplots(), "The stages that train write some of their pairs.")
        drawing.headline(figure, message, caption)
    return Drawing("f1_pairs", "F1 Training pairs", message, caption, figure, frame)


def _buckets(axes: Axes, frame: pd.DataFrame) -> None:
    for place, (bucket, (colour, marker)) in enumerate(_BUCKETS.items()):
        y = [row + 0.22 * (1 - place) for row in range(len(frame))]
        axes.hlines(y, frame[f"{bucket}_low"], frame[f"{bucket}_high"], color=colour, linewidth=2)
        axes.plot(
            frame[bucket], y, linestyle="", marker=marker, color=colour, markersize=6, label=_LEGEND[bucket]
        )
    drawing.name_systems(axes, frame)
    axes.set_ylim(-0.6, len(frame) - 0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("Contribution to P@5 (points)")
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(drawing.PERCENT)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.legend(
        title="How often the training side's annotations hold the label",
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0.2,
    )


def _pair(axes: Axes, row: dict) -> None:
    name, how, colour = _MAKERS[row["system"]]
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0, 1, name, fontweight="bold", color=colour, va="top", fontsize=10.5)
    axes.text(0, 0.935, "\n".join(wrap(how, _WRAP)), color=MUTED, va="top", fontsize=8.5)
    for top, role in ((0.77, "anchor"), (0.24, "positive")):
        axes.text(0, top, role, color=MUTED, va="bottom", fontsize=8)
        text = shorten(row[role], _WRAP * _LINES, placeholder=" …")
        box = {"boxstyle": "round,pad=0.4", "facecolor": PAPER, "edgecolor": colour}
        shown = "\n".join(wrap(text, _WRAP)[:_LINES]).replace("$", r"\$")
        axes.text(0.02, top - 0.02, shown, color=INK, va="top", fontsize=7.5, bbox=box)


def _tail_message(frame: pd.DataFrame) -> str:
    """Who contributes most from labels that no training annotation holds."""
    shown = frame[frame["zero_shot"].astype(bool) & frame["never"].notna()]
    if shown.empty:
        return "No system has a result yet"
    first = shown.loc[shown["never"].idxmax()]
    found = f"{first['label']} finds most, {percent(first['never'])} points of P@5"
    message = f"Labels that were never annotated: {found}"
    supervised = frame[~frame["zero_shot"].astype(bool)]
    if len(supervised):
        message += f"; with annotations, {percent(supervised['never'].max())}"
    return message
