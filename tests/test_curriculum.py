"""A cycle: documents sampled, pairs judged, verdicts turned into pseudo-labels, the student checked."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from tiny_encoders import document_table, label_table

from lmtx.curriculum import CurriculumError, check, judge, pseudo_labels, sample, spare
from lmtx.index import Shortlist
from lmtx.study.progress import Progress
from lmtx.study.records import write_card
from lmtx.teachers.base import Teacher
from lmtx.teachers.pairs import NO, NONE, YES
from lmtx.teachers.store import VerdictStore

DOCUMENTS = document_table(["ant", "bee", "cat"])
LABELS = label_table(["zero", "one", "two", "three", "four"])


class Scripted(Teacher):
    """Answers by a script, {(document uid, label uid): p_yes}; None: neither yes nor no."""

    notes = ("scripted", "for tests")

    def __init__(self, script, store):
        super().__init__("script", {"kind": "scripted"}, store)
        self.script, self.asked = script, []

    def ask(self, pairs):
        documents, labels = pairs.documents["uid"].to_pylist(), pairs.labels["uid"].to_pylist()
        for i, (row, column) in enumerate(zip(pairs.rows, pairs.columns, strict=True)):
            self.asked.append((documents[row], labels[column]))
            p = self.script[self.asked[-1]]
            answer = NONE if p is None else YES if p >= 0.5 else NO
            p_yes = np.float32([np.nan if p is None else p])
            yield np.array([i]), p_yes, np.array([answer], np.int8)


@pytest.fixture
def teacher(tmp_path):
    with VerdictStore(tmp_path / "verdicts.sqlite") as store:
        yield lambda script: Scripted(script, store)


SCRIPT = {
    ("d0", "l2"): 0.9,
    ("d0", "l4"): 0.1,
    ("d0", "l0"): 0.5,
    ("d1", "l3"): None,
    ("d2", "l1"): 0.75,
    ("d2", "l3"): 0.25,
}
SHORTLIST = Shortlist(
    np.array([[2, 4, 0], [3, -1, -1], [1, 3, -1]], np.int32),
    np.array([[0.875, 0.75, 0.625], [0.5, -np.inf, -np.inf], [0.25, 0.125, -np.inf]], np.float32),
)


# --- sample ------------------------------------------------------------------------------------


def test_a_larger_sample_holds_every_smaller_one_of_its_seed():
    sizes = [0, 1, 5, 50, 99, 100]
    samples = [sample(100, size, seed=3).tolist() for size in sizes]
    assert [len(rows) for rows in samples] == sizes
    for smaller, larger in pairwise(samples):
        assert set(smaller) <= set(larger)
    assert all(rows == sorted(set(rows)) for rows in samples)
    assert samples[3] != list(range(50))
    assert samples[3] != sample(100, 50, seed=4).tolist()
    assert samples[3] == sample(100, 50, seed=3).tolist()
    for size in (None, 7, 8):  # all
        rows = sample(7, size, seed=1)
        assert rows.dtype == np.int64 and rows.tolist() == list(range(7))


# --- judge -------------------------------------------------------------------------------------


def test_the_table_of_verdicts_follows_the_shortlist(teacher):
    scripted = teacher(SCRIPT)
    judge(scripted, DOCUMENTS, LABELS, Shortlist(SHORTLIST.ids[:, :1], SHORTLIST.scores[:, :1]))
    assert len(scripted.asked) == 3
    table = judge(scripted, DOCUMENTS, LABELS, SHORTLIST)
    p_yes = np.float32([0.9, 0.1, 0.5, np.nan, 0.75, 0.25])
    expected = {
        "document": np.int32([0, 0, 0, 1, 2, 2]),
        "label": np.int32([2, 4, 0, 3, 1, 3]),
        "rank": np.int16([1, 2, 3, 1, 1, 2]),
        "similarity": np.float32([0.875, 0.75, 0.625, 0.5, 0.25, 0.125]),
        "p_yes": p_yes,
        "answer": np.int8([1, 0, 1, -1, 1, 0]),
        "said": p_yes,
        "document_uid": ["d0", "d0", "d0", "d1", "d2", "d2"],
        "label_uid": ["l2", "l4", "l0", "l3", "l1", "l3"],
    }
    metadata = {"teacher": "script", "notes": "scripted; for tests", "threshold": "0.5"}
    assert table.schema.equals(pa.table(expected, metadata=metadata).schema, check_metadata=True)
    for name, values in expected.items():
        np.testing.assert_array_equal(table[name].to_pylist(), values)
    assert sorted(scripted.asked) == sorted(SCRIPT)  # pads are not asked about, nor is any pair twice


# --- pseudo-labels -----------------------------------------------------------------------------


def test_yes_is_accepted_no_is_rejected_and_neither_is_used_for_nothing(teacher):
    found = pseudo_labels(judge(teacher(SCRIPT), DOCUMENTS, LABELS, SHORTLIST), (3, 5))
    accepted, rejected, confidence = (matrix.toarray() for matrix in found)
    np.testing.assert_array_equal(confidence, np.float32([[0.5, 0, 0.9, 0, 0], [0] * 5, [0, 0.75, 0, 0, 0]]))
    np.testing.assert_array_equal(accepted, confidence > 0)
    np.testing.assert_array_equal(rejected, [[0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]])
    assert [(m.dtype, m.format) for m in found] == [(bool, "csr"), (bool, "csr"), (np.float32, "csr")]


def test_nothing_accepted_is_an_error_that_says_what_to_change(teacher):
    scripted = teacher(dict.fromkeys(SCRIPT, 0.2) | {("d1", "l3"): None})
    judged = judge(scripted, DOCUMENTS, LABELS, SHORTLIST)
    with pytest.raises(CurriculumError, match=r"accepted none of 6 pairs.*teacher\.acceptance"):
        pseudo_labels(judged, (3, 5))


@pytest.mark.parametrize(
    ("unsure", "rejected"),
    [(0.0, [(0, 4), (2, 3)]), (1 / 6, [(0, 4)]), (0.9, [(0, 4)])],  # of six pairs; the surest no stays
)
def test_the_pairs_next_below_the_accepted_ones_are_not_rejected(teacher, unsure, rejected):
    judged = judge(teacher(SCRIPT), DOCUMENTS, LABELS, SHORTLIST)
    accepted, clear, _ = pseudo_labels(judged, (3, 5), unsure)
    assert accepted.nnz == 3
    assert sorted(zip(*clear.nonzero(), strict=True)) == rejected
    # Of hard verdicts none is unsure.
    hard = judged.set_column(4, "p_yes", pa.array(np.nan_to_num(np.round(judged["p_yes"].to_numpy()))))
    assert pseudo_labels(hard, (3, 5), unsure)[1].nnz == 2


@pytest.mark.parametrize(("ranks", "near"), [(0, []), (2, [(0, 1), (1, 0), (1, 1), (2, 4)])])
def test_labels_near_a_document_are_spared_unless_they_were_rejected(teacher, ranks, near):
    """d0 is nearest to labels 4 and 1, d1 to 0 and 1, d2 to 3 and 4 (and 2, which is excluded)."""
    documents = np.float32([[0, 1], [1, 0], [-1, 0]])
    labels = np.float32([[1, 0], [0.8, 0.6], [-1, 0], [-0.96, 0.28], [-0.6, 0.8]])
    excluded = sp.csr_array(([True], ([2], [2])), shape=(3, 5))
    corpus = SimpleNamespace(excluded={"train": excluded})
    judged = judge(teacher(SCRIPT), DOCUMENTS, LABELS, SHORTLIST)
    rejected = pseudo_labels(judged, (3, 5))[1]
    spared = spare(ranks, corpus, np.arange(3), {"train": documents, "labels": labels}, judged, rejected)
    assert spared.dtype == bool
    answered_yes_or_nothing = [(0, 0), (0, 2), (1, 3), (2, 1)]
    assert sorted(zip(*spared.nonzero(), strict=True)) == sorted(answered_yes_or_nothing + near)


# --- check -------------------------------------------------------------------------------------


def dev(documents, excluded):
    """A corpus of these dev documents, three labels and pairs that are no candidates."""
    return SimpleNamespace(dev=documents, labels=LABELS.slice(0, 3), excluded={"dev": sp.csr_array(excluded)})


def judged_before(threshold=0.5, p_yes=(), labels=()):
    """A first cycle's table, as far as the check reads it."""
    columns = {"said": pa.array(p_yes, pa.float32()), "label": pa.array(labels, pa.int32())}
    return pa.table(columns, metadata={"threshold": repr(threshold)})


