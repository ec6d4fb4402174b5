"""Metrics against values worked out by hand, scikit-learn, scipy, and slow loops from the formulas."""

import math
import time
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from pytest import approx
from scipy import stats
from sklearn.metrics import ndcg_score, precision_score, recall_score

from lmtx.metrics import (
    PROPENSITY_CONSTANTS,
    evaluate,
    paired_difference,
    paired_differences,
    per_document,
    propensities,
)


def csr(rows, n_labels):
    matrix = np.zeros((len(rows), n_labels), dtype=bool)
    for i, row in enumerate(rows):
        matrix[i, row] = True
    return sp.csr_array(matrix)


def values(result):
    return {name: m["value"] for name, m in result["metrics"].items()}


@pytest.fixture
def random_case():
    """60 documents over 40 labels, tie-free scores, 0 to 6 labels a document; some have none."""
    rng = np.random.default_rng(5)
    scores = rng.permuted(np.tile(np.arange(40.0), (60, 1)), axis=1)
    truth = csr([rng.choice(40, size=rng.integers(0, 7), replace=False) for _ in range(60)], 40)
    return np.argsort(-scores, axis=1).astype(np.int32), scores, truth


def test_values_by_hand():
    # Document 0: hits at ranks 1 and 3 of two labels. Document 1: none of three found.
    # Document 2 has no label and does not count.
    ids = np.array([[4, 0, 2], [0, 1, 2], [0, 1, 2]], dtype=np.int32)
    truth = csr([[2, 4], [3, 4, 5], []], 6)
    ndcg = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    by_document = {"P@1": [1, 0], "P@3": [2 / 3, 0], "R@1": [1 / 2, 0], "R@3": [1, 0], "nDCG@1": [1, 0]}
    by_document["nDCG@3"] = [ndcg, 0]
    result = evaluate(ids, truth, cutoffs=(1, 3))
    assert result["n"] == 2 and list(result["metrics"]) == list(by_document)
    assert values(result) == approx({name: sum(each) / 2 for name, each in by_document.items()}, abs=1e-12)
    for name, each in per_document(ids, truth, cutoffs=(1, 3)).items():
        assert each.tolist() == approx(by_document[name])


def test_agrees_with_scikit_learn(random_case):
    ids, scores, truth = random_case
    dense = truth.toarray()
    some = dense.any(axis=1)
    result = values(evaluate(ids, truth, cutoffs=(1, 3, 5, 10), bootstrap=1))
    for k in (1, 3, 5, 10):
        top = np.zeros_like(dense)
        np.put_along_axis(top, ids[:, :k], True, axis=1)
        assert result[f"P@{k}"] == approx(precision_score(dense[some], top[some], average="samples"))
        assert result[f"R@{k}"] == approx(recall_score(dense[some], top[some], average="samples"))
        assert result[f"nDCG@{k}"] == approx(ndcg_score(dense[some], scores[some], k=k))


def test_propensity_scored_precision_against_the_formula(random_case):
    ids, _, truth = random_case
    counts = np.random.default_rng(1).integers(0, 50, size=40)
    inverse = propensities(counts, 500, *PROPENSITY_CONSTANTS["wiki"])
    dense = truth.toarray()
    result = values(evaluate(ids, truth, cutoffs=(1, 3, 10), propensity=inverse, bootstrap=1))
    for k in (1, 3, 10):
        attained = attainable = 0.0
        for i in range(60):
            attained += sum(inverse[label] for label in ids[i, :k] if dense[i, label])
            attainable += sum(sorted(inverse[dense[i]], reverse=True)[:k])
        assert result[f"PSP@{k}"] == approx(attained / attainable)


def test_propensities_against_the_formula():
    a, b, n = 0.55, 1.5, 1000
    c = (math.log(n) - 1) * (b + 1) ** a
    p = [1 / (1 + c * math.exp(-a * math.log(count + b))) for count in (0, 1, 40)]
    assert propensities(np.array([0, 1, 40]), n, a, b).tolist() == approx([1 / each for each in p])
    assert PROPENSITY_CONSTANTS == {"wiki": (0.5, 0.4), "amazon": (0.6, 2.6), "other": (0.55, 1.5)}
    for counts, documents, message in (([0, 1], 2, "3 or more annotated"), ([0, -1], 10, "counts")):
        with pytest.raises(ValueError, match=message):
            propensities(np.array(counts), documents, a, b)


