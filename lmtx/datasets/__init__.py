"""Readers of data sets: each turns its source into a `Corpus`, its annotations and a manifest."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import scipy.sparse as sp

from lmtx.config import PydocsData
from lmtx.corpus import Corpus

# Reader's name -> the module whose `read` it is; imported when it is used.
READERS = {"pydocs": "lmtx.datasets.pydocs"}


@dataclass(frozen=True)
class Reading:
    """A data set as its reader hands it over.

    Attributes
    ----------
    corpus
        Documents and labels, without annotations.
    truth
        The annotations of each split: boolean CSR (n_docs, L).
    manifest
        What was read, as plain data for a JSON file.
    """

    corpus: Corpus
    truth: dict[str, sp.csr_array]
    manifest: dict[str, Any]


def read(config: PydocsData) -> Reading:
    """Read a data set with the reader that `config.reader` names.

    Raises `lmtx.corpus.CorpusError` when the source cannot be read as configured.
    """
    return import_module(READERS[config.reader]).read(config)
