"""The report of a study: tables, figures, one page, and the README's numbers.

`load` reads the result files once; everything else is made from the `Results` that it returns.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from lmtx.files import replacing
from lmtx.report.render import GAP, HTML, Cell, gain, listed, markdown_lines, number, points, share, total
from lmtx.report.results import Results, cycles, each_once, gain_of_lmtx, load, measured, sizes
from lmtx.report.schema import Result, Run

__all__ = ["SHORT", "Results", "load", "readme_table", "summary", "update_readme", "write"]

SHORT = ("zero-shot", "hybrid-tfidf", "maclr", "supervised", "lmtx", "hybrid-lmtx-tfidf")
"""The rows of the README: E0, the rivals, the ceiling, LMTX, and its fusion with words."""
_METRICS = ("P@1", "P@5", "R@10", "R@100")
_HOST = {"memory_gib": "Memory (GiB)", "gpu": "GPU"}


def write(results: Results, reports: str | Path, alone: bool = False) -> list[Path]:
    """Write every table, figure and `index.html` into the folder `reports`.

    T1 to T4 hold every data set that has results, `results.dataset` first; T5, T6, the figures and the page's
    title are about that one. A missing result is a labelled gap. A table or figure without any number gets no
    file; the page names the command that runs it. A page that stands `alone`, without its files, as that of
    `make full`, names none. The same results give the same bytes; other files in `reports/tables` and
    `reports/figures` go.

    Returns the paths written, that of the page last.
    """
    # matplotlib takes a second to load, and `load` has no use for it.
    from lmtx.report import ablation_tables, ablations, diagrams, drawing, figures, tables

    # In the order of the page.
    sections = [
        figures.main_comparison(results),
        tables.t1(results),
        tables.t2(results),
        tables.t2_tail(results),
        tables.t2_literal(results),
        ablation_tables.strings_or_model(results),
        figures.by_frequency(results),
        tables.t3(results),
        diagrams.f1_pairs(results),
        diagrams.f2_loop(results),
        tables.t4(results),
        ablation_tables.t5_teachers(results),
        ablations.teacher_map(results),
        *(ablations.of_axis(results, axis) for axis in ablations.AXES),
        ablation_tables.t6_curriculum(results),
        figures.f6_curriculum(results),
        ablation_tables.variants(results),
    ]
    shown = [section for section in sections if not section.empty]
    # Only a teacher that is asked over a connection or loaded gives T3 a row.
    not_run = [s for s in sections if s.empty and s.name != "t3_prediction" and not alone]
    reports = Path(reports)
    paths = [path for section in shown for path in section.save(reports / section.folder)]
    for old in {file for path in paths for file in path.parent.iterdir()} - {*paths}:
        if not old.name.startswith("."):
            old.unlink()
    statistics = results.statistics[results.dataset]
    page = HTML.get_template("page.html.j2").render(
        dataset=results.dataset,
        summary=summary(results),
        sections=shown,
        not_run=not_run,
        provenance=provenance(results),
        missing=[r for r in results.systems if r.stopped is not None],
        manifest=_lines(statistics.manifest) if statistics else None,
        light=drawing.COLOURS,
        alone=alone,
    )
    with replacing(reports / "index.html") as scratch:
        scratch.write_text(page, encoding="utf-8", newline="\n")
    return [*paths, reports / "index.html"]


def summary(results: Results, names: Collection[str] | None = None) -> dict[str, str]:
    """The study in four sentences: gain, rival, cost and doubt; none where E0 or LMTX has no result.

    The doubt is about the systems `names`; None: all.
    """
    gains = {dataset: gain_of_lmtx(systems) for dataset, systems in results.by_dataset.items()}
    lmtx, zero = (measured(results.systems, name) for name in ("lmtx", "zero-shot"))
    if lmtx is None or zero is None or gains[results.dataset] is None:
        return {}
    compared = [r for r in each_once(results.systems) if r.minus_lmtx and r is not zero]
    # A rival is measured on all documents, reads no annotation, and tags without a language model and LMTX.
    rivals = [r for r in compared if r.n == lmtx.n and r.zero_shot and not (r.bill and r.bill.requests)]
    rivals = [r for r in rivals if not r.system.startswith(("lmtx", "hybrid-lmtx"))]
    sentences = {
        "Gain": f"On {results.dataset}, the first label of LMTX is right for {_p1(lmtx)} % of {lmtx.n:,} "
        f"test documents, that of its encoder before training for {_p1(zero)} %: "
        f"{points(gains[results.dataset])}."
    }
    if rivals:
        rival = max(rivals, key=lambda r: r.metrics["P@1"].value)
        ahead = points(rival.minus_lmtx.reverse)
        sentences["Rival"] = f"The rival to beat is “{rival.label}”, {_p1(rival)} %; LMTX minus it: {ahead}."
    if ran := [r for r in cycles(results.systems).values() if r.stopped is None]:
        seconds, usd = sum(s or 0 for r in ran for s in r.seconds.values()), total(r.cost.usd for r in ran)
        price = "at an unknown price" if usd is None else f"for ${usd:,.2f}"
        time = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
        sentences["Cost"] = (
            f"LMTX took {time} and {sum(r.cost.requests for r in ran):,} requests to a language model "
            f"{price}, besides the verdicts that were stored; tagging asks none."
        )
    others = [r for r in compared if r.family != "lmtx" and r.minus_lmtx.within_noise]
    others = [r for r in others if names is None or r.system in names]
    datasets = [dataset for dataset, gained in gains.items() if gained and gained.within_noise]
    doubts = [f"the distance of LMTX to {listed(f'“{r.label}”' for r in others)}"] * bool(others)
    doubts += [f"its gain on {listed(datasets)}"] * bool(datasets)
    chance = f"Chance may explain {' and '.join(doubts)}; each" if doubts else "Each"
    sentences["Doubt"] = f"{chance} system ran once, and its interval is over test documents, not over seeds."
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
        rows.append([label, *(share(r.metrics.get(m)) for m in _METRICS), gain(r.minus_lmtx)])
    lines = markdown_lines([f"{results.dataset}, %", *_METRICS, "P@1 − LMTX"], rows)
    note = "in brackets 95 % bootstrap intervals over them, paired in the last column."
    if not all(r.zero_shot for r in systems):
        note += " † reads annotations: no zero-shot system."
    lines += ["", f"{sizes(systems)}; {note}"]
    # A row a data set: LMTX beside its encoder before training.
    rows = []
    for dataset, systems in results.by_dataset.items():
        pair = [measured(systems, name) for name in ("zero-shot", "lmtx")]
        if all(pair):
            p1, r10 = ([share(r.metrics.get(m))._replace(interval="") for r in pair] for m in ("P@1", "R@10"))
            rows.append([Cell(dataset), *p1, gain(gain_of_lmtx(systems)), *r10])
    if len(rows) > 1:
        headings = ["every data set, %", "P@1, E0", "P@1, LMTX", "gain", "R@10, E0", "R@10, LMTX"]
        lines += ["", *markdown_lines(headings, rows)]
    if names is None and len(results.by_dataset) > 1:
        from lmtx.report.ablation_tables import strings_or_model

        lines += ["", strings_or_model(results).to_markdown().rstrip()]
    # The tables show the gain, and T4 the cost.
    sentences = [text for name, text in summary(results, names).items() if name in ("Rival", "Doubt")]
    return "\n".join([*lines, "", " ".join(sentences), ""])


def update_readme(readme: str | Path, results: Results, names: Collection[str] | None = SHORT) -> None:
    """Put `readme_table` between the file's `<!-- main-table -->` and `<!-- /main-table -->`.

    Raises `ValueError`, and leaves the README as it is, when it does not hold each marker once.
    """
    readme = Path(readme)
    text = readme.read_text(encoding="utf-8")
    start, end = "<!-- main-table -->", "<!-- /main-table -->"
    before, _, rest = text.partition(start)
    if text.count(start) != 1 or text.count(end) != 1 or end not in rest:
        raise ValueError(f"{readme} needs one {start} and, after it, one {end}")
    text = f"{before}{start}\n{readme_table(results, names)}{rest[rest.index(end) :]}"
    with replacing(readme) as scratch:
        scratch.write_text(text, encoding="utf-8")


def provenance(results: Results) -> list[tuple[dict[str, str], list[dict[str, str]]]]:
    """Systems and axes of the ablations by commit, host, versions and precision, with their time and cost.

    Each item holds the facts that its runs share, a row for each system or axis, and last their sum.
    A run that has two names counts once: the best cycle of LMTX, and a point that is another point's run.
    """
    twice = "lmtx" if any(r.stopped is None for r in cycles(results.systems).values()) else None
    runs = [(r.system, r) for r in results.systems if r.stopped is None and r.system != twice]
    runs += [(f"ablations: {p.axis}", p) for p in results.points if p.same_as is None and p.axis != "main"]
    # Runs of the same facts together, by name.
    by_facts = defaultdict(lambda: defaultdict(list))
    for name, run in runs:
        versions = ", ".join(f"{key} {version}" for key, version in sorted(run.versions.items()) if version)
        facts = {
            "Commit": run.commit or "not recorded",
            "Precision": run.precision,
            **{_HOST.get(key, key.capitalize()): value for key, value in run.host.items()},
            "GPU": run.host.get("gpu") or "none",
            "Versions": versions or "not recorded",
        }
        texts = tuple((key, GAP if value is None else str(value)) for key, value in facts.items())
        by_facts[texts][name].append(run)
    provenances = []
    for texts, by_name in by_facts.items():
        rows = [_sums(name, same) for name, same in by_name.items()]
        last = _sums("Total", [run for same in by_name.values() for run in same])
        provenances.append((dict(texts), [*rows, last | {"Parameters": "", "Seed": ""}]))
    return provenances


def _sums(name: str, runs: Sequence[Run]) -> dict[str, str]:
    """A row of the provenance: how many runs, of which parameters and seeds, their time and cost."""
    hashes = sorted({run.config_hash for run in runs if run.config_hash})
    amounts = {
        "Seconds": number(sum(value or 0 for run in runs for value in run.seconds.values())),
        "USD": number(total(run.cost.usd for run in runs), 2),
        "Requests": number(sum(run.cost.requests for run in runs)),
        "Tokens": number(sum(run.cost.prompt_tokens + run.cost.answer_tokens for run in runs)),
        "Verdicts": number(sum(run.cost.verdicts for run in runs)),
    }
    return {
        "System": name,
        "Runs": str(len(runs)),
        "Parameters": hashes[0] if len(hashes) == 1 else f"{len(hashes)} sets" if hashes else GAP,
        "Seed": ", ".join(map(str, sorted({run.seed for run in runs if run.seed is not None}))) or GAP,
        **{heading: amount.text for heading, amount in amounts.items()},
    }


def _p1(r: Result) -> str:
    return share(r.metrics["P@1"]).text


def _lines(values: dict, prefix: str = "") -> Iterable[tuple[str, str]]:
    """A nested dictionary as (dotted key, value) lines."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)
