"""The tables of the study, from its results.

Each function returns a `Table`: shown as it stands in a notebook, its numbers in `.frame`.
"""

from collections.abc import Iterable, Sequence

from lmtx.report.frames import flat, frame_of
from lmtx.report.render import (
    GAP,
    Cell,
    Column,
    Table,
    as_difference,
    as_number,
    as_quality,
    cells,
    headings,
)
from lmtx.report.results import Results, cycles, measured, on_documents
from lmtx.report.schema import Cost, Result

MAIN_METRICS = ("P@1", "P@3", "P@5", "R@1", "R@3", "R@5", "R@10", "R@100")
TAIL_METRICS = ("P@1", "PSP@1", "P@3", "PSP@3", "P@5", "PSP@5")
# The systems that answer the question of T3: what does a language model at prediction time cost?
AT_PREDICTION = ("lmtx", "rerank", "icxml")
_WORK = ("encode", "label", "train", "check")
_COUNT, _TENTHS, _CENTS = as_number(), as_number(1), as_number(2)
_COST = [
    Column("USD", "usd", _CENTS),
    Column("Requests", "requests", _COUNT),
    Column("Prompt\ntokens", "prompt_tokens", _COUNT),
    Column("Answer\ntokens", "answer_tokens", _COUNT),
    Column("Verdicts", "verdicts", _COUNT),
]


def t1(results: Results) -> Table:
    """T1: each data set in numbers, one row a data set."""
    counts = [
        Column("Training\ndocuments", "train", _COUNT),
        Column("Dev\ndocuments", "dev", _COUNT),
        Column("Test\ndocuments", "test", _COUNT),
        Column("Labels", "labels", _COUNT),
        Column("Documents\nwith a truth", "with_truth", _COUNT),
        Column("Labels in\na truth", "truth_labels", _COUNT),
    ]
    columns = [
        *counts,
        Column("Labels per\ndocument", "mean_labels_per_document", _TENTHS),
        Column("Words per\ndocument", "mean_words_per_document", _TENTHS),
        Column("Words\nper label", "mean_words_per_label", _TENTHS),
    ]
    rows, notes = [], []
    for dataset, statistics in results.statistics.items():
        values = {}
        if statistics is None:
            notes.append(f"{dataset}: no statistics; the stage prepare writes corpus/{dataset}.json.")
        else:
            values = statistics.model_dump() | statistics.documents.model_dump()
        rows.append({"dataset": dataset} | {column.key: values.get(column.key) for column in columns})
    return Table(
        "t1_datasets",
        "T1 Data sets",
        "Words are separated by white space; labels per document are counted over documents with a truth.",
        headings("Data set", columns),
        [("", [[Cell(row["dataset"]), *cells(row, columns)] for row in rows])],
        frame_of(rows, [column.key for column in counts]),
        notes,
        stage="prepare",
    )


def t2(results: Results) -> Table:
    """T2: the main comparison, one row a system, the data sets below each other."""
    return _comparison(
        results,
        MAIN_METRICS,
        "t2_main",
        "T2 Main comparison",
        "Percent, with 95 % bootstrap intervals over test documents; the best system that reads no "
        "annotations and is measured on all of them is bold. The last column is the paired difference in "
        "P@1, system minus LMTX, in points; a star marks an interval without 0.",
    )


def t2_tail(results: Results) -> Table:
    """T2 by propensity: PSP@k, where finding a rare label weighs more, beside P@k."""
    return _comparison(
        results,
        TAIL_METRICS,
        "t2_tail",
        "T2 Rare labels",
        "Percent; PSP@k weighs each hit by the inverse of how likely its label is annotated (Jain et al., "
        "2016), from the counts of the training side's annotations. Intervals, bold and the last column as "
        "in T2.",
    )


