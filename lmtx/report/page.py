"""The report as one page that needs nothing beside itself: no font, script or image to load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from lmtx.files import replacing
from lmtx.report.drawing import VARIABLES, Drawing
from lmtx.report.points import Point
from lmtx.report.render import GAP, Table, number
from lmtx.report.results import Result, Run, Statistics, cycles
from lmtx.report.template import PAGE, SORTING

_LIGHT = {variable: colour for colour, variable in VARIABLES.items()}
_DARK = {
    **{"--ink": "#e8eaed", "--muted": "#a4abb6", "--grid": "#3a404a", "--paper": "#16181c"},
    **{"--blue": "#56a8e0", "--orange": "#f08f52", "--green": "#35c598", "--purple": "#e3a6c9"},
}
_HOST = {
    **{"processor": "Processor", "cores": "Cores", "memory_gib": "Memory (GiB)"},
    **{"gpu": "GPU", "python": "Python", "system": "System"},
}


@dataclass(frozen=True)
class Provenance:
    """Where results come from: the facts that they share, and a row for each system or axis.

    `rows` hold texts under `headings`, `total` their sums.
    """

    facts: dict[str, str]
    headings: list[str]
    rows: list[list[str]]
    total: list[str]


def provenance(results: Sequence[Result], points: Sequence[Point]) -> list[Provenance]:
    """Group systems and axes of the ablations by commit, host, versions and precision, with time and cost.

    What is there twice is counted once: the best cycle of LMTX, and the points that are another run.
    """
    groups: dict[tuple, dict[str, list[Run]]] = {}
    twice = "lmtx" if any(r.stopped is None for r in cycles(list(results)).values()) else None
    named = [(r.system, r) for r in results if r.stopped is None and r.system != twice]
    named += [(f"ablations: {p.axis}", p) for p in points if p.same_as is None and p.axis != "main"]
    for name, run in named:
        versions = ", ".join(f"{key} {version}" for key, version in sorted(run.versions.items()) if version)
        facts = {
            "Commit": run.commit or "not recorded",
            "Precision": run.precision,
            **{_HOST.get(key, key): value for key, value in run.host.items()},
            "GPU": run.host.get("gpu") or "none",
            "Versions": versions or "not recorded",
        }
        shown = tuple((key, GAP if value is None else str(value)) for key, value in facts.items())
        groups.setdefault(shown, {}).setdefault(name, []).append(run)
    headings = ["System", "Runs", "Parameters", "Seed", "Seconds", "USD", "Requests", "Tokens", "Verdicts"]
    found = []
    for facts, systems in groups.items():
        rows = [_taken(name, runs) for name, runs in systems.items()]
        total = _taken("Total", [run for runs in systems.values() for run in runs])
        found.append(Provenance(dict(facts), headings, rows, [*total[:2], "", "", *total[4:]]))
    return found


def _taken(name: str, runs: Sequence[Run]) -> list[str]:
    """A row of the provenance: how many runs, of which parameters and seeds, their time and cost."""
    hashes = sorted({run.config_hash for run in runs if run.config_hash})
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    tokens = [run.cost.prompt_tokens + run.cost.answer_tokens for run in runs]
    prices = [run.cost.usd for run in runs]
    return [
        name,
        str(len(runs)),
        hashes[0] if len(hashes) == 1 else f"{len(hashes)} sets" if hashes else GAP,
        ", ".join(map(str, seeds)) or GAP,
        number(sum(value or 0 for run in runs for value in run.seconds.values())).text,
        number(None if None in prices else sum(prices), 2).text,
        number(sum(run.cost.requests for run in runs)).text,
        number(sum(tokens)).text,
        number(sum(run.cost.verdicts for run in runs)).text,
    ]


def write_page(
    path: str | Path,
    dataset: str,
    parts: Sequence[Table | Drawing],
    results: Sequence[Result],
    points: Sequence[Point],
    statistics: Statistics | None,
) -> Path:
    """Write the tables and figures in the order given, with a table of contents and the provenance.

    Parts of the ablations that have no numbers are not shown but listed at the end, in one place.
    `statistics` gives the data set's manifest; `None` is a gap that the page names.
    """
    not_run = [part for part in parts if _not_run(part)]
    sections = [
        {
            "id": part.name.replace("_", "-"),
            "name": part.name,
            "title": part.title,
            "stage": part.stage,
            "findings": _findings(part),
            # A figure carries its caption within.
            "text": part.caption if isinstance(part, Table) else "",
            "body": Markup(part.to_html() if isinstance(part, Table) else part.inline_svg()),
            "endings": "csv, md, tex" if isinstance(part, Table) else "csv, pdf, png, svg",
            "folder": "tables" if isinstance(part, Table) else "figures",
        }
        for part in parts
        if not _not_run(part)
    ]
    # autoescape: labels and notes come from files, and end up as text whatever they hold.
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    text = page.render(
        dataset=dataset,
        sections=sections,
        not_run=not_run,
        provenance=provenance(results, points),
        missing=[r for r in results if r.stopped is not None],
        manifest=_lines(statistics.manifest) if statistics else None,
        sorting=Markup(SORTING),
        light=_LIGHT,
        dark=_DARK,
    )
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _findings(part: Table | Drawing) -> list[str]:
    """What the part shows, in sentences; the message of a figure with no others stands within it alone."""
    first = [f"{part.message}."] if isinstance(part, Drawing) and part.findings else []
    return [*first, *part.findings]


def _not_run(part: Table | Drawing) -> bool:
    return part.stage == "ablations" and part.frame.empty


def _lines(values: dict, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as (dotted key, value) lines."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{key}.")
        else:
            lines.append(
                (prefix + str(key), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return lines
