"""Readers of data sets: each turns its source into a `Corpus`, its annotations and a manifest.

The reader NAME is the function `read(config, root, scratch) -> Reading` of the module or folder
`lmtx.datasets.NAME`. `root` is the base folder of relative paths in `config`; `scratch` is an empty folder
for the reader's files, which is there as long as the `Reading`.
"""

import shutil
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import DataConfig, ExpectedConfig
from lmtx.corpus import SPLITS, Corpus, save_truth
from lmtx.files import replacing


@dataclass(frozen=True)
class Reading:
    """A data set, as its reader returns it."""

    corpus: Corpus  # documents and labels, without annotations
    truth: dict[str, sp.csr_array]  # the annotations of each split: boolean CSR (n_docs, L)
    manifest: dict[str, Any]  # counts and origin, as plain data for a JSON file
    scratch: TemporaryDirectory | None = None  # where a reader left tables as Arrow files, TABLE.arrow

    def save(self, corpus: str | Path, truth: str | Path) -> None:
        """Write the corpus and, in another folder, the annotations; each appears whole or not at all.

        Tables that are files already are moved, not copied; the tables of `self.corpus` stay readable.
        """
        files = list(Path(self.scratch.name).glob("*.arrow")) if self.scratch else []
        moved = {file.stem: self.corpus.documents(file.stem).slice(0, 0) for file in files}
        with replacing(corpus) as scratch:
            replace(self.corpus, **moved).save(scratch)
            for file in files:
                shutil.move(file, scratch / file.name)
        save_truth(truth, self.truth)


def read(config: DataConfig, root: str | Path = ".", scratch: str | Path | None = None) -> Reading:
    """Read a data set with the reader that `config.reader` names; relative paths begin at the folder `root`.

    `scratch` is a folder for the tables of a large data set until they are saved; it is made if missing. On
    the disk of the saved tables it avoids a copy. None: the system's folder for temporary files.

    Raises `CorpusError` when the source cannot be read as configured.
    """
    if scratch is not None:
        Path(scratch).mkdir(parents=True, exist_ok=True)
    folder = TemporaryDirectory(prefix=".reading-", dir=scratch)
    reading = import_module(f"{__name__}.{config.reader}").read(config, Path(root), Path(folder.name))
    return replace(reading, scratch=folder)


def word_counts(corpus: str | Path, table: str) -> np.ndarray:
    """Count the words of each text, separated by white space: int32 (n,), read batch by batch.

    `corpus` is a folder that `Reading.save` wrote, `table` "train", "dev", "test" or "labels".
    """
    with pa.OSFile(str(Path(corpus) / f"{table}.arrow")) as source, pa.ipc.open_file(source) as reader:
        batches = (reader.get_batch(i)["text"].to_pylist() for i in range(reader.num_record_batches))
        return np.fromiter((len(text.split()) for texts in batches for text in texts), dtype=np.int32)


def statistics(
    dataset: str, words: dict[str, np.ndarray], truth: dict[str, sp.csr_array], manifest: dict[str, Any]
) -> dict[str, Any]:
    """Describe a data set in numbers: sizes, text lengths in words, and counts of the test annotations.

    `words` holds the `word_counts` of each split and of the labels, `truth` what `Reading.truth` does.
    """
    annotated = np.diff(truth["test"].indptr)
    annotated = annotated[annotated > 0]
    return {
        "dataset": dataset,
        "documents": {split: len(words[split]) for split in SPLITS},
        "labels": len(words["labels"]),
        "with_truth": len(annotated),
        "mean_labels_per_document": round(float(annotated.mean()), 3) if len(annotated) else None,
        "mean_words_per_document": round(float(np.concatenate([words[s] for s in SPLITS]).mean()), 2),
        "mean_words_per_label": round(float(words["labels"].mean()), 2),
        "truth_labels": len(np.unique(truth["test"].indices)),
        "manifest": manifest,
    }


def differences(expected: ExpectedConfig | None, manifest: dict[str, Any]) -> list[str]:
    """Describe each difference between the published counts of a data set and those of its files.

    Empty without a difference or without published counts. A side that was not read to its end is skipped.
    """
    if expected is None:
        return []
    counts = manifest.get("source", {}) | {"labels": manifest["labels"]}
    return [
        f"{name}: {counts[name]:,} instead of {wanted:,} ({counts[name] - wanted:+,})"
        for name, wanted in expected.model_dump().items()
        if counts.get(name) is not None and counts[name] != wanted
    ]
