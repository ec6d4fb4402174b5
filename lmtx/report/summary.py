"""The study in short: four sentences, and the table of a README."""

import re
from collections.abc import Collection
from pathlib import Path

from lmtx.files import replacing
from lmtx.report.render import GAP, Cell, interval, listed, markdown_lines, percent, total
from lmtx.report.results import Results, cycles, each_once, gain_of_lmtx, measured
from lmtx.report.schema import Interval, Result

MARKERS = ("<!-- main-table -->", "<!-- /main-table -->")
SHORT = ("zero-shot", "hybrid-tfidf", "maclr", "supervised", "lmtx", "hybrid-lmtx-tfidf")
"""The rows of the README: E0, the rivals, the ceiling, LMTX, and its fusion with words."""
_METRICS = ("P@1", "P@5", "R@10", "R@100")


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
        f"{_difference(gains[results.dataset])}."
    }
    if rivals:
        rival = max(rivals, key=lambda r: r.metrics["P@1"].value)
        ahead = _difference(rival.against_lmtx["P@1"].reverse)
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

    `names` are the systems to show; None: all. Raises `ValueError` when none has a P@1 on the data set.
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


def _difference(d: Interval) -> str:
    """A difference in points with its interval, and whether chance may explain it."""
    noise = ", within noise" if d.within_noise else ""
    return f"{percent(d.value, sign=True)} points {interval(d.low, d.high, sign=True)}{noise}"


def _p1(r: Result) -> str:
    return percent(r.metrics["P@1"].value)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
