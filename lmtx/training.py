"""How an encoder learns from pairs of texts: the losses, the batches, the loop.

Nothing here takes annotations. What a document's positives are, a pair source says; LMTX's are
the labels that the teacher accepted. Whatever is trained in the study is trained by `train`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from lmtx.config import TrainingConfig
from lmtx.encoder import Encoder
from lmtx.group import embed, join, sum_gradients


def triplet_loss(
    similarity: torch.Tensor,
    positives: torch.Tensor,
    *,
    ignored: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
    margin: float = 0.3,
    temperature: float = 0.1,
    hard_negatives: int = 10,
) -> torch.Tensor:
    """Softmax-weighted triplet loss over the hardest negatives of a batch (LMTX, section 3).

    With s the cosine similarities of a document, p its positive and N the `hard_negatives` other
    labels of largest s:  v_n = max(0, s_n - s_p + margin),  w = softmax over N of s_n / temperature
    where v_n > 0 and of 0 elsewhere,  loss = mean over documents and n in N of w_n v_n.

    Parameters
    ----------
    similarity
        float (B, U): document against each label of the batch.
    positives
        int64 (B,): the column of each document's positive.
    ignored
        bool (B, U): pairs that are no negatives, such as another positive of the document. None:
        each label but the positive is one.
    weights
        float (B,): how much each document counts in the mean. None: all the same.

    Returns
    -------
    Scalar, with gradient through the similarities (the softmax weights carry none). A document with fewer
    than `hard_negatives` negatives counts zeros for the missing ones.
    """
    positive = similarity.gather(1, positives[:, None])
    is_positive = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, positives[:, None], True)
    blocked = is_positive if ignored is None else is_positive | ignored
    candidates = similarity.masked_fill(blocked, -torch.inf)
    negatives = candidates.topk(min(hard_negatives, candidates.shape[1]), dim=1).values
    violation = (negatives - positive + margin).clamp(min=0)
    with torch.no_grad():
        logits = torch.where(violation > 0, negatives / temperature, 0.0)
        hardness = logits.masked_fill(negatives == -torch.inf, -torch.inf).softmax(dim=1).nan_to_num(0.0)
    if weights is None:
        return (hardness * violation).sum() / (similarity.shape[0] * hard_negatives)
    return (weights @ (hardness * violation)).sum() / (weights.sum() * hard_negatives)


def contrastive_loss(
    similarity: torch.Tensor,
    positives: torch.Tensor,
    *,
    ignored: torch.Tensor | None = None,
    temperature: float = 0.05,
) -> torch.Tensor:
    """Cross-entropy of picking a document's positive among the labels of the batch (InfoNCE).

    With s the cosine similarities of a document and p its positive:
    loss = mean over documents of -log(exp(s_p / t) / sum over labels n of exp(s_n / t)), t the
    temperature, the sum being over p and the labels that are not ignored (van den Oord et al.,
    "Representation learning with contrastive predictive coding", 2018, equation 4).

    Parameters
    ----------
    similarity, positives, ignored
        As for `triplet_loss`.

    Returns
    -------
    Scalar, with gradient. A document without a negative adds zero.
    """
    logits = similarity / temperature
    if ignored is not None:
        logits = logits.masked_fill(ignored.scatter(1, positives[:, None], False), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, positives)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train with a loss of its own. A `TrainingConfig` has all of this too.

    Attributes
    ----------
    batch_size, epochs
        Documents a step, and passes over the documents that have a pair.
    learning_rate, warmup_steps, weight_decay
        Of AdamW; the warm-up takes at most a quarter of the steps.
    e0_share
        Share that the weights at the start keep in the weights at the end.
    negatives, hard_negatives, rejected_negatives
        Which labels of a batch a document of `PseudoLabels` is held against.
    seed
        Of the order, the draws and the loop.
    """

    batch_size: int
    learning_rate: float
    seed: int
    epochs: int = 1
    warmup_steps: int = 0
    weight_decay: float = 0.0
    e0_share: float = 0.0
    negatives: str = "hardest"
    hard_negatives: int = 10
    rejected_negatives: int = 0


@dataclass(frozen=True)
class Batch:
    """One step's texts as token ids, and which of them belong together.

    Attributes
    ----------
    documents, labels
        Token ids of B documents and of U distinct labels.
    positives
        int64 (B,): the column of each document's positive.
    ignored
        bool (B, U): pairs that are no negatives.
    weights
        float32 (B,): how much each document counts in the loss; None: all the same.
    """

    documents: list[list[int]]
    labels: list[list[int]]
    positives: np.ndarray
    ignored: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class PseudoLabels:
    """A teacher's verdicts as a pair source: batches of documents with one accepted label each.

    Attributes
    ----------
    documents, labels
        Token ids of all documents and labels.
    positives, rejected
        Boolean CSR (n_docs, L): what the teacher accepted and what it rejected.
    excluded
        Boolean CSR (n_docs, L): pairs that are no candidates, so no negatives either.
    p_yes
        CSR (n_docs, L) with the teacher's p_yes of each accepted pair, by which the loss is weighted;
        None: all pairs weigh the same.
    """

    documents: Sequence[list[int]]
    labels: Sequence[list[int]]
    positives: sp.csr_array
    rejected: sp.csr_array
    excluded: sp.csr_array
    p_yes: sp.csr_array | None = None

    @property
    def trainable(self) -> np.ndarray:
        """Rows of the documents that have a pseudo-positive."""
        return np.flatnonzero(np.diff(self.positives.indptr))

    def steps(self, config: TrainingConfig | Recipe) -> int:
        """Batches in all epochs."""
        return steps_for(len(self.trainable), config)

    def batches(self, config: TrainingConfig | Recipe) -> Iterator[Batch]:
        """Every trainable document once an epoch, in an order and with draws fixed by `config.seed`."""
        rng = np.random.default_rng(config.seed)
        known = self.positives + self.excluded
        for _ in range(config.epochs):
            order = rng.permutation(self.trainable)
            for start in range(0, len(order), config.batch_size):
                yield self._batch(order[start : start + config.batch_size], known, config, rng)

    def _batch(
        self, rows: np.ndarray, known: sp.csr_array, config: TrainingConfig | Recipe, rng: np.random.Generator
    ) -> Batch:
        drawn = np.array([rng.choice(_row(self.positives, row)) for row in rows])
        extra = []
        for row in rows if config.rejected_negatives else ():
            rejected = _row(self.rejected, row)
            extra.append(rng.choice(rejected, min(len(rejected), config.rejected_negatives), replace=False))
        columns = np.unique(np.concatenate([drawn, *extra]))
        positives = np.searchsorted(columns, drawn)
        ignored = known[rows][:, columns].toarray()
        if config.negatives == "rejected":
            ignored |= ~self.rejected[rows][:, columns].toarray()
        elif config.negatives == "random":
            _keep_random(ignored, positives, config.hard_negatives, rng)
        return Batch(
            [self.documents[row] for row in rows],
            [self.labels[column] for column in columns],
            positives,
            ignored,
            None if self.p_yes is None else np.asarray(self.p_yes[rows, drawn], dtype=np.float32).ravel(),
        )


