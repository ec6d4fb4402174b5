"""The open model as a judge: its speed, its wordings against annotations, and a server's answers.

Without the model (`lmtx model qwen-1.5b`), no rows. Three parts:

1. Pairs of semanlink, ten labels a document: packed, as the study judges, against one whole prompt a pair.
   A round is a document.
2. Pairs of pydocs, whose annotations tell how well each wording discriminates (AUC), and its tokens a pair.
3. With OPENAI_BASE_URL set: the same GGUF file behind that server. Verdicts of the same sign, and speed.

    python tests/benchmarks/bench_judging.py --rounds 10 --documents 60 --pairs 300
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
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
SERVED = (
    "teacher.prompt=strict",
    "teacher.model=qwen",
    "teacher.concurrency=1",
    "teacher.document_tokens=128",
)


def main() -> None:
    arguments = options(__doc__, rounds=10, documents=60, pairs=300)
    if not on_disk("qwen-1.5b"):
        print("the model is not here, which `lmtx model qwen-1.5b` would bring: no rows")
        return
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        measure_speed(arguments, Path(folder))
        measure_wordings(arguments, Path(folder))
        if os.environ.get("OPENAI_BASE_URL"):
            measure_server(arguments, Path(folder))


def shortlisted(dataset: str, documents: int) -> tuple[Corpus, Pairs, np.ndarray]:
    """A corpus, the pairs of E0's shortlists of its first annotated documents, and which are right."""
    config = load_presets([f"dataset={dataset}"])
    reading = read(config.dataset, Path(__file__).parents[2])
    corpus, truth = reading.corpus, sp.csr_array(reading.truth["dev"])
    rows = np.flatnonzero(np.diff(truth.indptr))[:documents]
    table = corpus.dev.take(rows)
    encoder = Encoder.load(config.encoder)
    vectors = encoder.encode_documents(table), encoder.encode_labels(corpus.labels)
    ids = search(*vectors, SHORTLIST, excluded=corpus.excluded["dev"][rows]).ids
    pairs = Pairs.from_shortlist(table, corpus.labels, ids)
    return corpus, pairs, truth[rows].toarray()[pairs.rows, pairs.columns]


def judge(folder: Path, name: str, preset: str, dataset: str, corpus: Corpus, *overrides: str) -> Teacher:
    """A teacher of a preset, with a store of its own."""
    config = load_presets([f"dataset={dataset}", f"teacher={preset}"], list(overrides)).teacher
    return build(config, store=folder / f"{name}.sqlite", corpus=corpus)


def measure_speed(arguments, folder: Path) -> None:
    corpus, pairs, _ = shortlisted("semanlink", arguments.rounds + 1)
    clocks, difference, tokens = {}, 0.0, []
    with judge(folder, "speed", "qwen", "semanlink", corpus) as teacher:
        teacher.judge(pairs.select(np.flatnonzero(pairs.rows == 0)), progress=False)  # loads the model
        yes, no = teacher._reader._words
        for document in range(1, arguments.rounds + 1):
            one = pairs.select(np.flatnonzero(pairs.rows == document))
            prompts = [prompt for row in teacher._rows(one.by_document()) for prompt in whole_prompts(row)]
            before = teacher.cost.prompt_tokens
            with clock(clocks, "packed"):
                p_yes = teacher.judge(one, progress=False).p_yes
            tokens.append(teacher.cost.prompt_tokens - before)
            with clock(clocks, "alone"):
                alone = [p_yes_alone(teacher.model.weights, prompt, yes, no) for prompt in prompts]
            difference = max(difference, float(np.abs(p_yes - alone).max()))
    rate = np.median(np.array(tokens) / clocks["packed"])
    report(
        arguments,
        Row.of(
            "Judging",
            f"Qwen2.5-Coder-1.5B, bf16, semanlink, {SHORTLIST} labels a document",
            ("lmtx, packed", "one whole prompt a pair"),
            clocks["packed"],
            clocks["alone"],
            unit="pairs/s",
            count=SHORTLIST,
            note=f"{rate:.0f} tokens/s; p_yes differs by {difference:.2f} at most",
        ),
    )


def measure_wordings(arguments, folder: Path) -> None:
    corpus, pairs, annotated = shortlisted("pydocs", arguments.documents)
    tokens, power, seconds = {}, {}, {}
    for prompt in ("question", "strict"):
        with judge(folder, prompt, "qwen", "pydocs", corpus, f"teacher.prompt={prompt}") as teacher:
            started = time.perf_counter()
            p_yes = teacher.judge(pairs).p_yes
            seconds[prompt] = time.perf_counter() - started
            tokens[prompt] = teacher.cost.prompt_tokens / len(pairs)
            power[prompt] = roc_auc_score(annotated, p_yes)
    told = [f"{name}: {tokens[name]:.1f} tokens a pair, AUC {power[name]:.3f}" for name in tokens]
    report(
        arguments,
        Row.of(
            "Judging",
            f"{len(pairs)} pairs of pydocs, {int(annotated.sum())} of them annotated",
            ("prompt: strict", "prompt: question"),
            [seconds["strict"]],
            [seconds["question"]],
            unit="pairs/s",
            count=len(pairs),
            note="; ".join(told),
        ),
    )


def measure_server(arguments, folder: Path) -> None:
    corpus, pairs, _ = shortlisted("semanlink", arguments.pairs // SHORTLIST)
    p_yes, seconds = {}, {}
    for preset, overrides in (("qwen", ()), ("openai", SERVED)):
        with judge(folder, f"server-{preset}", preset, "semanlink", corpus, *overrides) as teacher:
            if preset == "qwen":
                _ = teacher.model.weights  # loading is not judging
            started = time.perf_counter()
            p_yes[preset] = teacher.judge(pairs).p_yes
            seconds[preset] = time.perf_counter() - started
    signs = [p >= 0.5 for p in p_yes.values()]
    same = float(np.mean(signs[0] == signs[1]))
    order = spearmanr(*p_yes.values(), nan_policy="omit").statistic
    report(
        arguments,
        Row.of(
            "Judging",
            f"{len(pairs)} pairs of semanlink, one GGUF file",
            ("lmtx, packed, bf16", f"the server {os.environ['OPENAI_BASE_URL']}"),
            [seconds["qwen"]],
            [seconds["openai"]],
            unit="pairs/s",
            count=len(pairs),
            note=f"the same answer to {same:.1%} of the pairs; rank correlation of p_yes {order:.3f}",
        ),
    )


if __name__ == "__main__":
    main()
