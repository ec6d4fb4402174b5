"""What readers read, in a form that tests compare, and the sections of data sets that they get."""

from pathlib import Path

import pytest

from lmtx.config import OwnConfig
from lmtx.corpus import SPLITS, CorpusError
from lmtx.datasets import Reading, read

BASE = {
    "name": "toy",
    "test_documents": 1,
    "dev_documents": 1,
    "train_documents": None,
    "wording": "tag",
    "propensity": "other",
}


def own(documents="documents.jsonl", labels="labels.txt", test=None, **changes) -> OwnConfig:
    files = {"documents": documents, "labels": labels, "test": test}
    return OwnConfig(reader="own", **BASE | {"test_documents": None} | files | changes)


def documents(reading: Reading, column: str = "uid", splits=SPLITS) -> dict[str, tuple[str, str, list]]:
    """Uid -> title, text and annotated labels, these by a column of theirs; None: by number."""
    labels = reading.corpus.labels
    names = labels[column].to_pylist() if column else range(labels.num_rows)
    found = {}
    for split in splits:
        rows = reading.truth[split].tolil().rows
        for document, row in zip(reading.corpus.documents(split).to_pylist(), rows, strict=True):
            found[document["uid"]] = document["title"], document["text"], [names[label] for label in row]
    return found


def sizes(reading: Reading) -> list[int]:
    return [reading.corpus.documents(split).num_rows for split in SPLITS]


def message(config, root: str | Path = ".") -> str:
    """The error of a data set that cannot be read."""
    with pytest.raises(CorpusError) as error:
        read(config, root)
    return str(error.value)
