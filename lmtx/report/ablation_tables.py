"""The tables of the ablations, from result files alone: teachers, the curriculum, and variants."""

from collections.abc import Sequence
from pathlib import Path

from lmtx.report import words
from lmtx.report.points import (
    BASE,
    Group,
    clear,
    difference,
    intervals,
    load_groups,
    on_axis,
    subset,
)
from lmtx.report.render import GAP, Cell, Table, interval, number, percent
from lmtx.report.results import Interval, Result, cycles, flat, load_results, measured, table_of

STAGE = "ablations"
_QUALITY = ("P@1", "R@10")
_COSTS = ("verdicts", "requests", "prompt_tokens", "answer_tokens", "usd")
# The axes that a figure or table of their own shows; every other one, a user's too, is a variant.
_SHOWN_ELSEWHERE = {BASE, "main", "sample", "negatives", "shortlist", "teacher", "curriculum", "map"}
_VARIANTS = {"targets": "Targets", "labels": "Label text", "judging": "Judging"}
_VERDICTS = {
    "yes_rate": "Yes\nrate",
    "pseudo_precision": "Precision\nof yes",
    "pseudo_recall": "Recall\nof yes",
}


def t5_teachers(reports: str | Path, dataset: str) -> Table:
    """T5: each teacher's verdicts, the student it makes, and what asking it cost."""
    groups = on_axis(load_groups(reports, dataset), "teacher")
    groups = sorted(groups, key=lambda g: g.settings.teacher_kind == "simulated")
    frame, cells, notes = [], [], []
    for group in groups:
        simulated = group.settings.teacher_kind == "simulated"
        cost = {key: _total(group, key) for key in _COSTS}
        row = {"point": group.name, "teacher": words.teacher(group), "simulated": simulated}
        frame.append(row | _numbers(group) | flat("gain", group.gain("P@1")) | cost)
        cells.append(
            [
                Cell(words.teacher(group) + (" †" if simulated else "")),
                number(len(group.points)),
                *_shares(group),
                *(_metric(group.metric(name)) for name in _QUALITY),
                _difference(group.gain("P@1")),
                *(number(cost[key]) for key in ("verdicts", "requests")),
                number(cost["prompt_tokens"] + cost["answer_tokens"]),
                number(cost["usd"], 2),
            ]
        )
        notes += [f"{words.teacher(group)}: {note}." for p in group.points[:1] for note in p.notes]
    if any(group.settings.teacher_kind == "simulated" for group in groups):
        notes.append("† Simulated: it reads annotations and errs at the rates given.")
    return Table(
        "t5_teachers",
        "T5 Teachers",
        f"{_sample(dataset, groups)}Percent. Precision and recall compare a teacher's yes with the "
        "annotations, for this table only. The difference is to zero-shot, paired; a star marks an interval "
        "without 0. Requests, tokens and dollars are what its runs asked anew; what the store held is free.",
        [
            *("Teacher", "Seeds", *_VERDICTS.values(), *_QUALITY, "P@1\n− zero-shot"),
            *("Verdicts", "Requests", "Tokens", "USD"),
        ],
        [("", cells)],
        table_of(frame, ("n", "seeds", *_COSTS[:-1])) if frame else table_of([], (), ["teacher"]),
        notes,
        words.teachers(groups),
        STAGE,
    )


def t6_curriculum(reports: str | Path, dataset: str) -> Table:
    """T6: the main run cycle by cycle; then, on the subset, what refreshing and restarting add."""
    results = load_results(reports, dataset)
    groups = on_axis(load_groups(reports, dataset), "curriculum")
    groups = sorted(groups, key=lambda g: (g.settings.cycle, not g.settings.refresh, not g.settings.restart))
    found = ({0: zero} if (zero := measured(results, "zero-shot")) else {}) | cycles(results)
    frame, main, notes = [], [], []
    for cycle, r in found.items():
        frame.append({"part": "main run", **_cycle_numbers(cycle, r)})
        name = f"Cycle {cycle}" if cycle else "Zero-shot"
        kept = bool(r.cycle and r.cycle.best)
        shares = [Cell(percent(frame[-1][key])) for key in ("check", "shortlist_recall", *_VERDICTS)]
        metrics = [_metric(r.metrics.get(metric)) for metric in _QUALITY]
        main.append([Cell(f"{name}, kept" if kept else name), *shares, *metrics, Cell(GAP)])
        if r.stopped is not None:
            notes.append(f"{GAP} {r.label}: no result: {r.stopped}.")
    base = _base(groups)
    parts = [(f"Main run: {dataset}", main)] if main else []
    if groups:
        shown = []
        for group in groups:
            d = difference(group, base, "P@1") if base and group is not base else None
            setting = group.settings
            row = {"part": "subset", "cycle": setting.cycle, "point": group.name, "refresh": setting.refresh}
            frame.append(row | {"restart": setting.restart} | _numbers(group) | flat("minus_cycle_1", d))
            verdicts = [Cell(GAP), *_shares(group)]
            metrics = [_metric(group.metric(name)) for name in _QUALITY]
            shown.append([Cell(_way(group)), Cell(GAP), *verdicts, *metrics, _difference(d)])
        parts.append((f"Ablation: {subset(dataset, groups)}", shown))
    else:
        notes.append("Fresh or fixed shortlists, restart or going on: not run yet.")
    columns = ["part", "cycle", "point", "refresh", "restart", *_numbers(None)]
    columns += ["check", *flat("minus_cycle_1", None)]
    how = f" In the ablation: {intervals(groups)}." if groups else ""
    return Table(
        "t6_curriculum",
        "T6 What the curriculum adds",
        "Percent. Check: held-out documents whose top label the teacher accepts. Recall of the shortlists is "
        "the share of the annotated pairs that they hold; it, and precision and recall of the teacher's yes, "
        f"are by the annotations, for this table only.{how}",
        [
            *("Cycle", "Check", "Recall of\nshortlists", *_VERDICTS.values()),
            *(*_QUALITY, "P@1\n− cycle 1"),
        ],
        parts or [("", [])],
        table_of(frame, ("n", "seeds", "cycle"), columns),
        notes,
        words.curriculum(results, groups),
        STAGE,
    )


