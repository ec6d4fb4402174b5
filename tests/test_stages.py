"""The study through DVC, as its users run it: from end to end, again, interrupted, changed, and badly fed.

It runs once, on the preset `smoke` with an encoder made here, and DVC and its notebooks in forks of one
process; the tests work on copies of that run. A study that is killed runs in kernels, as a user's does.
"""

import html
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path

import experiments
import networkx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from dvc.repo import Repo
from servers import Server, judge_by_length
from smoke import ROOT, chains, copy_study, warm
from tiny_encoders import small_encoder
from tiny_models import save_answering_model

from lmtx.config import compose
from lmtx.corpus import load_truth
from lmtx.files import read_json
from lmtx.index import Shortlist
from lmtx.study import Study
from lmtx.study.progress import Progress
from lmtx.study.records import read_record

KEY = "-".join(("sk", "proj", "Xw7inNoFile4455667788"))  # not as one, or this file would hold it
BASELINES = set(compose([], ROOT / "conf")["baselines"])
HYBRIDS = {"hybrid", "hybrid-lmtx", "hybrid-tfidf", "hybrid-lmtx-tfidf"}
SYSTEMS = {*BASELINES, *HYBRIDS, "supervised", "lmtx-c1", "lmtx-c2", "lmtx"}
MEASURED = SYSTEMS - {"icxml"}  # which needs a teacher that writes
POINTS = {"base", "curriculum-refreshed"}
CYCLES = {"label@c1", "train@c1", "label@c2", "train@c2"}
ABLATE = {f"ablate@{name}" for name in POINTS}
STAGES = {"prepare", "encode", *CYCLES, *ABLATE, "supervised", "evaluate", "ablations", "report"}
STAGES |= {f"baseline@{name}" for name in BASELINES}
# Where two runs of one study may differ: how long it took, on which machine, what the store knew.
INCIDENTAL = {"seconds", "cost", "host"}


class Copy:
    """A copy of the project in which the study runs, on the parameters it was made with."""

    def __init__(self, folder: Path, environment: dict[str, str], overrides: list[str]):
        self.folder = folder
        self.overrides = overrides
        self.environment = environment | {
            "PYTHONPATH": str(folder),
            "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site"),
        }

    def duplicate(self, folder: Path) -> "Copy":
        """A copy of this one, which runs in forks of the same process."""
        shutil.copytree(self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("*.socket"))
        return Copy(folder, self.environment, self.overrides)

    def use_kernels(self) -> None:
        """Let DVC be itself, and papermill run the notebooks, from now on."""
        shutil.rmtree(self.folder / ".venv")
        (self.folder / ".venv").symlink_to(sys.prefix)

    def use_forks(self, other: "Copy") -> None:
        """Run as `other` does from now on."""
        (self.folder / ".venv").unlink()
        shutil.copytree(other.folder / ".venv", self.folder / ".venv")

    def change(self, *overrides: str) -> None:
        """Set the parameters to those the copy was made with, and `overrides` on top."""
        values = compose([*self.overrides, *overrides], ROOT / "conf")
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        vars(self).pop("study", None)

    def dvc(self, *arguments: str, succeeds: bool = True, **environment: str) -> str:
        """What `dvc` and the stages it runs print; the exit status must be as `succeeds` says."""
        options = {"cwd": self.folder, "env": self.environment | environment, "text": True}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run([self.folder / ".venv" / "bin" / "dvc", *arguments], **options)
        assert (done.returncode == 0) == succeeds, done.stdout[-6000:]
        return done.stdout

    @cached_property
    def study(self) -> Study:
        return Study.open(str(self.folder / "params.yaml"))

    def record(self, name: str) -> dict:
        return read_record(self.study, self.study.record(name))

    def results(self) -> dict[str, dict]:
        return {file.stem: json.loads(file.read_text()) for file in self.study.results.iterdir()}

    def reports(self) -> dict[str, bytes]:
        """Result files, tables, figures, and the page: path to content."""
        names = ("metrics/**/*.json", "summary/*", "tables/*", "figures/*", "index.html")
        files = [file for name in names for file in (self.folder / "reports").glob(name)]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def hashes(self) -> dict[str, str]:
        """DVC's hash of every output, by path: what `dvc.lock` says of this run."""
        locked = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"].values()
        return {out["path"]: out["md5"] for stage in locked for out in stage.get("outs", [])}

    def verdicts(self) -> int:
        """How many verdicts the store holds."""
        address = f"file:{self.study.store}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as store:
                return store.execute("SELECT count(*) FROM verdicts").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # it is not there, or its tables are being made


