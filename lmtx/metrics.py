"""Ranking metrics, with bootstrap confidence intervals.

Metrics are computed from the rank of each annotated pair, so the cost grows with the number of annotations
and not with the number of labels.

Definitions, for a document with the true labels T and the first k labels of its ranking:

- P@k: hits / k.
- R@k: hits / |T|.
- nDCG@k: sum over hits of 1 / log2(rank + 1), ranks from 1, divided by the same sum for an
  ideal ranking, which has its hits at the ranks 1 … min(k, |T|).
- PSP@k: each hit weighs 1 / p_l (`propensities`); the sum over *all* documents is divided by
  the best attainable sum over all documents (Jain, Prabhu and Varma, KDD 2016).

P, R and nDCG are averaged over the documents that have at least one true label.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

CUTOFFS = (1, 3, 5, 10, 100)

# (A, B) of the propensity model by kind of data set, as the Extreme Classification Repository uses them.
# "other" holds the defaults of Jain et al. for data sets without an estimate.
PROPENSITY_CONSTANTS = {"wiki": (0.5, 0.4), "amazon": (0.6, 2.6), "other": (0.55, 1.5)}

_BLOCK = 4_194_304  # numbers in memory at once, where work is cut into blocks: 32 MiB as int64


def evaluate(
    ids: np.ndarray,
    truth: sp.csr_array,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    excluded: sp.csr_array | None = None,
    propensity: np.ndarray | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict:
    """Score a ranking; each metric comes with a 95 % bootstrap interval over documents.

    Parameters
    ----------
    ids
        Integer (n, width): label ids, best first; -1 pads the end of a row. `width` must reach the largest
        cutoff, or the number of labels where that is smaller.
    truth
        Boolean CSR (n, L): the annotated pairs.
    cutoffs
        The values of k.
    excluded
        Boolean CSR (n, L): pairs that are no candidates. They do not count as truth, and a ranking must not
        hold one. None: every pair is a candidate.
    propensity
        float (L,): 1 / p_l, from `propensities`. None: PSP@k is left out.
    bootstrap, seed
        Number of resamples of the documents, and their seed. The same seed and number of documents give
        the same resamples.

    Returns `{"n": documents with at least one true label, "metrics": {"P@1": {"value", "low", "high"}, …,
    "R@…", "nDCG@…", "PSP@…"}}`. All are fractions; low and high are the 2.5 and 97.5 percentiles over the
    resamples. Raises `ValueError` when shapes or dtypes do not fit; when a ranking has an id out of range, an
    id twice, an excluded id, a pad before an id, or too few columns; and when no document has a true label.
    """
    gains, best = _gains(ids, truth, cutoffs, excluded, propensity)
    # A document's best attainable PSP sum is resampled with the document: PSP@k is a ratio of sums.
    columns = np.column_stack([*gains.values(), *best.values()])
    (sums,) = _resampled_sums([columns], bootstrap, seed)
    metrics = {}
    for j, name in enumerate(gains):
        value, drawn = columns[:, j].mean(), sums[:, j] / len(columns)
        if name in best:
            b = len(gains) + list(best).index(name)
            value, drawn = columns[:, j].sum() / columns[:, b].sum(), sums[:, j] / sums[:, b]
        metrics[name] = _interval(value, drawn)
    return {"n": len(columns), "metrics": metrics}


def per_document(
    ids: np.ndarray,
    truth: sp.csr_array,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    excluded: sp.csr_array | None = None,
    propensity: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Compute each document's share in every metric: float64 (n_evaluated,), whose mean is the metric.

    Documents without a true label are left out; the others keep their order, so two systems with the same
    truth can be compared document by document (`paired_difference`). Parameters and errors are those of
    `evaluate`.
    """
    gains, best = _gains(ids, truth, cutoffs, excluded, propensity)
    return {name: g / best[name].mean() if name in best else g for name, g in gains.items()}


def paired_difference(a: np.ndarray, b: np.ndarray, bootstrap: int = 1000, seed: int = 0) -> dict[str, float]:
    """Compute the mean of a - b over the same documents, with its 95 % bootstrap interval.

    `a` and `b` are float (n,): one metric of two systems, from `per_document`. Both systems are resampled
    together, so the difficulty of a document cancels out. If the interval excludes 0, the choice of
    documents does not explain the difference. Raises `ValueError` for arrays of different or no length.
    """
    return paired_differences({"both": a}, {"both": b}, bootstrap, seed)["both"]


