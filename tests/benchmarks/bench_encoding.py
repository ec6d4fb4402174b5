"""How fast the encoder is: against itself in fp32, and against sentence-transformers' own `encode`.

Every way embeds the same documentation texts, in turn, several times; the medians are compared.

    python tests/benchmarks/bench_encoding.py --texts 1000 --rounds 3
"""

import argparse
import statistics
import time

import numpy as np
from sentence_transformers import SentenceTransformer

from lmtx.config import load_config
from lmtx.datasets import read
from lmtx.encoder import Encoder
from lmtx.pretrained import model_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    config = load_config()
    documents = read(config.dataset).corpus.train.slice(0, chosen.texts)
    ways = {}
    for precision in ("bf16", "fp32"):
        encoder = Encoder.load(config.encoder.model_copy(update={"precision": precision}))
        ways[f"lmtx, {precision}"] = lambda e=encoder: e.encode(texts, config.encoder.document_tokens)
    texts = encoder.document_texts(documents)
    for precision in ("bf16", "fp32"):
        model = SentenceTransformer(str(model_source(config.encoder)))
        model.max_seq_length = config.encoder.document_tokens
        model = model.bfloat16() if precision == "bf16" else model
        ways[f"sentence-transformers, {precision}"] = lambda m=model: m.encode(
            texts, normalize_embeddings=True, show_progress_bar=False
        )
    seconds = {name: [] for name in ways}
    vectors = {}
    for name, encode in ways.items():
        vectors[name] = encode()  # also the warm-up
    for _ in range(chosen.rounds):
        for name, encode in ways.items():
            started = time.perf_counter()
            encode()
            seconds[name].append(time.perf_counter() - started)
    ours = statistics.median(seconds["lmtx, bf16"])
    print(f"{len(texts)} texts, at most {config.encoder.document_tokens} tokens, median of {chosen.rounds}")
    for name, taken in seconds.items():
        cosine = np.mean(np.sum(np.float32(vectors[name]) * vectors["lmtx, fp32"], axis=1))
        median = statistics.median(taken)
        print(
            f"{name:28} {len(texts) / median:7.0f} texts/s   lmtx bf16 is {median / ours:4.2f} times as fast"
            f"   mean cosine to fp32 {cosine:.5f}"
        )


if __name__ == "__main__":
    main()