def _comparison(results: Results, metrics: Sequence[str], name: str, title: str, caption: str) -> Table:
    columns = [Column(metric, metric, as_quality) for metric in metrics]
    last = Column("P@1\n− LMTX", "P@1_minus_lmtx", as_difference)
    rows, groups, notes = [], [], {}
    for dataset, systems in results.by_dataset.items():
        # What was measured on some of the documents only is not compared with the rest.
        largest = max((r.n or 0 for r in systems), default=0)
        compared = [r for r in systems if r.zero_shot and r.n == largest]
        best = {}
        for metric in metrics:
            values = (r.metrics[metric].value for r in compared if metric in r.metrics)
            best[metric] = max(values, default=None)
        groups.append((on_documents(dataset, systems), []))
        for r in systems:
            row = _identity(dataset, r) | {"family": r.family, "n": r.n}
            for metric in metrics:
                row |= flat(metric, r.metrics.get(metric))
            row |= flat("P@1_minus_lmtx", (r.against_lmtx or {}).get("P@1"))
            rows.append(row | {"gap": r.stopped, "notes": "; ".join(r.notes)})
            label = _label(dataset, r, notes)
            if r.system == "lmtx" and r.cycle is not None:
                note = f"{r.label} ({dataset}) is cycle {r.cycle.number}, which the teacher's check keeps."
                notes[note] = None
            qualities = [
                cell._replace(bold=r in compared and row[metric] is not None and row[metric] == best[metric])
                for metric, cell in zip(metrics, cells(row, columns), strict=True)
            ]
            groups[-1][1].append([label, *qualities, *cells(row, [last])])
    heads = headings("System", [*columns, last])
    return Table(name, title, caption, heads, groups, frame_of(rows, ("n",)), list(notes))


def t2_literal(results: Results) -> Table:
    """T2 by what stands in the text: tags that a document spells out, and tags that it does not."""
    kinds, metrics = {"literal": "Literal", "other": "Other"}, ("P@1", "R@10")
    columns = []
    for kind, heading in kinds.items():
        columns += [Column(f"{heading}\n{metric}", f"{kind}_{metric}", as_quality) for metric in metrics]
        columns.append(Column(f"{heading}\nP@1 − LMTX", f"{kind}_P@1_minus_lmtx", as_difference))
    rows, groups, notes = [], [], {}
    for dataset, systems in results.by_dataset.items():
        split = [r for r in systems if r.by_literalness]
        if split:
            sizes = ", ".join(f"{split[0].by_literalness[kind].n:,} {kind}" for kind in kinds)
            groups.append((f"{dataset}, test documents: {sizes}", []))
        for r in split:
            row = _identity(dataset, r)
            for kind in kinds:
                pairs = r.by_literalness[kind]
                row[f"{kind}_n"] = pairs.n
                for metric in metrics:
                    row |= flat(f"{kind}_{metric}", pairs.metrics.get(metric))
                row |= flat(f"{kind}_P@1_minus_lmtx", (pairs.against_lmtx or {}).get("P@1"))
            rows.append(row)
            groups[-1][1].append([_label(dataset, r, notes), *cells(row, columns)])
    return Table(
        "t2_literal",
        "T2 Labels in the text",
        "Percent, over the documents with an annotated label whose name stands in their text (literal) and "
        "over those with one whose name does not (other); labels of the other kind are no candidates. "
        "Differences as in T2.",
        headings("System", columns),
        groups or [("", [])],
        frame_of(rows, ()),
        list(notes),
    )


def t3(results: Results) -> Table:
    """T3: LMTX against a language model at prediction time: quality, and what 1,000 documents cost."""
    metrics, per_thousand = ("P@1", "P@5", "R@10"), ("requests", "prompt_tokens", "answer_tokens", "usd")
    columns = [
        *(Column(metric, metric, as_quality) for metric in metrics),
        Column("Requests\nper 1,000", "requests_per_1000", _COUNT),
        Column("Prompt tokens\nper 1,000", "prompt_tokens_per_1000", _COUNT),
        Column("Answer tokens\nper 1,000", "answer_tokens_per_1000", _COUNT),
        Column("USD\nper 1,000", "usd_per_1000", _CENTS),
        Column("Seconds\nper 1,000", "seconds_per_1000", _TENTHS),
    ]
    rows, groups, notes = [], [], {}
    for dataset, systems in results.by_dataset.items():
        lmtx = measured(systems, "lmtx")
        groups.append((on_documents(dataset, systems), []))
        for r in systems:
            if r.system not in AT_PREDICTION:
                continue
            row = _identity(dataset, r) | {"n": r.n}
            for metric in metrics:
                row |= flat(metric, r.metrics.get(metric))
            # The teacher of LMTX is gone at prediction time: it sends nothing.
            bill = Cost() if r is lmtx else r.bill
            for key in per_thousand:
                row[f"{key}_per_1000"] = _per_thousand(getattr(bill, key, None), r)
            work = ("rank",) if r is lmtx else ("ask", "encode", "rank")
            seconds = [r.seconds[step] for step in work if r.seconds.get(step) is not None]
            row["seconds_per_1000"] = _per_thousand(sum(seconds) if seconds else None, r)
            rows.append(row)
            groups[-1][1].append([_label(dataset, r, notes), *cells(row, columns)])
    return Table(
        "t3_prediction",
        "T3 A language model at prediction time",
        "Quality in percent with 95 % bootstrap intervals; then what tagging 1,000 documents asks for where "
        "nothing is stored yet, and the seconds it took in this run on the host that the provenance names. "
        "LMTX's are for embedding the documents and searching; its training is in T4. The re-ranker's leave "
        "out E0's embedding of the documents, and what a teacher has answered before takes none.",
        headings("System", columns),
        groups,
        frame_of(rows, ("n",)),
        list(notes),
    )


