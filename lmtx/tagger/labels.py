"""The labels of a tagger: their names, their vectors, and the files both lie in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from lmtx.corpus import LABEL_SCHEMA, doubled_uids
from lmtx.index import Shortlist, search

TABLE, VECTORS, SCALES = "labels.parquet", "labels.npy", "label_scales.npy"
STORAGES = ("float32", "int8")


class TaggerError(ValueError):
    """A tagger, or something it is given, that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class LabelIndex:
    """Labels and their unit vectors."""

    table: pa.Table  # L rows with the columns uid, text; a label's row number is its id
    vectors: np.ndarray  # float32 or int8 (L, d); memory-mapped where they were read from a file
    # float32 (L,): an int8 row times its scale is the vector. None where `vectors` is float32.
    scales: np.ndarray | None = None

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def storage(self) -> str:
        """What the vectors are: "float32", or "int8", a quarter of the size."""
        return "float32" if self.scales is None else "int8"

    def search(self, queries: np.ndarray, k: int, excluded: sp.csr_array | None = None) -> Shortlist:
        """The k labels of largest cosine for unit vectors float32 (n, d), exactly for the vectors held.

        More than L gives L columns. `excluded`, boolean CSR (n, L), holds pairs that are no candidates.
        """
        return search(queries, self.vectors, k, excluded=excluded, scales=self.scales)

    def extended(self, labels: pa.Table, vectors: np.ndarray) -> "LabelIndex":
        """These labels and others behind them: their table, and unit vectors float32 (m, d).

        Raises `TaggerError` for a uid that is there already.
        """
        table = pa.concat_tables([self.table, labels.cast(LABEL_SCHEMA)])
        if doubled := doubled_uids(table):
            uid = next(iter(doubled))
            twice = "is in the tagger already" if uid in self.table["uid"].to_pylist() else "comes twice"
            raise TaggerError(f"the label {uid!r} {twice}; leave it out")
        if self.scales is None:
            return LabelIndex(table, np.concatenate([self.vectors, vectors]))
        both = zip((self.vectors, self.scales), pack(vectors), strict=True)
        return LabelIndex(table, *(np.concatenate(arrays) for arrays in both))

    def stored_as(self, storage: str) -> "LabelIndex":
        """The same labels in the storage "float32" or "int8".

        int8 keeps each vector's direction to about 0.3 degrees; what it loses stays lost in float32.
        """
        if storage not in STORAGES:
            raise ValueError(f"storage {storage!r} is none of {', '.join(STORAGES)}")
        if storage == self.storage:
            return self
        if storage == "int8":
            return LabelIndex(self.table, *pack(self.vectors))
        return LabelIndex(self.table, self.vectors.astype(np.float32) * self.scales[:, None])

    def save(self, folder: str | Path) -> None:
        """Write labels.parquet, labels.npy and, for int8, label_scales.npy into a folder."""
        folder = Path(folder)
        pq.write_table(self.table, folder / TABLE)
        np.save(folder / VECTORS, self.vectors)
        if self.scales is not None:
            np.save(folder / SCALES, self.scales)

    @classmethod
    def load(cls, folder: str | Path) -> "LabelIndex":
        """Open what `save` wrote; the vectors are memory-mapped.

        Raises `TaggerError` naming the file that is missing or damaged.
        """
        folder = Path(folder)
        try:
            # Unlike pq.read_table, this does not import pandas.
            table = pq.ParquetFile(folder / TABLE).read(LABEL_SCHEMA.names).cast(LABEL_SCHEMA)
            # Copy on write: mapped as read-only is, but torch takes it without a warning.
            vectors = np.load(folder / VECTORS, mmap_mode="c")
            scales = np.load(folder / SCALES) if vectors.dtype == np.int8 else None
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            raise TaggerError(f"the labels in {folder} cannot be read ({error}); export again") from None
        if scales is not None and scales.shape != vectors.shape[:1]:
            raise TaggerError(f"{folder / SCALES} has the shape {scales.shape}; export again")
        if vectors.ndim != 2 or len(vectors) != table.num_rows or vectors.dtype.name not in STORAGES:
            raise TaggerError(
                f"{folder / VECTORS} has the shape {vectors.shape} and the type {vectors.dtype}, but {TABLE} "
                f"has {table.num_rows} rows, and the type is one of {', '.join(STORAGES)}; export again"
            )
        return cls(table, vectors, scales)


def pack(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n, d) as int8 (n, d) and scales float32 (n,).

    The largest entry of a row becomes 127; its scale gives the row back the length it had.
    """
    steps = np.maximum(np.abs(vectors).max(axis=1, keepdims=True, initial=0), 1e-12) / 127
    packed = np.rint(vectors / steps)
    lengths = np.maximum(np.linalg.norm(packed, axis=1), 1)
    return packed.astype(np.int8), (np.linalg.norm(vectors, axis=1) / lengths).astype(np.float32)


def label_table(texts: Sequence[str], uids: Sequence[str | None] | None = None) -> pa.Table:
    """Labels as a table; a label whose uid is None goes by its text, and so do all where `uids` is None.

    Raises `TaggerError` naming the first empty text.
    """
    uids = [None] * len(texts) if uids is None else uids
    if len(uids) != len(texts):
        raise TaggerError(f"there are {len(texts)} label texts and {len(uids)} uids; give one uid a label")
    texts = [text.strip() for text in texts]
    if "" in texts:
        raise TaggerError(f"the new labels: number {texts.index('') + 1} has no text; drop or fill it")
    uids = [text if uid is None else uid for text, uid in zip(texts, uids, strict=True)]
    return pa.table([uids, texts], schema=LABEL_SCHEMA)
