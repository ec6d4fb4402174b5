"""A saved corpus in numbers, read batch by batch; and whether they are what its authors publish."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import ExpectedConfig
from lmtx.corpus import SPLITS


def word_counts(corpus: str | Path, table: str) -> np.ndarray:
    """Words of each text, separated by white space: int32 (n,).

    Parameters
    ----------
    corpus
        A folder that `Corpus.save` or `Reading.save` wrote.
    table
        "train", "dev", "test" or "labels".
    """
    with pa.OSFile(str(Path(corpus) / f"{table}.arrow")) as source:
        reader = pa.ipc.open_file(source)
        parts = [np.empty(0, dtype=np.int32)]
        for i in range(reader.num_record_batches):
            texts = reader.get_batch(i)["text"]
            counts = (len(text.as_py().split()) for text in texts)
            parts.append(np.fromiter(counts, dtype=np.int32, count=len(texts)))
    return np.concatenate(parts)


def statistics(
    dataset: str, words: dict[str, np.ndarray], truth: dict[str, sp.csr_array], manifest: dict[str, Any]
) -> dict[str, Any]:
    """A data set in numbers: sizes, text lengths in words, and the test annotations counted.

    Parameters
    ----------
    dataset
        Its name.
    words
        The `word_counts` of each split and of the labels.
    truth
        The annotations of each split: boolean CSR (n_docs, L).
    manifest
        What its reader says.
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
