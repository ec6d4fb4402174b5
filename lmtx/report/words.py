"""What the ablations show, in sentences made from their numbers: other numbers, other sentences.

Every function takes groups of one axis and returns its sentences, the shortest first, which heads the
figure. "Clearly" means that the 95 % interval of a difference leaves 0 out (`points.difference`).
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from math import log2

from lmtx.report.points import BASE, Group, clear, difference
from lmtx.report.render import interval, listed, percent
from lmtx.report.results import Interval, Result, cycles


def points_of(d: Interval) -> str:
    """A difference with its interval, as a sentence writes it."""
    return f"{percent(d.value, sign=True)} {interval(d.low, d.high, sign=True)} points"


def strategy(group: Group) -> str:
    """How a group draws its negatives, in the field's words; in brackets, how many rejected labels join."""
    drawn, rejected = group.settings.negatives, group.settings.rejected_negatives
    if drawn == "rejected":
        return f"rejected only ({rejected})"
    return f"{drawn} in batch" + (f" + rejected ({rejected})" if rejected else "")


def teacher(group: Group) -> str:
    """A teacher's name; with its rates where it is simulated, and how it is asked where it can choose."""
    s = group.settings
    if s.teacher_kind == "simulated":
        return f"simulated: yes to {_share(s.true_yes)} of true, {_share(s.false_yes)} of other labels"
    return s.teacher + (f", {s.mode}" if s.mode else "")


def sample_size(groups: Sequence[Group], zero: Result | None) -> list[str]:
    """F3: from where on more documents add nothing clear; what a doubling adds and takes; zero-shot."""
    groups = sorted(_with(groups, "P@1"), key=lambda g: g.settings.documents)
    if not groups:
        return []
    knee = next(i for i, g in enumerate(groups) if not any(_above(h, g, "P@1") for h in groups[i + 1 :]))
    first, here, last = groups[0], groups[knee], groups[-1]
    if here is last:
        sentences = [f"More documents pay up to the largest sample, {_documents(last)}"]
    else:
        sentences = [f"From {_documents(here)} on, more of them add nothing clear"]
    doublings = [
        f"{percent(_per_doubling(a, b), sign=True)} points from {_documents(a)} to {b.settings.documents:,}"
        for a, b in ((first, here), (here, last))
        if a.settings.documents < b.settings.documents
    ]
    if doublings:
        sentences.append(f"Each doubling of the documents changes P@1 by {listed(doublings)}.")
    seconds = [g.mean(lambda p: p.seconds.get("train")) for g in (first, last)]
    times = log2(last.settings.documents / first.settings.documents)
    if times and all(seconds):
        factor = (seconds[1] / seconds[0]) ** (1 / times)
        sentences.append(f"Each doubling multiplies the seconds to train by {factor:.1f}.")
    if zero is not None and any(g.gain("P@1") for g in groups):
        better = next((g for g in groups if _helps(g)), None)
        than = f"clearly above zero-shot ({percent(zero.metrics['P@1'].value)} %)"
        sentences.append(
            f"No sample is {than}." if better is None else f"{_documents(better)} are the fewest {than}."
        )
    return sentences


def negatives(groups: Sequence[Group]) -> list[str]:
    """F4: which strategy is best in P@1 and in R@10, and which others are clearly below it."""
    sentences = []
    for name in ("P@1", "R@10"):
        if found := _with(groups, name):
            best = max(found, key=lambda g: g.metric(name).value)
            others = [g for g in found if g is not best]
            below = [g for g in others if _above(best, g, name)]
            count = f"{len(below)} of {len(others)} others" if len(below) < len(others) else "all others"
            count = count if below else "no other"
            value = percent(best.metric(name).value)
            lead = f"Best {name}: {strategy(best)}, {value} %, clearly above {count}"
            sentences.append(lead if not sentences else f"{lead}.")
            for far, what in ((True, "Clearly below it"), (False, "Within noise of it")):
                if shown := [strategy(g) for g in others if (g in below) is far]:
                    sentences.append(f"{what} in {name}: {listed(shown)}.")
    return sentences


