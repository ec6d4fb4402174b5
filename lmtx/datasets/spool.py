"""Documents on their way from a source to a corpus: spooled to disk as they come, then assigned to splits.

Nothing is kept as an object for each document, so that memory does not grow with their number: texts
go to an Arrow file in batches, label ids to compact arrays.
"""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.corpus import DOCUMENT_SCHEMA, CorpusError, doubled_uids, mapped
from lmtx.datasets.lines import Faults, whole

TRAIN, DEV, TEST = range(3)
_BATCH_ROWS, _BATCH_CHARACTERS = 4096, 1 << 24  # of documents in memory at once
_COMPARED = 512  # documents that are compared with all at once

RawDocument = tuple[int, str, str, str, Iterable[int]]  # position in its source, uid, title, text, label ids


@dataclass
class Side:
    """The documents of one source, in an Arrow file."""

    path: Path
    source: str  # its name in errors
    unit: str  # of a document's position in errors
    positions: np.ndarray  # int64 (n,): of each document in its source, rising
    ends: np.ndarray  # int64 (n + 1,): the number of annotations up to each document
    labels: np.ndarray  # int32: their label ids
    digest: str  # SHA-256 over uids, titles, texts and annotations, in order
    left_out: int  # documents with neither a text nor a title
    total: int | None  # documents, with those left out; None: it was not read to its end
    # int64 (m, 2): pairs of a document's position and a label id that are never candidates.
    excluded: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.positions)

    def table(self) -> pa.Table:
        """Open the documents, memory-mapped."""
        return mapped(self.path)

    def truth(self, n_labels: int) -> sp.csr_array:
        """Return the annotations: boolean CSR (n, n_labels), sorted and without duplicates."""
        ones = np.ones(len(self.labels), dtype=bool)
        matrix = sp.csr_array((ones, self.labels, self.ends), shape=(len(self), n_labels), copy=True)
        matrix.sum_duplicates()
        return matrix

    def excluded_pairs(self, n_labels: int) -> sp.csr_array:
        """Return the excluded pairs of documents that were read: boolean CSR (n, n_labels)."""
        n_positions = int(self.positions[-1]) + 1 if len(self) else 0
        pairs = self.excluded[self.excluded[:, 0] < n_positions]
        ones = np.ones(len(pairs), dtype=bool)
        return sp.coo_array((ones, pairs.T), shape=(n_positions, n_labels)).tocsr()[self.positions]

    def check_uids(self) -> None:
        """Raise `CorpusError` that names a repeated uid and its positions."""
        if doubled := doubled_uids(self.table()):
            uid = next(iter(doubled))
            rows = np.flatnonzero(pc.equal(self.table()["uid"], uid).to_numpy())
            first, second = self.positions[rows[:2]]
            raise CorpusError(
                f"{self.source}: {len(doubled)} uids stand more than once, first {uid!r} in {self.unit} "
                f"{first} and {self.unit} {second}; uids must be unique"
            )


def spool(
    faults: Faults,
    documents: Iterable[RawDocument],
    scratch: Path,
    limit: int | None = None,
    unit: str = "document",
) -> Side:
    """Write documents into a new file in `scratch`, the first `limit` of them (None: all).

    The title of a document without text becomes its text. Documents without both are counted and left out.
    Raises the `faults` that `documents` noted, if any.
    """
    path = scratch / f"{len(list(scratch.iterdir()))}.spool"
    positions, ends, ids, digest = array("q"), array("q", [0]), array("i"), hashlib.sha256()
    batch, characters, left_out = [], 0, 0
    with pa.ipc.new_file(path, DOCUMENT_SCHEMA) as writer:

        def flush() -> None:
            columns = [whole(column) for column in zip(*batch, strict=True)]
            for column in columns:
                digest.update("\0".join(column).encode())
            writer.write_batch(pa.record_batch(columns, schema=DOCUMENT_SCHEMA))
            batch.clear()

        for position, uid, title, text, labels in islice(documents, limit):
            if not text.strip():
                title, text = "", title
            if not text.strip():
                left_out += 1
            elif not faults.count:
                batch.append((uid, title, text))
                positions.append(position)
                ids.extend(sorted(labels))
                ends.append(len(ids))
                characters += len(text)
                if len(batch) >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
                    flush()
                    characters = 0
        if batch:
            flush()
    faults.check()
    digest.update(ids.tobytes() + ends.tobytes())
    arrays = np.array(positions), np.array(ends), np.array(ids, dtype=np.int32)
    total = len(positions) + left_out if limit is None else None
    return Side(path, faults.source, unit, *arrays, digest.hexdigest(), left_out, total)


