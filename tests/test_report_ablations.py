"""The report of the ablations, from result files that the tests write: numbers, gaps, sentences, sorting."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from lmtx import report
from lmtx.report import ablation_tables, ablations
from lmtx.report.results import Results, difference, grouped
from lmtx.report.schema import Point, Result

SHARED = {
    "documents": 960, "shortlist": 10, "teacher": "ensemble", "teacher_kind": "ensemble", "mode": None,
    "true_yes": None, "false_yes": None, "negatives": "hardest", "rejected_negatives": 0,
    "soft_targets": False, "refresh": True, "restart": True, "descriptions": True, "cycle": 1,
}  # fmt: skip
ZERO = {"P@1": 0.44, "R@10": 0.68}


def around(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def point(name, axis, p1, r10=0.7, seed=108, base=0.46, half=0.012, **more):
    """A run: P@1 and R@10 with intervals of 0.03, its paired differences with intervals of `half`."""
    settings = SHARED | more.pop("settings", {})
    return {
        "point": name, "axis": axis, "dataset": "toy", "seed": seed, "same_as": None, "settings": settings,
        "n": 1000, "metrics": {"P@1": around(p1, 0.03), "R@10": around(r10, 0.03)},
        "against_zero_shot": {"P@1": around(p1 - ZERO["P@1"], half), "R@10": around(r10 - 0.68, half)},
        "against_base": None if axis == "base" else {
            "P@1": around(p1 - base, half), "R@10": around(r10 - 0.7, half),
        },
        "trained_on": 830, "verdicts": settings["documents"] * settings["shortlist"], "yes_rate": 0.4,
        "pseudo_positives": 4.0, "pseudo_precision": 0.29, "pseudo_recall": 0.5,
        "seconds": {"shortlist": 0.1, "judge": 1.0, "train": settings["documents"] / 40, "rank": 5.0},
        "cost": {"usd": 0.0, "requests": 0, "prompt_tokens": 0, "answer_tokens": 0, "verdicts": 0},
        "notes": [], "precision": "bf16", "host": {"processor": "Toy", "cores": 2, "gpu": None},
        "versions": {"torch": "2.13.0"}, "config_hash": f"hash-{name}", "commit": "abc1234", **more,
    }  # fmt: skip


def seeds(name, axis, values, **more):
    """Runs of a point with the seeds 108, 109, …, named as their stage names them."""
    return [
        point(name if i == 0 else f"{name}-s{i + 1}", axis, value, value + 0.24, seed=108 + i, **more)
        for i, value in enumerate(values)
    ]


def study():
    """Three seeds of base, of each sample size and of one j; one seed of all others."""
    found = seeds("base", "base", (0.46, 0.462, 0.458))
    for documents, values in {
        60: (0.43, 0.44, 0.435), 120: (0.445, 0.449, 0.447), 240: (0.451, 0.454, 0.45),
        480: (0.456, 0.458, 0.454), 1920: (0.461, 0.46, 0.462),
    }.items():  # fmt: skip
        found += seeds(f"sample-{documents}", "sample", values, settings={"documents": documents})
    found.append(point("main", "main", 0.464, settings={"documents": 8000}))
    found += [
        point("negatives-random", "negatives", 0.44, 0.69, settings={"negatives": "random"}),
        point("negatives-both", "negatives", 0.465, 0.705, settings={"rejected_negatives": 3}),
        point(
            "negatives-rejected", "negatives", 0.41, 0.66,
            settings={"negatives": "rejected", "rejected_negatives": 3},
        ),
        point("shortlist-1", "shortlist", 0.43, 0.68, settings={"shortlist": 1}, pseudo_precision=0.5),
        *seeds(
            "shortlist-3", "shortlist", (0.45, 0.456, 0.447), settings={"shortlist": 3}, pseudo_precision=0.4
        ),
        point("shortlist-5", "shortlist", 0.459, 0.7, settings={"shortlist": 5}, pseudo_precision=0.34),
        point("shortlist-10", "shortlist", 0.46, 0.7, same_as="base"),
        point("shortlist-20", "shortlist", 0.466, 0.71, settings={"shortlist": 20}, pseudo_precision=0.2),
        point("teacher-lexical", "teacher", 0.445, settings={"teacher": "lexical"}),
        point(
            "teacher-openai", "teacher", 0.47,
            settings={"teacher": "gpt", "teacher_kind": "openai", "mode": "listwise"},
            cost={"usd": 0.31, "requests": 960, "prompt_tokens": 400_000, "answer_tokens": 9000},
        ),
        point("curriculum-c2", "curriculum", 0.468, settings={"cycle": 2}),
        point("curriculum-on", "curriculum", 0.463, settings={"cycle": 2, "restart": False}),
        point("curriculum-fixed", "curriculum", 0.455, settings={"cycle": 2, "refresh": False}),
        point(
            "curriculum-fixed-on", "curriculum", 0.45,
            settings={"cycle": 2, "refresh": False, "restart": False},
        ),
        point("targets-soft", "targets", 0.463, settings={"soft_targets": True}),
        point("labels-name", "labels", 0.42, settings={"descriptions": False}),
        point("margin-0.1", "margin", 0.455),
    ]  # fmt: skip
    for t in (0.5, 0.7, 0.9, 1.0):
        for f in (0.0, 0.05, 0.1, 0.2):
            gain = 0.44 + 0.06 * t - 0.25 * f
            rates = {"teacher": "simulated", "teacher_kind": "simulated", "true_yes": t, "false_yes": f}
            more = {"settings": rates, "pseudo_precision": 0.9 - 2 * f, "notes": ["reads annotations"]}
            found.append(point(f"map-{t}-{f}", "map", gain, **more))
    rates = {"teacher": "simulated", "teacher_kind": "simulated", "true_yes": 0.9, "false_yes": 0.02}
    found.append(point("teacher-simulated", "teacher", 0.49, settings=rates))
    return found


def semanlink():
    """The points of `conf/settings/full-semanlink.yaml`, three seeds of each, and the main run."""
    shared = {
        "teacher": "qwen-and-letters", "teacher_kind": "combined", "rejected_negatives": 4, "documents": 400,
        "acceptance": 0.2, "lexical_weight": 0.5,
    }  # fmt: skip
    qwen = {"teacher_kind": "huggingface", "model": "Qwen"}
    points = []

    def add(name, p1, settings=None, **more):
        axis = name.partition("-")[0]
        values = [p1 + d for d in (0, 0.006, -0.006)]
        points.extend(seeds(name, axis, values, base=0.57, settings=shared | (settings or {}), **more))

    add("base", 0.57, shortlist_recall=0.53, power=0.98, agreement_with_base=1.0)
    for documents, p1 in ((100, 0.53), (200, 0.55), (800, 0.578), (1500, 0.585)):
        add(f"sample-{documents}", p1, {"documents": documents})
    # The first seed of the largest sample is the main run.
    (largest,) = [p for p in points if p["point"] == "sample-1500"]
    points.append(largest | {"point": "main", "axis": "main"})
    largest["same_as"] = "main"
    add("negatives-random", 0.55, {"negatives": "random"})
    add("negatives-hardest", 0.54, {"rejected_negatives": 0})
    add("negatives-rejected", 0.571, {"negatives": "rejected"})
    for size, p1 in ((1, 0.5), (3, 0.55), (5, 0.568), (20, 0.572), (30, 0.56)):
        add(f"shortlist-{size}", p1, {"shortlist": size}, pseudo_precision=0.6 - 0.015 * size)
    add("source-dense", 0.53, {"lexical_weight": 0.0}, shortlist_recall=0.47)
    add("source-letters", 0.573, {"lexical_weight": 1.0}, shortlist_recall=0.55)
    for share, p1 in ((5, 0.55), (10, 0.565), (40, 0.54)):
        add(f"acceptance-{share}", p1, {"acceptance": share / 100}, pseudo_precision=0.6 - share / 100)
    add(
        "teacher-qwen",
        0.556,
        qwen | {"teacher": "qwen", "prompt": "strict"},
        power=0.9,
        agreement_with_base=0.87,
    )
    add("teacher-small", 0.51, qwen | {"teacher": "small", "model": "S"}, power=0.55, agreement_with_base=0.7)
    add(
        "teacher-ensemble",
        0.565,
        {"teacher": "ensemble", "teacher_kind": "ensemble"},
        power=0.99,
        agreement_with_base=0.86,
    )
    add(
        "question-paper",
        0.55,
        qwen | {"teacher": "qwen-question", "prompt": "question"},
        power=0.8,
        agreement_with_base=0.8,
    )
    for way, settings in (
        ("refreshed", {}),
        ("continued", {"restart": False}),
        ("fixed", {"restart": False, "refresh": False}),
    ):
        add(f"curriculum-{way}", 0.575, {"cycle": 2, **settings}, shortlist_recall=0.56)
    add("targets-soft", 0.56, {"soft_targets": True})
    return points


def write_points(folder, points):
    (folder / "ablations" / "toy").mkdir(parents=True, exist_ok=True)
    for one in points:
        (folder / "ablations" / "toy" / f"{one['point']}.json").write_text(json.dumps(one))


def write_study(folder, points):
    """Zero-shot and two cycles of LMTX, of which the first is kept, beside the points."""
    kept = {"number": 1, "check": 0.85, "yes_rate": 0.4, "pseudo_positives": 4.0, "pseudo_precision": 0.29}
    kept |= {"documents_used": 6643, "best": True}
    second = kept | {"number": 2, "yes_rate": 0.43, "pseudo_precision": 0.28, "best": False}
    (folder / "metrics" / "toy").mkdir(parents=True)
    for name, gain, cycle in (
        *(("zero-shot", 0, None), ("lmtx-c1", 0.02, kept), ("lmtx-c2", 0.03, second), ("lmtx", 0.02, kept)),
    ):
        metrics = {key: around(value + gain, 0.03) for key, value in ZERO.items()}
        result = {"system": name, "label": name, "n": 1000, "metrics": metrics, "cycle": cycle}
        result |= {"seconds": {"train": 100.0}, "commit": "feed123", "precision": "bf16", "seed": 108}
        (folder / "metrics" / "toy" / f"{name}.json").write_text(json.dumps(result))
    write_points(folder, points)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    write_study(folder, study())
    write(folder)
    return folder


def numbers(reports, name, index="point"):
    """The marks of a figure or the rows of a table."""
    kind = "tables" if (reports / "tables" / f"{name}.csv").exists() else "figures"
    frame = pd.read_csv(reports / kind / f"{name}.csv")
    return (frame[frame["drawn"] == "mark"] if "drawn" in frame else frame).set_index(index)


def group_of(points, name):
    return next(group for group in groups_of(points) if group.name == name)


def groups_of(points):
    return grouped([Point.model_validate(one) for one in points])


def write(folder):
    return report.write(report.load(folder, "toy"), folder)


def test_seeds_give_a_t_interval_and_a_single_run_keeps_its_own(reports):
    found = numbers(reports, "f3_sample_size")
    # Student's t with two degrees of freedom is 4.3027 at 97.5 %; the deviation of 46.0, 46.2, 45.8 is 0.2.
    half = 4.30265 * 0.002 / 3**0.5
    assert found.loc["base", ["P@1", "P@1_low", "P@1_high"]].tolist() == pytest.approx(
        [0.46, 0.46 - half, 0.46 + half], abs=1e-6
    )
    assert found.loc["main", ["P@1", "P@1_low", "P@1_high"]].tolist() == pytest.approx([0.464, 0.434, 0.494])
    assert found.loc["base", "seeds"] == 3 and found.loc["main", "seeds"] == 1
    text = (reports / "figures" / "f3_sample_size.svg").read_text()
    assert "mean and 95 % t-interval over seeds; of one seed" in text
    assert "seeds 108, 109 and 110" in text


def test_f3_holds_quality_and_time_of_each_sample_and_each_seed(reports):
    found = pd.read_csv(reports / "figures" / "f3_sample_size.csv")
    marks = found[found["drawn"] == "mark"]
    assert marks["documents"].tolist() == [60, 120, 240, 480, 960, 1920, 8000]
    assert marks["train_seconds"].tolist() == pytest.approx([1.5, 3, 6, 12, 24, 48, 200])
    points = found[(found["drawn"] == "point") & (found["documents"] == 60)]
    assert points["seed"].tolist() == [108, 109, 110]
    assert points["P@1"].tolist() == [0.43, 0.44, 0.435]


def test_f4_has_one_row_a_strategy(reports):
    found = numbers(reports, "f4_negatives", "strategy")
    assert found.index.tolist() == [
        *("rejected only (3)", "random in batch", "hardest in batch", "hardest in batch + rejected (3)")
    ], "from the lowest P@1 to the highest"
    assert found.loc["rejected only (3)", ["P@1", "R@10"]].tolist() == [0.41, 0.66]


def test_f5_holds_quality_and_what_the_teacher_is_asked(reports):
    found = numbers(reports, "f5_shortlist", "shortlist")
    assert found.index.tolist() == [1, 3, 5, 10, 20], "the point that is base is there once"
    assert found["verdicts_per_document"].tolist() == [1, 3, 5, 10, 20]
    assert found["pseudo_precision"].tolist() == pytest.approx([0.5, 0.4, 0.34, 0.29, 0.2])
    assert found.loc[20, ["P@1", "R@10"]].tolist() == [0.466, 0.71]


@pytest.mark.parametrize("axis", ["sample", "shortlist"])
def test_the_name_of_the_level_line_lies_beside_the_panels(reports, axis):
    """Within one, an interval could run through it."""
    figure = ablations.of_axis(report.load(reports, "toy"), axis).figure
    figure.canvas.draw()
    notes = [t for axes in figure.axes for t in axes.texts if t.get_text() == "zero-shot"]
    assert len(notes) == 2
    for note in notes:
        box = note.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert not any(box.overlaps(axes.yaxis.get_tightbbox()) for axes in figure.axes)
        assert box.x1 < figure.bbox.x1


def test_the_map_holds_the_gain_of_each_pair_of_rates(reports):
    found = numbers(reports, "teacher_map", ["true_yes", "false_yes"])
    assert len(found) == 16
    row = found.loc[(0.9, 0.05)]
    assert row[["gain", "gain_low", "gain_high"]].tolist() == pytest.approx([0.0415, 0.0295, 0.0535])
    text = (reports / "figures" / "teacher_map.svg").read_text()
    assert "Simulated" in text and "[+3.0, +5.4]" in text


def test_f2_shows_the_numbers_of_the_cycle_kept(reports):
    found = numbers(reports, "f2_loop", "quantity")["value"]
    assert found["shortlist"] == 10, "4 yes a document at a yes-rate of 40 %"
    assert found[["yes_rate", "documents_used", "P@1"]].tolist() == [0.4, 6643, 0.46]
    text = (reports / "figures" / "f2_loop.svg").read_text()
    assert "10 nearest labels" in text and "6,643 documents" in text and "right for 46.0 %" in text


def test_t5_holds_each_teacher_and_marks_the_simulated_one(reports):
    found = numbers(reports, "t5_teachers")
    assert found.index.tolist() == ["base", "teacher-lexical", "teacher-openai", "teacher-simulated"]
    row = found.loc["teacher-openai"]
    assert row[["requests", "prompt_tokens", "answer_tokens", "usd"]].tolist() == [960, 400_000, 9000, 0.31]
    assert row[["gain", "gain_low", "gain_high"]].tolist() == pytest.approx([0.03, 0.018, 0.042])
    assert found.loc["base", "verdicts"] == 28_800, "summed over three seeds"
    text = (reports / "tables" / "t5_teachers.md").read_text()
    assert "| simulated: yes to 90 % of true, 2 % of other labels † | 1 |" in text
    assert "| gpt, listwise | 1 |" in text and "+3.0* [+1.8, +4.2] | 9,600 | 960 | 409,000 | 0.31 |" in text
    assert "960 training documents, seeds 108, 109 and 110; n = 1,000" in text


def test_t6_holds_the_main_run_and_the_variants_of_a_second_cycle(reports):
    found = numbers(reports, "t6_curriculum")
    assert found.loc["lmtx-c2", ["check", "yes_rate", "P@1"]].tolist() == pytest.approx([0.85, 0.43, 0.47])
    subset = found[found["part"] == "subset"]
    assert subset.index.tolist() == [
        *("base", "curriculum-c2", "curriculum-on", "curriculum-fixed", "curriculum-fixed-on")
    ]
    assert subset.loc["curriculum-fixed", "minus_cycle_1"] == pytest.approx(-0.005)
    text = (reports / "tables" / "t6_curriculum.md").read_text()
    assert "| Cycle 2, fixed shortlists, going on |" in text and "| Cycle 1, kept |" in text


def test_the_variants_hold_the_axes_of_users_too(reports):
    found = numbers(reports, "variants", ["axis", "point"])
    assert [axis for axis, _ in found.index] == ["targets"] * 2 + ["labels"] * 2 + ["margin"] * 2
    assert found.loc[("labels", "labels-name"), "minus_base"] == pytest.approx(-0.04)
    text = (reports / "tables" / "variants.md").read_text()
    assert "| name alone | 1 |" in text and "| margin-0.1 | 1 |" in text


def test_a_point_of_the_same_settings_is_not_counted_twice():
    points = [*seeds("base", "base", (0.46, 0.47)), point("shortlist-10", "shortlist", 0.46, same_as="base")]
    (base,) = groups_of(points)
    assert [p.seed for p in base.points] == [108, 109] and base.axes == {"base", "shortlist"}
    (alone,) = groups_of(points[-1:])
    assert "base" in alone.axes, "it stands for base where base's own file is missing"


def test_the_main_run_is_base_where_both_have_the_same_settings():
    points = [point("main", "main", 0.46), point("base", "base", 0.46, same_as="main")]
    (group,) = groups_of([*points, point("sample-960", "sample", 0.46, same_as="main")])
    assert (
        group.name == "main"
        and group.axes == {"main", "base", "sample"}
        and [p.seed for p in group.points] == [108]
    )


def test_points_that_other_settings_tell_apart_are_not_one_group():
    points = [
        point("base", "base", 0.46),
        point("margin-0.1", "margin", 0.4),
        point("margin-0.2", "margin", 0.5),
    ]
    assert [group.name for group in groups_of(points)] == ["base", "margin-0.1", "margin-0.2"]


def test_differences_are_paired_where_they_can_be():
    one, two = (0.46, 0.48, 0.5), (0.45, 0.468, 0.492)
    points = [*seeds("base", "base", one), *seeds("targets-soft", "targets", two)]
    d = difference(group_of(points, "targets-soft"), group_of(points, "base"), "P@1")
    # The differences are -1, -1.2 and -0.8 points: their deviation is 0.2, whatever the seeds have in common.
    half = 4.30265 * 0.002 / 3**0.5
    assert (d.value, d.low, d.high) == pytest.approx((-0.01, -0.01 - half, -0.01 + half), abs=1e-6)
    back = difference(group_of(points, "base"), group_of(points, "targets-soft"), "P@1")
    assert (back.value, back.low) == pytest.approx((0.01, 0.01 - half), abs=1e-6)
    alone = [point("base", "base", 0.46), point("a-1", "a", 0.47), point("a-2", "a", 0.44)]
    a, b, base = (group_of(alone, name) for name in ("a-1", "a-2", "base"))
    assert difference(a, base, "P@1").low == pytest.approx(0.01 - 0.012), "as the run has it"
    assert difference(a, b, "P@1").low == pytest.approx(0.03 - 0.012 * 2**0.5), "through base"


def message(axis, *values):
    """The sentence of an axis of base and points with these P@1."""
    points = [point("base", "base", 0.46)]
    points += [point(f"{axis}-{i}", axis, p1, settings=settings) for i, (p1, settings) in enumerate(values)]
    models = [Point.model_validate(one) for one in points]
    systems = [Result.model_validate({"system": "zero-shot", "label": "E0", "stopped": "not run"})]
    return ablations.of_axis(Results("toy", {"toy": systems}, {}, {"toy": models}), axis).message


def test_a_figure_says_what_is_highest_and_what_chance_may_explain():
    """Paired differences to base have intervals of 1.2 points to both sides; others of 1.7 points."""
    few, many = {"documents": 240}, {"documents": 3840}
    assert message("sample", (0.42, few), (0.465, many)) == (
        "Highest P@1: 3,840 documents, 46.5 %; within noise of it: 960 documents"
    )
    assert message("sample", (0.42, few), (0.52, many)) == (
        "Highest P@1: 3,840 documents, 52.0 %, clearly above all others"
    )
    assert message("shortlist", (0.455, {"shortlist": 3}), (0.461, {"shortlist": 20})) == (
        "Highest P@1: j = 20, 46.1 %; within noise of it: all others"
    )
    assert message("negatives", (0.47, {"negatives": "random"})) == (
        "Highest P@1: random in batch, 47.0 %; within noise of it: hardest in batch"
    )
    # Base has no acceptance here.
    assert message("acceptance", (0.45, {"acceptance": 0.05}), (0.41, {"acceptance": 0.4})) == (
        "Highest P@1: 5 % accepted, 45.0 %, clearly above all others"
    )


def test_the_map_counts_the_teachers_that_help():
    cells = ((0.9, 0.0, 0.5), (0.9, 0.1, 0.46), (0.5, 0.0, 0.46), (0.5, 0.1, 0.44))
    points = [
        point(f"map-{t}-{f}", "map", p1, settings={"true_yes": t, "false_yes": f}) for t, f, p1 in cells
    ]
    models = [Point.model_validate(one) for one in points]
    drawing = ablations.teacher_map(Results("toy", {"toy": []}, {}, {"toy": models}))
    assert drawing.message == "3 of 4 simulated teachers lift the student clearly above zero-shot"


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The points that `make full` runs on semanlink."""
    folder = tmp_path_factory.mktemp("planned")
    write_study(folder, semanlink())
    return report.load(folder, "toy")