def shortlist(groups: Sequence[Group]) -> list[str]:
    """F5: the smallest shortlist within noise of the best, what it asks, and what a longer one adds."""
    groups = sorted(_with(groups, "P@1"), key=lambda g: g.settings.shortlist)
    if not groups:
        return []
    best = max(groups, key=lambda g: g.metric("P@1").value)
    small = next(g for g in groups if g is best or not _above(best, g, "P@1"))
    j, top = small.settings.shortlist, best.settings.shortlist
    value, highest = (percent(g.metric("P@1").value) for g in (small, best))
    if small is not best:
        sentences = [
            f"j = {j} is the shortest list within noise of the best, j = {top}",
            f"Its P@1 is {value} %, that of j = {top} is {highest} %.",
        ]
    elif best is groups[0]:
        sentences = [f"The shortest list, j = {j}, is as good as any longer one: P@1 {value} %"]
    else:
        sentences = [f"j = {j} is best, P@1 {value} %, clearly above every shorter list"]
    asked = [g.mean(lambda p: p.verdicts_per_document) for g in (small, groups[-1])]
    if small is not groups[-1] and all(asked):
        longest = f"{asked[1]:.1f} at j = {groups[-1].settings.shortlist}"
        sentences.append(f"It asks for {asked[0]:.1f} verdicts a document, against {longest}.")
    shares = [(g, share) for g in groups if (share := g.mean(lambda p: p.pseudo_precision)) is not None]
    if len(shares) > 1:
        (a, before), (b, after) = shares[0], shares[-1]
        sentences.append(
            f"The share of yes that is annotated {_moves(before, after)} "
            f"between j = {a.settings.shortlist} and j = {b.settings.shortlist}."
        )
    return sentences


def teachers(groups: Sequence[Group]) -> list[str]:
    """T5: the best teacher that reads no annotations, who helps clearly, and who does not."""
    found = _with(groups, "P@1")
    real = [g for g in found if g.settings.teacher_kind != "simulated"]
    sentences = []
    if real:
        best = max(real, key=lambda g: g.metric("P@1").value)
        value = percent(best.metric("P@1").value)
        sentences.append(f"Of the teachers that read no annotations, {teacher(best)} is best: P@1 {value} %.")
    compared = [g for g in found if g.gain("P@1") is not None]
    for wanted, verb in ((True, "is"), (False, "is not")):
        shown = [
            f"{teacher(g)} ({percent(g.gain('P@1').value, sign=True)})"
            for g in compared
            if _helps(g) is wanted
        ]
        if shown:
            sentences.append(f"The student {verb} clearly above zero-shot with {'; '.join(shown)}.")
    return sentences


def teacher_map(groups: Sequence[Group]) -> list[str]:
    """The map: for each share of true labels found, how many others a teacher may accept and still help."""
    found = [g for g in groups if g.gain("P@1") is not None]
    found.sort(key=lambda g: (-g.settings.true_yes, g.settings.false_yes))
    helping = [g for g in found if _helps(g)]
    if not helping:
        return ["No teacher on the map lifts the student clearly above zero-shot"]
    rows = [list(row) for _, row in groupby(found, key=lambda g: g.settings.true_yes)]
    rows = [row for row in rows if any(map(_helps, row))]
    unbroken = [list(takewhile(_helps, row)) for row in rows]
    if sum(map(len, unbroken)) == len(helping):
        least = unbroken[-1][-1].settings
        headline = (
            f"The weakest teacher that helps says yes to {_share(least.true_yes)} of the true labels "
            f"and to at most {_share(least.false_yes)} of the others"
        )
    else:  # by chance: one that errs more helps clearly where one that errs less does not
        headline = f"{len(helping)} of {len(found)} teachers lift the student clearly above zero-shot"
    cells = [
        f"{_share(row[0].settings.true_yes)} true yes at "
        f"{listed([_share(g.settings.false_yes) for g in row if _helps(g)])} false yes"
        for row in rows
    ]
    sentences = [headline, f"The student is clearly above zero-shot with {'; '.join(cells)}."]
    shares = [g.mean(lambda p: p.pseudo_precision) for g in helping]
    if shares and None not in shares:
        sentences.append(
            f"Among the teachers that help, at least {percent(min(shares))} % of the yes is annotated."
        )
    return sentences


