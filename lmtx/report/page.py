"""The report as one page that needs nothing beside itself: no font, script or image to load."""

from collections.abc import Sequence
from pathlib import Path

from lmtx.files import replacing
from lmtx.report.drawing import VARIABLES, Drawing
from lmtx.report.render import GAP, HTML, Table, number, total
from lmtx.report.results import Results, cycles
from lmtx.report.schema import Run
from lmtx.report.summary import summary

_HOST = {
    "processor": "Processor",
    "cores": "Cores",
    "memory_gib": "Memory (GiB)",
    "gpu": "GPU",
    "python": "Python",
    "system": "System",
}
# Only a teacher that is asked over a connection or loaded gives this table a row.
_BY_TEACHER = ("t3_prediction",)
_HEADINGS = ["System", "Runs", "Parameters", "Seed", "Seconds", "USD", "Requests", "Tokens", "Verdicts"]


def provenance(results: Results) -> list[tuple[dict[str, str], list[list[str]]]]:
    """Systems and axes of the ablations by commit, host, versions and precision, with their time and cost.

    Each item holds the facts that its runs share, a row for each system or axis, and last their sum.
    A run that has two names counts once: the best cycle of LMTX, and a point that is another point's run.
    """
    twice = "lmtx" if any(r.stopped is None for r in cycles(results.systems).values()) else None
    runs = [(r.system, r) for r in results.systems if r.stopped is None and r.system != twice]
    runs += [(f"ablations: {p.axis}", p) for p in results.points if p.same_as is None and p.axis != "main"]
    # Runs of the same facts together, by name.
    by_facts: dict[tuple, dict[str, list[Run]]] = {}
    for name, run in runs:
        versions = ", ".join(f"{key} {version}" for key, version in sorted(run.versions.items()) if version)
        facts = {
            "Commit": run.commit or "not recorded",
            "Precision": run.precision,
            **{_HOST.get(key, key): value for key, value in run.host.items()},
            "GPU": run.host.get("gpu") or "none",
            "Versions": versions or "not recorded",
        }
        texts = tuple((key, GAP if value is None else str(value)) for key, value in facts.items())
        by_facts.setdefault(texts, {}).setdefault(name, []).append(run)
    provenances = []
    for texts, by_name in by_facts.items():
        rows = [_sums(name, same) for name, same in by_name.items()]
        last = _sums("Total", [run for same in by_name.values() for run in same])
        provenances.append((dict(texts), [*rows, [*last[:2], "", "", *last[4:]]]))
    return provenances


def _sums(name: str, runs: Sequence[Run]) -> list[str]:
    """A row of the provenance: how many runs, of which parameters and seeds, their time and cost."""
    hashes = sorted({run.config_hash for run in runs if run.config_hash})
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    return [
        name,
        str(len(runs)),
        hashes[0] if len(hashes) == 1 else f"{len(hashes)} sets" if hashes else GAP,
        ", ".join(map(str, seeds)) or GAP,
        number(sum(value or 0 for run in runs for value in run.seconds.values())).text,
        number(total(run.cost.usd for run in runs), 2).text,
        number(sum(run.cost.requests for run in runs)).text,
        number(sum(run.cost.prompt_tokens + run.cost.answer_tokens for run in runs)).text,
        number(sum(run.cost.verdicts for run in runs)).text,
    ]


def write_page(path: str | Path, results: Results, sections: Sequence[Table | Drawing]) -> Path:
    """Write the tables and figures in the order given, with a table of contents and the provenance.

    The summary stands on top. Sections without numbers are listed together at the end.
    """
    statistics = results.statistics[results.dataset]
    text = HTML.get_template("page.html.j2").render(
        dataset=results.dataset,
        summary=summary(results),
        sections=[section for section in sections if not section.empty],
        not_run=[section for section in sections if section.empty and section.name not in _BY_TEACHER],
        provenance=provenance(results),
        headings=_HEADINGS,
        missing=[r for r in results.systems if r.stopped is not None],
        manifest=_lines(statistics.manifest) if statistics else None,
        light={variable: colour for colour, variable in VARIABLES.items()},
    )
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _lines(values: dict, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as (dotted key, value) lines."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append((f"{prefix}{key}", text))
    return lines