@pytest.mark.parametrize(
    ("axis", "values", "sentence"),
    [
        (
            "sample",
            [100, 200, 400, 800, 1500],
            "Highest P@1: 1,500 documents, 58.5 %, clearly above all others",
        ),
        ("shortlist", [1, 3, 5, 10, 20, 30], "Highest P@1: j = 20, 57.2 %, clearly above all others"),
        ("acceptance", [5, 10, 20, 40], "Highest P@1: 20 % accepted, 57.0 %, clearly above all others"),
        (
            "negatives",
            [
                "hardest in batch",
                "random in batch + rejected (4)",
                "hardest in batch + rejected (4)",
                "rejected only (4)",
            ],
            "Highest P@1: rejected only (4), 57.1 %, clearly above all others",
        ),
        (
            "source",
            ["encoder alone", "encoder + 0.5 × letters", "encoder + 1 × letters"],
            "Highest P@1: encoder + 1 × letters, 57.3 %, clearly above all others",
        ),
    ],
)
def test_every_axis_of_the_full_study_has_its_figure(planned, axis, values, sentence):
    """Three seeds that shift all points alike: each paired difference is as good as exact."""
    drawing = ablations.of_axis(planned, axis)
    marks = drawing.frame[drawing.frame["drawn"] == "mark"]
    assert marks[ablations.AXES[axis].column].tolist() == values
    assert (marks["seeds"] == 3).all(), "the main run is the first seed of the largest sample"
    assert drawing.message == sentence
    assert "Small points: single seeds" in drawing.caption and "Dashed: zero-shot" in drawing.caption
    svg = drawing.to_html()
    assert "not measured" not in svg and svg.count("zero-shot") >= 2


