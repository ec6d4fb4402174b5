"""Baselines against rankings worked out by hand and by scikit-learn on dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from tiny_encoders import document_table, label_table, random_texts

from lmtx import baselines
from lmtx.baselines import Inputs
from lmtx.config import BaselineConfig
from lmtx.corpus import Corpus


def make_corpus(train, test, labels, own=()):
    """A corpus of (title, text) documents; `own` lists (test document, label) pairs that are excluded."""
    excluded = np.zeros((len(test), len(labels)), dtype=bool)
    for document, label in own:
        excluded[document, label] = True
    tables = [document_table([t for _, t in docs], [t for t, _ in docs]) for docs in (train, [], test)]
    matrices = [sp.csr_array((table.num_rows, len(labels)), dtype=bool) for table in tables[:2]]
    return Corpus(
        *tables,
        label_table(labels),
        dict(zip(("train", "dev", "test"), [*matrices, sp.csr_array(excluded)], strict=True)),
    ).validate()


def rank(kind, corpus, depth, embeddings=None):
    config = BaselineConfig(kind=kind, label=kind)
    return baselines.rank(config, Inputs(corpus, embeddings or {}, depth)).ranking


# --- TF-IDF ------------------------------------------------------------------------------------

LABELS = ["sparse matrix: rows", "sparse graph", "dense matrix", "sparse matrix product", "colour map"]


def test_a_document_finds_the_labels_whose_words_it_has():
    corpus = make_corpus(
        [("train", "something else entirely")],
        [("sparse matrix", "the product of rows"), ("colour", "map"), ("nothing", "in common")],
        LABELS,
    )
    found = rank("tfidf", corpus, 5)
    # Label 0 has "sparse matrix" and a rare word, and so has label 3; label 2 shares one common word.
    assert set(found.ids[0, :2]) == {0, 3}
    assert found.ids[0].tolist()[2:] in ([1, 2, 4], [2, 1, 4])
    assert found.scores[0, 4] == 0
    assert found.ids[1, 0] == 4
    assert found.scores[1, 0] == pytest.approx(1)
    assert found.ids[2].tolist() == [0, 1, 2, 3, 4]  # all equal: by number
    assert not found.scores[2].any()


def test_the_own_label_is_no_candidate_and_pads_fill_the_end():
    documents = [(label, label) for label in LABELS]
    free = rank("tfidf", make_corpus([("x", "y z")], documents, LABELS), 5)
    assert free.ids[:, 0].tolist() == [0, 1, 2, 3, 4]
    own = [(i, i) for i in range(5)] + [(4, 0)]
    found = rank("tfidf", make_corpus([("x", "y z")], documents, LABELS, own), 5)
    assert not (found.ids == np.arange(5)[:, None]).any()
    np.testing.assert_array_equal(found.ids[:4, 4], -1)
    np.testing.assert_array_equal(found.ids[4, 3:], -1)
    assert sorted(found.ids[4, :3]) == [1, 2, 3]
    np.testing.assert_array_equal(np.isinf(found.scores), found.ids == -1)


def dense_tfidf(train, test, labels):
    """Cosines of TF-IDF vectors, written from the definition: 1 + ln tf, 1 + ln((1 + n) / (1 + df))."""
    counter = CountVectorizer(ngram_range=(1, 2))
    known = counter.fit_transform([*labels, *train]).toarray()
    inverse = np.log((1 + len(known)) / (1 + (known > 0).sum(axis=0))) + 1

    def weighted(texts):
        counts = counter.transform(texts).toarray().astype(float)
        return np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * inverse

    return cosine_similarity(weighted(test), weighted(labels))


@pytest.mark.parametrize("depth", [1, 10, 200])
@pytest.mark.parametrize("block", [7, 512])
def test_the_ranking_is_that_of_dense_matrices(monkeypatch, block, depth):
    monkeypatch.setattr("lmtx.index.blocks._SCORES", block * 50)
    texts = random_texts(160, longest=12, seed=8)
    labels, train, test = texts[:50], texts[50:100], texts[100:150]
    own = [(i, label) for i in range(50) for label in range(i, min(50, i + i % 4))]
    documents = [("elk1 fox2" if i % 2 else "", text) for i, text in enumerate(test)]
    corpus = make_corpus([("cat0", text) for text in train], documents, labels, own)
    found = rank("tfidf", corpus, depth)
    cosines = dense_tfidf([f"cat0. {t}" for t in train], [f"{a}. {b}" for a, b in documents], labels)
    cosines[corpus.excluded["test"].toarray()] = -np.inf
    expected = -np.sort(-cosines, axis=1)[:, :depth]
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    np.testing.assert_allclose(
        np.where(found.ids < 0, -np.inf, np.take_along_axis(cosines, found.ids, axis=1)), expected, atol=1e-5
    )
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found.ids)
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    assert found.ids.shape == (50, min(depth, 50))


# --- zero-shot ---------------------------------------------------------------------------------


def test_zero_shot_is_the_cosine_of_embeddings_without_own_labels():
    rng = np.random.default_rng(6)
    vectors = {"labels": rng.normal(size=(20, 8)), "test": rng.normal(size=(9, 8))}
    vectors = {
        s: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for s, v in vectors.items()
    }
    cosines = vectors["test"] @ vectors["labels"].T
    nearest = cosines.argmax(axis=1)
    corpus = make_corpus(
        [("t", "x")], [("t", "x")] * 9, [f"label {i}" for i in range(20)], list(enumerate(nearest))
    )
    found = rank("zero_shot", corpus, 6, vectors)
    assert not (found.ids == nearest[:, None]).any()
    cosines[np.arange(9), nearest] = -np.inf
    np.testing.assert_array_equal(found.ids, np.argsort(-cosines, axis=1)[:, :6])
