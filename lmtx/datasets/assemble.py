"""From documents to a `Reading`: spool each side, divide it into splits, check and count."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.config import DebianConfig, FolderConfig, HubConfig, SemanlinkConfig
from lmtx.corpus import LABEL_SCHEMA, SPLITS, Corpus, CorpusError, check_table, doubled_uids
from lmtx.datasets import Reading
from lmtx.datasets.lines import Faults, whole
from lmtx.datasets.spool import DEV, TEST, TRAIN, Spool, divide, hashes, lowest, mapped, split_by_group

DOWNLOAD = "lmtx.datasets.download"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""Endings of the archives that `DOWNLOAD` can unpack."""

RawDocument = tuple[int, str, str, str, list[int]]  # position in its source, uid, title, text, label ids


@dataclass
class Side:
    """The documents of one source, and which pairs of them are never candidates."""

    source: Path | str  # its name in errors
    spool: Spool
    unit: str  # of a document's position
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
        n_positions = int(positions[-1]) + 1 if len(positions) else 0
        pairs = self.excluded[self.excluded[:, 0] < n_positions]
        ones = np.ones(len(pairs), dtype=bool)
        return sp.coo_array((ones, pairs.T), shape=(n_positions, n_labels)).tocsr()[positions]


def spool_documents(
    source: Path | str,
    documents: Iterable[RawDocument],
    scratch: Path,
    faults: Faults | None = None,
    limit: int | None = None,
    unit: str = "line",
) -> Side:
    """Write documents into a new spool in `scratch`, the first `limit` of them (None: all).

    The title of a document without text becomes its text. Documents without both are counted and left out.
    Raises the `faults` that `documents` noted, if any.
    """
    side = Side(source, Spool(scratch / f"{len(list(scratch.iterdir()))}.spool"), unit)
    for position, uid, title, text, labels in islice(documents, limit):
        if not text.strip():
            title, text = "", title
        if not text.strip():
            side.left_out += 1
        elif faults is None or not faults.count:
            side.spool.add(position, uid, title, text, labels)
    side.spool.close()
    if faults is not None:
        faults.check()
    side.total = len(side.spool) + side.left_out if limit is None else None
    return side


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
    manifest
        The reader's entries; the counts of all readers are added.

    Raises `CorpusError` when train, test or the labels are empty, or a uid stands twice.
    """
    sides = [main] if test is None else [main, test]
    for side in sides:
        side.check_uids()
    check_table(labels, "labels", name)
    files = {split: main.spool.path.with_name(f"{split}.arrow") for split in SPLITS}
    divided = SPLITS if test is None else SPLITS[:TEST]
    divide(main.spool.path, assigned, [files[split] for split in divided])
    main.spool.path.unlink()
    annotated, never_candidates = main.spool.truth(labels.num_rows), main.excluded_pairs(labels.num_rows)
    truth, excluded = {}, {}
    for number, split in enumerate(divided):
        rows = np.flatnonzero(assigned == number)
        truth[split], excluded[split] = annotated[rows], never_candidates[rows]
    if test is not None:
        test.spool.path.rename(files["test"])
        truth["test"] = test.spool.truth(labels.num_rows)
        excluded["test"] = test.excluded_pairs(labels.num_rows)
    tables = {split: mapped(file) for split, file in files.items()}
    for split in ("train", "test"):
        if not tables[split].num_rows:
            raise CorpusError(f"{name}: no document is left for {split}; at least one is needed")
    corpus = Corpus(**tables, labels=labels, excluded=excluded)
    return Reading(corpus, truth, manifest | _counts(corpus, truth, sides), files)


def _counts(corpus: Corpus, truth: dict[str, sp.csr_array], sides: list[Side]) -> dict[str, Any]:
    """Return the entries of every manifest."""
    digest = hashlib.sha256("\0".join(side.spool.digest() for side in sides).encode())
    for column in ("uid", "text"):
        digest.update("\0".join(corpus.labels[column].to_pylist()).encode())
    for split in truth:
        digest.update(np.asarray(corpus.excluded[split].shape).tobytes())
        digest.update(corpus.excluded[split].indices.astype(np.int32).tobytes())
    splits = {split: corpus.documents(split).num_rows for split in SPLITS}
    annotated_labels = np.concatenate([matrix.indices for matrix in truth.values()])
    return {
        "documents": sum(splits.values()),
        "labels": corpus.labels.num_rows,
        "splits": splits,
        "without_text_left_out": sum(side.left_out for side in sides),
        "with_truth": int(sum((np.diff(matrix.indptr) > 0).sum() for matrix in truth.values())),
        "truth_pairs": len(annotated_labels),
        "labels_never_annotated": corpus.labels.num_rows - len(np.unique(annotated_labels)),
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


def read_sides(
    config: FolderConfig | HubConfig,
    sources: dict[str, tuple[Path, Iterable[RawDocument], Faults]],
    scratch: Path,
) -> dict[str, Side]:
    """Spool the documents of "train" and "test" in `scratch`, as many as `config` limits.

    A source is its name in errors, its documents, and the faults that are noted while they are read.
    """
    trained = config.train_documents
    limits = {
        "train": None if trained is None else trained + config.dev_documents,
        "test": config.test_documents,
    }
    return {
        split: spool_documents(path, documents, scratch, faults, limits[split], "document")
        for split, (path, documents, faults) in sources.items()
    }


def assemble_sides(
    config: FolderConfig | HubConfig, labels: pa.Table, sides: dict[str, Side], manifest: dict[str, Any]
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
    return assemble(config.name, labels, train, assigned, sides["test"], manifest)


def assemble_grouped(
    config: SemanlinkConfig | DebianConfig,
    labels: pa.Table,
    source: str,
    documents: Iterable[tuple[str, str, str, list[int]]],
    groups: np.ndarray,
    scratch: Path,
    manifest: dict[str, Any],
) -> Reading:
    """Make a `Reading` of one source, divided by hashes of the uids, each of the `groups` on one side."""
    numbered = ((number, *document) for number, document in enumerate(documents))
    side = spool_documents(source, numbered, scratch)
    sizes = config.test_documents, config.dev_documents, config.train_documents
    assigned = split_by_group(side.spool, groups, *sizes)
    return assemble(config.name, labels, side, assigned, None, manifest)