@contextmanager
def killing(copy: Copy, target: str, **environment: str) -> Iterator[subprocess.Popen]:
    """Run `dvc repro TARGET` beside the block, then kill it, its notebook and the notebook's kernel."""
    log = copy.folder.with_name(f"{copy.folder.name}.log")
    command = [copy.folder / ".venv" / "bin" / "dvc", "repro", target]
    with log.open("w") as out:
        options = {"stdout": out, "stderr": out, "start_new_session": True}
        running = subprocess.Popen(command, cwd=copy.folder, env=copy.environment | environment, **options)
    try:
        yield running
        assert running.poll() is None, f"it ended before it was killed\n{log.read_text()[-4000:]}"
    finally:
        # A kernel leads a process group of its own.
        for process in (running.pid, *descendants(running.pid)):
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(process), signal.SIGKILL)
        running.wait()


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that these have started."""
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, check=True, text=True)
    tree = networkx.DiGraph(tuple(map(int, line.split())) for line in listed.stdout.splitlines())
    return sorted(networkx.descendants(tree, process))


def wait_for(condition, running: subprocess.Popen) -> None:
    while not condition():
        if running.poll() is not None:
            return  # `killing` says so
        time.sleep(0.02)


def has_begun(copy: Copy, notebook: str, call: str) -> bool:
    """Whether a notebook that is being executed has come to the cell with `call` in it."""
    try:
        executed = json.loads((copy.study.reports / "notebooks" / f"{notebook}.ipynb").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False  # not begun, or being written
    (cell,) = (cell for cell in executed["cells"] if call in "".join(cell["source"]))
    return cell["metadata"].get("papermill", {}).get("status") in ("running", "completed")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> list[str]:
    encoder = small_encoder(tmp_path_factory.mktemp("encoder") / "small")
    return ["dataset=pydocs", "size=smoke", *encoder]


def fresh(folder: Path, overrides: list[str]) -> Copy:
    folder.mkdir()
    environment = copy_study(folder, overrides)
    # One thread each: on texts this small a second one only waits.
    return Copy(folder, environment | {"OMP_NUM_THREADS": "1"}, overrides)


@pytest.fixture(scope="module")
def done(tmp_path_factory, plan) -> Iterator[Copy]:
    """The study, run from end to end; tests that change something `duplicate` it."""
    copy = fresh(tmp_path_factory.mktemp("study") / "done", plan)
    copy.log = ""
    with warm(copy.folder, copy.environment):
        for group in chains(copy.folder):
            with ThreadPoolExecutor() as pool:
                copy.log += "".join(pool.map(lambda c: copy.dvc("--wait-for-lock", "repro", *c), group))
        yield copy


@pytest.fixture
def altered(done, tmp_path) -> Copy:
    return done.duplicate(tmp_path / "altered")


def run_stages(log: str) -> list[str]:
    """The stages that DVC ran, in order."""
    return re.findall(r"^Running stage '(.+)':", log, re.MULTILINE)


def kept_stages(log: str) -> set[str]:
    """The stages that DVC found unchanged."""
    return set(re.findall(r"^Stage '(.+)' didn't change", log, re.MULTILINE))


def test_every_stage_runs_and_leaves_what_it_declares(done):
    ran = run_stages(done.log)
    assert set(ran) == STAGES and len(ran) == len(STAGES)
    with opened(done) as repo:
        outs = [out for stage in repo.index.stages for out in stage.outs]
    assert len(outs) > len(STAGES)
    assert not [str(out) for out in outs if not out.exists]


def test_each_system_has_a_result_file_with_intervals_and_provenance(done):
    results = done.results()
    assert set(results) == SYSTEMS
    assert "needs a language model that writes" in results.pop("icxml")["stopped"]
    names = {f"{metric}@{k}" for metric in ("P", "R", "nDCG", "PSP") for k in (1, 3, 5, 10, 100)}
    for system, result in results.items():
        assert (result["system"], result["dataset"], result["n"]) == (system, "pydocs", 60)
        assert set(result["metrics"]) == names
        for value in result["metrics"].values():
            assert 0 <= value["low"] <= value["value"] <= value["high"] <= 1
        assert bool(result["seconds"]) == (system not in HYBRIDS)
        assert all(seconds >= 0 for seconds in result["seconds"].values())
        assert {"torch", "numpy", "lmtx"} <= set(result["versions"])
        assert {"processor", "cores", "memory_gib", "gpu", "python"} <= set(result["host"])
        assert result["precision"] in ("fp32", "bf16")
        assert re.fullmatch("[0-9a-f]{12}", result["config_hash"])
    assert {results[s]["seed"] for s in ("lmtx", "lmtx-c1", "lmtx-c2")} == {108}


def test_p_at_1_is_the_share_of_first_labels_that_are_annotated(done):
    truth, results = load_truth(done.study.truth, "test").toarray(), done.results()
    for system in MEASURED - HYBRIDS - {"lmtx"}:
        first = Shortlist.load(done.study.ranking(system)).ids[:, 0]
        share = truth[np.arange(60), first].mean()
        assert results[system]["metrics"]["P@1"]["value"] == pytest.approx(share, abs=1e-9)


def test_lmtx_is_the_cycle_that_the_teacher_likes_best(done):
    """And its model is that cycle's."""
    results = done.results()
    best = Progress.load(done.study.model("lmtx-c2")).best.system
    assert best in ("lmtx-c1", "lmtx-c2")
    assert results["lmtx"]["metrics"] == results[best]["metrics"]
    card = json.loads((done.study.model("lmtx") / "lmtx.json").read_text())
    assert card["system"] == best
    assert [entry["system"] for entry in card["checked"]][:2] == ["zero-shot", "lmtx-c1"]
    assert card["checked"][1]["check"] > card["checked"][0]["check"]  # or there was no second cycle
    weights = [(done.study.model(s) / "model.safetensors").read_bytes() for s in ("lmtx", best, "zero-shot")]
    assert weights[0] == weights[1] != weights[2]


