"""LMTX as one function: what a cycle judges, what its student learns from, what a later cycle takes over."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from tiny_encoders import document_table, encoder_config, label_table, random_texts

from lmtx import curriculum
from lmtx.config import load_presets
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search
from lmtx.teachers.base import Teacher
from lmtx.teachers.discrimination import best_power, power, tells_apart
from lmtx.teachers.pairs import NO, YES, centred
from lmtx.teachers.store import VerdictStore


class ByLabel(Teacher):
    """Gives each label, by its number, the same p_yes for every document."""

    def __init__(self, p_yes, store):
        super().__init__("by label", {"kind": "by label"}, store)
        self.p_yes, self.asked = np.array(p_yes, np.float32), []

    def ask(self, pairs):
        p = self.p_yes[pairs.columns]
        self.asked += zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)
        yield np.arange(len(pairs)), p, np.where(p >= 0.5, YES, NO).astype(np.int8)


@pytest.fixture(scope="module")
def corpus():
    documents, labels = document_table(random_texts(40, seed=1)), label_table(random_texts(12, 8, seed=2))
    excluded = sp.lil_array((40, 12), dtype=bool)
    excluded[:, 11] = True  # never a candidate
    nothing = documents.slice(0, 0)
    none = sp.csr_array((0, 12), dtype=bool)
    return Corpus(documents, nothing, nothing, labels, {"train": excluded.tocsr(), "dev": none, "test": none})


@pytest.fixture
def setting(folder, corpus, tmp_path):
    """A configuration, E0's embeddings and a teacher that accepts the even labels."""
    config = load_presets(
        ["dataset=own"], ["training.documents=20", "shortlist.size=4", "training.batch_size=8"]
    )

    def changed(**changes):
        settings = config.curriculum.model_copy(update=changes)
        return config.model_copy(update={"encoder": encoder_config(folder), "curriculum": settings})

    e0 = Encoder.load(encoder_config(folder))
    embeddings = {"train": e0.encode_documents(corpus.train), "labels": e0.encode_labels(corpus.labels)}
    with VerdictStore(tmp_path / "verdicts.sqlite") as store:
        yield changed, embeddings, ByLabel([0.9, 0.1] * 6, store)


def test_a_cycle_judges_what_the_encoder_proposes_for_the_sample(setting, corpus):
    config, embeddings, teacher = setting
    lesson = curriculum.cycle(config(), corpus, embeddings, teacher)
    assert lesson.rows.tolist() == curriculum.sample(40, 20).tolist()
    vectors, excluded = embeddings["train"][lesson.rows], corpus.excluded["train"][lesson.rows]
    expected = search(vectors, embeddings["labels"], 4, excluded=excluded).ids
    assert teacher.asked == [(row, label) for row in range(20) for label in expected[row].tolist()]
    assert 11 not in lesson.judged["label"].to_pylist()
    accepted, _, _ = curriculum.pseudo_labels(lesson.judged, (20, 12))
    assert set(accepted.indices.tolist()) <= {0, 2, 4, 6, 8, 10}
    assert len(lesson.log.losses) == -(-int((np.diff(accepted.indptr) > 0).sum()) // 8)
    untouched = Encoder.load(config().encoder).encode_labels(corpus.labels)
    assert np.abs(lesson.student.encode_labels(corpus.labels) - untouched).max() > 1e-4


def test_a_later_cycle_judges_what_the_student_proposes_unless_shortlists_are_fixed(setting, corpus):
    config, embeddings, teacher = setting
    # A student that is another encoder altogether.
    other = Encoder.load(config().encoder)
    torch.manual_seed(5)
    with torch.no_grad():
        for weights in other.model.parameters():
            weights.add_(torch.randn_like(weights) * 0.5)

    def run(previous=None, **changes):
        lesson = curriculum.cycle(config(**changes), corpus, embeddings, teacher, previous=previous)
        return lesson.judged["label"], lesson.student.encode_labels(corpus.labels)

    (first, student), (fixed, restarted) = run(), run(other, refresh=False)
    assert fixed.equals(first)
    assert not run(other)[0].equals(first)
    # From E0 again, and from the same verdicts: the same student.
    assert np.allclose(restarted, student, atol=1e-5)
    assert not np.allclose(run(other, refresh=False, restart=False)[1], student, atol=0.01)


def near(*labels):
    """The same shortlist for each document."""
    return Shortlist(np.tile(np.int32(labels), (40, 1)), np.zeros((40, len(labels)), np.float32))


def test_a_teacher_that_knows_the_shortlist_tells_it_apart(corpus, setting):
    _, _, teacher = setting
    teacher.p_yes = np.float32([0.9, 0.1, 0.8] + [0.1] * 9)
    look = tells_apart(teacher, corpus, np.arange(40), near(0, 2))
    assert (look.power, look.best, look.yes, look.random_yes, look.warning) == (1.0, 1.0, 1.0, 0.0, None)
    # Labels of the shortlist, and those that are no candidates, are not asked about as random ones.
    assert {label for _, label in teacher.asked} <= set(range(11))


def test_a_judge_without_probabilities_is_not_blind_because_it_mostly_says_no():
    shortlisted = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, np.nan]], float)
    far = np.array([[0, 0], [0, 0], [0, 1]], float)
    # 1 above 0 twice in each of two rows, 0 below 1 three times in the last one; all others tie.
    assert power(shortlisted, far) == 4 / 7
    # Of the first two of each: 1 above 0, 1 above 0, 0 below 1.
    assert best_power(shortlisted, far) == 2 / 3
    # One of four is right, the others are no better than random ones, and random ones are fewer.
    shortlisted = np.array([[0.9, 0.3, 0.1, 0.2]] * 2)
    far = np.array([[0.2, np.nan, 0.35], [0.8, 0.15, np.nan]])
    assert power(shortlisted, far) < 0.6 and best_power(shortlisted, far) == 1