def _keep_random(ignored: np.ndarray, positives: np.ndarray, count: int, rng: np.random.Generator) -> None:
    """Leave each document `count` of its negatives, drawn at random, by ignoring the others too."""
    for row, positive in zip(ignored, positives, strict=True):
        negatives = np.setdiff1d(np.flatnonzero(~row), positive)
        row[rng.permutation(negatives)[count:]] = True


def steps_for(documents: int, config: TrainingConfig | Recipe) -> int:
    """Batches in all epochs over so many documents."""
    return config.epochs * -(-documents // config.batch_size)


def alike(texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Which texts are the same: bool (n, n), True on the diagonal.

    A label that stands twice in a batch would be its own negative.
    """
    numbers: dict[tuple[int, ...], int] = {}
    numbered = [numbers.setdefault(tuple(text), len(numbers)) for text in texts]
    return np.equal.outer(numbered, numbered)


@dataclass(frozen=True)
class TrainingLog:
    """What a training run did: the loss of each step, and its wall time in seconds."""

    losses: list[float]
    seconds: float


def train(
    encoder: Encoder,
    batches: Iterator[Batch],
    steps: int,
    config: TrainingConfig | Recipe,
    loss: Callable[..., torch.Tensor] | None = None,
) -> TrainingLog:
    """Train `encoder` in place: AdamW, linear warm-up and decay, one step a batch.

    Processes that `accelerate launch` started share each batch: all are to be given the same encoder,
    batches and settings, and end with the same weights and log, those of one process but for the rounding
    of sums. `config.batch_size` is that of all together. The first process alone shows progress.

    Parameters
    ----------
    encoder
        E0, freshly loaded, or a student to go on from; its weights are changed. In the end they are
        (1 - `config.e0_share`) of what was learnt + `config.e0_share` of what they were: on noisy labels the
        mean of the two errs less than either (Wortsman et al., "Robust fine-tuning of zero-shot models",
        CVPR 2022).
    batches, steps
        The steps' texts, and how many there are, which the schedule needs to know.
    config
        Learning rate, warm-up (at most a quarter of the steps) and the rest of the recipe.
    loss
        Called with the similarities (B, U), the positives and `ignored`, as `triplet_loss` is. None:
        `triplet_loss` with the margin, temperature and hard negatives of `config`, a `TrainingConfig`.
    """
    if loss is None:
        settings = {name: getattr(config, name) for name in ("margin", "temperature", "hard_negatives")}
        loss = partial(triplet_loss, **settings)
    torch.manual_seed(config.seed)
    started = time.monotonic()
    accelerator = join(encoder)
    # Without dropout: one pass cannot overfit.
    model = encoder.model.eval()
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, eps=1e-6, weight_decay=config.weight_decay, fused=True
    )
    warmup = min(config.warmup_steps, steps // 4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (warmup + 1), (steps - step) / max(1, steps - warmup))
    )
    losses = []
    with tqdm(total=steps, desc="train", unit="step", disable=not accelerator.is_main_process) as bar:
        for batch in batches:
            with accelerator.autocast(), _attention(encoder.device):
                documents = embed(accelerator, encoder, batch.documents)
                similarity = documents @ embed(accelerator, encoder, batch.labels).T
            weights = {}
            if batch.weights is not None:
                weights = {"weights": torch.as_tensor(batch.weights, device=encoder.device)}
            value = loss(
                similarity.float(),
                torch.as_tensor(batch.positives, device=encoder.device),
                ignored=torch.as_tensor(batch.ignored, device=encoder.device),
                **weights,
            )
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(value)
            sum_gradients(accelerator, model.parameters())
            optimizer.step()
            schedule.step()
            losses.append(value.item())
            bar.update()
            bar.set_postfix_str(f"loss {np.mean(losses[-20:]):.5f}", refresh=False)
    with torch.no_grad():
        for weight, old in zip(model.parameters(), before, strict=True):
            weight.lerp_(old, config.e0_share)
    return TrainingLog(losses, time.monotonic() - started)


@contextmanager
def _attention(device: torch.device) -> Iterator[None]:
    """On a CPU, attention as plain products in the precision of the rest.

    Torch's fused attention takes longer there for the gradients of short texts, and saves only memory.
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


def _row(matrix: sp.csr_array, row: int) -> np.ndarray:
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
