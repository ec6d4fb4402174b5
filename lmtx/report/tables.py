"""The tables of the study, from its results.

Each function returns a `Table`: shown as it stands in a notebook, its numbers in `.frame`.
"""

from collections.abc import Callable, Iterator, Sequence

from lmtx.report.render import GAP, Cell, Column, Table, cents, share, starred, tenths, total
from lmtx.report.results import Results, cycles, each_once, measured, on_documents
from lmtx.report.schema import Cost, Result

Rows = Iterator[tuple]  # of a result, its values by key, and further notes
_WORK = ("encode", "label", "train", "check")
_COST = [
    Column("USD", "usd", cents),
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
        Column("Labels per\ndocument", "mean_labels_per_document", tenths),
        Column("Words per\ndocument", "mean_words_per_document", tenths),
        Column("Words\nper label", "mean_words_per_label", tenths),
    ]
    rows, notes = [], []
    for dataset, statistics in results.statistics.items():
        if statistics is None:
            notes.append(f"{dataset}: no statistics; the stage prepare writes corpus/{dataset}.json.")
        values = statistics.model_dump() | statistics.documents if statistics else {}
        rows.append((Cell(dataset), {"dataset": dataset} | {c.key: values.get(c.key) for c in columns}))
    return Table(
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
        ("P@1", "P@3", "P@5", "R@1", "R@3", "R@5", "R@10", "R@100"),
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
        ("P@1", "PSP@1", "P@3", "PSP@3", "P@5", "PSP@5"),
        "t2_tail",
        "T2 Rare labels",
        "Percent; PSP@k weighs each hit by the inverse of how likely its label is annotated (Jain et al., "
        "2016), from the counts of the training side's annotations. Intervals, bold and the last column as "
        "in T2.",
    )


def _comparison(results: Results, metrics: Sequence[str], name: str, title: str, caption: str) -> Table:
    def rows(dataset: str, systems: list[Result]) -> Rows:
        # A system that was measured on some of the documents only is not compared with the rest.
        largest = max((r.n or 0 for r in systems), default=0)
        compared = [r for r in systems if r.zero_shot and r.n == largest]
        values = {m: [r.metrics[m].value for r in compared if m in r.metrics] for m in metrics}
        for r in each_once(systems):
            row = {"family": r.family, "n": r.n} | {metric: r.metrics.get(metric) for metric in metrics}
            for metric in metrics if r in compared else ():
                if row[metric] and row[metric].value == max(values[metric]):
                    row[metric] = row[metric].model_copy(update={"best": True})
            row |= {"P@1_minus_lmtx": r.minus_lmtx, "gap": r.stopped, "notes": "; ".join(r.notes)}
            kept = r.cycle.number if r.system == "lmtx" and r.cycle else None
            note = f"{r.label} ({dataset}) is cycle {kept}, which the teacher's check keeps."
            yield r, row, *([note] if kept is not None else [])

    columns = [Column(metric, metric, share) for metric in metrics]
    columns.append(Column("P@1\n− LMTX", "P@1_minus_lmtx", starred))
    return Table(name, title, caption, "System", columns, *_by_dataset(results, rows))


def t2_literal(results: Results) -> Table:
    """T2 on labels that the text spells out, and on labels that it does not."""
    kinds, metrics = {"literal": "Literal", "other": "Other"}, ("P@1", "R@10")
    columns = []
    for kind, heading in kinds.items():
        columns += [Column(f"{heading}\n{metric}", f"{kind}_{metric}", share) for metric in metrics]
        columns.append(Column(f"{heading}\nP@1 − LMTX", f"{kind}_P@1_minus_lmtx", starred))

    def heading(dataset: str, systems: list[Result]) -> str:
        first = next(r for r in systems if r.by_literalness)
        sizes = ", ".join(f"{pairs.n:,} {kind}" for kind, pairs in first.by_literalness.items())
        return f"{dataset}, test documents: {sizes}"

    def rows(dataset: str, systems: list[Result]) -> Rows:
        for r in each_once(systems):
            row = {}
            for kind in kinds if r.by_literalness else ():
                pairs = r.by_literalness.get(kind)  # none where no document has a pair of the kind
                row[f"{kind}_n"] = pairs.n if pairs else 0
                row |= {f"{kind}_{metric}": pairs and pairs.metrics.get(metric) for metric in metrics}
                row[f"{kind}_P@1_minus_lmtx"] = ((pairs and pairs.against_lmtx) or {}).get("P@1")
            if row:
                yield r, row

    return Table(
        "t2_literal",
        "T2 Labels in the text",
        "Percent, over the documents with an annotated label whose name stands in their text (literal) and "
        "over those with one whose name does not (other); labels of the other kind are no candidates. "
        "Differences as in T2.",
        "System",
        columns,
        *_by_dataset(results, rows, heading),
    )


