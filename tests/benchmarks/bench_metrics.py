"""How fast metrics are, against napkinxc and a plain SciPy version, and at LF-Wikipedia-500K's size.

All three count P, R, nDCG and PSP at 1, 3, 5, 10 and 100 on the same rankings, without intervals; they
must agree. At full size our `evaluate` also leaves excluded pairs out and draws 1,000 resamples, in a
process of its own, whose peak memory includes the rankings and annotations.

    python tests/benchmarks/bench_metrics.py --documents 100000 --compared 4000
"""

import statistics
import time

import numpy as np
import scipy.sparse as sp
from rows import Row, apart, options, report, take_turns

from lmtx.config import load_config
from lmtx.metrics import CUTOFFS, PROPENSITY_CONSTANTS, evaluate, per_document, propensities

LABELS, MEAN_LABELS, WIDTH, TRAIN = 501_070, 4.8, 100, 1_813_391


def make_case(documents: int, labels: int = LABELS) -> tuple[np.ndarray, sp.csr_array, sp.csr_array]:
    """Rankings int32 (n, 100), annotations and excluded pairs: half of the annotated labels are ranked."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, labels, size=(documents, 1))
    order = rng.permuted(np.tile(np.arange(WIDTH, dtype=np.int32), (documents, 1)), axis=1)
    ids = ((start + order) % labels).astype(np.int32)
    size = 1 + rng.poisson(MEAN_LABELS - 1, documents)
    row = np.repeat(np.arange(documents), size)
    near = (start[row, 0] + rng.integers(0, 2 * WIDTH, len(row))) % labels
    own = np.arange(0, documents, 50)
    return ids, _pairs(row, near, ids, labels), _pairs(own, (start[own, 0] + WIDTH) % labels, ids, labels)


def _pairs(row: np.ndarray, label: np.ndarray, ids: np.ndarray, labels: int) -> sp.csr_array:
    matrix = sp.coo_array((np.ones(len(row), dtype=bool), (row, label)), (len(ids), labels)).tocsr()
    matrix.sum_duplicates()
    return matrix


def weights(labels: int = LABELS) -> np.ndarray:
    """1/p_l of labels whose counts follow Zipf's law."""
    counts = TRAIN * MEAN_LABELS / (1 + np.arange(labels)) / np.log(labels)
    return propensities(np.floor(counts), TRAIN, *PROPENSITY_CONSTANTS["wiki"])


def ours(ids: np.ndarray, truth: sp.csr_array, propensity: np.ndarray) -> dict[str, float]:
    return {name: v.mean() for name, v in per_document(ids, truth, propensity=propensity).items()}


def plain_scipy(ids: np.ndarray, truth: sp.csr_array, propensity: np.ndarray) -> dict[str, float]:
    """Each metric as a product of sparse matrices, as one writes it down."""
    n, size = len(ids), np.diff(truth.indptr)
    weighted = truth.multiply(propensity[None, :]).tocsr()
    best = [np.sort(weighted.data[a:b])[::-1] for a, b in zip(truth.indptr, truth.indptr[1:], strict=False)]
    discount = 1 / np.log2(np.arange(WIDTH) + 2.0)
    found = {}
    for k in CUTOFFS:
        ends = np.arange(0, n * k + 1, k)
        first = ids[:, :k].ravel()
        ranked = sp.csr_array((np.ones(n * k), first, ends), shape=truth.shape)
        discounted = sp.csr_array((np.tile(discount[:k], n), first, ends), shape=truth.shape)
        hits = truth.multiply(ranked).sum(axis=1)
        found[f"P@{k}"] = (hits / k).mean()
        found[f"R@{k}"] = (hits / size).mean()
        ideal = np.cumsum(discount[:k])[np.minimum(size, k) - 1]
        found[f"nDCG@{k}"] = (truth.multiply(discounted).sum(axis=1) / ideal).mean()
        found[f"PSP@{k}"] = weighted.multiply(ranked).sum() / sum(row[:k].sum() for row in best)
    return found


def napkinxc(ids: list, truth: list, propensity: np.ndarray) -> dict[str, float]:
    """Its metrics at 1 … 100, on lists, which it takes fastest."""
    from napkinxc import metrics

    values = {
        "P": metrics.precision_at_k(truth, ids, k=WIDTH),
        "R": metrics.recall_at_k(truth, ids, k=WIDTH),
        "nDCG": metrics.ndcg_at_k(truth, ids, k=WIDTH),
        "PSP": metrics.psprecision_at_k(truth, ids, propensity, k=WIDTH),
    }
    return {f"{name}@{k}": found[k - 1] for name, found in values.items() for k in CUTOFFS}


def at_scale(documents: int, bootstrap: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of `evaluate`, and of the same without intervals."""
    (ids, truth, excluded), propensity = make_case(documents), weights()
    options = {"excluded": excluded, "propensity": propensity}
    whole, counted = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        evaluate(ids, truth, bootstrap=bootstrap, **options)
        whole.append(time.perf_counter() - started)
        started = time.perf_counter()
        per_document(ids, truth, **options)
        counted.append(time.perf_counter() - started)
    return whole, counted


def main() -> None:
    chosen = options(__doc__, documents=100_000, compared=4_000)
    bootstrap = load_config().evaluation.bootstrap
    (whole, counted), memory = apart(at_scale, chosen.documents, bootstrap, chosen.rounds)
    size = f"{chosen.documents:,} documents, {LABELS:,} labels, k = {WIDTH}"
    parts = f"{statistics.median(counted):.2f} s of it count, the rest draws {bootstrap:,} resamples"
    report(
        chosen,
        Row.of("Metrics", f"{size}, with intervals", ("evaluate", None), whole, None, note=parts),
        Row.of("Metrics", f"{size}, peak memory", ("evaluate", None), [memory], None, unit="MiB"),
    )
    compare(chosen, "plain SciPy", plain_scipy, lambda ids, truth: (ids, truth))
    compare(chosen, "napkinxc", napkinxc, lambda ids, truth: (ids.tolist(), lists(truth)))


def compare(chosen, name: str, way, prepare) -> None:
    """Ours in turn with another way; what it takes as input is made before the clock starts."""
    (ids, truth, _), propensity = make_case(chosen.compared), weights()
    given = prepare(ids, truth)
    mine, theirs = ours(ids, truth, propensity), way(*given, propensity)
    for metric, value in mine.items():
        if abs(value - theirs[metric]) > 1e-9:
            raise SystemExit(f"{metric} is {value} here and {theirs[metric]} by {name}")
    ways = {"ours": lambda: ours(ids, truth, propensity), "theirs": lambda: way(*given, propensity)}
    seconds = take_turns(ways, chosen.rounds, warm=False)
    case = f"{chosen.compared:,} documents, {LABELS:,} labels, k = {WIDTH}, no intervals"
    rates = {"count": chosen.compared, "unit": "documents/s"}
    report(chosen, Row.of("Metrics", case, ("per_document", name), *seconds.values(), **rates))


def lists(truth: sp.csr_array) -> list[list[int]]:
    """The true labels of each document."""
    return [part.tolist() for part in np.split(truth.indices, truth.indptr[1:-1])]


if __name__ == "__main__":
    main()
