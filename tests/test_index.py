"""Nearest labels: the ranking that sorting all cosines gives, less the pairs that are no candidates."""

import re
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp

from lmtx.index import Shortlist, fuse, fuse_scores, search, without


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
EXACT = ["faiss", "fp32", "bf16"]


@pytest.fixture(params=EXACT)
def exact(request, monkeypatch):
    """The exact search by each of its three ways, in blocks that divide nothing."""
    monkeypatch.setattr("lmtx.index._MANY_QUERIES", 1 if request.param == "faiss" else 10**9)
    monkeypatch.setattr("lmtx.index.by_faiss._QUERIES", 23)
    monkeypatch.setattr("lmtx.index.by_faiss._LABELS", 31)
    monkeypatch.setattr("lmtx.index.exact._CPU_BLOCK", (7, 13))
    monkeypatch.setattr("lmtx.index.exact._MEMORY", 50_000)
    return partial(search, precision="bf16" if request.param == "bf16" else "fp32", device="cpu")


def check(found, queries, labels, k, excluded=None):
    """The result is that of sorting all cosines, in the types that were promised."""
    ids, scores = brute_force(queries, labels, k, excluded)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    assert found.ids.shape == found.scores.shape == (len(queries), min(k, len(labels)))


@pytest.mark.parametrize("k", [1, 5, 200, 500])
def test_search_finds_what_sorting_all_cosines_finds_and_passes_excluded_pairs_over(exact, k):
    """Document i's own label is its nearest one; others are excluded at random; of the last two all, or
    all but three."""
    check(exact(QUERIES, LABELS, k), QUERIES, LABELS, k)
    rng = np.random.default_rng(3)
    queries = LABELS[:60]
    rows = [[i, *rng.choice(200, rng.integers(0, 12))] for i in range(60)]
    rows[-1], rows[-2] = range(200), range(3, 200)
    excluded = pairs(rows, 200)
    found = exact(queries, LABELS, k, excluded=excluded)
    check(found, queries, LABELS, k, excluded)
    assert not (found.ids == np.arange(60)[:, None]).any()
    assert (found.ids[-1] == -1).all() and np.isneginf(found.scores[-1]).all()
    assert (found.ids[-2, :3] >= 0).all() and (found.ids[-2, 3:] == -1).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_wide_blocks_are_searched_by_groups_of_their_columns(precision, monkeypatch):
    """Also where the nearest labels lie in one group, are excluded, or equal each other."""
    monkeypatch.setattr("lmtx.index.exact._CPU_BLOCK", (7, 2048))
    queries, labels = unit(20, 16, seed=4), unit(5000, 16, seed=5)
    labels[100:1380:128] = queries[0] + 0.1 * labels[100:1380:128]  # ten of the columns of one group
    labels[1500:1508] = labels[1400]
    labels /= np.linalg.norm(labels, axis=1, keepdims=True)
    queries[1] = labels[1400]
    excluded = pairs([[100, 228], *([] for _ in range(19))], 5000)
    assert set(brute_force(queries, labels, 8, excluded)[0][0]) == set(range(356, 1380, 128))
    found = search(queries, labels, 8, excluded=excluded, precision=precision, device="cpu")
    check(found, queries, labels, 8, excluded)


@pytest.mark.parametrize("way", ["exact", "graph"])
def test_no_queries_give_an_empty_shortlist(way):
    for excluded in (None, sp.csr_array((0, 200), dtype=bool)):
        found = search(np.empty((0, 16), dtype=np.float32), LABELS, 5, excluded=excluded, way=way)
        assert found.ids.shape == found.scores.shape == (0, 5)
        assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)


@pytest.mark.filterwarnings("error")
def test_search_takes_vectors_of_any_order_type_and_place_and_leaves_them_alone(exact, tmp_path):
    queries, labels = QUERIES.copy(), LABELS.copy()
    plain = exact(queries, labels, 9).ids
    np.testing.assert_array_equal(exact(queries[::-2], labels.astype(np.float64), 9).ids, plain[::-2])
    other = exact(np.asfortranarray(queries.astype(np.float64)), labels[::-1], 9)
    np.testing.assert_array_equal(199 - other.ids, plain)
    np.save(tmp_path / "queries.npy", queries)
    np.save(tmp_path / "labels.npy", labels)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("queries", "labels")]
    np.testing.assert_array_equal(exact(*mapped, 9).ids, plain)
    np.testing.assert_array_equal(queries, QUERIES)
    np.testing.assert_array_equal(labels, LABELS)
    # Vectors in half precision count for what they are.
    halves = queries.astype(np.float16), labels.astype(np.float16)
    check(exact(*halves, 9), *halves, 9)


