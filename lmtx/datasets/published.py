"""What the readers of downloaded data sets share: the folder, and how much of a side is read."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lmtx.config import FolderData
from lmtx.corpus import CorpusError
from lmtx.datasets.assemble import Side
from lmtx.datasets.lines import Faults
from lmtx.datasets.spool import Spool

DOWNLOAD = "lmtx.datasets.download"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""Endings of what `DOWNLOAD` can fetch."""


def folder_of(config: FolderData, root: Path) -> Path:
    """The folder of a data set's files. Raises `CorpusError` that says where to get them."""
    folder = root / config.folder
    if not folder.is_dir():
        raise CorpusError(f"there is no folder {folder} with the files of {config.name}; {remedy(config)}")
    return folder


def remedy(config: FolderData) -> str:
    """How a person gets the files, for the end of an error message."""
    if config.source.endswith(ARCHIVES):
        return f"`python -m {DOWNLOAD} {config.name}` gets them from {config.source} (see data/README.md)"
    return f"get them from {config.source} (see data/README.md)"


def limits(config: FolderData) -> dict[str, int | None]:
    """How many documents of the start of each side are read; None: all."""
    trained = config.train_documents
    return {
        "train": None if trained is None else trained + config.dev_documents,
        "test": config.test_documents,
    }


def check_dev(config: Any, side: Side) -> None:
    """Raise `CorpusError` where the documents kept apart would leave none to train on."""
    if len(side.spool) <= config.dev_documents:
        raise CorpusError(
            f"{side.source} holds {len(side.spool)} documents with a text, and dataset.dev_documents keeps "
            f"{config.dev_documents} of them apart, so none is left to train on; lower it"
        )


def read_side(
    path: Path, documents: Any, split: str, limit: int | None, folder: TemporaryDirectory, faults: Faults
) -> Side:
    """Spool the documents of one side.

    Parameters
    ----------
    path
        The file they come from, for errors.
    documents
        Iterator of (uid, title, text, label ids), or None for one whose fault was noted.
    split
        "train" or "test", which names the spool.
    limit
        How many are read; None: all.
    folder
        Where the spool is put.
    faults
        Where the iterator notes what it finds wrong; raised here once all are read.

    A document whose text is empty gets its title for a text; one without both is left out and counted.
    """
    side = Side(path, Spool(Path(folder.name) / f"{split}.spool"), unit="document")
    seen = 0
    for found in islice(documents, limit):
        position, seen = seen, seen + 1
        if found is None or faults.count:
            continue
        uid, title, text, labels = found
        if not text.strip():
            title, text = "", title
        if not text.strip():
            side.left_out += 1
            continue
        side.spool.add(position, uid, title, text, labels)
    side.spool.close()
    faults.check()
    side.total = seen if limit is None else None
    return side
