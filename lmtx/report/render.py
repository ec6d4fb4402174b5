"""A table once, written four ways: CSV for numbers, Markdown, LaTeX and HTML for eyes."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

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


def as_number(digits: int) -> Callable[[dict, str], Cell]:
    """Show a count or an amount with so many decimals."""
    return lambda row, key: number(row.get(key), digits)


class Column(NamedTuple):
    """A column of numbers: its heading, the key of its number in a row, and how a cell shows that number.

    Without `show` it is a count.
    """

    heading: str
    key: str
    show: Callable[[dict, str], Cell] = as_number(0)


@dataclass(frozen=True)
class Table:
    """A table to be read, and the numbers behind it.

    Attributes
    ----------
    name
        File name without ending, such as "t2_main".
    title, caption
        The name of the table, and how to read it.
    columns
        Headings; the first column is text, the others are numbers. A line break is where LaTeX may stack one.
    groups
        (heading, rows) of parts that belong together, a row being one `Cell` a column; the
        heading is "" in a table without parts.
    notes
        Footnotes, among them the reasons for missing results.
    frame
        The numbers as `name.csv` holds them: fractions, seconds, counts; NaN is a gap.
    stage
        The stage whose results it shows.
    """

    name: str
    title: str
    caption: str
    columns: list[str]
    groups: list[tuple[str, list[list[Cell]]]]
    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    stage: str = "evaluate"

    folder: ClassVar[str] = "tables"
    endings: ClassVar[tuple[str, ...]] = ("csv", "md", "tex")

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        caption: str,
        first: str,
        columns: Sequence[Column],
        sections: Sequence[tuple[str, list[tuple[Cell, dict]]]],
        notes: Iterable[str] = (),
        stage: str = "evaluate",
        csv_columns: list[str] | None = None,
    ) -> "Table":
        """Lay out sections of (first cell, row of numbers) in `columns`, below a `first` heading.

        The CSV has every number of the rows, or `csv_columns` of them.
        """
        groups = []
        for heading, named in sections:
            cells = [[cell, *(column.show(row, column.key) for column in columns)] for cell, row in named]
            groups.append((heading, cells))
        rows = [row for _, named in sections for _, row in named]
        frame = frame_of(rows, csv_columns)
        headings = [first, *(column.heading for column in columns)]
        return cls(name, title, caption, headings, groups or [("", [])], frame, list(notes), stage)

    @property
    def empty(self) -> bool:
        """Whether it has no row."""
        return self.frame.empty

    def save(self, folder: str | Path) -> list[Path]:
        """Write `name` as .csv, .md and .tex; each appears whole or not at all."""
        texts = csv(self.frame), self.to_markdown(), self.to_latex()
        return save(Path(folder) / self.name, dict(zip(self.endings, map(str.encode, texts), strict=True)))

    def to_markdown(self) -> str:
        columns = [column.replace("\n", " ") for column in self.columns]
        lines = [f"**{self.title}.** {self.caption}"]
        for heading, rows in self.groups:
            lines += ["", f"*{heading}*"] if heading else []
            lines += ["", *markdown_lines(columns, rows)]
        lines += [line for note in self.notes for line in ("", note)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A floating `table*`, shrunk to a narrower page; it needs the packages booktabs and graphicx."""
        stacks = [column.split("\n") for column in self.columns]
        depth = max(map(len, stacks))
        header = zip(*([""] * (depth - len(stack)) + stack for stack in stacks), strict=True)
        return _LATEX.get_template("table.tex.j2").render(table=self, header=list(header))

    def to_html(self) -> str:
        """A `<table>` with its notes, every text escaped."""
        return HTML.get_template("table.html.j2").render(table=self)

    _repr_html_ = to_html


def as_percent(row: dict, key: str) -> Cell:
    """Show a fraction in percent, with the interval in KEY_low and KEY_high where it has one."""
    return Cell(percent(row.get(key)), interval(row.get(f"{key}_low"), row.get(f"{key}_high")))


