"""The corpus: documents and labels; and, in files of their own, the annotations.

A `Corpus` has no annotations, so a function that takes one cannot use them. `load_truth` reads them, for the
metrics, the statistics, the openly simulated teacher and the supervised reference.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.files import replacing

SPLITS = ("train", "dev", "test")
DOCUMENT_SCHEMA = pa.schema([("uid", pa.string()), ("title", pa.string()), ("text", pa.large_string())])
LABEL_SCHEMA = pa.schema([("uid", pa.string()), ("text", pa.string())])


class CorpusError(ValueError):
    """An unusable corpus; the message names its source and the remedy."""


@dataclass(frozen=True)
class Corpus:
    """Documents in three splits, and the label set."""

    train: pa.Table  # columns uid, title, text; row order is document order everywhere
    dev: pa.Table
    test: pa.Table
    labels: pa.Table  # L rows with the columns uid, text; a label's row number is its id
    # Split -> boolean CSR (n_docs, L): pairs that are never candidates, such as a document's own label.
    # Shortlists, rankings and the metrics' truth have none of them.
    excluded: dict[str, sp.csr_array]

    def documents(self, split: str) -> pa.Table:
        """Return the document table of `split`: "train", "dev" or "test"."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        return getattr(self, split)

    def validate(self, source: str = "the corpus") -> "Corpus":
        """Return self, or raise `CorpusError` naming `source`, the table, the row and the value."""
        for name in (*SPLITS, "labels"):
            check_table(getattr(self, name), name, source)
        for split in SPLITS:
            shape = (self.documents(split).num_rows, self.labels.num_rows)
            if self.excluded[split].shape != shape:
                raise CorpusError(
                    f"{source}: excluded pairs of {split} are {self.excluded[split].shape}, not {shape}"
                )
        return self

    def save(self, folder: str | Path) -> None:
        """Write the corpus as Arrow and npz files; `folder` appears whole or not at all."""
        with replacing(folder, folder=True) as scratch:
            for name in (*SPLITS, "labels"):
                table = getattr(self, name)
                with pa.ipc.new_file(scratch / f"{name}.arrow", table.schema) as out:
                    out.write_table(table, max_chunksize=65_536)
            for split in SPLITS:
                sp.save_npz(scratch / f"excluded-{split}.npz", self.excluded[split])


def load_corpus(folder: str | Path) -> Corpus:
    """Open a saved corpus; the tables are memory-mapped, not read.

    Raises `CorpusError` when the folder or one of its files is missing or cannot be read.
    """
    folder = Path(folder)
    with _reading("corpus", folder):
        tables = {name: mapped(folder / f"{name}.arrow") for name in (*SPLITS, "labels")}
        excluded = {split: sp.csr_array(sp.load_npz(folder / f"excluded-{split}.npz")) for split in SPLITS}
    return Corpus(**tables, excluded=excluded)


def mapped(path: Path) -> pa.Table:
    """Open the table of an Arrow file, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def save_truth(folder: str | Path, truth: dict[str, sp.csr_array]) -> None:
    """Write the annotations, one boolean CSR (n_docs, L) a split, apart from the corpus."""
    with replacing(folder, folder=True) as scratch:
        for split, matrix in truth.items():
            sp.save_npz(scratch / f"{split}.npz", matrix)


def load_truth(folder: str | Path, split: str) -> sp.csr_array:
    """Read the annotations of one split: boolean CSR (n_docs, L).

    Raises `CorpusError` when the file is missing or cannot be read.
    """
    with _reading("annotations", Path(folder)):
        return sp.csr_array(sp.load_npz(Path(folder) / f"{split}.npz"))


def csr_from_lists(rows: list[list[int]], n_labels: int) -> sp.csr_array:
    """Make a boolean CSR (len(rows), n_labels) from a list of label ids for each document."""
    sorted_rows = [sorted(set(row)) for row in rows]
    indptr = np.cumsum([0, *map(len, sorted_rows)], dtype=np.int64)
    indices = np.fromiter(chain.from_iterable(sorted_rows), dtype=np.int32, count=indptr[-1])
    return sp.csr_array((np.ones(len(indices), dtype=bool), indices, indptr), shape=(len(rows), n_labels))


def doubled_uids(table: pa.Table) -> dict[str, int]:
    """Count the repeated uids of a table, in the order of their first rows."""
    counts = pc.value_counts(table["uid"])
    doubled = counts.filter(pc.greater(counts.field("counts"), 1))
    return dict(zip(doubled.field("values").to_pylist(), doubled.field("counts").to_pylist(), strict=True))


@contextmanager
def _reading(content: str, folder: Path) -> Iterator[None]:
    """Turn errors in reading result files into a `CorpusError` that says how to make new ones."""
    try:
        yield
    except FileNotFoundError as error:
        missing = error.filename or error
        raise CorpusError(f"no {content} in {folder} ({missing}); run the `prepare` stage first") from None
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise CorpusError(
            f"the {content} in {folder} cannot be read ({error}); run the `prepare` stage again"
        ) from None


def check_table(table: pa.Table, name: str, source: str) -> None:
    """Raise `CorpusError` where a table of a corpus cannot be used; `name` is a split or "labels"."""
    where, expected = f"{source}: {name}", LABEL_SCHEMA if name == "labels" else DOCUMENT_SCHEMA
    if table.column_names != expected.names:
        raise CorpusError(f"{where} has the columns {table.column_names}, not {expected.names}")
    if name != "dev" and table.num_rows == 0:
        raise CorpusError(f"{where} is empty; at least one row is needed")
    for column in table.column_names:
        if table[column].null_count:
            row = pc.index(pc.is_null(table[column]), True).as_py()
            raise CorpusError(f"{where}: row {row} has no {column}; fill it, or drop the row")
    # Neither function copies a text.
    empty = pc.or_(pc.equal(pc.binary_length(table["text"]), 0), pc.utf8_is_space(table["text"]))
    if pc.any(empty).as_py():
        row = pc.index(empty, True).as_py()
        raise CorpusError(
            f"{where}: row {row} (uid {table['uid'][row].as_py()!r}) has an empty text; drop or fill it"
        )
    if doubled := doubled_uids(table):
        uid, times = next(iter(doubled.items()))
        raise CorpusError(
            f"{where}: {len(doubled)} uids stand more than once, first {uid!r} ({times} times); "
            "uids must be unique"
        )
