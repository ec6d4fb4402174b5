"""Where results lie and how they are written: whole or not at all, in the study's own folder."""

import json
import os
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest

from lmtx import provenance
from lmtx.config import load_config
from lmtx.files import DestinationError, read_json, replacing, write_json
from lmtx.provenance import Clock, host, versions
from lmtx.study import Study, StudyError
from lmtx.study.notebooks import left
from lmtx.study.records import read_record, write_record

ROOT = Path(__file__).resolve().parents[1]


# --- files -------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "folder"])
def target(request, tmp_path):
    """A path for a file or for a folder, and functions that write and read such a one."""
    path = tmp_path / "results" / "target"

    def write(place, text):
        if request.param == "file":
            place.write_text(text)
        else:
            place.mkdir()
            (place / "part.txt").write_text(text)

    def read():
        return (path if request.param == "file" else path / "part.txt").read_text()

    return path, write, read


def test_a_new_result_appears_when_the_block_is_through_in_place_of_the_old_one(target):
    path, write, read = target
    for text in ("old", "new"):
        with replacing(path) as scratch:
            write(scratch, text)
            assert scratch.parent == path.parent  # on the same disk, so that moving is instant
            assert path.exists() == (text == "new") and (text == "old" or read() == "old")
        assert read() == text
    assert [p.name for p in path.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FileNotFoundError])
@pytest.mark.parametrize("existed", [False, True])
def test_a_block_that_raises_or_writes_nothing_leaves_what_was_there_and_no_scratch(target, existed, error):
    path, write, read = target
    if existed:
        with replacing(path) as scratch:
            write(scratch, "old")
    with pytest.raises(error), replacing(path) as scratch:
        if error is not FileNotFoundError:  # that of a block that writes nothing
            write(scratch, "half")
            raise error
    assert [p.name for p in path.parent.iterdir()] == (["target"] if existed else [])
    assert not existed or read() == "old"


def test_a_folder_may_take_the_place_of_a_longer_one_and_no_file_that_of_a_folder(tmp_path):
    for names in (["one", "two"], ["three"]):
        with replacing(tmp_path / "a") as scratch:
            scratch.mkdir()
            for name in names:
                (scratch / name).touch()
    refused = pytest.raises(DestinationError, match="is a folder, and a file is written")
    with refused, replacing(tmp_path / "a") as scratch:
        scratch.write_text("a file")
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "three"]


