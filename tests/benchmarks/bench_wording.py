"""Strict instructions against the paper's question: tokens a pair, and how well the answers order the pairs.

The 1.5B model judges ten labels by E0, and five random ones, of annotated documents: of `semanlink`, where
a label is a tag, and of `pydocs`, where it is a page to link to. The annotations tell the AUC: how often an
annotated pair of a document has a higher p_yes than another of it. No rows without the model
(`lmtx model qwen-1.5b`).

    python tests/benchmarks/bench_wording.py --documents 60
"""

import tempfile
from pathlib import Path

import numpy as np
from bench_judging import judge, ready
from rows import Row, options, report

from lmtx.config import load_presets
from lmtx.datasets import read
from lmtx.encoder import Encoder
from lmtx.index import search
from lmtx.teachers import Pairs
from lmtx.teachers.discrimination import power

SHORTLIST, RANDOM = 10, 5
WORDINGS = {"strict": "strict instructions, as the study asks", "question": "the paper's question"}


def main() -> None:
    chosen = options(__doc__, rounds=1, documents=60)
    if not ready():
        return
    for dataset in ("semanlink", "pydocs"):
        measure(chosen, dataset)


def measure(chosen, dataset: str) -> None:
    config = load_presets([f"dataset={dataset}"])
    reading = read(config.dataset, Path(__file__).parents[2])
    corpus = reading.corpus
    rows = np.flatnonzero(np.diff(reading.truth["dev"].indptr))[: chosen.documents]
    documents, truth, excluded = (
        corpus.dev.take(rows),
        reading.truth["dev"][rows],
        corpus.excluded["dev"][rows],
    )
    encoder = Encoder.load(config.encoder)
    vectors = encoder.encode_documents(documents), encoder.encode_labels(corpus.labels)
    near = search(*vectors, SHORTLIST, excluded=excluded).ids
    draw = np.random.default_rng(0)
    far = np.array([draw.choice(corpus.labels.num_rows, RANDOM, replace=False) for _ in rows], dtype=np.int32)
    is_true = truth[np.arange(len(rows))[:, None], near].toarray()

    tokens, told = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for prompt in WORDINGS:
            teacher = judge(Path(folder), "qwen", corpus, dataset=dataset, prompt=prompt)
            p_yes = {}
            for name, ids in (("near", near), ("far", far)):
                pairs = Pairs.from_shortlist(documents, corpus.labels, ids)
                p_yes[name] = teacher.judge(pairs).p_yes.reshape(ids.shape)
            tokens[prompt] = [teacher.cost.prompt_tokens / (near.size + far.size)]
            auc = power(np.where(is_true, p_yes["near"], np.nan), np.where(is_true, np.nan, p_yes["near"]))
            yes = {name: f"{np.mean(values >= 0.5):.0%}" for name, values in p_yes.items()}
            told[prompt] = (
                f"AUC {auc:.2f}, above random labels {power(p_yes['near'], p_yes['far']):.2f}, "
                f"yes to {yes['near']}, and to {yes['far']} of random ones"
            )
    note = "; ".join(f"{prompt}: {text}" for prompt, text in told.items())
    case = f"tokens a pair, {dataset}, {len(rows)} documents, {is_true.sum()} of {near.size} pairs annotated"
    report(
        chosen, Row.of("Judging", case, tuple(WORDINGS.values()), *tokens.values(), unit="tokens", note=note)
    )


if __name__ == "__main__":
    main()
