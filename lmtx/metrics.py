"""How good a ranking of labels is, and how sure one can be of it.

Everything is counted from the annotated pairs' side: the rank at which each true label was
found, or none. So the cost follows the number of annotations, and never the size of the
label set.

Definitions, for a document with the true labels T and a ranking of which the first k count:

- P@k: hits / k.
- R@k: hits / |T|.
- nDCG@k: sum over hits of 1 / log2(rank + 1), ranks from 1, divided by the same sum for an
  ideal ranking, which has its hits at the ranks 1 … min(k, |T|).
- PSP@k: each hit weighs 1 / p_l (`propensities`); the sum over *all* documents is divided by
  the best attainable sum over all documents (Jain, Prabhu and Varma, KDD 2016).

P, R and nDCG are averaged over the documents that have at least one true label.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

CUTOFFS = (1, 3, 5, 10, 100)

# (A, B) of the propensity model by kind of data set, as the Extreme Classification Repository
# uses them; "other" is also what Jain et al. give where nothing was estimated.
PROPENSITY_CONSTANTS = {"wiki": (0.5, 0.4), "amazon": (0.6, 2.6), "other": (0.55, 1.5)}

_BLOCK = 4_194_304  # numbers held at once where work is cut into blocks: 32 MiB as int64


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
    """Score a ranking, with a 95 % bootstrap interval over documents around every figure.

    Parameters
    ----------
    ids
        Integer (n, width): label ids, best first; -1 fills the end of a row that ranks fewer.
        `width` must reach the largest cutoff, or the number of labels where that is smaller.
    truth
        Boolean CSR (n, L): the annotated pairs.
    cutoffs
        The values of k.
    excluded
        Boolean CSR (n, L): pairs that are no candidates. They do not count as truth, and a
        ranking that holds one is an error. `None`: every pair is a candidate.
    propensity
        float (L,): 1 / p_l, from `propensities`. `None`: PSP@k is left out.
    bootstrap, seed
        Number of resamples of the documents, and the seed they are drawn with. The same seed
        and number of documents give the same resamples.

    Returns
    -------
    dict
        `{"n": documents with at least one true label, "metrics": {"P@1": {"value", "low",
        "high"}, …, "R@…", "nDCG@…", "PSP@…"}}`. All are fractions; low and high are the 2.5
        and 97.5 percentiles of the resampled figure.

    Raises
    ------
    ValueError
        For arrays whose shapes or dtypes do not fit; a ranking with an id out of range, an id
        twice, an excluded id, a pad before an id, or too few columns; and when no document has
        a true label.
    """
    gains, best = _gains(ids, truth, cutoffs, excluded, propensity)
    names = list(gains)
    # A document's best attainable PSP sum is resampled with the document: PSP@k is a ratio of sums.
    columns = np.column_stack([*gains.values(), *best.values()])
    (sums,) = _resampled_sums([columns], bootstrap, seed)
    n = len(columns)
    metrics = {}
    for j, name in enumerate(names):
        if name in best:
            b = len(names) + list(best).index(name)
            value, drawn = columns[:, j].sum() / columns[:, b].sum(), sums[:, j] / sums[:, b]
        else:
            value, drawn = columns[:, j].mean(), sums[:, j] / n
        metrics[name] = _interval(value, drawn)
    return {"n": n, "metrics": metrics}


def per_document(
    ids: np.ndarray,
    truth: sp.csr_array,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    excluded: sp.csr_array | None = None,
    propensity: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The share of each document in every metric: float64 (n_evaluated,), whose mean is the metric.

    Only the documents with at least one true label are kept, in their order; so two systems
    scored against the same truth can be compared document by document (`paired_difference`).
    Parameters and errors are those of `evaluate`.
    """
    gains, best = _gains(ids, truth, cutoffs, excluded, propensity)
    return {name: g / best[name].mean() if name in best else g for name, g in gains.items()}


def paired_difference(a: np.ndarray, b: np.ndarray, bootstrap: int = 1000, seed: int = 0) -> dict[str, float]:
    """Mean of a - b over the same documents, with its 95 % bootstrap interval.

    `a` and `b` are float (n,), one metric of two systems as `per_document` gives it. Both
    systems are resampled together, so what makes a document hard for both cancels out. An
    interval without 0 says that the systems differ beyond the choice of documents.

    Raises `ValueError` when the two do not hold the same number of documents, or hold none.
    """
    return paired_differences({"both": a}, {"both": b}, bootstrap, seed)["both"]


