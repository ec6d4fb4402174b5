"""The corpus on disk and in memory: what goes in comes out, and what is wrong is named."""

from dataclasses import replace

import pyarrow as pa
import pytest
import scipy.sparse as sp

import lmtx.corpus
from lmtx.corpus import (
    DOCUMENT_SCHEMA,
    LABEL_SCHEMA,
    SPLITS,
    Corpus,
    CorpusError,
    csr_from_lists,
    doubled_uids,
    load_corpus,
    load_truth,
    save_truth,
)
from lmtx.datasets.lines import Faults
from lmtx.datasets.spool import spool


def documents(*uids: str, texts: list | None = None) -> pa.Table:
    texts = texts or [f"text of {uid}" for uid in uids]
    return pa.table({"uid": uids, "title": [""] * len(uids), "text": texts}, DOCUMENT_SCHEMA)


@pytest.fixture
def corpus() -> Corpus:
    labels = pa.table({"uid": ["x", "y", "z"], "text": ["red", "grün", "blue"]}, LABEL_SCHEMA)
    excluded = {
        "train": csr_from_lists([[2], []], 3),
        "dev": csr_from_lists([], 3),
        "test": csr_from_lists([[0]], 3),
    }
    return Corpus(documents("a", "b"), documents(), documents("c"), labels, excluded)


def test_a_saved_corpus_is_the_same_when_loaded(corpus, tmp_path):
    corpus.validate().save(tmp_path / "corpus")
    loaded = load_corpus(tmp_path / "corpus").validate()
    for split in SPLITS:
        assert loaded.documents(split).equals(corpus.documents(split))
        assert loaded.excluded[split].dtype == bool
        assert loaded.excluded[split].toarray().tolist() == corpus.excluded[split].toarray().tolist()
    assert loaded.labels.equals(corpus.labels)


def test_saving_again_replaces_the_folder_and_writes_the_same_bytes(corpus, tmp_path):
    folder = tmp_path / "corpus"
    corpus.save(folder)
    (folder / "stray").touch()
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "stray"}
    corpus.save(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_truth_is_saved_apart(tmp_path):
    truth = {"train": csr_from_lists([[0, 2], []], 3), "test": csr_from_lists([[1]], 3)}
    save_truth(tmp_path / "truth", truth)
    assert load_truth(tmp_path / "truth", "train").toarray().tolist() == [[True, False, True], [False] * 3]
    assert load_truth(tmp_path / "truth", "test").dtype == bool
    with pytest.raises(CorpusError, match=r"dev\.npz.*prepare"):
        load_truth(tmp_path / "truth", "dev")


@pytest.mark.parametrize("written_before", [False, True])
def test_a_save_that_fails_leaves_nothing_half_written(corpus, tmp_path, monkeypatch, written_before):
    folder = tmp_path / "corpus"
    if written_before:
        corpus.save(folder)

    def fail(path, matrix):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(lmtx.corpus.sp, "save_npz", fail)
    with pytest.raises(OSError, match="no space"):
        replace(corpus, train=documents("other", "one")).save(folder)
    assert [path.name for path in tmp_path.iterdir()] == (["corpus"] if written_before else [])
    if written_before:
        assert load_corpus(folder).train["uid"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("name", ["train.arrow", "excluded-test.npz"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "removed"])
def test_a_damaged_file_is_one_clear_error(corpus, tmp_path, name, damage):
    corpus.save(tmp_path / "corpus")
    file = tmp_path / "corpus" / name
    half = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes({"cut": half, "overwritten": b"x" * 999}.get(damage, b""))
    if damage == "removed":
        file.unlink()
    with pytest.raises(CorpusError, match=r"corpus.*prepare"):
        load_corpus(tmp_path / "corpus")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": documents()}, "train is empty"),
        ({"test": documents()}, "test is empty"),
        ({"labels": LABEL_SCHEMA.empty_table()}, "labels is empty"),
        ({"train": documents("a", "b", texts=["fine", None])}, "train: row 1 has no text"),
        ({"train": documents("a", "a")}, r"train: 1 uids stand more than once, first 'a' \(2 times\)"),
        ({"test": documents("c").drop_columns("title")}, "test has the columns"),
        ({"test": documents("c", "d")}, r"excluded pairs of test are \(1, 3\), not \(2, 3\)"),
    ],
)
def test_a_wrong_corpus_is_named(corpus, change, message):
    with pytest.raises(CorpusError, match=f"the file given: {message}"):
        replace(corpus, **change).validate("the file given")


@pytest.mark.parametrize("text", ["", " ", "\u00a0\u2003\n", "\t\r\x0b\x0c", "\u3000"])
def test_a_text_of_white_space_alone_is_empty(corpus, text):
    assert not text.strip()
    with pytest.raises(CorpusError, match=r"test: row 1 \(uid 'd'\) has an empty text"):
        replace(corpus, test=documents("c", "d", texts=["grün \u00a0", text])).validate()


def test_the_first_doubled_uid_is_named_with_its_count():
    table = documents("e", "b", "a", "b", "a", "b")
    assert list(doubled_uids(table).items()) == [("b", 3), ("a", 2)]
    assert doubled_uids(documents("a", "b")) == {}


def test_checking_copies_no_text(corpus):
    large = replace(corpus, train=documents("a", "b", texts=["x" * 2**24, " " * 2**24 + "x"]))
    usual = pa.default_memory_pool()
    watched = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(watched)
    try:
        large.validate()
    finally:
        pa.set_memory_pool(usual)
    assert 0 < watched.max_memory() < 2**20


def test_an_unknown_split_is_an_error_and_an_empty_dev_is_none(corpus):
    assert corpus.validate() is corpus
    with pytest.raises(ValueError, match="'valid' is none of train, dev, test"):
        corpus.documents("valid")


def test_label_lists_become_a_sorted_boolean_csr():
    matrix = csr_from_lists([[3, 1, 3], [], [0]], 4)
    assert isinstance(matrix, sp.csr_array)
    assert matrix.dtype == bool
    assert matrix.has_canonical_format
    assert matrix.toarray().astype(int).tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert csr_from_lists([], 4).shape == (0, 4)


def test_the_order_of_a_document_s_annotations_is_no_part_of_its_hash(tmp_path):
    """Readers collect them in sets, whose order changes from one process to the next."""
    one, other = ([(0, "d0", "", "a text", order)] for order in ([3, 1, 2], [1, 2, 3]))
    assert spool(Faults(tmp_path), one, tmp_path).digest == spool(Faults(tmp_path), other, tmp_path).digest
