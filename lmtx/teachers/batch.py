"""The same requests through the Batch API: half the price, answers within a day, and no connection to hold.

Nothing about a batch is kept here: it carries the teacher's identity as metadata and each request
its pair's key, so that a later run finds the batches of an earlier one at the provider, collects
them first, and sends only what is still missing.
"""

import json
import random
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import openai
from openai.types import Batch

from lmtx.teachers.base import BudgetError, Teacher, TeacherError
from lmtx.teachers.chat import Answer, Job, joined, none_to
from lmtx.teachers.cost import duration
from lmtx.teachers.faults import BadReply, address, api_key, backoff, read_fault
from lmtx.teachers.pairs import Pairs
from lmtx.teachers.store import identity_digest

LINES, BYTES = 50_000, 190_000_000  # of one input file; the provider takes 50,000 and 200 MB
FIRST_POLL, LAST_POLL = 5.0, 60.0  # seconds between questions after a batch
_DAYS = 30  # how long results stay at the provider
_OVER = ("completed", "failed", "expired", "cancelled")
_BLOCK = 1000  # answers stored at a time

Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


def ask_in_batches(teacher: Teacher, pairs: Pairs) -> Generator[Answers]:
    """`ask` for an OpenAI teacher, through the Batch API; see there for what it yields."""
    with openai.OpenAI(api_key=api_key(), max_retries=0, timeout=teacher.config.timeout) as client:
        yield from _Batches(teacher, pairs, client).run()