def test_tables_figures_and_the_page_are_there(done):
    made = {Path(path).name for path in done.reports()}

    def endings(start):
        return {Path(name).suffix for name in made if name.startswith(f"{start}_")}

    # No language model is asked here, so there is no T3.
    assert endings("t1") == endings("t2") == endings("t4") == {".md", ".tex", ".csv"}
    assert endings("f1") == endings("f6") == {".png", ".pdf", ".svg", ".csv"}
    main = pd.read_csv(next((done.study.reports / "tables").glob("t2_main.csv")))
    best = Progress.load(done.study.model("lmtx-c2")).best.system
    assert set(main["system"]) == SYSTEMS - {best}  # which stands there as LMTX
    measured = MEASURED - {best}
    p_at_1 = {system: done.results()[system]["metrics"]["P@1"]["value"] for system in measured}
    shown = main[main["system"].isin(measured)]
    assert dict(zip(shown["system"], shown["P@1"], strict=True)) == pytest.approx(p_at_1, abs=1e-5)
    page = html.unescape((done.study.reports / "index.html").read_text())
    assert all(text in page for text in ("T1", "T2", "T4", "F1", "F6", *main["label"]))
    assert page.count("<table") >= 3 and "<svg" in page


def test_dvc_shows_metrics_and_plots(done):
    files = json.loads(done.dvc("metrics", "show", "--json"))[""]["data"]
    shown = {Path(name).stem: file["data"] for name, file in files.items()}
    assert set(shown) == MEASURED
    results = done.results()
    for system in MEASURED:
        assert shown[system]["P@1"] == pytest.approx(results[system]["metrics"]["P@1"]["value"], abs=1e-4)
    plots = json.loads(done.dvc("plots", "show", "--json", "--split"))["data"]
    points = {name: plot[0]["anchor_definitions"]["<DVC_METRIC_DATA>"] for name, plot in plots.items()}
    losses = pd.DataFrame(points["Training loss"]).groupby("filename").agg({"loss": list})["loss"]
    for cycle in ("c1", "c2"):
        expected = pd.read_csv(done.study.losses(cycle))["loss"]
        assert len(expected) > 10
        assert list(map(float, losses[f"{cycle}.csv"])) == pytest.approx(list(expected))
    cycles = [("0", "zero-shot"), ("1", "lmtx-c1"), ("2", "lmtx-c2")]
    assert [(row["cycle"], row["system"]) for row in points["LMTX by cycle"]] == cycles


