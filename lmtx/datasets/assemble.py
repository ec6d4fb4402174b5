"""From spooled documents to a `Reading`: divide each side into splits, check and count."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.config import FolderConfig, HeldOutConfig, HubConfig
from lmtx.corpus import LABEL_SCHEMA, SPLITS, Corpus, CorpusError, check_table, mapped
from lmtx.datasets import Reading
from lmtx.datasets.lines import Faults, whole
from lmtx.datasets.spool import (
    DEV,
    TEST,
    TRAIN,
    RawDocument,
    Side,
    divide,
    hashes,
    lowest,
    split_by_group,
    spool,
)

DOWNLOAD = "lmtx.datasets.download"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""Endings of the archives that `DOWNLOAD` can unpack."""


def label_table(uids: Sequence[str], texts: Sequence[str]) -> pa.Table:
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
    files = {split: main.path.with_name(f"{split}.arrow") for split in SPLITS}
    divided = SPLITS if test is None else SPLITS[:TEST]
    divide(main.path, assigned, [files[split] for split in divided])
    main.path.unlink()
    annotated, never_candidates = main.truth(labels.num_rows), main.excluded_pairs(labels.num_rows)
    rows = {split: np.flatnonzero(assigned == number) for number, split in enumerate(divided)}
    truth = {split: annotated[rows[split]] for split in divided}
    excluded = {split: never_candidates[rows[split]] for split in divided}
    if test is not None:
        test.path.rename(files["test"])
        truth["test"] = test.truth(labels.num_rows)
        excluded["test"] = test.excluded_pairs(labels.num_rows)
    corpus = Corpus(**{s: mapped(file) for s, file in files.items()}, labels=labels, excluded=excluded)
    for split in ("train", "test"):
        if not corpus.documents(split).num_rows:
            raise CorpusError(f"{name}: no document is left for {split}; at least one is needed")
    return Reading(corpus, truth, manifest | _counts(corpus, truth, sides), files)


def _counts(corpus: Corpus, truth: dict[str, Any], sides: list[Side]) -> dict[str, Any]:
    """Return the entries of every manifest."""
    digest = hashlib.sha256("\0".join(side.digest() for side in sides).encode())
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


def find(config: FolderConfig, root: Path, names: tuple[str, ...]) -> Path:
    """Find the first of these files that is in a data set's folder, as it is or with `.gz` added.

    Raises `CorpusError` that says where to get them.
    """
    folder = root / config.folder
    for file in (folder / f"{name}{ending}" for name in names for ending in ("", ".gz")):
        if file.is_file():
            return file
    fault = f"there is no folder {folder} with the files of {config.name}"
    if folder.is_dir():
        fault = f"{folder} has none of the files {', '.join(names)} (or .gz)"
    command = f"`python -m {DOWNLOAD} {config.name}` gets them"
    how = command if config.source.endswith(ARCHIVES) else "get them"
    raise CorpusError(f"{fault}; {how} from {config.source} (see data/README.md)")


def read_sides(
    config: FolderConfig | HubConfig, sources: dict[str, tuple[Faults, Iterable[RawDocument]]], scratch: Path
) -> dict[str, Side]:
    """Spool the documents of "train" and "test" in `scratch`, as many as `config` limits.

    A source is the faults that are noted while its documents are read, and these.
    """
    trained = config.train_documents
    limits = {
        "train": None if trained is None else trained + config.dev_documents,
        "test": config.test_documents,
    }
    return {
        split: spool(faults.source, documents, scratch, faults, limits[split], "document")
        for split, (faults, documents) in sources.items()
    }


def assemble_sides(
    config: FolderConfig | HubConfig, labels: pa.Table, sides: dict[str, Side], manifest: dict[str, Any]
) -> Reading:
    """Make a `Reading` of the sides "train" and "test"; parameters as for `assemble`.

    Dev takes the `dev_documents` training documents whose uids have the lowest hashes. Raises `CorpusError`
    where none would be left to train on.
    """
    train = sides["train"]
    if len(train) <= config.dev_documents:
        raise CorpusError(
            f"{train.source} holds {len(train)} documents with a text, and dataset.dev_documents keeps "
            f"{config.dev_documents} of them apart, so none is left to train on; lower it"
        )
    assigned = np.full(len(train), TRAIN, dtype=np.int8)
    hashed = hashes(train.table()["uid"], "dev")
    assigned[lowest(hashed, np.arange(len(assigned)), config.dev_documents)] = DEV
    manifest = {"source": {split: side.total for split, side in sides.items()}} | manifest
    return assemble(config.name, labels, train, assigned, sides["test"], manifest)


def assemble_held_out(
    config: HeldOutConfig,
    labels: pa.Table,
    source: str,
    documents: Iterable[tuple[str, str, str, Iterable[int]]],
    scratch: Path,
    groups: np.ndarray | None = None,
    manifest: dict[str, Any] | None = None,
) -> Reading:
    """Make a `Reading` of one source, divided by hashes of the uids.

    Parameters
    ----------
    labels
        Made by `label_table`; a label's row number is its id.
    source
        Its name in errors.
    documents
        The uid, title, text and annotated label ids of each.
    groups
        int (n,): the number of each document's group; a group stays on one side. None: each stands alone.
    manifest
        Entries besides the counts of all readers.
    """
    side = spool(source, ((number, *document) for number, document in enumerate(documents)), scratch)
    groups = np.arange(len(side)) if groups is None else groups
    sizes = config.test_documents, config.dev_documents, config.train_documents
    assigned = split_by_group(side, groups, *sizes)
    return assemble(config.name, labels, side, assigned, None, manifest or {})