def test_the_check_tells_whether_the_teacher_accepts_each_first_label(teacher):
    """d0 yes, d1 without a candidate, d2 yes; d3 is not among those to check."""
    scripted = teacher({("d0", "l1"): 0.9, ("d2", "l0"): 0.7})
    excluded = np.zeros((4, 3), bool)
    excluded[0, 0] = excluded[1] = True
    vectors, labels = np.float32([[1, 0], [1, 0], [1, 0]]), np.float32([[1, 0], [0.8, 0.6], [0, 1]])
    corpus = dev(document_table(["ant", "bee", "cat", "dog"]), excluded)
    table = check(scripted, judged_before(), corpus, vectors, labels)
    assert table.to_pydict() == {
        "document_uid": ["d0", "d1", "d2"],
        "label": ["one", None, "zero"],
        "accepted": [True, False, True],
    }
    assert scripted.asked == [("d0", "l1"), ("d2", "l0")]
    # The threshold is that of the first cycle.
    table = check(scripted, judged_before(0.8), corpus, vectors, labels)
    assert table["accepted"].to_pylist() == [True, False, False]
    with pytest.raises(CurriculumError, match=r"no dev documents.*dataset\.dev_documents"):
        check(scripted, judged_before(), corpus, vectors[:0], labels)


def test_the_check_of_a_centred_teacher_accepts_as_the_first_cycle_did(teacher):
    """Label 0 is said to fit all documents, label 1 few: a yes to the latter says more."""
    scripted = teacher({("d0", "l0"): 0.8, ("d1", "l1"): 0.6})
    scripted.centred = True
    before = judged_before(0.6, [0.8, 0.8, 0.2, 0.2] * 50, [0, 0, 1, 1] * 50)
    corpus = dev(document_table(["ant", "bee"]), np.zeros((2, 3), bool))
    vectors, labels = np.float32([[1, 0], [0, 1]]), np.float32([[1, 0], [0, 1], [-1, -1]])
    assert check(scripted, before, corpus, vectors, labels)["accepted"].to_pylist() == [False, True]