def as_difference(row: dict, key: str) -> Cell:
    """Show a difference in points with its interval, and a star where that leaves 0 out."""
    value, low, high = (row.get(column) for column in flat(key, None))
    star = "" if value is None or low <= 0 <= high else "*"
    return Cell(percent(value, sign=True) + star, interval(low, high, sign=True))


def flat(name: str, interval: Interval | None) -> dict[str, float | None]:
    """An interval as the three columns NAME, NAME_low, NAME_high; `None` gives three gaps."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {name + end: getattr(interval, field, None) for end, field in ends.items()}


def flat_all(intervals: Mapping[str, Interval], names: Iterable[str]) -> dict[str, float | None]:
    """`flat` of the intervals of these names, gaps for those that are missing."""
    return {column: value for name in names for column, value in flat(name, intervals.get(name)).items()}


def frame_of(rows: list[dict], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame; whole numbers stay whole in a column with gaps."""
    frame = pd.DataFrame(rows, columns=columns)
    for name in frame:
        numbers = [row[name] for row in rows if row.get(name) is not None]
        if 0 < len(numbers) < len(rows) and all(type(number) is int for number in numbers):
            frame[name] = frame[name].astype("Int64")
    return frame


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


def number(value: float | None, digits: int = 0) -> Cell:
    """A count or an amount with thousands set apart; a gap for None and NaN."""
    return Cell(GAP if _missing(value) else f"{value:,.{digits}f}".replace("-", MINUS))


def percent(value: float | None, *, sign: bool = False) -> str:
    """A fraction as a percentage with one decimal, without the percent sign; a gap for None and NaN."""
    if _missing(value):
        return GAP
    shown = round(100 * value, 1) + 0.0  # + 0.0 turns a negative zero into a plain one
    return f"{shown:{'+' if sign and shown else ''}.1f}".replace("-", MINUS)


def interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """`[low, high]` in percent, or nothing when there is no interval."""
    if _missing(low) or _missing(high):
        return ""
    return f"[{percent(low, sign=sign)}, {percent(high, sign=sign)}]"


def points(d: Interval) -> str:
    """A difference in points with its interval, and whether chance may explain it."""
    noise = ", within noise" if d.within_noise else ""
    return f"{percent(d.value, sign=True)} points {interval(d.low, d.high, sign=True)}{noise}"


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
        values = [f"**{cell.text}**" if cell.bold else cell.text for cell in row]
        texts.append([f"{value} {cell.interval}".strip() for value, cell in zip(values, row, strict=True)])
    return [f"| {' | '.join(text.replace('|', BAR) for text in line)} |" for line in texts]


_LATEX_CHARACTERS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "†": r"\textdagger{}",
        "…": r"\ldots{}",
        "·": r"\textperiodcentered{}",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "−": "$-$",
        "—": "---",
        "–": "--",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def latex(text: str) -> str:
    """`text` with every character that LaTeX reads as a command escaped."""
    return text.translate(_LATEX_CHARACTERS)


def _breakable(text: str) -> Markup:
    """Let a browser break dotted names at their parts, and nowhere else."""
    parts = re.split(r"(?<=\w[._])(?=[^\W\d])|(?<=[a-z])(?=[A-Z])", text)
    return Markup("<wbr>").join(parts)


# Both escape every value, so that no cell can be forgotten; the markup is all in the templates.
_TEMPLATES = FileSystemLoader(Path(__file__).with_name("templates"))
HTML = Environment(loader=_TEMPLATES, autoescape=True, trim_blocks=True, lstrip_blocks=True)
HTML.filters["breakable"] = _breakable
_LATEX = Environment(
    loader=_TEMPLATES,
    block_start_string="<%",
    block_end_string="%>",
    variable_start_string="<<",
    variable_end_string=">>",
    comment_start_string="<#",
    comment_end_string="#>",
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=lambda value: latex(str(value)),
)
