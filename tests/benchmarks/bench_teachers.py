"""How fast the openai teacher and the verdict store are, and whether their memory stays flat.

    python tests/benchmarks/bench_teachers.py [PAIRS]

A server in a process of its own answers each request after 100 ms; 64 requests are in work at once,
so that 640 answers a second is the limit. PAIRS (default 200,000) are judged listwise; a thirtieth
of them pointwise too.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from judging import make_config

from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA
from lmtx.teachers.openai import OpenAITeacher
from lmtx.teachers.pairs import Pairs
from lmtx.teachers.store import VerdictStore

DELAY, AT_ONCE, K, LABELS = 0.1, 64, 10, 13_000


def make_pairs(documents: int) -> Pairs:
    """Documents of about 400 words, with shortlists of ten labels."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(500)])
    texts = [" ".join(rng.choice(words, 400)) for _ in range(documents)]
    table = pa.table(
        [[f"d{i}" for i in range(documents)], ["title"] * documents, texts], schema=DOCUMENT_SCHEMA
    )
    names = pa.table(
        [[f"l{i}" for i in range(LABELS)], [f"label number {i}" for i in range(LABELS)]], schema=LABEL_SCHEMA
    )
    first = rng.integers(0, LABELS, size=(documents, 1))
    return Pairs.from_shortlist(table, names, ((first + 37 * np.arange(K)) % LABELS).astype(np.int32))


@contextmanager
def slow_server() -> Iterator[None]:
    """The scripted server in another process, as OPENAI_BASE_URL."""
    command = [sys.executable, str(Path(__file__).parents[1] / "servers.py"), str(DELAY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.environ["OPENAI_BASE_URL"] = process.stdout.readline().strip()
        yield
        process.stdin.close()


def resident() -> float:
    """Memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(mode: str, pairs: Pairs, store: Path) -> None:
    """Judge, print the rate and the memory on the way, then judge the same from the store."""
    config = make_config(mode=mode, concurrency=AT_ONCE, timeout=60.0)
    samples = []
    with VerdictStore(store) as opened:
        teacher = OpenAITeacher(config, store=opened)
        ask = teacher.ask

        def watched(asked):
            for number, answers in enumerate(ask(asked)):
                yield answers
                if number % 100 == 0:
                    samples.append((teacher.cost.verdicts, resident()))

        teacher.ask = watched
        started = time.perf_counter()
        teacher.judge(pairs, progress=False)
        seconds = time.perf_counter() - started
        print(f"{mode}: {len(pairs):,} verdicts in {seconds:.1f} s, {len(pairs) / seconds:,.0f} a second")
        tenth = [m for done, m in samples if done <= len(pairs) / 10]
        print(f"  memory {tenth[-1]:.0f} MiB after a tenth, {max(m for _, m in samples):.0f} MiB at most")
        started = time.perf_counter()
        teacher.judge(pairs, progress=False)
        rate = len(pairs) / (time.perf_counter() - started)
        print(f"  from the store: {rate:,.0f} verdicts a second")


def main() -> None:
    pairs = make_pairs(int(sys.argv[1] if len(sys.argv) > 1 else 200_000) // K)
    few = pairs.select(np.arange(len(pairs) // 30))
    with slow_server(), TemporaryDirectory() as folder:
        measure("pointwise", few, Path(folder) / "pointwise.sqlite")
        measure("listwise", pairs, Path(folder) / "listwise.sqlite")


if __name__ == "__main__":
    main()
