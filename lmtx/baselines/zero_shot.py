"""A pretrained encoder as it is: labels nearest to the document."""

from lmtx.baselines import Inputs, Ranked
from lmtx.encoder import Encoder
from lmtx.index import search


def rank(inputs: Inputs, *, model: str | None = None) -> Ranked:
    """Rank labels by cosine with the encoder's embedding of the document.

    Parameters
    ----------
    model
        Another sentence-transformers model, a folder or a hub name; it gets the texts as E0 does. None:
        E0 itself, whose embeddings are there already.
    """
    vectors = inputs.embeddings
    if model is not None:
        encoder = Encoder.load(inputs.encoder.model_copy(update={"model": model, "sha256": None}))
        with inputs.clock("encode"):
            vectors = {
                "test": encoder.encode_documents(inputs.corpus.test, progress="test documents"),
                "labels": encoder.encode_labels(inputs.corpus.labels, progress="labels"),
            }
    with inputs.clock("rank"):
        ranking = search(
            vectors["test"], vectors["labels"], inputs.depth, excluded=inputs.corpus.excluded["test"]
        )
    return Ranked(ranking)