def test_excluded_pairs_are_no_truth_and_no_candidates():
    ids = np.array([[1, 2], [0, 2]], dtype=np.int32)
    truth = csr([[0, 1], [1]], 3)
    excluded = csr([[0], [1]], 3)
    result = evaluate(ids, truth, cutoffs=(1, 2), excluded=excluded, bootstrap=10)
    assert result["n"] == 1  # document 1's only label is excluded
    assert values(result) == {"P@1": 1, "P@2": 0.5, "R@1": 1, "R@2": 1, "nDCG@1": 1, "nDCG@2": 1}
    assert truth.nnz == 3, "the caller's truth must not change"
    with pytest.raises(ValueError, match="document 1 holds label id 2 at rank 2, which is excluded"):
        evaluate(ids, truth, cutoffs=(1, 2), excluded=csr([[0], [2]], 3))


def test_stored_zeros_and_repeated_entries_count_once():
    stored = (np.array([True, True, False]), np.array([1, 1, 2]), np.array([0, 3]))
    truth = sp.csr_array(stored, shape=(1, 4))
    result = values(evaluate(np.array([[1, 2]]), truth, cutoffs=(1, 2), bootstrap=1))
    assert (result["P@2"], result["R@1"]) == (0.5, 1)


def test_pads_are_misses_and_short_rankings_of_few_labels_are_complete():
    ids = np.array([[1, -1, -1], [-1, -1, -1]], dtype=np.int32)
    result = values(evaluate(ids, csr([[1], [2]], 3), cutoffs=(1, 100), bootstrap=1))
    assert (result["P@1"], result["P@100"], result["R@100"]) == (0.5, 0.005, 0.5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": [[0, 1], [2, 2]]}, "document 1 holds label id 2 more than once"),
        ({"ids": [[0, 1], [2, 5]]}, "document 1 has label id 5 at rank 2; ids run from 0 to 4"),
        ({"ids": [[0, 1], [-2, 3]]}, "document 1 has label id -2 at rank 1"),
        ({"ids": [[0, 1], [-1, 3]]}, r"document 1 has a pad \(-1\) at rank 1 before an id"),
        ({"ids": [[0], [1]]}, "1 deep, too short for a cutoff of 2"),
        ({"ids": [[0, 1]]}, r"truth has the shape \(2, 5\), not \(1, 5\)"),
        ({"ids": [0, 1]}, "integer array"),
        ({"ids": [[0.0, 1.0], [2.0, 3.0]]}, "integer array"),
        ({"truth": csr([[], []], 5)}, "no document has a true label"),
        ({"truth": np.ones((2, 5))}, "truth must be a scipy sparse array"),
        ({"excluded": csr([[1], []], 3)}, "excluded has the shape"),
        ({"propensity": np.ones(3)}, r"propensity has the shape \(3,\)"),
        ({"cutoffs": (0, 1)}, "cutoffs"),
        ({"bootstrap": 0}, "bootstrap"),
    ],
)
def test_input_that_cannot_be_scored_says_why(changed, message):
    given = {"ids": [[0, 1], [2, 3]], "truth": csr([[0], [1]], 5), "cutoffs": (1, 2), **changed}
    with pytest.raises(ValueError, match=message):
        evaluate(np.array(given.pop("ids")), **given)


def test_intervals_agree_with_scipy(random_case):
    ids, _, truth = random_case
    inverse = np.linspace(1, 5, 40)
    found = evaluate(ids, truth, cutoffs=(10,), propensity=inverse, bootstrap=20_000, seed=3)["metrics"]
    recall = per_document(ids, truth, cutoffs=(10,))["R@10"]
    weights = truth.toarray() * inverse
    hits = np.take_along_axis(weights, ids[:, :10], axis=1).sum(axis=1)
    best = np.sort(weights, axis=1)[:, :-11:-1].sum(axis=1)
    some = best > 0
    for name, data, statistic in [
        ("R@10", (recall,), np.mean),
        ("PSP@10", (hits[some], best[some]), lambda h, b, axis: h.sum(axis) / b.sum(axis)),
    ]:
        expected = stats.bootstrap(
            data, statistic, paired=True, vectorized=True, method="percentile", n_resamples=20_000, rng=8
        ).confidence_interval
        assert found[name]["low"] == approx(expected.low, abs=0.004)
        assert found[name]["high"] == approx(expected.high, abs=0.004)


