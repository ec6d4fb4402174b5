"""E: texts to unit vectors. `Encoder` embeds in memory; `on_disk.embed` embeds a corpus into files."""

import copy
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tqdm.auto import tqdm

from lmtx.config import EncoderConfig
from lmtx.devices import resolve_precision
from lmtx.encoder.pretrained import BUNDLED, EncoderError, check_hash, model_source, open_model
from lmtx.encoder.tokens import Tokens, blocks
from lmtx.files import CARD, read_json, replacing, write_json

__all__ = ["BUNDLED", "Encoder", "EncoderError", "Tokens", "batches_by_length"]

BLOCK = 16_384
"""Texts that are sorted by length, embedded and, on disk, written at a time."""

_TOKENIZED = 4096  # at a time: a tokenizer's own output takes several times what a block's token ids do


class Encoder:
    """The bi-encoder: one network for documents and labels, whose texts are batched by length.

    `model` is the network with fp32 weights, and its tokenizer: a `lmtx.encoder.bert.Bert`, or a `General`.
    `precision` is "bf16" or "fp32": what `config.precision` means on this device.
    """

    def __init__(self, model, config: EncoderConfig):
        self.model = model
        self.config = config
        self.device = model.device
        self.precision = resolve_precision(config.precision, self.device)
        self._frozen = True
        self._bf16 = None  # a copy of the network, kept while its weights are frozen

    @classmethod
    def load(cls, config: EncoderConfig, folder: str | Path | None = None) -> "Encoder":
        """Load the pretrained encoder E0 that `config.model` names, or the student saved in `folder`.

        Raises `EncoderError` when the folder is missing, incomplete or damaged, the weights' SHA-256 is not
        `config.sha256`, `config.device` is not there, or, at once, a hub name is neither cached nor reached.
        """
        source = Path(folder) if folder is not None else model_source(config)
        if folder is None and config.sha256:
            check_hash(source, config.sha256)
        return cls(open_model(source, config.device), config)

    def save(self, folder: str | Path, card: dict) -> None:
        """Save as a sentence-transformers folder (safetensors, fp32) with `card` in `lmtx.json`."""
        with replacing(folder, folder=True) as scratch:
            self.model.save(scratch)
            write_json(scratch / CARD, card)
            for file in scratch.rglob("*.safetensors"):  # which safetensors lets only its owner read
                shutil.copymode(scratch / CARD, file)

    def document_texts(self, documents: pa.Table) -> list[str]:
        """What the encoder reads of each document: the title, where `config.title`, then the text."""
        texts = documents["text"].to_pylist()
        if not self.config.title:
            return texts
        titles = documents["title"].to_pylist()
        return [f"{title}. {text}" if title else text for title, text in zip(titles, texts, strict=True)]

    def encode_documents(self, documents: pa.Table, progress: str | None = None) -> np.ndarray:
        """Unit vectors of documents: float32 (n, d), in the table's order."""
        return self._encode(
            documents.num_rows, lambda rows: self.tokenize_documents(documents[rows]), progress
        )

    def encode_labels(self, labels: pa.Table, progress: str | None = None) -> np.ndarray:
        """Unit vectors of labels: float32 (L, d)."""
        return self._encode(labels.num_rows, lambda rows: self.tokenize_labels(labels[rows]), progress)

    def encode(self, texts: Sequence[str], max_tokens: int, progress: str | None = None) -> np.ndarray:
        """Embed texts cut at `max_tokens`, special tokens included: float32 (n, d), rows of norm 1.

        Batches hold texts of similar length and about `config.batch_tokens` tokens; beside the result,
        memory holds one block of texts at a time. `progress` names a progress bar; None shows none.
        """
        return self._encode(len(texts), lambda rows: self.tokenize(texts[rows], max_tokens), progress)

    def encode_tokens(self, tokens: Sequence[Sequence[int]], progress: str | None = None) -> np.ndarray:
        """Embed token ids made by `tokenize`. Returns float32 (n, d), rows of norm 1."""
        tokens = tokens if isinstance(tokens, Tokens) else Tokens.of(tokens)
        return self._encode(len(tokens), lambda rows: tokens[rows], progress)

    def _encode(self, n: int, read: Callable[[slice], Tokens], progress: str | None) -> np.ndarray:
        """Embed n texts; `read` gives the token ids of some rows."""
        vectors = np.empty((n, self.dimension), dtype=np.float32)
        with tqdm(total=n, desc=progress, disable=progress is None, unit="text") as bar:
            for rows in blocks(n, BLOCK):
                vectors[rows] = self.encode_block(read(rows), bar)
        return vectors

    @torch.inference_mode()
    def encode_block(self, tokens: Tokens, bar: tqdm) -> np.ndarray:
        """Embed one block of texts, sorted by length, and advance `bar` by them: float32 (n, d)."""
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        model = self._inference_model()
        for batch in batches_by_length(tokens.lengths, self.config.batch_tokens):
            vectors[batch] = self._embed([tokens[row] for row in batch], model).cpu().numpy()
            bar.update(len(batch))
        return vectors

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> Tokens:
        """Token ids of each text, cut at `max_tokens`, special tokens included."""
        return self._tokens((texts[rows] for rows in blocks(len(texts), _TOKENIZED)), max_tokens)

    def tokenize_documents(self, documents: pa.Table, folder: str | Path | None = None) -> Tokens:
        """What the encoder reads of documents, as token ids.

        They are written to `folder` as they are made, and memory-mapped from there. None: in memory.
        """
        texts = (self.document_texts(documents[rows]) for rows in blocks(documents.num_rows, _TOKENIZED))
        return self._tokens(texts, self.config.document_tokens, folder)

    def tokenize_labels(self, labels: pa.Table, folder: str | Path | None = None) -> Tokens:
        """What the encoder reads of labels, as token ids; `folder` as for `tokenize_documents`."""
        texts = (labels["text"][rows].to_pylist() for rows in blocks(labels.num_rows, _TOKENIZED))
        return self._tokens(texts, self.config.label_tokens, folder)

    def _tokens(
        self, texts: Iterable[Sequence[str]], max_tokens: int, folder: str | Path | None = None
    ) -> Tokens:
        """Token ids of texts that come some at a time."""
        limit = min(max_tokens, self.model.max_seq_length or max_tokens)
        ids = (text for some in texts for text in self.model.token_ids(some, limit))
        return Tokens.of(ids) if folder is None else Tokens.write(folder, ids)

    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors float32 (n, d) of one batch of token ids, with gradients where they are on."""
        batches = list(batches_by_length([len(ids) for ids in tokens], self.config.batch_tokens))
        vectors = torch.cat([self._embed([tokens[row] for row in batch], self.model) for batch in batches])
        return vectors[np.argsort(np.concatenate(batches))]

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the weights within this context, as `train` does.

        In bf16 the encoder computes with a copy of its fp32 weights, which it keeps. Within the context it
        makes a new copy for each block that it encodes.
        """
        self._frozen, self._bf16 = False, None
        try:
            yield
        finally:
            self._frozen = True

    def _inference_model(self) -> torch.nn.Module:
        """The network in the precision that encodes; the weights that are trained and saved stay fp32."""
        if self.precision == "fp32":
            return self.model.eval()
        if self._bf16 is not None:
            return self._bf16
        # A parameter in the memo is taken for a copy made before, so the fp32 weights are never copied.
        rounded = {id(weight): torch.nn.Parameter(weight.bfloat16()) for weight in self.model.parameters()}
        copied = copy.deepcopy(self.model, rounded).to(torch.bfloat16).eval()
        if self._frozen:
            self._bf16 = copied
        return copied

    def _embed(self, tokens: Sequence[Sequence[int]], model: torch.nn.Module) -> torch.Tensor:
        return torch.nn.functional.normalize(model(tokens).float(), dim=-1)

    @property
    def dimension(self) -> int:
        return self.model.get_embedding_dimension()


def hand_over(encoder: Encoder, folder: Path) -> None:
    """Write `encoder` and its settings to `folder`, for other processes."""
    encoder.save(folder / "encoder", {})
    settings = encoder.config.model_dump(mode="json") | {"device": encoder.device.type}
    write_json(folder / "encoder.json", settings)


def take_over(folder: Path) -> Encoder:
    """Load the encoder that `hand_over` wrote: onto this process's own GPU where it came from a GPU."""
    settings = read_json(folder / "encoder.json")
    if settings["device"] == "cuda":
        settings["device"] = f"cuda:{os.environ['LOCAL_RANK']}"
    return Encoder.load(EncoderConfig(**settings), folder / "encoder")


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterable[np.ndarray]:
    """Split row numbers into batches of similar length, longest first.

    A batch holds at most `batch_tokens` tokens after padding, and at least one text.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size