def test_a_prompt_is_compared_with_the_same_model_asked_otherwise(planned):
    table = ablation_tables.t5_teachers(planned)
    points = ["base", "teacher-qwen", "teacher-small", "teacher-ensemble", "question-paper"]
    assert sorted(table.frame["point"]) == sorted(points)
    question, rank = table.notes
    assert question == (
        "qwen-question is qwen, asked by the prompt “question” instead of “strict”: "
        "P@1 −0.6 points [−0.6, −0.6]."
    )
    # P@1 orders them base, ensemble, qwen, qwen-question, small; each figure swaps two: 1 - 6 * 2 / 120.
    assert rank.endswith("over these 5 teachers: telling apart 0.90, agreement with base 0.90.")


def test_t6_and_the_variants_hold_the_rest_of_the_full_study(planned):
    text = ablation_tables.t6_curriculum(planned).to_markdown()
    for way in ("fresh shortlists, from E0", "fresh shortlists, going on", "fixed shortlists, going on"):
        assert f"| Cycle 2, {way} | — | 56.0 |" in text
    assert ablation_tables.variants(planned).frame["point"].tolist() == ["base", "targets-soft"]


def test_t6_compares_cycles_and_their_variants_with_cycle_1_of_the_subset(tmp_path):
    points = [point("base", "base", 0.46)]
    for name, p1, how in (("c2", 0.49, {}), ("fixed", 0.45, {"refresh": False})):
        points.append(point(f"curriculum-{name}", "curriculum", p1, settings={"cycle": 2, **how}))
    write_study(tmp_path, points)
    write(tmp_path)
    text = (tmp_path / "tables" / "t6_curriculum.md").read_text()
    (second,) = [
        line for line in text.splitlines() if line.startswith("| Cycle 2, fresh shortlists, from E0")
    ]
    assert second.endswith("| +3.0* [+1.8, +4.2] |"), "a star: clearly different"
    (fixed,) = [line for line in text.splitlines() if line.startswith("| Cycle 2, fixed shortlists, from E0")]
    assert fixed.endswith("| −1.0 [−2.2, +0.2] |")