def test_intervals_cover_the_true_value_about_as_often_as_they_say():
    rng, truth, covered = np.random.default_rng(11), csr([[1]] * 150, 2), 0
    for trial in range(200):
        ids = (rng.random((150, 1)) < 0.4).astype(np.int32)
        p = evaluate(ids, truth, cutoffs=(1,), bootstrap=200, seed=trial)["metrics"]["P@1"]
        covered += p["low"] <= 0.4 <= p["high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_the_seed_decides_the_interval(random_case):
    ids, _, truth = random_case
    first = evaluate(ids, truth, cutoffs=(5,), seed=1)
    assert evaluate(ids, truth, cutoffs=(5,), seed=1) == first
    assert evaluate(ids, truth, cutoffs=(5,), seed=2) != first


def test_paired_difference():
    for sizes in ((3, 4), (0, 0)):
        with pytest.raises(ValueError, match="equally long"):
            paired_difference(*map(np.ones, sizes))
    a = np.random.default_rng(0).random(400)
    assert paired_difference(a, a) == {"value": 0, "low": 0, "high": 0}
    # Documents differ widely, the systems by 0.05 on each: only a paired comparison sees it.
    shifted = paired_difference(a, a - 0.05)
    assert shifted["value"] == approx(0.05)
    assert shifted["low"] == approx(0.05)
    noisy = a + np.random.default_rng(1).normal(0, 0.2, 400)
    found = paired_difference(noisy, a, bootstrap=4000)
    half = 1.96 * np.std(noisy - a) / np.sqrt(400)
    assert found["value"] - found["low"] == approx(half, rel=0.08)
    assert found["high"] - found["value"] == approx(half, rel=0.08)


def test_paired_differences_are_those_of_each_metric_to_the_last_digit():
    rng = np.random.default_rng(3)
    a, b = ({name: rng.random(500) for name in ("P@1", "R@10", "nDCG@10")} for _ in range(2))
    found = paired_differences(a, b, bootstrap=200, seed=7)
    assert found == {name: paired_difference(a[name], b[name], bootstrap=200, seed=7) for name in a}
    assert len({each["low"] for each in found.values()}) == 3


def test_large_label_sets_stay_sparse_and_fast():
    rng = np.random.default_rng(0)
    n, n_labels = 5_000, 1_000_000
    start = np.arange(n, dtype=np.int32)[:, None] * 7
    ids = start + np.arange(100, dtype=np.int32)
    labels = (start + rng.integers(0, 300, size=(n, 1))).ravel()
    truth = sp.csr_array((np.ones(n, dtype=bool), labels, np.arange(n + 1)), shape=(n, n_labels))
    begin = time.perf_counter()
    result = evaluate(ids, truth, propensity=np.ones(n_labels))
    assert time.perf_counter() - begin < 5
    assert result["metrics"]["R@100"]["value"] == approx(1 / 3, abs=0.02)


def test_memory_does_not_follow_the_label_set():
    n, n_labels = 1000, 100_000_000
    ids = np.arange(n, dtype=np.int32)[:, None] * 99_000 + np.arange(10, dtype=np.int32)
    truth, excluded = (
        sp.csr_array((np.ones(n, dtype=bool), ids[:, 0] + move, np.arange(n + 1)), shape=(n, n_labels))
        for move in (4, 10)
    )
    tracemalloc.start()
    try:
        result = evaluate(ids, truth, cutoffs=(1, 10), excluded=excluded, bootstrap=10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result["metrics"]["R@10"]["value"] == 1
    assert peak < n_labels / 8  # not even a bit a label
