"""The labels that people are asked about: drawn from the student and from E0, so that both are measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lmtx.datasets.spool import hashes
from lmtx.encoder import Encoder
from lmtx.index import Shortlist
from lmtx.tagger import LabelIndex, Tagger, TaggerError
from lmtx.tagger.card import is_trained
from lmtx.tagger.labels import TABLE

STUDENT, E0 = "the student", "E0"
SHOWN = 5
"""Labels that people are asked about, of each document; drawn from as many first labels of each system."""


@dataclass(frozen=True)
class Proposals:
    """Labels of documents to ask people about.

    Attributes
    ----------
    documents
        n rows with the columns uid, title, text.
    labels
        L rows with the columns uid, text.
    rankings
        The first `SHOWN` labels of each document by system: `STUDENT` and `E0`, or E0 alone.
    ids
        int32 (n, SHOWN), in an order that says nothing of the systems; -1 pads.
    weights
        float64 (n, SHOWN): how many labels of the rankings each stands for; the first label of a system
        stands for itself alone.
    """

    documents: pa.Table
    labels: pa.Table
    rankings: dict[str, Shortlist]
    ids: np.ndarray
    weights: np.ndarray


def propose(systems: dict[str, Tagger], documents: pa.Table) -> Proposals:
    """The first label of each system, and a draw from the others that a system ranks among its first five.

    The draw hangs on a document's uid alone, so that a review goes on with the labels it began with. As each
    label's chance is known, a system's precision over all of its five is estimated without bias.
    """
    rankings = {name: tagger.rank(documents, SHOWN) for name, tagger in systems.items()}
    ids = np.full((documents.num_rows, SHOWN), -1, dtype=np.int32)
    weights = np.zeros(ids.shape)
    for row, seed in enumerate(hashes(pa.chunked_array(documents["uid"]), "review")):
        rng = np.random.default_rng(seed)
        first = np.unique([ranking.ids[row, 0] for ranking in rankings.values()])
        every = np.unique(np.concatenate([ranking.ids[row] for ranking in rankings.values()]))
        others = np.setdiff1d(every[every >= 0], first)
        drawn = rng.choice(others, min(len(others), SHOWN - len(first)), replace=False)
        shown = np.concatenate([first, drawn])
        stands_for = np.repeat([1.0, len(others) / max(len(drawn), 1)], [len(first), len(drawn)])
        order = rng.permutation(len(shown))
        ids[row, : len(shown)], weights[row, : len(shown)] = shown[order], stands_for[order]
    labels = next(iter(systems.values())).labels.table
    return Proposals(documents, labels, rankings, ids, weights)


def systems_of(folder: Path) -> dict[str, Tagger]:
    """The student and E0 with the same labels; E0 alone where the tagger was not trained.

    Where an earlier review chose E0, the student is the one that it set aside.

    Raises `TaggerError` and `EncoderError` when either cannot be loaded.
    """
    tagger = Tagger.load(folder)
    if not (folder / TABLE).is_file():
        raise TaggerError(f"{folder} is no exported tagger; make one first: lmtx export {folder} DESTINATION")
    labels = tagger.labels.table
    if is_trained(tagger.card):
        return {STUDENT: tagger, E0: untrained(folder, tagger)}
    aside = folder.with_name(tagger.card.get("set_aside") or folder.name)
    if aside == folder or not aside.is_dir():
        return {E0: tagger}
    student = Tagger.load(aside)
    if not student.labels.table.equals(labels):  # labels were added since
        vectors = student.encoder.encode_labels(labels, "embedding the labels with the student")
        student = Tagger(student.encoder, LabelIndex(labels, vectors), student.card)
    return {STUDENT: student, E0: tagger}


def untrained(folder: Path, tagger: Tagger) -> Tagger:
    """The tagger of `folder` as it was before training, with the same labels.

    E0's vectors of them are kept beside the folder, not in it: a tagger is published without them.
    """
    if not is_trained(tagger.card):
        return tagger
    folder = folder.resolve()
    e0, labels = Encoder.load(tagger.encoder.config), tagger.labels.table
    index = LabelIndex.beside(
        folder.with_name(f".{folder.name}-e0"),
        labels,
        [folder / TABLE],
        lambda: e0.encode_labels(labels, "embedding the labels with E0, once"),
    )
    return Tagger(e0, index, tagger.card)
