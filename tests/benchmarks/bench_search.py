"""The search for shortlists, against a bare faiss flat search and against hnswlib's build and query.

Vectors have about 32 free directions within their dimensions, as embeddings of real texts do; random ones
would be harder for a graph than any text. Each part takes its ways in turn within one run. hnswlib comes with
the extra `bench`; without it its row is left out.

    python tests/benchmarks/bench_search.py --documents 30000 --labels 501070 --parts flat,memory

The memory row runs both ways in processes of their own, from memory-mapped files.
"""

import importlib.util
import tempfile
from pathlib import Path

import faiss
import numpy as np
import torch
from rows import Row, apart, options, report, take_turns

from lmtx.index import search

PARTS = ("flat", "memory", "hnswlib")
FREE = 32


def unit(n: int, dimensions: int, seed: int) -> np.ndarray:
    """Unit vectors float32 (n, d), which lie near a common subspace of `FREE` dimensions."""
    axes = np.random.default_rng(0).standard_normal((FREE, dimensions), dtype=np.float32)
    rng = np.random.default_rng(seed)
    vectors = np.empty((n, dimensions), np.float32)
    for start in range(0, n, 1 << 14):
        part = vectors[start : start + (1 << 14)]
        part[:] = rng.standard_normal((len(part), FREE), dtype=np.float32) @ axes
        part += rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def bare(queries: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """What one writes with faiss alone: ids of an exact search."""
    index = faiss.IndexFlatIP(labels.shape[1])
    index.add(labels)
    return index.search(queries, k)[1]


def hnswlib_search(queries: np.ndarray, labels: np.ndarray, threads: int) -> np.ndarray:
    """hnswlib's build and query at M = 100, ef_construction = 300, ef = 300, k = 300: ids."""
    import hnswlib

    index = hnswlib.Index("ip", labels.shape[1])
    index.init_index(max_elements=len(labels), M=100, ef_construction=300, random_seed=108)
    index.set_num_threads(threads)
    index.add_items(labels)
    index.set_ef(300)
    return index.knn_query(queries, k=300)[0]


def recall(ids: np.ndarray, queries: np.ndarray, labels: np.ndarray, depth: int = 10) -> float:
    """Share of the true first labels, by products in fp64, that are found: of at most 200 queries."""
    rows = np.linspace(0, len(queries) - 1, min(len(queries), 200)).astype(int)
    true = np.empty((len(rows), depth), np.int64)
    for place, row in enumerate(rows):
        scores = np.concatenate(
            [
                labels[start : start + (1 << 16)].astype(np.float64) @ queries[row].astype(np.float64)
                for start in range(0, len(labels), 1 << 16)
            ]
        )
        true[place] = np.argsort(-scores, kind="stable")[:depth]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(true, ids[rows, :depth], strict=True)]))


def flat_rows(chosen, queries: np.ndarray, labels: np.ndarray) -> list[Row]:
    """The exact search against a bare faiss flat search."""
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = search(queries, labels, chosen.k, device="cpu").ids

    names = ("lmtx.index.search, exact", "faiss.IndexFlatIP")
    ways = {names[0]: ours, names[1]: lambda: bare(queries, labels, chosen.k)}
    seconds = take_turns(ways, chosen.rounds, warm=False)
    note = f"recall@10 {recall(found['ours'], queries, labels):.4f}"
    return [Row.of("Shortlist", sizes(queries, labels, chosen.k), names, *seconds.values(), note=note)]


def from_files(way: str, folder: str, k: int) -> None:
    """One search from memory-mapped files, for the memory it takes."""
    queries, labels = (np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in ("queries", "labels"))
    if way == "ours":
        search(queries, labels, k, device="cpu")
    else:
        bare(np.asarray(queries), np.asarray(labels), k)


def memory_rows(chosen, queries: np.ndarray, labels: np.ndarray) -> list[Row]:
    """Peak memory of the exact search; what is mapped from files counts too."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "queries.npy", queries)
        np.save(Path(folder) / "labels.npy", labels)
        ours, other = (apart(from_files, way, folder, chosen.k)[1] for way in ("ours", "bare"))
    names = ("lmtx.index.search, exact", "faiss.IndexFlatIP")
    case = f"peak memory, {sizes(queries, labels, chosen.k)}"
    return [Row.of("Shortlist", case, names, [ours], [other], unit="MiB")]


def hnswlib_rows(chosen, queries: np.ndarray, labels: np.ndarray) -> list[Row]:
    """One shortlist from nothing: an index's build counts, as every cycle has other vectors."""
    if importlib.util.find_spec("hnswlib") is None:
        print("hnswlib is not installed, so its row is left out: `make bench` installs it")
        return []
    labels, found = labels[: chosen.hnsw_labels], {}
    threads = torch.get_num_threads()

    def ours() -> None:
        found["ours"] = search(queries, labels, 300, device="cpu").ids

    def theirs() -> None:
        found["theirs"] = hnswlib_search(queries, labels, threads)

    names = ("lmtx.index.search", "hnswlib, build and query")
    seconds = take_turns({names[0]: ours, names[1]: theirs}, 1, warm=False)
    reached = [recall(found[name], queries, labels) for name in ("ours", "theirs")]
    note = f"recall@10 {reached[0]:.4f} and {reached[1]:.4f}; M = 100, ef_construction = ef = 300"
    return [Row.of("Shortlist", sizes(queries, labels, 300), names, *seconds.values(), note=note)]


def sizes(queries: np.ndarray, labels: np.ndarray, k: int) -> str:
    n, dimensions = queries.shape
    return f"{n:,} documents × {len(labels):,} labels × {dimensions}, k = {k}"


def main() -> None:
    chosen = options(
        __doc__,
        documents=10000,
        labels=131072,
        hnsw_labels=131072,
        dimensions=384,
        k=100,
        parts=",".join(PARTS),
    )
    parts = chosen.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"--parts has {sorted(unknown)}: expected some of {','.join(PARTS)}")
    queries = unit(chosen.documents, chosen.dimensions, seed=1)
    labels = unit(chosen.labels, chosen.dimensions, seed=2)
    for part in parts:
        report(chosen, *globals()[f"{part}_rows"](chosen, queries, labels))


if __name__ == "__main__":
    main()
