"""F2: the loop of LMTX as a drawing, with this run's numbers where they are known."""

from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from lmtx.report import drawing
from lmtx.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from lmtx.report.render import percent
from lmtx.report.results import Result, Statistics, load_results, load_statistics, measured

_WIDTH, _HEIGHT = 7.4, 3.55  # inches, which are the axes' units


def f2_loop(reports: str | Path, dataset: str) -> Drawing:
    """F2: shortlist, judge, train, check; and what is left of it at prediction time.

    The numbers are those of the cycle kept.
    """
    lmtx = measured(load_results(reports, dataset), "lmtx")
    facts = _facts(load_statistics(reports, dataset), lmtx)
    known = {key: value for key, value in facts.items() if value is not None}
    frame = pd.DataFrame({"quantity": list(facts), "value": pd.Series(list(facts.values()), dtype=float)})
    message = "The teacher judges, the student learns; at prediction the teacher is gone"
    caption = (
        f"{dataset}. E0 is the pretrained encoder, E(c) the student of cycle c. No step reads an annotation."
    )
    if lmtx is not None and lmtx.cycle is not None:
        caption += f" Numbers: cycle {lmtx.cycle.number}, which the check keeps."
    elif not known:
        caption += " This run's numbers are not known yet."
    with drawing.style():
        figure = drawing.blank(7.6, 4.6)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set(xlim=(-0.03, _WIDTH + 0.03), ylim=(0, _HEIGHT))
        _loop(axes, known)
        drawing.headline(figure, message, caption)
    return Drawing("f2_loop", "F2 The loop", message, caption, figure, frame)


def _facts(statistics: Statistics | None, lmtx: Result | None) -> dict[str, float | None]:
    """What is known of this run; a shortlist's size is the yes of a document over the share of yes."""
    cycle = lmtx.cycle if lmtx else None
    yes, rate = (cycle.pseudo_positives, cycle.yes_rate) if cycle else (None, None)
    return {
        "documents": statistics.documents.train if statistics else None,
        "labels": statistics.labels if statistics else None,
        "shortlist": round(yes / rate) if yes and rate else None,
        "yes_rate": rate,
        "documents_used": cycle.documents_used if cycle else None,
        "check": cycle.check if cycle else None,
        "P@1": lmtx.metrics["P@1"].value if lmtx else None,
    }


def _loop(axes: Axes, known: dict[str, float]) -> None:
    def count(key: str, otherwise: str = "") -> str:
        return f"{known[key]:,.0f} " if key in known else otherwise

    def share(key: str) -> str:
        return f":\n{percent(known[key])} %" if key in known else ""

    steps = {
        "1  Shortlist": (
            f"E(c−1) embeds both;\nthe {count('shortlist', 'j ')}nearest labels\nof each document",
            GREEN,
        ),
        "2  Judge": (
            f"is the label relevant?\nyes or no for each;\nshare of yes{share('yes_rate')}",
            ORANGE,
        ),
        "3  Train": (
            "a yes is a positive, the\nbatch gives negatives;\n"
            f"{count('documents_used')}documents\nwith a yes",
            BLUE,
        ),
        "4  Check": (f"held-out documents\nwhose top label the\nteacher accepts{share('check')}", PURPLE),
    }
    width, top, height = 1.66, 2.5, 1.12
    lefts = [i * (_WIDTH - width) / 3 for i in range(4)]
    middles = [left + width / 2 for left in lefts]
    for left, (title, (text, colour)) in zip(lefts, steps.items(), strict=True):
        _box(axes, left, top - height, width, height, colour)
        axes.text(left + 0.08, top - 0.07, title, color=colour, fontweight="bold", va="top", fontsize=9.5)
        axes.text(left + 0.08, top - 0.29, text, va="top", fontsize=8.5, linespacing=1.25)
    for left, right in pairwise(lefts):
        _arrow(axes, (left + width, top - height / 2), (right, top - height / 2))

    above = {
        0: (
            "Documents, labels",
            f"{count('documents')}and {count('labels')}".strip()
            if {"documents", "labels"} <= known.keys()
            else "texts alone",
        ),
        1: ("Teacher", "costly, and slow"),
        2: ("E0", "every cycle starts here"),
        3: ("Teacher", "judges once more"),
    }
    for place, (name, what) in above.items():
        _box(axes, lefts[place], 2.95, width, 0.52, MUTED)
        axes.text(middles[place], 3.32, name, ha="center", va="center", fontsize=9, fontweight="bold")
        axes.text(middles[place], 3.1, what, ha="center", va="center", fontsize=8, color=MUTED)
        _arrow(axes, (middles[place], 2.95), (middles[place], top))

    turn = 1.02
    axes.plot([middles[3], middles[3], middles[0]], [top - height, turn, turn], color=MUTED, linewidth=1.3)
    _arrow(axes, (middles[0], turn), (middles[0], top - height))
    axes.text(
        _WIDTH / 2,
        turn + 0.05,
        "next cycle: E(c) makes the shortlists; stop at the first cycle that the check finds no better",
        ha="center",
        va="bottom",
        fontsize=8,
        color=MUTED,
    )
    _box(axes, 0, 0.1, _WIDTH, 0.5, BLUE)
    result = f"; the first is right for {percent(known['P@1'])} %" if "P@1" in known else ""
    axes.text(0.08, 0.35, "At prediction", va="center", fontsize=9.5, fontweight="bold", color=BLUE)
    axes.text(
        1.25,
        0.35,
        f"new document  →  the E(c) kept  →  its nearest labels{result}; no teacher",
        va="center",
        fontsize=8,
    )
    axes.plot([middles[3]] * 2, [turn, 0.6], color=BLUE, linewidth=1.3, linestyle=(0, (3, 2)))


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.07"
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, style, facecolor=PAPER, edgecolor=colour, linewidth=1.3)
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=arrow)
