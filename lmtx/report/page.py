"""The study on one page that needs nothing beside itself, in four sentences, and in the table of a README."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmtx.files import replacing
from lmtx.report.render import (
    GAP,
    HTML,
    Cell,
    Table,
    interval,
    listed,
    markdown_lines,
    number,
    percent,
    points,
    total,
)
from lmtx.report.results import Results, cycles, each_once, gain_of_lmtx, measured
from lmtx.report.schema import Interval, Result, Run

if TYPE_CHECKING:
    from lmtx.report.drawing import Drawing

MARKERS = ("<!-- main-table -->", "<!-- /main-table -->")
SHORT = ("zero-shot", "hybrid-tfidf", "maclr", "supervised", "lmtx", "hybrid-lmtx-tfidf")
"""The rows of the README: E0, the rivals, the ceiling, LMTX, and its fusion with words."""
_METRICS = ("P@1", "P@5", "R@10", "R@100")

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


def summary(results: Results) -> dict[str, str]:
    """The study in four sentences: gain, rival, cost and doubt; none where E0 or LMTX has no result."""
    gains = {dataset: gain_of_lmtx(systems) for dataset, systems in results.by_dataset.items()}
    lmtx, zero = (measured(results.systems, name) for name in ("lmtx", "zero-shot"))
    if lmtx is None or zero is None or gains[results.dataset] is None:
        return {}
    compared = [r for r in each_once(results.systems) if "P@1" in (r.against_lmtx or {}) and r is not zero]
    # A rival is measured on all documents, reads no annotation, and does without LMTX.
    rivals = [r for r in compared if r.n == lmtx.n and r.zero_shot]
    rivals = [r for r in rivals if not r.system.startswith(("lmtx", "hybrid-lmtx"))]
    sentences = {
        "Gain": f"On {results.dataset}, the first label of LMTX is right for {_p1(lmtx)} % of {lmtx.n:,} "
        f"test documents, that of its encoder before training for {_p1(zero)} %: "
        f"{points(gains[results.dataset])}."
    }
    if rivals:
        rival = max(rivals, key=lambda r: r.metrics["P@1"].value)
        ahead = points(rival.against_lmtx["P@1"].reverse)
        sentences["Rival"] = f"The rival to beat is “{rival.label}”, {_p1(rival)} %; LMTX minus it: {ahead}."
    if ran := [r for r in cycles(results.systems).values() if r.stopped is None]:
        seconds, usd = sum(s or 0 for r in ran for s in r.seconds.values()), total(r.cost.usd for r in ran)
        price = "at an unknown price" if usd is None else f"for ${usd:,.2f}"
        sentences["Cost"] = (
            f"LMTX took {_duration(seconds)} and {sum(r.cost.requests for r in ran):,} requests to a "
            f"language model {price}, besides the verdicts that were stored; tagging asks none."
        )
    others = [r for r in compared if r.family != "lmtx" and r.against_lmtx["P@1"].within_noise]
    datasets = [dataset for dataset, gain in gains.items() if gain and gain.within_noise]
    doubts = [f"the distance of LMTX to {listed(f'“{r.label}”' for r in others)}"] * bool(others)
    doubts += [f"its gain on {listed(datasets)}"] * bool(datasets)
    chance = f"Chance may explain {' and '.join(doubts)}; each" if doubts else "Each"
    sentences["Doubt"] = f"{chance} row is one run, and its interval is over test documents, not over seeds."
    return sentences


def readme_table(results: Results, names: Collection[str] | None = None) -> str:
    """The systems on `results.dataset`; below them LMTX on each data set of several, its rival and the doubt.

    `names` are the systems to show; None: all, and the table `strings_or_model`. Raises `ValueError` when
    none has a P@1 on the data set.
    """
    systems = [
        r for r in each_once(results.systems) if "P@1" in r.metrics and (names is None or r.system in names)
    ]
    if not systems:
        raise ValueError(f"no system has a P@1 on {results.dataset}; run the `evaluate` stage first")
    rows = []
    for r in systems:
        label = Cell(r.label + ("" if r.zero_shot else " †"))
        difference = _cell((r.against_lmtx or {}).get("P@1"), sign=True)
        rows.append([label, *(_cell(r.metrics.get(m)) for m in _METRICS), difference])
    lines = markdown_lines([f"{results.dataset}, %", *_METRICS, "P@1 − LMTX"], rows)
    sizes = " or ".join(f"{n:,}" for n in sorted({r.n for r in systems if r.n is not None}))
    note = "in brackets 95 % bootstrap intervals over them, paired in the last column."
    if not all(r.zero_shot for r in systems):
        note += " † reads annotations: no zero-shot system."
    lines += ["", f"n = {sizes} test documents; {note}", *_every_dataset(results)]
    if names is None and len(results.by_dataset) > 1:
        from lmtx.report.ablation_tables import strings_or_model

        lines += ["", strings_or_model(results).to_markdown().rstrip()]
    # The tables show the gain, and T4 the cost.
    sentences = [text for name, text in summary(results).items() if name in ("Rival", "Doubt")]
    return "\n".join([*lines, "", " ".join(sentences), ""])


def update_readme(readme: str | Path, results: Results, names: Collection[str] | None = SHORT) -> None:
    """Put `readme_table` between the file's `<!-- main-table -->` and `<!-- /main-table -->`.

    Raises `ValueError`, and leaves the README as it is, when it does not hold each marker once.
    """
    readme = Path(readme)
    text = readme.read_text(encoding="utf-8")
    start, end = MARKERS
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if text.count(start) != 1 or text.count(end) != 1 or not pattern.search(text):
        raise ValueError(f"{readme} needs one {start} and, after it, one {end}")
    table = readme_table(results, names)
    with replacing(readme) as scratch:
        scratch.write_text(pattern.sub(lambda _: f"{start}\n{table}{end}", text), encoding="utf-8")


def _every_dataset(results: Results) -> list[str]:
    """A row a data set: LMTX beside its encoder before training; nothing where there is one data set only."""
    rows = []
    for dataset, systems in results.by_dataset.items():
        pair = [measured(systems, name) for name in ("zero-shot", "lmtx")]
        if all(pair):
            p1, r10 = ([_cell(r.metrics.get(m))._replace(interval="") for r in pair] for m in ("P@1", "R@10"))
            rows.append([Cell(dataset), *p1, _cell(gain_of_lmtx(systems), sign=True), *r10])
    if len(rows) < 2:
        return []
    headings = ["every data set, %", "P@1, E0", "P@1, LMTX", "gain", "R@10, E0", "R@10, LMTX"]
    return ["", *markdown_lines(headings, rows)]


def _cell(m: Interval | None, sign: bool = False) -> Cell:
    return Cell(percent(m.value, sign=sign), interval(m.low, m.high, sign=sign)) if m else Cell(GAP)


def _p1(r: Result) -> str:
    return percent(r.metrics["P@1"].value)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


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


def write_page(path: str | Path, results: Results, sections: "Sequence[Table | Drawing]") -> Path:
    """Write the tables and figures in the order given, with a table of contents and the provenance.

    The summary stands on top. Sections without numbers are listed together at the end.
    """
    from lmtx.report.drawing import VARIABLES

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