class _Batches:
    """Sends what is missing, waits, collects; a bad listwise answer is asked again pointwise."""

    def __init__(self, teacher: Teacher, pairs: Pairs, client: openai.OpenAI):
        self._teacher, self._pairs, self._client = teacher, pairs, client
        self._tag = identity_digest(teacher.identity).hex()
        self._keys = teacher.keys(pairs)
        self._missing = np.ones(len(pairs), dtype=bool)
        # By a request's id: its positions, and whether it is listwise.
        self._open: dict[str, tuple[np.ndarray, bool]] = {}
        self._again: list[Job] = []
        self._as_sent = teacher.chat.copy()
        self._over_budget: BudgetError | None = None
        self._reserved: dict[str, float] = {}

    def run(self) -> Generator[Answers]:
        earlier = [b for b in self._listed() if not self._teacher.store.is_collected(b.id)]
        if earlier:
            self._teacher.say(f"taking up {len(earlier)} batches of an earlier run")
            for job in self._jobs(np.flatnonzero(self._missing)):
                for one in (job, *self._teacher.chat.pointwise(job)):
                    self._open[self._id(one)] = (one.positions, one.listwise)
            yield from self._collect_all(earlier)
        rest = self._missing.copy()
        for job in self._again:
            rest[job.positions] = False
        jobs, self._again = chain(self._again, self._jobs(np.flatnonzero(rest))), []
        while True:
            self._as_sent = self._teacher.chat.copy()
            batches = list(self._submit(jobs))
            yield from self._collect_all(batches)
            if self._over_budget:
                raise self._over_budget
            if not self._again:
                return
            jobs, self._again = iter(self._again), []

    def _jobs(self, positions: np.ndarray) -> Iterator[Job]:
        """The requests for the pairs at `positions`."""
        for job in self._teacher.chat.jobs(self._pairs.select(positions)):
            yield replace(job, positions=positions[job.positions])

    def _id(self, job: Job) -> str:
        """The key of its first pair, and for a listwise request a hash of all of them."""
        keys = self._keys[job.positions]
        first = keys[0].tobytes().hex()
        return f"{first}-{blake2b(keys.tobytes(), digest_size=8).hexdigest()}" if job.listwise else first

    def _submit(self, jobs: Iterator[Job]) -> Iterator[Batch]:
        """Write the requests to files, upload them, and create a batch for each."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "requests.jsonl"
            job = next(jobs, None)
            while job is not None and self._over_budget is None:
                lines = size = 0
                with file.open("wb") as out:
                    while job is not None:
                        line = self._line(job)
                        if lines == LINES or (lines and size + len(line) > BYTES):
                            break
                        try:
                            self._reserve(job)
                        except BudgetError as error:
                            self._over_budget = error
                            break
                        out.write(line)
                        lines, size = lines + 1, size + len(line)
                        job = next(jobs, None)
                if lines:
                    yield self._create(file, lines)

    def _line(self, job: Job) -> bytes:
        self._open[self._id(job)] = (job.positions, job.listwise)
        request = {"custom_id": self._id(job), "method": "POST", "url": "/v1/chat/completions"}
        return json.dumps(request | {"body": self._teacher.chat.body(job)}).encode() + b"\n"

    def _reserve(self, job: Job) -> None:
        most = self._teacher.check_budget(job)
        self._teacher.cost.requests += 1
        self._teacher.budget.reserved += most
        self._reserved[self._id(job)] = most

    def _create(self, file: Path, lines: int) -> Batch:
        uploaded = self._persist(lambda: self._client.files.create(file=file, purpose="batch"))

        def create() -> Batch:
            # A batch may have been made although the reply was lost.
            for batch in self._listed():
                if batch.input_file_id == uploaded.id:
                    return batch
            return self._client.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"lmtx": self._tag},
            )

        batch = self._persist(create)
        self._teacher.say(
            f"batch {batch.id}: {lines:,} requests sent. You may stop here at any time: running again "
            "takes it up"
        )
        return batch

    def _listed(self) -> list[Batch]:
        """This teacher's batches whose results the provider may still hold."""
        oldest = time.time() - _DAYS * 86_400

        def listed() -> list[Batch]:
            found = []
            for batch in self._client.batches.list(limit=100):
                if batch.created_at < oldest:
                    break
                if (batch.metadata or {}).get("lmtx") == self._tag:
                    found.append(batch)
            return found

        return self._persist(listed)

    def _collect_all(self, batches: list[Batch]) -> Generator[Answers]:
        problems = []
        for batch in batches:
            batch = self._wait(batch)
            settled = True
            for file in (batch.output_file_id, batch.error_file_id):
                if file:
                    settled = (yield from self._collect(file)) and settled
            if batch.status == "failed" and not batch.output_file_id:
                said = "; ".join(
                    e.message or e.code or "" for e in (batch.errors and batch.errors.data) or []
                )
                problems.append(f"{address()} refused batch {batch.id}: {said or 'no reason given'}")
            if settled:
                self._teacher.store.mark_collected(batch.id)
        if problems:
            raise TeacherError("\n".join(problems))

    def _wait(self, batch: Batch) -> Batch:
        pause = FIRST_POLL
        while batch.status not in _OVER:
            time.sleep(pause)
            pause = min(LAST_POLL, pause * 1.5)
            batch = self._persist(lambda batch=batch: self._client.batches.retrieve(batch.id))
        return batch

    def _collect(self, file: str) -> Generator[Answers, None, bool]:
        """Yield the answers in a result file; returns whether each of its lines is settled."""
        settled = True
        with TemporaryDirectory() as folder:
            path = Path(folder) / "results.jsonl"

            def download() -> None:
                with self._client.files.with_streaming_response.content(file) as response:
                    response.stream_to_file(path)

            self._persist(download)
            answers: list[Answer] = []
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    known, answer = self._read(json.loads(line))
                    settled = settled and known
                    if answer is not None:
                        answers.append(answer)
                        self._missing[answer.positions] = False
                    if len(answers) == _BLOCK:
                        yield joined(answers)
                        answers = []
            if answers:
                yield joined(answers)
        return settled

    def _read(self, result: dict[str, Any]) -> tuple[bool, Answer | None]:
        """Whether a result line is settled, and its answer, if it gives a new one."""
        identity = result["custom_id"]
        self._teacher.budget.reserved -= self._reserved.pop(identity, 0.0)
        if identity not in self._open:
            # Not asked for now: settled if its answer is stored, else left for a run that asks for it.
            first = np.frombuffer(bytes.fromhex(identity.partition("-")[0]), dtype=np.uint8)[None]
            return bool(self._teacher.store.lookup(first)[2][0]), None
        positions, listwise = self._open[identity]
        if not self._missing[positions].all():
            return True, None
        job = self._job(positions, listwise)
        response = result.get("response") or {}
        body = response.get("body") or {}
        if response.get("status_code") != 200:
            return True, self._failed(
                job, response.get("status_code"), body.get("error") or result.get("error") or {}
            )
        try:
            answer, usage = self._teacher.chat.read(job, body)
        except BadReply:
            return True, None
        self._teacher.account(usage, answer)
        if answer is None:
            self._again += self._teacher.chat.pointwise(job)
        return True, answer

    def _failed(self, job: Job, status: int | None, body: dict[str, Any]) -> Answer | None:
        """A refused request: none for filtered content; sent again without a parameter; else failed."""
        error = SimpleNamespace(
            status_code=status or 500,
            body=body,
            **{name: body.get(name) for name in ("message", "code", "type", "param")},
        )
        if self._teacher.chat.adapt(error, self._as_sent.body(job)):
            self._again.append(job)
            return None
        fault = read_fault(error, self._teacher.config.model)
        self._teacher.last_fault = fault.message
        return none_to(job) if fault.kind == "filtered" else None

    def _job(self, positions: np.ndarray, listwise: bool) -> Job:
        """The request at these positions; made anew, so that prompts do not fill the memory."""
        (job,) = self._teacher.chat.jobs(self._pairs.select(positions))
        if job.listwise and not listwise:
            (job,) = self._teacher.chat.pointwise(job)
        return replace(job, positions=positions)

    def _persist(self, call: Callable[[], Any]) -> Any:
        """The result of a call to the API, tried again after passing faults."""
        config, attempt, first = self._teacher.config, 0, None
        while True:
            try:
                return call()
            except openai.NotFoundError as error:
                said = read_fault(error, config.model).message.partition(": ")[0]
                raise TeacherError(
                    f"{said}: is there a Batch API at this address? If not, set teacher.batch=false"
                ) from None
            except Exception as error:
                fault = read_fault(error, config.model)
                if fault is None:
                    raise
            if fault.kind != "passing":
                raise TeacherError(fault.message)
            now = time.monotonic()
            first = first or now
            if now - first > config.patience:
                raise TeacherError(
                    f"{fault.message}, again and again for {duration(now - first)} (teacher.patience)"
                )
            time.sleep(min(backoff(attempt, random.random()) if fault.pause is None else fault.pause, 600))
            attempt += 1
