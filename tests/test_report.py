"""The report from a small set of result files that the tests write: its numbers, gaps and bytes."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from pytest import approx

from lmtx import report
from lmtx.report import figures, readme_table, summary, tables
from lmtx.report.render import latex

NAMES = "P@1 P@3 P@5 R@1 R@3 R@5 R@10 R@100 PSP@1 PSP@3 PSP@5".split()  # noqa: SIM905 (shorter)
ZERO_SHOT = dict(zip(NAMES, (0.386, 0.25, 0.2, 0.17, 0.3, 0.4, 0.6, 0.9, 0.3, 0.32, 0.35), strict=True))
# The ablations of this study were not run, and no result is split by the label's name in the text.
TABLES = "t1_datasets t2_main t2_tail strings_or_model t3_prediction t4_cost t6_curriculum"
FIGURES = "main_comparison by_frequency f1_pairs f2_loop f6_curriculum"
VOID = {"meta", "br", "path", "use", "rect", "line", "circle"}


def around(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def system(name, label, gain=0.0, difference=None, **more):
    """A result: the zero-shot metrics plus `gain`, with intervals of 0.03 to both sides."""
    shares = {"never": 0.5, "rare": 0.3, "common": 0.2}
    return {
        "system": name, "label": label, "family": "lmtx" if name.startswith("lmtx") else "baseline",
        "dataset": "toy", "notes": [], "n": 1000,
        "metrics": {k: around(v + gain, 0.03) for k, v in ZERO_SHOT.items()},
        "against_lmtx": None if difference is None else {"P@1": around(difference, 0.02)},
        "by_frequency": {b: {"value": s * (0.2 + gain), "low": 0.01, "high": 0.2} for b, s in shares.items()},
        "seconds": {"encode": 2.0}, "seed": 108, "precision": "bf16", "config_hash": "abc",
        "cost": {"usd": 0.0, "requests": 0, "prompt_tokens": 0, "answer_tokens": 0, "verdicts": 0},
        "host": {"processor": "Toy <1>", "cores": 2, "gpu": None, "python": "3.11"},
        "versions": {"torch": "2.13.0"}, **more,
    }  # fmt: skip


def cycle(number, check, best):
    return {
        "number": number, "check": check, "yes_rate": 0.3 + 0.01 * number, "pseudo_positives": 2.4,
        "pseudo_precision": 0.2 + 0.01 * number, "pseudo_recall": None, "documents_used": 8000, "best": best,
    }  # fmt: skip


BILL = {"requests": 10_000, "prompt_tokens": 3_000_000, "answer_tokens": 10_000, "usd": None, "seconds": 300}


def example(document, maker):
    return {"document": document, "anchor": f"{maker} anchor {document}", "positive": f"{maker} positive"}


def write(folder):
    return report.write(report.load(folder, "toy"), folder)


def write_results(folder, *results, dataset="toy"):
    (folder / "metrics" / dataset).mkdir(parents=True, exist_ok=True)
    for result in results:
        (folder / "metrics" / dataset / f"{result['system']}.json").write_text(json.dumps(result))


STATISTICS = {
    "dataset": "toy", "documents": {"train": 9000, "dev": 800, "test": 1000}, "labels": 11180,
    "with_truth": 3433, "mean_labels_per_document": 2.61, "mean_words_per_document": 143.2,
    "mean_words_per_label": 9.1, "truth_labels": 3036,
    "manifest": {"libraries": {"numpy": "2.4.6"}, "content_hash": "f00"},
}  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A complete study: two baselines, one system that reads annotations, three cycles of which two ran."""
    folder = tmp_path_factory.mktemp("reports")
    paid = {"seconds": {"encode": 10.0, "label": 5.5, "train": 100.0, "check": 1.0}}
    paid["cost"] = {"usd": 0.25, "requests": 7, "prompt_tokens": 900, "answer_tokens": 20, "verdicts": 90_000}
    write_results(
        folder,
        system("zero-shot", "MiniLM", difference=-0.065),
        system("tfidf", "TF-IDF <b>50 % | a_b & c</b>", 0.03, -0.035),
        system("supervised", "Supervised", 0.2, 0.135, notes=["reads annotations of the training documents"]),
        system("rts", "RTS", 0.01, -0.055, examples=[example("toy.a", "rts"), example("toy.b", "rts")]),
        system("rerank", "Teacher as re-ranker", 0.06, -0.005, bill=BILL, seconds={"ask": 30.0, "rank": 2.0}),
        {"system": "icxml", "label": "ICXML", "stopped": "no language model"},
        system("hybrid-lmtx", "BM25 + LMTX", 0.062, -0.003) | {"family": "hybrid"},
        system("lmtx-c1", "LMTX, cycle 1", 0.05, -0.015, cycle=cycle(1, 0.6, False), **paid)
        | {"examples": [example("toy.b", "lmtx")]},
        system("lmtx-c2", "LMTX, cycle 2", 0.065, cycle=cycle(2, 0.66, True), **paid),
        {"system": "lmtx-c3", "label": "LMTX, cycle 3", "stopped": "cycle 2 was the last to improve"},
        system("lmtx", "LMTX", 0.065, cycle=cycle(2, 0.66, True), **paid),
    )
    (folder / "corpus").mkdir()
    (folder / "corpus" / "toy.json").write_text(json.dumps(STATISTICS))
    for old in ("figures/f9_gone.png", "tables/.gitkeep"):  # of an earlier report
        (folder / old).parent.mkdir()
        (folder / old).touch()
    write(folder)
    return folder


