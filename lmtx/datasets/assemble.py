"""From spooled documents to a `Reading`: divide each side into splits, check and count."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.config import FolderConfig, HeldOutConfig, HubConfig
from lmtx.corpus import LABEL_SCHEMA, SPLITS, Corpus, CorpusError, check_table, mapped
from lmtx.datasets import Reading
from lmtx.datasets.lines import Faults, whole
from lmtx.datasets.spool import DEV, TEST, TRAIN, RawDocument, Side, hashes, lowest, split_by_group, spool


def label_table(uids: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """Make the table of labels; a label's row number is its id."""
    return pa.table({"uid": whole(uids), "text": whole(texts)}, LABEL_SCHEMA)


def described(name: str, others: Iterable[str]) -> str:
    """Return `name` and, after a colon, the distinct `others` that differ from it."""
    description = ", ".join(dict.fromkeys(other for other in others if other and other != name))
    return f"{name}: {description}" if description else name


def assemble_sides(
    config: FolderConfig | HubConfig, labels: pa.Table, sides: dict[str, Side], manifest: dict[str, Any]
) -> Reading:
    """Make a `Reading` of the sides "train" and "test" (`read_sides`); parameters as for `assemble`.

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


def read_sides(
    config: FolderConfig | HubConfig, sources: dict[str, tuple[Faults, Iterable[RawDocument]]], scratch: Path
) -> dict[str, Side]:
    """Spool the documents of "train" and "test", as many as `config` limits; beside them are their faults."""
    train = config.train_documents
    limits = {"train": train and train + config.dev_documents, "test": config.test_documents}
    return {split: spool(*source, scratch, limits[split]) for split, source in sources.items()}


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

    `labels` is made by `label_table`, `source` a name for errors; a document is its uid, title, text and
    annotated label ids. `groups`, int (n,), numbers each document's group, which stays on one side; None: a
    document stands alone. The manifest's entries are joined by the counts of all readers.
    """
    numbered = ((number, *document) for number, document in enumerate(documents))
    side = spool(Faults(Path(source)), numbered, scratch)
    # A document without a text was left out of the side; the others keep their groups.
    groups = np.arange(len(side)) if groups is None else groups[side.positions]
    sizes = config.test_documents, config.dev_documents, config.train_documents
    assigned = split_by_group(side, groups, *sizes)
    return assemble(config.name, labels, side, assigned, None, manifest or {})


def assemble(
    name: str, labels: pa.Table, main: Side, assigned: np.ndarray, test: Side | None, manifest: dict[str, Any]
) -> Reading:
    """Make a `Reading` of spooled documents: those of `test` and, where that is None, some of `main`.

    `assigned`, int8 (n,), gives the split of each document of `main`, as its number in `SPLITS`; -1 for
    none. The manifest's entries are joined by the counts of all readers. Raises `CorpusError`, which names
    the data set, when train, test or the labels are empty, or a uid stands twice.
    """
    # Check first: the rest takes minutes for millions of documents.
    sides = [main] if test is None else [main, test]
    for side in sides:
        side.check_uids()
    check_table(labels, "labels", name)
    # Documents: those of `main` are distributed over files, the file of `test` stays whole.
    files = {split: main.path.with_name(f"{split}.arrow") for split in SPLITS}
    divided = SPLITS if test is None else SPLITS[:TEST]
    _divide(main.path, assigned, [files[split] for split in divided])
    main.path.unlink()
    # Annotations and excluded pairs, the same way.
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
    return Reading(corpus, truth, manifest | _counts(corpus, truth, sides))


def _divide(path: Path, assigned: np.ndarray, files: Sequence[Path]) -> None:
    """Distribute the rows of an Arrow file over new ones, batch by batch, in order.

    `assigned`, int8 (n,), gives for each row the number of its file in `files`, or -1 for none.
    """
    with ExitStack() as opened:
        reader = pa.ipc.open_file(opened.enter_context(pa.OSFile(str(path))))
        writers = [opened.enter_context(pa.ipc.new_file(file, reader.schema)) for file in files]
        start = 0
        for batch in map(reader.get_batch, range(reader.num_record_batches)):
            assigned_in_batch = assigned[start : start + len(batch)]
            start += len(batch)
            for number, writer in enumerate(writers):
                if (chosen := assigned_in_batch == number).any():
                    writer.write_batch(batch.filter(pa.array(chosen)))


def _counts(corpus: Corpus, truth: dict[str, Any], sides: list[Side]) -> dict[str, Any]:
    """Return the entries of every manifest."""
    digest = hashlib.sha256("\0".join(side.digest for side in sides).encode())
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
