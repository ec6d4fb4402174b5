"""The pretrained encoder as it is: labels nearest to the document."""

from lmtx.baselines import Inputs
from lmtx.index import Shortlist, search


def rank(inputs: Inputs) -> Shortlist:
    """Rank labels by cosine with E0's embedding of the document."""
    return search(
        inputs.embeddings["test"],
        inputs.embeddings["labels"],
        inputs.depth,
        excluded=inputs.corpus.excluded["test"],
    )