@pytest.fixture(scope="module")
def results(reports):
    return report.load(reports, "toy")


def numbers(reports, name, index="system"):
    """The CSV behind a table or a figure."""
    (path,) = reports.glob(f"*s/{name}.csv")
    return pd.read_csv(path).set_index(index)


def markdown(reports, name):
    return (reports / "tables" / f"{name}.md").read_text(encoding="utf-8")


def words(svg):
    """The texts of a figure, on one line."""
    return " ".join(" ".join(re.findall(r"<t(?:ext|span)[^>]*>([^<]*)", svg)).split())


def drawn(reports, name):
    return words((reports / "figures" / f"{name}.svg").read_text(encoding="utf-8"))


def test_every_file_of_the_study_is_written_and_those_of_an_earlier_report_go(reports):
    written = {str(p.relative_to(reports)) for p in reports.rglob("*") if p.is_file()}
    expected = {f"tables/{t}.{e}" for t in TABLES.split() for e in ("md", "tex", "csv")}
    expected |= {f"figures/{f}.{e}" for f in FIGURES.split() for e in ("png", "pdf", "svg", "csv")}
    inputs = {f for f in written if f.startswith(("metrics/", "corpus/"))}
    assert written - inputs == expected | {"index.html", "tables/.gitkeep"}


def test_what_was_not_run_is_named_in_one_place(reports):
    text = (reports / "index.html").read_text(encoding="utf-8")
    (gaps,) = re.findall(r'<section id="not-run">(.*?)</section>', text, flags=re.DOTALL)
    titles = "T5 Teachers|How good a teacher must be|F3 Sample size|F4 Negatives|F5 Shortlist size|"
    titles += "F5 Shortlist source|Accepted share|Variants|T2 Labels in the text"
    assert re.findall(r"<li>(.*?) <small>", gaps) == titles.split("|")
    for command in ("make full", "dvc repro evaluate &amp;&amp; make report"):
        assert f"<code>{command}</code>" in gaps
    assert 'id="f3-sample-size"' not in text and 'id="t6-curriculum"' in text
    assert "not run yet" in markdown(reports, "t6_curriculum")


def test_t1_holds_the_statistics(reports):
    line = "| toy | 9,000 | 800 | 1,000 | 11,180 | 3,433 | 3,036 | 2.6 | 143.2 | 9.1 |"
    assert line in markdown(reports, "t1_datasets")


