"""The tables of the study, from result files alone.

Each function returns a `Table`: shown as it stands in a notebook, its numbers in `.frame`.
"""

from collections.abc import Sequence
from pathlib import Path

from lmtx.report.render import GAP, Cell, Table, interval, number, percent
from lmtx.report.results import Cost, Result, cycles, flat, load_results, load_statistics, sample, table_of

MAIN_METRICS = ("P@1", "P@3", "P@5", "R@1", "R@3", "R@5", "R@10", "R@100")
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
    )


def t2(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T2: the main comparison, one row a system, the data sets below each other."""
    frame, groups, notes = [], [], {}
    for dataset in datasets:
        results = load_results(reports, dataset)
        best = {
            name: max(
                (r.metrics[name].value for r in results if r.zero_shot and name in r.metrics), default=None
            )
            for name in MAIN_METRICS
        }
        groups.append((sample(dataset, results), [_main_row(r, best, notes, dataset) for r in results]))
        frame += [_main_numbers(r, dataset) for r in results]
    return Table(
        "t2_main",
        "T2 Main comparison",
        "Percent, with 95 % bootstrap intervals over test documents; the best system that reads no "
        "annotations is bold. The last column is the paired difference in P@1, system minus LMTX, in points.",
        ["System", *MAIN_METRICS, "P@1\n− LMTX"],
        groups,
        table_of(frame, ("n",)),
        list(notes),
    )


def t4(reports: str | Path, datasets: Sequence[str]) -> Table:
    """T4: seconds and cost by part, one row a system; LMTX's row is the sum over its cycles."""
    results = {dataset: _whole_curriculum(load_results(reports, dataset)) for dataset in datasets}
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
        "cost": Cost(**{key: sum(getattr(r.cost, key) for r in ran) for key in COSTS}),
    }
    return [r.model_copy(update=whole) if r.system == "lmtx" and ran else r for r in results]


def _main_row(r: Result, best: dict[str, float | None], notes: dict[str, None], dataset: str) -> list[Cell]:
    cells = [_label(r, notes, dataset)]
    if r.system == "lmtx" and r.cycle is not None:
        notes[f"{r.label} ({dataset}) is cycle {r.cycle.number}, which the teacher's check keeps."] = None
    for name in MAIN_METRICS:
        m = r.metrics.get(name)
        if m is None:
            cells.append(Cell(GAP))
        else:
            bold = r.zero_shot and m.value == best[name]
            cells.append(Cell(percent(m.value), interval(m.low, m.high), bold))
    d = (r.against_lmtx or {}).get("P@1")
    cells.append(
        Cell(GAP) if d is None else Cell(percent(d.value, sign=True), interval(d.low, d.high, sign=True))
    )
    return cells


def _main_numbers(r: Result, dataset: str) -> dict:
    row = {"dataset": dataset, "system": r.system, "label": r.label, "family": r.family, "n": r.n}
    for name in MAIN_METRICS:
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
