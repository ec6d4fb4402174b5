"""Any causal language model as a teacher in this process: p_yes from one forward pass, no generation.

The prompts of a document go through the model together (`lmtx.llm.packing`), so the document is read once.
"""

import warnings
from collections.abc import Generator, Iterable
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from lmtx.config import HuggingFaceConfig
from lmtx.encoder import batches_by_length
from lmtx.llm import packing
from lmtx.llm.cost import estimate
from lmtx.llm.faults import TeacherError, first_line
from lmtx.llm.local import LocalModel
from lmtx.llm.packing import Row, Stem
from lmtx.llm.tokens import Tokens, cut_texts
from lmtx.teachers.base import Answers, Teacher
from lmtx.teachers.pairs import NO, YES, DocumentPairs, Pairs
from lmtx.teachers.prompts import Wording, document_text
from lmtx.teachers.store import VerdictStore

_BLOCK = 512  # documents tokenised, and sorted by length, at once
_SAMPLE = 256  # documents whose tokens a plan counts
_LIMIT = {"fp32": 0.004, "bf16": 0.5}
"""How far the log-odds of packed and whole prompts may differ. 0.004 moves p_yes by 0.001 at most; in
bf16, rounding alone moves the log-odds of a large model by tenths, a wrong mask by whole units."""
_LEAST_MASS = 0.1
_OVERHEAD = 1.5
"""A forward pass takes about this many times as long as the multiplications by its weights alone."""


