"""Parse docstrings to plain text: a summary, paragraphs, and the entries of *See Also*.

numpydoc's own parser requires Sphinx, and does not remove sections from the text.
"""

import inspect
import re
from dataclasses import dataclass
from itertools import pairwise
from textwrap import dedent

CUT = {"see also", "example", "examples", "reference", "references", "array api standard support"}
# Directives whose body is prose; the others (plots, code, images, version notes) are markup or noise.
PROSE = {"note", "warning", "important", "tip", "hint", "caution", "attention", "math", "admonition"}

_UNDERLINE = re.compile(r"([-=~^#*\"'+])\1{2,}$")
_DIRECTIVE = re.compile(r"\.\. ?([A-Za-z][\w:-]*?) ?::(?: +(.*))?$")
_RUBRIC = re.compile(r"\.\. rubric:: +(.*)|\*\*([\w ]+?):?\*\*:?$")
_TITLE = "\0"  # marks section titles between two steps
_TEMPLATE = re.compile(r"(?:%\(\w+\)s\s*)+")
_COMMENT = re.compile(r"\.\.( |$)")
_SIGNATURE = re.compile(r"(?:[\w, \[\]]+ = )?[A-Za-z_][\w.]*\(")
_SEE_ALSO = re.compile(r"see also\b:?(.*)", re.IGNORECASE)
_ROLE = r"(?::[\w:+-]+:)?"
_NAMED = re.compile(rf"{_ROLE}`+(?:[^`<]*<)?[~!]?\.?([A-Za-z_][\w.]*?)(?:\(\))?>?`+")
_PLAIN = re.compile(r"~?\.?([A-Za-z_][\w.-]*\w|\w)(?:\(\))?\.?")
_OTHER_ROLES = re.compile(r":(?:ref|doc|term|mod|rc|pep|rfc|math|attr-ref|std:[\w-]+):`[^`]*`")


@dataclass(frozen=True)
class Docstring:
    """A docstring as plain text."""

    summary: str  # the first paragraph that is no section title, as one line; "" where there is none
    body: str  # the other paragraphs, one a line, without the sections See Also, Examples and References
    # The names that the See Also sections list, as written (`dot`, `numpy.dot`, `.Axes.plot`), in order; a
    # leading dot, as in Sphinx, says that a name may continue to the left.
    see_also: tuple[str, ...]

    @property
    def words(self) -> int:
        return len(self.summary.split()) + len(self.body.split())


def parse(docstring: str) -> Docstring:
    """Split a docstring in numpydoc, Google or plain reStructuredText style."""
    lines = [line.rstrip() for line in inspect.cleandoc(docstring).expandtabs(4).splitlines()]
    lines = _without_signatures([line if line.strip() != "--" else "" for line in lines])
    text, listed = _cut_sections(lines)
    paragraphs = _paragraphs(_without_markup(text))
    while paragraphs and paragraphs[0].startswith(_TITLE):  # such as Returns, where there is no summary
        del paragraphs[0]
    summary, *rest = [paragraph.strip(_TITLE) for paragraph in paragraphs] or [""]
    return Docstring(summary, "\n".join(rest), tuple(dict.fromkeys(entries(listed))))


def entries(lines: list[str]) -> list[str]:
    """Return the names that the lines of a See Also section list; descriptions, indented, are not searched.

    A line that is prose instead of an entry gives the names it marks up.
    """
    all_names: list[str] = []
    continues = False
    for line in lines:
        if not line.strip() or (line[:1].isspace() and not continues):
            continue
        names, continues = _entry(_OTHER_ROLES.sub("", line.strip()))
        all_names += names
    return all_names


def _entry(line: str) -> tuple[list[str], bool]:
    """Return the names at the head of one entry, and whether the list goes on in the next line."""
    rest = re.sub(r"^[-*•] +", "", line)
    names: list[str] = []
    while rest:
        match = _NAMED.match(rest) or _PLAIN.match(rest)
        if match is None:
            break
        after = rest[match.end() :].lstrip()
        names.append(_spelled(match))
        if after[:1] in {",", ";", "/"}:
            rest = after[1:].lstrip()
            continue
        if after == "" or after[0] == ":" or after[:2] in {"--", "- "} or after[0] in "(–—":
            return names, False
        break
    else:
        return names, bool(names)
    return [_spelled(match) for match in _NAMED.finditer(line)], False


def _spelled(match: re.Match) -> str:
    """Return the name in a match, with Sphinx's leading dot."""
    start = match.start(1)
    dot = "." if start and match.string[start - 1] == "." else ""
    return dot + match.group(1).rstrip(".")


def _without_signatures(lines: list[str]) -> list[str]:
    """Drop the call signatures that compiled functions put before their first sentence."""
    while lines and _SIGNATURE.match(lines[0]):
        depth = end = 0
        for end, line in enumerate(lines):  # noqa: B007
            depth += line.count("(") - line.count(")")
            if depth <= 0 or not line:
                break
        tail = lines[end][lines[end].rfind(")") + 1 :].strip()
        blank = end + 1 >= len(lines) or not lines[end + 1] or _SIGNATURE.match(lines[end + 1])
        if depth != 0 or (tail and not tail.startswith(("->", ":"))) or not blank:
            break
        lines = lines[end + 1 :]
        while lines and not lines[0].strip():
            lines = lines[1:]
    return lines


