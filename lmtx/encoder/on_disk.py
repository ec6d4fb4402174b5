"""Embeddings on disk: made block by block, and taken up again where a run was interrupted."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from lmtx.encoder import BLOCK, Encoder, hand_over, take_over
from lmtx.encoder.tokens import Tokens, blocks
from lmtx.files import replacing
from lmtx.processes import launch, wanted


def embed(encoder: Encoder, texts: Mapping[str, Tokens], folder: str | Path) -> float:
    """Embed texts into `folder`: NAME.npy, float32 (n, d), rows of norm 1, in the order of the texts.

    `folder` appears whole or not at all. Until then each finished block is a file beside it, named after
    what it is made of: the network's weights, how it computes, and the block's token ids. A run after
    one that was interrupted, by whatever means, takes these up and gives the same bytes as a run in one go.
    Memory holds one block at a time; the disk, for a moment, all vectors twice.

    `texts` are token ids by NAME, best memory-mapped. Returns the seconds that earlier runs took for the
    blocks taken up: 0.0 in a run in one go. With LMTX_PROCESSES = W above 1, W processes of this machine make
    the blocks; raises `ProcessError` where it cannot run so many, or one of them fails.
    """
    folder = Path(folder)
    plan = _plan(encoder, texts, folder)
    made_before = [block.file for block in plan if block.file.is_file()]
    processes = wanted()
    if processes > 1 and len(made_before) < len(plan):
        with tempfile.TemporaryDirectory(prefix="lmtx-embed-") as handed:
            hand_over(encoder, Path(handed))
            for name, tokens in texts.items():
                Tokens.write(Path(handed) / "texts" / name, tokens)
            launch(embed_launched, handed, str(folder.resolve()), processes=processes, device=encoder.device)
    _make(encoder, plan)
    seconds = 0.0
    with replacing(folder, folder=True) as scratch:
        for name, tokens in texts.items():
            shape = len(tokens), encoder.dimension
            vectors = np.lib.format.open_memmap(scratch / f"{name}.npy", "w+", np.float32, shape)
            for block in plan:
                if block.name == name:
                    with np.load(block.file) as made:
                        vectors[block.rows] = made["vectors"]
                        seconds += float(made["seconds"]) if block.file in made_before else 0.0
            vectors.flush()
    shutil.rmtree(_unfinished(folder), ignore_errors=True)
    return seconds


def embed_share(
    encoder: Encoder, texts: Mapping[str, Tokens], folder: str | Path, rank: int, world: int
) -> None:
    """Make the blocks that fall to process `rank` of `world` processes: every `world`-th.

    The processes, on one machine or on several that share the disk, need not speak with each other. When
    all have returned, `embed` with the same arguments in one of them joins their blocks, and makes those
    that a broken process has left out.
    """
    _make(encoder, _plan(encoder, texts, Path(folder))[rank::world], quiet=rank > 0)


def embed_launched(handed: str, folder: str) -> None:
    """Make the share of one process of `embed`: some blocks of the texts in the folder `handed`."""
    texts = {texts.name: Tokens.load(texts) for texts in sorted((Path(handed) / "texts").iterdir())}
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    embed_share(take_over(Path(handed)), texts, folder, rank, world)


@dataclass(frozen=True)
class _Block:
    """Some rows of the texts called `name`, their token ids, and the file for their vectors."""

    name: str
    rows: slice
    tokens: Tokens
    file: Path


def _plan(encoder: Encoder, texts: Mapping[str, Tokens], folder: Path) -> list[_Block]:
    fingerprint = _fingerprint(encoder)
    plan = []
    for name, tokens in texts.items():
        for rows in blocks(len(tokens), BLOCK):
            some, made_of = tokens[rows], fingerprint.copy()
            made_of.update(len(some).to_bytes(8))
            made_of.update(some.ends)
            made_of.update(some.ids)
            plan.append(_Block(name, rows, some, _unfinished(folder) / f"{made_of.hexdigest()}.npz"))
    return plan


def _make(encoder: Encoder, plan: list[_Block], quiet: bool = False) -> None:
    """Embed the blocks of `plan` that have no file."""
    with tqdm(total=sum(len(block.tokens) for block in plan), unit="text", disable=quiet) as bar:
        for block in plan:
            bar.set_description(block.name)
            if block.file.is_file():
                bar.update(len(block.tokens))
                continue
            started = time.monotonic()
            vectors = encoder.encode_block(block.tokens, bar)
            with replacing(block.file) as scratch, scratch.open("wb") as file:
                np.savez(file, vectors=vectors, seconds=time.monotonic() - started)
                file.flush()
                os.fsync(file.fileno())  # before its name says that it is whole


def _fingerprint(encoder: Encoder) -> "hashlib._Hash":
    """SHA-256 of what vectors depend on beside the texts: weights, architecture, precision, batches."""
    configs = [str(module.config) for module in encoder.model.modules() if hasattr(module, "config")]
    settings = [encoder.precision, encoder.config.batch_tokens, repr(encoder.model), *configs]
    fingerprint = hashlib.sha256(repr(settings).encode())
    for name, tensor in encoder.model.state_dict().items():
        fingerprint.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        fingerprint.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return fingerprint


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.unfinished")
