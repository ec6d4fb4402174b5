"""The tables of the study, from its results.

Each function returns a `Table`: shown as it stands in a notebook, its numbers in `.frame`.
"""

from collections.abc import Sequence

from lmtx.report.render import (
    GAP,
    Cell,
    Column,
    Table,
    as_difference,
    as_number,
    as_percent,
    flat,
    flat_all,
    total,
)
from lmtx.report.results import Results, cycles, each_once, measured, on_documents
from lmtx.report.schema import Cost, Result

MAIN_METRICS = ("P@1", "P@3", "P@5", "R@1", "R@3", "R@5", "R@10", "R@100")
TAIL_METRICS = ("P@1", "PSP@1", "P@3", "PSP@3", "P@5", "PSP@5")
# The systems of T3, which asks for the price of a language model at prediction time.
AT_PREDICTION = ("lmtx", "rerank", "icxml")
_ASKED = ("requests", "prompt_tokens", "answer_tokens", "usd")
_WORK = ("encode", "label", "train", "check")
_TENTHS, _CENTS = as_number(1), as_number(2)
_COST = [
    Column("USD", "usd", _CENTS),
    Column("Requests", "requests"),
    Column("Prompt\ntokens", "prompt_tokens"),
    Column("Answer\ntokens", "answer_tokens"),
    Column("Verdicts", "verdicts"),
]


