"""From documents to a `Reading`: read the sides, divide them into splits, check and count."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.config import DebianConfig, FolderConfig, HubConfig, SemanlinkConfig
from lmtx.corpus import LABEL_SCHEMA, SPLITS, Corpus, CorpusError, doubled_uids
from lmtx.datasets import Reading
from lmtx.datasets.lines import Faults, whole
from lmtx.datasets.spool import DEV, TEST, TRAIN, Spool, divide, hashes, lowest, mapped, split_by_group

DOWNLOAD = "lmtx.datasets.download"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""Endings of the archives that `DOWNLOAD` can unpack."""


@dataclass
class Side:
    """The documents of one source, and which pairs of them are never candidates."""

    source: Path | str  # its name in errors
    spool: Spool
    unit: str = "line"  # of a document's position
    total: int | None = None  # documents, with those left out; None if the source was not read to its end
    left_out: int = 0  # documents with neither a text nor a title
    # int64 (m, 2): pairs of a document's position and a label id.
    excluded: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))

    def check_uids(self) -> None:
        """Raise `CorpusError` that names a repeated uid and its positions."""
        table = self.spool.table()
        if doubled := doubled_uids(table):
            uid = next(iter(doubled))
            rows = np.flatnonzero(pc.equal(table["uid"], uid).to_numpy())
            first, second = (self.spool.positions[row] for row in rows[:2])
            raise CorpusError(
                f"{self.source}: {len(doubled)} uids stand more than once, first {uid!r} in {self.unit} "
                f"{first} and {self.unit} {second}; uids must be unique"
            )

    def excluded_pairs(self, n_labels: int) -> sp.csr_array:
        """Return the excluded pairs of documents that were read: boolean CSR (n, n_labels)."""
        positions = np.frombuffer(self.spool.positions, dtype=np.int64)
        rows = np.searchsorted(positions, self.excluded[:, 0])
        is_read = rows < len(positions)
        is_read[is_read] = positions[rows[is_read]] == self.excluded[is_read, 0]
        pairs = (rows[is_read], self.excluded[is_read, 1].astype(np.int32))
        matrix = sp.coo_array((np.ones(is_read.sum(), dtype=bool), pairs), (len(positions), n_labels)).tocsr()
        matrix.sum_duplicates()
        return matrix


def label_table(uids: list[str], texts: list[str]) -> pa.Table:
    """Make the table of labels."""
    return pa.table({"uid": whole(uids), "text": whole(texts)}, LABEL_SCHEMA)


def described(name: str, others: Iterable[str]) -> str:
    """Return `name` and, after a colon, the distinct `others` that differ from it."""
    description = ", ".join(dict.fromkeys(other for other in others if other and other != name))
    return f"{name}: {description}" if description else name


def assemble(
    name: str,
    labels: pa.Table,
    main: Side,
    assigned: np.ndarray,
    test: Side | None,
    folder: TemporaryDirectory,
    manifest: dict[str, Any],
) -> Reading:
    """Make a `Reading` of spooled documents.

    Parameters
    ----------
    name
        The data set's name in errors.
    labels
        As in `Corpus.labels`.
    main, test
        The documents of the training side and of the test side; `test` None: `main` holds both.
    assigned
        int8 (n,): the split of each document of `main`, as its number in `SPLITS`; -1 for none.
    folder
        The folder of both spools, and of the files of the splits.
    manifest
        The reader's entries; the counts of all readers are added.

    Raises `CorpusError` when train or test is empty, or a uid stands twice.
    """
    n_labels = labels.num_rows
    sides = [main] if test is None else [main, test]
    for side in sides:
        side.check_uids()
    _check_labels(labels, name)
    files = {split: Path(folder.name) / f"{split}.arrow" for split in SPLITS}
    divided = SPLITS if test is None else SPLITS[:TEST]
    divide(main.spool.path, assigned, [files[split] for split in divided])
    main.spool.path.unlink()
    rows = {split: np.flatnonzero(assigned == number) for number, split in enumerate(SPLITS)}
    annotated, never_candidates = main.spool.truth(n_labels), main.excluded_pairs(n_labels)
    truth = {split: sp.csr_array(annotated[rows[split]]) for split in divided}
    excluded = {split: sp.csr_array(never_candidates[rows[split]]) for split in divided}
    if test is not None:
        test.spool.path.rename(files["test"])
        truth["test"], excluded["test"] = test.spool.truth(n_labels), test.excluded_pairs(n_labels)
    tables = {split: mapped(file) for split, file in files.items()}
    for split in ("train", "test"):
        if not tables[split].num_rows:
            raise CorpusError(f"{name}: no document is left for {split}; at least one is needed")
    corpus = Corpus(**tables, labels=labels, excluded=excluded)
    manifest = manifest | _counts(corpus, truth, sides)
    return Reading(corpus, truth, manifest, files, folder)


def _check_labels(labels: pa.Table, name: str) -> None:
    if not labels.num_rows:
        raise CorpusError(f"{name}: there are no labels; at least one is needed")
    if doubled := doubled_uids(labels):
        raise CorpusError(
            f"{name}: {len(doubled)} uids of labels stand more than once, first {next(iter(doubled))!r}; "
            "uids must be unique"
        )