def paired_differences(
    a: dict[str, np.ndarray], b: dict[str, np.ndarray], bootstrap: int = 1000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Compute the `paired_difference` of each metric of `a` and `b`, all on the same resamples."""
    differences = []
    for one, other in ((np.asarray(a[name], float), np.asarray(b[name], float)) for name in a):
        if one.ndim != 1 or one.shape != other.shape or not len(one):
            raise ValueError(
                f"a paired comparison needs two equally long arrays, not {one.shape} and {other.shape}"
            )
        differences.append(one - other)
    sums = _resampled_sums([difference[:, None] for difference in differences], bootstrap, seed)
    each = zip(a, differences, sums, strict=True)
    return {name: _interval(d.mean(), drawn[:, 0] / len(d)) for name, d, drawn in each}


def propensities(counts: np.ndarray, n_documents: int, a: float, b: float) -> np.ndarray:
    """Compute inverse propensities 1 / p_l = 1 + C (N_l + B)^-A, C = (ln N - 1) (B + 1)^A: float64 (L,).

    p_l models the probability that a true label l was annotated. Annotators miss rare labels more often, so
    a rare label weighs more (Jain, Prabhu and Varma, KDD 2016). `counts` (L,) are N_l, how often the N =
    `n_documents` annotated training documents have each label; A and B are in `PROPENSITY_CONSTANTS`. Raises
    `ValueError` for negative counts, or N < 3, for which C would be negative.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if n_documents < 3:
        raise ValueError(f"propensities need 3 or more annotated training documents, not {n_documents}")
    if counts.ndim != 1 or (counts < 0).any():
        raise ValueError(f"label counts must be one row of numbers >= 0; found {counts.shape}")
    c = (np.log(n_documents) - 1) * (b + 1) ** a
    return 1 + c * (counts + b) ** -a


def _gains(
    ids: np.ndarray,
    truth: sp.csr_array,
    cutoffs: Sequence[int],
    excluded: sp.csr_array | None,
    propensity: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return each metric's gain by evaluated document, and the best attainable one of PSP@k."""
    cutoffs = sorted(set(cutoffs))
    if not cutoffs or cutoffs[0] < 1:
        raise ValueError(f"cutoffs must be whole numbers from 1 on, not {cutoffs}")
    ids = np.asarray(ids)
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"a ranking is an integer array (documents, width), not {ids.dtype} {ids.shape}")
    truth = _pairs(truth, (len(ids), truth.shape[1] if truth.ndim == 2 else -1), "truth")
    excluded = None if excluded is None else _pairs(excluded, truth.shape, "excluded")
    _check_ranking(ids, excluded, truth.shape[1], cutoffs[-1])
    if excluded is not None:
        truth = _pairs(truth > truth.multiply(excluded), truth.shape, "truth")
    if propensity is not None and np.shape(propensity) != (truth.shape[1],):
        raise ValueError(f"propensity has the shape {np.shape(propensity)}, not ({truth.shape[1]},)")

    # Number the documents with a true label; a true pair belongs to the document `row`, at the rank `ranks`.
    sizes = np.diff(truth.indptr)
    sizes = sizes[sizes > 0]
    n = len(sizes)
    if not n:
        raise ValueError("no document has a true label; there is nothing to evaluate")
    row = np.repeat(np.arange(n), sizes)
    ranks = _ranks(ids, truth)
    hits = {k: (ranks >= 0) & (ranks < k) for k in cutoffs}

    def total(pairs: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Add up the weights of some true pairs, by document."""
        return np.bincount(row[pairs], None if weights is None else weights[pairs], n)

    counts = {k: total(hits[k]) for k in cutoffs}
    gains = {f"P@{k}": counts[k] / k for k in cutoffs} | {f"R@{k}": counts[k] / sizes for k in cutoffs}
    # nDCG: a hit at rank r, from 0, adds 1 / log2(r + 2).
    discount = 1 / np.log2(np.arange(cutoffs[-1]) + 2.0)
    ideal = np.cumsum(discount)
    gain = discount[np.clip(ranks, 0, len(discount) - 1)]
    gains |= {f"nDCG@{k}": total(hits[k], gain) / ideal[np.minimum(sizes, k) - 1] for k in cutoffs}
    if propensity is None:
        return gains, {}
    # PSP: the ideal ranking has a document's true labels in the order of their weights.
    weight = np.asarray(propensity, dtype=np.float64)[truth.indices]
    ideal_rank = np.empty(len(row), dtype=np.int64)
    ideal_rank[np.lexsort((-weight, row))] = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    gains |= {f"PSP@{k}": total(hits[k], weight) for k in cutoffs}
    return gains, {f"PSP@{k}": total(ideal_rank < k, weight) for k in cutoffs}


def _check_ranking(ids: np.ndarray, excluded: sp.csr_array | None, n_labels: int, deepest: int) -> None:
    """Raise a `ValueError` that names the first wrong document and rank."""
    if ids.shape[1] < min(deepest, n_labels):
        raise ValueError(
            f"the ranking is {ids.shape[1]} deep, too short for a cutoff of {deepest} over {n_labels} "
            "labels; rank more labels or drop the cutoff"
        )
    step = max(1, _BLOCK // max(1, ids.shape[1]))
    for start in range(0, len(ids), step):
        block = ids[start : start + step]
        ordered = np.sort(block, axis=1)
        outside = (block < -1) | (block >= n_labels)
        gap = (block[:, :-1] < 0) & (block[:, 1:] >= 0)
        double = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        for wrong, fault in (
            (outside, "has label id {id} at rank {rank}; ids run from 0 to {last}, and -1 pads"),
            (gap, "has a pad (-1) at rank {rank} before an id; pads stand at the end"),
            (double, "holds label id {double} more than once"),
        ):
            if wrong.any():
                i, j = np.argwhere(wrong)[0]
                values = {"id": block[i, j], "rank": j + 1, "last": n_labels - 1, "double": ordered[i, j]}
                raise ValueError(f"the ranking of document {start + i} {fault.format(**values)}")
    if excluded is not None and (ranks := _ranks(ids, excluded)).max(initial=-1) >= 0:
        pair = int(np.argmax(ranks >= 0))
        document = int(np.searchsorted(excluded.indptr, pair, side="right")) - 1
        raise ValueError(
            f"the ranking of document {document} holds label id {excluded.indices[pair]} at rank "
            f"{ranks[pair] + 1}, which is excluded for it; mask excluded pairs before ranking"
        )


def _pairs(matrix: sp.csr_array, shape: tuple[int, int], name: str) -> sp.csr_array:
    """Copy `matrix` as boolean CSR with each pair once and no stored zero."""
    if not sp.issparse(matrix):
        raise ValueError(f"{name} must be a scipy sparse array, not {type(matrix).__name__}")
    if matrix.shape != shape:
        raise ValueError(f"{name} has the shape {matrix.shape}, not {shape}")
    pairs = sp.csr_array(matrix, dtype=bool, copy=True)
    pairs.sum_duplicates()
    pairs.eliminate_zeros()
    return pairs


def _ranks(ids: np.ndarray, pairs: sp.csr_array) -> np.ndarray:
    """Return the rank from 0 of each pair's label in the document's row of `ids`, or -1: int64 (nnz,)."""
    row = np.repeat(np.arange(len(ids)), np.diff(pairs.indptr))
    ranks = np.empty(len(row), dtype=np.int64)
    step = max(1, _BLOCK // max(1, ids.shape[1]))
    for start in range(0, len(row), step):
        block = slice(start, start + step)
        match = ids[row[block]] == pairs.indices[block, None]
        ranks[block] = np.where(match.any(axis=1), match.argmax(axis=1), -1)
    return ranks


def _resampled_sums(tables: Sequence[np.ndarray], bootstrap: int, seed: int) -> list[np.ndarray]:
    """Return column sums of resamples of the rows, with replacement: (bootstrap, m) for each table (n, m).

    A resample is a row of multinomial counts, so a block of resamples is one matrix product. Each table is
    multiplied by itself: its sums do not depend, to the last digit, on the tables beside it.
    """
    if bootstrap < 1:
        raise ValueError(f"bootstrap must be 1 resample or more, not {bootstrap}")
    rng = np.random.default_rng(seed)
    n = len(tables[0])
    step = max(1, _BLOCK // n)
    sums = [np.empty((bootstrap, table.shape[1])) for table in tables]
    for start in range(0, bootstrap, step):
        size = min(step, bootstrap - start)
        counts = np.empty((size, n))
        for drawn in counts:
            drawn[:] = np.bincount(rng.integers(n, size=n), minlength=n)
        for table, summed in zip(tables, sums, strict=True):
            summed[start : start + size] = counts @ table
    return sums


def _interval(value: float, drawn: np.ndarray) -> dict[str, float]:
    # Digits beyond the twelfth depend on the order in which a machine adds.
    low, high = np.round(np.percentile(drawn, (2.5, 97.5)), 12) + 0.0
    return {"value": round(float(value), 12) + 0.0, "low": float(low), "high": float(high)}
