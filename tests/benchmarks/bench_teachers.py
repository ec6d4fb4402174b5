"""How fast the openai teacher and the verdict store are, and whether their memory stays flat.

    python tests/benchmarks/bench_teachers.py --pairs 20000

A server in a process of its own answers each request after 100 ms; 64 requests are in work at once,
so that 640 answers a second is the limit. All pairs are judged listwise, a tenth of them pointwise too;
the other way is a loop that sends one request after another with the `openai` client.
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
from openai import OpenAI
from rows import Row, options, report

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


def measure(mode: str, pairs: Pairs, store: Path) -> tuple[float, float, list[float]]:
    """Seconds to judge and then to judge the same from the store; memory on the way, MiB."""
    config = make_config(mode=mode, concurrency=AT_ONCE, timeout=60.0)
    samples = []
    with VerdictStore(store) as opened:
        teacher = OpenAITeacher(config, store=opened)
        ask = teacher.ask

        def watched(asked):
            for number, answers in enumerate(ask(asked)):
                yield answers
                if number % 100 == 0:
                    samples.append(resident())

        teacher.ask = watched
        started = time.perf_counter()
        teacher.judge(pairs, progress=False)
        judged = time.perf_counter() - started
        started = time.perf_counter()
        teacher.judge(pairs, progress=False)
        return judged, time.perf_counter() - started, samples


def one_after_another(requests: int) -> float:
    """Seconds a request of the loop that one writes first."""
    client = OpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key="none")
    document = f"<document>\n{'word ' * 400}\n</document>"
    question = f"{document}\n\nIs “label number 1” a relevant tag for this document? Answer yes or no."
    started = time.perf_counter()
    for _ in range(requests):
        client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": question}], max_tokens=4, logprobs=True
        )
    return (time.perf_counter() - started) / requests


def main() -> None:
    chosen = options(__doc__, pairs=20_000, requests=20)
    pairs = make_pairs(chosen.pairs // K)
    few = pairs.select(np.arange(len(pairs) // 10))
    found = {mode: [] for mode in ("pointwise", "listwise")}
    alone = []
    with slow_server(), TemporaryDirectory() as folder:
        for number in range(chosen.rounds):
            alone.append(one_after_another(chosen.requests))
            for mode, asked in (("pointwise", few), ("listwise", pairs)):
                found[mode].append(measure(mode, asked, Path(folder) / f"{mode}-{number}.sqlite"))
    for mode, asked in (("pointwise", few), ("listwise", pairs)):
        case = f"{len(asked):,} verdicts, {mode}; the server answers after {1000 * DELAY:.0f} ms"
        judged, stored, samples = zip(*found[mode], strict=True)
        names = (f"lmtx, {AT_ONCE} requests at once", "openai client, one after another")
        each = [seconds / len(asked) for seconds in judged]
        rates = {"count": 1, "unit": "verdicts/s"}
        report(chosen, Row.of("Judging", case, names, each, alone, **rates))
    report(
        chosen,
        Row.of(
            "Judging",
            f"{len(pairs):,} verdicts again, from the store",
            ("lmtx", None),
            [seconds / len(pairs) for seconds in stored],
            None,
            count=1,
            unit="verdicts/s",
        ),
        Row.of(
            "Judging",
            f"growth of memory over {len(pairs):,} verdicts, listwise",
            ("lmtx", None),
            [max(each) - each[len(each) // 10] for each in samples],
            None,
            unit="MiB",
            note=f"from a tenth on; {max(map(max, samples)):.0f} MiB at most",
        ),
    )


if __name__ == "__main__":
    main()
