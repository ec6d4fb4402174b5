"""E: texts to unit vectors. `Encoder` embeds in memory; `on_disk.embed` embeds a corpus into files."""

from lmtx.encoder.model import Encoder, batches_by_length
from lmtx.encoder.pretrained import BUNDLED, EncoderError
from lmtx.encoder.tokens import Tokens

__all__ = ["BUNDLED", "Encoder", "EncoderError", "Tokens", "batches_by_length"]
