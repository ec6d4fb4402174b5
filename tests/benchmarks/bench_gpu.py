"""What a GPU brings, where there is one: encoding, a training step, exact search. Without one, no rows.

Encoding is set against sentence-transformers and against the rate at which the same card multiplies large
matrices in the same run: the share of it that reaches the texts' own tokens, padding not counted.

    python tests/benchmarks/bench_gpu.py --texts 20000
"""

import faiss
import numpy as np
import torch
from bench_encoding import compare as compare_encoding
from bench_encoding import documentation, lmtx_encoder
from bench_training import compare as compare_training
from rows import Row, options, report, take_turns

from lmtx.encoder import Encoder
from lmtx.index import search

DIMENSION, SIDE = 384, 8192


def main() -> None:
    chosen = options(__doc__, texts=20_000, tokens=256, batch=256, steps=10, queries=10_000, labels=501_070)
    if not torch.cuda.is_available():
        print("no GPU here: no rows")
        return
    part = f"On a GPU, {torch.cuda.get_device_name()}"
    some = documentation(min(chosen.texts, 1500))
    texts = [some[i % len(some)] for i in range(chosen.texts)]
    ours = lmtx_encoder("auto", "cuda")
    for precision in dict.fromkeys((ours.precision, "fp32")):
        report(chosen, compare_encoding(ours, precision, texts, chosen.tokens, chosen.rounds, part))
    report(chosen, share_of_card(ours, texts, chosen.tokens, chosen.rounds, part))
    steps = [some[i % len(some)] for i in range(chosen.batch * chosen.steps)]
    for precision in dict.fromkeys((ours.precision, "fp32")):
        report(chosen, compare_training(steps, chosen, "cuda", (ours.precision, precision), part))
    report(chosen, exact_search(chosen, part))


def share_of_card(encoder: Encoder, texts: list[str], tokens: int, rounds: int, part: str) -> Row:
    """Operations a second of encoding token ids against those of one large product at its precision."""
    ids = encoder.tokenize(texts, tokens)
    needed = operations(encoder, [len(each) for each in ids])
    kind = torch.bfloat16 if encoder.precision == "bf16" else torch.float32
    a, b = torch.randn(2, SIDE, SIDE, device="cuda", dtype=kind)
    repeats = max(1, round(needed / (2 * SIDE**3)))  # as many operations as the encoding needs

    def multiply() -> None:
        for _ in range(repeats):
            a @ b
        torch.cuda.synchronize()

    seconds = take_turns({"ours": lambda: encoder.encode_tokens(ids), "card": multiply}, rounds)
    times = {
        "ours": [each / needed for each in seconds["ours"]],
        "card": [each / (repeats * 2 * SIDE**3) for each in seconds["card"]],
    }
    return Row.of(
        part,
        f"{len(texts):,} tokenised texts of {np.mean([len(each) for each in ids]):.0f} tokens on average",
        (f"lmtx, {encoder.precision}", f"{SIDE:,} × {SIDE:,} matrices"),
        *times.values(),
        count=1e-12,
        unit="TFLOP/s",
        note="times is the share of the card's matrix rate",
    )


def operations(encoder: Encoder, lengths: list[int]) -> float:
    """Of a BERT-like encoder, two for a multiplication and an addition: its linear layers and attention."""
    config = encoder.model.config
    width, inner = config["hidden_size"], config["intermediate_size"]
    t = np.asarray(lengths, dtype=np.float64)
    linear = 2 * t * (4 * width**2 + 2 * width * inner)
    return float(config["num_hidden_layers"] * (linear + 4 * t**2 * width).sum())


def exact_search(chosen, part: str) -> Row:
    """100 labels of each query, ours against the product and `topk` that one writes with torch."""
    rng = np.random.default_rng(0)
    queries, labels = (
        rng.standard_normal((n, DIMENSION), dtype=np.float32) for n in (chosen.queries, chosen.labels)
    )
    faiss.normalize_L2(queries)
    faiss.normalize_L2(labels)

    def plain() -> np.ndarray:
        held = torch.from_numpy(labels).cuda()
        blocks = torch.from_numpy(queries).cuda().split(1024)
        return torch.cat([(block @ held.T).topk(100).indices for block in blocks]).cpu().numpy()

    same = np.mean(
        [len(np.intersect1d(a, b)) for a, b in zip(search(queries, labels, 100).ids, plain(), strict=True)]
    )
    seconds = take_turns({"ours": lambda: search(queries, labels, 100), "theirs": plain}, chosen.rounds)
    return Row.of(
        part,
        f"search, {chosen.queries:,} documents, {chosen.labels:,} labels, {DIMENSION} dimensions, k = 100",
        ("lmtx", "torch matmul and topk, fp32"),
        *seconds.values(),
        note=f"{same:.1f} of 100 labels in common",
    )


if __name__ == "__main__":
    main()
