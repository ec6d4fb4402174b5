"""The sentence that heads each figure, made from its numbers: other numbers, other sentences.

"Clearly" means that the 95 % interval of a difference leaves 0 out.
"""

from collections.abc import Sequence
from itertools import groupby, takewhile

import pandas as pd

from lmtx.report.groups import Group, difference, positive
from lmtx.report.render import interval, percent
from lmtx.report.results import cycles, measured
from lmtx.report.schema import Result

_NOT_RUN = "Not run yet"


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


def main_comparison(systems: list[Result]) -> str:
    """LMTX's P@1 and its paired gain over zero-shot, as far as both are measured."""
    lmtx, zero = measured(systems, "lmtx"), measured(systems, "zero-shot")
    if lmtx is None:
        return "LMTX has no result yet"
    first = f"LMTX's first label is right for {percent(lmtx.metrics['P@1'].value)} % of the documents"
    d = (zero.against_lmtx or {}).get("P@1") if zero else None
    if d is None:
        return first
    gain = d.reverse
    span = interval(gain.low, gain.high, sign=True)
    if gain.low <= 0 <= gain.high:
        return f"{first}: no clear difference to its encoder before training, {span} points"
    side = "above" if gain.value > 0 else "below"
    return f"{first}, {percent(abs(gain.value))} points {side} its encoder before training {span}"


def curriculum(systems: list[Result]) -> str:
    """F6: which cycle the check keeps, and its P@1 beside that of zero-shot."""
    ran = {number: r for number, r in cycles(systems).items() if "P@1" in r.metrics}
    if not ran:
        return "No cycle of LMTX has a result yet"
    count = f"{len(ran)} cycle{'s' if len(ran) > 1 else ''}"
    best = next((number for number, r in ran.items() if r.cycle and r.cycle.best), None)
    if best is None:
        return f"{count} ran, and none was kept"
    message = f"Of {count}, the teacher's check keeps cycle {best}"
    if zero := measured(systems, "zero-shot"):
        before, after = zero.metrics["P@1"].value, ran[best].metrics["P@1"].value
        verb = "rises" if after > before else "falls" if after < before else "stays"
        message += f": P@1 {verb} from {percent(before)} % to {percent(after)} %"
    return message


def rare_labels(frame: pd.DataFrame) -> str:
    """Who contributes most from labels that no training annotation holds."""
    zero_shot = frame["zero_shot"].astype(bool)
    measured_systems = frame[zero_shot & frame["never"].notna()]
    if measured_systems.empty:
        return "No system has a result yet"
    best = measured_systems.loc[measured_systems["never"].idxmax()]
    message = f"Labels that were never annotated: {best['label']} finds most, "
    message += f"{percent(best['never'])} points of P@5"
    if not zero_shot.all():
        message += f"; with annotations, {percent(frame[~zero_shot]['never'].max())}"
    return message


def sample_size(groups: Sequence[Group]) -> str:
    """F3: from where on more documents add nothing clear to P@1."""
    groups = sorted(_measured(groups), key=lambda g: g.settings.documents)
    if not groups:
        return _NOT_RUN
    knee = next(g for i, g in enumerate(groups) if not any(_above(h, g) for h in groups[i + 1 :]))
    documents = f"{knee.settings.documents:,} documents"
    if knee is groups[-1]:
        return f"More documents pay up to the largest sample, {documents}"
    return f"From {documents} on, more of them add nothing clear"


def negatives(groups: Sequence[Group]) -> str:
    """F4: which strategy is best in P@1, and how many others are clearly below it."""
    groups = _measured(groups)
    if not groups:
        return _NOT_RUN
    best = max(groups, key=lambda g: g.metric("P@1").value)
    below, others = sum(_above(best, g) for g in groups), len(groups) - 1
    count = "no other" if not below else f"{below} of {others} others" if below < others else "all others"
    return f"Best P@1: {strategy(best)}, {percent(best.metric('P@1').value)} %, clearly above {count}"


def shortlist(groups: Sequence[Group]) -> str:
    """F5: the smallest shortlist within noise of the best in P@1."""
    groups = sorted(_measured(groups), key=lambda g: g.settings.shortlist)
    if not groups:
        return _NOT_RUN
    best = max(groups, key=lambda g: g.metric("P@1").value)
    shortest = next(g for g in groups if g is best or not _above(best, g))
    j, value = best.settings.shortlist, percent(best.metric("P@1").value)
    if shortest is not best:
        return f"j = {shortest.settings.shortlist} is the shortest list within noise of the best, j = {j}"
    if best is groups[0]:
        return f"The shortest list, j = {j}, is as good as any longer one: P@1 {value} %"
    return f"j = {j} is best, P@1 {value} %, clearly above every shorter list"


def teacher_map(groups: Sequence[Group]) -> str:
    """The map: the weakest teacher that lifts the student clearly above zero-shot."""
    groups = [g for g in groups if g.gain("P@1") is not None]
    if not groups:
        return _NOT_RUN
    groups.sort(key=lambda g: (-g.settings.true_yes, g.settings.false_yes))
    helping = [g for g in groups if _helps(g)]
    if not helping:
        return "No teacher on the map lifts the student clearly above zero-shot"
    # Of each row of the map, the teachers that help, up to the first one that does not.
    rows = [list(takewhile(_helps, row)) for _, row in groupby(groups, key=lambda g: g.settings.true_yes)]
    if sum(map(len, rows)) < len(helping):
        # By chance, one that errs more helps where one that errs less does not: no weakest can be named.
        return f"{len(helping)} of {len(groups)} teachers lift the student clearly above zero-shot"
    weakest = [row for row in rows if row][-1][-1].settings
    return (
        f"The weakest teacher that helps says yes to {_share(weakest.true_yes)} of the true labels "
        f"and to at most {_share(weakest.false_yes)} of the others"
    )


def _above(one: Group, other: Group) -> bool:
    return positive(difference(one, other, "P@1"))


def _helps(group: Group) -> bool:
    return positive(group.gain("P@1"))


def _measured(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.metric("P@1") is not None]


def _share(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
