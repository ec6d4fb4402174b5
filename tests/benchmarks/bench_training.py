"""How fast a training step is, against a sentence-transformers trainer.

Both train E0 on the same batches of documents with a label each: ours with its triplet loss, theirs with
`MultipleNegativesRankingLoss`, the loss that it recommends for such pairs. Tokenising counts on both
sides; loading does not. What GPUs do is in bench_gpu.py.

    python tests/benchmarks/bench_training.py --steps 20 --batch 32
"""

import contextlib
import io
from tempfile import TemporaryDirectory

import datasets
import numpy as np
import scipy.sparse as sp
from accelerate.state import AcceleratorState
from bench_encoding import documentation, lmtx_encoder, plain_encoder
from rows import Row, clock_of, counted, options, report, take_turns
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers.utils import logging

from lmtx.config import load_config
from lmtx.encoder import Encoder
from lmtx.training import PseudoLabels, train


def main() -> None:
    chosen = options(__doc__, steps=20, batch=32)
    texts = documentation(chosen.steps * chosen.batch)
    precision = lmtx_encoder("auto", "cpu").precision
    for theirs in dict.fromkeys((precision, "fp32")):
        report(chosen, compare(texts, chosen, "cpu", (precision, theirs), "Training"))


def compare(texts: list[str], chosen, device: str, precisions: tuple[str, str], part: str) -> Row:
    """Steps of ours in turn with steps of theirs; `chosen` has batch, steps and rounds."""
    config = load_config()
    tokens, label_tokens = config.encoder.document_tokens, config.encoder.label_tokens
    labels = [text.split(". ")[0] for text in texts]
    ours = lmtx_encoder(precisions[0], device)
    theirs = plain_encoder("fp32", device, tokens)
    settings = config.training.model_copy(update={"batch_size": chosen.batch, "epochs": 1})
    with TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        arguments = SentenceTransformerTrainingArguments(
            scratch,
            per_device_train_batch_size=chosen.batch,
            num_train_epochs=1,
            learning_rate=settings.learning_rate,
            bf16=precisions[1] == "bf16",
            use_cpu=device == "cpu",
            train_sampling_strategy="sequential",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=device != "cpu",
        )
        logging.set_verbosity_error()
        pairs = datasets.Dataset.from_dict({"anchor": texts, "positive": labels})
        ways = {
            "ours": lambda: ours_steps(ours, texts, labels, (tokens, label_tokens), settings),
            "theirs": lambda: theirs_steps(theirs, arguments, pairs),
        }
        seconds = take_turns(ways, chosen.rounds, clock=clock_of(device))
    return Row.of(
        part,
        f"steps of {chosen.batch} documents of at most {tokens} tokens{counted(device)}",
        (f"lmtx, {precisions[0]}", f"sentence-transformers trainer, {precisions[1]}"),
        *[[each / chosen.steps for each in times] for times in seconds.values()],
        unit="s/step",
    )


def ours_steps(encoder: Encoder, texts: list[str], labels: list[str], tokens: tuple[int, int], settings):
    """One epoch over the documents, each with its own label as pseudo-positive."""
    n = len(texts)
    nothing = sp.csr_array((n, n), dtype=bool)
    own = sp.csr_array((np.ones(n, dtype=bool), np.arange(n), np.arange(n + 1)), shape=(n, n))
    source = PseudoLabels(
        encoder.tokenize(texts, tokens[0]), encoder.tokenize(labels, tokens[1]), own, nothing, nothing
    )
    train(encoder, source, settings)


def theirs_steps(model, arguments: SentenceTransformerTrainingArguments, pairs: datasets.Dataset):
    """One epoch over the same documents in the same order."""
    # Kept for the whole process; it would refuse another precision than the run before.
    AcceleratorState._reset_state()
    loss = MultipleNegativesRankingLoss(model)
    SentenceTransformerTrainer(model, arguments, pairs, loss=loss).train()


if __name__ == "__main__":
    main()