def paired_differences(
    a: dict[str, np.ndarray], b: dict[str, np.ndarray], bootstrap: int = 1000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """`paired_difference` of each metric of `a` to that of `b`, all on the same resamples.

    At many documents drawing these is most of the work.
    """
    differences = {}
    for name in a:
        one, other = np.asarray(a[name], dtype=np.float64), np.asarray(b[name], dtype=np.float64)
        if one.ndim != 1 or one.shape != other.shape or not len(one):
            raise ValueError(
                f"a paired comparison needs two equally long arrays, not {one.shape} and {other.shape}"
            )
        differences[name] = one - other
    sums = _resampled_sums([each[:, None] for each in differences.values()], bootstrap, seed)
    return {
        name: _interval(each.mean(), drawn[:, 0] / len(each))
        for (name, each), drawn in zip(differences.items(), sums, strict=True)
    }


def propensities(counts: np.ndarray, n_documents: int, a: float, b: float) -> np.ndarray:
    """Inverse propensities 1 / p_l = 1 + C (N_l + B)^-A with C = (ln N - 1) (B + 1)^A, float64 (L,).

    p_l models how likely a true label l was annotated at all; rare labels are missed more
    often, so that finding one weighs more (Jain, Prabhu and Varma, KDD 2016).

    Parameters
    ----------
    counts
        (L,): N_l, how often each label occurs in the annotated training side.
    n_documents
        N, the number of annotated training documents.
    a, b
        A and B of the formula; see `PROPENSITY_CONSTANTS`.

    Raises `ValueError` for negative counts, or N < 3, for which C would be negative.
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
    """Each metric's gain by evaluated document, and for PSP@k the best attainable one."""
    cutoffs = sorted(set(cutoffs))
    if not cutoffs or cutoffs[0] < 1:
        raise ValueError(f"cutoffs must be whole numbers from 1 on, not {cutoffs}")
    ids, truth = _checked(ids, truth, cutoffs[-1])
    if excluded is not None:
        excluded = _pairs(excluded, truth.shape, "excluded")
        _refuse_excluded(ids, excluded)
        truth = _pairs(truth > truth.multiply(excluded), truth.shape, "truth")
    if propensity is not None and np.shape(propensity) != (truth.shape[1],):
        raise ValueError(f"propensity has the shape {np.shape(propensity)}, not ({truth.shape[1]},)")

    size = np.diff(truth.indptr)
    kept = size > 0
    if not kept.any():
        raise ValueError("no document has a true label; there is nothing to evaluate")
    row = (np.cumsum(kept) - 1)[
        np.repeat(np.arange(len(size)), size)
    ]  # of a true pair: its evaluated document
    size = size[kept]
    n = len(size)
    ranks = np.concatenate(list(_ranks(ids, truth)))

    def total(values: np.ndarray | None, where: np.ndarray) -> np.ndarray:
        weights = None if values is None else values[where]
        return np.bincount(row[where], weights=weights, minlength=n).astype(np.float64)

    discount = 1 / np.log2(np.arange(max(cutoffs[-1], 1)) + 2.0)
    ideal = np.cumsum(discount)
    gain = np.where(ranks >= 0, discount[np.clip(ranks, 0, len(discount) - 1)], 0.0)
    gains: dict[str, dict[str, np.ndarray]] = {"P": {}, "R": {}, "nDCG": {}, "PSP": {}}
    best = {}
    if propensity is not None:
        weight = np.asarray(propensity, dtype=np.float64)[truth.indices]
        order = np.lexsort((-weight, row))
        place = np.empty(len(row), dtype=np.int64)  # of a true pair: its place in the ideal PSP ranking
        place[order] = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    for k in cutoffs:
        found = (ranks >= 0) & (ranks < k)
        hits = total(None, found)
        gains["P"][f"P@{k}"] = hits / k
        gains["R"][f"R@{k}"] = hits / size
        gains["nDCG"][f"nDCG@{k}"] = total(gain, found) / ideal[np.minimum(size, k) - 1]
        if propensity is not None:
            gains["PSP"][f"PSP@{k}"] = total(weight, found)
            best[f"PSP@{k}"] = total(weight, place < k)
    return {name: values for kind in gains.values() for name, values in kind.items()}, best


def _checked(ids: np.ndarray, truth: sp.csr_array, deepest: int) -> tuple[np.ndarray, sp.csr_array]:
    """The ranking and the truth, or a `ValueError` that says where they are wrong."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"a ranking is an integer array (documents, width), not {ids.dtype} {ids.shape}")
    truth = _pairs(truth, (len(ids), truth.shape[1] if truth.ndim == 2 else -1), "truth")
    n_labels = truth.shape[1]
    if ids.shape[1] < min(deepest, n_labels):
        raise ValueError(
            f"the ranking is {ids.shape[1]} deep, too short for a cutoff of {deepest} over {n_labels} "
            "labels; rank more labels or drop the cutoff"
        )
    step = max(1, _BLOCK // max(1, ids.shape[1]))
    for start in range(0, len(ids), step):
        block = ids[start : start + step]
        outside = (block < -1) | (block >= n_labels)
        if outside.any():
            i, j = np.argwhere(outside)[0]
            raise ValueError(
                f"the ranking of document {start + i} has label id {block[i, j]} at rank {j + 1}; "
                f"ids run from 0 to {n_labels - 1}, and -1 pads"
            )
        gap = (block[:, :-1] < 0) & (block[:, 1:] >= 0)
        if gap.any():
            i, j = np.argwhere(gap)[0]
            raise ValueError(
                f"the ranking of document {start + i} has a pad (-1) at rank {j + 1} before an id; "
                "pads stand at the end"
            )
        ordered = np.sort(block, axis=1)
        double = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if double.any():
            i, j = np.argwhere(double)[0]
            raise ValueError(
                f"the ranking of document {start + i} holds label id {ordered[i, j]} more than once"
            )
    return ids, truth


def _pairs(matrix: sp.csr_array, shape: tuple[int, int], name: str) -> sp.csr_array:
    """A copy of `matrix` as boolean CSR with each pair once and no stored zero."""
    if not sp.issparse(matrix):
        raise ValueError(f"{name} must be a scipy sparse array, not {type(matrix).__name__}")
    if matrix.shape != shape:
        raise ValueError(f"{name} has the shape {matrix.shape}, not {shape}")
    pairs = sp.csr_array(matrix, dtype=bool, copy=True)
    pairs.sum_duplicates()
    pairs.eliminate_zeros()
    return pairs


def _ranks(ids: np.ndarray, pairs: sp.csr_array) -> Iterator[np.ndarray]:
    """For each pair of a CSR, in its order, the rank from 0 of the label in the document's row of
    `ids`, or -1; yielded in blocks."""
    width = ids.shape[1]
    row = np.repeat(np.arange(len(ids)), np.diff(pairs.indptr))
    step = max(1, _BLOCK // max(1, width))
    yield np.empty(0, dtype=np.int64)
    for start in range(0, len(row), step):
        match = ids[row[start : start + step]] == pairs.indices[start : start + step, None]
        yield np.where(match.any(axis=1), match.argmax(axis=1), -1) if width else np.full(len(match), -1)


def _refuse_excluded(ids: np.ndarray, excluded: sp.csr_array) -> None:
    start = 0
    for ranks in _ranks(ids, excluded):
        if (ranks >= 0).any():
            pair = start + int(np.argmax(ranks >= 0))
            document = int(np.searchsorted(excluded.indptr, pair, side="right")) - 1
            raise ValueError(
                f"the ranking of document {document} holds label id {excluded.indices[pair]} at rank "
                f"{ranks[pair - start] + 1}, which is excluded for it; mask excluded pairs before ranking"
            )
        start += len(ranks)


def _resampled_sums(parts: Sequence[np.ndarray], bootstrap: int, seed: int) -> list[np.ndarray]:
    """Column sums of resamples of the rows, drawn with replacement: (bootstrap, m) for each part (n, m).

    A resample is a row of multinomial counts, so a block of them is one matrix product. Parts are multiplied
    one by one: what a part gives does not depend, to the last digit, on what stands beside it.
    """
    if bootstrap < 1:
        raise ValueError(f"bootstrap must be 1 resample or more, not {bootstrap}")
    rng = np.random.default_rng(seed)
    n = len(parts[0])
    step = max(1, _BLOCK // n)
    sums = [np.empty((bootstrap, part.shape[1])) for part in parts]
    for start in range(0, bootstrap, step):
        size = min(step, bootstrap - start)
        counts = np.empty((size, n))
        for drawn in counts:
            drawn[:] = np.bincount(rng.integers(n, size=n), minlength=n)
        for part, summed in zip(parts, sums, strict=True):
            summed[start : start + size] = counts @ part
    return sums


def _interval(value: float, drawn: np.ndarray) -> dict[str, float]:
    # Digits beyond the twelfth depend on the order in which a machine adds.
    low, high = np.round(np.percentile(drawn, (2.5, 97.5)), 12) + 0.0
    return {"value": round(float(value), 12) + 0.0, "low": float(low), "high": float(high)}
