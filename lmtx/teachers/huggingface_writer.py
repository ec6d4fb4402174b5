"""Texts from a causal language model in this process."""

from collections.abc import Generator, Sequence
from functools import cached_property
from typing import Any

import torch

from lmtx.config import HuggingFaceTeacher as HuggingFaceConfig
from lmtx.encoder import batches_by_length
from lmtx.teachers import checkpoint as checkpoints
from lmtx.teachers.base import TeacherError
from lmtx.teachers.generation import Question, Writer
from lmtx.teachers.huggingface import chat_frame, cut_texts, frame_ids, token_ids
from lmtx.teachers.store import VerdictStore

_OVERHEAD = 3.0
"""A step of writing takes about this many times as long as the multiplications by the weights alone."""


class HuggingFaceWriter(Writer):
    """Writes the likeliest token at each step (greedily), several answers at once.

    Prompts are padded on the left, so that all answers of a batch begin at the same place. A batch
    holds `batch_tokens` tokens, with those that may be written.

    Raises
    ------
    TeacherError
        When the model cannot be found or used; at once, also without a network.
    """

    def __init__(self, config: HuggingFaceConfig, *, store: VerdictStore):
        self._config = config
        self._checkpoint = checkpoints.find(config.model)
        self._tokenizer = checkpoints.load_tokenizer(self._checkpoint)
        self._model_config = checkpoints.load_config(self._checkpoint)
        self._precision = checkpoints.precision_on(config.device, config.precision)
        head, tail = chat_frame(self._tokenizer, config.model)
        self._head, self._tail = frame_ids(self._tokenizer, head, tail)
        identity = {
            "kind": "huggingface",
            "task": "write",
            "model": self._checkpoint.identity,
            "precision": self._precision,
            "frame": [head, tail],
        }
        super().__init__(config.name, config.model, identity, store)

    def cut(self, texts: Sequence[str]) -> list[str]:
        return cut_texts(self._tokenizer, list(texts), self._config.document_tokens) if texts else []

    def count(self, prompt: str) -> int:
        return len(self._ids([prompt])[0])

    def estimate(self, requests: int, prompt: int, answer: int) -> dict[str, Any]:
        notes = ["a request is one prompt; answers at their longest"]
        seconds = 0.0
        if requests:
            each = 2 * checkpoints.parameter_count(self._model_config)
            device, precision = self._config.device, self._precision
            # A prompt is read at once; of its answer each step multiplies by a few rows only.
            rows = max(1, self._config.batch_tokens * requests // (prompt + answer))
            seconds = each * prompt / checkpoints.operations_a_second(device, precision)
            seconds += each * answer / checkpoints.operations_a_second(device, precision, min(rows, requests))
            seconds *= _OVERHEAD
            notes.append("time estimated from trial multiplications on this machine")
        return {"usd": 0.0, "seconds": seconds, "notes": tuple(notes)}

    def ask(self, questions: Sequence[Question]) -> Generator[list[tuple[int, str]]]:
        prompts = self._ids([question.prompt for question in questions])
        limits = [self.limit(question) for question in questions]
        lengths = [len(ids) + limit for ids, limit in zip(prompts, limits, strict=True)]
        self._check_length(max(lengths))
        for batch in batches_by_length(lengths, self._config.batch_tokens):
            texts = self._generate([prompts[i] for i in batch], [limits[i] for i in batch])
            yield list(zip(batch.tolist(), texts, strict=True))

    def _ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts within the model's chat template."""
        return [[*self._head, *ids, *self._tail] for ids in token_ids(self._tokenizer, list(prompts))]

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], limits: list[int]) -> list[str]:
        """The answers to a batch of prompts, each at most its limit of tokens long."""
        width = max(map(len, prompts))
        padding = self._tokenizer.pad_token_id or 0  # any will do: the mask hides it
        ids = torch.tensor([[padding] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        device = self._model.device
        try:
            found = self._model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=max(limits)
            )
        except torch.OutOfMemoryError as error:
            raise TeacherError(
                f"out of memory with batches of {self._config.batch_tokens:,} tokens; lower "
                "teacher.batch_tokens, or teacher.document_tokens where one document is too much"
            ) from error
        ends, written = set(self._model.generation_config.eos_token_id or ()), []
        for tokens, limit in zip(found[:, width:].tolist(), limits, strict=True):
            end = next((i for i, token in enumerate(tokens[:limit]) if token in ends), None)
            written.append(tokens[: limit if end is None else end])
            self.cost.answer_tokens += len(written[-1]) + (end is not None)
        self.cost.requests += len(prompts)
        self.cost.prompt_tokens += sum(map(len, prompts))
        return self._tokenizer.batch_decode(written, skip_special_tokens=True)

    @cached_property
    def _model(self):
        from transformers import GenerationConfig

        model = checkpoints.load_model(self._checkpoint, self._config.device, self._precision)
        # In the place of the authors' advice on drawing at random, which greedy writing does not follow.
        own = model.generation_config.eos_token_id
        ends = [self._tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
        model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=sorted({end for end in ends if end is not None}) or None,
            pad_token_id=self._tokenizer.pad_token_id or 0,
        )
        return model

    def _check_length(self, tokens: int) -> None:
        limit = getattr(self._model_config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and tokens > limit:
            raise TeacherError(
                f"the longest prompt and its answer have {tokens:,} tokens, and {self._config.model} "
                f"reads {limit:,}; lower teacher.document_tokens, now {self._config.document_tokens:,}, by "
                f"at least {tokens - limit:,}"
            )
