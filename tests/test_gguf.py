"""A GGUF file as a teacher: found by place and hash, and not needed where its verdicts are recorded."""

import hashlib
import runpy
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from test_huggingface_teacher import IGNORED, some_pairs
from tiny_models import local_config, save_gguf, save_random_model

from lmtx.corpus import Corpus
from lmtx.llm import models as models_module
from lmtx.llm.checkpoint import find
from lmtx.teachers import NONE, Pairs, TeacherError, TooFewAnswersError, build
from lmtx.teachers.records import write_record

HUB_NAME = "some-org/models:tiny.gguf"
pytestmark = [IGNORED, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_random_model(
        tmp_path_factory.mktemp("models") / "qwen", "qwen2", layer_types=["full_attention"] * 2
    )


@pytest.fixture(scope="module")
def file(folder):
    """The same model as one file."""
    return save_gguf(folder, folder.parent / "tiny.gguf")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty folder for GGUF files of the hub, and a hub that cannot be reached."""
    monkeypatch.setenv("LMTX_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def teacher(model, store, **changes):
    return build(local_config(model, **({"document_tokens": 500} | changes)), store=store, corpus=None)


def test_a_preset_is_read_only_when_its_model_is_asked_for(monkeypatch):
    """So that a copy of the project without the link to its presets can be imported."""
    monkeypatch.setattr("lmtx.config.PACKAGED", Path("nowhere"))
    names = runpy.run_path(models_module.__file__)
    assert "qwen-1.5b" in names["MODELS"]
    with pytest.raises(FileNotFoundError, match=r"qwen\.yaml"):
        names["on_disk"]("qwen-1.5b")


# --- finding it --------------------------------------------------------------------------------


def test_a_file_is_found_by_its_path_and_known_by_its_hash(file):
    found = find(str(file))
    assert (found.folder, found.gguf, found.on_hub) == (file.parent, "tiny.gguf", False)
    assert found.identity == f"sha256:{sha256(file)}"
    assert find(str(file), sha256(file)) == found
    assert found.source["gguf_file"] == "tiny.gguf"
    assert found.source["trust_remote_code"] is False and found.source["local_files_only"] is True


def test_a_file_of_the_hub_is_looked_for_in_the_folder_of_models_first(file, models, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    (models / "tiny.gguf").write_bytes(file.read_bytes())
    found = find(HUB_NAME, sha256(file))
    assert (found.folder, found.identity) == (models, f"sha256:{sha256(file)}")


def test_a_file_of_the_hub_is_fetched_where_the_folder_lacks_it(file, models, monkeypatch):
    asked = []

    def download(repository, name, **_):
        asked.append((repository, name))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert find(HUB_NAME).folder == file.parent
    assert asked == [("some-org/models", "tiny.gguf")]


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_file_and_the_hub_the_message_says_what_to_fetch(models, monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    started = time.monotonic()
    with pytest.raises(TeacherError) as error:
        find(HUB_NAME, "0" * 64)
    assert time.monotonic() - started < 10
    for part in ("tiny.gguf", str(models), "some-org/models", "hf download some-org/models tiny.gguf"):
        assert part in str(error.value)


def test_no_file_and_a_file_of_another_kind_are_named(tmp_path):
    with pytest.raises(TeacherError, match=rf"no file {tmp_path}/none\.gguf; check teacher\.model"):
        find(str(tmp_path / "none.gguf"))
    for content in (b"", b"GG", b"version https://git-lfs.github.com/spec/v1\n"):
        (tmp_path / "a.gguf").write_bytes(content)
        with pytest.raises(TeacherError, match=r"a\.gguf is no GGUF file; check teacher\.model"):
            find(str(tmp_path / "a.gguf"))


def test_an_incomplete_file_is_named_with_both_hashes(file, models, tmp_path):
    whole, cut = file.read_bytes(), models / "tiny.gguf"
    cut.write_bytes(whole[:-1000])
    with pytest.raises(TeacherError) as error:
        find(HUB_NAME, sha256(file))
    for part in (sha256(file), sha256(cut), f"{len(whole) - 1000:,} bytes", "delete it"):
        assert part in str(error.value)
    # Without a known hash it is an error of the teacher too.
    with pytest.raises(TeacherError, match=r"tiny\.gguf"), teacher(cut, tmp_path / "v.sqlite") as judge:
        judge.judge(some_pairs(), progress=False)


# --- asking it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["question", "strict"])
def test_its_verdicts_are_those_of_the_folder_with_the_same_weights(folder, file, tmp_path, prompt):
    found = []
    for number, model in enumerate((folder, file)):
        with teacher(model, tmp_path / f"{number}.sqlite", prompt=prompt) as judge:
            found.append(judge.judge(some_pairs(), progress=False).p_yes)
    assert np.ptp(found[0]) > 0.1
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_the_identity_is_the_hash_and_not_the_place(file, models, tmp_path):
    (models / "tiny.gguf").write_bytes(file.read_bytes())
    with (
        teacher(file, tmp_path / "v.sqlite", sha256=sha256(file)) as one,
        teacher(HUB_NAME, tmp_path / "v.sqlite", sha256=sha256(file)) as other,
    ):
        assert one.identity == other.identity
        assert one.identity["model"] == f"sha256:{sha256(file)}"
        verdicts = one.judge(some_pairs(), progress=False)
        np.testing.assert_array_equal(other.judge(some_pairs(), progress=False).p_yes, verdicts.p_yes)
        assert (other.cost.cached, other.cost.requests) == (len(some_pairs()), 0)
    with teacher(file, tmp_path / "v.sqlite", sha256=sha256(file), prompt="strict") as other:
        assert other.identity != one.identity


@pytest.fixture
def recorded(file, models, tmp_path):
    """A record of `some_pairs`, the corpus it is of, and the options of a teacher whose file is away."""
    pairs = some_pairs()
    tables = {"train": pairs.documents[:3], "dev": pairs.documents[3:4], "test": pairs.documents[4:]}
    excluded = {s: sp.csr_array((t.num_rows, pairs.labels.num_rows), dtype=bool) for s, t in tables.items()}
    corpus = Corpus(**tables, labels=pairs.labels, excluded=excluded)
    folder = tmp_path / "verdicts"
    with teacher(file, tmp_path / "first.sqlite", sha256=sha256(file)) as judge:
        verdicts = judge.judge(pairs, progress=False)
        write_record(judge.store, "tiny", corpus, folder / "tiny.parquet")

    def away(**changes):
        section = local_config(HUB_NAME, sha256=sha256(file), document_tokens=500, **changes)
        return build(section, store=tmp_path / "second.sqlite", corpus=corpus, records=folder)

    return away, pairs, verdicts


def with_unknown(pairs: Pairs, n: int) -> Pairs:
    """The pairs, and n more of the last document, which no record has."""
    free = np.setdiff1d(np.arange(12), pairs.columns[pairs.rows == 5])[:n].astype(np.int32)
    rows = np.append(pairs.rows, np.full(n, 5, np.int32))
    return Pairs(pairs.documents, pairs.labels, rows, np.append(pairs.columns, free))


def test_recorded_pairs_need_no_model(recorded):
    away, pairs, verdicts = recorded
    with away() as judge:
        plan = judge.plan(pairs)
        assert (plan.cached, plan.requests, plan.seconds) == (len(pairs), 0, 0.0)
        found = judge.judge(pairs, progress=False)
    np.testing.assert_array_equal(found.p_yes, verdicts.p_yes)
    np.testing.assert_array_equal(found.answer, verdicts.answer)


def test_a_pair_without_a_record_asks_for_the_model(recorded):
    away, pairs, _ = recorded
    with away() as judge, pytest.raises(TeacherError) as error:
        judge.judge(with_unknown(pairs, 2), progress=False)
    assert "hf download some-org/models tiny.gguf" in str(error.value)
    assert "2 are missing" in str(error.value)


def test_or_stays_without_a_verdict_where_that_is_allowed(recorded):
    """A notebook plans before it judges; what may be missing must not stop it there."""
    away, pairs, verdicts = recorded
    with away(max_missing=0.2) as judge:
        plan = judge.plan(with_unknown(pairs, 2))
        assert (plan.pairs, plan.cached) == (len(pairs) + 2, len(pairs))
        found = judge.judge(with_unknown(pairs, 2), progress=False)
        assert found.answer[-2:].tolist() == [NONE, NONE]
        np.testing.assert_array_equal(found.p_yes[:-2], verdicts.p_yes)
        with pytest.raises(TooFewAnswersError, match=r"hf download some-org/models tiny\.gguf"):
            judge.judge(with_unknown(pairs, 8), progress=False)


def test_a_file_that_cannot_be_used_stops_only_who_asks_it(recorded, file, models, monkeypatch):
    """What is recorded is there all the same, with its bill; the model is refused before its weights."""
    (models / "tiny.gguf").write_bytes(file.read_bytes())
    monkeypatch.setattr("lmtx.teachers.huggingface.HuggingFaceTeacher.packs", property(refuse))
    monkeypatch.setattr("lmtx.llm.local.LocalModel.weights", property(lambda _: pytest.fail("were loaded")))
    away, pairs, verdicts = recorded
    with away(max_missing=0.2) as judge:
        np.testing.assert_array_equal(judge.judge(pairs, progress=False).p_yes, verdicts.p_yes)
        assert "cannot be used (no such layers)" in judge.bill(pairs)["notes"][0]
        assert judge.plan(with_unknown(pairs, 2)).requests == 1
        with pytest.raises(TeacherError, match="no such layers"):
            judge.judge(with_unknown(pairs, 2), progress=False)


def refuse(_):
    raise TeacherError("no such layers")