@pytest.mark.parametrize("way", ["exact", "graph"])
def test_int8_labels_are_rows_times_their_scales(way):
    packed = np.rint(LABELS * 100).astype(np.int8)
    scales = np.linspace(0.005, 0.02, 200, dtype=np.float32)
    found = search(QUERIES, packed, 9, scales=scales, way=way)
    ids, scores = brute_force(QUERIES, packed * scales[:, None], 9)
    np.testing.assert_allclose(found.scores[:, 0], scores[:, 0], atol=1e-6)
    assert np.mean(found.ids == ids) > (0.999 if way == "exact" else 0.9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_more_equal_labels_than_were_kept_still_give_the_lowest_numbers(precision):
    """The first pass keeps 22 of 3 wanted; 150 labels are equally near, then all the same one."""
    labels = np.repeat(LABELS[:2], 150, axis=0)
    found = search(LABELS[:2], labels, 3, precision=precision, excluded=pairs([[1], []], 300))
    assert found.ids.tolist() == [[0, 2, 3], [150, 151, 152]]
    assert (np.ptp(found.scores, axis=1) == 0).all()


def test_of_equal_labels_that_faiss_finds_the_lower_number_comes_first():
    queries, labels = np.tile(LABELS[:2], (100, 1)), np.tile(LABELS[:10], (2, 1))
    found = search(queries, labels, 20, device="cpu")
    equal = found.scores[:, 1:] == found.scores[:, :-1]
    assert equal.any() and (found.ids[:, 1:] > found.ids[:, :-1])[equal].all()


def test_near_ties_that_bf16_cannot_tell_apart_are_told_apart():
    """300 labels within 1e-4 of each other, far below what bf16 resolves."""
    rng = np.random.default_rng(5)
    labels = LABELS[:1] + 1e-4 * rng.normal(size=(300, 16)).astype(np.float32)
    labels = np.concatenate([LABELS, labels / np.linalg.norm(labels, axis=1, keepdims=True)])
    found = search(LABELS[:1], labels, 10, precision="bf16")
    scores = np.sort(labels.astype(np.float64) @ LABELS[0].astype(np.float64))[::-1]
    np.testing.assert_allclose(found.scores[0], scores[:10], atol=1.5e-7)
    assert (found.ids >= 0).all()


def test_a_document_with_many_excluded_pairs_does_not_lengthen_the_others_rankings(monkeypatch):
    """faiss is asked for the few more that the others need; the one is searched apart, and rightly."""
    import faiss

    asked, knn = [], faiss.knn
    monkeypatch.setattr(faiss, "knn", lambda q, x, k, **kw: asked.append(k) or knn(q, x, k, **kw))
    labels, queries = unit(3000, 16, seed=6), unit(400, 16, seed=7)
    rows = [[i] for i in range(399)] + [range(2500)]
    found = search(queries, labels, 5, excluded=pairs(rows, 3000), device="cpu")
    check(found, queries, labels, 5, pairs(rows, 3000))
    assert asked == [6]


# --- the graph, and the choice -------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 10, 300])
def test_a_graph_finds_nearly_all_and_never_an_excluded_pair(k):
    """Some documents have more excluded pairs than k, one all of them."""
    rng = np.random.default_rng(8)
    labels = unit(3000, 16, seed=9)
    rows = [rng.choice(3000, 5) for _ in range(58)] + [range(1000, 3000), range(3000)]
    excluded = pairs(rows, 3000)
    found = search(QUERIES, labels, k, excluded=excluded, way="graph")
    ids, scores = brute_force(QUERIES, labels, k, excluded)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(ids, found.ids, strict=True)]) > 0.98
    assert not (excluded.toarray()[np.arange(60)[:, None], found.ids] & (found.ids >= 0)).any()
    np.testing.assert_array_equal(found.ids[-2], ids[-2])
    assert (found.ids[-1] == -1).all() and np.isneginf(found.scores[-1]).all()
    same = found.ids == ids
    np.testing.assert_allclose(found.scores[same], scores[same], atol=1e-6)
    assert (np.diff(found.scores[:-1], axis=1) <= 0).all()
    assert (found.ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    every = search(QUERIES, LABELS, 500, way="graph")  # where k is larger than the number of labels
    np.testing.assert_array_equal(every.ids, brute_force(QUERIES, LABELS, 500)[0])


# --- what cannot be searched ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queries", "labels", "options", "expected"),
    [
        (QUERIES, LABELS[:, :15], {}, "queries have 16 dimensions, labels 15"),
        (QUERIES[:5], LABELS, {"excluded": pairs([[]] * 4, 200)}, "pairs are (4, 200), not (5, 200)"),
        (QUERIES[0], LABELS, {}, "queries are (16,) and labels (200, 16)"),
        (QUERIES, LABELS, {"k": 0}, "k is 0"),
        (QUERIES, LABELS, {"way": "best"}, "way 'best' is neither exact nor graph"),
        (QUERIES, LABELS, {"scales": np.ones(200)}, "int8 labels need one each, others none"),
        (QUERIES, LABELS.astype(np.int8), {}, "int8 labels need one each, others none"),
    ],
)
def test_shapes_that_do_not_fit_are_named(queries, labels, options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        search(queries, labels, **{"k": 5} | options)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_no_number_is_named(exact, value):
    queries, labels = QUERIES.copy(), LABELS.copy()
    queries[41, 3] = labels[157, 2] = value
    with pytest.raises(ValueError, match="queries: row 41 holds a NaN or an infinity"):
        exact(queries, LABELS, 5)
    with pytest.raises(ValueError, match="labels: row 157 holds a NaN or an infinity"):
        exact(QUERIES, labels, 5)
    with pytest.raises(ValueError, match="labels: row 157 holds a NaN or an infinity"):
        search(QUERIES, labels, 5, way="graph")


# --- rankings ------------------------------------------------------------------------------------


def test_without_drops_pads_and_excluded_pairs_and_keeps_the_order():
    ids = np.array([[4, 2, 0, -1], [1, 3, 4, 2]], dtype=np.int32)
    scores = np.array([[0.9, 0.8, 0.7, -np.inf], [0.6, 0.5, 0.4, 0.3]], dtype=np.float32)
    left = without(Shortlist(ids, scores), pairs([[2], [1, 4]], 5), 3)
    np.testing.assert_array_equal(left.ids, [[4, 0, -1], [3, 2, -1]])
    np.testing.assert_array_equal(left.scores, np.float32([[0.9, 0.7, -np.inf], [0.5, 0.3, -np.inf]]))
    kept = without(Shortlist(ids, scores), None, 2)
    np.testing.assert_array_equal(kept.ids, ids[:, :2])


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

    with pytest.raises(ValueError, match=r"rankings of \[2, 3\] documents"):
        fuse([np.zeros((n, 1), dtype=np.int32) for n in (2, 3)], 1)


def test_scores_are_fused_on_one_scale():
    """By hand: scores 3, 1 have deviation 1 and become 2, 0; scores 20, 10, 0 become 2, 1, 0 over 0.8165."""
    first = Shortlist(np.array([[4, 7, -1]], np.int32), np.array([[3, 1, -np.inf]], np.float32))
    second = Shortlist(np.array([[7, 5, 4]], np.int32), np.array([[20, 10, 0]], np.float32))
    fused = fuse_scores([first, second], [1.0, 0.5], 4)
    unit = 1 / np.std([2, 1, 0])
    assert fused.ids.tolist() == [[4, 7, 5, -1]]
    np.testing.assert_allclose(fused.scores[0, :3], [2, 0.5 * 2 * unit, 0.5 * unit], rtol=1e-6)
    with pytest.raises(ValueError, match="2 weights and rankings of"):
        fuse_scores([first], [1.0, 0.5], 4)
