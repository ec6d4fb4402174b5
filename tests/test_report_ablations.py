"""The report of the ablations, from result files that the tests write: numbers, gaps, sentences, sorting."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from pytest import approx

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


def seeds(name, axis, values, base=0.46, **more):
    """Runs of a point with the seeds 108, 109, …, named as their stage names them."""
    return [
        point(name if i == 0 else f"{name}-s{i + 1}", axis, value, value + 0.24, 108 + i, base, **more)
        for i, value in enumerate(values)
    ]


def study():
    """Three seeds of base, of each sample size and of one j; one seed of all others."""
    runs = seeds("base", "base", (0.46, 0.462, 0.458))
    for documents, values in {
        60: (0.43, 0.44, 0.435), 120: (0.445, 0.449, 0.447), 240: (0.451, 0.454, 0.45),
        480: (0.456, 0.458, 0.454), 1920: (0.461, 0.46, 0.462),
    }.items():  # fmt: skip
        runs += seeds(f"sample-{documents}", "sample", values, settings={"documents": documents})
    j3 = {"settings": {"shortlist": 3}, "pseudo_precision": 0.4}
    runs += seeds("shortlist-3", "shortlist", (0.45, 0.456, 0.447), **j3)
    simulated = {"teacher": "simulated", "teacher_kind": "simulated"}
    for name, p1, settings in (
        ("main", 0.464, {"documents": 8000}),
        ("negatives-random", 0.44, {"negatives": "random"}),
        ("negatives-both", 0.465, {"rejected_negatives": 3}),
        ("negatives-rejected", 0.41, {"negatives": "rejected", "rejected_negatives": 3}),
        ("shortlist-1", 0.43, {"shortlist": 1}),
        ("shortlist-5", 0.459, {"shortlist": 5}),
        ("shortlist-20", 0.466, {"shortlist": 20}),
        ("teacher-lexical", 0.445, {"teacher": "lexical"}),
        ("teacher-simulated", 0.49, simulated | {"true_yes": 0.9, "false_yes": 0.02}),
        ("curriculum-c2", 0.468, {"cycle": 2}),
        ("curriculum-on", 0.463, {"cycle": 2, "restart": False}),
        ("curriculum-fixed", 0.455, {"cycle": 2, "refresh": False}),
        ("curriculum-fixed-on", 0.45, {"cycle": 2, "refresh": False, "restart": False}),
        ("source-letters", 0.467, {"lexical_weight": 1.0}),
        ("source-dense", 0.44, {"lexical_weight": 0.0}),
        ("acceptance-5", 0.45, {"acceptance": 0.05}),
        ("targets-soft", 0.463, {"soft_targets": True}),
        ("labels-name", 0.42, {"descriptions": False}),
        ("margin-0.1", 0.455, {}),
    ):
        precision = {"shortlist-1": 0.5, "shortlist-5": 0.34, "shortlist-20": 0.2}.get(name, 0.29)
        runs.append(point(name, name.partition("-")[0], p1, settings=settings, pseudo_precision=precision))
    runs.append(point("shortlist-10", "shortlist", 0.46, same_as="base"))
    gpt = {"teacher": "gpt", "teacher_kind": "openai", "mode": "listwise"}
    cost = {"usd": 0.31, "requests": 960, "prompt_tokens": 400_000, "answer_tokens": 9000}
    runs.append(point("teacher-openai", "teacher", 0.47, settings=gpt, cost=cost))
    for t in (0.5, 0.7, 0.9, 1.0):
        for f in (0.0, 0.05, 0.1, 0.2):
            settings = simulated | {"true_yes": t, "false_yes": f}
            runs.append(point(f"map-{t}-{f}", "map", 0.44 + 0.06 * t - 0.25 * f, settings=settings))
    return runs


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
    cycles = {"zero-shot": None, "lmtx-c1": kept, "lmtx-c2": second, "lmtx": kept}
    for (name, cycle), gain in zip(cycles.items(), (0, 0.02, 0.03, 0.02), strict=True):
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
    (path,) = reports.glob(f"*s/{name}.csv")
    frame = pd.read_csv(path)
    return (frame[frame["drawn"] == "mark"] if "drawn" in frame else frame).set_index(index)


def text_of(reports, name):
    return (reports / name).read_text(encoding="utf-8")


def group_of(points, name):
    return next(group for group in groups_of(points) if group.name == name)


def groups_of(points):
    return grouped([Point.model_validate(one) for one in points])


def write(folder):
    return report.write(report.load(folder, "toy"), folder)


def test_f3_holds_quality_and_time_of_each_sample_with_a_t_interval_over_several_seeds(reports):
    marks = numbers(reports, "f3_sample_size")[["P@1", "P@1_low", "P@1_high", "seeds"]]
    # Student's t with two degrees of freedom is 4.3027 at 97.5 %; the deviation of 46.0, 46.2, 45.8 is 0.2.
    half = 4.30265 * 0.002 / 3**0.5
    assert marks.loc["base"].tolist() == approx([0.46, 0.46 - half, 0.46 + half, 3], abs=1e-6)
    assert marks.loc["main"].tolist() == approx([0.464, 0.434, 0.494, 1])
    text = text_of(reports, "figures/f3_sample_size.svg")
    assert "mean and 95 % t-interval over seeds; of one seed" in text and "seeds 108, 109 and 110" in text

    frame = pd.read_csv(reports / "figures" / "f3_sample_size.csv")
    marks = frame[frame["drawn"] == "mark"]
    assert marks["documents"].tolist() == [60, 120, 240, 480, 960, 1920, 8000]
    assert marks["train_seconds"].tolist() == approx([1.5, 3, 6, 12, 24, 48, 200])
    points = frame[(frame["drawn"] == "point") & (frame["documents"] == 60)]
    assert points["seed"].tolist() == [108, 109, 110]
    assert points["P@1"].tolist() == [0.43, 0.44, 0.435]


def test_f4_and_the_source_have_one_row_a_strategy_the_highest_on_top(reports):
    assert numbers(reports, "f4_negatives", "strategy")["P@1"].to_dict() == {
        "rejected only (3)": 0.41,
        "random in batch": 0.44,
        "hardest in batch": 0.46,
        "hardest in batch + rejected (3)": 0.465,
    }
    sources = numbers(reports, "f5_source", "source")["P@1"].to_dict()
    assert sources == {"encoder alone": 0.44, "encoder + 1 × letters": 0.467}
    assert numbers(reports, "acceptance", "acceptance_percent")["P@1"].to_dict() == {5: 0.45}


def test_f5_holds_quality_and_what_the_teacher_is_asked(reports):
    marks = numbers(reports, "f5_shortlist", "shortlist")
    assert marks.index.tolist() == [1, 3, 5, 10, 20], "the point that is base is there once"
    assert marks["verdicts_per_document"].tolist() == [1, 3, 5, 10, 20]
    assert marks["pseudo_precision"].tolist() == approx([0.5, 0.4, 0.34, 0.29, 0.2])
    assert marks.loc[20, ["P@1", "R@10"]].tolist() == [0.466, 0.7]


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
    marks = numbers(reports, "teacher_map", ["true_yes", "false_yes"])
    assert len(marks) == 16
    row = marks.loc[(0.9, 0.05), ["gain", "gain_low", "gain_high"]]
    assert row.tolist() == approx([0.0415, 0.0295, 0.0535])
    text = text_of(reports, "figures/teacher_map.svg")
    assert "Simulated" in text and "[+3.0, +5.4]" in text


def test_f2_shows_the_numbers_of_the_cycle_kept(reports):
    values = numbers(reports, "f2_loop", "quantity")["value"]
    assert values["shortlist"] == 10, "4 yes a document at a yes-rate of 40 %"
    assert values[["yes_rate", "documents_used", "P@1"]].tolist() == [0.4, 6643, 0.46]
    text = text_of(reports, "figures/f2_loop.svg")
    for part in ("proposes 10 labels", "6,643 documents", "right for 46.0 %"):
        assert part in text


def test_t5_holds_each_teacher_and_marks_the_simulated_one(reports):
    rows = numbers(reports, "t5_teachers")
    assert rows.index.tolist() == ["base", "teacher-lexical", "teacher-openai", "teacher-simulated"]
    row = rows.loc["teacher-openai"]
    asked = row[["requests", "prompt_tokens", "answer_tokens", "tokens", "usd"]]
    assert asked.tolist() == [960, 400_000, 9000, 409_000, 0.31]
    assert row[["gain", "gain_low", "gain_high"]].tolist() == approx([0.03, 0.018, 0.042])
    assert rows.loc["base", "verdicts"] == 28_800, "summed over three seeds"
    text = text_of(reports, "tables/t5_teachers.md")
    assert "| simulated: yes to 90 % of true, 2 % of other labels † | 1 |" in text
    assert "| gpt, listwise | 1 |" in text and "+3.0* [+1.8, +4.2] | 9,600 | 960 | 409,000 | 0.31 |" in text
    assert "960 training documents, seeds 108, 109 and 110; n = 1,000" in text


def test_t6_holds_the_main_run_and_the_variants_of_a_second_cycle(reports):
    rows = numbers(reports, "t6_curriculum")
    assert rows.loc["lmtx-c2", ["check", "yes_rate", "P@1"]].tolist() == approx([0.85, 0.43, 0.47])
    minus = rows.loc[rows["part"] == "subset", "minus_cycle_1"]
    order = "base curriculum-c2 curriculum-on curriculum-fixed curriculum-fixed-on"
    assert minus.index.tolist() == order.split()
    assert minus.tolist()[1:] == approx([0.008, 0.003, -0.005, -0.01])
    text = text_of(reports, "tables/t6_curriculum.md")
    assert "| Cycle 2, fixed shortlists, going on |" in text and "| Cycle 1, kept |" in text


def test_the_variants_hold_the_axes_of_users_too(reports):
    rows = numbers(reports, "variants", ["axis", "point"])
    assert [axis for axis, _ in rows.index] == ["targets"] * 2 + ["labels"] * 2 + ["margin"] * 2
    assert rows.loc[("labels", "labels-name"), "minus_base"] == approx(-0.04)
    text = text_of(reports, "tables/variants.md")
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
    assert (group.name, group.axes) == ("main", {"main", "base", "sample"})
    assert [p.seed for p in group.points] == [108]


def test_differences_are_paired_where_they_can_be():
    one, two = (0.46, 0.48, 0.5), (0.45, 0.468, 0.492)
    points = [*seeds("base", "base", one), *seeds("targets-soft", "targets", two)]
    d = difference(group_of(points, "targets-soft"), group_of(points, "base"), "P@1")
    # The differences are -1, -1.2 and -0.8 points: their deviation is 0.2, whatever the seeds have in common.
    half = 4.30265 * 0.002 / 3**0.5
    assert (d.value, d.low, d.high) == approx((-0.01, -0.01 - half, -0.01 + half), abs=1e-6)
    back = difference(group_of(points, "base"), group_of(points, "targets-soft"), "P@1")
    assert (back.value, back.low) == approx((0.01, 0.01 - half), abs=1e-6)
    alone = [point("base", "base", 0.46), point("a-1", "a", 0.47), point("a-2", "a", 0.44)]
    a, b, base = (group_of(alone, name) for name in ("a-1", "a-2", "base"))
    assert difference(a, base, "P@1").low == approx(0.01 - 0.012), "as the run has it"
    assert difference(a, b, "P@1").low == approx(0.03 - 0.012 * 2**0.5), "through base"


@pytest.mark.parametrize(
    ("axis", "setting", "p1", "sentence"),
    [
        (
            "sample",
            "documents",
            {240: 0.42, 3840: 0.465},
            "3,840 documents, 46.5 %; within noise of it: 960 documents",
        ),
        ("sample", "documents", {240: 0.42, 3840: 0.52}, "3,840 documents, 52.0 %, clearly above all others"),
        ("shortlist", "shortlist", {3: 0.455, 20: 0.461}, "j = 20, 46.1 %; within noise of it: all others"),
        (
            "negatives",
            "negatives",
            {"random": 0.47},
            "random in batch, 47.0 %; within noise of it: hardest in batch",
        ),
        # Base has no acceptance here.
        (
            "acceptance",
            "acceptance",
            {0.05: 0.45, 0.4: 0.41},
            "5 % accepted, 45.0 %, clearly above all others",
        ),
    ],
)
def test_a_figure_says_what_is_highest_and_what_chance_may_explain(axis, setting, p1, sentence):
    """Paired differences to base have intervals of 1.2 points to both sides; others of 1.7 points."""
    runs = [point("base", "base", 0.46)]
    runs += [point(f"{axis}-{value}", axis, p1[value], settings={setting: value}) for value in p1]
    models = [Point.model_validate(one) for one in runs]
    systems = [Result(system="zero-shot", label="E0", stopped="not run")]
    message = ablations.of_axis(Results("toy", {"toy": systems}, {}, {"toy": models}), axis).message
    assert message == f"Highest P@1: {sentence}"


def test_a_prompt_is_compared_with_the_same_model_asked_otherwise(tmp_path):
    qwen = {"teacher_kind": "huggingface", "model": "Qwen"}
    points = seeds("base", "base", (0.57, 0.576, 0.564), 0.57, power=0.98, agreement_with_base=1.0)
    for name, p1, settings, power, agreement in (
        ("teacher-qwen", 0.556, qwen | {"teacher": "qwen", "prompt": "strict"}, 0.9, 0.87),
        ("teacher-small", 0.51, qwen | {"teacher": "small", "model": "S"}, 0.55, 0.7),
        ("teacher-ensemble", 0.565, {"teacher": "ensemble"}, 0.99, 0.86),
        ("question-paper", 0.55, qwen | {"teacher": "qwen-question", "prompt": "question"}, 0.8, 0.8),
    ):
        values, more = [p1, p1 + 0.006, p1 - 0.006], {"power": power, "agreement_with_base": agreement}
        points += seeds(name, name.partition("-")[0], values, 0.57, settings=settings, **more)
    write_points(tmp_path, points)
    question, rank = ablation_tables.t5_teachers(report.load(tmp_path, "toy")).notes
    prompts = "asked by the prompt “question” instead of “strict”"
    assert question == f"qwen-question is qwen, {prompts}: P@1 −0.6 points [−0.6, −0.6]."
    # P@1 orders them base, ensemble, qwen, qwen-question, small; each figure swaps two: 1 - 6 * 2 / 120.
    assert rank.endswith("over these 5 teachers: telling apart 0.90, agreement with base 0.90.")


def test_the_page_tells_what_the_figures_show_and_how_to_make_them(reports):
    text = (reports / "index.html").read_text()
    order = re.findall(r'<section id="([\w-]+)">', text)
    first = "main-comparison t1-datasets t2-main t2-tail strings-or-model f2-loop t4-cost t5-teachers"
    last = (
        "f3-sample-size f4-negatives f5-shortlist f5-source acceptance t6-curriculum f6-curriculum variants "
    )
    last += "not-run provenance"
    assert order == [*first.split(), "teacher-map", *last.split()]
    message = "Highest P@1: 8,000 documents, 46.4 %; within noise of it: 240, 480, 960 and 1,920 documents"
    assert f'aria-label="F3 Sample size: {message}"' in text
    # A gain of 6 t − 25 f points with 1.2 points to both sides is clear for 2 + 3 + 3 + 3 pairs of rates.
    message = "11 of 16 simulated teachers lift the student clearly above zero-shot"
    assert f'aria-label="How good a teacher must be: {message}"' in text
    for stage, count in (("prepare", 1), ("evaluate", 7), ("ablations", 10)):
        assert text.count(f"dvc repro {stage} &amp;&amp; make report") == count
    assert "feed123" in text and "abc1234" in text
    # The runs of the shared settings: three, of 30.1 seconds each.
    assert re.search(r"ablations: base</th><td>3</td><td>3 sets</td><td>108, 109, 110</td><td>90</td>", text)


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
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'user'}", f"file://{tmp_path / 'page.html'}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    (section,) = re.findall(r'<section id="t6-curriculum">(.*?)</section>', shown, flags=re.DOTALL)
    assert '<th scope="col" aria-sort="descending"><button type="button">P@1</button></th>' in section
    ways = [
        f"Cycle 2, {lists} shortlists, {start}"
        for lists in ("fresh", "fixed")
        for start in ("from E0", "going on")
    ]
    rows = ["Cycle 2", "Cycle 1, kept", "Zero-shot", *ways[:2], "Cycle 1", *ways[2:]]
    assert re.findall(r'scope="row">(.*?)</th>', section) == rows
