"""Documents on their way from a source to a corpus: spooled to disk as they come, then assigned to splits.

Nothing is kept as an object for each document, so that memory does not grow with their number: texts
go to an Arrow file in batches, label ids to compact arrays.
"""

import hashlib
import re
from array import array
from collections.abc import Iterable, Sequence
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
_WORD = re.compile(r"\w+")

RawDocument = tuple[int, str, str, str, Iterable[int]]  # position in its source, uid, title, text, label ids


class Side:
    """The documents of one source, in an Arrow file."""

    def __init__(self, path: Path, source: str = "", unit: str = "line") -> None:
        self.path = path  # complete after `close`
        self.source, self.unit = source, unit  # names of the source and of a document's position in errors
        self.positions = array("q")  # of each document in its source, rising
        self.ends = array("q", [0])  # the number of annotations up to each document, n + 1 of them
        self.left_out = 0  # documents with neither a text nor a title
        self.total: int | None = None  # documents, with those left out; None: it was not read to its end
        # int64 (m, 2): pairs of a document's position and a label id that are never candidates.
        self.excluded = np.empty((0, 2), dtype=np.int64)
        self._labels = array("i")
        self._digest = hashlib.sha256()
        self._batch: list[tuple[str, str, str]] = []
        self._characters = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, DOCUMENT_SCHEMA)

    def __len__(self) -> int:
        return len(self.positions)

    def add(self, position: int, uid: str, title: str, text: str, labels: Iterable[int] = ()) -> None:
        """Add a document with the ids of its annotated labels, in any order."""
        self._batch.append((uid, title, text))
        self.positions.append(position)
        self._labels.extend(sorted(labels))
        self.ends.append(len(self._labels))
        self._characters += len(text)
        if len(self._batch) >= _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def table(self) -> pa.Table:
        """Open the documents, memory-mapped."""
        return mapped(self.path)

    def truth(self, n_labels: int) -> sp.csr_array:
        """Return the annotations: boolean CSR (n, n_labels), sorted and without duplicates."""
        indices, indptr = np.array(self._labels, dtype=np.int32), np.array(self.ends, dtype=np.int64)
        ones = np.ones(len(indices), dtype=bool)
        matrix = sp.csr_array((ones, indices, indptr), shape=(len(self), n_labels))
        matrix.sum_duplicates()
        return matrix

    def excluded_pairs(self, n_labels: int) -> sp.csr_array:
        """Return the excluded pairs of documents that were read: boolean CSR (n, n_labels)."""
        positions = np.frombuffer(self.positions, dtype=np.int64)
        n_positions = int(positions[-1]) + 1 if len(positions) else 0
        pairs = self.excluded[self.excluded[:, 0] < n_positions]
        ones = np.ones(len(pairs), dtype=bool)
        return sp.coo_array((ones, pairs.T), shape=(n_positions, n_labels)).tocsr()[positions]

    def check_uids(self) -> None:
        """Raise `CorpusError` that names a repeated uid and its positions."""
        table = self.table()
        if doubled := doubled_uids(table):
            uid = next(iter(doubled))
            rows = np.flatnonzero(pc.equal(table["uid"], uid).to_numpy())
            first, second = (self.positions[row] for row in rows[:2])
            raise CorpusError(
                f"{self.source}: {len(doubled)} uids stand more than once, first {uid!r} in {self.unit} "
                f"{first} and {self.unit} {second}; uids must be unique"
            )

    def digest(self) -> str:
        """Compute the SHA-256 over uids, titles, texts and annotations, in order."""
        digest = self._digest.copy()
        digest.update(self._labels.tobytes() + self.ends.tobytes())
        return digest.hexdigest()

    def _flush(self) -> None:
        if self._batch:
            columns = [whole(column) for column in zip(*self._batch, strict=True)]
            for column in columns:
                self._digest.update("\0".join(column).encode())
            self._writer.write_batch(pa.record_batch(columns, schema=DOCUMENT_SCHEMA))
        self._batch, self._characters = [], 0


def spool(
    source: str,
    documents: Iterable[RawDocument],
    scratch: Path,
    faults: Faults | None = None,
    limit: int | None = None,
    unit: str = "line",
) -> Side:
    """Write documents into a new file in `scratch`, the first `limit` of them (None: all).

    The title of a document without text becomes its text. Documents without both are counted and left out.
    Raises the `faults` that `documents` noted, if any.
    """
    side = Side(scratch / f"{len(list(scratch.iterdir()))}.spool", source, unit)
    for position, uid, title, text, labels in islice(documents, limit):
        if not text.strip():
            title, text = "", title
        if not text.strip():
            side.left_out += 1
        elif faults is None or not faults.count:
            side.add(position, uid, title, text, labels)
    side.close()
    if faults is not None:
        faults.check()
    side.total = len(side) + side.left_out if limit is None else None
    return side


def hashes(uids: pa.ChunkedArray, salt: str) -> np.ndarray:
    """Hash each uid, the same everywhere: uint64 (n,), the head of the SHA-256 of "salt\\0uid"."""
    hashed = np.empty(len(uids), np.uint64)
    for i, uid in enumerate(uid for chunk in uids.chunks for uid in chunk.to_pylist()):
        hashed[i] = int.from_bytes(hashlib.sha256(f"{salt}\0{uid}".encode()).digest()[:8])
    return hashed


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

    vectorizer = CountVectorizer(analyzer=lambda text: _WORD.findall(text.lower()), binary=True)
    words = sp.csr_array(vectorizer.fit_transform([*texts, "a"]), dtype=np.float32)[:-1]
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
    annotated = np.diff(np.frombuffer(side.ends, dtype=np.int64)) > 0
    assigned, counts, split_of = np.full(len(side), -1, dtype=np.int8), [0, 0, 0], {}
    for row in np.lexsort((hashed, first[groups])):
        full = counts[TEST] >= test, counts[DEV] >= dev
        split = split_of.setdefault(groups[row], TRAIN if all(full) else DEV if full[0] else TEST)
        if split != TRAIN or train is None or counts[TRAIN] < train:
            assigned[row] = split
            counts[split] += int(annotated[row]) if split == TEST else 1
    return assigned


def divide(path: Path, assigned: np.ndarray, files: Sequence[Path]) -> None:
    """Distribute the rows of an Arrow file over new ones, batch by batch, in order.

    `assigned`, int8 (n,), gives for each row the number of its file in `files`, or -1 for none.
    """
    source = pa.OSFile(str(path))
    reader = pa.ipc.open_file(source)
    sinks = [pa.OSFile(str(file), "wb") for file in files]
    writers = [pa.ipc.new_file(sink, reader.schema) for sink in sinks]
    start = 0
    for i in range(reader.num_record_batches):
        batch = reader.get_batch(i)
        assigned_in_batch = assigned[start : start + batch.num_rows]
        start += batch.num_rows
        for number, writer in enumerate(writers):
            chosen = assigned_in_batch == number
            if chosen.any():
                writer.write_batch(batch if chosen.all() else batch.filter(pa.array(chosen)))
    for opened in (*writers, *sinks, source):
        opened.close()
