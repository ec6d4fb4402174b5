"""An encoder for other processes: written by one, loaded by each onto its own device."""

import os
from pathlib import Path

from lmtx.config import EncoderConfig
from lmtx.encoder.model import Encoder
from lmtx.files import read_json, write_json


def hand_over(encoder: Encoder, folder: Path) -> None:
    """Write `encoder` and its settings to `folder`."""
    encoder.save(folder / "encoder", {})
    settings = encoder.config.model_dump(mode="json") | {"device": encoder.device.type}
    write_json(folder / "encoder.json", settings)


def take_over(folder: Path) -> Encoder:
    """Load what `hand_over` wrote: onto this process's own GPU where it came from a GPU."""
    settings = read_json(folder / "encoder.json")
    if settings["device"] == "cuda":
        settings["device"] = f"cuda:{os.environ['LOCAL_RANK']}"
    return Encoder.load(EncoderConfig(**settings), folder / "encoder")
