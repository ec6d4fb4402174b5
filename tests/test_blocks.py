"""Rankings by any score, and by letters and vectors together: what sorting all scores gives."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from test_index import brute_force, pairs, unit
from tiny_encoders import document_table, label_table

from lmtx.config import ShortlistConfig
from lmtx.corpus import Corpus
from lmtx.curriculum import propose
from lmtx.index import letter_vectors, lexical_view, rank_blocks, rankings, search, search_with_letters


@pytest.fixture(params=[1, 7 * 50, 10**6], ids=["one", "seven", "all"])
def room(request, monkeypatch):
    """Room for one document at a time, for seven, for all."""
    monkeypatch.setattr(rankings, "_SCORES", request.param)


def excluded_at_random(n, labels, seed=0):
    """Up to five excluded labels a document; of the last one all, of the one before all but two."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(labels, rng.integers(0, 6), replace=False) for _ in range(n)]
    rows[-1], rows[-2] = range(labels), range(2, labels)
    return pairs(rows, labels)


@pytest.mark.parametrize("k", [1, 6, 50, 80])
def test_the_ranking_is_that_of_sorting_all_scores(room, k):
    scores = np.random.default_rng(1).integers(0, 20, (40, 50)).astype(np.float32)  # many are equal
    found = rank_blocks(lambda rows: scores[rows], 40, 50, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.ids, order)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, order, axis=1))
    assert found.ids.shape == (40, min(k, 50))
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    # Excluded pairs never appear, and pads fill the end.
    excluded = excluded_at_random(40, 50)
    found = rank_blocks(lambda rows: scores[rows], 40, 50, k, excluded)
    masked = np.where(excluded.toarray(), -np.inf, scores)
    order = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(masked, order, axis=1)
    np.testing.assert_array_equal(found.ids, np.where(np.isinf(expected), -1, order))
    np.testing.assert_array_equal(found.scores, expected)
    assert (found.ids[-1] == -1).all()
    assert (found.ids[-2] >= 0).sum() == min(k, 2)


def test_documents_are_scored_once_and_in_order(room):
    asked = []

    def score(rows):
        asked.extend(range(rows.start, rows.stop))
        return np.zeros((rows.stop - rows.start, 50), np.float32)

    rank_blocks(score, 23, 50, 3)
    assert asked == list(range(23))


# --- letters -----------------------------------------------------------------------------------

TEXTS = ["graph theory\nnothing of matrices", "a matrix of graphs", "", "the Semantic-Web stack"]
NAMES = ["Graph theory", "Matrix", "Semantic Web", "Chess", "matrices"]


def test_letters_are_compared_in_title_and_first_line():
    table = document_table(["one\ntwo\nthree", "", "alone"], ["Title", "Only title", ""])
    assert lexical_view(table) == ["Title: one", "Only title: ", ": alone"]


def test_letter_vectors_weigh_by_the_labels_alone():
    texts, labels = letter_vectors(TEXTS, NAMES)
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit(NAMES)
    np.testing.assert_allclose(labels.toarray(), vectorizer.transform(NAMES).toarray(), atol=1e-6)
    np.testing.assert_allclose(texts.toarray(), vectorizer.transform(TEXTS).toarray(), atol=1e-6)
    assert not texts[[2]].nnz  # a text without letters is near to nothing
    np.testing.assert_allclose((labels @ labels.T).toarray().diagonal(), 1, atol=1e-5)


def spoken(n=30, labels=20, seed=4):
    """Documents that spell a label each, and vectors that know nothing of it."""
    rng = np.random.default_rng(seed)
    names = ["".join(rng.choice(list("abcdefghijklmnop"), 8)) for _ in range(labels)]
    texts = [f"about {names[i % labels]}\nand {names[(i + 1) % labels]}" for i in range(n)]
    return unit(n, 8, seed), unit(labels, 8, seed + 1), document_table(texts), names


def test_without_a_weight_the_order_is_that_of_the_cosines(room):
    queries, labels, documents, names = spoken()
    for k in (1, 5, 20):
        for barred in (None, excluded_at_random(30, 20)):
            found = search_with_letters(queries, labels, documents, names, k, weight=0.0, excluded=barred)
            np.testing.assert_array_equal(found.ids, brute_force(queries, labels, k, barred)[0])


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_both_similarities_are_z_scores_before_they_are_added(room, weight):
    queries, labels, documents, names = spoken()
    found = search_with_letters(queries, labels, documents, names, 20, weight=weight)
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit(names)
    letters = (vectorizer.transform(lexical_view(documents)) @ vectorizer.transform(names).T).toarray()
    z = [(s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True) for s in (queries @ labels.T, letters)]
    scores = z[0] + weight * z[1]
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1), atol=1e-4)
    np.testing.assert_allclose(np.take_along_axis(scores, found.ids, axis=1), found.scores, atol=1e-4)


def test_a_label_that_the_document_spells_comes_up():
    queries, labels, documents, names = spoken()
    own = np.arange(30) % 20
    found = search_with_letters(queries, labels, documents, names, 1, weight=3.0)
    assert (found.ids[:, 0] == own).all()
    assert (search(queries, labels, 1).ids[:, 0] == own).mean() < 0.3
    # A document without letters is ranked by its vector.
    queries, labels, _, names = spoken(n=1)
    found = search_with_letters(queries, labels, document_table([""]), names, 20, weight=3.0)
    np.testing.assert_array_equal(found.ids, brute_force(queries, labels, 20)[0])
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_shortlist_is_made_as_its_settings_say(weight):
    queries, labels, documents, names = spoken()
    none = document_table([])
    excluded = {"train": sp.csr_array((30, 20), dtype=bool)}
    corpus = Corpus(train=documents, dev=none, test=none, labels=label_table(names), excluded=excluded)
    settings = ShortlistConfig(size=4, lexical_weight=weight)
    found = propose(settings, corpus, np.arange(30), {"train": queries, "labels": labels})
    expected = (
        search_with_letters(queries, labels, documents, names, 4, weight=weight)
        if weight
        else search(queries, labels, 4)
    )
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