def t3(results: Results) -> Table:
    """T3: LMTX against a language model at prediction time: quality, and the cost of 1,000 documents."""
    metrics = ("P@1", "P@5", "R@10")
    asked = ("requests", "prompt_tokens", "answer_tokens", "usd")
    columns = [
        *(Column(metric, metric, share) for metric in metrics),
        Column("Requests\nper 1,000", "requests_per_1000"),
        Column("Prompt tokens\nper 1,000", "prompt_tokens_per_1000"),
        Column("Answer tokens\nper 1,000", "answer_tokens_per_1000"),
        Column("USD\nper 1,000", "usd_per_1000", cents),
        Column("Seconds\nper 1,000", "seconds_per_1000", tenths),
    ]

    def rows(dataset: str, systems: list[Result]) -> Rows:
        lmtx, by_model = measured(systems, "lmtx"), any(r.bill and r.bill.requests for r in systems)
        for r in systems if by_model else ():
            if r.system not in ("lmtx", "rerank", "icxml"):
                continue
            # The teacher of LMTX is gone at prediction time: it sends nothing.
            bill, work = (Cost(), ["rank"]) if r is lmtx else (r.bill, ["encode", "rank"])
            asking = r.seconds.get("ask") if bill is None or bill.seconds is None else bill.seconds
            seconds = [asking, *(r.seconds.get(step) for step in work)]
            amounts = {key: getattr(bill, key, None) for key in asked}
            amounts["seconds"] = total(value for value in seconds if value is not None)
            row = {"n": r.n} | {metric: r.metrics.get(metric) for metric in metrics}
            for key, amount in amounts.items():
                row[f"{key}_per_1000"] = amount * (1000 / r.n) if amount is not None and r.n else None
            yield r, row

    return Table(
        "t3_prediction",
        "T3 A language model at prediction time",
        "Quality in percent with 95 % bootstrap intervals; then what tagging 1,000 documents takes where "
        "nothing is stored yet. A teacher's seconds are those of the machine that asked it, which may be "
        "another than this one where its verdicts are recorded; LMTX's are for embedding the documents and "
        "searching, its training is in T4, and the re-ranker's leave out E0's embedding. Where n differs, "
        "T2's last column compares on the same documents.",
        "System",
        columns,
        *_by_dataset(results, rows),
    )


def t4(results: Results) -> Table:
    """T4: seconds and cost by part of the work, one row a system; LMTX's row is the sum over its cycles."""
    ran = [r for systems in results.by_dataset.values() for r in systems if r.family != "hybrid"]
    work = [*_WORK, *sorted({step for r in ran for step in r.seconds} - {*_WORK})]

    def rows(dataset: str, systems: list[Result]) -> Rows:
        for r in _whole_curriculum(systems):
            if r.family != "hybrid":
                row = {f"{step}_seconds": r.seconds.get(step) for step in work}
                row["total_seconds"] = total(value for value in r.seconds.values() if value is not None)
                yield r, row | {c.key: None if r.stopped else getattr(r.cost, c.key) for c in _COST}

    columns = [Column(f"{step[:1].upper()}{step[1:]}\n(s)", f"{step}_seconds", tenths) for step in work]
    return Table(
        "t4_cost",
        "T4 Time and cost by part",
        "Seconds on the host that the provenance names. Requests, tokens and dollars are what the run asked "
        "for; verdicts are those that its store did not hold. LMTX is the sum over its cycles.",
        "System",
        [*columns, Column("Total\n(s)", "total_seconds", tenths), *_COST],
        *_by_dataset(results, rows, lambda dataset, _: dataset),
    )


def _whole_curriculum(systems: list[Result]) -> list[Result]:
    """The systems with LMTX's cost summed over its cycles: all of them are paid for, one is kept."""
    ran = [r for r in cycles(systems).values() if r.stopped is None]
    if len(ran) < 2:
        return each_once(systems)
    steps = dict.fromkeys(step for r in ran for step, value in r.seconds.items() if value is not None)
    whole = {
        "label": "LMTX, all cycles",
        "seconds": {step: sum(r.seconds.get(step) or 0 for r in ran) for step in steps},
        "cost": Cost(**{column.key: total(getattr(r.cost, column.key) for r in ran) for column in _COST}),
    }
    return [r.model_copy(update=whole) if r.system == "lmtx" else r for r in systems]


def _by_dataset(
    results: Results,
    rows_of: Callable[[str, list[Result]], Rows],
    heading: Callable[[str, list[Result]], str] = on_documents,
) -> tuple[list, list[str]]:
    """The sections of a table, one a data set with rows, and its notes.

    The notes say why a result is missing, and repeat those of the systems and those after a row.
    """
    sections, notes = [], []
    for dataset, systems in results.by_dataset.items():
        rows = []
        for r, row, *more in rows_of(dataset, systems):
            dagger = "" if r.zero_shot else "†"
            row = {"dataset": dataset, "system": r.system, "label": r.label} | row
            rows.append((Cell(f"{r.label} {dagger}".strip()), row))
            if r.stopped is not None:
                notes.append(f"{GAP} {r.label} ({dataset}): no result: {r.stopped}.")
            notes += [f"{dagger} {r.label} ({dataset}): {note}.".strip() for note in r.notes]
            notes += more
        if rows:
            sections.append((heading(dataset, systems), rows))
    return sections, list(dict.fromkeys(notes))
