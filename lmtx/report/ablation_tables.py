"""The tables of the ablations: teachers, the curriculum, variants, and strings against a language model."""

from collections.abc import Sequence

from lmtx.report.ablations import AXES, STAGE, ran_on
from lmtx.report.render import (
    GAP,
    Cell,
    Column,
    Table,
    cents,
    frame_of,
    points,
    share,
    starred,
    tenths,
    total,
)
from lmtx.report.results import (
    BASE,
    Group,
    Results,
    difference,
    from_zero,
    gain_of_lmtx,
    grouped,
    measured,
    minus_base,
    on_axis,
)
from lmtx.report.schema import Cycle

# The axes that a figure or table of their own shows; every other one, a user's too, is a variant.
_SHOWN_ELSEWHERE = {BASE, "main", "teacher", "question", "curriculum", "map", *AXES}
_VARIANTS = {"targets": "Targets", "labels": "Label text"}
_SHARES = {
    "yes_rate": "Yes\nrate",
    "pseudo_precision": "Precision\nof yes",
    "pseudo_recall": "Recall\nof yes",
}
_METRICS = ("P@1", "R@10")
_SEEDS = Column("Seeds", "seeds")
_VERDICTS = [Column(heading, key, share) for key, heading in _SHARES.items()]
_QUALITY = [Column(name, name, share) for name in _METRICS]


def t5_teachers(results: Results) -> Table:
    """T5: each teacher's verdicts, its student, and its cost; other prompts count as teachers."""
    columns = [
        _SEEDS,
        Column("Tells\napart", "power", share),
        Column("Agrees\nwith base", "agreement_with_base", share),
        *_VERDICTS,
        *_QUALITY,
        Column("P@1\n− zero-shot", "gain", starred),
        Column("Verdicts", "verdicts"),
        Column("Requests", "requests"),
        Column("Tokens", "tokens"),
        Column("USD", "usd", cents),
    ]
    groups = on_axis(results.points, "teacher", "question")
    groups = sorted(groups, key=lambda g: g.settings.teacher_kind == "simulated")
    rows, notes = [], []
    for group in groups:
        teacher, simulated = _teacher(group), group.settings.teacher_kind == "simulated"
        row = {"point": group.name, "teacher": teacher, "simulated": simulated} | _numbers(group)
        row |= {"gain": group.metric("P@1", "against_zero_shot")}
        row |= {"verdicts": total(p.verdicts for p in group.points)} | _costs(group)
        row |= {key: group.mean(key) for key in ("power", "agreement_with_base")}
        row["tokens"] = row["prompt_tokens"] + row["answer_tokens"]
        rows.append((Cell(f"{teacher} †" if simulated else teacher), row))
        notes += [f"{teacher}: {note}." for note in group.points[0].notes]
    notes += _on_questions(groups) + _on_prediction([row for _, row in rows if not row["simulated"]])
    if any(row["simulated"] for _, row in rows):
        notes.append("† Simulated: it reads annotations and errs at the rates given.")
    return Table(
        "t5_teachers",
        "T5 Teachers",
        f"{ran_on(results.dataset, groups)}. Percent. A teacher tells apart: how often it finds a "
        "shortlisted label likelier than a random one (50 is blind); agrees: how often it gives the answer "
        "of base's teacher to the same pair. Neither needs annotations. Precision and recall compare a "
        "teacher's yes with the annotations, for this table only. The difference is to zero-shot, paired; a "
        "star marks an interval without 0. Requests, tokens and dollars are what its runs asked anew; what "
        "the store held is free.",
        "Teacher",
        columns,
        [("", rows)],
        notes,
        STAGE,
    )