def test_json_is_read_back_as_written_and_a_value_that_is_none_leaves_the_earlier_file(tmp_path):
    path, value = tmp_path / "result.json", {"name": "Bücher → 図書", "values": [1, 2.5, None, True]}
    write_json(path, value)
    with pytest.raises(TypeError):
        write_json(path, {"a": np.float32(1)})
    assert read_json(path) == value
    text = path.read_text(encoding="utf-8")
    assert "図書" in text and text.endswith("}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b'{"a": 1,\n "b": }', ValueError, r"broken\.json is not valid JSON \(line 2\)"),
        (b"", ValueError, r"broken\.json is not valid JSON \(line 1\)"),
        (b"\x80\x81", ValueError, r"broken\.json is not UTF-8 text"),
        (None, FileNotFoundError, r"broken\.json"),
    ],
)
def test_a_broken_or_missing_json_file_is_named(tmp_path, content, error, said):
    if content is not None:
        (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(error, match=said):
        read_json(tmp_path / "broken.json")


# --- study -------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with the project's parameters, presets and no results; it is the current one."""
    home = tmp_path / "project"
    (home / "notebooks").mkdir(parents=True)
    (home / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (home / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def runs(monkeypatch):
    """The notebooks that would be run, with their parameters; each makes what `runs.makes` says."""

    class Runs(list):
        def makes(self, **paths):
            self.paths = paths

    runs = Runs()
    runs.paths = {}

    def execute(source, target, parameters, **options):
        runs.append((Path(source), Path(target), parameters))
        assert Path(target).parent.is_dir()
        if made := runs.paths.get(Path(source).stem[3:]):
            made.mkdir(parents=True)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return runs


def places(study):
    """All places a study writes to."""
    return {
        name: value("c1") if callable(value) else value
        for name in dir(Study)
        if name[0] != "_" and name not in ("open", "need", "load_embeddings", "measured", "name", "records")
        for value in [getattr(study, name)]
        if callable(value) or isinstance(value, Path)
    }


@pytest.mark.parametrize("workspace", [".", "scratch"])
def test_all_results_lie_in_the_workspace_each_in_its_own_place(home, workspace):
    study = Study.open(workspace=workspace)
    assert study.root == (home / workspace).resolve()
    found = places(study)
    assert {"corpus", "truth", "embeddings", "store", "labelled", "ranking", "model", "results"} <= set(found)
    assert all(place.is_relative_to(study.root) for place in found.values())
    assert len(set(found.values())) == len(found)
    # What ships with the project is only read, and the same for every workspace.
    assert study.records == home.resolve() / "verdicts" / study.name


def test_results_of_two_data_sets_never_meet_save_for_the_store_and_the_report(home):
    first = places(Study.open())
    second = places(Study.open(overrides="dataset.name=other"))
    shared = {name for name in first if first[name] == second[name]}
    assert shared == {"store", "summary", "reports"}


def test_a_truth_folder_is_apart_from_what_training_reads(home):
    study = Study.open()
    for place in (study.corpus, study.embeddings, study.labelled("c1"), study.model("lmtx-c1")):
        assert not place.is_relative_to(study.truth)
        assert not study.truth.is_relative_to(place)


def test_sizes_and_overrides_are_applied_and_a_notebook_in_a_subfolder_finds_the_study(home, monkeypatch):
    changed = load_config("params.yaml", ["size=smoke", "shortlist.size=3", "training.seed=7"])
    monkeypatch.chdir(home / "notebooks")
    study = Study.open(workspace="scratch", size="smoke", overrides="shortlist.size=3 training.seed=7")
    assert (study.root, study.config, study.name) == (home / "scratch", changed, changed.dataset.name)


@pytest.mark.parametrize("linked", [False, True])
def test_in_the_study_itself_a_missing_result_says_how_to_make_it(home, runs, tmp_path, linked):
    (tmp_path / "link").symlink_to(home)
    study = Study.open(str(tmp_path / "link" / "params.yaml") if linked else "params.yaml")
    with pytest.raises(StudyError, match=r"labelled/c2 is missing; `dvc repro`.*03_label"):
        study.need(study.labelled("c2"))
    assert runs == []


MAKERS = [
    (lambda s: s.corpus, "01_prepare", {}),
    (lambda s: s.truth, "01_prepare", {}),
    (lambda s: s.statistics, "01_prepare", {}),
    (lambda s: s.embeddings, "02_encode", {}),
    (lambda s: s.model("zero-shot"), "02_encode", {}),
    (lambda s: s.labelled("c2"), "03_label", {"cycle": "c2"}),
    (lambda s: s.model("lmtx-c1"), "04_train", {"cycle": "c1"}),
    (lambda s: s.ranking("lmtx-c2"), "04_train", {"cycle": "c2"}),
    (lambda s: s.ranking("zero-shot"), "05_baselines", {"baseline": "zero-shot"}),
    (lambda s: s.ranking("tfidf"), "05_baselines", {"baseline": "tfidf"}),
    (lambda s: s.record("encode"), "02_encode", {}),
    (lambda s: s.record("label-c2"), "03_label", {"cycle": "c2"}),
    (lambda s: s.record("tfidf"), "05_baselines", {"baseline": "tfidf"}),
    (lambda s: s.ranking("supervised"), "stages/supervised", {}),
    (lambda s: s.point("base"), "stages/ablation", {"point": "base"}),
    (lambda s: s.model("ablate-base"), "stages/ablation", {"point": "base"}),
    (lambda s: s.ablations, "stages/ablations", {}),
    (lambda s: s.results, "06_evaluate", {}),
]


def test_in_a_scratch_workspace_the_notebook_that_makes_a_result_is_run(home, runs):
    study = Study.open(workspace="scratch", size="smoke", overrides="shortlist.size=3")
    opened = {
        "config": "params.yaml",
        "workspace": "scratch",
        "size": "smoke",
        "overrides": "shortlist.size=3",
    }
    for result, notebook, parameters in MAKERS:
        runs.clear()
        study.need(result(study))
        ((source, target, given),) = runs
        assert source == home / "notebooks" / f"{notebook}.ipynb"
        assert (ROOT / "notebooks" / f"{notebook}.ipynb").is_file()
        assert target.is_relative_to(home / "scratch")
        assert given == opened | parameters


def test_by_hand_a_notebook_works_on_a_sample_in_scratch_until_the_study_has_run(home, runs):
    study = Study.open(workspace="")
    assert study.root == home / "scratch" / "sample"
    assert study.config == load_config("params.yaml", ["size=sample"])
    study.need(study.corpus)
    ((_, _, given),) = runs
    assert Study.open(**given) == study


def test_by_hand_a_notebook_gets_copies_of_the_study_s_own_results_anew_each_time(home, runs):
    own = Study.open()
    own.model("lmtx").mkdir(parents=True)
    for text in ("first", "second"):
        write_json(own.record("tfidf"), text)
        write_json(own.corpus / "labels.json", text)
        study = Study.open(workspace="")
        assert (study.root, study.config) == (home / "scratch" / "study", own.config)
        study.need(study.corpus, study.record("tfidf"))
        assert read_json(study.record("tfidf")) == read_json(study.corpus / "labels.json") == text
    assert runs == []
    write_json(study.record("tfidf"), "by hand")
    assert read_json(own.record("tfidf")) == "second"
    # Verdicts may cost money: those of the study count, and those judged by hand are kept with them.
    assert study.store == own.store
    # What the study lacks is made in scratch.
    study.need(study.ranking("tfidf"))
    assert [source.stem for source, _, _ in runs] == ["05_baselines"]


@pytest.mark.parametrize("changed", [{"size": "smoke"}, {"overrides": "shortlist.size=3"}])
def test_by_hand_with_other_parameters_the_study_s_results_are_not_taken(home, changed):
    Study.open().model("lmtx").mkdir(parents=True)
    study = Study.open(workspace="", **changed)
    assert study.source is None
    assert study.root == home / "scratch" / changed.get("size", "sample")


def test_two_runs_write_the_same_record_and_each_knows_what_it_took(home):
    run = {"label": "BM25", "seconds": {"rank": 1.5}, "cost": {"usd": 2.0}, "host": {"cores": 2}}
    study, other = Study.open(), Study.open(workspace="other")
    write_record(study, study.record("bm25"), run)
    write_record(other, other.record("bm25"), run | {"seconds": {"rank": 9.0}, "host": {"cores": 8}})
    assert study.record("bm25").read_bytes() == other.record("bm25").read_bytes()
    assert read_record(study, study.record("bm25")) == run
    assert read_record(other, other.record("bm25"))["seconds"] == {"rank": 9.0}


def test_what_another_run_took_is_not_taken_for_this_one_s_and_is_known_when_that_comes_back(home):
    study = Study.open()
    path = study.record("bm25")
    write_record(study, path, {"label": "BM25", "seconds": {"rank": 1.5}})
    first = path.read_bytes()
    write_json(path, {"label": "BM25, k1=2"})  # as `dvc checkout` does
    assert read_record(study, path) == {"label": "BM25, k1=2", "seconds": {}, "cost": {}, "host": {}}
    path.write_bytes(first)
    assert read_record(study, path)["seconds"] == {"rank": 1.5}


def test_tables_have_their_text_on_the_left_whole_and_escaped():
    html = left(pd.DataFrame({"label": ["<b> " + "long " * 40], "p_yes": [0.123456]})).to_html()
    assert "&lt;b&gt; " + "long " * 40 in html and "0.123<" in html
    assert re.search(r"\.col0 \{\s*text-align: left", html) and ".col1 {" not in html


def test_what_one_notebook_makes_or_is_there_is_not_made_again(home, runs):
    study = Study.open(workspace="scratch")
    runs.makes(prepare=study.corpus, encode=study.embeddings)
    study.need(study.corpus, study.embeddings, study.corpus)
    assert [source.stem for source, _, _ in runs] == ["01_prepare", "02_encode"]


def test_embeddings_are_memory_mapped_under_their_split(home):
    study = Study.open()
    study.embeddings.mkdir(parents=True)
    for name in ("train", "labels"):
        np.save(study.embeddings / f"{name}.npy", np.full((2, 3), len(name), np.float32))
    found = study.load_embeddings()
    assert sorted(found) == ["labels", "train"]
    assert isinstance(found["train"], np.memmap)
    np.testing.assert_array_equal(found["labels"], np.full((2, 3), 6))


def test_a_clock_adds_up_the_time_of_each_part(monkeypatch):
    now = iter([10.0, 11.5, 20.0, 20.25, 30.0, 32.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    clock = Clock()
    with clock("encode"):
        pass
    with clock("search"):
        pass
    with pytest.raises(ValueError, match="stop"), clock("encode"):
        raise ValueError("stop")
    assert clock.seconds == {"encode": 3.5, "search": 0.25}
    assert list(clock.seconds) == ["encode", "search"]


def test_a_result_names_the_commit_of_the_code(tmp_path, monkeypatch):
    """And a "+" behind it where the code is not that commit's."""
    module = tmp_path / "lmtx" / "provenance.py"
    module.parent.mkdir()
    module.write_text("first")
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.commit() is None

    def git(*arguments):
        settings = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *settings, *arguments], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    head = git("rev-parse", "HEAD")[:10]
    assert provenance.commit() == head
    (tmp_path / "README.md").write_text("a text is no code")
    assert provenance.commit() == head
    module.write_text("second")
    assert provenance.commit() == f"{head}+"


def test_a_result_names_its_machine_and_versions():
    machine = host()
    assert machine.keys() == {"processor", "cores", "memory_gib", "gpu", "python", "system"}
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["memory_gib"] > 0.1
    assert machine["processor"]
    assert versions()["torch"] == version("torch")
    assert versions().keys() >= {"lmtx", "sentence-transformers", "transformers", "numpy"}
    json.dumps([machine, versions()])