def test_a_first_label_without_an_answer_is_neither_accepted_nor_refused(teacher):
    corpus = dev(DOCUMENTS.slice(0, 1), np.zeros((1, 3), bool))
    vectors, labels = np.ones((1, 1)), np.float32([[1], [0], [0]])
    table = check(teacher({("d0", "l0"): None}), judged_before(), corpus, vectors, labels)
    assert table["accepted"].to_pylist() == [None]


# --- progress ----------------------------------------------------------------------------------


def progressed(*scores):
    progress = Progress()
    for i, score in enumerate(scores):
        accepted = [True] * round(1000 * score) + [False] * round(1000 * (1 - score))
        progress = progress.then("zero-shot" if i == 0 else f"lmtx-c{i}", accepted)
    return progress


@pytest.mark.parametrize(
    ("scores", "best", "stops"),
    [
        ((0.4,), "zero-shot", False),
        ((0.4, 0.5), "lmtx-c1", False),
        ((0.4, 0.5, 0.6), "lmtx-c2", False),
        ((0.4, 0.3), "zero-shot", True),
        ((0.4, 0.4), "zero-shot", True),  # as good is no improvement
        ((0.4, 0.5, 0.45), "lmtx-c1", True),
        ((0.4, 0.5, 0.5), "lmtx-c1", True),
        ((0.0, 0.0), "zero-shot", True),
    ],
)
def test_the_best_system_is_kept_and_the_first_that_does_not_improve_is_the_last(scores, best, stops):
    progress = progressed(*scores)
    assert (progress.best.system, progress.best.check) == (best, max(scores))
    assert (progress.stopped is not None) == stops


@pytest.mark.parametrize(
    ("e0", "first", "second", "best"),
    [
        # Ten documents better of 50, none worse: the standard error of 0.2 is 0.057.
        ("0" * 50, "1" * 20 + "0" * 30, "1" * 30 + "0" * 20, "lmtx-c2"),
        # As much better, but on other documents: 20 better, 10 worse, a standard error of 0.106.
        ("0" * 50, "1" * 20 + "0" * 30, "0" * 10 + "1" * 30 + "0" * 10, "lmtx-c1"),
        # The first cycle need only be better.
        ("0" * 50, "1" + "0" * 49, "1" + "0" * 49, "lmtx-c1"),
    ],
)
def test_a_later_cycle_must_improve_the_check_beyond_chance(e0, first, second, best):
    progress = Progress()
    for system, accepted in (("zero-shot", e0), ("lmtx-c1", first), ("lmtx-c2", second)):
        progress = progress.then(system, [character == "1" for character in accepted])
    assert progress.best.system == best
    assert Progress(progress.checked[:2]).stopped is None


def test_documents_without_an_answer_count_for_neither_system():
    """Of the four that both answered, one got better; the first student would win by what E0 lacks."""
    progress = Progress().then("zero-shot", [None] * 6 + [True, False, False, False])
    worse = progress.then("lmtx-c1", [True] * 6 + [False] * 4)
    assert [entry.check for entry in worse.checked] == [0.25, 0.6]
    assert worse.best.system == "zero-shot" and worse.stopped
    better = progress.then("lmtx-c1", [None, False] * 3 + [True, True, False, None])
    assert better.best.system == "lmtx-c1"
    assert Progress().then("zero-shot", [None]).then("lmtx-c1", [True]).best.system == "zero-shot"


def test_the_reason_to_stop_names_both_systems_and_scores():
    assert Progress().stopped is None  # not begun
    reason = progressed(0.4, 0.5, 0.456).stopped
    assert all(word in reason for word in ("lmtx-c2", "45.6%", "lmtx-c1", "50.0%"))


def test_progress_is_read_back_from_the_card_which_takes_the_place_of_a_model(tmp_path):
    progress, model = progressed(0.4, 0.5, 0.45), tmp_path / "models" / "lmtx-c2"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"old")
    write_card(model, {"system": "lmtx-c2", **progress.to_json()})
    assert Progress.load(model) == Progress.load(str(model)) == progress
    assert [file.name for file in model.iterdir()] == ["lmtx.json"]
    (model / "lmtx.json").write_text('{"checked": [')
    with pytest.raises(ValueError, match=r"lmtx\.json is not valid JSON \(line 1\)"):
        Progress.load(model)
