"""E0 with a penalty for hubs, the labels that are near to many documents."""

import numpy as np

from lmtx.baselines import Inputs, Ranked
from lmtx.config import Positive
from lmtx.index import rank_blocks, search


def rank(inputs: Inputs, *, weight: float = 0.25, neighbours: Positive = 10) -> Ranked:
    """Rank labels by cos(d, l) - weight x the mean cosine of l with its nearest training documents.

    This is the label's half of cross-domain similarity local scaling (Conneau et al., "Word Translation
    Without Parallel Data", ICLR 2018, equation 3), with a `weight`. `neighbours` is the number of these
    documents. Nothing is trained.
    """
    vectors, excluded = inputs.embeddings, inputs.corpus.excluded["test"]
    queries, labels = np.asarray(vectors["test"]), np.asarray(vectors["labels"])
    with inputs.clock("rank"):
        hubness = search(labels, vectors["train"], neighbours).scores.mean(axis=1)

        def score(rows: slice) -> np.ndarray:
            return queries[rows] @ labels.T - weight * hubness

        return Ranked(rank_blocks(score, len(queries), len(labels), inputs.depth, excluded))
