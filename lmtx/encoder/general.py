"""Any model that sentence-transformers opens, with the methods of `lmtx.encoder.bert.Bert`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from transformers.utils.logging import disable_progress_bar


class General(SentenceTransformer):
    def __init__(self, source: str, *, local: bool):
        disable_progress_bar()  # a model of this size loads in a moment
        super().__init__(source, device="cpu", local_files_only=local)
        # transformers makes up an empty vocabulary where a tokenizer's files are missing.
        if len(self.tokenizer) <= len(self.tokenizer.all_special_ids):
            raise ValueError("its tokenizer knows no words; files of the tokenizer are missing")

    def save(self, folder: Path) -> None:
        """Write the folder that sentence-transformers reads."""
        super().save(str(folder), create_model_card=False)

    def token_ids(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids of texts cut at `max_tokens`, special tokens included."""
        settings = {"truncation": True, "return_attention_mask": False, "return_token_type_ids": False}
        return self.tokenizer(list(texts), max_length=max_tokens, **settings)["input_ids"]

    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Vectors (n, d) of one batch of token ids."""
        features = self.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt").to(self.device)
        return super().forward({**features})["sentence_embedding"]
