"""The tables of the study, from result files alone.

Each function returns a `Table`: shown as it stands in a notebook, its numbers in `.frame`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lmtx.report.render import GAP, Cell, Table, interval, number, percent
from lmtx.report.results import (
    AT_PREDICTION,
    Cost,
    Interval,
    Result,
    cycles,
    flat,
    load_results,
    load_statistics,
    measured,
    sample,
    table_of,
)

MAIN_METRICS = ("P@1", "P@3", "P@5", "R@1", "R@3", "R@5", "R@10", "R@100")
TAIL_METRICS = ("P@1", "PSP@1", "P@3", "PSP@3", "P@5", "PSP@5")
PARTS = ("encode", "label", "train", "check")
COSTS = ("usd", "requests", "prompt_tokens", "answer_tokens", "verdicts")


def t1(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T1: each data set in numbers, one row a data set."""
    columns = {
        "train": "Training\ndocuments",
        "dev": "Dev\ndocuments",
        "test": "Test\ndocuments",
        "labels": "Labels",
        "with_truth": "Documents\nwith a truth",
        "truth_labels": "Labels in\na truth",
        "mean_labels_per_document": "Labels per\ndocument",
        "mean_words_per_document": "Words per\ndocument",
        "mean_words_per_label": "Words\nper label",
    }
    frame, rows, notes = [], [], []
    for dataset in datasets:
        found = load_statistics(reports, dataset)
        if found is None:
            notes.append(f"{dataset}: no statistics; the stage prepare writes corpus/{dataset}.json.")
            values = dict.fromkeys(columns)
        else:
            values = found.model_dump()
            values |= values["documents"]
        frame.append({"dataset": dataset, **{key: values[key] for key in columns}})
        cells = [number(values[key], 1 if key.startswith("mean") else 0) for key in columns]
        rows.append([Cell(dataset), *cells])
    return Table(
        "t1_datasets",
        "T1 Data sets",
        "Words are separated by white space; labels per document are counted over documents with a truth.",
        ["Data set", *columns.values()],
        [("", rows)],
        table_of(frame, tuple(key for key in columns if not key.startswith("mean"))),
        notes,
        stage="prepare",
    )


