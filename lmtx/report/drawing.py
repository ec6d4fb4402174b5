"""How every figure looks, and how it is saved: the same bytes for the same numbers."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import ClassVar
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lmtx.report.render import csv, save

# Okabe and Ito's palette, told apart with any colour vision; three of it are darkened, so that small text has
# a contrast of at least 4.5 : 1 on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#bf5400", "#00815e", "#ad5587"
INK, MUTED, GRID, PAPER = "#1a1c20", "#5c6370", "#d9dce1", "#fefefe"
# On the page each colour is a variable, which a dark theme sets to a lighter one.
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
}

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": PAPER,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "savefig.dpi": 200,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",  # text stays text: it can be selected, searched, and recoloured
    "svg.hashsalt": "lmtx",
    "pdf.fonttype": 42,
}
PERCENT = FuncFormatter(lambda fraction, _: f"{100 * fraction:.4g}")
"""Writes the fractions of an axis as percent, without the sign."""
AMOUNT = FuncFormatter(lambda value, _: f"{value:,.10g}")
# Every field that would differ between two runs, or name the machine, is left out.
_METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


@dataclass(frozen=True)
class Drawing:
    """A figure, and the numbers behind it.

    Attributes
    ----------
    name
        File name without ending, such as "f6_curriculum".
    title
        Which figure of the study it is.
    message
        The one thing it shows, in a sentence made from its numbers; it stands above the axes.
    caption
        The meaning of the marks, n, and missing results.
    figure
        The matplotlib figure.
    frame
        The numbers drawn, as `name.csv` holds them; fractions.
    stage
        The stage whose results it shows.
    empty
        Whether nothing is drawn but a text that says so.
    """

    name: str
    title: str
    message: str
    caption: str
    figure: Figure
    frame: pd.DataFrame
    stage: str = "evaluate"
    empty: bool = False

    folder: ClassVar[str] = "figures"
    endings: ClassVar[tuple[str, ...]] = ("csv", "pdf", "png", "svg")

    @classmethod
    def make(
        cls,
        name: str,
        title: str,
        message: str,
        caption: str,
        frame: pd.DataFrame,
        size: tuple[float, float],
        draw: Callable[[Figure], None],
        missing: str | None = None,
        stage: str = "evaluate",
    ) -> "Drawing":
        """Let `draw` fill a figure of `size` inches, and put the message above it and the caption below.

        A text in `missing` replaces the drawing where there is nothing to draw.
        """
        with _style():
            figure = Figure(figsize=size, layout="constrained")
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
            FigureCanvasAgg(figure)  # on no screen
            if missing is None:
                draw(figure)
            else:
                gap(figure.subplots(), missing)
            heading = fill(message, int(size[0] * 10.5))
            figure.suptitle(heading, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
            footing = fill(caption, int(size[0] * 15.5), break_on_hyphens=False)
            figure.supxlabel(footing, x=0.01, ha="left", fontsize=8.5, color=MUTED)
        return cls(name, title, message, caption, figure, frame, stage, empty=missing is not None)

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
        for colour, variable in VARIABLES.items():
            svg = svg.replace(colour, f"var({variable})")
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg).group(1)) * 4 / 3  # points to pixels
        svg = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", svg, count=1)
        label = quoteattr(f"{self.title}: {self.message}")
        opening = f'<svg role="img" aria-label={label} style="width:{width:.0f}px" '
        return svg.replace("<svg ", opening, 1)

    def _repr_png_(self) -> bytes:
        return self._render("png", dpi=100)

    def _render(self, kind: str, **options) -> bytes:
        stream = io.BytesIO()
        with _style():
            self.figure.savefig(stream, format=kind, metadata=_METADATA[kind], **options)
        return stream.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    """matplotlib's defaults with `STYLE`, whatever the notebook around has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def percent_axis(axis: Axis, ticks: int = 6) -> None:
    """Write an axis of fractions in percent, with at most so many intervals between ticks."""
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PERCENT)


def row_axes(axes: Axes, label: str, ticks: int = 6) -> None:
    """Axes with a row a system or strategy, and fractions from left to right."""
    axes.set_xlabel(label)
    percent_axis(axes.xaxis, ticks)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def name_systems(axes: Axes, frame: pd.DataFrame) -> None:
    """Write the `label` of each row beside it on the y axis; † marks a system that reads annotations."""
    labels = frame["label"].where(frame["zero_shot"].astype(bool), frame["label"] + " †")
    axes.set_yticks(range(len(frame)), [fill(label, 24, break_on_hyphens=False) for label in labels])


def gap(axes: Axes, text: str) -> None:
    """Write a text into the axes instead of drawing."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, fill(text, 50), ha="center", va="center", color=MUTED, transform=axes.transAxes)
