"""The same requests through the Batch API.

Each request carries its pair's key, and each batch the teacher's identity, so that a later run collects
the batches of an earlier one first, and sends only what is still missing.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
from openai.types import Batch

from lmtx.llm.batch import BatchApi, refusal
from lmtx.llm.chat import Question, Reply, Usage
from lmtx.llm.faults import BudgetError, ServerError, TeacherError, read_fault
from lmtx.teachers.base import Answers
from lmtx.teachers.openai import Job, OpenAITeacher, joined
from lmtx.teachers.pairs import Pairs
from lmtx.teachers.store import identity_digest

_BLOCK = 1000  # answers stored at a time


def ask_in_batches(teacher: OpenAITeacher, pairs: Pairs) -> Generator[Answers]:
    """`ask` for an OpenAI teacher, through the Batch API; see there for what it yields."""
    with BatchApi(teacher.model, identity_digest(teacher.identity).hex(), teacher.say) as api:
        yield from _Batches(teacher, pairs, api).run()


class _Batches:
    """Sends what is missing, and collects it; a bad listwise answer is asked again pointwise."""

    def __init__(self, teacher: OpenAITeacher, pairs: Pairs, api: BatchApi):
        self._teacher, self._pairs, self._api = teacher, pairs, api
        self._keys = teacher.keys(pairs)
        self._missing = np.ones(len(pairs), dtype=bool)
        # By a request's id: its positions, and whether it is listwise.
        self._open: dict[str, tuple[np.ndarray, bool]] = {}
        self._again: list[Job] = []
        self._over_budget: BudgetError | None = None
        self._reserved: dict[str, float] = {}
        self._as_sent = teacher.model.dialect.copy()

    def run(self) -> Generator[Answers]:
        store, teacher = self._teacher.store, self._teacher
        earlier = [batch for batch in self._api.listed() if not store.is_collected(batch.id)]
        if earlier:
            teacher.say(f"taking up {len(earlier)} batches of an earlier run")
            for job in self._jobs(np.flatnonzero(self._missing)):
                for one in (job, *teacher.pointwise(job)):
                    self._open[self._id(one)] = (one.positions, one.listwise)
            yield from self._collect(earlier)
        rest = self._missing.copy()
        for job in self._again:
            rest[job.positions] = False
        jobs: Iterable[Job] = chain(self._again, self._jobs(np.flatnonzero(rest)))
        while jobs:
            self._again = []
            self._as_sent = teacher.model.dialect.copy()
            yield from self._collect(list(self._api.send(self._questions(iter(jobs)))))
            if self._over_budget:
                raise self._over_budget
            jobs = self._again

    def _jobs(self, positions: np.ndarray) -> Iterator[Job]:
        """The requests for the pairs at `positions`."""
        for job in self._teacher.jobs(self._pairs.select(positions)):
            yield replace(job, positions=positions[job.positions])

    def _questions(self, jobs: Iterator[Job]) -> Iterator[tuple[str, Question]]:
        """The ids and texts of requests, until a limit has no room for another."""
        for job in jobs:
            question, request_id = self._teacher.question(job), self._id(job)
            try:
                self._reserved[request_id] = self._teacher.model.reserve(question)
            except BudgetError as error:
                self._over_budget = error
                return
            self._open[request_id] = (job.positions, job.listwise)
            yield request_id, question

    def _id(self, job: Job) -> str:
        """The key of its first pair, and for a listwise request a hash of all of them."""
        keys = self._keys[job.positions]
        first = keys[0].tobytes().hex()
        return f"{first}-{blake2b(keys.tobytes(), digest_size=8).hexdigest()}" if job.listwise else first

    def _collect(self, batches: list[Batch]) -> Generator[Answers]:
        """Yield the answers of batches, and mark each batch of which every line is settled."""
        for batch in batches:
            settled, answers = True, []
            for result in self._api.results(batch):
                line_is_settled, answer = self._read(result)
                settled = settled and line_is_settled
                if answer is not None:
                    answers.append(answer)
                    self._missing[answer[0]] = False
                if len(answers) == _BLOCK:
                    yield joined(answers)
                    answers = []
            if answers:
                yield joined(answers)
            if settled:
                self._teacher.store.mark_collected(batch.id)
        if self._api.refusals:
            raise TeacherError("\n".join(self._api.refusals))

    def _read(self, result: dict[str, Any]) -> tuple[bool, Answers | None]:
        """Whether a result line is settled, and its answer, if it gives a new one."""
        teacher, request_id = self._teacher, result["custom_id"]
        teacher.model.budget.reserved -= self._reserved.pop(request_id, 0.0)
        if request_id not in self._open:
            # Not asked for now: settled if its answer is stored, else left for a run that asks for it.
            first = np.frombuffer(bytes.fromhex(request_id.partition("-")[0]), dtype=np.uint8)[None]
            return bool(teacher.store.lookup(first)[2][0]), None
        positions, listwise = self._open[request_id]
        if not self._missing[positions].all():
            return True, None
        job = self._job(positions, listwise)
        question = teacher.question(job)
        if error := refusal(result):
            return True, self._refused(job, question, error)
        body = result["response"].get("body")
        teacher.model.account(question, Usage.of(question, body))
        try:
            reply = Reply.of(question, body)
        except ServerError as error:
            return True, self._refused(job, question, error)
        answer = teacher.read(job, reply)
        if answer is None and listwise:
            self._again += teacher.pointwise(job)
        elif answer is None:
            teacher.last_fault = reply.shortfall(teacher.model.name)
        return True, answer

    def _refused(self, job: Job, question: Question, error: ServerError) -> Answers | None:
        """A refused request: none for filtered content; sent again without a parameter; else failed."""
        teacher = self._teacher
        if teacher.model.dialect.adapt(error, self._as_sent.body(question)):
            self._again.append(job)
            return None
        fault = read_fault(error, teacher.model.name)
        teacher.last_fault = fault.message
        return teacher.read(job, Reply(refused=True)) if fault.kind == "filtered" else None

    def _job(self, positions: np.ndarray, listwise: bool) -> Job:
        """The request at these positions; made anew, so that prompts do not fill the memory."""
        (job,) = self._teacher.jobs(self._pairs.select(positions))
        if job.listwise and not listwise:
            (job,) = self._teacher.pointwise(job)
        return replace(job, positions=positions)