def test_a_teacher_that_agrees_to_everything_is_told_from_a_judge(corpus, setting):
    _, _, teacher = setting
    teacher.p_yes[:] = 0.9
    look = tells_apart(teacher, corpus, np.arange(40), near(0, 2))
    assert (look.power, look.best, look.random_yes) == (0.5, 0.5, 1.0)
    assert "says yes to 100% of random pairs" in look.warning and "prompt=strict" in look.warning
    # Nothing is told apart where shortlists hold all labels.
    excluded = {"train": corpus.excluded["train"][:, :2]}
    few = replace(corpus, labels=corpus.labels.slice(0, 2), excluded=excluded)
    assert tells_apart(teacher, few, np.arange(40), near(0, 1)) is None


def test_what_a_judge_says_of_a_label_whatever_the_document_is_taken_off():
    """Label 0 gets a high p_yes from every document, label 1 a low one: the order within each counts."""
    labels = np.repeat([0, 1], 100)
    fits = np.tile([True, False], 100)
    p_yes = np.where(labels == 0, np.where(fits, 0.99, 0.97), np.where(fits, 0.2, 0.05))
    found = centred(p_yes, labels)
    assert found[fits].min() > found[~fits].max()
    # Few pairs of a label say little of it.
    alone = centred(np.append(p_yes, 0.9), np.append(labels, 2))
    assert alone[-1] > 0.5
    assert np.isnan(centred(np.array([np.nan, 0.5]), np.array([0, 1]))[0])


def test_a_centred_teacher_accepts_other_labels_than_its_favourites(setting, corpus):
    _, _, teacher = setting
    teacher.acceptance = 0.25
    teacher.p_yes = np.float32([0.99, 0.5, 0.5, 0.5] + [0.1] * 8)
    plain = curriculum.judge(teacher, corpus.train, corpus.labels, near(0, 1, 2, 3))
    favourites = np.array(plain["label"])[np.array(plain["answer"]) == YES]
    assert set(favourites.tolist()) == {0}
    teacher.centred = True
    centred_ = curriculum.judge(teacher, corpus.train, corpus.labels, near(0, 1, 2, 3))
    assert np.ptp(np.array(centred_["p_yes"])) < np.ptp(np.array(plain["p_yes"]))
