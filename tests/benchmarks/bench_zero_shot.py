"""Tagging once all is loaded, against the tools that people take for this job, at 100 and 10,000 labels.

They are a few lines with sentence-transformers, and the zero-shot-classification pipeline of transformers,
which reads a document once for each label. Its NLI model is the bundled encoder with a random head, as no
hub may be in reach: speed does not depend on the weights. It is given one document and at most 200 of the
labels, whose time is multiplied.

    python tests/benchmarks/bench_zero_shot.py --documents 64
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from bench_encoding import lmtx_encoder, plain_encode, plain_encoder
from rows import Row, options, report, take_turns
from sentence_transformers import util
from transformers import AutoTokenizer, BertForSequenceClassification, pipeline
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from lmtx.config import load_config
from lmtx.encoder.pretrained import model_source
from lmtx.tagger import Tagger
from lmtx.tagger.labels import label_table

LABELS, GIVEN = (100, 10_000), 200
WORDS = ["the", "of", "to", "and", "in", "is", "for", "that", "it", "as", "was", "with", "be", "by", "on"]


def main() -> None:
    chosen = options(__doc__, documents=64)
    set_verbosity_error()
    disable_progress_bar()
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 100)) for _ in range(chosen.documents)]
    with TemporaryDirectory() as folder:
        save_nli_model(Path(folder))
        classify = pipeline("zero-shot-classification", model=folder, device="cpu", batch_size=16)
        for labels in LABELS:
            compare(chosen, texts, labels, classify)


def save_nli_model(folder: Path) -> None:
    """Save the bundled encoder with a random head for entailment, and its tokenizer."""
    source = model_source(load_config().encoder)
    label2id = {"contradiction": 0, "neutral": 1, "entailment": 2}
    id2label = {number: name for name, number in label2id.items()}
    model = BertForSequenceClassification.from_pretrained(source, id2label=id2label, label2id=label2id)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def compare(chosen, texts: list[str], labels: int, classify) -> None:
    names = [f"label number {i}" for i in range(labels)]
    encoder = lmtx_encoder("auto", "cpu")
    tagger = Tagger.build(encoder, label_table(names))
    plain = plain_encoder("fp32", "cpu", encoder.config.document_tokens)
    vectors = torch.from_numpy(tagger.labels.vectors)

    def script() -> None:
        util.semantic_search(torch.from_numpy(plain_encode(plain, texts)), vectors, top_k=5)

    ways = {
        f"lmtx, {encoder.precision}": lambda: tagger.tag(texts, 5),
        "sentence-transformers, fp32": script,
        "zero-shot-classification, fp32": lambda: classify(texts[0], names[:GIVEN], multi_label=True),
    }
    # Seconds a document.
    shares = (1 / len(texts), 1 / len(texts), labels / min(labels, GIVEN))
    seconds = zip(shares, take_turns(ways, chosen.rounds, clock=time.process_time).values(), strict=True)
    mine, *others = [[share * each for each in way] for share, way in seconds]
    case = f"documents of 100 words, {labels:,} labels, all loaded, processor time"
    for name, theirs in zip(list(ways)[1:], others, strict=True):
        both = {"count": 1, "unit": "documents/s"}
        report(chosen, Row.of("Tagging", case, (next(iter(ways)), name), mine, theirs, **both))


if __name__ == "__main__":
    main()
