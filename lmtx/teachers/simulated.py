"""A simulation of a teacher: it reads the annotations, and errs at known rates.

It answers "how good would the student be if the teacher were so good?", and nothing else. Its
results are never zero-shot, and each says so by `notes`.
"""

from collections.abc import Generator, Mapping
from hashlib import blake2b

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lmtx.config import SimulatedConfig
from lmtx.corpus import Corpus
from lmtx.teachers.base import Answers, Teacher
from lmtx.teachers.pairs import NO, YES, DocumentPairs, Pairs
from lmtx.teachers.store import VerdictStore

_BLOCK = 16_384  # pairs stored at a time


class SimulatedTeacher(Teacher):
    """Says yes to a share of the annotated pairs, and to another share of the rest.

    Whether it errs on a pair depends on the seed and the uids of the pair alone: on neither the order of the
    questions nor what else is asked. A higher rate says yes wherever a lower one does. `truth` holds the
    annotations: for each split that may be judged a boolean CSR (n_docs, L); another shape is a `ValueError`.
    """

    notes = ("simulation: reads annotations",)

    def __init__(
        self,
        config: SimulatedConfig,
        *,
        store: VerdictStore,
        corpus: Corpus,
        truth: Mapping[str, sp.csr_array],
    ):
        self._config = config
        for split, matrix in truth.items():
            shape = (corpus.documents(split).num_rows, corpus.labels.num_rows)
            if matrix.shape != shape:
                raise ValueError(f"the annotations of {split} are {matrix.shape}, not {shape}")
        uids = [uid for split in truth for uid in corpus.documents(split)["uid"].to_pylist()]
        self._rows = pd.Index(uids)
        self._columns = pd.Index(corpus.labels["uid"].to_pylist())
        self._truth = sp.csr_array(sp.vstack(list(truth.values()), format="csr"))
        self._truth.sort_indices()
        digest = blake2b(digest_size=16)
        for part in (self._truth.indptr, self._truth.indices):
            digest.update(np.ascontiguousarray(part, dtype="<i8"))
        for names in (self._rows, self._columns):
            digest.update("\0".join(names).encode())
        identity = {
            "kind": "simulated",
            "true_yes": config.true_yes,
            "false_yes": config.false_yes,
            "seed": config.seed,
            "annotations": digest.hexdigest(),
        }
        super().__init__(config.name, identity, store)

    def ask(self, pairs: Pairs) -> Generator[Answers]:
        rows = _row_numbers(self._rows, pairs.documents["uid"].to_pylist(), "document")[pairs.rows]
        columns = _row_numbers(self._columns, pairs.labels["uid"].to_pylist(), "label")[pairs.columns]
        for start in range(0, len(pairs), _BLOCK):
            block = slice(start, start + _BLOCK)
            relevant = np.asarray(self._truth[rows[block], columns[block]]).ravel()
            rate = np.where(relevant, self._config.true_yes, self._config.false_yes)
            answer = np.where(self._draw(rows[block], columns[block]) < rate, YES, NO).astype(np.int8)
            yield np.arange(start, start + len(answer)), answer.astype(np.float32), answer

    def document_key(self, document: DocumentPairs) -> bytes:
        """The uid too: two documents of the same text may be annotated differently."""
        return document.uid.encode() + b"\0" + super().document_key(document)

    def _draw(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """A number in [0, 1) for each pair, by a hash of the seed and both uids: float64 (n,)."""
        seeded = blake2b(str(self._config.seed).encode(), digest_size=8)
        drawn = bytearray()
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            pair = seeded.copy()
            pair.update(f"\0{self._rows[row]}\0{self._columns[column]}".encode())
            drawn += pair.digest()
        return (np.frombuffer(drawn, dtype="<u8") >> 11) * 2.0**-53


def _row_numbers(index: pd.Index, uids: list[str], noun: str) -> np.ndarray:
    """Row numbers of uids; raises `ValueError` for one that the annotations do not cover."""
    rows = index.get_indexer(uids)
    if (rows < 0).any():
        uid = uids[int(np.argmax(rows < 0))]
        raise ValueError(f"the simulated teacher has no annotations of the {noun} {uid!r}")
    return rows