def hashes(uids: pa.ChunkedArray, salt: str) -> np.ndarray:
    """Hash each uid, the same everywhere: uint64 (n,), the head of the SHA-256 of "salt\\0uid"."""
    salted = (f"{salt}\0{uid}".encode() for chunk in uids.chunks for uid in chunk.to_pylist())
    heads = (int.from_bytes(hashlib.sha256(text).digest()[:8]) for text in salted)
    return np.fromiter(heads, np.uint64, len(uids))


def lowest(hashed: np.ndarray, rows: np.ndarray, n: int | None) -> np.ndarray:
    """Return the `n` rows of lowest hash (None, or fewer rows: all): int64, in that order."""
    return rows[np.argsort(hashed[rows], kind="stable")[:n]]


def near_duplicates(texts: Sequence[str], similarity: float = 0.8) -> np.ndarray:
    """Group texts that share nearly all of their words: int64 (n,), the number of each text's group.

    Two texts are near-duplicates when the Jaccard similarity of their sets of lower-case words reaches
    `similarity`; a group holds everything that such pairs connect. A text without a word stands alone.
    """
    from scipy.sparse.csgraph import connected_components  # these take a second to import
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=r"\w+", binary=True)
    words = sp.csr_array(vectorizer.fit_transform([*texts, "a"]), dtype=np.float32)[:-1]  # at least one word
    sizes = np.asarray(words.sum(axis=1)).ravel()
    pairs = []
    for start in range(0, len(texts), _COMPARED):
        shared = (words[start : start + _COMPARED] @ words.T).tocoo()
        rows = start + shared.row
        alike = shared.data >= similarity * (sizes[rows] + sizes[shared.col] - shared.data)
        pairs.append([rows[alike], shared.col[alike]])
    rows, columns = np.hstack(pairs)
    graph = sp.csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(texts), len(texts)))
    return connected_components(graph, directed=False)[1]


def split_by_group(
    side: Side, groups: np.ndarray, test: int, dev: int, train: int | None = None
) -> np.ndarray:
    """Assign documents to splits by hashes of their uids, near-duplicates together.

    Groups come in the order of the lowest hash among their documents. The first ones are the test side, up
    to `test` documents with an annotation; the next ones dev, up to `dev` documents; of the rest, train
    takes `train` documents (None: all). A group goes where its first document goes, so a split may exceed
    its size by the rest of one group.

    Returns int8 (n,): the split of each document of `side`, -1 for those left out.
    """
    hashed = hashes(side.table()["uid"], "split")
    first = np.full(groups.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, groups, hashed)
    annotated = np.diff(side.ends) > 0
    assigned, counts, split_of = np.full(len(side), -1, dtype=np.int8), [0, 0, 0], {}
    for row in np.lexsort((hashed, first[groups])):
        full = counts[TEST] >= test, counts[DEV] >= dev
        split = split_of.setdefault(groups[row], TRAIN if all(full) else DEV if full[0] else TEST)
        if split != TRAIN or train is None or counts[TRAIN] < train:
            assigned[row] = split
            counts[split] += int(annotated[row]) if split == TEST else 1
    return assigned
