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
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lmtx.llm.cost import duration
from lmtx.llm.faults import Fault, TeacherError, backoff, read_fault

Send = Callable[[Any, Any], Awaitable[Any]]
"""Sends a job by a client, and gives its answer."""

_STREAK = 20  # requests refused one after the other, that make one ask whether the server refuses all
_QUIET = 60.0  # seconds between two messages about faults
_DRAIN = 30.0  # seconds for requests in work when everything stops


@dataclass
class Backoff:
    """The pauses after passing faults, shared by all requests to a server.

    A fault makes all requests wait, each time twice as long, until one is answered. A request that
    was under way when a wait began tells nothing new by failing.
    """

    patience: float  # seconds for which a request is tried again, from its first fault on
    say: Callable[[str], None]  # tells the user something, at most once a minute
    said_at: float = -math.inf
    answered_at: float | None = None  # the last time; None: never
    resume_at: float = -math.inf  # the end of the wait
    waits: int = 0  # since the last answer


class Attempts:
    """The attempts at one request: how long each waits, and when they end."""

    def __init__(self, shared: Backoff):
        self._shared, self._faults, self._first_fault_at = shared, 0, math.inf
        self._sent_at = self._resume_at = -math.inf

    def wait(self) -> float:
        """Seconds to wait before sending, with a little spread; 0: send now."""
        self._sent_at = time.monotonic()
        seconds = max(self._resume_at, self._shared.resume_at) - self._sent_at
        return max(0.0, seconds * (1 + 0.1 * random.random()))

    def answered(self) -> None:
        """Note an answer, so that the next fault makes all wait only briefly."""
        self._shared.answered_at, self._shared.waits = time.monotonic(), 0

    def again(self, fault: Fault) -> bool:
        """Whether to try again after a passing fault, which makes all requests wait.

        A request that alone keeps failing waits longer and longer, and is given up. Raises `TeacherError`
        where no request was answered since its first fault, or the server asks to wait for longer than
        `patience`.
        """
        shared, now, pause = self._shared, time.monotonic(), fault.pause or 0.0
        self._first_fault_at = min(self._first_fault_at, now)
        patience = duration(shared.patience)
        if now - shared.said_at > _QUIET:
            shared.said_at = now
            shared.say(f"{fault.message}: trying again for {patience} (teacher.patience)")
        if pause > max(shared.patience, 1.0):
            raise TeacherError(
                f"{fault.message}: it asks to wait {duration(pause)}, longer than teacher.patience "
                f"({patience}). Run again then"
            )
        if (since := now - self._first_fault_at) > shared.patience:
            if shared.answered_at is None or shared.answered_at < self._first_fault_at:
                raise TeacherError(
                    f"{fault.message}: no answer to any request for {duration(since)} (teacher.patience). "
                    "Check that the server is up, then run again"
                )
            return False
        self._resume_at = now + max(pause, backoff(self._faults, random.random()))
        self._faults += 1
        if self._sent_at >= shared.resume_at:
            pause = max(pause, backoff(shared.waits, random.random()))
            shared.waits += 1
        shared.resume_at = max(shared.resume_at, now + pause)
        return True


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


class Dispatcher:
    """Sends jobs, `concurrency` at once, tries again after passing faults, and stops at lasting ones.

    `open_client` makes the async context manager whose value `send` and `prove` get, in the worker thread. A
    None of `send` is no answer and no failure. `prove` sends a harmless request in the form of a job, to tell
    a server that refuses every request from one that refuses this job.
    """

    def __init__(
        self,
        open_client: Callable[[], AbstractAsyncContextManager],
        send: Send,
        prove: Send,
        backoff: Backoff,
        *,
        model: str,
        concurrency: int,
    ):
        self._open_client, self._send, self._prove, self._backoff = open_client, send, prove, backoff
        self._model, self._concurrency = model, concurrency
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # at the end None
        self._kept = asyncio.Semaphore(0)  # each answer that was kept lets a worker go on
        self._error: BaseException | None = None
        self._refusals = 0  # since the last answer
        self._proving = asyncio.Lock()
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._workers: list[asyncio.Task] = []
        self.last_fault = ""

    def run(self, next_job: Callable[[], Any]) -> Generator[list[Any]]:
        """Yield answers as they arrive, several at a time when they come fast.

        `next_job` gives None at the end. An answer counts as kept when the next item is asked for. Raises,
        after the answers of the requests in work have been yielded, the `TeacherError` that stopped the
        work. Ctrl-C too is raised only when these answers are in; a second one is raised at once.
        """
        thread = threading.Thread(target=self._work, args=(next_job,), name="lmtx-requests", daemon=True)
        thread.start()
        with first_interrupt(lambda: self._call(self._stop, None)):
            try:
                finished = False
                while not finished:
                    items = [self._answers.get()]
                    while not self._answers.empty():
                        items.append(self._answers.get())
                    if finished := items[-1] is None:
                        items.pop()
                    if items:
                        yield items
                        for _ in items:
                            self._call(self._kept.release)
            finally:
                self._call(self._cancel)
                thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, next_job: Callable[[], Any]) -> None:
        """The thread's body."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._ask_all(next_job))
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._answers.put(None)

    async def _ask_all(self, next_job: Callable[[], Any]) -> None:
        async with self._open_client() as client:
            jobs = (self._take_jobs(client, next_job) for _ in range(self._concurrency))
            self._workers = [asyncio.create_task(job) for job in jobs]
            everyone = asyncio.gather(*self._workers, return_exceptions=True)
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait([everyone, stopped], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([everyone], timeout=_DRAIN)
            stopped.cancel()
            self._cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)

    async def _take_jobs(self, client: Any, next_job: Callable[[], Any]) -> None:
        while not self._stopping.is_set():
            try:
                job = next_job()
                if job is None:
                    return
                answer = await self._persist(client, job, self._send)
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):
                    self._stop(error)
                return
            if answer is not None:
                self._answers.put(answer)
                await self._kept.acquire()

    async def _persist(self, client: Any, job: Any, send: Send) -> Any:
        """The answer to a job; None when it failed, or all stop. Raises an error that stops the others."""
        attempts = Attempts(self._backoff)
        while True:
            while (seconds := attempts.wait()) and not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), seconds)
            if self._stopping.is_set():
                return None
            try:
                answer = await send(client, job)
                self._refusals = 0
                attempts.answered()
                return answer
            except Exception as error:
                fault = read_fault(error, self._model)
                if fault is None:
                    raise
            self.last_fault = fault.message
            is_page = fault.kind == "page" and self._backoff.answered_at is None
            if fault.kind == "lasting" or is_page or (fault.kind == "refused" and send is self._prove):
                raise TeacherError(fault.message)
            if fault.kind == "refused":
                await self._check_others(client, job)
                return None
            if not attempts.again(fault):
                return None

    async def _check_others(self, client: Any, job: Any) -> None:
        """After refusals without an answer between them: raise when the server refuses every request."""
        self._refusals += 1
        async with self._proving:
            if self._backoff.answered_at is None or self._refusals >= _STREAK:
                await self._persist(client, job, self._prove)

    def _stop(self, error: BaseException | None) -> None:
        """Take no more jobs; those in work may finish."""
        self._error = self._error or error
        self._stopping.set()

    def _cancel(self) -> None:
        self._stopping.set()
        for worker in self._workers:
            worker.cancel()

    def _call(self, function: Callable, *arguments: Any) -> None:
        """Run a function in the loop's thread; after its end there is nothing left to tell it."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)