def test_the_page_tells_what_the_figures_show_and_how_to_make_them(reports):
    text = (reports / "index.html").read_text()
    order = re.findall(r'<section id="([\w-]+)">', text)
    assert order == [
        *("main-comparison", "t1-datasets", "t2-main", "t2-tail", "strings-or-model"),
        *("f2-loop", "t4-cost", "t5-teachers", "teacher-map", "f3-sample-size"),
        *(
            "f4-negatives",
            "f5-shortlist",
            "t6-curriculum",
            "f6-curriculum",
            "variants",
            "not-run",
            "provenance",
        ),
    ]
    message = "Highest P@1: 8,000 documents, 46.4 %; within noise of it: 240, 480, 960 and 1,920 documents"
    assert f'aria-label="F3 Sample size: {message}"' in text
    for stage, count in (("prepare", 1), ("evaluate", 7), ("ablations", 8)):
        assert text.count(f"dvc repro {stage} &amp;&amp; make report") == count
    assert "feed123" in text and "abc1234" in text
    # The runs of the shared settings: three, of 30.1 seconds each.
    assert re.search(r"ablations: base</th><td>3</td><td>3 sets</td><td>108, 109, 110</td><td>90</td>", text)


def test_ablations_that_were_not_run_are_named_in_one_place(tmp_path):
    write_study(tmp_path, [])
    write(tmp_path)
    text = (tmp_path / "index.html").read_text()
    (gaps,) = re.findall(r'<section id="not-run">(.*?)</section>', text, flags=re.DOTALL)
    assert re.findall(r"<li>(.*?) <small>", gaps) == [
        *("T5 Teachers", "How good a teacher must be", "F3 Sample size", "F4 Negatives"),
        *("F5 Shortlist size", "F5 Shortlist source", "Accepted share", "Variants"),
        *("T2 Labels in the text", "Rare and common labels", "F1 Training pairs"),
    ]
    assert 'id="f3-sample-size"' not in text and 'id="t6-curriculum"' in text
    assert "<code>make full</code>" in gaps
    assert not (tmp_path / "figures" / "f3_sample_size.svg").exists()
    assert not (tmp_path / "tables" / "t5_teachers.md").exists()
    assert "not run yet" in (tmp_path / "tables" / "t6_curriculum.md").read_text()