def _counts(corpus: Corpus, truth: dict[str, sp.csr_array], sides: list[Side]) -> dict[str, Any]:
    """Return the entries of every manifest."""
    digest = hashlib.sha256("\0".join(side.spool.digest() for side in sides).encode())
    for column in ("uid", "text"):
        digest.update("\0".join(corpus.labels[column].to_pylist()).encode())
    used = np.zeros(corpus.labels.num_rows, dtype=bool)
    for split, matrix in truth.items():
        used[matrix.indices] = True
        digest.update(np.asarray(corpus.excluded[split].shape).tobytes())
        digest.update(corpus.excluded[split].indices.astype(np.int32).tobytes())
    return {
        "documents": sum(corpus.documents(split).num_rows for split in SPLITS),
        "labels": corpus.labels.num_rows,
        "splits": {split: corpus.documents(split).num_rows for split in SPLITS},
        "without_text_left_out": sum(side.left_out for side in sides),
        "with_truth": int(sum((np.diff(matrix.indptr) > 0).sum() for matrix in truth.values())),
        "truth_pairs": int(sum(matrix.nnz for matrix in truth.values())),
        "labels_never_annotated": int((~used).sum()),
        "excluded_pairs": int(sum(matrix.nnz for matrix in corpus.excluded.values())),
        "content_sha256": digest.hexdigest(),
    }


def folder_of(config: FolderConfig, root: Path) -> Path:
    """Return the folder of a data set's files. Raises `CorpusError` that says where to get them."""
    folder = root / config.folder
    if not folder.is_dir():
        raise CorpusError(f"there is no folder {folder} with the files of {config.name}; {remedy(config)}")
    return folder


def remedy(config: FolderConfig) -> str:
    """Say where to get the files, for the end of an error message."""
    if config.source.endswith(ARCHIVES):
        return f"`python -m {DOWNLOAD} {config.name}` gets them from {config.source} (see data/README.md)"
    return f"get them from {config.source} (see data/README.md)"


RawDocument = tuple[str, str, str, list[int]]  # uid, title, text, label ids


def read_sides(
    config: FolderConfig | HubConfig,
    sources: dict[str, tuple[Path, Iterator[RawDocument | None], Faults]],
    scratch: str | Path | None,
) -> tuple[dict[str, Side], TemporaryDirectory]:
    """Spool the documents of "train" and "test" in a new folder of `scratch`, as many as `config` limits.

    A source is its name in errors, its documents, None for a broken one, and the notes on broken ones, which
    are raised after the last. The title of a document without text becomes its text. Documents without both
    are counted and left out.
    """
    folder = TemporaryDirectory(prefix=".reading-", dir=scratch)
    trained = config.train_documents
    limits = {
        "train": None if trained is None else trained + config.dev_documents,
        "test": config.test_documents,
    }
    sides = {}
    for split, (path, documents, faults) in sources.items():
        side = sides[split] = Side(path, Spool(Path(folder.name) / f"{split}.spool"), unit="document")
        n_read = 0
        for position, document in enumerate(islice(documents, limits[split])):
            n_read += 1
            if document is None or faults.count:
                continue
            uid, title, text, labels = document
            if not text.strip():
                title, text = "", title
            if text.strip():
                side.spool.add(position, uid, title, text, labels)
            else:
                side.left_out += 1
        side.spool.close()
        faults.check()
        side.total = n_read if limits[split] is None else None
    return sides, folder


def assemble_sides(
    config: FolderConfig | HubConfig,
    labels: pa.Table,
    sides: dict[str, Side],
    folder: TemporaryDirectory,
    manifest: dict[str, Any],
) -> Reading:
    """Make a `Reading` of the sides "train" and "test"; parameters as for `assemble`.

    Dev takes the `dev_documents` training documents whose uids have the lowest hashes. Raises `CorpusError`
    where none would be left to train on.
    """
    train = sides["train"]
    if len(train.spool) <= config.dev_documents:
        raise CorpusError(
            f"{train.source} holds {len(train.spool)} documents with a text, and dataset.dev_documents keeps "
            f"{config.dev_documents} of them apart, so none is left to train on; lower it"
        )
    assigned = np.full(len(train.spool), TRAIN, dtype=np.int8)
    hashed = hashes(train.spool.table()["uid"], "dev")
    assigned[lowest(hashed, np.arange(len(assigned)), config.dev_documents)] = DEV
    manifest = {"source": {split: side.total for split, side in sides.items()}} | manifest
    return assemble(config.name, labels, train, assigned, sides["test"], folder, manifest)


def assemble_grouped(
    config: SemanlinkConfig | DebianConfig,
    labels: pa.Table,
    source: str,
    documents: Iterable[RawDocument],
    groups: np.ndarray,
    scratch: str | Path | None,
    manifest: dict[str, Any],
) -> Reading:
    """Make a `Reading` of one source, divided by hashes of the uids, each of the `groups` on one side."""
    folder = TemporaryDirectory(prefix=".reading-", dir=scratch)
    side = Side(source, Spool(Path(folder.name) / "0.spool"))
    for number, document in enumerate(documents):
        side.spool.add(number, *document)
    side.spool.close()
    sizes = config.test_documents, config.dev_documents, config.train_documents
    assigned = split_by_group(side.spool, groups, *sizes)
    return assemble(config.name, labels, side, assigned, None, folder, manifest)
