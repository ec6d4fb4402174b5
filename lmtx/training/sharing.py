"""The share of one process in each batch, in a group of processes that `accelerate launch` started."""

import os
from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lmtx.encoder import Encoder
from lmtx.processes import ProcessError


def join(encoder: Encoder) -> Accelerator:
    """Join the group of this process, to train `encoder`; without a launch it is a group of one.

    Raises
    ------
    ProcessError
        In a group, when `encoder` is not on the device that the group gave this process, or processes on
        such devices cannot exchange anything.
    """
    # Accelerate keeps the first precision and device for the whole process; forget them, but not the group.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=encoder.device.type == "cpu", mixed_precision="bf16" if encoder.precision == "bf16" else "no"
    )
    if "LOCAL_RANK" in os.environ and accelerator.num_processes != int(os.environ.get("WORLD_SIZE", 1)):
        raise ProcessError(f"processes on {encoder.device} cannot share a batch; train in one process")
    device = accelerator.device
    if accelerator.num_processes > 1 and device.type == "cuda" and encoder.device != device:
        raise ProcessError(
            f"process {accelerator.process_index} was given {device}, and its encoder is on "
            f"{encoder.device}; set encoder.device to auto"
        )
    return accelerator


def forward_shared(
    accelerator: Accelerator, encoder: Encoder, tokens: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Unit vectors float32 (n, d) of token ids; each process of the group embeds its share.

    Only the rows of this process's own texts carry gradients. Summed over the processes, the gradients of a
    loss are those of one process that embeds all. Every process must get the same texts.
    """
    if accelerator.num_processes == 1:
        return encoder.forward(tokens)
    rank, world, n = accelerator.process_index, accelerator.num_processes, len(tokens)
    each = -(-n // world)
    # Every world-th text; the last share is filled with the first texts, whose rows are cut off in the end.
    own = encoder.forward([tokens[row % n] for row in range(rank, each * world, world)])
    shares = list(accelerator.gather(own.detach()).view(world, each, -1))
    shares[rank] = own
    return torch.stack(shares, dim=1).reshape(world * each, -1)[:n]


def sum_gradients(accelerator: Accelerator, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace the gradients of each process by their sum over the group."""
    if accelerator.num_processes > 1:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        vector_to_parameters(accelerator.reduce(parameters_to_vector(gradients), "sum"), gradients)
