"""Judging through the Batch API: half the price, answers within a day, and no connection to hold.

Each request carries its pair's key, and each batch the teacher's identity as metadata, so that a later
run finds the batches of an earlier one at the provider, collects them first, and sends the missing requests.
"""

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from copy import copy
from dataclasses import replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openai
from openai.types import Batch

from lmtx.llm.chat import FILTERED, Reply
from lmtx.llm.dispatch import Attempts, Backoff
from lmtx.llm.faults import BudgetError, ServerError, TeacherError, address, environment, read_fault
from lmtx.teachers.base import Answers
from lmtx.teachers.openai import Job, OpenAITeacher, joined
from lmtx.teachers.pairs import Pairs
from lmtx.teachers.store import KEY, identity_digest

LINES, BYTES = 50_000, 190_000_000  # of one input file; the provider takes 50,000 and 200 MB
FIRST_POLL, LAST_POLL = 5.0, 60.0  # seconds between questions after a batch
_DAYS = 30  # how long results stay at the provider
_OVER = ("completed", "failed", "expired", "cancelled")
_BLOCK = 1000  # answers stored at a time
_PATH = "/v1/chat/completions"


def ask_in_batches(teacher: OpenAITeacher, pairs: Pairs) -> Generator[Answers]:
    """Ask for verdicts through the Batch API; yields as `Teacher.ask`."""
    with environment() as key:
        client = openai.OpenAI(api_key=key, max_retries=0, timeout=teacher.model.config.timeout)
    with client:
        yield from _Batches(teacher, pairs, client).run()


