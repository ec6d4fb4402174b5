"""A table once, written four ways: CSV for numbers, Markdown, LaTeX and HTML for eyes."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from lmtx.files import replacing
from lmtx.report.schema import Interval

GAP = "—"
MINUS = "−"
BAR = "\\|"  # in a cell of Markdown


class Cell(NamedTuple):
    """The texts in one cell of a table."""

    text: str
    interval: str = ""
    bold: bool = False


def number(value: float | None, digits: int = 0) -> Cell:
    """A count or an amount with thousands set apart; a gap for None and NaN."""
    return Cell(GAP if _missing(value) else f"{value:,.{digits}f}".replace("-", MINUS))


tenths, cents = partial(number, digits=1), partial(number, digits=2)


def share(value: Interval | float | None) -> Cell:
    """A fraction in percent, with its interval where it has one; the best of its column is bold."""
    if isinstance(value, Interval):
        return Cell(percent(value.value), span(value), value.best)
    return Cell(percent(value))


def gain(value: Interval | None) -> Cell:
    """A difference in points with its interval."""
    return Cell(percent(value.value, sign=True), span(value, sign=True)) if value else Cell(GAP)


def starred(value: Interval | None) -> Cell:
    """A difference as `gain` shows it, with a star where its interval leaves 0 out."""
    cell = gain(value)
    return cell if value is None or value.within_noise else cell._replace(text=f"{cell.text}*")


class Column(NamedTuple):
    """A column of numbers: its heading, the key of its number in a row, and how a cell shows that number."""

    heading: str
    key: str
    show: Callable[[Any], Cell] = number


Row = tuple[Cell, dict]  # the first cell, and by key numbers and `Interval`s, in fractions; None is a gap


@dataclass(frozen=True)
class Table:
    """A table to be read, and the numbers behind it."""

    name: str  # file name without ending, such as "t2_main"
    title: str
    caption: str  # how to read it
    first: str  # the heading of the first column, which is text
    columns: Sequence[Column]  # the others; a line break in a heading is where LaTeX may stack it
    sections: Sequence[tuple[str, list[Row]]]  # heading and rows; "" heads a table without parts
    notes: Sequence[str] = ()  # footnotes, among them the reasons for missing results
    stage: str = "evaluate"  # the stage whose results it shows

    folder: ClassVar[str] = "tables"
    endings: ClassVar[tuple[str, ...]] = ("csv", "md", "tex")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The values as the CSV holds them."""
        differences = [column.key for column in self.columns if column.show is starred]
        return frame_of([row for _, rows in self.sections for _, row in rows], intervals=differences)

    @property
    def empty(self) -> bool:
        """Whether it has no row."""
        return not any(rows for _, rows in self.sections)

    @property
    def headings(self) -> list[str]:
        return [self.first, *(column.heading for column in self.columns)]

    @property
    def groups(self) -> list[tuple[str, list[list[Cell]]]]:
        """The sections as cells, one a column."""
        return [
            (heading, [[cell, *(c.show(row.get(c.key)) for c in self.columns)] for cell, row in rows])
            for heading, rows in self.sections or [("", [])]
        ]

    def save(self, folder: str | Path) -> list[Path]:
        """Write `name` as .csv, .md and .tex; each appears whole or not at all."""
        texts = csv(self.frame), self.to_markdown(), self.to_latex()
        return save(Path(folder) / self.name, dict(zip(self.endings, map(str.encode, texts), strict=True)))

    def to_markdown(self) -> str:
        headings = [heading.replace("\n", " ") for heading in self.headings]
        lines = [f"**{self.title}.** {self.caption}"]
        for heading, rows in self.groups:
            lines += ["", f"*{heading}*"] if heading else []
            lines += ["", *markdown_lines(headings, rows)]
        lines += [line for note in self.notes for line in ("", note)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A floating `table*`, shrunk to a narrower page; it needs the packages booktabs and graphicx."""
        stacks = [heading.split("\n") for heading in self.headings]
        depth = max(map(len, stacks))
        header = zip(*([""] * (depth - len(stack)) + stack for stack in stacks), strict=True)
        return _LATEX.get_template("table.tex.j2").render(table=self, header=list(header))

    def to_html(self) -> str:
        """A `<table>` with its notes, every text escaped."""
        return HTML.get_template("table.html.j2").render(table=self)

    _repr_html_ = to_html


def frame_of(rows: Sequence[dict], keys: Iterable[str] = (), intervals: Collection[str] = ()) -> pd.DataFrame:
    """Rows as a frame, `keys` first: an `Interval` takes three columns, KEY, KEY_low and KEY_high.

    So do `intervals`, keys of intervals that may all be missing. Whole numbers stay whole beside gaps.
    """
    columns = {}
    for key in dict.fromkeys([*keys, *(key for row in rows for key in row)]):
        values = [row.get(key) for row in rows]
        present = [value for value in values if value is not None]
        if key in intervals or any(isinstance(value, Interval) for value in present):
            for name, field in ((key, "value"), (f"{key}_low", "low"), (f"{key}_high", "high")):
                columns[name] = [getattr(value, field, None) for value in values]
        elif 0 < len(present) < len(values) and all(type(value) is int for value in present):
            columns[key] = pd.array(values, "Int64")
        else:
            columns[key] = values
    return pd.DataFrame(columns)


def save(stem: Path, contents: dict[str, bytes]) -> list[Path]:
    """Write `stem` with each ending of `contents`; each file appears whole or not at all."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        with replacing(path) as scratch:
            scratch.write_bytes(content)
    return paths


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV with six significant digits, so without the noise of the last bits."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def total(values: Iterable[float | None]) -> float | None:
    """The sum; a single unknown value makes it unknown, and so does having none."""
    values = list(values)
    return None if None in values or not values else sum(values)


def percent(value: float | None, *, sign: bool = False) -> str:
    """A fraction as a percentage with one decimal, without the percent sign; a gap for None and NaN."""
    if _missing(value):
        return GAP
    shown = round(100 * value, 1) + 0.0  # + 0.0 turns a negative zero into a plain one
    return f"{shown:{'+' if sign and shown else ''}.1f}".replace("-", MINUS)


def span(m: Interval, *, sign: bool = False) -> str:
    """`[low, high]` in percent."""
    return f"[{percent(m.low, sign=sign)}, {percent(m.high, sign=sign)}]"


def points(d: Interval) -> str:
    """A difference in points with its interval, and whether chance may explain it."""
    noise = ", within noise" if d.within_noise else ""
    return f"{percent(d.value, sign=True)} points {span(d, sign=True)}{noise}"


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them: "a", "a and b", "a, b and c"."""
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def markdown_lines(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[str]:
    """A table in Markdown, a line a row; numbers, in every column but the first, are aligned to the right."""
    texts = [headings, ["---"] + ["---:"] * (len(headings) - 1)]
    for row in rows:
        texts.append([f"{f'**{c.text}**' if c.bold else c.text} {c.interval}".strip() for c in row])
    return [f"| {' | '.join(text.replace('|', BAR) for text in line)} |" for line in texts]


_LATEX_WORDS = "backslash asciitilde asciicircum less greater bar dagger periodcentered"
_LATEX_CHARACTERS = str.maketrans(
    {sign: rf"\text{word}{{}}" for sign, word in zip("\\~^<>|†·", _LATEX_WORDS.split(), strict=True)}
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"…": r"\ldots{}", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "−": "$-$", "—": "---", "–": "--"}
)


def latex(text: str) -> str:
    """`text` with every character that LaTeX reads as a command escaped."""
    return text.translate(_LATEX_CHARACTERS)


def _breakable(text: str) -> Markup:
    """Let a browser break dotted names at their parts, and nowhere else."""
    parts = re.split(r"(?<=\w[._])(?=[^\W\d])|(?<=[a-z])(?=[A-Z])", text)
    return Markup("<wbr>").join(parts)


# Both escape every value, so that no cell can be forgotten; the markup is all in the templates.
_OPTIONS = {
    "loader": FileSystemLoader(Path(__file__).with_name("templates")),
    "trim_blocks": True,
    "lstrip_blocks": True,
}
HTML = Environment(autoescape=True, **_OPTIONS)
HTML.filters["breakable"] = _breakable
_LATEX = Environment(
    *("<%", "%>", "<<", ">>", "<#", "#>"),  # blocks, values, comments
    finalize=lambda value: latex(str(value)),
    keep_trailing_newline=True,
    **_OPTIONS,
)