def test_a_second_run_does_nothing(done):
    before = {path: path.stat().st_mtime_ns for path in done.study.reports.rglob("*") if path.is_file()}
    log = done.dvc("repro")
    assert kept_stages(log) == STAGES
    assert not run_stages(log)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with opened(done) as repo:
        assert repo.status() == {}


# What a change of parameters makes DVC run again.
TRAINED = {"supervised", "baseline@label-tuning"}
ASKING = {"baseline@rerank", "baseline@icxml", "baseline@label-tuning"}
AFTER = {"evaluate", "report"}
ABLATED = {"ablations", "report"}
CHANGES = {
    "evaluation.bootstrap=300": AFTER | ABLATED,
    "baselines.tfidf.label=Words": {"baseline@tfidf"} | AFTER,
    "hybrids.hybrid.label=Both": AFTER,
    "training.margin=0.2": CYCLES - {"label@c1"} | TRAINED | AFTER | ABLATE | ABLATED,
    "check.documents=20": CYCLES - {"label@c1"} | AFTER | ABLATED,
    "shortlist.size=7": CYCLES | TRAINED | AFTER | ABLATE | ABLATED,
    "teacher.acceptance=0.5": CYCLES | ASKING | AFTER | ABLATE | ABLATED,
    "encoder.document_tokens=16": STAGES - {"prepare"},
    "+cycles.c3.previous=lmtx-c2": {"label@c3", "train@c3"} | AFTER,
    "+ablations.shortlist-5={previous: zero-shot, set: {shortlist: {size: 5}}}": {"ablate@shortlist-5"}
    | ABLATED,
    "+ablations.curriculum-refreshed.set={training: {seed: 5}}": {"ablate@curriculum-refreshed"} | ABLATED,
    "ablation.set.training.documents=30": ABLATE | ABLATED,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_parameter_runs_only_what_depends_on_it(done, change):
    before = (done.folder / "params.yaml").read_text()
    try:
        done.change(change)
        with opened(done) as repo:
            changed = set(repo.status())
            # Of two stages, an edge leads to the earlier one.
            graph = networkx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
    finally:
        (done.folder / "params.yaml").write_text(before)
    later = set().union(*(networkx.ancestors(graph, stage) for stage in changed))
    assert changed | later == CHANGES[change]


REVERSED = '''
import numpy as np

from lmtx.baselines import Inputs, Ranked
from lmtx.index import Shortlist, search


def rank(inputs: Inputs, *, first: int = 1) -> Ranked:
    """The labels farthest from the document."""
    vectors, excluded = inputs.embeddings, inputs.corpus.excluded["test"]
    found = search(-vectors["test"], vectors["labels"], inputs.depth, excluded=excluded)
    return Ranked(found, notes=(f"option first is {first}",))
'''


def test_a_baseline_is_one_file_and_one_line(done, altered):
    for copy in (altered, done):  # whose library the notebooks import
        (copy.folder / "lmtx" / "baselines" / "reversed.py").write_text(REVERSED)
    altered.change("+baselines.last={kind: reversed, label: The worst, options: {first: 3}}")
    assert run_stages(altered.dvc("repro", "evaluate")) == ["baseline@last", "evaluate"]
    result = json.loads((altered.folder / "reports" / "metrics" / "pydocs" / "last.json").read_text())
    assert result["metrics"]["P@1"]["value"] < 0.05
    assert result["label"] == "The worst" and "option first is 3" in result["notes"]


def test_each_point_of_the_ablations_has_a_result_file(done):
    found = {file.stem: json.loads(file.read_text()) for file in done.study.ablations.iterdir()}
    assert set(found) == POINTS | {"main"}
    main, base, refreshed = found["main"], found["base"], found["curriculum-refreshed"]
    assert main["metrics"]["P@1"] == done.results()["lmtx-c1"]["metrics"]["P@1"]
    assert (main["settings"]["documents"], base["settings"]["documents"]) == (300, 60)
    assert (base["settings"]["cycle"], refreshed["settings"]["cycle"]) == (1, 2)
    assert base["against_base"] is None and refreshed["against_base"]["P@1"]
    assert base["verdicts"] == 600 and base["trained_on"] <= 60
    judged = {name: pq.read_table(done.study.point(name) / "verdicts.parquet").to_pydict() for name in POINTS}
    assert judged["base"]["document_uid"] == judged["curriculum-refreshed"]["document_uid"]
    assert judged["base"]["label_uid"] != judged["curriculum-refreshed"]["label_uid"]
    first = np.load(done.study.point("base") / "ids.npy")[:, 0]
    share = load_truth(done.study.truth, "test").toarray()[np.arange(60), first].mean()
    assert base["metrics"]["P@1"]["value"] == pytest.approx(share, abs=1e-9)


def test_a_point_that_is_there_under_another_name_is_not_run(altered):
    altered.change("+ablations.shortlist-10={previous: zero-shot, set: {shortlist: {size: 10}}}")
    log = altered.dvc("repro", "ablations")
    assert run_stages(log) == ["ablate@shortlist-10", "ablations"]
    assert "shortlist-10 has the settings of base; the rest" in log
    base, twin = (read_json(altered.study.ablations / f"{n}.json") for n in ("base", "shortlist-10"))
    assert twin == base | {"point": "shortlist-10", "axis": "shortlist", "same_as": "base"}


def test_the_way_back_from_an_experiment_leads_back(altered):
    """As docs/experiments.md tells it: with exit 0, and every result in place."""

    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=altered.folder, check=True)

    git("config", "user.name", "a")
    git("config", "user.email", "a@b.c")
    git("add", ".")
    git("commit", "--quiet", "--message", "My study")
    hashes, reports = altered.hashes(), altered.reports()
    log = altered.dvc("exp", "run", "--no-hydra", "-n", "words", "-S", "baselines.tfidf.label=Words")
    assert run_stages(log) == ["baseline@tfidf", "evaluate", "report"]
    assert altered.hashes() != hashes and altered.results()["tfidf"]["label"] == "Words"

    shown = experiments.table(json.loads(altered.dvc("exp", "show", "--json")))
    assert list(shown) == ["P@1", "P@5", "R@10", "R@100", "baselines.tfidf.label"]
    assert shown.loc["words", "baselines.tfidf.label"] == "Words"

    git("restore", "params.yaml", "dvc.lock", "README.md", "docs", "reports")
    altered.dvc("checkout")
    assert (altered.hashes(), altered.reports()) == (hashes, reports)
    assert altered.record("tfidf")["label"] == "TF-IDF, words"
    with opened(altered) as repo:
        assert repo.status() == {}


