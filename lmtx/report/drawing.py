"""How every figure looks, and how it is saved: the same bytes for the same numbers."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import ClassVar
from xml.sax.saxutils import quoteattr

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmtx.report.render import csv, percent, save

COLOURS = {
    "ink": "#1a1c20",
    "muted": "#5c6370",
    "grid": "#d9dce1",
    "paper": "#fefefe",
    "blue": "#0072b2",
    "orange": "#bf5400",
    "green": "#00815e",
    "purple": "#ad5587",
}
"""Okabe and Ito's palette, told apart with any colour vision; darkened, so that small text has a contrast of
4.5 : 1 on white. On the page each colour is a variable of this name, lighter in a dark theme."""
INK, MUTED, GRID, PAPER, BLUE, ORANGE, GREEN, PURPLE = COLOURS.values()
_STYLE = Path(__file__).with_name("templates") / "figures.mplstyle"
# Every field that would differ between two runs, or name the machine, is left out.
_METADATA = {
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
}


@dataclass(frozen=True)
class Drawing:
    """A figure, and the numbers behind it."""

    name: str  # file name without ending, such as "f6_curriculum"
    title: str  # which figure of the study it is
    message: str  # the one thing it shows, in a sentence made from its numbers; it stands above the axes
    caption: str  # the meaning of the marks, n, and missing results; it stands below them
    frame: pd.DataFrame  # the numbers drawn, as `name.csv` holds them; fractions
    size: tuple[float, float]  # inches
    draw: Callable[[Figure], None]  # fills the figure
    missing: str | None = None  # replaces the drawing where there is nothing to draw
    stage: str = "evaluate"  # the stage whose results it shows

    folder: ClassVar[str] = "figures"
    endings: ClassVar[tuple[str, ...]] = ("csv", "pdf", "png", "svg")

    @property
    def empty(self) -> bool:
        return self.missing is not None

    @cached_property
    def figure(self) -> Figure:
        # On matplotlib's defaults, whatever the notebook around has set.
        with style.context(_STYLE, after_reset=True):
            figure = Figure(figsize=(self.size[0], 2) if self.empty else self.size, layout="constrained")
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
            FigureCanvasAgg(figure)  # on no screen
            if self.empty:
                gap(figure.subplots(), self.missing)
            else:
                self.draw(figure)
            heading = fill(self.message, int(self.size[0] * 10.5))
            figure.suptitle(heading, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
            footing = fill(self.caption, int(self.size[0] * 15.5), break_on_hyphens=False)
            figure.supxlabel(footing, x=0.01, ha="left", fontsize=8.5, color=MUTED)
        return figure

    def save(self, folder: str | Path) -> list[Path]:
        """Write `name` as .png, .pdf, .svg and .csv; each appears whole or not at all."""
        contents = {kind: self._render(kind) for kind in _METADATA}
        return save(Path(folder) / self.name, contents | {"csv": csv(self.frame).encode()})

    def to_html(self) -> str:
        """The figure as an SVG element for a page: its colours are the page's variables, its ids its own."""
        svg = self._render("svg").decode()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", svg)
        for name, colour in COLOURS.items():
            svg = svg.replace(colour, f"var(--{name})")
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg).group(1)) * 4 / 3  # points to pixels
        svg = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", svg, count=1)
        label = quoteattr(f"{self.title}: {self.message}")
        opening = f'<svg role="img" aria-label={label} style="width:{width:.0f}px" '
        return svg.replace("<svg ", opening, 1)

    def _repr_png_(self) -> bytes:
        return self._render("png", dpi=100)

    def _render(self, kind: str, **options) -> bytes:
        stream, figure = io.BytesIO(), self.figure
        with style.context(_STYLE, after_reset=True):
            figure.savefig(stream, format=kind, metadata=_METADATA[kind], **options)
        return stream.getvalue()


def percent_axis(axis: Axis, ticks: int = 6) -> None:
    """Write an axis of fractions in percent, with at most so many intervals between ticks."""
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda fraction, _: f"{100 * fraction:.4g}")


def row_axes(axes: Axes, label: str, ticks: int = 6) -> None:
    """Axes with a row a system or strategy, and fractions from left to right."""
    axes.set_xlabel(label)
    percent_axis(axes.xaxis, ticks)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def dot(axes: Axes, x: float, y: float, colour: str, filled: bool = True) -> None:
    face = colour if filled else PAPER
    axes.plot(x, y, "o", color=colour, markersize=7, markeredgewidth=1.6, markerfacecolor=face)


def bar(axes: Axes, y: float, row: dict, name: str, colour: str, filled: bool = True) -> None:
    """Draw the value of `name` in a row of a frame as a dot, in percent above it, and its interval."""
    if f"{name}_low" in row:
        axes.hlines(y, row[f"{name}_low"], row[f"{name}_high"], color=colour, linewidth=2)
    dot(axes, row[name], y, colour, filled)
    note(axes, percent(row[name]), row[name], y, (0, 6), ha="center", va="bottom")


def note(axes: Axes, text: str, x: float, y: float, offset: tuple[int, int], **alignment: str) -> None:
    axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", fontsize=8.5, **alignment)


def gap(axes: Axes, text: str) -> None:
    """Write a text into the axes instead of drawing."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, fill(text, 50), ha="center", va="center", color=MUTED, transform=axes.transAxes)