class _Batches:
    """Sends missing requests, and collects answers; a bad listwise answer is asked again pointwise."""

    def __init__(self, teacher: OpenAITeacher, pairs: Pairs, client: openai.OpenAI):
        self._teacher, self._pairs, self._client = teacher, pairs, client
        self._tag = identity_digest(teacher.identity).hex()
        self._backoff = Backoff(teacher.model.config.patience, teacher.say)
        self._keys = teacher.keys(pairs)
        self._missing = np.ones(len(pairs), dtype=bool)
        self._open: dict[str, Job] = {}  # by a request's id
        self._again: list[Job] = []
        self._over_budget: BudgetError | None = None
        self._as_sent = copy(teacher.model.dialect)

    def run(self) -> Generator[Answers]:
        teacher = self._teacher
        earlier = [batch for batch in self._listed() if not teacher.store.is_collected(batch.id)]
        if earlier:
            teacher.say(f"taking up {len(earlier)} batches of an earlier run")
            for job in self._jobs(np.flatnonzero(self._missing)):
                self._open |= {self._id(one): one for one in (job, *teacher.pointwise(job))}
            yield from self._collect(earlier)
        rest = self._missing.copy()
        for job in self._again:
            rest[job.positions] = False
        jobs: Iterable[Job] = chain(self._again, self._jobs(np.flatnonzero(rest)))
        while jobs:
            self._again = []
            self._as_sent = copy(teacher.model.dialect)
            before = teacher.model.budget.reserved
            batches = list(self._send(self._lines(iter(jobs))))
            yield from self._collect(batches)
            teacher.model.budget.reserved = before
            if self._over_budget:
                raise self._over_budget
            jobs = self._again

    def _jobs(self, positions: np.ndarray) -> Iterator[Job]:
        """The requests for the pairs at `positions`."""
        for job in self._teacher.jobs(self._pairs.select(positions)):
            yield replace(job, positions=positions[job.positions])

    def _id(self, job: Job) -> str:
        """The key of its first pair, and for a listwise request a hash of all of them."""
        keys = self._keys[job.positions]
        first = keys[0].tobytes().hex()
        return f"{first}-{blake2b(keys.tobytes(), digest_size=8).hexdigest()}" if job.listwise else first

    # --- sending ---

    def _lines(self, jobs: Iterator[Job]) -> Iterator[bytes]:
        """The requests as lines of an input file, until a limit has no room for another."""
        for job in jobs:
            question, request_id = self._teacher.question(job), self._id(job)
            try:
                self._teacher.model.reserve(question)
            except BudgetError as error:
                self._over_budget = error
                return
            self._open[request_id] = job
            body = self._as_sent.body(question)
            request = {"custom_id": request_id, "method": "POST", "url": _PATH, "body": body}
            yield json.dumps(request).encode() + b"\n"

    def _send(self, lines: Iterator[bytes]) -> Iterator[Batch]:
        """Write lines to files; upload them, and create a batch of each."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "requests.jsonl"
            line = next(lines, None)
            while line:
                count = size = 0
                with file.open("wb") as out:
                    while line and count < LINES and (not count or size + len(line) <= BYTES):
                        out.write(line)
                        count, size = count + 1, size + len(line)
                        line = next(lines, None)
                yield self._create(file, count)

    def _create(self, file: Path, requests: int) -> Batch:
        uploaded = self._persist(lambda: self._client.files.create(file=file, purpose="batch"))

        def create() -> Batch:
            # A batch may have been made although the reply was lost.
            for batch in self._listed():
                if batch.input_file_id == uploaded.id:
                    return batch
            return self._client.batches.create(
                input_file_id=uploaded.id,
                endpoint=_PATH,
                completion_window="24h",
                metadata={"lmtx": self._tag},
            )

        batch = self._persist(create)
        self._teacher.say(
            f"batch {batch.id}: {requests:,} requests sent. You may stop here at any time: running again "
            "takes it up"
        )
        return batch

    def _listed(self) -> list[Batch]:
        """The batches with this tag whose results the provider may still hold."""
        oldest = time.time() - _DAYS * 86_400

        def listed() -> list[Batch]:
            tagged = []
            for batch in self._client.batches.list(limit=100):
                if batch.created_at < oldest:
                    break
                if (batch.metadata or {}).get("lmtx") == self._tag:
                    tagged.append(batch)
            return tagged

        return self._persist(listed)

    def _persist(self, call: Callable[[], Any]) -> Any:
        """The result of a call to the API, tried again after passing faults."""
        attempts = Attempts(self._backoff)
        while True:
            while seconds := attempts.wait():
                time.sleep(seconds)
            try:
                result = call()
                attempts.answered()
                return result
            except Exception as error:
                fault = read_fault(error, self._teacher.model.name)
                if fault is None:
                    raise
                message = fault.message
                if isinstance(error, openai.NotFoundError):
                    message = f"{message.partition(': ')[0]}: is there a Batch API at this address? If not, "
                    message += "set teacher.batch=false"
            if fault.kind != "passing" or not attempts.again(fault):
                raise TeacherError(message)

    # --- collecting ---

    def _collect(self, batches: list[Batch]) -> Generator[Answers]:
        """Yield the answers of batches, and mark each batch of which every line is settled."""
        refusals: list[str] = []
        for batch in batches:
            settled, answers = True, []
            for result in self._results(batch, refusals):
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
        if refusals:
            raise TeacherError("\n".join(refusals))

    def _results(self, batch: Batch, refusals: list[str]) -> Iterator[dict[str, Any]]:
        """Wait for a batch, then yield its results as the provider writes them; note why it was refused."""
        pause = FIRST_POLL
        while batch.status not in _OVER:
            time.sleep(pause)
            pause = min(LAST_POLL, pause * 1.5)
            batch = self._persist(lambda batch=batch: self._client.batches.retrieve(batch.id))
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            with TemporaryDirectory() as folder:
                path = Path(folder) / "results.jsonl"

                def download(file: str = file, path: Path = path) -> None:
                    with self._client.files.with_streaming_response.content(file) as response:
                        response.stream_to_file(path)

                self._persist(download)
                with path.open(encoding="utf-8") as lines:
                    yield from map(json.loads, lines)
        if batch.status == "failed" and not batch.output_file_id:
            errors = (batch.errors and batch.errors.data) or []
            said = "; ".join(error.message or error.code or "" for error in errors)
            refusals.append(f"{address()} refused batch {batch.id}: {said or 'no reason given'}")

    def _read(self, result: dict[str, Any]) -> tuple[bool, Answers | None]:
        """Whether a result line is settled, and its answer, if it gives a new one."""
        teacher, request_id = self._teacher, result["custom_id"]
        if request_id not in self._open:
            # Not asked for now: settled if its answer is stored, else left for a run that asks for it.
            first = np.frombuffer(bytes.fromhex(request_id.partition("-")[0]), dtype=KEY)
            return bool(teacher.store.lookup(first)[2][0]), None
        job = self._open[request_id]
        if not self._missing[job.positions].all():
            return True, None
        reply = self._reply(job, result)
        answer = reply and teacher.read(job, reply)
        if reply and answer is None and job.listwise:
            self._again += teacher.pointwise(job)
        elif reply and answer is None:
            teacher.last_fault = reply.shortfall(teacher.model.name)
        return True, answer

    def _reply(self, job: Job, result: dict[str, Any]) -> Reply | None:
        """The reply in a result; None for a request that failed, or is sent again in another form."""
        model, question = self._teacher.model, self._teacher.question(job)
        response = result.get("response") or {}
        status, body = response.get("status_code") or 500, response.get("body")
        try:
            if status != 200:
                raise ServerError(status, body or result.get("error"))
            model.account(question, body)
            return Reply.of(question, body)
        except ServerError as error:
            if model.dialect.adapt(error, self._as_sent.body(question)):
                self._again.append(job)
                return None
            fault = read_fault(error, model.name)
            self._teacher.last_fault = fault.message
            return FILTERED if fault.kind == "filtered" else None
