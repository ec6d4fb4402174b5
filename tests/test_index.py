"""Nearest labels: the ranking that sorting all cosines gives, less the pairs that are no candidates."""

import numpy as np
import pytest
import scipy.sparse as sp

from lmtx.index import Shortlist, fuse, search, top, without


def unit(n, d, seed):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairs(rows, n_labels):
    """Boolean CSR with the given columns in each row."""
    matrix = np.zeros((len(rows), n_labels), dtype=bool)
    for row, columns in enumerate(rows):
        matrix[row, columns] = True
    return sp.csr_array(matrix)


def brute_force(queries, labels, k, excluded=None):
    """Ids and scores of the k best candidates, by sorting every cosine; -1 and -inf pad."""
    scores = queries.astype(np.float64) @ labels.T.astype(np.float64)
    if excluded is not None:
        scores[excluded.toarray()] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, ids, axis=1)
    return np.where(np.isinf(found), -1, ids), found


QUERIES, LABELS = unit(60, 16, seed=1), unit(200, 16, seed=2)


@pytest.mark.parametrize("k", [1, 7, 200, 500])
def test_search_finds_what_sorting_all_cosines_finds(k):
    found = search(QUERIES, LABELS, k)
    ids, scores = brute_force(QUERIES, LABELS, k)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    assert found.ids.shape == found.scores.shape == (60, min(k, 200))
    assert len(found) == 60


@pytest.mark.parametrize("k", [1, 5, 200, 500])
def test_excluded_pairs_are_passed_over(k):
    """Document i's own label is its nearest one; others are excluded at random, and all of the last's."""
    rng = np.random.default_rng(3)
    queries = LABELS[:60]
    rows = [[i, *rng.choice(200, rng.integers(0, 12))] for i in range(60)]
    rows[-1] = range(200)
    excluded = pairs(rows, 200)
    found = search(queries, LABELS, k, excluded=excluded)
    ids, scores = brute_force(queries, LABELS, k, excluded)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert not (found.ids == np.arange(60)[:, None]).any()
    assert (found.ids[-1] == -1).all()
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)


def test_pads_fill_only_the_end_where_candidates_run_out():
    labels = np.eye(3, dtype=np.float32)
    queries = np.array([[0.8, 0.6, 0], [0.6, 0, 0.8]], dtype=np.float32)
    found = search(queries, labels, 3, excluded=pairs([[0, 2], []], 3))
    np.testing.assert_array_equal(found.ids, [[1, -1, -1], [2, 0, 1]])
    np.testing.assert_allclose(found.scores, [[0.6, -np.inf, -np.inf], [0.8, 0.6, 0]], atol=1e-7)


@pytest.mark.parametrize("excluded", [None, sp.csr_array((0, 200), dtype=bool)], ids=["none", "empty"])
def test_no_queries_give_an_empty_shortlist(excluded):
    found = search(np.empty((0, 16), dtype=np.float32), LABELS, 5, excluded=excluded)
    assert found.ids.shape == found.scores.shape == (0, 5)
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)


def test_search_leaves_its_inputs_alone_and_takes_views_of_any_order():
    queries, labels = QUERIES.copy(), LABELS.copy()
    plain = search(queries, labels, 5)
    other = search(np.asfortranarray(queries.astype(np.float64)), labels[::-1], 5)
    np.testing.assert_array_equal(199 - other.ids, plain.ids)
    np.testing.assert_array_equal(queries, QUERIES)
    np.testing.assert_array_equal(labels, LABELS)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="queries have 16 dimensions, labels 15"):
        search(QUERIES, LABELS[:, :15], 5)
    with pytest.raises(ValueError, match=r"excluded pairs are \(59, 200\), not \(60, 200\)"):
        search(QUERIES, LABELS, 5, excluded=sp.csr_array((59, 200), dtype=bool))


def test_without_drops_pads_and_excluded_pairs_and_keeps_the_order():
    ids = np.array([[4, 2, 0, -1], [1, 3, 4, 2]], dtype=np.int32)
    scores = np.array([[0.9, 0.8, 0.7, -np.inf], [0.6, 0.5, 0.4, 0.3]], dtype=np.float32)
    left = without(Shortlist(ids, scores), pairs([[2], [1, 4]], 5), 3)
    np.testing.assert_array_equal(left.ids, [[4, 0, -1], [3, 2, -1]])
    np.testing.assert_array_equal(left.scores, np.float32([[0.9, 0.7, -np.inf], [0.5, 0.3, -np.inf]]))
    kept = without(Shortlist(ids, scores), None, 2)
    np.testing.assert_array_equal(kept.ids, ids[:, :2])


@pytest.mark.parametrize("k", [1, 3, 7, 40, 60])
def test_top_takes_the_lower_number_of_equal_scores(k):
    scores = np.random.default_rng(4).integers(0, 4, size=(50, 40)).astype(np.float64)
    scores[0] = 0  # a document that shares no word with any label
    found = top(scores, k)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, ids, axis=1))
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)


def test_a_saved_shortlist_is_read_back(tmp_path):
    saved = search(QUERIES, LABELS, 4)
    saved.save(tmp_path / "ranking")
    saved.save(tmp_path / "ranking")  # and takes the place of an earlier one
    read = Shortlist.load(tmp_path / "ranking")
    np.testing.assert_array_equal(read.ids, saved.ids)
    np.testing.assert_array_equal(read.scores, saved.scores)
    assert (read.ids.dtype, read.scores.dtype) == (np.int32, np.float32)
    assert [file.name for file in tmp_path.iterdir()] == ["ranking"]


# --- fusion ------------------------------------------------------------------------------------


def test_fusion_adds_reciprocal_ranks():
    a = np.array([[4, 2, 0], [1, -1, -1]], dtype=np.int32)
    b = np.array([[2, 7], [3, 1]], dtype=np.int32)
    found = fuse([a, b], 4)
    # Label 2 is second and first, label 4 first, label 7 second, label 0 third.
    assert found.ids.tolist() == [[2, 4, 7, 0], [1, 3, -1, -1]]
    expected = [[1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63], [1 / 61 + 1 / 62, 1 / 61, -np.inf, -np.inf]]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)


def test_fusion_is_that_of_a_slow_loop():
    rng = np.random.default_rng(4)
    rankings = [np.stack([rng.permutation(30)[:width] for _ in range(20)]) for width in (10, 17, 5)]
    found = fuse(rankings, 12, constant=7)
    for row in range(20):
        scores = {}
        for ranking in rankings:
            for place, label in enumerate(ranking[row]):
                scores[label] = scores.get(label, 0) + 1 / (7 + place + 1)
        best = sorted(scores, key=lambda label: (-round(scores[label], 9), label))[:12]
        assert found.ids[row].tolist() == best


def test_rankings_of_different_documents_are_not_fused():
    with pytest.raises(ValueError, match=r"rankings of \[2, 3\] documents"):
        fuse([np.zeros((2, 1), dtype=np.int32), np.zeros((3, 1), dtype=np.int32)], 1)
