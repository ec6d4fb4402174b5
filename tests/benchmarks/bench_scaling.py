"""Whether cost grows linearly: processor time of each part at four sizes, and the slope in a log-log fit.

A slope of 1 is linear; below 1, something does not grow with the size. Sizes are measured in turn, and
the median over the rounds is fitted. docs/gpus.md extrapolates from these.

    python tests/benchmarks/bench_scaling.py --largest 1.0 --figure reports/benchmarks
"""

import io
import json
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
from bench_encoding import documentation, lmtx_encoder
from bench_metrics import make_case, weights
from bench_training import ours_steps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from rows import Row, options, report, take_turns

from lmtx.config import OwnConfig, load_config
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA
from lmtx.datasets import read
from lmtx.index import search
from lmtx.metrics import evaluate
from lmtx.report.drawing import BLUE, GREEN, ORANGE, PURPLE, Drawing
from lmtx.teachers.base import Teacher
from lmtx.teachers.pairs import YES, Pairs
from lmtx.teachers.store import VerdictStore

LIMIT = 1.1
SIZES = (1 / 8, 1 / 4, 1 / 2, 1)  # of the largest
# Part and what grows -> the largest size.
LARGEST = {
    ("reading", "documents"): 16_000,
    ("reading", "labels"): 160_000,
    ("encoding", "documents"): 512,
    ("encoding", "labels"): 8_192,
    ("search", "documents"): 4_000,
    ("search", "labels"): 2_097_152,
    ("judging from the store", "pairs"): 80_000,
    ("training", "documents"): 256,
    ("metrics", "documents"): 40_000,
    ("metrics", "labels"): 501_070,
}
COLOURS = {"documents": BLUE, "labels": ORANGE, "pairs": GREEN}


def main() -> None:
    chosen = options(__doc__, largest=1.0, figure="")
    seconds: dict[tuple[str, str], dict[int, float]] = {}
    for (part, grows), largest in LARGEST.items():
        sizes = [max(8, int(largest * chosen.largest * share)) for share in SIZES]
        with ExitStack() as stack, redirect_stderr(io.StringIO()):
            work = PREPARE[part](stack, grows, sizes)
            ways = {size: lambda size=size, work=work: work(size) for size in sizes}
            found = take_turns(ways, chosen.rounds, warm=part != "reading", clock=time.process_time)
        seconds[part, grows] = {size: float(np.median(each)) for size, each in found.items()}
        slope_ = slope(seconds[part, grows])
        case = f"{part}, by {grows}: {', '.join(f'{size:,}' for size in sizes)}"
        took = ", ".join(f"{each:.3g}" for each in seconds[part, grows].values())
        row = Row.of(
            "Growth", case, ("slope", None), [slope_], None, unit="", note=f"took {took} s of a processor"
        )
        report(chosen, row)
    if chosen.figure:
        draw(seconds).save(chosen.figure)


