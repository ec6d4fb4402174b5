"""A table once, written four ways: CSV for numbers, Markdown, LaTeX and HTML for eyes."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup

from lmtx.files import replacing

GAP = "—"
MINUS = "−"


class Cell(NamedTuple):
    """What a reader sees in one place of a table."""

    text: str
    interval: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table to be read, and the numbers behind it.

    Attributes
    ----------
    name
        File name without ending, such as "t2_main".
    title, caption
        What the table is, and how to read it.
    columns
        Headings; the first column is text, the others are numbers. A line break is where LaTeX may stack one.
    groups
        (heading, rows) of parts that belong together, a row being one `Cell` a column; the
        heading is "" in a table without parts.
    notes
        Footnotes, among them what is missing and why.
    frame
        The numbers as `name.csv` holds them: fractions, seconds, counts; NaN is a gap.
    findings
        Sentences made from the numbers, which the page shows above the table.
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
    findings: list[str] = field(default_factory=list)
    stage: str = "evaluate"

    def save(self, folder: str | Path) -> list[Path]:
        """Write `name` as .csv, .md and .tex; each appears whole or not at all."""
        texts = {
            "csv": csv(self.frame),
            "md": self.to_markdown(),
            "tex": self.to_latex(),
        }
        paths = []
        for ending, text in texts.items():
            paths.append(Path(folder) / f"{self.name}.{ending}")
            with replacing(paths[-1]) as scratch:
                scratch.write_text(text, encoding="utf-8", newline="\n")
        return paths

    def to_markdown(self) -> str:
        columns = [column.replace("\n", " ") for column in self.columns]
        head = [_row(columns), _row(["---"] + ["---:"] * (len(columns) - 1))]
        lines = [f"**{self.title}.** {self.caption}"]
        for heading, rows in self.groups:
            lines += ["", f"*{heading}*"] if heading else []
            lines += ["", *head, *(_row([_markdown(cell) for cell in row]) for row in rows)]
        lines += [line for note in self.notes for line in ("", note)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A floating `table*`, shrunk to a narrower page; it needs the packages booktabs and graphicx."""
        stacks = [column.split("\n") for column in self.columns]
        depth = max(map(len, stacks))
        header = zip(*([""] * (depth - len(stack)) + stack for stack in stacks), strict=True)
        return _LATEX.from_string(_LATEX_TABLE).render(table=self, header=list(header))

    def to_html(self) -> str:
        """A `<table>` with its notes, every text escaped."""
        return _HTML.from_string(_HTML_TABLE).render(table=self)

    _repr_html_ = to_html


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV with six significant digits: what a reader can use, and no noise of the last bits."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")


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


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them: "a", "a and b", "a, b and c"."""
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _markdown(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.bold else cell.text
    return f"{text} {cell.interval}".strip()


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


_LATEX = Environment(
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


def _breakable(text: str) -> Markup:
    """Let a browser break dotted names at their parts, and nowhere else."""
    parts = re.split(r"(?<=\w[._])(?=[^\W\d])|(?<=[a-z])(?=[A-Z])", text)
    return Markup("<wbr>").join(parts)


_HTML = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_HTML.filters["breakable"] = _breakable

# `finalize` escapes every value, so that no cell can be forgotten; the markup is all in the template.
_LATEX_TABLE = r"""% Needs \usepackage{booktabs,graphicx}.
\begin{table*}[t]
\centering
\caption{<< table.title >>. << table.caption >>}
\label{tab:<< table.name.replace("_", "-") >>}

\smallskip
\footnotesize
\setlength{\tabcolsep}{3pt}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{l<% for _ in table.columns[1:] %>r<% endfor %>}
\toprule
<% for line in header %>
<< line[0] >><% for word in line[1:] %> & << word >><% endfor %> \\
<% endfor %>
<% for heading, rows in table.groups %>
\midrule
<% if heading %>
\multicolumn{<< table.columns | length >>}{l}{\emph{<< heading >>}} \\
<% endif %>
<% for row in rows %>
<% for cell in row %>
<% if cell.bold %>\textbf{<< cell.text >>}<% else %><< cell.text >><% endif %>
<% if not loop.last %> & <% endif %><% endfor %> \\
<% if row | selectattr("interval") | list %>
<% for cell in row %><% if cell.interval %>{\tiny << cell.interval >>}<% endif %>
<% if not loop.last %> & <% endif %><% endfor %> \\
<% endif %>
<% endfor %>
<% endfor %>
\bottomrule
\end{tabular}}
<% for note in table.notes %>
\par\smallskip{\raggedright << note >>\par}
<% endfor %>
\end{table*}
"""

_HTML_TABLE = """<table>
<thead><tr>
{% for column in table.columns %}<th scope="col">{{ column | breakable }}</th>{% endfor %}
</tr></thead>
{% for heading, rows in table.groups %}
<tbody>
{% if heading %}
<tr><th colspan="{{ table.columns | length }}" scope="rowgroup">{{ heading }}</th></tr>
{% endif %}
{% for row in rows %}
<tr>
{% for cell in row %}
{% set tag = "th" if loop.first else "td" %}
<{{ tag }}{% if loop.first %} scope="row"{% endif %}>
{%- if cell.bold %}<b>{{ cell.text | breakable }}</b>{% else %}{{ cell.text | breakable }}{% endif %}
{%- if cell.interval %}<br><small>{{ cell.interval }}</small>{% endif -%}
</{{ tag }}>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
{% for note in table.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
"""
