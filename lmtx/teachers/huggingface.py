"""Any causal language model as a teacher in this process: p_yes from one forward pass, no generation.

A document and its labels go through the model together (`packing`), so the document is read once.
"""

import warnings
from collections.abc import Generator, Iterable
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from lmtx.config import HuggingFaceTeacher as HuggingFaceConfig
from lmtx.encoder import batches_by_length
from lmtx.teachers import checkpoint as checkpoints
from lmtx.teachers.base import NO, YES, DocumentPairs, Pairs, Teacher, TeacherError
from lmtx.teachers.packing import (
    Row,
    Stem,
    UnshareableError,
    attention_windows,
    packed_logits,
    read_stem,
    whole_logits,
)
from lmtx.teachers.prompts import Wording, document_text
from lmtx.teachers.store import VerdictStore

_BLOCK = 512  # documents tokenised, and sorted by length, at once
_SAMPLE = 256  # documents whose tokens a plan counts
_PLAIN_TAIL = "\nAnswer:"  # for a model without a chat template
_ODDS_LIMIT = {"fp32": 0.004, "bf16": 0.5}
"""How far the log-odds of packed and whole prompts may differ. 0.004 moves p_yes by 0.001 at most; in
bf16, rounding alone moves the log-odds of a large model by tenths, a wrong mask by whole units."""
_LEAST_MASS = 0.1
_OVERHEAD = 1.5
"""A forward pass takes about this many times as long as the multiplications by its weights alone."""
_FIXED_DATE = (
    "{% macro strftime_now(form) %}{{ form"
    + "".join(f" | replace('%{c}', '{datetime(2026, 1, 1).strftime('%' + c)}')" for c in "aAbBdHIjmMpSyY")
    + " }}{% endmacro %}"
)
"""Some chat templates print the date by this function, and would make another teacher of a model each day."""


