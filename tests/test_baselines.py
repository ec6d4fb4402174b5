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
    by_split = dict(zip(("train", "dev", "test"), [*matrices, sp.csr_array(excluded)], strict=True))
    return Corpus(*tables, label_table(labels), by_split).validate()


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


def dense_tfidf(train, test, labels):
    """Cosines of TF-IDF vectors, written from the definition: 1 + ln tf, 1 + ln((1 + n) / (1 + df))."""
    counter = CountVectorizer(ngram_range=(1, 2))
    known = counter.fit_transform([*labels, *train]).toarray()
    inverse = np.log((1 + len(known)) / (1 + (known > 0).sum(axis=0))) + 1

    def weighted(texts):
        counts = counter.transform(texts).toarray().astype(float)
        return np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * inverse

    return cosine_similarity(weighted(test), weighted(labels))


@pytest.mark.parametrize(("block", "depth"), [(7, 10), (512, 1), (512, 200)])
def test_the_ranking_is_that_of_dense_matrices(monkeypatch, block, depth):
    monkeypatch.setattr("lmtx.index.rankings._SCORES", block * 50)
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
    own_scores = np.where(found.ids < 0, -np.inf, np.take_along_axis(cosines, found.ids, axis=1))
    np.testing.assert_allclose(own_scores, expected, atol=1e-5)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found.ids)
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    assert found.ids.shape == (50, min(depth, 50))


# --- zero-shot ---------------------------------------------------------------------------------


def test_bm25_is_its_formula_and_counts_a_word_of_the_query_once():
    corpus = make_corpus([("x", "y")], [("sparse rows, sparse rows", "a body\nof more lines: dense")], LABELS)
    ranking = rank("bm25", corpus, 5)
    words = [label.replace(":", "").split() for label in LABELS]
    mean, scores = np.mean([len(label) for label in words]), []
    for label in words:
        norm = 1.5 * (0.25 + 0.75 * len(label) / mean)
        scores.append(0.0)
        for word in {"sparse", "rows"} & set(label):  # Lucene's form: each word stands once in a label
            n = sum(word in other for other in words)
            scores[-1] += np.log(1 + (len(words) - n + 0.5) / (n + 0.5)) / (1 + norm)
    np.testing.assert_array_equal(ranking.ids[0, :3], np.argsort(-np.array(scores), kind="stable")[:3])
    np.testing.assert_allclose(ranking.scores[0, :3], np.sort(scores)[::-1][:3], rtol=1e-5)


def test_zero_shot_is_the_cosine_of_embeddings_without_own_labels():
    rng = np.random.default_rng(6)
    vectors = {s: rows_of_unit(*rng.normal(size=(n, 8))) for s, n in (("labels", 20), ("test", 9))}
    cosines = vectors["test"] @ vectors["labels"].T
    nearest = cosines.argmax(axis=1)
    own = list(enumerate(nearest))
    corpus = make_corpus([("t", "x")], [("t", "x")] * 9, [f"label {i}" for i in range(20)], own)
    found = rank("zero_shot", corpus, 6, vectors)
    assert not (found.ids == nearest[:, None]).any()
    cosines[np.arange(9), nearest] = -np.inf
    np.testing.assert_array_equal(found.ids, np.argsort(-cosines, axis=1)[:, :6])


# --- without hubs ------------------------------------------------------------------------------


def rows_of_unit(*rows):
    rows = np.array(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_label_near_to_all_documents_must_be_nearer_than_others():
    """By hand: label 0 has the cosines 1, 0.8, 0 with the training documents, label 1 has 0, 0.6, 1.

    With two neighbours their hubness is 0.9 and 0.8, and the test document's cosines are 0.8 and 0.6.
    """
    vectors = {
        "labels": rows_of_unit([1, 0], [0, 1]),
        "train": rows_of_unit([1, 0], [0.8, 0.6], [0, 1]),
        "test": rows_of_unit([0.8, 0.6], [0.6, 0.8]),
    }
    corpus = make_corpus([("t", "x")] * 3, [("t", "x")] * 2, ["zero", "one"])

    def found(**options):
        config = BaselineConfig(kind="hubness", label="h", options=options)
        return baselines.rank(config, Inputs(corpus, vectors, 2)).ranking

    half = found(weight=0.5, neighbours=2)
    np.testing.assert_array_equal(half.ids, [[0, 1], [1, 0]])
    np.testing.assert_allclose(half.scores, [[0.8 - 0.45, 0.6 - 0.4], [0.8 - 0.4, 0.6 - 0.45]], atol=1e-6)
    heavy = found(weight=3.0, neighbours=2)
    np.testing.assert_array_equal(heavy.ids, [[1, 0], [1, 0]])  # 0.6 - 2.4 is more than 0.8 - 2.7
    np.testing.assert_allclose(heavy.scores[0], [0.6 - 2.4, 0.8 - 2.7], atol=1e-6)
    nothing = found(weight=0.0)
    np.testing.assert_array_equal(nothing.ids, rank("zero_shot", corpus, 2, vectors).ids)
    # Of three documents no more than three are the nearest.
    all_of_them = found(weight=1.0, neighbours=10)
    np.testing.assert_allclose(all_of_them.scores[0], [0.8 - 0.6, 0.6 - 1.6 / 3], atol=1e-6)


def test_without_hubs_the_own_label_is_no_candidate_either():
    rng = np.random.default_rng(3)
    sizes = {"labels": 12, "train": 30, "test": 5}
    vectors = {s: rows_of_unit(*rng.normal(size=(n, 6))) for s, n in sizes.items()}
    own = [(i, i) for i in range(5)]
    corpus = make_corpus([("t", "x")] * 30, [("t", "x")] * 5, [f"label {i}" for i in range(12)], own)
    found = rank("hubness", corpus, 12, vectors)
    near = -np.sort(-(vectors["labels"] @ vectors["train"].T), axis=1)[:, :10].mean(axis=1)
    scores = vectors["test"] @ vectors["labels"].T - 0.25 * near
    scores[np.arange(5), np.arange(5)] = -np.inf
    order = np.argsort(-scores, axis=1)
    order[:, -1] = -1
    np.testing.assert_array_equal(found.ids, order)
