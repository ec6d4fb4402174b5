"""Pairs of texts, a batch at a time: the input of a training step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from lmtx.config import TrainingConfig
from lmtx.encoder import Tokens

_MATRICES = ("positives", "rejected", "excluded", "p_yes")


@dataclass(frozen=True)
class Batch:
    """One step's texts as token ids, and which of them belong together."""

    documents: list[list[int]]  # B of them
    labels: list[list[int]]  # U distinct ones
    positives: np.ndarray  # int64 (B,): the column of each document's positive
    ignored: np.ndarray  # bool (B, U): pairs that are no negatives
    weights: np.ndarray | None = None  # float32 (B,): of each document in the loss; None: all the same


class PairSource(Protocol):
    """Supplies the pairs that an encoder is trained on."""

    @property
    def trainable(self) -> np.ndarray:
        """Rows of the documents that have a pair."""

    def batches(self, settings: TrainingConfig) -> Iterator[Batch]:
        """Trainable documents once an epoch, in an order and with draws fixed by `settings.seed`."""


@dataclass(frozen=True)
class PseudoLabels:
    """A teacher's verdicts as a pair source. The matrices are CSR (n_docs, L), boolean but for `p_yes`."""

    documents: Sequence[list[int]]  # token ids
    labels: Sequence[list[int]]  # token ids
    positives: sp.csr_array  # pairs that the teacher accepted
    rejected: sp.csr_array  # pairs that it rejected
    excluded: sp.csr_array  # pairs that are no candidates, so no negatives either
    p_yes: sp.csr_array | None = None  # of the accepted pairs: their weights in the loss; None: all the same

    @property
    def trainable(self) -> np.ndarray:
        return np.flatnonzero(np.diff(self.positives.indptr))

    def batches(self, settings: TrainingConfig) -> Iterator[Batch]:
        rng = np.random.default_rng(settings.seed)
        no_negatives = self.positives + self.excluded
        for rows in row_batches(self.trainable, settings, rng):
            # Draw one of each document's positives, anew in every epoch.
            drawn = np.array([rng.choice(_row(self.positives, row)) for row in rows])
            # Labels that the teacher rejected join as hard negatives.
            joined, most = [], settings.rejected_negatives
            for rejected in (_row(self.rejected, row) for row in rows if most):
                joined.append(rng.choice(rejected, min(len(rejected), most), replace=False))
            columns = np.unique(np.concatenate([drawn, *joined]))
            positives = np.searchsorted(columns, drawn)
            # A document's other positives are none of its negatives, nor are excluded pairs.
            ignored = no_negatives[rows][:, columns].toarray()
            if settings.negatives == "rejected":
                ignored |= ~self.rejected[rows][:, columns].toarray()
            elif settings.negatives == "random":
                # Leave each document some of its negatives, drawn at random, by ignoring the others too.
                for row, positive in zip(ignored, positives, strict=True):
                    negatives = np.setdiff1d(np.flatnonzero(~row), positive)
                    row[rng.permutation(negatives)[settings.hard_negatives :]] = True
            weights = None if self.p_yes is None else np.float32(self.p_yes[rows, drawn]).ravel()
            documents, labels = [self.documents[row] for row in rows], [self.labels[c] for c in columns]
            yield Batch(documents, labels, positives, ignored, weights)

    def save(self, folder: Path) -> None:
        """Write all of it to `folder`, for the processes that share a training."""
        Tokens.write(folder / "documents", self.documents)
        Tokens.write(folder / "labels", self.labels)
        for name in _MATRICES:
            if getattr(self, name) is not None:
                sp.save_npz(folder / f"{name}.npz", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "PseudoLabels":
        """Open the files of `save`; the texts stay on disk."""
        files = {name: folder / f"{name}.npz" for name in _MATRICES}
        matrices = {name: sp.load_npz(file) for name, file in files.items() if file.is_file()}
        return cls(Tokens.load(folder / "documents"), Tokens.load(folder / "labels"), **matrices)


def row_batches(rows: np.ndarray, settings: TrainingConfig, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows once an epoch, in an order that `rng` draws anew, `settings.batch_size` at a time."""
    size = settings.batch_size
    for _ in range(settings.epochs):
        order = rng.permutation(rows)
        for batch in range(steps_for(len(rows), settings) // settings.epochs):
            yield order[batch * size : (batch + 1) * size]


def steps_for(documents: int, settings: TrainingConfig) -> int:
    """The number of batches in all epochs over so many documents."""
    batches, rest = divmod(documents, settings.batch_size)
    # A single batch stays, however small.
    return settings.epochs * (batches + (rest > 0 and not (settings.drop_last and batches > 0)))


def alike(texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Which texts are the same: bool (n, n), True on the diagonal.

    A label that stands twice in a batch would be its own negative.
    """
    numbers: dict[tuple[int, ...], int] = {}
    numbered = [numbers.setdefault(tuple(text), len(numbers)) for text in texts]
    return np.equal.outer(numbered, numbered)


def _row(matrix: sp.csr_array, row: int) -> np.ndarray:
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