def t1(results: Results) -> Table:
    """T1: each data set in numbers, one row a data set."""
    columns = [
        Column("Training\ndocuments", "train"),
        Column("Dev\ndocuments", "dev"),
        Column("Test\ndocuments", "test"),
        Column("Labels", "labels"),
        Column("Documents\nwith a truth", "with_truth"),
        Column("Labels in\na truth", "truth_labels"),
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
        row = {"dataset": dataset} | {column.key: values.get(column.key) for column in columns}
        rows.append((Cell(dataset), row))
    return Table.of(
        "t1_datasets",
        "T1 Data sets",
        "Words are separated by white space; labels per document are counted over documents with a truth.",
        "Data set",
        columns,
        [("", rows)],
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
    sections, notes, best = [], {}, set()
    for dataset, systems in results.by_dataset.items():
        # A system that was measured on some of the documents only is not compared with the rest.
        largest = max((r.n or 0 for r in systems), default=0)
        for metric in metrics:
            compared = [r for r in systems if r.zero_shot and r.n == largest and metric in r.metrics]
            highest = max((r.metrics[metric].value for r in compared), default=None)
            best |= {(dataset, r.system, metric) for r in compared if r.metrics[metric].value == highest}
        sections.append((on_documents(dataset, systems), []))
        for r in each_once(systems):
            row = _identity(dataset, r) | {"family": r.family, "n": r.n} | flat_all(r.metrics, metrics)
            row |= flat("P@1_minus_lmtx", (r.against_lmtx or {}).get("P@1"))
            row |= {"gap": r.stopped, "notes": "; ".join(r.notes)}
            sections[-1][1].append((_label(dataset, r, notes), row))
            if r.system == "lmtx" and r.cycle is not None:
                note = f"{r.label} ({dataset}) is cycle {r.cycle.number}, which the teacher's check keeps."
                notes[note] = None

    def bold_if_best(row: dict, metric: str) -> Cell:
        return as_percent(row, metric)._replace(bold=(row["dataset"], row["system"], metric) in best)

    columns = [Column(metric, metric, bold_if_best) for metric in metrics]
    columns.append(Column("P@1\n− LMTX", "P@1_minus_lmtx", as_difference))
    return Table.of(name, title, caption, "System", columns, sections, notes)


def t2_literal(results: Results) -> Table:
    """T2 on labels that the text spells out, and on labels that it does not."""
    kinds, metrics = {"literal": "Literal", "other": "Other"}, ("P@1", "R@10")
    columns = []
    for kind, heading in kinds.items():
        columns += [Column(f"{heading}\n{metric}", f"{kind}_{metric}", as_percent) for metric in metrics]
        columns.append(Column(f"{heading}\nP@1 − LMTX", f"{kind}_P@1_minus_lmtx", as_difference))
    sections, notes = [], {}
    for dataset, systems in results.by_dataset.items():
        split = [r for r in each_once(systems) if r.by_literalness]
        if split:
            sizes = ", ".join(f"{pairs.n:,} {kind}" for kind, pairs in split[0].by_literalness.items())
            sections.append((f"{dataset}, test documents: {sizes}", []))
        for r in split:
            row = _identity(dataset, r)
            for kind in kinds:
                pairs = r.by_literalness.get(kind)  # none where no document has a pair of the kind
                row[f"{kind}_n"] = pairs.n if pairs else 0
                for metric in metrics:
                    row |= flat(f"{kind}_{metric}", pairs.metrics.get(metric) if pairs else None)
                minus = (pairs.against_lmtx or {}).get("P@1") if pairs else None
                row |= flat(f"{kind}_P@1_minus_lmtx", minus)
            sections[-1][1].append((_label(dataset, r, notes), row))
    return Table.of(
        "t2_literal",
        "T2 Labels in the text",
        "Percent, over the documents with an annotated label whose name stands in their text (literal) and "
        "over those with one whose name does not (other); labels of the other kind are no candidates. "
        "Differences as in T2.",
        "System",
        columns,
        sections,
        notes,
    )


def t3(results: Results) -> Table:
    """T3: LMTX against a language model at prediction time: quality, and the cost of 1,000 documents."""
    metrics = ("P@1", "P@5", "R@10")
    columns = [
        *(Column(metric, metric, as_percent) for metric in metrics),
        Column("Requests\nper 1,000", "requests_per_1000"),
        Column("Prompt tokens\nper 1,000", "prompt_tokens_per_1000"),
        Column("Answer tokens\nper 1,000", "answer_tokens_per_1000"),
        Column("USD\nper 1,000", "usd_per_1000", _CENTS),
        Column("Seconds\nper 1,000", "seconds_per_1000", _TENTHS),
    ]
    sections, notes = [], {}
    for dataset, systems in results.by_dataset.items():
        if not any(r.bill and r.bill.requests for r in systems):
            continue  # no language model was asked
        lmtx = measured(systems, "lmtx")
        sections.append((on_documents(dataset, systems), []))
        for r in systems:
            if r.system not in AT_PREDICTION:
                continue
            # The teacher of LMTX is gone at prediction time: it sends nothing.
            bill, work = (Cost(), ["rank"]) if r is lmtx else (r.bill, ["ask", "encode", "rank"])
            seconds = [r.seconds[step] for step in work if r.seconds.get(step) is not None]
            amounts = {key: getattr(bill, key, None) for key in _ASKED} | {"seconds": total(seconds)}
            row = _identity(dataset, r) | {"n": r.n} | flat_all(r.metrics, metrics)
            for key, amount in amounts.items():
                row[f"{key}_per_1000"] = amount * (1000 / r.n) if amount is not None and r.n else None
            sections[-1][1].append((_label(dataset, r, notes), row))
    return Table.of(
        "t3_prediction",
        "T3 A language model at prediction time",
        "Quality in percent with 95 % bootstrap intervals; then what tagging 1,000 documents asks for where "
        "nothing is stored yet, and the seconds it took in this run on the host that the provenance names. "
        "LMTX's are for embedding the documents and searching; its training is in T4. The re-ranker's leave "
        "out E0's embedding of the documents, and what a teacher has answered before takes none.",
        "System",
        columns,
        sections,
        notes,
    )


def t4(results: Results) -> Table:
    """T4: seconds and cost by part of the work, one row a system; LMTX's row is the sum over its cycles."""
    by_dataset = {
        dataset: [r for r in _whole_curriculum(systems) if r.family != "hybrid"]
        for dataset, systems in results.by_dataset.items()
    }
    others = {step for systems in by_dataset.values() for r in systems for step in r.seconds} - {*_WORK}
    work = [*_WORK, *sorted(others)]
    sections, notes = [], {}
    for dataset, systems in by_dataset.items():
        sections.append((dataset, []))
        for r in systems:
            row = _identity(dataset, r) | {f"{step}_seconds": r.seconds.get(step) for step in work}
            row["total_seconds"] = total(value for value in r.seconds.values() if value is not None)
            row |= {column.key: None if r.stopped else getattr(r.cost, column.key) for column in _COST}
            sections[-1][1].append((_label(dataset, r, notes), row))
    columns = [Column(f"{step[:1].upper()}{step[1:]}\n(s)", f"{step}_seconds", _TENTHS) for step in work]
    return Table.of(
        "t4_cost",
        "T4 Time and cost by part",
        "Seconds on the host that the provenance names. Requests, tokens and dollars are what the run asked "
        "for; verdicts also count those taken from the store. LMTX is the sum over its cycles.",
        "System",
        [*columns, Column("Total\n(s)", "total_seconds", _TENTHS), *_COST],
        sections,
        notes,
    )


def _whole_curriculum(systems: list[Result]) -> list[Result]:
    """The systems with LMTX's cost summed over its cycles: all of them are paid for, one is kept."""
    ran = [r for r in cycles(systems).values() if r.stopped is None]
    if not ran:
        return systems
    steps = dict.fromkeys(step for r in ran for step, value in r.seconds.items() if value is not None)
    if len(ran) == 1:
        return each_once(systems)
    whole = {
        "label": "LMTX, all cycles",
        "seconds": {step: sum(r.seconds.get(step) or 0 for r in ran) for step in steps},
        "cost": Cost(**{column.key: total(getattr(r.cost, column.key) for r in ran) for column in _COST}),
    }
    return [r.model_copy(update=whole) if r.system == "lmtx" else r for r in systems]


def _identity(dataset: str, r: Result) -> dict:
    return {"dataset": dataset, "system": r.system, "label": r.label}


def _label(dataset: str, r: Result, notes: dict[str, None]) -> Cell:
    """The system's name; its notes, and the reason for a missing result, join `notes`."""
    if r.stopped is not None:
        notes[f"{GAP} {r.label} ({dataset}): no result: {r.stopped}."] = None
    for note in r.notes:
        notes[f"{'' if r.zero_shot else '† '}{r.label} ({dataset}): {note}."] = None
    return Cell(r.label if r.zero_shot else f"{r.label} †")
