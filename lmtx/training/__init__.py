"""How an encoder learns from pairs of texts, in one process or in several.

A pair source supplies each document's positives. Nothing here takes annotations: the positives of LMTX are
the labels that the teacher accepted.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_model, save_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from tqdm.auto import tqdm

from lmtx.config import TrainingConfig
from lmtx.encoder import Encoder, hand_over, take_over
from lmtx.files import read_json, write_json
from lmtx.processes import ProcessError, launch, wanted
from lmtx.training.batches import Batch, PairSource, PseudoLabels, alike, row_batches, steps_for
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


@dataclass(frozen=True)
class TrainingLog:
    """Totals of one training: the loss of each step, and its wall time in seconds."""

    losses: list[float]
    seconds: float


def train(
    encoder: Encoder,
    source: PairSource,
    settings: TrainingConfig,
    loss: Callable[..., torch.Tensor] | None = None,
) -> TrainingLog:
    """Train `encoder` in place: AdamW, linear warm-up and decay, one step a batch.

    With LMTX_PROCESSES = W above 1, W processes of this machine each embed every W-th text of a batch of
    `PseudoLabels`; the weights are those of one process but for the rounding of sums. Other sources train
    in one process. Raises `ProcessError`, and leaves `encoder` as it was, where this machine cannot run so
    many, or one of them fails.

    Parameters
    ----------
    encoder
        E0, freshly loaded, or a student to continue from. Its weights end as (1 - `settings.e0_share`) of
        the trained weights + `settings.e0_share` of those at the start: on noisy labels the mean of the two
        errs less than either (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    settings
        The recipe. The warm-up is at most a quarter of the steps; all processes share `batch_size`.
    loss
        Called with the similarities (B, U), the positives and `ignored`, as `triplet_loss` is. None:
        `triplet_loss` with the margin, temperature and hard negatives of `settings`.
    """
    processes = wanted()
    if processes == 1 or loss is not None or not isinstance(source, PseudoLabels):
        with encoder.changing():
            return _train(encoder, source, settings, loss)
    with encoder.changing(), tempfile.TemporaryDirectory(prefix="lmtx-train-") as scratch:
        folder = Path(scratch)
        hand_over(encoder, folder)
        source.save(folder)
        write_json(folder / "training.json", settings.model_dump(mode="json"))
        launch(train_launched, scratch, processes=processes, device=encoder.device)
        load_model(encoder.model, folder / "weights.safetensors")
        return TrainingLog(**read_json(folder / "log.json"))


def train_launched(scratch: str) -> None:
    """Run one of the processes that `train` starts; the first one saves the result."""
    folder = Path(scratch)
    encoder = take_over(folder)
    settings = TrainingConfig(**read_json(folder / "training.json"))
    log = _train(encoder, PseudoLabels.load(folder), settings, None)
    if os.environ["RANK"] == "0":
        save_model(encoder.model, folder / "weights.safetensors")
        write_json(folder / "log.json", asdict(log))


def _train(
    encoder: Encoder,
    source: PairSource,
    settings: TrainingConfig,
    loss: Callable[..., torch.Tensor] | None,
) -> TrainingLog:
    """The loop, in this process or as one of a group that shares each batch."""
    own = settings.model_dump(include={"margin", "temperature", "hard_negatives"})
    loss = loss or partial(triplet_loss, **own)
    torch.manual_seed(settings.seed)
    started = time.monotonic()
    accelerator = join(encoder)

    # One pass cannot overfit, so dropout is an option.
    model = encoder.model.train(settings.dropout)
    weights_before = [weight.detach().clone() for weight in model.parameters()]

    # The learning rate rises over the warm-up and falls to 0 over the rest.
    steps = steps_for(len(source.trainable), settings)
    warmup = min(settings.warmup_steps, steps // 4)
    rates = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    optimizer = torch.optim.AdamW(model.parameters(), **rates, eps=1e-6, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (warmup + 1), (steps - step) / max(1, steps - warmup))
    )

    losses = []
    with tqdm(total=steps, desc="train", unit="step", disable=not accelerator.is_main_process) as bar:
        for batch in source.batches(settings):
            # Embed the batch: every document against every label.
            with accelerator.autocast(), _attention(encoder.device):
                documents = forward_shared(accelerator, encoder, batch.documents)
                similarity = documents @ forward_shared(accelerator, encoder, batch.labels).T

            # Compare: a positive should come before the other labels.
            positives = torch.as_tensor(batch.positives, device=encoder.device)
            options = {"ignored": torch.as_tensor(batch.ignored, device=encoder.device)}
            if batch.weights is not None:
                options["weights"] = torch.as_tensor(batch.weights, device=encoder.device)
            value = loss(similarity.float(), positives, **options)

            # Step: each process has the gradients of its own texts, and needs their sum.
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(value)
            if accelerator.num_processes > 1:
                gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
                vector_to_parameters(accelerator.reduce(parameters_to_vector(gradients), "sum"), gradients)
            optimizer.step()
            schedule.step()

            losses.append(value.item())
            bar.update()
            bar.set_postfix_str(f"loss {np.mean(losses[-20:]):.5f}", refresh=False)

    # The mean of the weights before and after.
    with torch.no_grad():
        for weight, weight_before in zip(model.parameters(), weights_before, strict=True):
            weight.lerp_(weight_before, settings.e0_share)
    model.eval()
    return TrainingLog(losses, time.monotonic() - started)


@contextmanager
def _attention(device: torch.device) -> Iterator[None]:
    """On a CPU, compute attention by plain products in the precision of the rest.

    There, torch's fused attention takes longer for the gradients of short texts, and saves only memory.
    """
    if device.type != "cpu":
        yield
        return
    reduced = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # of the plain products, on any device
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(reduced)


def join(encoder: Encoder) -> Accelerator:
    """Join the group of this process, to train `encoder`; without a launch it is a group of one.

    Raises `ProcessError` when `encoder` is not on the device that the group gave this process, or processes
    on such devices cannot exchange anything.
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
