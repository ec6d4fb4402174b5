"""Many requests at once, from a thread with an event loop of its own (a notebook already runs one).

A fixed number of workers take jobs one after the other, so that memory does not grow with their
number. A worker takes its next job only when its last answer has been kept: whatever kills the
process, at most the jobs in work are lost.
"""

import asyncio
import math
import queue
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import FrameType
from typing import Any, Generic, TypeVar

from lmtx.llm.cost import duration
from lmtx.llm.faults import TeacherError, backoff, read_fault

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_STREAK = 20  # requests refused one after the other, that make one ask whether the server refuses all
_QUIET = 60.0  # seconds between two messages about faults
_DRAIN = 30.0  # seconds for requests in work when everything stops


@contextmanager
def first_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C call `act`, wherever the code is, and raise it at the end of the block.

    A second one is raised at once. Outside the main thread, and where Ctrl-C means something of its
    own, nothing changes.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
        yield
        return
    interrupted = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, usual)
        act()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if interrupted:
        raise KeyboardInterrupt


class Dispatcher(Generic[Job, Answer]):
    """Sends jobs, tries again after passing faults, and stops at lasting ones.

    Parameters
    ----------
    open_client
        Makes the async context manager whose value `send` gets; called in the worker thread.
    send
        `await send(client, job)` gives the answer; its exceptions are read by `read_fault`.
        A None is no answer and no failure.
    prove
        `await prove(client, job)` sends a harmless request in the form of `job`, to tell a server that
        refuses every request from one that refuses this job.
    filtered
        `filtered(job)` gives the answer to a request that the provider refuses for its content.
    model
        The model's name, for messages.
    concurrency, patience
        Requests at once; seconds for which a passing fault is tried again.
    say
        Tells the user something, at most once a minute.
    """

    def __init__(
        self,
        open_client: Callable[[], AbstractAsyncContextManager],
        send: Callable[[Any, Job], Awaitable[Answer | None]],
        prove: Callable[[Any, Job], Awaitable[None]],
        filtered: Callable[[Job], Answer],
        *,
        model: str,
        concurrency: int,
        patience: float,
        say: Callable[[str], None] = lambda text: None,
    ):
        self._open_client, self._send, self._prove, self._filtered = open_client, send, prove, filtered
        self._model, self._concurrency, self._patience = model, concurrency, patience
        self._say, self._said_at = say, -math.inf
        self._answers: queue.SimpleQueue[tuple[Answer, asyncio.Future] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._answered_at: float | None = None
        self._refusals = 0  # since the last answer
        self._proving = asyncio.Lock()
        self._resume_at = 0.0
        self.last_fault = ""

    def run(self, jobs: Iterator[Job]) -> Generator[list[Answer]]:
        """Yield answers as they arrive, several at a time when they come fast.

        An answer counts as kept when the next item is asked for. Raises, after the answers of the
        requests in work have been yielded, the `TeacherError` that stopped the work. Ctrl-C too is
        raised only when these answers are in; a second one is raised at once.
        """
        ready = threading.Event()
        thread = threading.Thread(target=self._work, args=(jobs, ready), name="lmtx-requests", daemon=True)
        thread.start()
        ready.wait()
        with first_interrupt(lambda: self._call(self._stop, None)):
            try:
                finished = False
                while not finished:
                    items = [self._answers.get()]
                    while not self._answers.empty():
                        items.append(self._answers.get())
                    finished = None in items
                    if answers := [item for item in items if item is not None]:
                        yield [answer for answer, _ in answers]
                        self._call(self._release, [is_kept for _, is_kept in answers])
            finally:
                self._call(self._cancel)
                thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, jobs: Iterator[Job], ready: threading.Event) -> None:
        """The thread's body."""

        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            self._workers: list[asyncio.Task] = []
            ready.set()
            async with self._open_client() as client:
                self._workers += [
                    asyncio.create_task(self._take_jobs(client, jobs)) for _ in range(self._concurrency)
                ]
                everyone = asyncio.gather(*self._workers, return_exceptions=True)
                stopped = asyncio.create_task(self._stopping.wait())
                await asyncio.wait([everyone, stopped], return_when=asyncio.FIRST_COMPLETED)
                if not everyone.done():
                    await asyncio.wait([everyone], timeout=_DRAIN)
                stopped.cancel()
                for worker in self._workers:
                    worker.cancel()
                await asyncio.gather(*self._workers, return_exceptions=True)

        try:
            asyncio.run(main())
        except BaseException as error:
            self._error = self._error or error
        finally:
            ready.set()
            self._answers.put(None)

    async def _take_jobs(self, client: Any, jobs: Iterator[Job]) -> None:
        while not self._stopping.is_set():
            try:
                job = next(jobs, None)
                if job is None:
                    return
                answer = await self._persist(client, job, self._send)
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):
                    self._stop(error)
                return
            if answer is None:
                continue
            is_kept = self._loop.create_future()
            self._answers.put((answer, is_kept))
            await is_kept

    async def _persist(
        self, client: Any, job: Job, send: Callable[[Any, Job], Awaitable[Answer | None]]
    ) -> Answer | None:
        """The answer to a job; None when it failed, or everything stops. Raises what must stop the rest."""
        attempt, first_fault_at = 0, None
        while True:
            # A little spread, so that not all come back in the same instant.
            await self._pause((self._resume_at - time.monotonic()) * (1 + 0.1 * random.random()))
            if self._stopping.is_set():
                return None
            try:
                answer = await send(client, job)
                self._answered_at, self._refusals = time.monotonic(), 0
                return answer
            except Exception as error:
                fault = read_fault(error, self._model)
                if fault is None:
                    raise
            now = time.monotonic()
            self.last_fault = fault.message
            if fault.kind == "filtered":
                return self._filtered(job)
            is_page = fault.kind == "page" and self._answered_at is None
            if fault.kind == "lasting" or is_page or (fault.kind == "refused" and send is self._prove):
                raise TeacherError(fault.message)
            if fault.kind == "refused":
                await self._check_others(client, job)
                return None
            first_fault_at = first_fault_at or now
            if now - self._said_at > _QUIET:
                self._said_at = now
                self._say(f"{fault.message}: trying again for {duration(self._patience)} (teacher.patience)")
            if (fault.pause or 0) > max(self._patience, 1.0):
                raise TeacherError(
                    f"{fault.message}: it asks to wait {duration(fault.pause)}, longer than teacher.patience "
                    f"({duration(self._patience)}). Run again then"
                )
            if now - first_fault_at > self._patience:
                if self._answered_at is None or self._answered_at < first_fault_at:
                    raise TeacherError(
                        f"{fault.message}: no answer to any request for {duration(now - first_fault_at)} "
                        "(teacher.patience). Check that the server is up, then run again"
                    )
                return None
            pause = max(backoff(attempt, random.random()), fault.pause or 0)
            if fault.pause is not None:  # the server asks everyone to wait
                self._resume_at = max(self._resume_at, now + pause)
            await self._pause(pause)
            attempt += 1

    async def _check_others(self, client: Any, job: Job) -> None:
        """After refusals without an answer between them: raise when the server refuses every request."""
        self._refusals += 1
        async with self._proving:
            if self._answered_at is None or self._refusals >= _STREAK:
                await self._persist(client, job, self._prove)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until everything stops."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    def _stop(self, error: BaseException | None) -> None:
        """Take no more jobs; what is in work may finish."""
        self._error = self._error or error
        self._stopping.set()

    def _cancel(self) -> None:
        self._stopping.set()
        for worker in self._workers:
            worker.cancel()

    def _release(self, kept: list[asyncio.Future]) -> None:
        for future in kept:
            if not future.done():
                future.set_result(None)

    def _call(self, function: Callable, *arguments: Any) -> None:
        """Run a function in the loop's thread; after its end there is nothing left to tell it."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)
