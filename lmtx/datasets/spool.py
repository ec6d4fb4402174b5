"""Documents on their way from a source to a corpus: spooled to disk as they come, then assigned to splits.

Nothing is kept as an object for each document, so that memory does not grow with their number: texts
go to an Arrow file in batches, label ids to compact arrays.
"""

import hashlib
import re
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.corpus import DOCUMENT_SCHEMA
from lmtx.datasets.lines import whole

TRAIN, DEV, TEST = range(3)
BATCH_ROWS = 4096
BATCH_CHARACTERS = 1 << 24
_COMPARED = 512  # documents that are compared with all at once
_WORD = re.compile(r"\w+")


class Spool:
    """Writes documents to an Arrow file, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path  # complete after `close`
        self.positions = array("q")  # of each document in its source, rising
        self.ends = array("q", [0])  # the number of annotations up to each document, n + 1 of them
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
        if len(self._batch) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
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

    def digest(self) -> str:
        """Compute the SHA-256 over uids, titles, texts and annotations, in order."""
        digest = self._digest.copy()
        digest.update(self._labels.tobytes() + self.ends.tobytes())
        return digest.hexdigest()

    def _flush(self) -> None:
        if not self._batch:
            return
        columns = [whole(column) for column in zip(*self._batch, strict=True)]
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, DOCUMENT_SCHEMA, strict=True)]
        for column in columns:
            self._digest.update("\0".join(column).encode())
        self._writer.write_batch(pa.record_batch(arrays, schema=DOCUMENT_SCHEMA))
        self._batch, self._characters = [], 0


def mapped(path: Path) -> pa.Table:
    """Open the table of an Arrow file, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


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


def hashes(uids: pa.ChunkedArray, salt: str) -> np.ndarray:
    """Hash each uid, the same everywhere: uint64 (n,), the head of the SHA-256 of "salt\\0uid"."""
    hashed = np.empty(len(uids), np.uint64)
    for i, uid in enumerate(uid for chunk in uids.chunks for uid in chunk.to_pylist()):
        hashed[i] = int.from_bytes(hashlib.sha256(f"{salt}\0{uid}".encode()).digest()[:8])
    return hashed


def lowest(hashed: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Return the `n` rows of lowest hash (all, if there are fewer): int64, in that order."""
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
    rows, columns = [], []
    for start in range(0, len(texts), _COMPARED):
        shared = (words[start : start + _COMPARED] @ words.T).tocoo()
        union = sizes[start + shared.row] + sizes[shared.col] - shared.data
        alike = shared.data >= similarity * union
        rows.append(start + shared.row[alike])
        columns.append(shared.col[alike])
    edges = np.concatenate(rows), np.concatenate(columns)
    graph = sp.csr_array((np.ones(len(edges[0]), dtype=bool), edges), shape=(len(texts), len(texts)))
    return connected_components(graph, directed=False)[1]


def split_by_group(
    spool: Spool, groups: np.ndarray, test: int, dev: int, train: int | None = None
) -> np.ndarray:
    """Assign documents to splits by hashes of their uids, near-duplicates together.

    Groups come in the order of the lowest hash among their documents. The first ones are the test side, up
    to `test` documents with an annotation; the next ones dev, up to `dev` documents; of the rest, train
    takes `train` documents (None: all).

    Returns int8 (n,): the split of each document of `spool`, -1 for those left out.
    """
    hashed = hashes(spool.table()["uid"], "split")
    first = np.full(groups.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, groups, hashed)
    order = np.lexsort((hashed, first[groups]))
    annotated = np.diff(np.frombuffer(spool.ends, dtype=np.int64)) > 0
    assigned = np.full(len(spool), TRAIN, dtype=np.int8)
    # A group goes where its first document goes, so a split may exceed its size by the rest of one group.
    before = np.cumsum(annotated[order]) - annotated[order]
    starts = np.diff(groups[order], prepend=-1) != 0
    group_starts = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    is_test = before[group_starts] < test
    assigned[order[is_test]] = TEST
    n_test = int(is_test.sum())
    is_dev = ~is_test & (group_starts - n_test < dev)
    assigned[order[is_dev]] = DEV
    if train is not None:
        assigned[order[n_test + int(is_dev.sum()) + train :]] = -1
    return assigned