class HuggingFaceTeacher(Teacher):
    """p_yes = P(yes) / (P(yes) + P(no)), read off the first token of the answer.

    Each is summed over all tokens that spell the word. The prompt's tokens are those of `Wording.prefix`,
    then those of `Wording.suffix`, within the tokenizer's chat template where it has one.

    The weights are loaded when the first pair is asked for. Of a GGUF file whose SHA-256 the parameters
    give, nothing is: a run that the store can answer needs no model. Raises `TeacherError` when the model
    cannot be found or used: at once, also without a network, or, for such a file, when it is first needed.
    """

    sends = True

    def __init__(self, config: HuggingFaceConfig, *, store: VerdictStore):
        self._config = config
        self._wording = Wording.of(config.wording, config.question, config.prompt)
        self.model = LocalModel(config)
        self.max_missing = config.max_missing
        self._checked = 0  # tokens of the longest row whose packing was checked
        self._mass_is_checked = False
        wording = self._wording.identity("pointwise")
        identity = self.model.identity | {"document_tokens": config.document_tokens, **wording}
        if not self.model.is_pinned:
            _ = self.packs, self._words  # a model that cannot judge is refused here
        super().__init__(config.name, identity, store, self.model.cost)

    @cached_property
    def packs(self) -> bool:
        """Whether the prompts of a document share one reading of it; else each is read whole."""
        try:
            packing.attention_windows(self.model.settings)
        except packing.UnshareableError as reason:
            self._read_whole(reason)
            return False
        return True  # until `_check_packing` finds otherwise

    @cached_property
    def _words(self) -> tuple[list[int], list[int]]:
        """The ids of all single tokens that spell *yes*, and of those that spell *no*.

        Case and a leading space (the marks Ġ and ▁) make no difference.
        """
        spelled: dict[str, list[int]] = {"yes": [], "no": []}
        for token, number in self.model.tokenizer.get_vocab().items():
            word = token.lstrip("Ġ▁ ").lower()
            if word in spelled:
                spelled[word].append(number)
        for word, ids in spelled.items():
            if not ids:
                raise TeacherError(
                    f"the tokenizer of {self.model.name} has no single token for “{word}”, so its "
                    "probability cannot be read from one forward pass; take another model, or serve this "
                    "one and use teacher=openai"
                )
        return sorted(spelled["yes"]), sorted(spelled["no"])

    @cached_property
    def _stem_ids(self) -> list[int]:
        """The tokens with which the prompts of all documents begin."""
        head, _ = self.model.frame_ids
        first, second = self.model.ids([self._wording.prefix(text) for text in ("a", "1")])
        return [*head, *first[: _shared_start([first, second])]]

    @cached_property
    def _stem(self) -> Stem:
        """`_stem_ids`, read once for the run."""
        return packing.read_stem(self.model.weights, self._stem_ids, self.model.weights.device)

    def ask(self, pairs: Pairs) -> Generator[Answers]:
        if self.model.missing and self.max_missing > 0:
            self.last_fault = str(self.model.missing)
            return
        _ = self.packs, self._words  # a model that cannot judge is refused before its weights are loaded
        documents = pairs.by_document()
        while block := list(islice(documents, _BLOCK)):
            rows = self._rows(block)
            self._check_packing(rows)
            rows = self._parts(rows)
            # The ends of the rows are in the order of the pairs.
            positions = np.concatenate([document.positions for document in block])
            positions = np.split(positions, np.cumsum([len(row.suffixes) for row in rows])[:-1])
            for batch in batches_by_length([len(row) for row in rows], self._config.batch_tokens):
                odds = self._log_odds([rows[i] for i in batch], self.packs)
                answer = np.where(odds >= 0, YES, NO).astype(np.int8)
                yield np.concatenate([positions[i] for i in batch]), expit(odds), answer

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        try:
            _ = self.packs, self._words
        except TeacherError as reason:
            # Without its tokenizer: four bytes are a token, and a label's frame takes six.
            tokens = requests = 0
            count = Tokens(None).count
            for document in pairs.by_document():
                text = count(document_text(document.title, document.text))
                labels = sum(count(self._wording.suffix(label)) + 6 for label in document.labels)
                tokens += min(text, self._config.document_tokens) + labels
                requests += 1
            fault = (
                "is not on this machine" if self.model.missing else f"cannot be used ({first_line(reason)})"
            )
            note = f"{self._config.model} {fault}: four bytes are counted as a token"
            return estimate(requests, tokens, notes=[note])
        # With it: count the tokens of a sample.
        sample, documents, all_documents = pairs.sample(_SAMPLE)
        scale = len(pairs) / len(sample)
        rows = self._parts(self._rows(sample.by_document()))
        shared = len(self._stem_ids) * len(rows) if self.packs else 0
        tokens = round(scale * (sum(map(len, rows)) - shared))
        unit = "a document with its labels" if self.packs else "a document with one label"
        notes = [f"a request is one forward pass over {unit}"]
        if documents < all_documents:
            notes.append(f"tokens counted in {documents} of {all_documents:,} documents")
        notes.append("time estimated from trial multiplications on this machine")
        seconds = _OVERHEAD * self.model.seconds(tokens)
        return estimate(round(scale * len(rows)), tokens, seconds=seconds, notes=notes)

    def _rows(self, documents: Iterable[DocumentPairs]) -> list[Row]:
        """The prompts of documents; their ends are in the order of the documents' pairs."""
        head, tail = self.model.frame_ids
        documents = list(documents)
        texts = [document_text(document.title, document.text) for document in documents]
        texts = cut_texts(self.model.tokenizer, texts, self._config.document_tokens)
        prefixes = self.model.ids([self._wording.prefix(text) for text in texts])
        suffixes = [self._wording.suffix(label) for document in documents for label in document.labels]
        suffix_ids = iter(self.model.ids(suffixes))
        rows = []
        for document, prefix in zip(documents, prefixes, strict=True):
            ends = [[*next(suffix_ids), *tail] for _ in document.labels]
            # Whatever all questions begin with is read once too.
            shared = _shared_start(ends)
            prefix = [*head, *prefix, *ends[0][:shared]]
            longest = len(prefix) + max(map(len, ends)) - shared
            self.model.check_length(longest, f"the prompt for document {document.uid!r}")
            ends = [end[shared:] for end in ends]
            room = max(1, (self._config.batch_tokens - len(prefix)) // max(map(len, ends)))
            rows += [Row(prefix, ends[start : start + room]) for start in range(0, len(ends), room)]
        return rows

    def _parts(self, rows: list[Row]) -> list[Row]:
        """The rows as they are read: each end by itself, where the model cannot share a document."""
        return rows if self.packs else [Row(row.prefix, [end]) for row in rows for end in row.suffixes]

    def _log_odds(self, rows: list[Row], packed: bool) -> np.ndarray:
        """ln P(yes) - ln P(no) after each end of each row: float32 (n,). One forward pass."""
        model, weights = self.model, self.model.weights
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
            self._mass_is_checked = True
            mass = (torch.logaddexp(yes, no) - logits.logsumexp(-1)).exp().median().item()
            if mass < _LEAST_MASS:
                warnings.warn(
                    f"{model.name} gives yes and no together a probability of {mass:.1%} in the first "
                    "batch: it would rather write something else, and p_yes means little. Take a model that "
                    "is tuned to follow instructions, or another teacher.question",
                    stacklevel=2,
                )
        model.cost.requests += len(rows)
        model.cost.prompt_tokens += sum(map(len, rows)) - (len(stem.ids) * len(rows) if stem else 0)
        return (yes - no).cpu().numpy()

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
        if difference > _LIMIT[self.model.precision]:
            self._read_whole(f"its log-odds differ by {difference:.3f} from those of whole prompts")
        self._checked = len(row)

    def _read_whole(self, reason: object) -> None:
        """Go on with one prompt a pair."""
        self.packs = False
        warnings.warn(
            f"{self.model.name} cannot read a document once for all its labels: {first_line(reason)}. Each "
            "pair gets a prompt of its own, several times as slow",
            stacklevel=2,
        )


def _shared_start(ends: list[list[int]]) -> int:
    """How many tokens all ends begin with, leaving each at least its last."""
    most = min(map(len, ends)) - 1
    return next((i for i in range(most) if len({end[i] for end in ends}) > 1), most)
