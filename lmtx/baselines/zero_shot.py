"""A pretrained encoder without training: the labels nearest to the document."""

from lmtx import curriculum
from lmtx.baselines import Inputs, Ranked
from lmtx.encoder import Encoder
from lmtx.index import search


def rank(inputs: Inputs, *, model: str | None = None) -> Ranked:
    """Rank labels by cosine with the encoder's embedding of the document.

    `model` is another sentence-transformers model, a folder or a hub name; it reads texts with E0's settings.
    None: E0 itself, from its stored embeddings.
    """
    if model is not None:
        config = inputs.encoder.model_copy(update={"model": model, "sha256": None})
        encoder = Encoder.load(config)
        with inputs.clock("rank"):
            return Ranked(curriculum.rank(encoder, inputs.corpus, inputs.depth), encoder=encoder)
    vectors, excluded = inputs.embeddings, inputs.corpus.excluded["test"]
    with inputs.clock("rank"):
        return Ranked(search(vectors["test"], vectors["labels"], inputs.depth, excluded=excluded))
