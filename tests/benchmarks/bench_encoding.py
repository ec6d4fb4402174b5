"""How fast the encoder is, against sentence-transformers' own `encode`.

Both embed the same documentation texts, of mixed length, on the processor: at the precision that "auto"
chooses here, and against its default, fp32. What GPUs do is in bench_gpu.py.

    python tests/benchmarks/bench_encoding.py --texts 300 --tokens 256
"""

import numpy as np
from rows import Row, clock_of, counted, options, report, take_turns
from sentence_transformers import SentenceTransformer

from lmtx.config import EncoderConfig, load_config
from lmtx.datasets import read
from lmtx.encoder import Encoder
from lmtx.encoder.pretrained import model_source


def documentation(count: int) -> list[str]:
    """Documents of the study's data set, title and text: those of one library, about 1,900."""
    one = {"libraries": ["scipy"], "test_documents": 20, "dev_documents": 20}
    data = load_config().dataset.model_copy(update=one)
    documents = read(data).corpus.train.slice(0, count)
    return [f"{title}. {text}" for title, text in documents.select(["title", "text"]).to_pandas().to_numpy()]


def lmtx_encoder(precision: str, device: str) -> Encoder:
    """E0 on a device, at a precision."""
    return Encoder.load(_config().model_copy(update={"precision": precision, "device": device}))


def plain_encoder(precision: str, device: str, tokens: int) -> SentenceTransformer:
    """The same model as sentence-transformers loads it, for texts cut at `tokens`."""
    model = SentenceTransformer(str(model_source(_config())), device=device)
    model.max_seq_length = tokens
    return model.bfloat16() if precision == "bf16" else model


def plain_encode(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def _config() -> EncoderConfig:
    return load_config().encoder


def compare(ours: Encoder, precision: str, texts: list[str], tokens: int, rounds: int, part: str) -> Row:
    """Ours in turn with sentence-transformers at `precision`, on the same device."""
    theirs = plain_encoder(precision, ours.device.type, tokens)
    ways = {"ours": lambda: ours.encode(texts, tokens), "theirs": lambda: plain_encode(theirs, texts)}
    plain = np.float32(ways["theirs"]())
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)  # in bf16 it is only nearly 1
    cosine = np.mean(np.sum(plain * ways["ours"](), axis=1))
    seconds = take_turns(ways, rounds, warm=False, clock=clock_of(ours.device.type))
    lengths = [len(ids) for ids in ours.tokenize(texts, tokens)]
    mixed = f"{min(lengths)} to {max(lengths)} tokens, {np.mean(lengths):.0f} on average"
    return Row.of(
        part,
        f"{len(texts):,} texts of {mixed}{counted(ours.device.type)}",
        (f"lmtx, {ours.precision}", f"sentence-transformers encode, {precision}"),
        *seconds.values(),
        count=len(texts),
        unit="texts/s",
        note=f"mean cosine of both {cosine:.5f}",
    )


def main() -> None:
    chosen = options(__doc__, texts=300, tokens=256)
    texts = documentation(chosen.texts)
    ours = lmtx_encoder("auto", "cpu")
    for precision in dict.fromkeys((ours.precision, "fp32")):
        report(chosen, compare(ours, precision, texts, chosen.tokens, chosen.rounds, "Encoding"))


if __name__ == "__main__":
    main()