def curriculum(results: Sequence[Result], groups: Sequence[Group]) -> list[str]:
    """T6: how the verdicts move over the main run's cycles; what refreshing and restarting add."""
    sentences = []
    measured = [r.cycle for r in cycles(list(results)).values() if r.cycle and r.cycle.yes_rate is not None]
    if len(measured) > 1:
        a, b = measured[0], measured[-1]
        moves = f"the teacher's yes-rate {_moves(a.yes_rate, b.yes_rate)}"
        if a.pseudo_precision is not None and b.pseudo_precision is not None:
            moves += f" and the annotated share of its yes {_moves(a.pseudo_precision, b.pseudo_precision)}"
        sentences.append(f"Between cycle {a.number} and cycle {b.number} of the main run {moves}.")
    base = next((g for g in groups if BASE in g.axes), None)
    second = {(g.settings.refresh, g.settings.restart): g for g in groups if BASE not in g.axes}
    if base and (plain := second.get((True, True))) and (d := difference(plain, base, "P@1")):
        sentences.append(f"On the subset, a second cycle changes P@1 by {points_of(d)}{_noise(d)}.")
    # Two ways that differ in nothing but the one thing; there may be no run of all four.
    for what, pairs in (
        ("Fresh shortlists against those of cycle 1", [((True, r), (False, r)) for r in (True, False)]),
        ("Starting from E0 against going on from cycle 1", [((f, True), (f, False)) for f in (True, False)]),
    ):
        pair = next(
            ((second[one], second[other]) for one, other in pairs if {one, other} <= second.keys()), ()
        )
        if pair and (d := difference(*pair, "P@1")):
            sentences.append(f"{what}: {points_of(d)} of P@1{_noise(d)}.")
    return sentences


def variants(groups: Sequence[Group], names: dict[str, str]) -> list[str]:
    """The variants that differ clearly from base in P@1, and those that do not; `names` by group."""
    base = next((g for g in groups if BASE in g.axes), None)
    if base is None:
        return []
    found = [(g, d) for g in groups if g is not base and (d := difference(g, base, "P@1")) is not None]
    sentences = []
    for wanted, start in ((True, "Clearly different from"), (False, "Not clearly different from")):
        shown = [f"{names[g.name]} ({percent(d.value, sign=True)})" for g, d in found if clear(d) is wanted]
        if shown:
            sentences.append(f"{start} the shared settings in P@1: {listed(shown)}.")
    modes = {(g.settings.teacher, g.settings.mode): g for g in groups if "judging" in g.axes}
    for (name, mode), one in modes.items():
        other = modes.get((name, "pointwise")) if mode == "listwise" else None
        if other and (d := difference(one, other, "P@1")):
            sentences.append(f"Listwise against pointwise, {name}: {points_of(d)} of P@1{_noise(d)}.")
    return sentences


def _above(one: Group, other: Group, name: str) -> bool:
    d = difference(one, other, name)
    return clear(d) and d.value > 0


def _helps(group: Group) -> bool:
    d = group.gain("P@1")
    return clear(d) and d.value > 0


def _with(groups: Iterable[Group], name: str) -> list[Group]:
    return [group for group in groups if group.metric(name) is not None]


def _per_doubling(a: Group, b: Group) -> float:
    gain = b.metric("P@1").value - a.metric("P@1").value
    return gain / log2(b.settings.documents / a.settings.documents)


def _documents(group: Group) -> str:
    return f"{group.settings.documents:,} documents"


def _moves(before: float, after: float) -> str:
    if percent(before) == percent(after):
        return f"stays at {percent(after)} %"
    return f"{'rises' if after > before else 'falls'} from {percent(before)} % to {percent(after)} %"


def _noise(d: Interval) -> str:
    return "" if clear(d) else ", within noise"


def _share(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
