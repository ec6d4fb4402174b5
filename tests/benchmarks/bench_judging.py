"""The open model as a judge: pairs of semanlink, ten labels a document, in bf16.

Packed, as the study judges, against one whole prompt a pair and, where OPENAI_BASE_URL names llama.cpp with
the same file, against that, asked one pair after another, so that it finds the document in its cache.
A round is a document. Processor time counts, which other work does not change: for the server, which must be
on this machine, that of its process. Without the model (`lmtx model qwen-1.5b`), no rows.

    python tests/benchmarks/bench_judging.py --rounds 10
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import torch
from scipy.stats import spearmanr
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_huggingface import clock, p_yes_alone, whole_prompts
from rows import Row, options, report

from lmtx.config import load_presets
from lmtx.corpus import Corpus
from lmtx.datasets import read
from lmtx.encoder import Encoder
from lmtx.index import search
from lmtx.llm.models import on_disk
from lmtx.teachers import Pairs, Teacher, build

SHORTLIST = 10
SERVED = {"prompt": "strict", "model": "qwen", "concurrency": 1, "document_tokens": 128}
PACKED, WHOLE, SERVER = "lmtx, packed", "one whole prompt a pair", "llama.cpp's server, Q4_K_M"


def main() -> None:
    chosen = options(__doc__, rounds=10)
    if not ready():
        return
    corpus, pairs = shortlisted(chosen.rounds + 1)
    with tempfile.TemporaryDirectory() as folder:
        teacher = judge(Path(folder), "qwen", corpus)
        served = os.environ.get("OPENAI_BASE_URL")
        server = judge(Path(folder), "openai", corpus, **SERVED) if served else None
        measure(chosen, pairs, teacher, server)


def ready() -> bool:
    """Whether the model is here, which is said where it is not; quietens transformers."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    here = bool(on_disk("qwen-1.5b"))
    if not here:
        print("the model is not here, which `lmtx model qwen-1.5b` would bring: no rows")
    return here


def shortlisted(documents: int) -> tuple[Corpus, Pairs]:
    """The corpus, and the pairs of E0's shortlists of its first documents for dev."""
    config = load_presets(["dataset=semanlink"])
    corpus = read(config.dataset, Path(__file__).parents[2]).corpus
    table = corpus.dev.slice(0, documents)
    encoder = Encoder.load(config.encoder)
    vectors = encoder.encode_documents(table), encoder.encode_labels(corpus.labels)
    ids = search(*vectors, SHORTLIST, excluded=corpus.excluded["dev"][:documents]).ids
    return corpus, Pairs.from_shortlist(table, corpus.labels, ids)


def judge(folder: Path, preset: str, corpus: Corpus, dataset: str = "semanlink", **settings) -> Teacher:
    """A teacher of a preset, with a store of its own."""
    changes = [f"teacher.{name}={value}" for name, value in settings.items()]
    config = load_presets([f"dataset={dataset}", f"teacher={preset}"], changes).teacher
    return build(config, store=folder / f"{preset}.sqlite", corpus=corpus)


def time_of_server() -> Callable[[], float]:
    """A clock: the processor time of the process that listens at the port of OPENAI_BASE_URL."""
    port = urlsplit(os.environ["OPENAI_BASE_URL"]).port
    listening = (each for each in psutil.net_connections() if each.laddr and each.laddr.port == port)
    process = psutil.Process(next(each.pid for each in listening if each.status == psutil.CONN_LISTEN))
    return lambda: sum(process.cpu_times()[:2])


def seconds_of_products(operations: float) -> float:
    """Processor time of so many operations in large products of bf16 matrices."""
    factors = [torch.ones(rows, 2048, dtype=torch.bfloat16) for rows in (512, 2048)]
    with clock(clocks := {}, "products"):
        for _ in range(50):
            factors[0] @ factors[1]
    return operations * clocks["products"][0] / (50 * 2 * 512 * 2048**2)


def measure(chosen, pairs: Pairs, teacher: Teacher, server: Teacher | None) -> None:
    clocks, p_yes = {}, {}
    served_time = time_of_server() if server else None
    yes, no = teacher._reader._words
    documents = [pairs.select(np.flatnonzero(pairs.rows == row)) for row in range(chosen.rounds + 1)]
    # The first one loads the model. It is the longest, on which packing is checked once.
    documents.sort(key=lambda one: -max(map(len, teacher._rows(one.by_document()))))
    for number, one in enumerate(documents):
        if number == 1:
            clocks.clear(), p_yes.clear()
            teacher.cost.prompt_tokens = 0
        prompts = [prompt for row in teacher._rows(one.by_document()) for prompt in whole_prompts(row)]
        with clock(clocks, PACKED):
            p_yes.setdefault(PACKED, []).append(teacher.judge(one, progress=False).p_yes)
        with clock(clocks, WHOLE):
            alone = [p_yes_alone(teacher.model.weights, prompt, yes, no) for prompt in prompts]
        p_yes.setdefault(WHOLE, []).append(alone)
        if server:
            with clock(clocks, SERVER, served_time):
                p_yes.setdefault(SERVER, []).append(server.judge(one, progress=False).p_yes)
    tokens = teacher.cost.prompt_tokens
    seconds = sum(clocks[PACKED])
    parameters = teacher.model.weights.num_parameters(exclude_embeddings=True)
    share = seconds_of_products(2 * parameters * tokens) / seconds
    packed, *others = (np.ravel(each) for each in p_yes.values())
    difference = f"p_yes differs by {np.abs(packed - others[0]).max():.2f} at most"
    notes = [f"{tokens / seconds:.0f} tokens/s, {share:.0%} of the rate of large products; {difference}"]
    if server:
        same = np.mean((packed >= 0.5) == (others[1] >= 0.5))
        order = spearmanr(packed, others[1], nan_policy="omit").statistic
        notes.append(f"the same answer to {same:.0%} of {len(packed)} pairs; rank correlation {order:.3f}")
    case = f"Qwen2.5-Coder-1.5B, semanlink, {SHORTLIST} labels a document, processor time"
    for other, note in zip(list(clocks)[1:], notes, strict=True):
        rates = {"count": SHORTLIST, "unit": "pairs/s"}
        row = Row.of("Judging", case, (PACKED, other), clocks[PACKED], clocks[other], note=note, **rates)
        report(chosen, row)


if __name__ == "__main__":
    main()