def t6_curriculum(results: Results) -> Table:
    """T6: the main run cycle by cycle; then, on the subset, the effect of refreshing and restarting."""
    columns = [
        Column("Check", "check", share),
        Column("Recall of\nshortlists", "shortlist_recall", share),
        *_VERDICTS,
        *_QUALITY,
        Column("P@1\n− cycle 1", "minus_cycle_1", starred),
    ]
    main, subset, notes = [], [], []
    for cycle, r in from_zero(results.systems).items():
        c = r.cycle or Cycle(number=cycle)
        row = {"part": "main run", "cycle": cycle, "point": r.system}
        row |= {"refresh": None, "restart": None, "seeds": None, "n": r.n}
        row |= {key: getattr(c, key) for key in _SHARES} | {name: r.metrics.get(name) for name in _METRICS}
        row |= {"check": c.check, "minus_cycle_1": None, "shortlist_recall": c.shortlist_recall}
        main.append((Cell((f"Cycle {cycle}" if cycle else "Zero-shot") + ", kept" * c.best), row))
        if r.stopped is not None:
            notes.append(f"{GAP} {r.label}: no result: {r.stopped}.")
    groups = on_axis(results.points, "curriculum")
    groups = sorted(groups, key=lambda g: (g.settings.cycle, not g.settings.refresh, not g.settings.restart))
    for group in groups:
        s = group.settings
        row = {"part": "subset", "cycle": s.cycle, "point": group.name, "refresh": s.refresh}
        row |= {"restart": s.restart} | _numbers(group) | {"minus_cycle_1": minus_base(group, groups)}
        row |= {"shortlist_recall": group.mean("shortlist_recall")}
        lists, start = "fresh" if s.refresh else "fixed", "from E0" if s.restart else "going on"
        way = "Cycle 1" if s.cycle == 1 else f"Cycle {s.cycle}, {lists} shortlists, {start}"
        subset.append((Cell(way), row))
    if not groups:
        notes.append("Fresh or fixed shortlists, restart or going on: not run yet.")
    sections = {f"Main run: {results.dataset}": main}
    sections[f"Ablation: {ran_on(results.dataset, groups)}"] = subset
    return Table(
        "t6_curriculum",
        "T6 What the curriculum adds",
        "Percent. Check: held-out documents whose top label the teacher accepts. Recall of the shortlists is "
        "the share of the annotated pairs that they hold; it, and precision and recall of the teacher's yes, "
        "are by the annotations, for this table only.",
        "Cycle",
        columns,
        [(heading, rows) for heading, rows in sections.items() if rows],
        notes,
        STAGE,
    )


def variants(results: Results) -> Table:
    """All other axes: targets, label text, and those that users add."""
    columns = [
        _SEEDS,
        *_VERDICTS[:2],
        *_QUALITY,
        Column("P@1\n− shared", "minus_base", starred),
        Column("Requests", "requests"),
        Column("Train\n(s)", "train_seconds", tenths),
    ]
    axes = {axis for group in grouped(results.points) for axis in group.axes} - _SHOWN_ELSEWHERE
    sections, shown = [], []
    for axis in sorted(axes, key=lambda a: ([*_VARIANTS].index(a) if a in _VARIANTS else 9, a)):
        groups = on_axis(results.points, axis)
        rows = []
        for group in groups:
            variant = _variant(group, axis)
            row = {"axis": axis, "point": group.name, "variant": variant} | _numbers(group)
            row |= {"minus_base": minus_base(group, groups), "train_seconds": group.mean("train_seconds")}
            rows.append((Cell(variant + " (shared settings)" * (BASE in group.axes)), row | _costs(group)))
        if rows:
            sections.append((_VARIANTS.get(axis, axis), rows))
        shown += groups
    return Table(
        "variants",
        "Variants",
        f"{ran_on(results.dataset, shown)}. Percent. The difference is to the shared settings; a star marks "
        "an interval without 0. Requests are what all runs asked anew.",
        "Variant",
        columns,
        sections,
        stage=STAGE,
    )


