"""Systems that LMTX is compared with. Each module has one function `rank`: a ranking of labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from lmtx.config import BaselineConfig
from lmtx.corpus import Corpus
from lmtx.index import Shortlist

# Kind of baseline -> the module whose `rank` it is; imported when it is used.
BASELINES = {"zero-shot": "lmtx.baselines.zero_shot", "tfidf": "lmtx.baselines.tfidf"}


@dataclass(frozen=True)
class Inputs:
    """What a baseline may look at: no annotations.

    Attributes
    ----------
    corpus
        Documents, labels, and pairs that are no candidates.
    embeddings
        E0's unit vectors, float32 (n, d), under "train", "dev", "test" and "labels".
    depth
        How many labels to rank for each test document.
    """

    corpus: Corpus
    embeddings: Mapping[str, np.ndarray]
    depth: int


def rank(config: BaselineConfig, inputs: Inputs) -> Shortlist:
    """Rank the labels for each test document with the baseline that `config.kind` names."""
    return import_module(BASELINES[config.kind]).rank(inputs)
