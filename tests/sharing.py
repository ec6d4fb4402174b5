"""What test_processes.py trains in several processes and in one: a source, and settings that differ.

Run as a script by `accelerate launch`, with a model and a folder for results as arguments.
"""

import os
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import save_file
from tiny_encoders import encoder_config, random_texts

from lmtx.config import TrainingConfig
from lmtx.encoder import Encoder
from lmtx.training import PseudoLabels, contrastive_loss, train

SETTINGS = {"batch_size": 7, "learning_rate": 1e-3, "warmup_steps": 2, "weight_decay": 0.01}
SETTINGS |= {"hard_negatives": 4, "seed": 108}

# 43 documents: the last batch of 7 holds one, fewer than there are processes; that of 10 holds three.
CASES = {
    "hard negatives": {},
    "rejected labels join the batch": {"batch_size": 10, "rejected_negatives": 3, "e0_share": 0.25},
    "only rejected negatives": {"negatives": "rejected", "rejected_negatives": 2},
    "random negatives, weighted by the teacher": {"negatives": "random", "soft_targets": True},
    "a loss of its own": {"loss": contrastive_loss},
}


def source(encoder: Encoder, soft_targets: bool = False) -> PseudoLabels:
    """43 trainable documents among 50, and 29 labels, with verdicts drawn at random."""
    rng = np.random.default_rng(3)
    answers = rng.choice([1, 0, -1], size=(50, 29), p=[0.1, 0.3, 0.6])
    answers[:, 0] = 1
    answers[:7][answers[:7] == 1] = -1
    own = np.eye(50, 29, dtype=bool)
    accepted = (answers == 1) & ~own
    accepted[7:29, 0] = True
    texts = random_texts(79)
    return PseudoLabels(
        encoder.tokenize(texts[:50], 32),
        encoder.tokenize(texts[50:], 16),
        sp.csr_array(accepted),
        sp.csr_array((answers == 0) & ~own),
        sp.csr_array(own & ~accepted),
        sp.csr_array(np.where(accepted, rng.uniform(0.5, 1, accepted.shape), 0).astype(np.float32))
        if soft_targets
        else None,
    )


def results(model: str, case: str) -> dict[str, np.ndarray]:
    """Train one of `CASES` in this process, alone or in its group: losses and weights."""
    settings = dict(CASES[case])
    loss = settings.pop("loss", None)
    config = TrainingConfig(**SETTINGS | settings)
    if loss is not None:
        config = TrainingConfig(batch_size=7, learning_rate=1e-3, seed=1)
    encoder = Encoder.load(encoder_config(model))
    pairs = source(encoder, settings.get("soft_targets", False))
    log = train(encoder, pairs, config, loss=loss)
    weights = {name: tensor.numpy() for name, tensor in encoder.model.state_dict().items()}
    return {"losses": np.array(log.losses), **weights}


def train_all(model: str, folder: str) -> None:
    """Every case, one after the other in the same group; each process writes what it has got."""
    for number, case in enumerate(CASES):
        save_file(results(model, case), Path(folder) / f"{number}-{os.environ['RANK']}.safetensors")


if __name__ == "__main__":
    train_all(*sys.argv[1:])