def test_a_study_that_was_killed_ends_with_the_same_results(done, plan, tmp_path):
    """Which also says that two copies on one machine, one partly in kernels, give the same results."""
    # They take long, and no kill touches them.
    left_out = BASELINES - {"zero-shot", "tfidf", "bm25"}
    copy = fresh(tmp_path / "killed", [*plan, *(f"~baselines.{name}" for name in sorted(left_out))])
    copy.use_forks(done)
    copy.dvc("repro", "encode")
    copy.use_kernels()
    with killing(copy, "train@c1") as running:
        wait_for(lambda: has_begun(copy, "train-c1", "train_student("), running)
    assert copy.study.labelled("c1").exists() and not copy.study.model("lmtx-c1").exists()

    copy.use_forks(done)
    log = copy.dvc("repro", "evaluate")
    assert kept_stages(log) >= {"prepare", "encode", "label@c1"}
    assert (
        {"train@c1", "label@c2", "train@c2", "evaluate"}
        <= set(run_stages(log))
        == STAGES - kept_stages(log) - ABLATED - ABLATE - {f"baseline@{name}" for name in left_out}
    )
    same, other = copy.hashes(), done.hashes()
    for path in ("reports/summary", "data/processed/pydocs/scores/systems.json"):
        del same[path]  # the systems that were left out are not there
    assert same.items() <= other.items()
    mine, theirs = copy.results(), done.results()
    assert set(mine) == SYSTEMS - left_out
    for system in mine:
        for field in (mine[system].keys() | theirs[system].keys()) - INCIDENTAL:
            assert mine[system][field] == theirs[system][field], f"{system}: {field}"


