"""Labels from a SKOS vocabulary in Turtle or RDF/XML: a concept is a label, and its URI the label's uid."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax import SAXException

from rdflib import Graph, Literal, URIRef
from rdflib.exceptions import ParserError
from rdflib.namespace import OWL, RDF, SKOS
from rdflib.plugins.parsers.notation3 import BadSyntax
from rdflib.term import Node

from lmtx.config import Describe
from lmtx.corpus import CorpusError
from lmtx.datasets.lines import Faults, kind, lines

_READ = {RDF.type, OWL.deprecated, SKOS.prefLabel, SKOS.altLabel, SKOS.notation, SKOS.broader, SKOS.narrower}
# It logs a traceback for every date that is none; dates are not read here.
logging.getLogger("rdflib.term").setLevel(logging.ERROR)


class Vocabulary(NamedTuple):
    """The concepts of a vocabulary that can be labels."""

    # Dictionaries with `uid`, `text`, `description` and `notation`, by rising uid; the last two may be None.
    concepts: list[dict[str, str | None]]
    left_out: dict[str, str]  # uid of each other concept -> the reason
    note: str  # what was read and left out, as a line for the user


def read(path: Path, language: str | None = None, describe: Describe = "name") -> Vocabulary:
    """Read the skos:Concepts of a vocabulary that have a URI.

    The file is Turtle or RDF/XML, plain or gzipped. `language` is that of the labels, such as "en" (None: in
    which most concepts have a preferred one); a label without a language stands in where a concept has none.
    `describe` is the content of the description: nothing ("name"), the alternative labels, or the preferred
    labels of the broader concepts.

    Raises `CorpusError` when the file is damaged, holds no concept with a preferred label, or none in the
    language.
    """
    graph = _parse(path)
    concepts = sorted(c for c in graph.subjects(RDF.type, SKOS.Concept) if isinstance(c, URIRef))
    names = {concept: _by_language(graph.objects(concept, SKOS.prefLabel)) for concept in concepts}
    # The language: as asked for, or that of most concepts.
    counts = Counter(tag for concept in concepts for tag in names[concept])
    languages = sorted(counts, key=lambda tag: (-counts[tag], tag))
    if not languages:
        raise CorpusError(f"{path} holds no skos:Concept that has a skos:prefLabel; labels are made of these")
    language = languages[0] if language is None else language.lower()
    if language not in languages:
        raise CorpusError(
            f"{path} has no skos:prefLabel in the language {language!r}; there are: "
            f"{', '.join(map(repr, languages))}"
        )
    # A concept with a name in it, or in none, is a label.
    rows, left_out = [], {}
    for concept in concepts:
        name = _in(names[concept], language)
        if any(str(value).lower() in ("true", "1") for value in graph.objects(concept, OWL.deprecated)):
            left_out[str(concept)] = "deprecated"
        elif not name:
            left_out[str(concept)] = f"without a label in {language!r}"
        else:
            broader = {*graph.objects(concept, SKOS.broader), *graph.subjects(SKOS.narrower, concept)}
            others = {
                "name": [],
                "alternatives": _by_language(graph.objects(concept, SKOS.altLabel)).get(language, []),
                "broader": sorted(label for c in broader for label in _in(names.get(c, {}), language)[:1]),
            }[describe]
            notations = [str(notation) for notation in graph.objects(concept, SKOS.notation)]
            rows.append(
                {
                    "uid": str(concept),
                    "text": name[0],
                    "description": ", ".join(dict.fromkeys(o for o in others if o != name[0])) or None,
                    "notation": min(filter(None, notations), default=None),
                }
            )
    note = f"{path}: {len(rows):,} concepts with labels in {language!r}"
    if others := [repr(tag) for tag in languages if tag != language]:
        note += f" (others: {', '.join(others)})"
    for reason, count in sorted(Counter(left_out.values()).items()):
        note += f"; {count:,} {reason} left out"
    return Vocabulary(rows, left_out, note)


class _Graph(Graph):
    """A graph of the statements that are read, which are about a third."""

    def add(self, triple) -> Graph:
        return super().add(triple) if triple[1] in _READ else self


def _parse(path: Path) -> Graph:
    faults = Faults(path)
    content = "".join(line for _, line in lines(path, faults, keep_ends=True))
    faults.check()
    try:
        return _Graph().parse(data=content, format="turtle" if kind(path) == "turtle" else "xml")
    except (BadSyntax, ParserError, SAXException, ValueError, IndexError, AssertionError) as error:
        number, reason = _located(error, content)
        line = content.split("\n")[number - 1].strip()[:60]
        raise CorpusError(
            f"{path}, line {number}: {reason} at {line!r}; get or export the file again"
        ) from None


def _located(error: Exception, content: str) -> tuple[int, str]:
    """The number of the line that a parser's error is about, and the error's reason."""
    if isinstance(error, BadSyntax):  # whose own count of lines is too high behind a comment
        return content.count("\n", 0, error._i) + 1, error._why
    if located := re.match(r"[^:]*:(\d+):\d+: (.*)", str(error)):
        return int(located[1]), located[2]
    if tag := re.match("'(.*)' is not a valid language tag", str(error)):
        return content.count("\n", 0, content.find(f'"{tag[1]}"')) + 1, tag[0]
    # The Turtle parser runs out of the text, with an error of another kind.
    return content.rstrip().count("\n") + 1, "the file ends within a statement"


def _by_language(labels: Iterator[Node]) -> dict[str, list[str]]:
    """Language ("" for none) -> labels in it, sorted, on one line each."""
    grouped = defaultdict(list)
    for label in sorted(label for label in labels if isinstance(label, Literal)):
        if text := " ".join(label.split()):
            grouped[label.language or ""].append(text)
    return grouped


def _in(labels: dict[str, list[str]], language: str) -> list[str]:
    """The labels in a language, or else those without any language."""
    return labels.get(language) or labels.get("") or []