class HuggingFaceTeacher(Teacher):
    """Reads p_yes off the model's probabilities of the first token of its answer.

    p_yes = P(yes) / (P(yes) + P(no)), each summed over all single tokens that spell the word. The
    scored tokens are those of `Wording.prefix`, then those of `Wording.suffix`, within the
    tokenizer's chat template where it has one.

    The weights are loaded when the first pair is asked for. Of a GGUF file whose SHA-256 the parameters
    give, nothing is: a run that the store can answer needs no model.

    Raises
    ------
    TeacherError
        When the model cannot be found or used: at once, also without a network, or, for a GGUF file of a
        known SHA-256, when it is first needed.
    """

    def __init__(self, config: HuggingFaceConfig, *, store: VerdictStore):
        self._config = config
        self.max_missing = config.max_missing
        self._wording = Wording.of(config.wording, config.question, config.prompt)
        self._precision = checkpoints.precision_on(config.device, config.precision)
        self._checked = 0  # tokens of the longest row whose packing was checked
        self._mass_is_checked = False
        self._packs = True
        identity = {
            "kind": "huggingface",
            "precision": self._precision,
            "document_tokens": config.document_tokens,
            **self._wording.identity("pointwise"),
        }
        if checkpoints.is_gguf(config.model) and config.sha256 is not None:
            identity |= {"model": f"sha256:{config.sha256}"}  # which also tells its chat template
        else:
            identity |= {"model": self._checkpoint.identity, "frame": list(self._frame)}
            self._prepare()
        super().__init__(config.name, identity, store)

    @property
    def _checkpoint(self) -> checkpoints.Checkpoint:
        if isinstance(self._found, TeacherError):
            raise self._found
        return self._found

    @cached_property
    def _found(self) -> checkpoints.Checkpoint | TeacherError:
        """The model's files, or why there are none, which takes seconds to find out."""
        try:
            return checkpoints.find(self._config.model, self._config.sha256)
        except TeacherError as reason:
            return reason

    @cached_property
    def _tokenizer(self):
        return checkpoints.load_tokenizer(self._checkpoint)

    @cached_property
    def _model_config(self):
        return checkpoints.load_config(self._checkpoint)

    @cached_property
    def _words(self) -> tuple[list[int], list[int]]:
        """The ids of the tokens that spell *yes*, and of those that spell *no*."""
        return checkpoints.answer_tokens(self._tokenizer, self._config.model)

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """What stands before and after a message in the model's chat template."""
        return chat_frame(self._tokenizer, self._config.model)

    @cached_property
    def _frame_ids(self) -> tuple[list[int], list[int]]:
        return frame_ids(self._tokenizer, *self._frame)

    def _prepare(self) -> None:
        """Load what is needed beside the weights; read whole prompts where a document cannot be shared."""
        if "_words" in self.__dict__:
            return
        try:
            attention_windows(self._model_config)
        except UnshareableError as reason:
            self._read_whole(reason)
        _ = self._words  # a model without these words is refused here

    def ask(self, pairs: Pairs) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        try:
            self._prepare()
        except TeacherError as reason:
            if self.max_missing == 0:
                raise
            self.last_fault = str(reason)
            return
        documents = pairs.by_document()
        while block := list(islice(documents, _BLOCK)):
            rows, positions = self._rows(block)
            self._check_packing(rows)
            if not self._packs:
                rows, positions = _one_by_one(rows), np.concatenate(positions)[:, None]
            for batch in batches_by_length([len(row) for row in rows], self._config.batch_tokens):
                odds = self._log_odds([rows[i] for i in batch], self._packs)
                answer = np.where(odds >= 0, YES, NO).astype(np.int8)
                yield np.concatenate([positions[i] for i in batch]), expit(odds), answer

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        if not len(pairs):
            return super().estimate(pairs)
        try:
            self._prepare()
        except TeacherError:
            return self._rough_estimate(pairs)
        starts = np.flatnonzero(np.diff(pairs.rows, prepend=-1))
        ends = np.append(starts[1:], len(pairs))
        sample = np.unique(np.linspace(0, max(len(starts) - 1, 0), _SAMPLE).astype(int))[: len(starts)]
        places = [np.arange(starts[i], ends[i]) for i in sample]
        rows, _ = self._rows(pairs.select(np.concatenate(places)).by_document()) if places else ([], None)
        if not self._packs:
            rows = _one_by_one(rows)
        scale = len(pairs) / max(1, sum(map(len, places)))
        stem = len(self._stem_ids) if self._packs else 0
        tokens = round(scale * sum(len(row) - stem for row in rows))
        unit = "a document with its labels" if self._packs else "a document with one label"
        notes = [f"a request is one forward pass over {unit}"]
        if len(sample) < len(starts):
            notes.append(f"tokens counted in {len(sample)} of {len(starts):,} documents")
        if self.store.speed(self._teacher) is None:
            notes.append("time estimated from a trial multiplication on this machine")
        return {
            "requests": round(scale * len(rows)),
            "prompt_tokens": tokens,
            "answer_tokens": 0,
            "usd": 0.0,
            "seconds": self._trial_seconds(tokens) if tokens else 0.0,
            "notes": tuple(notes),
        }

    def _rough_estimate(self, pairs: Pairs) -> dict[str, Any]:
        """Without the model's tokenizer: four bytes are a token, and a label's frame takes six."""
        tokens = requests = 0
        for document in pairs.by_document():
            text = len(document_text(document.title, document.text).encode()) // 4
            labels = sum(len(self._wording.suffix(label).encode()) // 4 + 6 for label in document.labels)
            tokens += min(text, self._config.document_tokens) + labels
            requests += 1
        notes = (f"{self._config.model} is not on this machine: four bytes are counted as a token",)
        return super().estimate(pairs) | {"requests": requests, "prompt_tokens": tokens, "notes": notes}

    def _rows(self, documents: Iterable[DocumentPairs]) -> tuple[list[Row], list[np.ndarray]]:
        """The prompts of documents, and for each row the positions (int64) of its pairs."""
        head, tail = self._frame_ids
        documents = list(documents)
        texts = [document_text(document.title, document.text) for document in documents]
        texts = cut_texts(self._tokenizer, texts, self._config.document_tokens)
        prefixes = token_ids(self._tokenizer, [self._wording.prefix(text) for text in texts])
        suffixes = [self._wording.suffix(label) for document in documents for label in document.labels]
        suffixes = iter(token_ids(self._tokenizer, suffixes))
        rows, positions = [], []
        for document, prefix in zip(documents, prefixes, strict=True):
            ends = [[*next(suffixes), *tail] for _ in document.labels]
            # Whatever all questions begin with is read once too.
            shared = _shared_start(ends)
            prefix = [*head, *prefix, *ends[0][:shared]]
            self._check_length(document.uid, len(prefix) + max(map(len, ends)) - shared)
            ends = [end[shared:] for end in ends]
            room = max(1, (self._config.batch_tokens - len(prefix)) // max(map(len, ends)))
            for start in range(0, len(ends), room):
                rows.append(Row(prefix, ends[start : start + room]))
                positions.append(document.positions[start : start + room])
        return rows, positions

    def _log_odds(self, rows: list[Row], packed: bool) -> np.ndarray:
        """ln P(yes) - ln P(no) after each end of each row: float32 (n,). One forward pass."""
        padding = self._tokenizer.pad_token_id or 0  # any will do: the mask hides it
        stem = self._stem if packed and all(map(self._stem.starts, rows)) else None
        try:
            if packed:
                logits = packed_logits(self._model, rows, padding, self._model.device, stem)
            else:
                logits = whole_logits(self._model, rows, padding, self._model.device)
        except torch.OutOfMemoryError as error:
            raise TeacherError(
                f"out of memory with batches of {self._config.batch_tokens:,} tokens; lower "
                "teacher.batch_tokens, or teacher.document_tokens where one document is too much"
            ) from error
        yes, no = (logits[:, ids].logsumexp(-1) for ids in self._words)
        if not torch.isfinite(yes - no).all():
            remedy = "set teacher.precision=fp32" if self._precision == "bf16" else "its weights are broken"
            raise TeacherError(
                f"{self._config.model} gives no finite probabilities in {self._precision}; {remedy}"
            )
        if not self._mass_is_checked:
            self._check_mass((torch.logaddexp(yes, no) - logits.logsumexp(-1)).exp().median().item())
        self.cost.requests += len(rows)
        self.cost.prompt_tokens += sum(map(len, rows)) - (len(stem.ids) * len(rows) if stem else 0)
        return (yes - no).cpu().numpy()

    @cached_property
    def _model(self):
        return checkpoints.load_model(self._checkpoint, self._config.device, self._precision)

    @cached_property
    def _stem_ids(self) -> list[int]:
        """The tokens with which the prompts of all documents begin."""
        head, _ = self._frame_ids
        first, second = token_ids(self._tokenizer, [self._wording.prefix(text) for text in ("a", "1")])
        return [*head, *first[: _shared_start([first, second])]]

    @cached_property
    def _stem(self) -> Stem:
        return read_stem(self._model, self._stem_ids, self._model.device)

    def _check_packing(self, rows: list[Row]) -> None:
        """Compare packed with whole prompts on the longest row yet; where they differ, pack no more.

        What a model does with masks and positions shows in its answers only, and some limits of
        attention show in long rows only.
        """
        row = max((row for row in rows if len(row.suffixes) > 1), key=len, default=None)
        if not self._packs or row is None or len(row) <= self._checked:
            return
        few = Row(row.prefix, [row.suffixes[0], row.suffixes[-1]])
        try:
            packed = self._log_odds([row], packed=True)[[0, -1]]
        except TeacherError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            self._read_whole(error)
            return
        whole = self._log_odds([few], packed=False)
        difference = float(np.abs(packed - whole).max())
        if difference > _ODDS_LIMIT[self._precision]:
            self._read_whole(f"its log-odds differ by {difference:.3f} from those of whole prompts")
        self._checked = len(row)

    def _read_whole(self, reason: object) -> None:
        """Go on with one prompt a pair."""
        self._packs = False
        warnings.warn(
            f"{self._config.model} cannot read a document once for all its labels: "
            f"{checkpoints.first_line(reason)}. Each pair gets a prompt of its own, several times as slow",
            stacklevel=2,
        )

    def _check_mass(self, mass: float) -> None:
        self._mass_is_checked = True
        if mass < _LEAST_MASS:
            warnings.warn(
                f"{self._config.model} gives yes and no together a probability of {mass:.1%} in the first "
                "batch: it would rather write something else, and p_yes means little. Take a model that "
                "is tuned to follow instructions, or another teacher.question",
                stacklevel=2,
            )

    def _check_length(self, uid: str, tokens: int) -> None:
        limit = getattr(self._model_config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and tokens > limit:
            budget = self._config.document_tokens
            raise TeacherError(
                f"the prompt for document {uid!r} has {tokens:,} tokens, and {self._config.model} reads "
                f"{limit:,}; lower teacher.document_tokens, now {budget:,}, by at least {tokens - limit:,}"
            )

    def _trial_seconds(self, tokens: int) -> float:
        """Rough seconds for `tokens` tokens, by the machine's speed at multiplying matrices."""
        operations = 2 * checkpoints.parameter_count(self._model_config) * tokens
        return _OVERHEAD * operations / checkpoints.operations_a_second(self._config.device, self._precision)


def chat_frame(tokenizer, model: str) -> tuple[str, str]:
    """What stands before and after the user's message in the tokenizer's chat template.

    Without a template nothing stands before it, and an opening for the answer after it. Raises
    `TeacherError` for a template that cannot hold one message of a user.
    """
    if not tokenizer.chat_template:
        return "", _PLAIN_TAIL
    mark = "⁂"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": mark}],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            enable_thinking=False,
            # Some templates print the date, which would make another teacher each day.
        )
    except Exception as error:  # a template may fail in any way
        raise TeacherError(
            f"the chat template of {model} takes no single user message ({checkpoints.first_line(error)})"
        ) from error
    if text.count(mark) != 1:
        raise TeacherError(f"the chat template of {model} shows a message {text.count(mark)} times, not once")
    head, _, tail = text.partition(mark)
    return head, tail


def frame_ids(tokenizer, head: str, tail: str) -> tuple[list[int], list[int]]:
    """Token ids of what stands before and after a message; without a head, the token that begins a text."""
    before, after = token_ids(tokenizer, [head, tail], split=False)
    if not head:
        first = tokenizer("")["input_ids"][:1]
        before = first if first == [tokenizer.bos_token_id] else []
    return before, after


def token_ids(tokenizer, texts: list[str], split: bool = True) -> list[list[int]]:
    """Token ids; with `split`, a special token that stands in a text is read as its letters."""
    return tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=split,
        return_attention_mask=False,
        verbose=False,
    )["input_ids"]


def cut_texts(tokenizer, texts: list[str], tokens: int) -> list[str]:
    """The longest beginning of each text that has at most `tokens` tokens."""
    # A token has a few dozen characters at most: what lies far behind the budget need not be read.
    texts = [text[: 64 * tokens] for text in texts]
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=True,
        truncation=True,
        max_length=tokens,
        return_offsets_mapping=True,
    )
    return [
        text[: offsets[-1][1]] if len(offsets) == tokens else text
        for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def _one_by_one(rows: list[Row]) -> list[Row]:
    return [Row(row.prefix, [end]) for row in rows for end in row.suffixes]


def _shared_start(ends: list[list[int]]) -> int:
    """How many tokens all ends begin with, leaving each at least its last."""
    most = min(map(len, ends)) - 1
    return next((i for i in range(most) if len({end[i] for end in ends}) > 1), most)
