"""How much reading a document once for all its labels saves, on a model in this process.

A random model of GPT-2's size and shape (12 layers, 124 M parameters) judges documents of 400
tokens with 10 labels each: numpy's and scipy's docstrings, with names as labels (`--wording tag`)
or `name: summary` (`--wording api-page`). Measured end to end (tokenising and store included)
against one forward pass a pair and against generating 16 tokens a pair, taking turns document by
document: a round is a document.

    python tests/benchmarks/bench_huggingface.py --rounds 2 --precision fp32
"""

import inspect
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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

from rows import Row, options, report
from tiny_models import save_random_model, tiny_tokenizer

from lmtx.config import HuggingFaceConfig
from lmtx.llm import packing
from lmtx.teachers import Pairs, build

LABELS, TOKENS, WRITTEN = 10, 400, 16


def main() -> None:
    arguments = options(__doc__, rounds=2, precision="fp32", wording="tag")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        documents, labels = corpus(arguments.rounds + 1, arguments.wording)
        config = HuggingFaceConfig(
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
            measure(arguments, teacher, documents, labels)


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


def measure(arguments, teacher, documents: pa.Table, labels: pa.Table) -> None:
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(labels.num_rows)[:LABELS] for _ in range(documents.num_rows)])
    pairs = Pairs.from_shortlist(documents, labels, ids.astype(np.int32))
    teacher.judge(pairs.select(np.flatnonzero(pairs.rows == 0)), progress=False)  # loads and checks the model
    model, clocks, difference = teacher.model.weights, {}, 0.0
    yes, no = teacher._words
    for document in range(1, documents.num_rows):
        one = pairs.select(np.flatnonzero(pairs.rows == document))
        prompts = [prompt for row in teacher._rows(one.by_document()) for prompt in whole_prompts(row)]
        with clock(clocks, "packed"):
            p_yes = teacher.judge(one, progress=False).p_yes
        with clock(clocks, "one pass a pair"):
            alone = [p_yes_alone(model, prompt, yes, no) for prompt in prompts]
        with clock(clocks, f"{WRITTEN} tokens a pair"):
            for prompt in prompts:
                generate(model, prompt)
        difference = max(difference, float(np.abs(p_yes - alone).max()))
    case = f"documents of {TOKENS} tokens with {LABELS} labels, 124 M parameters, {arguments.precision}, "
    case += "processor time"
    agreement = f"p_yes differs by {difference:.0e} at most"
    for other, note in (("one pass a pair", agreement), (f"{WRITTEN} tokens a pair", "")):
        seconds = clocks["packed"], clocks[other]
        names = ("lmtx", other)
        report(arguments, Row.of("Judging", case, names, *seconds, unit="s/document", note=note))


@contextmanager
def clock(
    clocks: dict[str, list[float]], name: str, now: Callable[[], float] = time.process_time
) -> Iterator[None]:
    """Append the seconds of the block to `clocks[name]`."""
    started = now()
    yield
    clocks.setdefault(name, []).append(now() - started)


def whole_prompts(row: packing.Row) -> list[torch.Tensor]:
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
