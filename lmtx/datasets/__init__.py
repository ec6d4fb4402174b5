"""Readers of data sets: each turns its source into a `Corpus`, its annotations and a manifest.

The reader NAME is the function `read` of the module or folder `lmtx.datasets.NAME`.
"""

import shutil
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from lmtx.config import DataConfig
from lmtx.corpus import Corpus, save_truth
from lmtx.files import replacing


@dataclass(frozen=True)
class Reading:
    """A data set, as its reader returns it.

    Attributes
    ----------
    corpus
        Documents and labels, without annotations.
    truth
        The annotations of each split: boolean CSR (n_docs, L).
    manifest
        Counts and origin, as plain data for a JSON file.
    files
        Split -> an Arrow file of its table, which `save` moves instead of writing the table.
    folder
        The temporary folder of `files`.
    """

    corpus: Corpus
    truth: dict[str, sp.csr_array]
    manifest: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)
    folder: Any = None

    def save(self, corpus: str | Path, truth: str | Path) -> None:
        """Write the corpus and, in another folder, the annotations; each appears whole or not at all.

        The tables of the corpus stay readable, but only one `save` can move `files`.
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
        The base folder of relative paths in `config`.
    scratch
        A folder for the tables of a large data set until they are saved; it is made if missing. On the disk
        of the saved tables it avoids a copy. None: the system's folder for temporary files.

    Raises
    ------
    CorpusError
        When the source cannot be read as configured.
    """
    if scratch is not None:
        Path(scratch).mkdir(parents=True, exist_ok=True)
    return import_module(f"{__name__}.{config.reader}").read(config, Path(root), scratch)