def test_t2_holds_fractions_and_in_markdown_percent_with_the_best_zero_shot_system_marked(reports):
    table = numbers(reports, "t2_main")
    order = "zero-shot tfidf rts rerank icxml supervised lmtx-c1 lmtx-c3 lmtx hybrid-lmtx"
    assert table.index.tolist() == order.split()
    headline = {name: value for name, value in ZERO_SHOT.items() if "PSP" not in name}
    for name, value in headline.items():
        row = table.loc["lmtx-c1", [name, f"{name}_low", f"{name}_high"]]
        assert row.tolist() == approx([value + 0.05, value + 0.02, value + 0.08])
    assert table.loc["lmtx-c3", list(headline)].isna().all()
    tail = numbers(reports, "t2_tail").loc["lmtx", ["P@5", "PSP@5", "PSP@5_low"]]
    assert tail.tolist() == approx([0.265, 0.415, 0.385])
    text = markdown(reports, "t2_main")
    rows = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("|")}
    firsts = {name: row.split(" | ")[1] for name, row in rows.items()}
    assert firsts["MiniLM"] == "38.6 [35.6, 41.6]"
    assert rows["MiniLM"].endswith("| −6.5* [−8.5, −4.5] |")
    assert rows["BM25 + LMTX"].endswith("| −0.3 [−2.3, +1.7] |")
    assert firsts["LMTX"] == "**45.1** [42.1, 48.1]" and rows["LMTX"].count("**") == 16
    assert firsts["Supervised †"] == "58.6 [55.6, 61.6]", "reading annotations is never the best"
    assert firsts["LMTX, cycle 3"] == "—"
    for note in ("no result: cycle 2 was the last to improve", "LMTX (toy) is cycle 2"):
        assert note in text
    assert r"TF-IDF <b>50 % \| a_b & c</b>" in text


def test_t3_compares_what_a_thousand_documents_cost_at_prediction_time(reports):
    table = numbers(reports, "t3_prediction")
    assert table.index.tolist() == ["rerank", "icxml", "lmtx"]
    row = table.loc["rerank", ["requests_per_1000", "prompt_tokens_per_1000", "seconds_per_1000"]]
    assert row.tolist() == [10_000, 3_000_000, 302]  # the 30 s of this run read stored verdicts
    assert pd.isna(table.loc["rerank", "usd_per_1000"]), "an unknown price is no free one"
    assert table.loc["lmtx", ["requests_per_1000", "usd_per_1000"]].tolist() == [0, 0]
    assert table.loc["icxml"].drop(["dataset", "label"]).isna().all()
    assert "ICXML (toy): no result: no language model" in markdown(reports, "t3_prediction")


def test_the_tail_figure_splits_p5_by_how_often_a_label_is_annotated(reports):
    frame = numbers(reports, "by_frequency")
    assert frame.index[-1] == "supervised" and not {"lmtx-c2", "icxml"} & {*frame.index}
    assert frame[["never", "rare", "common"]].sum(axis=1).tolist() == approx(frame["P@5"].tolist())
    text = drawn(reports, "by_frequency")
    assert "Labels that were never annotated: LMTX finds most, 13.2 points" in text
    assert "(intervals of 6 more systems overlap)" in text


def test_f1_shows_pairs_of_one_document_that_every_method_has_used(reports):
    assert numbers(reports, "f1_pairs")["document"].to_dict() == {"rts": "toy.b", "lmtx-c1": "toy.b"}
    for text in ("lmtx anchor toy.b", "rts positive", "Without pairs: MACLR"):
        assert text in drawn(reports, "f1_pairs")


def test_t4_sums_what_the_whole_curriculum_cost(reports):
    table = numbers(reports, "t4_cost")
    assert table.loc["zero-shot", "total_seconds"] == 2
    assert pd.isna(table.loc["zero-shot", "train_seconds"]) and pd.isna(table.loc["lmtx-c3", "verdicts"])
    assert table.loc["lmtx-c1", "total_seconds"] == approx(116.5)
    row = table.loc["lmtx", ["label", "train_seconds", "total_seconds", "usd"]]
    assert row.tolist() == ["LMTX, all cycles", 200, approx(233), 0.5]
    asked = table.loc["lmtx", ["requests", "prompt_tokens", "answer_tokens", "verdicts"]]
    assert asked.tolist() == [14, 1800, 40, 180_000]


