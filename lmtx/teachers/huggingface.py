"""Any causal language model as a teacher in this process: p_yes from one forward pass, no generation."""

from collections.abc import Generator, Iterable
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from scipy.special import expit

from lmtx.config import HuggingFaceConfig
from lmtx.llm.cost import estimate
from lmtx.llm.faults import TeacherError
from lmtx.llm.local import LocalModel
from lmtx.llm.odds import OddsReader
from lmtx.llm.packing import Row
from lmtx.llm.tokens import Tokens, cut_texts
from lmtx.teachers.base import Answers, Teacher
from lmtx.teachers.pairs import NO, YES, DocumentPairs, Pairs
from lmtx.teachers.prompts import Wording, document_text
from lmtx.teachers.store import VerdictStore

_BLOCK = 512  # documents tokenised, and sorted by length, at once
_SAMPLE = 256  # documents whose tokens a plan counts


class HuggingFaceTeacher(Teacher):
    """p_yes = P(yes) / (P(yes) + P(no)), as `lmtx.llm.odds` reads it.

    The scored tokens are those of `Wording.prefix`, then those of `Wording.suffix`, within the
    tokenizer's chat template where it has one.

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
        wording = self._wording.identity("pointwise")
        identity = self.model.identity | {"document_tokens": config.document_tokens, **wording}
        if not self.model.is_pinned:
            _ = self._reader  # a model that cannot judge is refused here
        super().__init__(config.name, identity, store, self.model.cost)

    @cached_property
    def _reader(self) -> OddsReader:
        return OddsReader(self.model, self._stem_ids)

    @cached_property
    def _stem_ids(self) -> list[int]:
        """The tokens with which the prompts of all documents begin."""
        head, _ = self.model.frame_ids
        first, second = self.model.ids([self._wording.prefix(text) for text in ("a", "1")])
        return [*head, *first[: _shared_start([first, second])]]

    def ask(self, pairs: Pairs) -> Generator[Answers]:
        try:
            reader = self._reader
        except TeacherError as reason:
            if self.max_missing == 0:
                raise
            self.last_fault = str(reason)
            return
        documents = pairs.by_document()
        while block := list(islice(documents, _BLOCK)):
            rows = self._rows(block)
            positions = np.concatenate([document.positions for document in block])
            for ends, odds in reader.read(rows):
                yield positions[ends], expit(odds), np.where(odds >= 0, YES, NO).astype(np.int8)

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        try:
            reader = self._reader
        except TeacherError:
            return self._rough_estimate(pairs)
        sample, documents, all_documents = pairs.sample(_SAMPLE)
        scale = len(pairs) / len(sample)
        requests, tokens = reader.cost(self._rows(sample.by_document()))
        tokens = round(scale * tokens)
        unit = "a document with its labels" if reader.packs else "a document with one label"
        notes = [f"a request is one forward pass over {unit}"]
        if documents < all_documents:
            notes.append(f"tokens counted in {documents} of {all_documents:,} documents")
        if self.speed() is None:
            notes.append("time estimated from a trial multiplication on this machine")
        return estimate(round(scale * requests), tokens, seconds=reader.seconds(tokens), notes=notes)

    def _rough_estimate(self, pairs: Pairs) -> dict[str, Any]:
        """Without the model's tokenizer: four bytes are a token, and a label's frame takes six."""
        tokens = requests = 0
        count = Tokens(None).count
        for document in pairs.by_document():
            text = count(document_text(document.title, document.text))
            labels = sum(count(self._wording.suffix(label)) + 6 for label in document.labels)
            tokens += min(text, self._config.document_tokens) + labels
            requests += 1
        notes = (f"{self._config.model} is not on this machine: four bytes are counted as a token",)
        return estimate(requests, tokens, notes=notes)

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


def _shared_start(ends: list[list[int]]) -> int:
    """How many tokens all ends begin with, leaving each at least its last."""
    most = min(map(len, ends)) - 1
    return next((i for i in range(most) if len({end[i] for end in ends}) > 1), most)