def t4(results: Results) -> Table:
    """T4: seconds and cost by part of the work, one row a system; LMTX's row is the sum over its cycles."""
    by_dataset = {
        dataset: [r for r in _whole_curriculum(systems) if r.family != "hybrid"]
        for dataset, systems in results.by_dataset.items()
    }
    others = {step for systems in by_dataset.values() for r in systems for step in r.seconds} - {*_WORK}
    work = [*_WORK, *sorted(others)]
    columns = [Column(f"{step[:1].upper()}{step[1:]}\n(s)", f"{step}_seconds", _TENTHS) for step in work]
    columns += [Column("Total\n(s)", "total_seconds", _TENTHS), *_COST]
    rows, groups, notes = [], [], {}
    for dataset, systems in by_dataset.items():
        groups.append((dataset, []))
        for r in systems:
            row = _identity(dataset, r) | {f"{step}_seconds": r.seconds.get(step) for step in work}
            seconds = [value for value in r.seconds.values() if value is not None]
            row["total_seconds"] = sum(seconds) if seconds else None
            row |= {key: None if r.stopped else getattr(r.cost, key) for _, key, _ in _COST}
            rows.append(row)
            groups[-1][1].append([_label(dataset, r, notes), *cells(row, columns)])
    return Table(
        "t4_cost",
        "T4 Time and cost by part",
        "Seconds on the host that the provenance names. Requests, tokens and dollars are what the run asked "
        "for; verdicts also count those taken from the store. LMTX is the sum over its cycles.",
        headings("System", columns),
        groups,
        frame_of(rows, [key for _, key, _ in _COST[1:]]),
        list(notes),
    )


def _whole_curriculum(systems: list[Result]) -> list[Result]:
    """The systems with LMTX's cost summed over its cycles: all of them are paid for, one is kept."""
    ran = [r for r in cycles(systems).values() if r.stopped is None]
    steps = dict.fromkeys(step for r in ran for step, value in r.seconds.items() if value is not None)
    whole = {
        "seconds": {step: sum(r.seconds.get(step) or 0 for r in ran) for step in steps},
        "cost": Cost(**{key: _sum(getattr(r.cost, key) for r in ran) for _, key, _ in _COST}),
    }
    return [r.model_copy(update=whole) if r.system == "lmtx" and ran else r for r in systems]


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, which a single unknown value makes unknown."""
    values = list(values)
    return None if None in values else sum(values)


def _per_thousand(amount: float | None, r: Result) -> float | None:
    """An amount for all of a system's documents as one for 1,000."""
    return amount * (1000 / r.n) if amount is not None and r.n else None


def _identity(dataset: str, r: Result) -> dict:
    return {"dataset": dataset, "system": r.system, "label": r.label}


def _label(dataset: str, r: Result, notes: dict[str, None]) -> Cell:
    """The system's name, and in `notes` what a reader must know about it."""
    if r.stopped is not None:
        notes[f"{GAP} {r.label} ({dataset}): no result: {r.stopped}."] = None
    for note in r.notes:
        notes[f"{'' if r.zero_shot else '† '}{r.label} ({dataset}): {note}."] = None
    return Cell(r.label if r.zero_shot else f"{r.label} †")