def test_a_part_of_the_points_is_a_figure_with_gaps(tmp_path):
    partial = point("shortlist-3", "shortlist", 0.45, settings={"shortlist": 3}, pseudo_precision=None)
    partial |= {"against_base": None, "against_zero_shot": None, "verdicts": None}
    del partial["metrics"]["R@10"]
    write_points(tmp_path, [partial])
    results = report.load(tmp_path, "toy")
    figure = ablations.of_axis(results, "shortlist")
    assert figure.frame["shortlist"].tolist() == [3]
    assert figure.frame[["R@10", "verdicts_per_document"]].isna().all(axis=None)
    assert figure.to_html().count("not measured") == 3
    assert ablations.teacher_map(results).frame.empty
    for axis in ("sample", "negatives", "source"):
        assert ablations.of_axis(results, axis).frame.empty


def test_a_broken_point_is_named(tmp_path):
    broken = point("base", "base", 0.46)
    del broken["settings"]["shortlist"]
    write_points(tmp_path, [broken])
    with pytest.raises(ValueError, match=r"base\.json: `settings\.shortlist`: field required"):
        write(tmp_path)
    (tmp_path / "ablations" / "toy" / "base.json").write_text(json.dumps(point("other", "base", 0.46)))
    with pytest.raises(ValueError, match="`point` is 'other', not the file's name"):
        write(tmp_path)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_every_table_of_the_ablations_compiles(reports, tmp_path):
    names = [path.stem for path in sorted((reports / "tables").glob("*.tex"))]
    for name in names:
        shutil.copy(reports / "tables" / f"{name}.tex", tmp_path)
    (tmp_path / "all.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
        + "".join(rf"\input{{{name}}}\clearpage" for name in names)
        + r"\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull" not in run.stdout


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_heading_sorts_its_table_within_each_part(reports, tmp_path):
    page = (reports / "index.html").read_text()
    buttons = '[...document.querySelectorAll("#t6-curriculum th button")]'
    press = f'<script>{buttons}.find(button => button.textContent === "P@1").click()</script>'
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{press}</body>"))
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    command += ["--dump-dom", f"file://{tmp_path / 'page.html'}"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    (section,) = re.findall(r'<section id="t6-curriculum">(.*?)</section>', found, flags=re.DOTALL)
    assert '<th scope="col" aria-sort="descending"><button type="button">P@1</button></th>' in section
    assert re.findall(r'scope="row">(.*?)</th>', section) == [
        *("Cycle 2", "Cycle 1, kept", "Zero-shot"),
        *("Cycle 2, fresh shortlists, from E0", "Cycle 2, fresh shortlists, going on", "Cycle 1"),
        *("Cycle 2, fixed shortlists, from E0", "Cycle 2, fixed shortlists, going on"),
    ]


def test_the_same_points_give_the_same_bytes(reports, tmp_path):
    for path in ablations.teacher_map(report.load(reports, "toy")).save(tmp_path):
        assert path.read_bytes() == (reports / "figures" / path.name).read_bytes(), path.name