def _cut_sections(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines without the sections to cut, and the lines of the See Also sections."""
    remaining: list[str] = []
    listed: list[str] = []
    i = 0
    while i < len(lines):
        title, start, end = _section(lines, i)
        name = title.strip(" :").lower()
        if name not in CUT:
            remaining.append(lines[i])
            i += 1
            continue
        if name == "see also":
            opening = _DIRECTIVE.match(lines[i].strip()) or _SEE_ALSO.match(lines[i].strip())
            inline = opening.groups()[-1] if opening else None
            listed += ["", (inline or "").strip(), *dedent("\n".join(lines[start:end])).splitlines()]
        i = end
    return remaining, listed


def _section(lines: list[str], i: int) -> tuple[str, int, int]:
    """Return title ("" for none), first content line and end of the section that line i opens."""
    title = _title(lines, i)
    if title:
        start = end = i + (1 if _RUBRIC.match(lines[i].strip()) else 2)
        while end < len(lines) and not _title(lines, end):
            end += 1
        return title, start, end
    line = lines[i].strip()
    directive = _DIRECTIVE.match(line)
    if directive and directive.group(1) == "seealso":
        return "see also", i + 1, _block_end(lines, i)
    sentence = _SEE_ALSO.match(line) if i == 0 or not lines[i - 1] else None
    if sentence:
        inline = sentence.group(1).strip(" .")
        return "see also", i + 1, lines.index("", i) if inline and "" in lines[i:] else _block_end(lines, i)
    if line.lower().rstrip(":") in CUT and (line.endswith(":") or i == 0 or not lines[i - 1]):
        return line, i + 1, _block_end(lines, i)
    return "", i, i


def _title(lines: list[str], i: int) -> str:
    """Return the title at line i if it is underlined or a rubric, else ""."""
    line = lines[i].strip()
    rubric = _RUBRIC.match(line)
    if rubric:
        return rubric.group(1) or rubric.group(2)
    underlined = i + 1 < len(lines) and _UNDERLINE.match(lines[i + 1].strip())
    return line if line and underlined and not _UNDERLINE.match(line) else ""


def _block_end(lines: list[str], i: int) -> int:
    """Find the end of the block that line i opens: its deeper lines or, for a title, its paragraph."""
    depth = _indent(lines[i])
    end = i + 1
    while end < len(lines) and (not lines[end] or _indent(lines[end]) > depth):
        end += 1
    if not lines[i].strip().startswith("..") and not any(lines[i + 1 : end]):
        while end < len(lines) and lines[end]:
            end += 1
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _without_markup(lines: list[str]) -> list[str]:
    """Drop doctests, comments, targets, footnotes and directives without prose; keep the prose of others."""
    remaining: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i].strip()
        directive = _DIRECTIVE.match(line)
        if directive and directive.group(1) in PROSE:
            remaining += ["", directive.group(2) or "", ""]
            i += 1
        elif _COMMENT.match(line):
            i = _block_end(lines, i)
            remaining.append("")
        elif line.startswith(">>>"):
            while i < len(lines) and lines[i]:
                i += 1
        elif _TEMPLATE.fullmatch(line) or (line and not set(line) - set("=-+|~ ")):
            if title := remaining and _UNDERLINE.match(line) and remaining[-1].strip():
                remaining[-1] = _TITLE + title
            remaining.append("")
            i += 1
        else:
            remaining.append(lines[i])
            i += 1
    return remaining


def _paragraphs(lines: list[str]) -> list[str]:
    """Join each run of lines without a blank one to one line of plain words; drop titles without content.

    The titles that stay keep their mark.
    """
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", "\n".join(lines))]
    blocks = [plain for block in blocks if (plain := _plain(block))]
    return [
        block for block, following in pairwise([*blocks, _TITLE]) if not (block[0] == following[0] == _TITLE)
    ]


def _plain(text: str) -> str:
    """Remove reStructuredText's inline markup."""
    text = re.sub(r"\s*\[(?:\d+|[A-Z]\w*)\]_", "", text)
    text = re.sub(r":[\w:+-]+:`[~!]?\.?([^`<]*?)(?: *<[^`>]*>)?`", r"\1", text)
    text = re.sub(r"`([^`<]+?) *<[^`>]*>`__?", r"\1", text)
    text = re.sub(r"(?<!`)`[~!]?\.?([A-Za-z_][^`]*)`(?!`)", r"\1", text)
    text = re.sub(r"``?([^`]+)``?_{0,2}", r"\1", text)
    text = re.sub(r"\*\*?([\w.,-]+)\*\*?(?!\w)", r"\1", text)
    text = re.sub(r"(?<=\w)\\(?=s\b)", "", text)
    return re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text).replace("::", ":").strip()