def variants(reports: str | Path, dataset: str) -> Table:
    """What else was tried, axis by axis: targets, label text, judging, and the axes that users add."""
    every = load_groups(reports, dataset)
    axes = {axis for group in every for axis in group.axes} - _SHOWN_ELSEWHERE
    frame, parts, names, shown = [], [], {}, []
    for axis in sorted(axes, key=lambda a: ([*_VARIANTS].index(a) if a in _VARIANTS else 9, a)):
        groups, rows = on_axis(every, axis), []
        base = _base(groups)
        for group in groups:
            names[group.name] = _variant(group, axis)
            shown += [group] if group not in shown else []
            d = difference(group, base, "P@1") if base and group is not base else None
            seconds = group.mean(lambda p: p.seconds.get("train"))
            row = {"axis": axis, "point": group.name, "variant": names[group.name]}
            row |= _numbers(group) | flat("minus_base", d) | {"train_seconds": seconds}
            frame.append(row | {key: _total(group, key) for key in ("requests", "usd")})
            rows.append(
                [
                    Cell(names[group.name] + (" (shared settings)" if group is base else "")),
                    number(len(group.points)),
                    *_shares(group)[:2],
                    *(_metric(group.metric(name)) for name in _QUALITY),
                    _difference(d),
                    number(frame[-1]["requests"]),
                    number(seconds, 1),
                ]
            )
        if rows:
            parts.append((_VARIANTS.get(axis, axis), rows))
    return Table(
        "variants",
        "Variants",
        f"{_sample(dataset, shown)}Percent. The difference is to the shared settings; a star marks an "
        "interval without 0. Requests are what all runs asked anew.",
        [
            *("Variant", "Seeds", *[*_VERDICTS.values()][:2], *_QUALITY),
            *("P@1\n− shared", "Requests", "Train\n(s)"),
        ],
        parts or [("", [])],
        table_of(frame, ("n", "seeds", "requests")) if frame else table_of([], (), ["variant"]),
        [],
        words.variants(shown, names),
        STAGE,
    )


def _numbers(group: Group | None) -> dict:
    """A group's seeds, n, verdicts and quality as columns; `None` gives the columns alone."""
    row = {"seeds": group and len(group.points), "n": group and group.points[0].n}
    row |= {key: group and group.mean(lambda p, key=key: getattr(p, key)) for key in _VERDICTS}
    for name in _QUALITY:
        row |= flat(name, group and group.metric(name))
    return row


def _cycle_numbers(cycle: int, r: Result) -> dict:
    row = {"cycle": cycle, "point": r.system, "n": r.n}
    row |= {key: getattr(r.cycle, key, None) for key in ("check", "shortlist_recall", *_VERDICTS)}
    for name in _QUALITY:
        row |= flat(name, r.metrics.get(name))
    return row


def _base(groups: Sequence[Group]) -> Group | None:
    return next((group for group in groups if BASE in group.axes), None)


def _total(group: Group, key: str) -> float | None:
    """A cost summed over a group's runs, which a single unknown value makes unknown."""
    values = [p.verdicts if key == "verdicts" else getattr(p.cost, key) for p in group.points]
    return None if None in values else sum(values)


def _sample(dataset: str, groups: Sequence[Group]) -> str:
    return f"{subset(dataset, groups)}; {intervals(groups)}. " if groups else f"{dataset}. "


def _way(group: Group) -> str:
    s = group.settings
    if s.cycle == 1:
        return "Cycle 1"
    lists = "fresh" if s.refresh else "fixed"
    return f"Cycle {s.cycle}, {lists} shortlists, {'from E0' if s.restart else 'going on'}"


def _variant(group: Group, axis: str) -> str:
    """What a group is on an axis; its name where the axis is a user's own."""
    s = group.settings
    if axis == "targets":
        return "soft targets" if s.soft_targets else "hard targets"
    if axis == "labels":
        return "with description" if s.descriptions else "name alone"
    return words.teacher(group) if axis == "judging" else group.name


def _shares(group: Group) -> list[Cell]:
    return [Cell(percent(group.mean(lambda p, key=key: getattr(p, key)))) for key in _VERDICTS]


def _metric(m: Interval | None) -> Cell:
    return Cell(percent(m.value), interval(m.low, m.high)) if m else Cell(GAP)


def _difference(d: Interval | None) -> Cell:
    if d is None:
        return Cell(GAP)
    mark = "*" if clear(d) else ""
    return Cell(percent(d.value, sign=True) + mark, interval(d.low, d.high, sign=True))
