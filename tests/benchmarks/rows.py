"""What every benchmark script shares: its options, the clock, and the rows that it hands to the report.

A row sets ours against what a user would pick instead, measured in turn within one run:

    chosen = options(__doc__, texts=1000)
    seconds = take_turns({"lmtx": ours, "theirs": theirs}, chosen.rounds)
    names = ("lmtx", "theirs")
    rates = {"count": chosen.texts, "unit": "texts/s"}
    report(chosen, Row.of("Encoding", f"{chosen.texts:,} texts", names, *seconds.values(), **rates))
"""

import argparse
import json
import multiprocessing
import os
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes
    ----------
    part
        The table it belongs to, such as "Encoding".
    case
        What is measured: sizes, precision, threads.
    ours, other
        The names of what is compared; `other` is None where there is nothing to compare with.
    figures
        Ours and the other's, in `unit`: medians over the rounds. The second is None without `other`.
    unit
        "s", "ms/document", "texts/s", "MiB" …
    ratio
        How many times better ours is, by seconds or memory: the median over the rounds. None without
        `other`.
    spread
        The smallest and largest ratio of a round; None where there was one round, or no ratio.
    command
        What repeats it, from the project's folder.
    note
        What a reader must know beside it, such as a recall; "" where there is nothing.
    """

    part: str
    case: str
    ours: str
    other: str | None
    figures: tuple[float, float | None]
    unit: str
    ratio: float | None
    spread: tuple[float, float] | None
    command: str
    note: str = ""

    @classmethod
    def of(
        cls,
        part: str,
        case: str,
        names: tuple[str, str | None],
        ours: Sequence[float],
        other: Sequence[float] | None,
        *,
        unit: str = "s",
        count: float | None = None,
        note: str = "",
    ) -> "Row":
        """The row of measurements of which less is better, one a round: seconds, or MiB.

        Parameters
        ----------
        names
            Of ours and of the other.
        ours, other
            Paired: entry i of both is from round i. `other` is None where there is nothing to compare with.
        count
            What a round worked through: the figures become `count` a second. None: they stay as measured.
        """

        def figure(values: Sequence[float]) -> float:
            return statistics.median(values) if count is None else count / statistics.median(values)

        ratios = [theirs / mine for mine, theirs in zip(ours, other or (), strict=other is not None)]
        return cls(
            part,
            case,
            *names,
            (figure(ours), figure(other) if other else None),
            unit,
            statistics.median(ratios) if ratios else None,
            (min(ratios), max(ratios)) if len(ratios) > 1 else None,
            command(),
            note,
        )

    def __str__(self) -> str:
        text = f"{self.case}: {self.ours} {quantity(self.figures[0])} {self.unit}"
        if self.other is not None:
            text += f", {self.other} {quantity(self.figures[1])} {self.unit}: {times(self)}"
        return text + (f" ({self.note})" if self.note else "")


def options(description: str, *, rounds: int = 3, **sizes: Any) -> argparse.Namespace:
    """The options of a script: its own `sizes`, with their defaults, `--rounds` and `--rows`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each way is measured")
    parser.add_argument("--rows", type=Path, help="a file to which the rows are added, for the report")
    return parser.parse_args()


def take_turns(
    ways: dict[str, Callable[[], Any]],
    rounds: int,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each way in each round; every second round runs them in the opposite order.

    So other work on the machine, and what one way leaves in a cache, hit all alike. `warm` runs each
    once before. `clock` may be `time.process_time`, which counts this process's work alone.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values() if warm else ():
        way()
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            started = clock()
            ways[name]()
            seconds[name].append(clock() - started)
    return seconds


def clock_of(device: str) -> Callable[[], float]:
    """Processor time, which other work on the machine does not change; for a GPU, wall time."""
    return time.process_time if device == "cpu" else time.perf_counter


def counted(device: str) -> str:
    """What `clock_of` counts, for the case of a row."""
    return ", processor time" if device == "cpu" else ""


def apart(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What `work(*arguments)` returns in a fresh process, and that process's peak memory in MiB.

    Both must be at a module's top level, so that the process can import and receive them. Raises
    `RuntimeError` when the process dies.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} failed in a process of its own") from None
    finally:
        process.join()
    return answer


def _answer(sender, work: Callable[..., Any], arguments: tuple) -> None:
    value = work(*arguments)
    sender.send((value, peak()))


def peak() -> float:
    """The largest resident memory of this process so far, MiB.

    Not `ru_maxrss` where there is better: a process made by fork and exec begins with its parent's.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def threads() -> int:
    """How many threads numerical libraries take: OMP_NUM_THREADS, or the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("OMP_NUM_THREADS") or cores)


def report(chosen: argparse.Namespace, *rows: Row) -> None:
    """Print rows, and add them to the file of `--rows`, one JSON object a line."""
    for row in rows:
        print(row, flush=True)
    if chosen.rows is not None:
        with chosen.rows.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def read_rows(path: str | Path) -> list[Row]:
    """The rows that scripts added to a file; none where there is no file."""
    if not Path(path).is_file():
        return []
    return [row_of(json.loads(line)) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def row_of(found: dict[str, Any]) -> Row:
    """The row that `asdict` and JSON made `found` of."""
    pairs = {name: tuple(found[name]) if found[name] else None for name in ("figures", "spread")}
    return Row(**found | pairs)


def command() -> str:
    """How this script was called, without `--rows`."""
    words = [f"tests/benchmarks/{Path(sys.argv[0]).name}"]
    rest = iter(sys.argv[1:])
    for word in rest:
        if word == "--rows":
            next(rest)
        elif not word.startswith("--rows="):
            words.append(word)
    return shlex.join(["python", *words])


def quantity(value: float) -> str:
    """A figure with three digits that count: 0.0123, 4.57, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def times(row: Row) -> str:
    """A row's ratio, and between which it lay: "2.1× (1.9 to 2.3)"."""
    if row.ratio is None:
        return ""
    text = f"{quantity(row.ratio)}×"
    return text if row.spread is None else f"{text} ({quantity(row.spread[0])} to {quantity(row.spread[1])})"