def test_after_the_end_of_the_curriculum_a_cycle_says_so_and_does_nothing(altered):
    """At this rate no weight moves, so that the first cycle cannot improve on E0."""
    altered.change("training.learning_rate=1e-12")
    verdicts = altered.verdicts()
    log = altered.dvc("repro", "evaluate")
    assert set(run_stages(log)) == {"train@c1", "label@c2", "train@c2", "evaluate", *TRAINED}
    assert kept_stages(log) == STAGES - set(run_stages(log)) - ABLATE - ABLATED

    reason = altered.record("lmtx-c2")["stopped"]
    assert "lmtx-c1 did not improve the teacher's check" in reason
    assert altered.record("label-c2")["stopped"] == reason
    assert log.count(f"{reason}; the rest of this notebook is skipped") == 2
    assert altered.verdicts() == verdicts
    assert [file.name for file in altered.study.model("lmtx-c2").iterdir()] == ["lmtx.json"]

    results = altered.results()
    assert results["lmtx-c2"]["stopped"] == reason and "metrics" not in results["lmtx-c2"]
    assert results["lmtx"]["metrics"] == results["zero-shot"]["metrics"]
    shown = altered.dvc("metrics", "show", "--md")
    assert "lmtx-c1" in shown and "lmtx-c2" not in shown
    altered.dvc("plots", "show", "--json")


# The change of parameters, the stage that fails, what it says.
BAD = {
    "+training.learningrate=0.1": (
        "train@c1",
        "`training.learningrate` is not a parameter; did you mean `learning_rate`?",
    ),
    "encoder.model=/nowhere/model": (
        "encode",
        "no model.safetensors in /nowhere/model; set encoder.model to a sentence-transformers folder",
    ),
    "teacher.acceptance=0.5": (  # with a damaged store
        "label@c1",
        "the file is damaged. It was left as it is: move it away to start an empty store",
    ),
}


