"""The sentence that heads each figure, made from its numbers: other numbers, other sentences.

"Clearly" means that the 95 % interval of a difference leaves 0 out.
"""

from collections.abc import Sequence
from itertools import groupby, takewhile

import pandas as pd

from lmtx.report.groups import Group, difference, positive
from lmtx.report.render import interval, listed, percent, total
from lmtx.report.results import Results, cycles, each_once, measured
from lmtx.report.schema import Interval, Result

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


def summary(results: Results) -> dict[str, str]:
    """The study in four sentences: gain, rival, cost and doubt; none where E0 or LMTX has no result."""
    gains = {dataset: _gain(systems) for dataset, systems in results.by_dataset.items()}
    lmtx, zero = (measured(results.systems, name) for name in ("lmtx", "zero-shot"))
    if lmtx is None or zero is None or gains[results.dataset] is None:
        return {}
    compared = [r for r in each_once(results.systems) if "P@1" in (r.against_lmtx or {}) and r is not zero]
    # A rival is measured on all documents, reads no annotation, and does without LMTX.
    rivals = [r for r in compared if r.n == lmtx.n and r.zero_shot]
    rivals = [r for r in rivals if not r.system.startswith(("lmtx", "hybrid-lmtx"))]
    sentences = {
        "Gain": f"On {results.dataset}, the first label of LMTX is right for {_p1(lmtx)} % of {lmtx.n:,} "
        f"test documents, that of its encoder before training for {_p1(zero)} %: "
        f"{_difference(gains[results.dataset])}."
    }
    if rivals:
        rival = max(rivals, key=lambda r: r.metrics["P@1"].value)
        ahead = _difference(rival.against_lmtx["P@1"].reverse)
        sentences["Rival"] = f"The rival to beat is “{rival.label}”, {_p1(rival)} %; LMTX minus it: {ahead}."
    if ran := [r for r in cycles(results.systems).values() if r.stopped is None]:
        seconds, usd = sum(s or 0 for r in ran for s in r.seconds.values()), total(r.cost.usd for r in ran)
        price = "at an unknown price" if usd is None else f"for ${usd:,.2f}"
        sentences["Cost"] = (
            f"LMTX took {_duration(seconds)} and {sum(r.cost.requests for r in ran):,} requests to a "
            f"language model {price}, besides the verdicts that were stored; tagging asks none."
        )
    others = [r for r in compared if r.family != "lmtx" and _within_noise(r.against_lmtx["P@1"])]
    datasets = [dataset for dataset, gain in gains.items() if gain and _within_noise(gain)]
    doubts = [f"the distance of LMTX to {listed(f'“{r.label}”' for r in others)}"] * bool(others)
    doubts += [f"its gain on {listed(datasets)}"] * bool(datasets)
    chance = f"Chance may explain {' and '.join(doubts)}; each" if doubts else "Each"
    sentences["Doubt"] = f"{chance} row is one run, and its interval is over test documents, not over seeds."
    return sentences


def main_comparison(systems: list[Result]) -> str:
    """LMTX's P@1 and its paired gain over zero-shot, as far as both are measured."""
    lmtx, gain = measured(systems, "lmtx"), _gain(systems)
    if lmtx is None:
        return "LMTX has no result yet"
    first = f"LMTX's first label is right for {percent(lmtx.metrics['P@1'].value)} % of the documents"
    if gain is None:
        return first
    span = interval(gain.low, gain.high, sign=True)
    if _within_noise(gain):
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
        gain = _gain(systems)
        verb = "rises" if after > before else "falls" if after < before else "stays"
        message += f": P@1 {verb} from {percent(before)} % to {percent(after)} %"
        message += ", within noise" if gain and _within_noise(gain) else ""
    return message


def rare_labels(frame: pd.DataFrame) -> str:
    """Who contributes most from labels that no training annotation holds."""
    zero_shot = frame["zero_shot"].astype(bool)
    measured_systems = frame[zero_shot & frame["never"].notna()]
    if measured_systems.empty:
        return "No system has a result yet"
    best = measured_systems.loc[measured_systems["never"].idxmax()]
    near = int((measured_systems["never_high"] >= best["never_low"]).sum()) - 1
    message = f"Labels that were never annotated: {best['label']} finds most, "
    message += f"{percent(best['never'])} points of P@5"
    message += f" (intervals of {near} more systems overlap)" if near else ""
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
    if not below:
        return (
            f"No strategy is clearly best; {strategy(best)} is highest, {percent(best.metric('P@1').value)} %"
        )
    count = f"{below} of {others} others" if below < others else "all others"
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


def _gain(systems: list[Result]) -> Interval | None:
    """The paired difference in P@1 of LMTX and its encoder before training."""
    zero = measured(systems, "zero-shot")
    d = (zero.against_lmtx or {}).get("P@1") if zero else None
    return d and d.reverse


def _within_noise(d: Interval) -> bool:
    return d.low <= 0 <= d.high


def _difference(d: Interval) -> str:
    """A difference in points with its interval, and whether chance may explain it."""
    noise = ", within noise" if _within_noise(d) else ""
    return f"{percent(d.value, sign=True)} points {interval(d.low, d.high, sign=True)}{noise}"


def _p1(r: Result) -> str:
    return percent(r.metrics["P@1"].value)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _above(one: Group, other: Group) -> bool:
    return positive(difference(one, other, "P@1"))


def _helps(group: Group) -> bool:
    return positive(group.gain("P@1"))


def _measured(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.metric("P@1") is not None]


def _share(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
