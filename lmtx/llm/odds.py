"""Yes or no, read off a model's probabilities of the first token of its answer: one forward pass, no writing.

The prompts of a document go through the model together (`lmtx.llm.packing`), so the document is read once.
"""

import warnings
from collections.abc import Generator
from functools import cached_property

import numpy as np
import torch

from lmtx.encoder import batches_by_length
from lmtx.llm import packing
from lmtx.llm.faults import TeacherError, first_line
from lmtx.llm.local import LocalModel
from lmtx.llm.packing import Row, Stem
from lmtx.llm.tokens import answer_tokens

_LIMIT = {"fp32": 0.004, "bf16": 0.5}
"""How far the log-odds of packed and whole prompts may differ. 0.004 moves p_yes by 0.001 at most; in
bf16, rounding alone moves the log-odds of a large model by tenths, a wrong mask by whole units."""
_LEAST_MASS = 0.1
_OVERHEAD = 1.5
"""A forward pass takes about this many times as long as the multiplications by its weights alone."""


class OddsReader:
    """ln P(yes) - ln P(no), each probability summed over all single tokens that spell the word.

    `model`'s account is charged; `stem` are the tokens with which all prompts begin, read once. `packs` says
    whether the prompts of a document share one reading of it; else each is read whole. Raises `TeacherError`
    for a model without a token for *yes* and one for *no*.
    """

    def __init__(self, model: LocalModel, stem: list[int]):
        self._model, self.packs = model, True
        self._stem_ids = stem
        self._checked = 0  # tokens of the longest row whose packing was checked
        self._mass_is_checked = False
        try:
            packing.attention_windows(model.settings)
        except packing.UnshareableError as reason:
            self._read_whole(reason)
        self._words = answer_tokens(model.tokenizer, model.name)

    def cost(self, rows: list[Row]) -> tuple[int, int]:
        """Forward passes and tokens that reading the rows takes."""
        rows = self._parts(rows)
        return len(rows), sum(map(len, rows)) - (len(self._stem_ids) * len(rows) if self.packs else 0)

    def seconds(self, tokens: int) -> float:
        """Rough seconds that reading so many tokens takes, by a trial multiplication."""
        return _OVERHEAD * self._model.seconds(tokens) if tokens else 0.0

    def read(self, rows: list[Row]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """Yield, a batch at a time, numbers of ends, int64 (n,), and their log-odds, float32 (n,).

        Ends are counted from 0 over all rows.
        """
        self._check_packing(rows)
        rows = self._parts(rows)
        stops = np.cumsum([len(row.suffixes) for row in rows])
        for batch in batches_by_length([len(row) for row in rows], self._model.config.batch_tokens):
            ends = [np.arange(stops[i] - len(rows[i].suffixes), stops[i]) for i in batch]
            yield np.concatenate(ends), self._log_odds([rows[i] for i in batch], self.packs)

    def _parts(self, rows: list[Row]) -> list[Row]:
        """The rows as they are read: each end by itself, where the model cannot share a document."""
        return rows if self.packs else [Row(row.prefix, [end]) for row in rows for end in row.suffixes]

    def _log_odds(self, rows: list[Row], packed: bool) -> np.ndarray:
        """The log-odds after each end of each row: float32 (n,). One forward pass."""
        model, weights = self._model, self._model.weights
        padding = model.tokenizer.pad_token_id or 0  # any will do: the mask hides it
        stem = self._stem if packed and all(map(self._stem.starts, rows)) else None
        try:
            if packed:
                logits = packing.packed_logits(weights, rows, padding, weights.device, stem)
            else:
                logits = packing.whole_logits(weights, rows, padding, weights.device)
        except torch.OutOfMemoryError as error:
            raise model.out_of_memory() from error
        yes, no = (logits[:, ids].logsumexp(-1) for ids in self._words)
        if not torch.isfinite(yes - no).all():
            remedy = "set teacher.precision=fp32" if model.precision == "bf16" else "its weights are broken"
            raise TeacherError(f"{model.name} gives no finite probabilities in {model.precision}; {remedy}")
        if not self._mass_is_checked:
            self._check_mass((torch.logaddexp(yes, no) - logits.logsumexp(-1)).exp().median().item())
        model.cost.requests += len(rows)
        model.cost.prompt_tokens += sum(map(len, rows)) - (len(stem.ids) * len(rows) if stem else 0)
        return (yes - no).cpu().numpy()

    @cached_property
    def _stem(self) -> Stem:
        return packing.read_stem(self._model.weights, self._stem_ids, self._model.weights.device)

    def _check_packing(self, rows: list[Row]) -> None:
        """Compare packed with whole prompts on the longest row yet; where they differ, pack no more.

        A model's use of masks and positions shows in its answers only, and some limits of attention
        show in long rows only.
        """
        row = max((row for row in rows if len(row.suffixes) > 1), key=len, default=None)
        if not self.packs or row is None or len(row) <= self._checked:
            return
        few = Row(row.prefix, [row.suffixes[0], row.suffixes[-1]])
        try:
            packed = self._log_odds([row], packed=True)[[0, -1]]
        except TeacherError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            self._read_whole(error)
            return
        difference = float(np.abs(packed - self._log_odds([few], packed=False)).max())
        if difference > _LIMIT[self._model.precision]:
            self._read_whole(f"its log-odds differ by {difference:.3f} from those of whole prompts")
        self._checked = len(row)

    def _read_whole(self, reason: object) -> None:
        """Go on with one prompt a pair."""
        self.packs = False
        warnings.warn(
            f"{self._model.name} cannot read a document once for all its labels: {first_line(reason)}. Each "
            "pair gets a prompt of its own, several times as slow",
            stacklevel=2,
        )

    def _check_mass(self, mass: float) -> None:
        self._mass_is_checked = True
        if mass < _LEAST_MASS:
            warnings.warn(
                f"{self._model.name} gives yes and no together a probability of {mass:.1%} in the first "
                "batch: it would rather write something else, and p_yes means little. Take a model that "
                "is tuned to follow instructions, or another teacher.question",
                stacklevel=2,
            )
