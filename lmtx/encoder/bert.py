"""BERT with mean or [CLS] pooling in torch alone, which opens most sentence encoders.

The same model of transformers takes 3 s to import beyond torch, of sentence-transformers 4 s, and `lmtx tag`
answers a first document in less. Vectors and gradients are theirs to the last bit. Any other model is opened
by `lmtx.encoder.general`.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

WEIGHTS = "model.safetensors"
_SETTINGS = "sentence_bert_config.json"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_FILES = ("config.json", "config_sentence_transformers.json", "modules.json", _SETTINGS, *_TOKENIZER)
_KINDS = ["Transformer", "Pooling", "Normalize"]
_POOLINGS = (["mean"], ["pooling_mode_mean_tokens"], ["cls"], ["pooling_mode_cls_token"])  # newer, older

# Of transformers, where config.json does not say. A model that differs in one of `_USUAL` is of another kind.
_USUAL = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
_DEFAULTS = _USUAL | {"layer_norm_eps": 1e-12, "pad_token_id": 0}
_DEFAULTS |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


class _LookUp(torch.autograd.Function):
    """Rows of a table, whose gradient is summed over the rows that were looked up, not over the whole table.

    A training step looks up a few hundred of 30,000 words, some texts at a time. The gradient is that of
    `functional.embedding` to the last bit.
    """

    @staticmethod
    def forward(ctx, table: torch.Tensor, ids: torch.Tensor, pad: int) -> torch.Tensor:
        ctx.table, ctx.pad = table, pad
        ctx.save_for_backward(ids)
        return functional.embedding(ids, table)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[None, None, None]:
        rows, numbers = ctx.saved_tensors[0].unique(return_inverse=True)
        sums = gradient.new_zeros(len(rows), gradient.shape[-1])
        sums.index_add_(0, numbers.flatten(), gradient.flatten(0, 1))
        sums[rows == ctx.pad] = 0
        if ctx.table.grad is None:
            ctx.table.grad = torch.zeros_like(ctx.table)
        ctx.table.grad.index_add_(0, rows, sums)
        return None, None, None


class Bert(nn.Module):
    """The network of Devlin et al., "BERT" (NAACL 2019); its pooling and its tokenizer.

    `config` holds config.json, and `pooling` ("mean" or "cls") and `normalized`; `max_seq_length` counts the
    tokens that it reads of a text, special ones included; `weights` have the names of transformers, with /
    for the dot, which torch does not allow in a name.
    """

    def __init__(self, config: dict, weights: dict[str, torch.Tensor], limit: int, files: dict[str, bytes]):
        super().__init__()
        self.config = config
        self.max_seq_length = limit
        self.weights = nn.ParameterDict({name.replace(".", "/"): weights[name] for name in weights})
        self._files = files  # of the folder, beside the weights
        self._words = Tokenizer.from_buffer(files["tokenizer.json"])
        self._words.no_padding()

    @classmethod
    def open(cls, folder: Path) -> "Bert | None":
        """Open a sentence-transformers folder; None where its model is of another kind."""
        if any(not (folder / name).is_file() for name in (WEIGHTS, "modules.json", "tokenizer.json")):
            return None
        modules = json.loads((folder / "modules.json").read_bytes())
        folders = [module["path"] for module in modules]
        kinds = [module["type"].rpartition(".")[2] for module in modules]
        if kinds not in (_KINDS, _KINDS[:2]) or folders[0]:
            return None
        names = [*_FILES, *(f"{path}/config.json" for path in folders[1:])]
        files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
        config, settings, words, pooling = (
            json.loads(files.get(name, b"{}"))
            for name in ("config.json", _SETTINGS, "tokenizer_config.json", f"{folders[1]}/config.json")
        )
        config = _DEFAULTS | config
        modes = [name for name, on in pooling.items() if on and name.startswith("pooling_mode_")]
        modes = modes or [pooling.get("pooling_mode")]
        usual = config.get("model_type") == "bert" and config | _USUAL == config
        if not usual or modes not in _POOLINGS or settings.get("do_lower_case"):
            return None
        config |= {"pooling": "mean" if "mean" in modes[0] else "cls", "normalized": len(modules) == 3}
        limit = min(config["max_position_embeddings"], words.get("model_max_length") or 10**9)
        # Copies: the file may be replaced, and the last bits may depend on where in it the numbers lie.
        weights = {name: weight.clone() for name, weight in load_file(folder / WEIGHTS).items()}
        weights.pop("embeddings.position_ids", None)  # which older versions saved
        if {weight.dtype for weight in weights.values()} != {torch.float32}:
            return None
        model = cls(config, weights, int(settings.get("max_seq_length") or limit), files)
        try:
            model([[config["pad_token_id"]]])
        except (KeyError, RuntimeError):  # weights that are not there or do not fit each other
            return None
        return model.eval()

    def save(self, folder: Path) -> None:
        """Write the folder that sentence-transformers reads: the files that were opened, and the weights."""
        settings = json.loads(self._files.get(_SETTINGS, b"{}")) | {"max_seq_length": self.max_seq_length}
        for name, content in (self._files | {_SETTINGS: json.dumps(settings, indent=2).encode()}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        weights = {name.replace("/", "."): weight.cpu() for name, weight in self.weights.items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    @cached_property
    def tokenizer(self):
        """The tokenizer as transformers has it, whose import takes a second."""
        from transformers import AutoTokenizer

        with TemporaryDirectory(prefix="lmtx-tokenizer-") as scratch:
            for name in self._files.keys() & {"config.json", *_TOKENIZER}:
                (Path(scratch) / name).write_bytes(self._files[name])
            return AutoTokenizer.from_pretrained(scratch)

    def token_ids(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids of texts cut at `max_tokens`, special tokens included."""
        self._words.enable_truncation(max_tokens)
        return [encoding.ids for encoding in self._words.encode_batch_fast(texts)]

    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Vectors (n, d) of one batch of token ids."""
        # Pad the texts to one length.
        lengths, pad = torch.tensor([len(row) for row in tokens]), self.config["pad_token_id"]
        ids = pad_sequence(list(map(torch.tensor, tokens)), batch_first=True, padding_value=pad)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        ids, mask = ids.to(self.device), mask.to(self.device)

        # Embed: the words, the type of text (there is one), and the places.
        words, types, places = (
            self.weights[f"embeddings/{each}_embeddings/weight"]
            for each in ("word", "token_type", "position")
        )
        # A GPU clears a whole table faster than it finds the rows.
        texts = _LookUp.apply(words, ids, pad) if ids.is_cpu else functional.embedding(ids, words, pad)
        hidden = texts + functional.embedding(torch.zeros_like(ids), types)
        hidden = self._dropout(self._norm("embeddings", hidden + places[: ids.shape[1]]))
        # Attend. Of texts of one length, every token attends to every other.
        attended = None if lengths.min() == lengths.max() else mask[:, None, None, :]
        for n in range(self.config["num_hidden_layers"]):
            hidden = self._layer(f"encoder/layer/{n}", hidden, attended)

        # Pool: the first token, [CLS], or the mean of a text's own tokens.
        pooled = hidden[:, 0]
        if self.config["pooling"] == "mean":
            own = mask[:, :, None].to(hidden.dtype)
            total, count = (each.sum(dim=1, dtype=torch.float32) for each in (hidden * own, own))
            pooled = (total / count).to(hidden.dtype)
        return functional.normalize(pooled, dim=-1) if self.config["normalized"] else pooled

    def _layer(self, name: str, hidden: torch.Tensor, attended: torch.Tensor | None) -> torch.Tensor:
        """Attention and two linear layers, each added to its input and normalized."""
        shape = (self.config["num_attention_heads"], -1)
        inputs = [self._linear(f"{name}/attention/self/{each}", hidden) for each in ("query", "key", "value")]
        heads = [each.unflatten(-1, shape).transpose(1, 2) for each in inputs]
        dropped = self.config["attention_probs_dropout_prob"] * self.training
        mixed = functional.scaled_dot_product_attention(*heads, attn_mask=attended, dropout_p=dropped)
        output = self._linear(f"{name}/attention/output/dense", mixed.transpose(1, 2).flatten(2))
        hidden = self._norm(f"{name}/attention/output", self._dropout(output) + hidden)
        inner = functional.gelu(self._linear(f"{name}/intermediate/dense", hidden))
        output = self._dropout(self._linear(f"{name}/output/dense", inner))
        return self._norm(f"{name}/output", output + hidden)

    def _dropout(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.dropout(hidden, self.config["hidden_dropout_prob"], self.training)

    def _linear(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        return functional.linear(hidden, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"])

    def _norm(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        weight, bias = (self.weights[f"{name}/LayerNorm/{each}"] for each in ("weight", "bias"))
        return functional.layer_norm(hidden, weight.shape, weight, bias, self.config["layer_norm_eps"])

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def get_embedding_dimension(self) -> int:
        return self.config["hidden_size"]