def t2(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T2: the main comparison, one row a system, the data sets below each other."""
    return _comparison(
        reports,
        datasets,
        MAIN_METRICS,
        "t2_main",
        "T2 Main comparison",
        "Percent, with 95 % bootstrap intervals over test documents; the best system that reads no "
        "annotations and is measured on all of them is bold. The last column is the paired difference in "
        "P@1, system minus LMTX, in points; a star marks an interval without 0.",
    )


def t2_tail(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T2 by propensity: PSP@k, where finding a rare label weighs more, beside P@k."""
    return _comparison(
        reports,
        datasets,
        TAIL_METRICS,
        "t2_tail",
        "T2 Rare labels",
        "Percent; PSP@k weighs each hit by the inverse of how likely its label is annotated (Jain et al., "
        "2016), from the counts of the training side's annotations. Intervals, bold and the last column as "
        "in T2.",
    )


def _comparison(
    reports: str | Path, datasets: Sequence[str], metrics: Sequence[str], name: str, title: str, caption: str
) -> Table:
    frame, groups, notes = [], [], {}
    for dataset in datasets:
        results = load_results(reports, dataset)
        # What was measured on some of the documents only is not compared with the rest.
        largest = max((r.n or 0 for r in results), default=0)
        whole = [r for r in results if r.zero_shot and r.n == largest]
        best = {
            name: max((r.metrics[name].value for r in whole if name in r.metrics), default=None)
            for name in metrics
        }
        rows = [_main_row(r, best, largest, notes, dataset) for r in results]
        groups.append((sample(dataset, results), rows))
        frame += [_main_numbers(r, metrics, dataset) for r in results]
    columns = ["System", *metrics, "P@1\n− LMTX"]
    return Table(name, title, caption, columns, groups, table_of(frame, ("n",)), list(notes))


def t2_literal(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T2 by what stands in the text: tags that a document spells out, and tags that it does not."""
    kinds, metrics = {"literal": "Literal", "other": "Other"}, ("P@1", "R@10")
    frame, groups, notes = [], [], {}
    for dataset in datasets:
        rows = []
        results = [r for r in load_results(reports, dataset) if r.by_literalness]
        for r in results:
            row = {"dataset": dataset, "system": r.system, "label": r.label}
            cells = [_label(r, notes, dataset)]
            for kind in kinds:
                part = r.by_literalness[kind]
                row[f"{kind}_n"] = part.n
                for metric in metrics:
                    m = part.metrics.get(metric)
                    row |= flat(f"{kind}_{metric}", m)
                    cells.append(Cell(percent(m.value), interval(m.low, m.high)) if m else Cell(GAP))
                d = (part.against_lmtx or {}).get("P@1")
                row |= flat(f"{kind}_P@1_minus_lmtx", d)
                cells.append(_paired(d))
            frame.append(row)
            rows.append(cells)
        if rows:
            sizes = ", ".join(f"{results[0].by_literalness[kind].n:,} {kind}" for kind in kinds)
            groups.append((f"{dataset}, test documents: {sizes}", rows))
    return Table(
        "t2_literal",
        "T2 Labels in the text",
        "Percent, over the documents with an annotated label whose name stands in their text (literal) and "
        "over those with one whose name does not (other); labels of the other kind are no candidates. "
        "Differences as in T2.",
        [
            "System",
            *(f"{name}\n{column}" for name in kinds.values() for column in (*metrics, "P@1 − LMTX")),
        ],
        groups or [("", [])],
        table_of(frame, ()),
        list(notes),
    )


def t3(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T3: LMTX against a language model at prediction time: quality, and what 1,000 documents cost."""
    metrics, per_thousand = ("P@1", "P@5", "R@10"), ("requests", "prompt_tokens", "answer_tokens", "usd")
    frame, groups, notes = [], [], {}
    for dataset in datasets:
        results, rows = load_results(reports, dataset), []
        lmtx = measured(results, "lmtx")
        for r in results:
            if r.system not in AT_PREDICTION:
                continue
            row = {"dataset": dataset, "system": r.system, "label": r.label, "n": r.n}
            for name in metrics:
                row |= flat(name, r.metrics.get(name))
            scale = 1000 / r.n if r.n else None
            # The teacher of LMTX is gone at prediction time: it sends nothing.
            bill = dict.fromkeys(per_thousand, 0) if r is lmtx else r.bill and r.bill.model_dump()
            for key in per_thousand:
                known = bill and bill[key] is not None and scale
                row[f"{key}_per_1000"] = bill[key] * scale if known else None
            parts = ("rank",) if r is lmtx else ("ask", "encode", "rank")
            seconds = [r.seconds[part] for part in parts if r.seconds.get(part) is not None]
            row["seconds_per_1000"] = sum(seconds) * scale if seconds and scale else None
            frame.append(row)
            cells = [_label(r, notes, dataset)]
            for name in metrics:
                m = r.metrics.get(name)
                cells.append(Cell(percent(m.value), interval(m.low, m.high)) if m else Cell(GAP))
            cells += [number(row[f"{key}_per_1000"], 2 if key == "usd" else 0) for key in per_thousand]
            rows.append([*cells, number(row["seconds_per_1000"], 1)])
        groups.append((sample(dataset, results), rows))
    return Table(
        "t3_prediction",
        "T3 A language model at prediction time",
        "Quality in percent with 95 % bootstrap intervals; then what tagging 1,000 documents asks for where "
        "nothing is stored yet, and the seconds it took in this run on the host that the provenance names. "
        "LMTX's are for embedding the documents and searching; its training is in T4. The re-ranker's leave "
        "out E0's embedding of the documents, and what a teacher has answered before takes none.",
        [
            "System",
            *metrics,
            "Requests\nper 1,000",
            "Prompt tokens\nper 1,000",
            "Answer tokens\nper 1,000",
            "USD\nper 1,000",
            "Seconds\nper 1,000",
        ],
        groups,
        table_of(frame, ("n",)),
        list(notes),
    )


def t4(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T4: seconds and cost by part, one row a system; LMTX's row is the sum over its cycles."""
    results = {
        dataset: [r for r in _whole_curriculum(load_results(reports, dataset)) if r.family != "hybrid"]
        for dataset in datasets
    }
    measured = {part for found in results.values() for r in found for part in r.seconds}
    parts = [*PARTS, *sorted(measured - set(PARTS))]
    frame, groups, notes = [], [], {}
    for dataset, found in results.items():
        rows = []
        for r in found:
            seconds = {part: r.seconds.get(part) for part in parts}
            known = [value for value in seconds.values() if value is not None]
            seconds["total"] = sum(known) if known else None
            cost = dict.fromkeys(COSTS) if r.stopped else {key: getattr(r.cost, key) for key in COSTS}
            frame.append(
                {
                    "dataset": dataset,
                    "system": r.system,
                    "label": r.label,
                    **{f"{part}_seconds": value for part, value in seconds.items()},
                    **cost,
                }
            )
            cells = [number(value, 1) for value in seconds.values()]
            cells += [number(value, 2 if key == "usd" else 0) for key, value in cost.items()]
            rows.append([_label(r, notes, dataset), *cells])
        groups.append((dataset, rows))
    return Table(
        "t4_cost",
        "T4 Time and cost by part",
        "Seconds on the host that the provenance names. Requests, tokens and dollars are what the run asked "
        "for; verdicts also count those taken from the store. LMTX is the sum over its cycles.",
        [
            "System",
            *(f"{part[:1].upper()}{part[1:]}\n(s)" for part in parts),
            "Total\n(s)",
            "USD",
            "Requests",
            "Prompt\ntokens",
            "Answer\ntokens",
            "Verdicts",
        ],
        groups,
        table_of(frame, COSTS[1:]),
        list(notes),
    )


def _whole_curriculum(results: list[Result]) -> list[Result]:
    """The results with LMTX's cost summed over its cycles: all of them are paid for, one is kept."""
    ran = [r for r in cycles(results).values() if r.stopped is None]
    parts = dict.fromkeys(part for r in ran for part, value in r.seconds.items() if value is not None)
    whole = {
        "seconds": {part: sum(r.seconds.get(part) or 0 for r in ran) for part in parts},
        "cost": Cost(**{key: _sum(getattr(r.cost, key) for r in ran) for key in COSTS}),
    }
    return [r.model_copy(update=whole) if r.system == "lmtx" and ran else r for r in results]


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, which a single unknown value makes unknown."""
    values = list(values)
    return None if None in values else sum(values)


def _main_row(
    r: Result, best: dict[str, float | None], largest: int, notes: dict[str, None], dataset: str
) -> list[Cell]:
    cells = [_label(r, notes, dataset)]
    if r.system == "lmtx" and r.cycle is not None:
        notes[f"{r.label} ({dataset}) is cycle {r.cycle.number}, which the teacher's check keeps."] = None
    for name in best:
        m = r.metrics.get(name)
        if m is None:
            cells.append(Cell(GAP))
        else:
            bold = r.zero_shot and m.value == best[name] and r.n == largest
            cells.append(Cell(percent(m.value), interval(m.low, m.high), bold))
    return [*cells, _paired((r.against_lmtx or {}).get("P@1"))]


def _paired(d: Interval | None) -> Cell:
    """A paired difference with its interval, and a star where that leaves 0 out."""
    if d is None:
        return Cell(GAP)
    mark = "" if d.low <= 0 <= d.high else "*"
    return Cell(percent(d.value, sign=True) + mark, interval(d.low, d.high, sign=True))


def _main_numbers(r: Result, metrics: Sequence[str], dataset: str) -> dict:
    row = {"dataset": dataset, "system": r.system, "label": r.label, "family": r.family, "n": r.n}
    for name in metrics:
        row |= flat(name, r.metrics.get(name))
    row |= flat("P@1_minus_lmtx", (r.against_lmtx or {}).get("P@1"))
    return row | {"gap": r.stopped, "notes": "; ".join(r.notes)}


def _label(r: Result, notes: dict[str, None], dataset: str) -> Cell:
    """The system's name, and in `notes` what a reader must know about it."""
    if r.stopped is not None:
        notes[f"{GAP} {r.label} ({dataset}): no result: {r.stopped}."] = None
    for note in r.notes:
        notes[f"{'' if r.zero_shot else '† '}{r.label} ({dataset}): {note}."] = None
    return Cell(r.label if r.zero_shot else f"{r.label} †")
