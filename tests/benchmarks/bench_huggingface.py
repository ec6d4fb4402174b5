"""How much reading a document once for all its labels saves: `python tests/benchmarks/bench_huggingface.py`.

A random model of GPT-2's size and shape (12 layers, 124 M parameters) judges documents of 400
tokens with 10 labels each: numpy's and scipy's docstrings, with names as labels (`--wording tag`)
or `name: summary` (`--wording api-page`). Measured end to end (tokenising and store included)
against one forward pass a pair and against generating 16 tokens a pair, taking turns document by
document, so that other work on the machine hits all three alike. On a busy machine, CPU time with
one thread is the figure to trust.
"""

import argparse
import inspect
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.optimize
import scipy.signal
import scipy.stats
import torch
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_models import save_random_model, tiny_tokenizer

from lmtx.config import HuggingFaceTeacher
from lmtx.teachers import Pairs, build
from lmtx.teachers.packing import Row

LABELS, TOKENS, WRITTEN = 10, 400, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--wording", choices=["tag", "api-page"], default="tag")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        documents, labels = corpus(arguments.documents + 1, arguments.wording)
        config = HuggingFaceTeacher(
            kind="huggingface",
            name="bench",
            model=str(model_folder(Path(folder), documents["text"].to_pylist() * 8)),
            wording=arguments.wording,
            question=None,
            document_tokens=TOKENS,
            precision=arguments.precision,
            device="cpu",
            batch_tokens=2048,
        )
        with build(config, store=Path(folder) / "verdicts.sqlite", corpus=None) as teacher:
            measure(teacher, documents, labels)


def corpus(size: int, wording: str) -> tuple[pa.Table, pa.Table]:
    """The first `size` docstrings that are longer than the budget, and all objects as labels."""
    texts = {}
    for module in (np, scipy.stats, scipy.signal, scipy.optimize):
        for name, thing in sorted(vars(module).items()):
            if callable(thing) and not name.startswith("_") and (text := inspect.getdoc(thing)):
                texts[name] = text
    long = {name: text for name, text in texts.items() if len(text) > 12 * TOKENS}
    names = list(long)[:size]
    labels = [name if wording == "tag" else f"{name}: {text.splitlines()[0]}" for name, text in texts.items()]
    documents = pa.table({"uid": names, "title": names, "text": [long[name] for name in names]})
    return documents, pa.table({"uid": list(texts), "text": labels})


def model_folder(folder: Path, texts: list[str]) -> Path:
    tokenizer = tiny_tokenizer(vocabulary=8000, texts=texts)
    shape = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "vocabulary": 50257}
    return save_random_model(folder / "model", "gpt2", tokenizer=tokenizer, initializer_range=0.02, **shape)


def measure(teacher, documents: pa.Table, labels: pa.Table) -> None:
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(labels.num_rows)[:LABELS] for _ in range(documents.num_rows)])
    pairs = Pairs.from_shortlist(documents, labels, ids.astype(np.int32))
    print(teacher.plan(pairs))
    teacher.judge(pairs.select(np.flatnonzero(pairs.rows == 0)), progress=False)  # loads and checks the model
    model, clocks, difference, length = teacher._model, {}, 0.0, []
    for document in range(1, documents.num_rows):
        one = pairs.select(np.flatnonzero(pairs.rows == document))
        prompts = [prompt for row in teacher._rows(one.by_document())[0] for prompt in whole_prompts(row)]
        length += [prompt.shape[1] for prompt in prompts]
        with clock(clocks, "packed"):
            p_yes = teacher.judge(one, progress=False).p_yes
        with clock(clocks, "one pass a pair"):
            alone = [p_yes_alone(model, prompt, teacher._yes, teacher._no) for prompt in prompts]
        with clock(clocks, f"{WRITTEN} tokens a pair"):
            for prompt in prompts:
                generate(model, prompt)
        difference = max(difference, float(np.abs(p_yes - alone).max()))
    print(f"\n{documents.num_rows - 1} documents, prompts of {np.mean(length):.0f} tokens")
    print("seconds a document (median), and how often packed fits in:")
    median = {name: np.median(parts, axis=0) for name, parts in clocks.items()}
    for name, (wall, cpu) in median.items():
        times = median[name] / median["packed"]
        print(f"{name:>18}: {wall:7.2f} wall ({times[0]:5.2f}x), {cpu:7.2f} CPU ({times[1]:5.2f}x)")
    print(f"largest difference of p_yes from one pass a pair: {difference:.1e}")


@contextmanager
def clock(clocks: dict[str, list[tuple[float, float]]], name: str) -> Iterator[None]:
    """Append the wall-clock and CPU seconds of the block to `clocks[name]`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    clocks.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - cpu))


def whole_prompts(row: Row) -> list[torch.Tensor]:
    return [torch.tensor([[*row.prefix, *end]]) for end in row.suffixes]


@torch.inference_mode()
def p_yes_alone(model, prompt: torch.Tensor, yes: list[int], no: list[int]) -> float:
    """p_yes of one prompt, with nothing but the model's own forward pass."""
    p = model(prompt, use_cache=False, logits_to_keep=1).logits[0, -1].float().softmax(-1)
    return float(p[yes].sum() / (p[yes].sum() + p[no].sum()))


def generate(model, prompt: torch.Tensor) -> None:
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=WRITTEN,
        min_new_tokens=WRITTEN,
        do_sample=False,
    )


if __name__ == "__main__":
    main()
