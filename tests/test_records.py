"""Recorded verdicts: who may use them, and what is said of a file that cannot be used."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from tiny_encoders import document_table, label_table

from lmtx.config import EnsembleConfig
from lmtx.corpus import Corpus
from lmtx.llm.cost import estimate
from lmtx.teachers import NO, NONE, YES, Pairs, StoreError, build
from lmtx.teachers.base import Teacher
from lmtx.teachers.records import read_record, recorded_pairs, write_record
from lmtx.teachers.store import KEY_BYTES, VerdictStore

TEXTS = ["ant", "bee", "cat", "dog"]
LABELS = ["zero", "one", "two"]


def make_corpus(texts=TEXTS):
    """Two documents to train on, one of dev and one of test."""
    documents, labels = document_table(texts), label_table(LABELS)
    parts = {"train": documents[:2], "dev": documents[2:3], "test": documents[3:]}
    excluded = {split: sp.csr_array((table.num_rows, 3), dtype=bool) for split, table in parts.items()}
    return Corpus(**parts, labels=labels, excluded=excluded)


CORPUS = make_corpus()
DOCUMENTS = document_table(TEXTS)


class Counting(Teacher):
    """Answers 0.1, 0.2, … in the order of asking, every fourth time neither; counts what it is asked."""

    def __init__(self, store, identity="a"):
        super().__init__("counting", {"kind": "counting", "of": identity, "kept": 1}, store)
        self.asked = 0

    def ask(self, pairs):
        p = ((np.arange(len(pairs)) + self.asked) % 9 + 1) / np.float32(10)
        p[3::4] = np.nan
        self.asked += len(pairs)
        answer = np.where(np.isnan(p), NONE, np.where(p >= 0.5, YES, NO)).astype(np.int8)
        yield np.arange(len(pairs)), p.astype(np.float32), answer


def all_pairs(documents=DOCUMENTS):
    ids = np.tile(np.arange(3, dtype=np.int32), (documents.num_rows, 1))
    return Pairs.from_shortlist(documents, CORPUS.labels, ids)


@pytest.fixture
def counting(tmp_path):
    """Makes a teacher, each with an empty store of its own."""
    made = []

    def make(**changes):
        made.append(Counting(VerdictStore(tmp_path / f"{len(made)}.sqlite"), **changes))
        return made[-1]

    yield make
    for teacher in made:
        teacher.close()


@pytest.fixture
def record(counting, tmp_path):
    """A record of all pairs of the corpus, and the verdicts in it."""
    teacher = counting()
    verdicts = teacher.judge(all_pairs(), progress=False)
    file = tmp_path / "verdicts" / "counting.parquet"
    assert write_record(teacher.store, "counting", CORPUS, file) == 12
    return file, verdicts


def test_an_empty_store_with_the_record_answers_without_the_teacher(record, counting, tmp_path, monkeypatch):
    file, verdicts = record
    teacher = counting()
    teacher.take_record(tmp_path / "none.parquet", CORPUS)  # which is no error
    assert teacher.plan(all_pairs()).cached == 0
    teacher.take_record(file, CORPUS)
    plan = teacher.plan(all_pairs())
    assert (plan.cached, plan.pairs) == (12, 12)
    found = teacher.judge(all_pairs(), progress=False)
    assert (teacher.asked, teacher.cost.cached) == (0, 12)
    np.testing.assert_array_equal(found.p_yes, verdicts.p_yes)
    np.testing.assert_array_equal(found.answer, verdicts.answer)
    assert (found.answer == NONE).sum() == 3
    # A pair that is not in it is asked; the same uid with another text is another pair.
    teacher.judge(all_pairs(document_table(["elk"])), progress=False)
    assert teacher.asked == 3
    # A record is taken over once, and one made of it is the same.
    with monkeypatch.context() as patch:
        patch.setattr(teacher.store, "save", lambda *_: pytest.fail("it was taken over again"))
        teacher.take_record(file, CORPUS)
    other = counting()
    other.take_record(file, CORPUS)
    write_record(other.store, "counting", CORPUS, tmp_path / "again.parquet")
    table = pq.read_table(file)
    assert pq.read_table(tmp_path / "again.parquet").equals(table)
    # It names who gave it, and what that took.
    assert table.column_names == ["document", "label", "p_yes", "key"]
    assert table["document"].to_pylist() == sorted(table["document"].to_pylist())
    assert table["p_yes"].null_count == 3
    told = json.loads(table.schema.metadata[b"lmtx"])
    assert told["identity"] == {"kind": "counting", "of": "a", "kept": 1}
    assert (told["format"], told["teacher"], told["spent"]["verdicts"]) == (1, "counting", 12)


def test_a_bill_without_the_model_has_the_time_that_its_recorded_verdicts_took(counting, tmp_path):
    """The model that is not here counts the requests of 12 pairs, and took 4 s for 2 requests elsewhere."""
    elsewhere = counting()
    elsewhere.judge(all_pairs(), progress=False)
    elsewhere.store.account(elsewhere.store.start_run(elsewhere._teacher), {"requests": 2, "seconds": 4.0})
    write_record(elsewhere.store, "counting", CORPUS, tmp_path / "counting.parquet")
    here, stranger = counting(), counting(identity="b")
    for teacher in (here, stranger):
        teacher.estimate = lambda pairs: estimate(len(pairs), 60)
    assert here.bill(all_pairs())["seconds"] is None
    here.take_record(tmp_path / "counting.parquet", CORPUS)
    bill = here.bill(all_pairs())
    assert (bill["requests"], bill["prompt_tokens"]) == (12, 60)
    assert bill["seconds"] == pytest.approx(24, rel=0.1)
    assert bill["notes"] == ("time as it took where the record was made",)
    with pytest.warns(UserWarning, match="another of"):
        stranger.take_record(tmp_path / "counting.parquet", CORPUS)
    assert stranger.bill(all_pairs())["seconds"] is None


def test_only_verdicts_on_the_corpus_are_recorded(counting, tmp_path):
    teacher = counting()
    teacher.judge(all_pairs(), progress=False)
    strangers = document_table(["elk"]).set_column(0, "uid", pa.array(["stranger"]))
    teacher.judge(all_pairs(strangers), progress=False)
    assert write_record(teacher.store, "counting", CORPUS, tmp_path / "some.parquet") == 12
    renamed = {split: strangers[:n] for split, n in (("train", 1), ("dev", 0), ("test", 0))}
    other = Corpus(**renamed, labels=label_table(["zero"]).set_column(0, "uid", pa.array(["x"])), excluded={})
    with pytest.raises(StoreError, match="holds nothing of 'counting' on this corpus"):
        write_record(teacher.store, "counting", other, tmp_path / "none.parquet")
    with pytest.raises(StoreError, match="holds no verdicts of a teacher 'nobody'"):
        write_record(teacher.store, "nobody", CORPUS, tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


def test_another_identity_is_warned_of_and_not_used(record, counting):
    file, _ = record
    teacher = counting(identity="b")
    with pytest.warns(UserWarning, match=r"counting\.parquet is not used: .* with another of$"):
        teacher.take_record(file, CORPUS)
    teacher.judge(all_pairs(), progress=False)
    assert teacher.asked == 12


def test_a_record_does_not_replace_an_answer_by_none(record, counting):
    file, _ = record
    teacher = counting()
    none = Pairs(DOCUMENTS, CORPUS.labels, np.array([1], np.int32), np.array([0], np.int32))
    mine = teacher.judge(none, progress=False).p_yes  # the record has none here, the fourth pair
    teacher.take_record(file, CORPUS)
    assert mine == pytest.approx(0.1)
    np.testing.assert_array_equal(teacher.judge(none, progress=False).p_yes, mine)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("p_yes", -0.25, r"row 5: p_yes is -0\.25; expected 0 to 1"),
        ("document", "d9", "row 5: the document 'd9' is not in this corpus"),
        ("label", "l9", "row 5: the label 'l9' is not in this corpus"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_stored(record, counting, column, value, expected):
    file, _ = record
    table = pq.read_table(file)
    columns = table.to_pydict()
    columns[column][5] = value
    pq.write_table(pa.table(columns, schema=table.schema), file)
    teacher = counting()
    with pytest.raises(StoreError, match=expected) as error:
        teacher.take_record(file, CORPUS)
    assert str(file) in str(error.value)
    assert teacher.plan(all_pairs()).cached == 0


@pytest.mark.parametrize("kind", ["text", "empty", "parquet", "half", "newer"])
def test_a_file_that_is_no_record_is_named(record, counting, kind):
    file, _ = record
    if kind == "parquet":
        pq.write_table(pa.table({"a": [1]}), file)
    elif kind != "newer":
        content = {"text": b"version https://git-lfs\n", "empty": b"", "half": file.read_bytes()[:-40]}
        file.write_bytes(content[kind])
    message = r"counting\.parquet is no record of verdicts .*restore it from git"
    if kind == "newer":
        table = pq.read_table(file)
        told = json.dumps(json.loads(table.schema.metadata[b"lmtx"]) | {"format": 2})
        pq.write_table(table.replace_schema_metadata({"lmtx": told}), file)
        message = "has the format 2, and this version reads 1; update lmtx"
    with pytest.raises(StoreError, match=message):
        counting().take_record(file, CORPUS)
    with pytest.raises(StoreError, match=message):
        recorded_pairs(file, CORPUS)


def test_texts_come_back_as_they_were(tmp_path):
    identity = {"kind": "writer", "model": "m"}
    written = {bytes([i]) * KEY_BYTES: f"text {i}\nwith “marks”" for i in range(3)}
    file = tmp_path / "writer-texts.parquet"
    with VerdictStore(tmp_path / "a.sqlite") as store:
        teacher = store.teacher("writer", identity)
        with pytest.raises(StoreError, match="holds no texts of a teacher 'writer'"):
            write_record(store, "writer", None, file)
        store.save_texts(teacher, written)
        store.account(store.start_run(teacher), {"requests": 3})
        assert write_record(store, "writer", None, file) == 3
    with VerdictStore(tmp_path / "b.sqlite") as store:
        teacher = store.teacher("writer", identity)
        assert read_record(store, teacher, identity, file) == 3
        assert store.lookup_texts([*written, b"?" * KEY_BYTES]) == written
        assert read_record(store, teacher, identity, file) == 3  # again, for which nothing is read
    assert json.loads(pq.read_schema(file).metadata[b"lmtx"])["spent"]["requests"] == 3


def test_build_looks_for_the_record_by_the_teacher_s_name(tmp_path):
    """The ensemble is asked nothing where the folder holds its verdicts; an empty folder is no error."""
    vectors = np.eye(4, dtype=np.float32)
    embeddings = {"train": vectors[:2], "dev": vectors[2:3], "test": vectors[3:], "labels": vectors[:3]}
    config = EnsembleConfig(kind="ensemble", name="some", acceptance=0.5, lexical_weight=0.5, naming=0.2)
    pairs = Pairs.from_shortlist(CORPUS.train, CORPUS.labels, np.array([[0, 1], [2, 0]], np.int32))
    options = {"corpus": CORPUS, "embeddings": embeddings, "records": tmp_path / "verdicts"}
    with build(config, store=tmp_path / "a.sqlite", **options) as teacher:
        verdicts = teacher.judge(pairs, progress=False)
        assert teacher.cost.verdicts == 4
        write_record(teacher.store, "some", CORPUS, tmp_path / "verdicts" / "some.parquet")
    with build(config, store=tmp_path / "b.sqlite", **options) as teacher:
        np.testing.assert_array_equal(teacher.judge(pairs, progress=False).p_yes, verdicts.p_yes)
        assert (teacher.cost.verdicts, teacher.cost.cached) == (0, 4)
    renamed = config.model_copy(update={"name": "other"})
    with build(renamed, store=tmp_path / "c.sqlite", **options) as teacher:
        assert teacher.plan(pairs).cached == 0