def strings_or_model(results: Results) -> Table:
    """Where a language model helps, and where strings are enough: P@1 by data set and way to tag."""
    columns = [
        Column("Literal", "literal", share),
        Column("E0", "zero-shot", share),
        Column("TF-IDF", "tfidf", share),
        Column("Ensemble\ntaught", "strings", share),
        Column("With the\nmodel", "model", share),
        Column("Model −\nensemble", "model_minus_strings", starred),
        Column("the same,\nR@10", "model_minus_strings_R@10", starred),
        Column("LMTX", "lmtx", share),
        Column("LMTX −\nTF-IDF", "lmtx_minus_tfidf", starred),
        Column("Supervised", "supervised", share),
    ]
    rows, notes = [], []
    for dataset, systems in results.by_dataset.items():
        zero = measured(systems, "zero-shot")
        if zero is None:
            continue
        pairs = zero.by_literalness.get("literal")
        row = {"dataset": dataset, "literal": pairs.n / zero.n if pairs and zero.n else None}
        for name in ("zero-shot", "tfidf", "lmtx", "supervised"):
            r = measured(systems, name)
            row[name] = r and r.metrics["P@1"]
        row["lmtx_minus_tfidf"] = gain_of_lmtx(systems, over="tfidf")
        # The points of one subset: the shared settings first, then other teachers.
        groups = grouped(results.ablations[dataset])
        groups = [group for axis in (BASE, "teacher") for group in groups if axis in group.axes]
        strings = next((g for g in groups if g.settings.teacher_kind == "ensemble"), None)
        models = {"combined", "huggingface", "openai"}
        model = next((g for g in groups if g.settings.teacher_kind in models), None)
        row |= {"strings": strings and strings.metric("P@1"), "model": model and model.metric("P@1")}
        for column, metric in (("model_minus_strings", "P@1"), ("model_minus_strings_R@10", "R@10")):
            row[column] = difference(model, strings, metric) if model and strings else None
        few = max((g.settings.documents for g in (strings, model) if g), default=0)
        main = next((p.settings for p in results.ablations[dataset] if p.point == "main"), None)
        if few and main:
            notes.append(f"{dataset}: {few:,} documents, and {main.documents:,} of LMTX by {main.teacher}.")
        rows.append((Cell(dataset), row))
    return Table(
        "strings_or_model",
        "Strings or a language model",
        "P@1 in percent. Literal: test documents whose text spells out an annotated label. Ensemble taught: "
        "the student of a teacher that compares letters and vectors; with the model: of the study's teacher, "
        "where that is a language model, alone or with others, on the same few documents. Differences are "
        "paired, of P@1 or R@10; a star marks an interval without 0.",
        "Data set",
        columns,
        [("", rows)],
        notes,
        stage=STAGE,
    )


def _on_questions(groups: Sequence[Group]) -> list[str]:
    """A sentence for each teacher of the axis `question`: its student against that of the same model."""
    sentences = []
    for group in groups:
        s = group.settings
        same_model = (
            g for g in groups if "question" not in g.axes and s.model and g.settings.model == s.model
        )
        other = next(same_model, None)
        if "question" in group.axes and other and (d := difference(group, other, "P@1")):
            prompts = f"asked by the prompt “{s.prompt}” instead of “{other.settings.prompt}”"
            sentences.append(f"{s.teacher} is {other.settings.teacher}, {prompts}: P@1 {points(d)}.")
    return sentences


def _on_prediction(rows: Sequence[dict]) -> list[str]:
    """How well the two figures without annotations order the students, where there are enough teachers."""
    names = ["P@1", "power", "agreement_with_base"]
    frame = frame_of(rows, names)[names].astype(float).dropna()
    if len(frame) < 4:
        return []
    power, agreement = (frame["P@1"].corr(frame[name], "spearman") for name in names[1:])
    return [
        f"Rank correlation (Spearman) with the student's P@1 over these {len(frame)} teachers: telling apart "
        f"{power:.2f}, agreement with base {agreement:.2f}."
    ]


def _numbers(group: Group) -> dict:
    """A group's seeds, n, verdicts and quality as columns."""
    counts = {"seeds": len(group.points), "n": group.points[0].n}
    return counts | {s: group.mean(s) for s in _SHARES} | {name: group.metric(name) for name in _METRICS}


def _costs(group: Group) -> dict:
    """Costs summed over a group's runs."""
    fields = ("requests", "prompt_tokens", "answer_tokens", "usd")
    return {field: total(getattr(point.cost, field) for point in group.points) for field in fields}


def _teacher(group: Group) -> str:
    """A teacher's name; with its rates where it is simulated, and how it is asked where it can choose."""
    s = group.settings
    if s.teacher_kind == "simulated":
        true, other = (f"{100 * rate:.3g} %" for rate in (s.true_yes, s.false_yes))
        return f"simulated: yes to {true} of true, {other} of other labels"
    return s.teacher + (f", {s.mode}" if s.mode else "")


def _variant(group: Group, axis: str) -> str:
    """A group's value on an axis in words; its name where the axis is a user's own."""
    s = group.settings
    if axis == "targets":
        return "soft targets" if s.soft_targets else "hard targets"
    if axis == "labels":
        return "with description" if s.descriptions else "name alone"
    return group.name