def slope(seconds: dict[int, float]) -> float:
    """Of a straight line through the logarithms of sizes and seconds."""
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def reading(stack: ExitStack, grows: str, sizes: list[int]) -> Callable[[int], object]:
    """One's own JSONL, 200 words and 5 labels a document; 1,000 labels, or documents where labels grow."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(5000)]
    for size in sizes:
        documents, labels = (size, 1000) if grows == "documents" else (1000, size)
        with (folder / f"documents-{size}.jsonl").open("w") as out:
            for _ in range(documents):
                named = [f"label number {i}" for i in rng.integers(labels, size=5)]
                out.write(json.dumps({"text": " ".join(rng.choice(words, 200)), "labels": named}) + "\n")
        (folder / f"labels-{size}.txt").write_text("".join(f"label number {i}\n" for i in range(labels)))

    def work(size: int) -> None:
        names = {"documents": f"{folder}/documents-{size}.jsonl", "labels": f"{folder}/labels-{size}.txt"}
        limits = {"test_documents": None, "dev_documents": 5, "train_documents": None}
        about = {"name": "bench", "wording": "tag", "propensity": "other"}
        data = OwnConfig(reader="own", test=None, **names, **limits, **about)
        read(data, scratch=folder).save(folder / "corpus", folder / "truth")

    return work


def encoding(stack: ExitStack, grows: str, sizes: list[int]) -> Callable[[int], object]:
    """Documents of 128 tokens; names as labels."""
    encoder, texts = lmtx_encoder("auto", "cpu"), repeated(sizes[-1])
    if grows == "labels":
        texts = [text.split(". ")[0] for text in texts]
    return lambda size: encoder.encode(texts[:size], 128)


def searching(stack: ExitStack, grows: str, sizes: list[int]) -> Callable[[int], object]:
    """384 dimensions, k = 10; 16,384 labels or 500 documents where the other grows."""
    documents, labels = (sizes[-1], 16_384) if grows == "documents" else (500, sizes[-1])
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((documents, 384), dtype=np.float32)
    vectors = rng.standard_normal((labels, 384), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if grows == "documents":
        return lambda size: search(queries[:size], vectors, 10)
    return lambda size: search(queries, vectors[:size], 10)


def judging(stack: ExitStack, grows: str, sizes: list[int]) -> Callable[[int], object]:
    """Ten labels a document; all verdicts are in the store before."""
    folder = stack.enter_context(TemporaryDirectory())
    store = stack.enter_context(VerdictStore(f"{folder}/verdicts.sqlite"))
    teacher = Agreeing("agreeing", {"kind": "agreeing"}, store)
    rng = np.random.default_rng(0)
    n = -(-sizes[-1] // 10)
    texts = [" ".join(f"word{i}" for i in rng.integers(5000, size=100)) for _ in range(n)]
    documents = pa.table([[f"d{i}" for i in range(n)], [""] * n, texts], schema=DOCUMENT_SCHEMA)
    labels = pa.table(
        [[f"l{i}" for i in range(1000)], [f"label {i}" for i in range(1000)]], schema=LABEL_SCHEMA
    )
    ids = (rng.integers(1000, size=(n, 1)) + np.arange(10)) % 1000
    pairs = Pairs.from_shortlist(documents, labels, ids.astype(np.int32))
    teacher.judge(pairs, progress=False)
    return lambda size: teacher.judge(pairs.select(np.arange(size)), progress=False)


class Agreeing(Teacher):
    """Says yes to everything."""

    def ask(self, pairs: Pairs):
        n = len(pairs)
        yield np.arange(n), np.ones(n, dtype=np.float32), np.full(n, YES, dtype=np.int8)


def training(stack: ExitStack, grows: str, sizes: list[int]) -> Callable[[int], object]:
    texts = repeated(sizes[-1])
    labels = [text.split(". ")[0] for text in texts]
    encoder = lmtx_encoder("auto", "cpu")
    settings = load_config().training.model_copy(update={"batch_size": max(2, sizes[0]), "epochs": 1})
    return lambda size: ours_steps(encoder, texts[:size], labels[:size], (64, 32), settings)


def scoring(stack: ExitStack, grows: str, sizes: list[int]) -> Callable[[int], object]:
    """With 100 resamples; 501,070 labels, or 10,000 documents where labels grow."""
    cases = {}
    for size in sizes:
        documents, labels = (size, LARGEST["metrics", "labels"]) if grows == "documents" else (10_000, size)
        cases[size] = (*make_case(documents, labels), weights(labels))

    def work(size: int) -> None:
        ids, truth, excluded, propensity = cases[size]
        evaluate(ids, truth, excluded=excluded, propensity=propensity, bootstrap=100)

    return work


# What does a part's work at a size, its material being made before.
PREPARE = {
    "reading": reading,
    "encoding": encoding,
    "search": searching,
    "judging from the store": judging,
    "training": training,
    "metrics": scoring,
}


def repeated(count: int) -> list[str]:
    """One text of the study for all, so that every size has texts of the same lengths."""
    some = documentation(8)
    return [some[i % len(some)] for i in range(count)]


def draw(seconds: dict[tuple[str, str], dict[int, float]]) -> Drawing:
    """Seconds against size, a panel for what grows, a line a part with its slope in the legend."""
    kinds = [grows for grows in COLOURS if any(key[1] == grows for key in seconds)]
    marks = dict(zip(dict.fromkeys(part for part, _ in seconds), "osD^vP", strict=False))
    shades = dict(zip(marks, (BLUE, ORANGE, GREEN, PURPLE, "#56b4e9", "#a6761d"), strict=False))
    steepest = max(slope(each) for each in seconds.values())

    def plot(figure: Figure) -> None:
        panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
        for axes, grows in zip(panels, kinds, strict=True):
            for (part, by), each in seconds.items():
                if by == grows:
                    name = f"{part}: {slope(each):.2f}"
                    axes.plot(
                        *zip(*each.items(), strict=True), f"{marks[part]}-", color=shades[part], label=name
                    )
            axes.set(xscale="log", yscale="log", xlabel=grows, title=f"by {grows}")
            axes.set_ylabel("seconds of a processor" if grows == kinds[0] else "")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
                axis.set_minor_formatter(NullFormatter())
            axes.grid(True)
            axes.legend(title="slope", alignment="left", loc="upper left", bbox_to_anchor=(0, -0.16))

    how = "linearly or slower" if steepest <= LIMIT else "faster than linearly in one part"
    message = f"Cost grows {how}: the steepest slope is {steepest:.2f}"
    caption = "Log-log; medians of the rounds; a slope of 1 is linear, below 1 part of the cost is fixed."
    frame = pd.DataFrame(
        [
            {"part": part, "by": by, "size": size, "seconds": taken, "slope": slope(each)}
            for (part, by), each in seconds.items()
            for size, taken in each.items()
        ]
    )
    return Drawing("scaling", "Growth of cost", message, caption, frame, (9.6, 5.0), plot)


if __name__ == "__main__":
    main()
