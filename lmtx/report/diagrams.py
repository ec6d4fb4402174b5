"""The method as two drawings: F1, a training pair of each method, and F2, the loop of LMTX."""

from functools import partial
from itertools import pairwise
from textwrap import shorten, wrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.render import percent
from lmtx.report.results import Results, measured
from lmtx.report.schema import Cycle

# Which systems F1 shows, and how each of them makes a pair.
_MAKERS = {
    "rts": ("RTS", "two segments of the document", ORANGE),
    "maclr": ("MACLR", "title, and content without the title's words", GREEN),
    "lmtx-c1": ("LMTX", "document, and a label that the teacher accepted", BLUE),
}
_WRAP, _LINES = 36, 9
_WIDTH, _HEIGHT = 7.4, 3.55  # of F2 in inches, which are its axes' units
# The boxes of F2 from left to right; in braces, this run's numbers.
_STEPS = [
    ("1  Shortlist", GREEN, "E(c−1) embeds both and\nproposes {shortlist}labels\nfor each document"),
    ("2  Judge", ORANGE, "is the label relevant?\nyes or no for each;\nshare of yes{yes_rate}"),
    (
        "3  Train",
        BLUE,
        "a yes is a positive; a no\nor a label of other texts,\na negative;\n{documents_used}documents",
    ),
    ("4  Check", PURPLE, "held-out documents\nwhose top label the\nteacher accepts{check}"),
]
# The input of each step, in a box above it.
_INPUTS = [
    ("Documents, labels", "{texts}"),
    ("Teacher", "costly, and slow"),
    ("E0", "every cycle starts here"),
    ("Teacher", "judges once more"),
]


def f1_pairs(results: Results) -> Drawing:
    """F1: the training pair that each method makes from the same real document."""
    pairs = {r.system: {e["document"]: e for e in r.examples} for r in results.systems if r.examples}
    pairs = {system: pairs[system] for system in _MAKERS if system in pairs}
    # The first document of which every system at hand has made a pair.
    first = next(iter(pairs.values()), {})
    document = next((d for d in first if all(d in by_document for by_document in pairs.values())), None)
    rows = [{"system": s} | by_document[document] for s, by_document in pairs.items() if document is not None]
    message, caption = "No training pairs have been written yet", f"{results.dataset}."
    if rows:
        message = f"What each method learns from: one training pair of {document}"
        caption += " Texts as each method trains on them, cut to fit; negatives are not shown."
    if absent := [name for system, (name, *_) in _MAKERS.items() if system not in pairs]:
        caption += f" Without pairs: {', '.join(absent)}."

    def draw(figure: Figure) -> None:
        for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
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

    frame = pd.DataFrame(rows, columns=["document", "system", "anchor", "positive"])
    missing = None if rows else "The stages that train write some of their pairs."
    return Drawing("f1_pairs", "F1 Training pairs", message, caption, frame, (7.6, 3.9), draw, missing)


def f2_loop(results: Results) -> Drawing:
    """F2: shortlist, judge, train and check, then prediction; with the numbers of the best cycle."""
    lmtx, statistics = measured(results.systems, "lmtx"), results.statistics[results.dataset]
    cycle = (lmtx and lmtx.cycle) or Cycle(number=0)
    yes, yes_rate = cycle.pseudo_positives, cycle.yes_rate
    facts = {
        "documents": statistics and statistics.documents["train"],
        "labels": statistics and statistics.labels,
        "shortlist": round(yes / yes_rate) if yes and yes_rate else None,
        "yes_rate": yes_rate,
        "documents_used": cycle.documents_used,
        "check": cycle.check,
        "P@1": lmtx and lmtx.metrics["P@1"].value,
    }
    caption = f"{results.dataset}. E0 is the pretrained encoder, E(c) the student of cycle c. "
    caption += "No step reads an annotation."
    if cycle.number:
        caption += f" Numbers: cycle {cycle.number}, which the check keeps."
    elif not any(value is not None for value in facts.values()):
        caption += " This run's numbers are not known yet."
    frame = pd.DataFrame({"quantity": list(facts), "value": pd.Series(list(facts.values()), dtype=float)})
    message = "The teacher judges, the student learns; at prediction the teacher is gone"
    return Drawing("f2_loop", "F2 The loop", message, caption, frame, (7.6, 4.6), partial(_loop, facts))


def _loop(facts: dict[str, float | None], figure: Figure) -> None:
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(-0.03, _WIDTH + 0.03), ylim=(0, _HEIGHT))

    # This run's numbers as the boxes hold them; a missing one leaves a text without it.
    present = {key: value for key, value in facts.items() if value is not None}
    numbers = {"shortlist": "j ", "texts": "texts alone", "documents_used": "", "yes_rate": "", "check": ""}
    numbers |= {key: f"{present[key]:,} " for key in ("shortlist", "documents_used") if key in present}
    numbers |= {key: f":\n{percent(present[key])} %" for key in ("yes_rate", "check") if key in present}
    if "documents" in present:
        numbers["texts"] = f"{facts['documents']:,} and {facts['labels']:,}"

    # The four steps, and above each its input.
    width, top, height, above, turn = 1.66, 2.5, 1.12, 2.95, 1.02
    lefts = [i * (_WIDTH - width) / 3 for i in range(4)]
    first, last = lefts[0] + width / 2, lefts[3] + width / 2
    for left, (title, colour, text) in zip(lefts, _STEPS, strict=True):
        _box(axes, left, top - height, width, height, colour)
        axes.text(left + 0.08, top - 0.07, title, color=colour, fontweight="bold", va="top", fontsize=9.5)
        text = text.format_map(numbers)
        axes.text(left + 0.08, top - 0.29, text, va="top", fontsize=8.5, linespacing=1.25)
    for left, right in pairwise(lefts):
        _arrow(axes, (left + width, top - height / 2), (right, top - height / 2))
    for left, (name, text) in zip(lefts, _INPUTS, strict=True):
        middle, centred = left + width / 2, {"ha": "center", "va": "center"}
        _box(axes, left, above, width, 0.52, MUTED)
        axes.text(middle, 3.32, name, fontsize=9, fontweight="bold", **centred)
        axes.text(middle, 3.1, text.format_map(numbers), fontsize=8, color=MUTED, **centred)
        _arrow(axes, (middle, above), (middle, top))

    # Back to the first step, and out to the prediction.
    axes.plot([last, last, first], [top - height, turn, turn], color=MUTED, linewidth=1.3)
    _arrow(axes, (first, turn), (first, top - height))
    text = "next cycle: E(c) makes the shortlists; stop at the first cycle that the check finds no better"
    axes.text(_WIDTH / 2, turn + 0.05, text, ha="center", va="bottom", fontsize=8, color=MUTED)
    _box(axes, 0, 0.1, _WIDTH, 0.5, BLUE)
    axes.text(0.08, 0.35, "At prediction", va="center", fontsize=9.5, fontweight="bold", color=BLUE)
    right = "" if facts["P@1"] is None else f"; the first is right for {percent(facts['P@1'])} %"
    text = f"new document  →  the E(c) kept  →  its nearest labels{right}; no teacher"
    axes.text(1.25, 0.35, text, va="center", fontsize=8)
    axes.plot([last, last], [turn, 0.6], color=BLUE, linewidth=1.3, linestyle=(0, (3, 2)))


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.07"
    look = {"facecolor": PAPER, "edgecolor": colour, "linewidth": 1.3}
    axes.add_patch(FancyBboxPatch((x, y), width, height, style, **look))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=arrow)
