"""The main comparison as a README holds it: few columns, and the summary in words below them."""

import re
from collections.abc import Collection
from pathlib import Path

from lmtx.files import replacing
from lmtx.report import words
from lmtx.report.render import interval, percent
from lmtx.report.results import Results, each_once, measured
from lmtx.report.schema import Interval

MARKERS = ("<!-- main-table -->", "<!-- /main-table -->")
SHORT = ("zero-shot", "hybrid-tfidf", "maclr", "supervised", "lmtx", "hybrid-lmtx-tfidf")
"""The rows of the README: E0, the rivals, the ceiling, LMTX, and its fusion with words."""
_METRICS = ("P@1", "P@5", "R@10", "R@100")


def readme_table(results: Results, names: Collection[str] | None = None) -> str:
    """The systems on `results.dataset`; below them LMTX on each data set of several, its rival and the doubt.

    `names` are the systems to show; None: all. Raises `ValueError` when none has a P@1 on the data set.
    """
    systems = [
        r for r in each_once(results.systems) if "P@1" in r.metrics and (names is None or r.system in names)
    ]
    if not systems:
        raise ValueError(f"no system has a P@1 on {results.dataset}; run the `evaluate` stage first")
    lines = [_row(f"{results.dataset}, %", *_METRICS, "P@1 − LMTX"), _ruler(len(_METRICS) + 1)]
    for r in systems:
        label = r.label.replace("|", "\\|") + ("" if r.zero_shot else " †")
        d = (r.against_lmtx or {}).get("P@1")
        lines.append(_row(label, *(_cell(r.metrics.get(m)) for m in _METRICS), _cell(d, sign=True)))
    sizes = " or ".join(f"{n:,}" for n in sorted({r.n for r in systems if r.n is not None}))
    note = "in brackets 95 % bootstrap intervals over them, paired in the last column."
    if not all(r.zero_shot for r in systems):
        note += " † reads annotations: no zero-shot system."
    lines += ["", f"n = {sizes} test documents; {note}", *_every_dataset(results)]
    # The tables show the gain, and T4 the cost.
    sentences = [text for name, text in words.summary(results).items() if name in ("Rival", "Doubt")]
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
        zero, lmtx = measured(systems, "zero-shot"), measured(systems, "lmtx")
        if zero and lmtx:
            d = (zero.against_lmtx or {}).get("P@1")
            p1, r10 = ([_value(r.metrics.get(m)) for r in (zero, lmtx)] for m in ("P@1", "R@10"))
            rows.append(_row(dataset, *p1, _cell(d and d.reverse, sign=True), *r10))
    if len(rows) < 2:
        return []
    head = _row("every data set, %", "P@1, E0", "P@1, LMTX", "gain", "R@10, E0", "R@10, LMTX")
    return ["", head, _ruler(5), *rows]


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"


def _ruler(numbers: int) -> str:
    return _row("---", *["---:"] * numbers)


def _value(m: Interval | None) -> str:
    return percent(m and m.value)


def _cell(m: Interval | None, sign: bool = False) -> str:
    if m is None:
        return percent(None)
    return f"{percent(m.value, sign=sign)} {interval(m.low, m.high, sign=sign)}"
