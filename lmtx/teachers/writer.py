"""Texts that a language model writes, each asked for once and kept for good, as verdicts are.

The same models that judge as teachers can write: `build_writer` takes the same section of the
parameters. A text is found by a hash of the model, the prompt and the settings.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.llm.chat import Question, without_thought
from lmtx.llm.cost import Plan
from lmtx.teachers.base import Asker
from lmtx.teachers.store import KEY_BYTES, VerdictStore, identity_digest

_SAMPLE = 500  # prompts whose tokens a plan counts


class Writer(Asker):
    """A language model that answers in text, with a store of its answers. A context manager.

    `model` is a `lmtx.llm.served.ServedModel` or a `lmtx.llm.local.LocalModel`.
    """

    def __init__(self, name: str, model: Any, *, store: VerdictStore):
        self.model = model
        self.max_missing = model.max_missing
        super().__init__(name, model.identity | {"task": "write"}, store, model.cost)

    def cut(self, texts: Sequence[str]) -> list[str]:
        """The beginning of each text that fits into `teacher.document_tokens`."""
        return self.model.cut(texts)

    def plan(self, questions: Sequence[Question]) -> Plan:
        """The requests, cost and time of `write`, without sending anything."""
        keys = self._keys(questions)
        stored = self.store.lookup_texts(keys)
        new = list({k: q for k, q in zip(keys, questions, strict=True) if k not in stored}.values())
        chosen = np.unique(np.linspace(0, max(len(new) - 1, 0), _SAMPLE).astype(int))[: len(new)]
        prompt = sum(self.model.count(new[i].prompt) for i in chosen)
        prompt = round(prompt * len(new) / max(1, len(chosen)))
        answer = sum(self.model.limit(question.answer_tokens) for question in new)
        estimate = self._timed(self.model.estimate(len(new), prompt, answer), len(new))
        cached = sum(key in stored for key in keys)
        return Plan(self.name, len(questions), cached, **estimate, task="answers to write")

    def bill(self, questions: Sequence[Question], answers: Sequence[str | None]) -> dict[str, float | None]:
        """The cost of these answers with an empty store: requests, tokens, usd, seconds (None: unknown)."""
        prompt = sum(self.model.count(question.prompt) for question in questions)
        answer = sum(self.model.count(text) for text in answers if text)
        estimate = self._timed(self.model.estimate(len(questions), prompt, answer), len(questions))
        return {name: value for name, value in estimate.items() if name != "notes"}

    def stored(self, questions: Sequence[Question]) -> list[str | None]:
        """The answers that the store has, None for the others; nothing is sent."""
        return self._answers(self._keys(questions))

    def write(self, questions: Sequence[Question], task: str, progress: bool = True) -> list[str | None]:
        """The answers to `questions`: from the store, and by asking for the rest.

        Equal questions are asked once. `task` names the texts in the bar of `progress`. Returns a text
        for each question, without the thought before it; None where the request failed. Raises
        `TeacherError` as `Teacher.judge` does, where empty answers count as missing ones.
        """
        keys = self._keys(questions)
        stored = self.store.lookup_texts(keys)
        self.cost.cached += sum(key in stored for key in keys)
        new = {key: q for key, q in zip(keys, questions, strict=True) if key not in stored}
        new_keys = list(new)

        def save(texts: list[tuple[int, str]]) -> int:
            self.store.save_texts(self._teacher, {new_keys[i]: text for i, text in texts})
            return len(texts)

        requests = [replace(q, answer_tokens=self.model.limit(q.answer_tokens)) for q in new.values()]
        answers = self.model.write(requests, lambda text: self.say(text))
        words = (f"writes {task}", "answer", f"texts ({task}) were written")
        try:
            self._keep(answers, save, len(new), words, progress)
        finally:
            self.last_fault = self.model.last_fault
        # As the store has them: where another process asked the same, its answer may have come first.
        texts = self._answers(keys)
        failed, empty = texts.count(None), texts.count("")
        self.cost.failed += failed
        remedy = "raise teacher.max_tokens where a model spends them all on its thought"
        self._check_missing(len(texts), failed, empty, "texts are missing", "are empty", remedy)
        return texts

    def _keys(self, questions: Sequence[Question]) -> list[bytes]:
        """The store's keys: hashes of the identity, the answer's limit and the prompt."""
        start = blake2b(identity_digest(self.identity), digest_size=KEY_BYTES)
        keys = []
        for question in questions:
            key = start.copy()
            key.update(f"{self.model.limit(question.answer_tokens)}\0{question.prompt}".encode())
            keys.append(key.digest())
        return keys

    def _answers(self, keys: list[bytes]) -> list[str | None]:
        stored = self.store.lookup_texts(keys)
        return [without_thought(stored[key]).strip() if key in stored else None for key in keys]


def build_writer(config: Any, *, store: str | Path, records: str | Path | None = None) -> Writer:
    """Make the writer of a `teacher` section of the kind "openai" or "huggingface".

    `store` is the verdict store's file; made when missing. `records` is a folder of recorded texts (see
    `lmtx.teachers.records`), which join the store. Raises `ValueError` for another kind, `ConfigError` and
    `TeacherError` for a model that cannot be used, and `StoreError` for such a store or record.
    """
    if config.kind == "openai":
        from lmtx.llm.served import ServedModel as Model
    elif config.kind == "huggingface":
        from lmtx.llm.local import LocalModel as Model
    else:
        raise ValueError(f"the {config.kind} teacher writes no text")
    opened = VerdictStore(store)
    try:
        writer = Writer(config.name, Model(config), store=opened)
        if records is not None:
            writer.take_record(Path(records) / f"{writer.name}-texts.parquet")
        return writer
    except BaseException:
        opened.close()
        raise