def test_f6_holds_each_cycle_from_zero_shot_on(reports):
    frame = numbers(reports, "f6_curriculum", "cycle")
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame["P@1"].tolist()[:3] == approx([0.386, 0.436, 0.451]) and pd.isna(frame.loc[3, "P@1"])
    verdicts = frame.loc[1:2, ["yes_rate", "pseudo_precision", "check"]].to_numpy().ravel()
    assert verdicts.tolist() == approx([0.31, 0.21, 0.6, 0.32, 0.22, 0.66])


def test_the_main_figure_draws_each_system_once_in_the_order_of_its_p1(reports):
    frame = numbers(reports, "main_comparison")
    order = "zero-shot rts tfidf lmtx-c1 rerank hybrid-lmtx lmtx supervised"
    assert frame.index.tolist() == order.split()
    assert frame.loc["lmtx", ["R@10", "R@10_low", "R@10_high"]].tolist() == approx([0.665, 0.635, 0.695])


def test_figures_say_their_message_and_what_is_missing(reports):
    """Zero-shot minus LMTX is -6.5 [-8.5, -4.5] points; seen from LMTX the ends swap."""
    for figure, phrases in (
        ("main_comparison", "right for 45.1 %|+6.5 points [+4.5, +8.5]|n = 1,000|P@1 (%)|R@10 (%)"),
        (
            "f6_curriculum",
            "Of 2 cycles, the teacher's check keeps cycle 2|+6.5 points|not run|filled: the cycle",
        ),
    ):
        for phrase in phrases.split("|"):
            assert phrase in drawn(reports, figure)


class Page(HTMLParser):
    """Collects ids, addresses and text, and checks that tags close in order."""

    def __init__(self, folder):
        super().__init__()
        self.open, self.attributes, self.shown = [], [], ""
        # <wbr> is where a word may break; it is one word all the same.
        self.feed((folder / "index.html").read_text(encoding="utf-8").replace("<wbr>", ""))
        self.ids = [value for name, value in self.attributes if name == "id"]
        links = ("src", "href", "xlink:href", "data", "srcset", "poster")
        self.addresses = [value for name, value in self.attributes if name in links]

    def handle_starttag(self, tag, attrs):
        self.open += [tag] if tag not in VOID else []
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.shown += f" {data}"


def test_the_page_is_well_formed_and_needs_nothing_beside_itself(reports):
    page, text = Page(reports), (reports / "index.html").read_text(encoding="utf-8")
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids, address
        else:  # a file to save
            assert (reports / address).is_file(), address
    assert "figures/f6_curriculum.png" in page.addresses and "tables/t2_main.csv" in page.addresses
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    assert "@import" not in text
    assert text.count("<script") == text.count("<script>") == 1, "one script, and it is within the page"
    for phrase in ("T1 Data sets", "T2 Main comparison", "F6 The curriculum", "T4 Time", "Provenance", "<1>"):
        assert phrase in page.shown
    assert "TF-IDF <b>50 % | a_b & c</b>" in page.shown, "a label is text, whatever it holds"
    assert text.count("<svg ") == 5, "the ablations were not run"


