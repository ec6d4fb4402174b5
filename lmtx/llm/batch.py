"""The Batch API: half the price, answers within a day, and no connection to hold.

Nothing about a batch is kept here: it carries a tag as metadata, so that a later run finds the batches of
an earlier one at the provider.
"""

import json
import random
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
from openai.types import Batch

from lmtx.llm.chat import Question
from lmtx.llm.cost import duration
from lmtx.llm.faults import (
    ServerError,
    TeacherError,
    address,
    api_key,
    backoff,
    environment,
    read_fault,
)
from lmtx.llm.served import ServedModel

LINES, BYTES = 50_000, 190_000_000  # of one input file; the provider takes 50,000 and 200 MB
FIRST_POLL, LAST_POLL = 5.0, 60.0  # seconds between questions after a batch
_DAYS = 30  # how long results stay at the provider
_OVER = ("completed", "failed", "expired", "cancelled")


class BatchApi:
    """Sends questions as batches, waits, and fetches their results. A context manager.

    Parameters
    ----------
    model
        Says where, and in which form.
    tag
        Marks the batches, for a later run.
    say
        Tells the user something.

    Attributes
    ----------
    refusals
        Why the provider refused batches.
    """

    def __init__(self, model: ServedModel, tag: str, say: Callable[[str], None]):
        self._model, self._tag, self._say = model, tag, say
        with environment():
            self._client = openai.OpenAI(api_key=api_key(), max_retries=0, timeout=model.config.timeout)
        self.refusals: list[str] = []

    def __enter__(self) -> "BatchApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def listed(self) -> list[Batch]:
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

    def send(self, questions: Iterator[tuple[str, Question]]) -> Iterator[Batch]:
        """Write questions, each with an id of its own, to files; upload them, and create a batch of each."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "requests.jsonl"
            pending = next(questions, None)
            while pending is not None:
                lines = size = 0
                with file.open("wb") as out:
                    while pending is not None:
                        request = {
                            "custom_id": pending[0],
                            "method": "POST",
                            "url": "/v1/chat/completions",
                            "body": self._model.dialect.body(pending[1]),
                        }
                        line = json.dumps(request).encode() + b"\n"
                        if lines == LINES or (lines and size + len(line) > BYTES):
                            break
                        out.write(line)
                        lines, size = lines + 1, size + len(line)
                        pending = next(questions, None)
                yield self._create(file, lines)

    def results(self, batch: Batch) -> Generator[dict[str, Any]]:
        """Wait for a batch, then yield each of its results as the provider writes it."""
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
            self.refusals.append(f"{address()} refused batch {batch.id}: {said or 'no reason given'}")

    def _create(self, file: Path, lines: int) -> Batch:
        uploaded = self._persist(lambda: self._client.files.create(file=file, purpose="batch"))

        def create() -> Batch:
            # A batch may have been made although the reply was lost.
            for batch in self.listed():
                if batch.input_file_id == uploaded.id:
                    return batch
            return self._client.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"lmtx": self._tag},
            )

        batch = self._persist(create)
        self._say(
            f"batch {batch.id}: {lines:,} requests sent. You may stop here at any time: running again "
            "takes it up"
        )
        return batch

    def _persist(self, call: Callable[[], Any]) -> Any:
        """The result of a call to the API, tried again after passing faults."""
        config, attempt, first = self._model.config, 0, None
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
            time.sleep(min(max(backoff(attempt, random.random()), fault.pause or 0), 600))
            attempt += 1


def refusal(result: dict[str, Any]) -> ServerError | None:
    """What is wrong with a result; None for a reply."""
    response = result.get("response") or {}
    if response.get("status_code") == 200:
        return None
    return ServerError(response.get("status_code") or 500, response.get("body") or result.get("error"))
