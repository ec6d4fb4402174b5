"""What a process does as one of a group that `accelerate launch` started: its share of each batch."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lmtx.config import EncoderConfig
from lmtx.encoder import Encoder
from lmtx.files import read_json, write_json
from lmtx.processes import ProcessError


def join(encoder: Encoder) -> Accelerator:
    """The group that this process is part of, to train `encoder`: of one where nothing was launched.

    Raises
    ------
    ProcessError
        In a group, when `encoder` is not on the device that the group gave this process, or processes on
        such devices cannot exchange anything.
    """
    # Kept for the whole process; an encoder of another precision or device could not be trained after.
    # A group that is there stays, and is joined again.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=encoder.device.type == "cpu", mixed_precision="bf16" if encoder.precision == "bf16" else "no"
    )
    if "LOCAL_RANK" in os.environ and accelerator.num_processes != int(os.environ.get("WORLD_SIZE", 1)):
        raise ProcessError(f"processes on {encoder.device} cannot share a batch; train in one process")
    given = accelerator.device
    if accelerator.num_processes > 1 and given.type == "cuda" and encoder.device != given:
        raise ProcessError(
            f"process {accelerator.process_index} was given {given}, and its encoder is on {encoder.device}; "
            "set encoder.device to auto"
        )
    return accelerator


def embed(accelerator: Accelerator, encoder: Encoder, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
    """Unit vectors float32 (n, d) of token ids, of which each process of the group embeds its share.

    The rows of this process's own texts carry gradients, the others' none: the gradients of a loss, summed
    over the processes, are then those of one process that embeds all. All must be given the same texts.
    """
    if accelerator.num_processes == 1:
        return encoder.forward(tokens)
    rank, world, n = accelerator.process_index, accelerator.num_processes, len(tokens)
    each = -(-n // world)
    # Every world-th text; where they do not suffice for all, the first ones again, left out in the end.
    own = encoder.forward([tokens[row % n] for row in range(rank, each * world, world)])
    shares = list(accelerator.gather(own.detach()).view(world, each, -1))
    shares[rank] = own
    return torch.stack(shares, dim=1).reshape(world * each, -1)[:n]


def sum_gradients(accelerator: Accelerator, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace the gradients of each process by their sum over the group."""
    if accelerator.num_processes > 1:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        vector_to_parameters(accelerator.reduce(parameters_to_vector(gradients), "sum"), gradients)


def hand_over(encoder: Encoder, folder: Path) -> None:
    """Write `encoder` and how texts reach it to `folder`, for the processes of a group."""
    encoder.save(folder / "encoder", {})
    settings = encoder.config.model_dump(mode="json") | {"device": encoder.device.type}
    write_json(folder / "encoder.json", settings)


def take_over(folder: Path) -> Encoder:
    """Load what `hand_over` wrote, onto this process's own GPU where it came from one."""
    settings = read_json(folder / "encoder.json")
    if settings["device"] == "cuda":
        settings["device"] = f"cuda:{os.environ['LOCAL_RANK']}"
    return Encoder.load(EncoderConfig(**settings), folder / "encoder")
