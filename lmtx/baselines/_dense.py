"""The last step of each trained baseline: labels nearest to the test documents."""

from lmtx.baselines import Inputs
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search


def nearest_labels(inputs: Inputs, encoder: Encoder) -> Shortlist:
    """Embed test documents and labels with `encoder`, and rank the labels by cosine."""
    with inputs.clock("encode"):
        documents = encoder.encode_documents(inputs.corpus.test, progress="test documents")
        labels = encoder.encode_labels(inputs.corpus.labels, progress="labels")
    with inputs.clock("rank"):
        return search(documents, labels, inputs.depth, excluded=inputs.corpus.excluded["test"])
