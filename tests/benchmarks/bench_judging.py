"""The open model as a judge: pairs of semanlink, ten labels a document, in bf16.

Packed, as the study judges, against one whole prompt a pair, and against servers of the same model on this
machine: LLAMA_CPP_URL is the address of llama.cpp's with the same file, LLAMA_CPP_16_URL of one with the
weights unpacked to 16 bits, and TRANSFORMERS_URL of `transformers serve` with these weights, which
`--weights` writes in its format. They are asked one pair after another, so that llama.cpp finds the
document in its cache. A round is a document. Processor time counts, which other work does not change: for a
server, that of its process. Without the model (`lmtx model qwen-1.5b`), no rows.

    python tests/benchmarks/bench_judging.py --weights scratch/qwen
    transformers serve scratch/qwen --device cpu --dtype bfloat16 &
    TRANSFORMERS_URL=http://localhost:8000/v1 python tests/benchmarks/bench_judging.py --rounds 10
"""

import os
import sys
import tempfile
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
from lmtx.llm.local import LocalModel
from lmtx.llm.models import on_disk
from lmtx.teachers import Pairs, Teacher, build

SHORTLIST = 10
SERVED = {
    "prompt": "strict",
    "model": "scratch/qwen",
    "concurrency": 1,
    "document_tokens": 128,
    "max_tokens": 1,
}
PACKED, WHOLE = "lmtx, packed", "one whole prompt a pair"
SERVERS = {
    "LLAMA_CPP_URL": "llama.cpp's server, Q4_K_M",
    "LLAMA_CPP_16_URL": "llama.cpp's server, 16 bits",
    "TRANSFORMERS_URL": "transformers serve, bf16, answers in words",
}


def main() -> None:
    chosen = options(__doc__, rounds=10, weights="")
    if not ready():
        return
    if chosen.weights:
        return save_weights(Path(chosen.weights))
    corpus, pairs = shortlisted(chosen.rounds + 1)
    with tempfile.TemporaryDirectory() as folder:
        teacher = judge(Path(folder), "qwen", corpus)
        os.environ.setdefault("OPENAI_API_KEY", "none")
        addresses = {os.environ[url]: name for url, name in SERVERS.items() if url in os.environ}
        servers = [Server(Path(folder), name, address, corpus) for address, name in addresses.items()]
        measure(chosen, pairs, teacher, servers)


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


def save_weights(folder: Path) -> None:
    """Write the weights of the study's teacher, unpacked to bf16, as a folder of transformers."""
    model = LocalModel(
        load_presets(["dataset=semanlink", "teacher=qwen"], ["teacher.precision=bf16"]).teacher
    )
    model.weights.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


class Server:
    """A teacher behind an address on this machine, with the name of its row."""

    def __init__(self, folder: Path, name: str, address: str, corpus: Corpus):
        self.name, self._address = name, address
        apart = folder / name  # a store of its own, as their verdicts have one identity
        apart.mkdir()
        self._teacher = judge(apart, "openai", corpus, **SERVED)
        port = urlsplit(address).port
        listening = (each for each in psutil.net_connections() if each.laddr and each.laddr.port == port)
        self._process = psutil.Process(next(e.pid for e in listening if e.status == psutil.CONN_LISTEN))

    def seconds(self) -> float:
        """The processor time of its process so far."""
        return sum(self._process.cpu_times()[:2])

    def judge(self, pairs: Pairs) -> np.ndarray:
        os.environ["OPENAI_BASE_URL"] = self._address
        return self._teacher.judge(pairs, progress=False).p_yes


def seconds_of_products(operations: float) -> float:
    """Processor time of so many operations in large products of bf16 matrices."""
    factors = [torch.ones(rows, 2048, dtype=torch.bfloat16) for rows in (512, 2048)]
    with clock(clocks := {}, "products"):
        for _ in range(50):
            factors[0] @ factors[1]
    return operations * clocks["products"][0] / (50 * 2 * 512 * 2048**2)


def measure(chosen, pairs: Pairs, teacher: Teacher, servers: list[Server]) -> None:
    clocks, p_yes = {}, {}
    yes, no = teacher._words
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
        for server in servers:
            with clock(clocks, server.name, server.seconds):
                p_yes.setdefault(server.name, []).append(server.judge(one))
    tokens = teacher.cost.prompt_tokens
    seconds = sum(clocks[PACKED])
    parameters = teacher.model.weights.num_parameters(exclude_embeddings=True)
    share = seconds_of_products(2 * parameters * tokens) / seconds
    packed, whole, *others = (np.ravel(each) for each in p_yes.values())
    difference = f"p_yes differs by {np.abs(packed - whole).max():.2f} at most"
    notes = [f"{tokens / seconds:.0f} tokens/s, {share:.0%} of the rate of large products; {difference}"]
    for other in others:
        note = f"the same answer to {np.mean((packed >= 0.5) == (other >= 0.5)):.0%} of {len(packed)} pairs"
        if not np.isin(other, (0, 1)).all():
            note += f"; rank correlation {spearmanr(packed, other, nan_policy='omit').statistic:.3f}"
        notes.append(note)
    case = f"Qwen2.5-Coder-1.5B, semanlink, {SHORTLIST} labels a document, processor time"
    for other, note in zip(list(clocks)[1:], notes, strict=True):
        rates = {"count": SHORTLIST, "unit": "pairs/s"}
        row = Row.of("Judging", case, (PACKED, other), clocks[PACKED], clocks[other], note=note, **rates)
        report(chosen, row)


if __name__ == "__main__":
    main()