def test_the_page_has_both_themes_and_no_colour_outside_them(reports):
    text = (reports / "index.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    for figure in re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL):
        assert re.findall(r"#[0-9a-f]{6}\b", figure) == []
        assert "var(--ink)" in figure
    light, dark = (set(re.findall(r"--\w+(?=:)", block)) for block in re.findall(r":root \{(.*?)\}", text))
    assert set(re.findall(r"var\((--\w+)\)", text)) <= light == dark


def test_latex_reads_no_command_out_of_a_label(reports):
    assert latex(r"50 % | a_b & c\d {x} #1 $ ~ ^ −2") == (
        r"50 \% \textbar{} a\_b \& c\textbackslash{}d \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} $-$2"
    )
    text = (reports / "tables" / "t2_main.tex").read_text(encoding="utf-8")
    for part in (r"TF-IDF \textless{}b\textgreater{}50 \% \textbar{} a\_b \& c", r"\textbf{45.1}", "toprule"):
        assert part in text


def test_the_same_results_give_the_same_bytes_in_another_process(reports, tmp_path):
    for part in ("metrics", "corpus"):
        shutil.copytree(reports / part, tmp_path / part)
    program = "import sys; from lmtx import report as r; r.write(r.load(sys.argv[1], 'toy'), sys.argv[1])"
    for folder in ("figures", "tables"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tables" / ".gitkeep").touch()
    environment = {**os.environ, "PYTHONHASHSEED": "77", "MPLBACKEND": "svg", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment)
    files = sorted(p.relative_to(reports) for p in reports.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for file in files:
        assert (reports / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_nothing_at_all_gives_a_report_of_labelled_gaps(tmp_path):
    paths = write(tmp_path)
    assert all(path.stat().st_size for path in paths)
    shown = Page(tmp_path).shown
    phrases = "no statistics|Not run yet|make full|dvc repro evaluate|F6 The curriculum|manifest is missing"
    for phrase in f"{phrases}|no file zero-shot.json|no file lmtx.json".split("|"):
        assert phrase in shown
    assert numbers(tmp_path, "t2_main").index.tolist() == ["zero-shot", "lmtx"]
    # The loop needs no number; every other figure has nothing to say, so no file.
    assert {path.stem for path in paths if path.parent.name == "figures"} == {"f2_loop"}
    assert "t3_prediction" not in shown


def test_the_summary_says_gain_rival_cost_and_doubt(reports, results):
    assert summary(results) == {
        "Gain": "On toy, the first label of LMTX is right for 45.1 % of 1,000 test documents, that of its "
        "encoder before training for 38.6 %: +6.5 points [+4.5, +8.5].",
        # The re-ranker is right more often, but asks a language model about each document.
        "Rival": "The rival to beat is “TF-IDF <b>50 % | a_b & c</b>”, 41.6 %; LMTX minus it: +3.5 points "
        "[+1.5, +5.5].",
        "Cost": "LMTX took 4 minutes and 14 requests to a language model for $0.50, besides the verdicts "
        "that were stored; tagging asks none.",
        "Doubt": "Chance may explain the distance of LMTX to “Teacher as re-ranker” and “BM25 + LMTX”; each "
        "system ran once, and its interval is over test documents, not over seeds.",
    }
    assert summary(results)["Gain"] in Page(reports).shown
    assert summary(results)["Doubt"] in readme_table(results)


def test_a_gain_within_noise_is_called_so_everywhere(tmp_path):
    zero = system("zero-shot", "E0", difference=-0.01)  # [-3, +1] points
    best = system("lmtx-c1", "LMTX, cycle 1", 0.01, cycle=cycle(1, 0.6, True))
    write_results(tmp_path, zero, best, best | {"system": "lmtx", "label": "LMTX, best cycle"})
    results = report.load(tmp_path, "toy")
    for figure in (figures.main_comparison, figures.f6_curriculum):
        assert figure(results).message.endswith("+1.0 points [−1.0, +3.0], within noise")
    assert summary(results)["Gain"].endswith("+1.0 points [−1.0, +3.0], within noise.")
    assert "its gain on toy" in summary(results)["Doubt"]
    # One cycle, one row, in every table; and T3 has none, as nothing is asked at prediction time.
    assert tables.t3(results).empty
    for table in (tables.t2, tables.t4):
        assert table(results).frame["system"].tolist() == ["zero-shot", "lmtx"]
    assert "cycle 1" not in readme_table(results)


def test_a_part_of_the_results_is_a_report_with_gaps(tmp_path):
    first = system("lmtx-c1", "LMTX, cycle 1", 0.05, cycle={"number": 1, "best": True})
    del first["metrics"]["R@10"], first["metrics"]["P@5"]
    write_results(tmp_path, first)
    results = report.load(tmp_path, "toy")
    curriculum, comparison = (
        words(figure(results).to_html()) for figure in (figures.f6_curriculum, figures.main_comparison)
    )
    assert "Cycle 0 is missing" in curriculum and "verdicts were not measured" in curriculum
    assert "not measured" in comparison and "LMTX has no result yet" in comparison
    assert tables.t2(results).frame.set_index("system").loc["lmtx-c1", ["P@5"]].isna().all()
    write_results(tmp_path, first | {"cycle": {"number": 1, "best": True, "yes_rate": 0.3}})
    text = words(figures.f6_curriculum(report.load(tmp_path, "toy")).to_html())
    assert text.count("(not measured)") == 2 and "verdicts were not measured" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"system": "tfidf"', r"tfidf\.json is not valid JSON \(line 1\)"),
        ('{"system": "bm25", "label": "x", "stopped": "y"}', "`system` is 'bm25', not the file's name"),
        ('{"system": "tfidf", "label": "x"}', "neither `metrics` nor `stopped`"),
        ('{"system": "tfidf", "label": "x", "metrics": {"P@1": 0.5}}', r"tfidf\.json: `metrics\.P@1`"),
    ],
)
def test_a_broken_result_file_is_named_and_nothing_is_written(tmp_path, content, message):
    (tmp_path / "metrics" / "toy").mkdir(parents=True)
    (tmp_path / "metrics" / "toy" / "tfidf.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics"]


def test_the_readme_gets_its_numbers_from_the_results(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n<!-- main-table -->\nold\n<!-- /main-table -->\nrest\n")
    report.update_readme(readme, results)
    text = readme.read_text(encoding="utf-8")
    row = "| LMTX | 45.1 [42.1, 48.1] | 26.5 [23.5, 29.5] | 66.5 [63.5, 69.5] | 96.5 [93.5, 99.5] | — |"
    for part in (row, "| MiniLM | 38.6 [35.6, 41.6] |", "| Supervised † | 58.6 [55.6, 61.6] |"):
        assert part in text
    assert "† reads annotations" in text
    # One data set has one table, and the README some of the systems.
    for absent in ("LMTX, cycle 3", "old", "| TF-IDF <b>", "every data set"):
        assert absent not in text
    assert text.startswith("# Title\n") and text.endswith("<!-- /main-table -->\nrest\n")
    report.update_readme(readme, results)
    assert readme.read_text(encoding="utf-8") == text, "a second time changes nothing"
    report.update_readme(readme, results, None)  # every system
    assert "TF-IDF <b>" in readme.read_text(encoding="utf-8")


def test_the_readme_and_the_tables_compare_the_data_sets_where_there_are_several(tmp_path):
    for dataset, gain in (("toy", 0.1), ("links", 0.01)):
        zero, lmtx = system("zero-shot", "E0", difference=-gain), system("lmtx", "LMTX", gain)
        write_results(tmp_path, zero, lmtx, dataset=dataset)
    results = report.load(tmp_path, "toy")
    table = tables.t2(results)
    assert table.frame["dataset"].tolist() == ["toy", "toy", "links", "links"]
    text = table.to_markdown()
    assert "*links, n = 1,000 test documents*" in text
    assert "**48.6** [45.6, 51.6]" in text and "**39.6**" in text, "the best of each data set"
    assert figures.main_comparison(results).frame["P@1"].tolist() == approx([0.386, 0.486])
    text = readme_table(results)
    assert "| toy | 38.6 | 48.6 | +10.0 [+8.0, +12.0] | 60.0 | 70.0 |" in text
    assert "| links | 38.6 | 39.6 | +1.0 [−1.0, +3.0] | 60.0 | 61.0 |" in text


def test_a_readme_without_the_markers_stays_as_it_is(reports, results, tmp_path):
    readme = tmp_path / "README.md"
    for text in ("no markers", "<!-- /main-table --> wrong order <!-- main-table -->", "<!-- main-table -->"):
        readme.write_text(text)
        with pytest.raises(ValueError, match="needs one <!-- main-table -->"):
            report.update_readme(readme, results)
        assert readme.read_text() == text
    with pytest.raises(ValueError, match="no system has a P@1 on other; run the `evaluate` stage"):
        readme_table(report.load(reports, "other"))


def test_reading_results_needs_no_drawing_library():
    program = "import sys; from lmtx import report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1]).returncode == 0


def test_a_page_that_stands_alone_links_to_no_file(tmp_path):
    write_results(tmp_path, system("zero-shot", "E0", by_frequency={}))
    report.write(report.load(tmp_path, "toy"), tmp_path, alone=True)
    page = Page(tmp_path)
    assert not [link for link in page.addresses if not link.startswith(("#", "http", "data:"))]
    assert "Not run yet" not in page.shown
