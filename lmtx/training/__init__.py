"""How an encoder learns from pairs of texts. A pair source supplies each document's positives.

Nothing here takes annotations: the positives of LMTX are the labels that the teacher accepted.
"""

from lmtx.training.batches import Batch, PairSource, PseudoLabels, alike, row_batches, steps_for
from lmtx.training.loop import TrainingLog, train
from lmtx.training.losses import contrastive_loss, triplet_loss

__all__ = [
    "Batch",
    "PairSource",
    "PseudoLabels",
    "TrainingLog",
    "alike",
    "contrastive_loss",
    "row_batches",
    "steps_for",
    "train",
    "triplet_loss",
]
