"""The steps that readers of published data sets share: find the folder, read a side, assemble both."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from lmtx.config import FolderConfig, HubConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import DEV, TRAIN, Side, assemble
from lmtx.datasets.lines import Faults
from lmtx.datasets.spool import Spool, hashes, lowest

DOWNLOAD = "lmtx.datasets.download"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""Endings of the archives that `DOWNLOAD` can unpack."""


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


def limits(config: FolderConfig | HubConfig) -> dict[str, int | None]:
    """Return the number of documents to read from the start of each side; None: all."""
    trained = config.train_documents
    return {
        "train": None if trained is None else trained + config.dev_documents,
        "test": config.test_documents,
    }


def read_side(
    path: Path, documents: Any, split: str, limit: int | None, folder: TemporaryDirectory, faults: Faults
) -> Side:
    """Spool the documents of one side.

    Parameters
    ----------
    path
        The file they come from, for errors.
    documents
        Iterator of (uid, title, text, label ids), or None for a broken document.
    split
        "train" or "test", the name of the spool.
    limit
        Number of documents to read; None: all.
    folder
        The folder of the spool.
    faults
        The iterator's notes on broken documents, raised after the last one.

    The title of a document without text becomes its text. Documents without both are counted and left out.
    """
    side = Side(path, Spool(Path(folder.name) / f"{split}.spool"), unit="document")
    n_read = 0
    for position, document in enumerate(islice(documents, limit)):
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
    side.total = n_read if limit is None else None
    return side


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