def test_bad_input_is_one_clear_error_and_loses_nothing(done, altered):
    for file in altered.study.store.parent.glob("verdicts.sqlite-*"):
        file.unlink()
    rubble = b"SQLite format 3\x00" + bytes(range(256)) * 64
    altered.study.store.write_bytes(rubble)
    for change, (stage, message) in BAD.items():
        altered.change(change)
        log = altered.dvc("repro", succeeds=False)
        assert run_stages(log) == [stage]
        assert f"failed to reproduce '{stage}'" in log
        assert re.search(rf"^[\w.]*Error: .*{re.escape(message)}", log, re.MULTILINE), log[-3000:]
        assert altered.reports() == done.reports()
    assert altered.study.store.read_bytes() == rubble

    altered.change()
    log = altered.dvc("repro")
    assert not run_stages(log)  # what is not there any more comes out of DVC's cache
    assert altered.reports() == done.reports()
    with opened(altered) as repo:
        assert repo.status() == {}


def test_the_study_runs_with_a_language_model_in_its_process(altered, tmp_path):
    model = save_answering_model(tmp_path / "model")
    altered.change("teacher=huggingface", f"teacher.model={model}", *FEW)
    before = altered.verdicts()
    log = altered.dvc("repro", "train@c1")
    assert run_stages(log) == ["label@c1", "train@c1"]
    assert_student_of(altered, "huggingface")
    label, check = (altered.record(name)["cost"]["verdicts"] for name in ("label-c1", "lmtx-c1"))
    assert label > 90  # and random pairs, to see whether it tells them apart
    assert altered.verdicts() == before + label + check


def test_the_study_runs_with_a_server_and_asks_nothing_again(done, altered):
    """Killed while the server is being asked, it asks for the rest only; and its key is in no file."""
    altered.change("teacher=openai", "teacher.model=scripted-judge", "teacher.concurrency=2", *FEW)
    altered.use_kernels()
    before = altered.verdicts()
    with Server(judge_by_length, delay=0.1) as server:
        secret = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}
        with killing(altered, "train@c1", **secret) as running:
            wait_for(lambda: altered.verdicts() >= before + 20, running)
        judged = altered.verdicts() - before
        assert judged >= 20
        server.delay = 0.0
        altered.use_forks(done)
        log = altered.dvc("repro", "train@c1", **secret)
    assert run_stages(log) == ["label@c1", "train@c1"]
    assert_student_of(altered, "openai")
    cost = altered.record("label-c1")["cost"]
    assert cost["verdicts"] == cost["requests"]
    checked = altered.record("lmtx-c1")["cost"]["verdicts"]
    assert altered.verdicts() == before + judged + cost["verdicts"] + checked
    assert altered.record("lmtx-c1")["cost"]["requests"] > 0  # for the check
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert KEY not in log
    written = {file: file.read_bytes() for file in files(altered.folder.parent)}
    assert [file for file, content in written.items() if b"scripted-judge" in content]
    assert not [file for file, content in written.items() if KEY.encode() in content]


FEW = ("training.documents=30", "shortlist.size=3", "check.documents=8")


def assert_student_of(copy: Copy, teacher: str) -> None:
    """The copy holds a student trained on 30 shortlists of 3 labels that `teacher` has judged."""
    judged = pq.read_table(copy.study.labelled("c1") / "verdicts.parquet")
    assert judged.num_rows == 90
    assert judged.schema.metadata[b"teacher"] == teacher.encode()
    assert set(judged["answer"].to_pylist()) == {0, 1}
    card = json.loads((copy.study.model("lmtx-c1") / "lmtx.json").read_text())
    assert card["teacher"] == teacher
    assert [entry["system"] for entry in card["checked"]] == ["zero-shot", "lmtx-c1"]
    assert (copy.study.model("lmtx-c1") / "model.safetensors").is_file()
    assert len(Shortlist.load(copy.study.ranking("lmtx-c1")).ids) == 60


def files(folder: Path) -> list[Path]:
    """Every file below `folder`; links to folders elsewhere are not followed."""
    return [Path(where, name) for where, _, names in os.walk(folder) for name in names]


@contextmanager
def opened(copy: Copy) -> Iterator[Repo]:
    """DVC's view of a copy, in this process."""
    site = copy.environment["DVC_SITE_CACHE_DIR"]
    with chdir(copy.folder), Repo(config={"core": {"site_cache_dir": site}}) as repo:
        yield repo
