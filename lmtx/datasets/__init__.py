"""Readers of data sets: each turns its source into a `Corpus`, its annotations and a manifest."""

import shutil
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from lmtx.config import DataConfig, PydocsConfig
from lmtx.corpus import Corpus, save_truth
from lmtx.files import replacing

# Reader's name -> the module whose `read` it is; imported when it is used.
READERS = {
    "semanlink": "lmtx.datasets.semanlink",
    "debian": "lmtx.datasets.debian",
    "pydocs": "lmtx.datasets.pydocs",
    "xmc": "lmtx.datasets.xmc",
    "pecos": "lmtx.datasets.pecos",
    "own": "lmtx.datasets.own",
    "hub": "lmtx.datasets.hub",
}


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
    files
        Split -> an Arrow file that holds its table already; `save` moves it instead of writing it again.
    folder
        What keeps the folder of `files` until they are saved.
    """

    corpus: Corpus
    truth: dict[str, sp.csr_array]
    manifest: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)
    folder: Any = None

    def save(self, corpus: str | Path, truth: str | Path) -> None:
        """Write the corpus and, apart from it, the annotations; each folder appears whole or not at all.

        The tables of the corpus stay readable, but a second `save` finds no files to move.
        """
        if not self.files:
            self.corpus.save(corpus)
        else:
            written = {split: self.corpus.documents(split).slice(0, 0) for split in self.files}
            rest = Corpus(**written, labels=self.corpus.labels, excluded=self.corpus.excluded)
            with replacing(corpus) as scratch:
                rest.save(scratch)
                for split, file in self.files.items():
                    shutil.move(file, scratch / f"{split}.arrow")
        save_truth(truth, self.truth)


def read(config: DataConfig, root: str | Path = ".", scratch: str | Path | None = None) -> Reading:
    """Read a data set with the reader that `config.reader` names.

    Parameters
    ----------
    config
        The section `dataset` of the parameters.
    root
        The folder that paths in `config` are relative to.
    scratch
        An existing folder, or one to be made, for the tables of a large data set until they are saved;
        on the disk that they are saved to they need not be copied. None: the system's folder for
        temporary files.

    Raises
    ------
    CorpusError
        When the source cannot be read as configured.
    """
    reader = import_module(READERS[config.reader]).read
    if isinstance(config, PydocsConfig):
        return reader(config)
    if scratch is not None:
        Path(scratch).mkdir(parents=True, exist_ok=True)
    return reader(config, Path(root), scratch)
