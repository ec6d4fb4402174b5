"""A causal language model in this process: safetensors or a GGUF file."""

import time
from collections.abc import Callable, Generator, Sequence
from functools import cached_property
from typing import Any

import torch

from lmtx.config import HuggingFaceConfig
from lmtx.devices import multiplies_bf16, resolve_device, resolve_precision
from lmtx.encoder import batches_by_length
from lmtx.llm import checkpoint as checkpoints
from lmtx.llm.chat import Question
from lmtx.llm.cost import Cost, estimate
from lmtx.llm.faults import TeacherError, first_line
from lmtx.llm.tokens import Tokens, chat_frame

_OVERHEAD = 3.0
"""A step of writing takes about this many times as long as the multiplications by the weights alone."""
_TRIALS = 16
_CPU_CACHE = 2**30
"""Bytes of keys and values of the texts written at once on a CPU, where no error says that memory ran out."""


class LocalModel:
    """Loads each of its parts when it is first needed, the weights last.

    Writes the likeliest token at each step (greedily), several answers at once. `cost` counts from
    its making. A part of a model that cannot be found or used raises `TeacherError` when it is first needed,
    also without a network.
    """

    last_fault = ""

    def __init__(self, config: HuggingFaceConfig):
        self.config = config
        self.name = config.model
        self.max_missing = config.max_missing
        self.precision = resolve_precision(config.precision, resolve_device(config.device))
        self.cost = Cost()

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that its answers depend on beside the prompt.

        Needs the model's small files, but for a GGUF file whose SHA-256 the parameters give: that tells its
        chat template too.
        """
        if self.is_pinned:
            model = {"model": f"sha256:{self.config.sha256}"}
        else:
            model = {"model": self._checkpoint.identity, "frame": list(self.frame)}
        return {"kind": "huggingface", **model, "precision": self.precision}

    @property
    def is_pinned(self) -> bool:
        """Whether the parameters identify the model, so that its recorded answers are found without it."""
        return self.name.endswith(".gguf") and self.config.sha256 is not None

    @cached_property
    def missing(self) -> TeacherError | None:
        """Why the model is not on this machine, which takes seconds to find out; None where it is."""
        try:
            self._files = checkpoints.find(self.config.model, self.config.sha256)
        except TeacherError as reason:
            return reason
        return None

    @property
    def _checkpoint(self) -> checkpoints.Checkpoint:
        if self.missing:
            raise self.missing
        return self._files

    @cached_property
    def tokenizer(self):
        """The tokenizer of transformers, one that gives offsets."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(**self._checkpoint.source)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise TeacherError(
                f"the tokenizer of {self.name} cannot be loaded ({first_line(error)}); "
                f"{self._checkpoint.folder} must hold its tokenizer.json"
            ) from error
        if not tokenizer.is_fast:
            raise TeacherError(f"the tokenizer of {self.name} has no tokenizer.json; convert it first")
        return tokenizer

    @cached_property
    def settings(self):
        """The model's configuration in transformers."""
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(**self._checkpoint.source)
        except (OSError, ValueError, KeyError) as error:
            raise TeacherError(
                f"{self.name}: {first_line(error)}; teacher.model must be a model that the installed "
                "transformers knows without code of its own"
            ) from error

    @cached_property
    def weights(self):
        """The model of transformers, for inference."""
        return checkpoints.load_model(self._checkpoint, self.config.device, self.precision)

    @cached_property
    def frame(self) -> tuple[str, str]:
        """The text before and after a message in the model's chat template."""
        return chat_frame(self.tokenizer, self.name)

    @cached_property
    def frame_ids(self) -> tuple[list[int], list[int]]:
        """Token ids of `frame`; without a head, the token that begins a text."""
        head, tail = self.ids(self.frame, split=False)
        if not self.frame[0]:
            first = self.tokenizer("")["input_ids"][:1]
            head = first if first == [self.tokenizer.bos_token_id] else []
        return head, tail

    def ids(self, texts: Sequence[str], split: bool = True) -> list[list[int]]:
        """Token ids, without the frame; with `split`, a special token in a text is read as its letters."""
        options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        return self.tokenizer(list(texts), split_special_tokens=split, **options)["input_ids"]

    def cut(self, texts: Sequence[str]) -> list[str]:
        """The beginning of each text: `teacher.document_tokens` times four bytes.

        Tokens are not counted, so that recorded answers are found without the model.
        """
        return [Tokens(None).cut(text, self.config.document_tokens) for text in texts]

    def count(self, prompt: str) -> int:
        """Tokens that a prompt has within the chat template; without the model, four bytes a token."""
        if self.missing:
            return Tokens(None).count(prompt)
        return len(self._framed([prompt])[0])

    def limit(self, answer_tokens: int) -> int:
        """Tokens after which an answer is cut off."""
        return answer_tokens

    def check_length(self, tokens: int, what: str) -> None:
        """Refuse `what` when it has more tokens than the model reads."""
        limit = getattr(self.settings.get_text_config(), "max_position_embeddings", None)
        if limit is not None and tokens > limit:
            raise TeacherError(
                f"{what} has {tokens:,} tokens, and {self.name} reads {limit:,}; lower "
                f"teacher.document_tokens, now {self.config.document_tokens:,}, by at least "
                f"{tokens - limit:,}"
            )

    def out_of_memory(self) -> TeacherError:
        """The error to raise for a batch that did not fit."""
        return TeacherError(
            f"out of memory with batches of {self.config.batch_tokens:,} tokens; lower "
            "teacher.batch_tokens, or teacher.document_tokens where one document is too much"
        )

    def seconds(self, tokens: int, rows: int = 512) -> float:
        """Rough seconds that multiplying `tokens` tokens by the weights takes, `rows` of them at once.

        By trial multiplications of matrices of a language model's size, too many to stay in a cache.
        """
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.settings)
        width = 2048
        device = resolve_device(self.config.device)
        in_bf16 = self.precision == "bf16" and multiplies_bf16(device)
        options = {"device": device, "dtype": torch.bfloat16 if in_bf16 else torch.float32}
        states = torch.ones((rows, width), **options)
        weights = [torch.ones((width, width), **options) for _ in range(_TRIALS)]
        took = 0.0
        for _ in range(2):  # the first also starts up libraries
            started = time.perf_counter()
            sum((states @ matrix).sum() for matrix in weights).item()  # waits for the device
            took = time.perf_counter() - started
        size = model.num_parameters(exclude_embeddings=True)
        return took / _TRIALS * (tokens / rows) * size / width**2

    def estimate(self, requests: int, prompt: int, answer: int) -> dict[str, Any]:
        """Fields of a `Plan` for writing so many answers."""
        notes = ["a request is one prompt; answers at their longest"]
        seconds = 0.0
        if self.missing:
            notes.append(f"{self.name} is not on this machine: four bytes are counted as a token")
            seconds = None
        elif requests:
            # A prompt is read at once; of its answer each step multiplies by a few rows only.
            rows = max(1, self._room * requests // (prompt + answer))
            seconds = _OVERHEAD * (self.seconds(prompt) + self.seconds(answer, min(rows, requests)))
            notes.append("time estimated from trial multiplications on this machine")
        return estimate(requests, prompt, answer, seconds=seconds, notes=notes)

    def write(
        self, questions: Sequence[Question], say: Callable[[str], None]
    ) -> Generator[list[tuple[int, str]]]:
        """Yield positions in `questions` and texts, a batch at a time.

        Yields nothing where the model is missing and answers may be, which `last_fault` then explains.
        """
        if self.missing and self.max_missing > 0:
            self.last_fault = str(self.missing)
            return
        prompts = self._framed([question.prompt for question in questions])
        limits = [question.answer_tokens for question in questions]
        lengths = [len(ids) + limit for ids, limit in zip(prompts, limits, strict=True)]
        self.check_length(max(lengths), "the longest prompt with its answer")
        for batch in batches_by_length(lengths, self._room):
            texts = self._generate([prompts[i] for i in batch], [limits[i] for i in batch])
            yield list(zip(batch.tolist(), texts, strict=True))

    @property
    def _room(self) -> int:
        """Tokens of a batch that is written, its answers included."""
        if resolve_device(self.config.device).type != "cpu":
            return self.config.batch_tokens
        config = self.settings.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        numbers = 2 * config.num_hidden_layers * heads * width  # a key and a value in each layer
        return _CPU_CACHE // (numbers * (2 if self.precision == "bf16" else 4))

    def _framed(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts within the model's chat template."""
        head, tail = self.frame_ids
        return [[*head, *ids, *tail] for ids in self.ids(prompts)]

    @cached_property
    def _ends(self) -> set[int]:
        """The tokens that end an answer; from here on the weights write greedily."""
        from transformers import GenerationConfig

        own = self.weights.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
        # In the place of the authors' advice on drawing at random, which greedy writing does not follow.
        self.weights.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(ends) or None, pad_token_id=self.tokenizer.pad_token_id or 0
        )
        return ends

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], limits: list[int]) -> list[str]:
        """The answers to a batch of prompts, each at most its limit of tokens long."""
        ends = self._ends
        # Padded on the left, so that all answers begin at the same place.
        width = max(map(len, prompts))
        padding = self.tokenizer.pad_token_id or 0  # any will do: the mask hides it
        ids = torch.tensor([[padding] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        device = self.weights.device
        try:
            rows = self.weights.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=max(limits)
            )
        except torch.OutOfMemoryError as error:
            raise self.out_of_memory() from error
        written = []
        for tokens, limit in zip(rows[:, width:].tolist(), limits, strict=True):
            end = next((i for i, token in enumerate(tokens[:limit]) if token in ends), None)
            written.append(tokens[: limit if end is None else end])
            self.cost.answer_tokens += len(written[-1]) + (end is not None)
        self.cost.requests += len(prompts)
        self.cost.prompt_tokens += sum(map(len, prompts))
        return self.tokenizer.batch_decode(written, skip_special_tokens=True)
