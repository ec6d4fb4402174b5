"""Train an encoder on pseudo-labels: in this process, or shared by as many as LMTX_PROCESSES says."""

import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import scipy.sparse as sp
from safetensors.torch import load_model, save_model

from lmtx.config import TrainingConfig
from lmtx.encoder import Encoder
from lmtx.files import read_json, write_json
from lmtx.group import hand_over, take_over
from lmtx.processes import launch, wanted
from lmtx.tokens import Tokens
from lmtx.training import PseudoLabels, TrainingLog, train

_MATRICES = ("positives", "rejected", "excluded", "p_yes")


def fit(encoder: Encoder, source: PseudoLabels, config: TrainingConfig) -> TrainingLog:
    """Train `encoder` in place on all batches of `source`, with LMTX's loss.

    With LMTX_PROCESSES = W above 1, W processes of this machine each embed every W-th text of a batch; the
    result is that of one process but for the rounding of sums. `config.batch_size` is that of all together.

    Raises
    ------
    ProcessError
        When LMTX_PROCESSES is no number of processes that this machine can run, or one of them fails.
        `encoder` then is as it was.
    """
    processes = wanted()
    if processes == 1:
        return train(encoder, source.batches(config), source.steps(config), config)
    with tempfile.TemporaryDirectory(prefix="lmtx-fit-") as scratch:
        folder = Path(scratch)
        hand_over(encoder, folder)
        write_json(folder / "training.json", config.model_dump(mode="json"))
        Tokens.write(folder / "documents", source.documents)
        Tokens.write(folder / "labels", source.labels)
        for name in _MATRICES:
            if getattr(source, name) is not None:
                sp.save_npz(folder / f"{name}.npz", getattr(source, name))
        launch(fit_share, str(folder), processes=processes, device=encoder.device)
        load_model(encoder.model, folder / "weights.safetensors")
        return TrainingLog(**read_json(folder / "log.json"))


def fit_share(folder: str) -> None:
    """What each process of `fit` does: train on what lies in `folder`, and the first one write the result."""
    place = Path(folder)
    encoder = take_over(place)
    config = TrainingConfig(**read_json(place / "training.json"))
    files = {name: place / f"{name}.npz" for name in _MATRICES}
    matrices = {name: sp.load_npz(file) for name, file in files.items() if file.is_file()}
    source = PseudoLabels(Tokens.load(place / "documents"), Tokens.load(place / "labels"), **matrices)
    log = train(encoder, source.batches(config), source.steps(config), config)
    if os.environ["RANK"] == "0":
        save_model(encoder.model, place / "weights.safetensors")
        write_json(place / "log.json", asdict(log))
