"""Near-duplicates, which must not stand on both sides of a split."""

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer

from lmtx.datasets.assemble import DEV, TEST, TRAIN
from lmtx.datasets.spool import Spool, hashes

_BLOCK = 512
_WORD = re.compile(r"\w+")


def near_duplicates(texts: Sequence[str], similarity: float = 0.8) -> np.ndarray:
    """Group texts that share nearly all of their words: int64 (n,), the number of each text's group.

    Two texts are near-duplicates when the Jaccard similarity of their sets of lower-case words reaches
    `similarity`; a group holds everything that such pairs connect. A text without a word stands alone.
    """
    vectorizer = CountVectorizer(analyzer=lambda text: _WORD.findall(text.lower()), binary=True)
    words = sp.csr_array(vectorizer.fit_transform([*texts, "a"]), dtype=np.float32)[:-1]
    sizes = np.asarray(words.sum(axis=1)).ravel()
    rows, columns = [], []
    for start in range(0, len(texts), _BLOCK):
        shared = (words[start : start + _BLOCK] @ words.T).tocoo()
        union = sizes[start + shared.row] + sizes[shared.col] - shared.data
        alike = shared.data >= similarity * union
        rows.append(start + shared.row[alike])
        columns.append(shared.col[alike])
    edges = np.concatenate(rows), np.concatenate(columns)
    graph = sp.csr_array((np.ones(len(edges[0]), dtype=bool), edges), shape=(len(texts), len(texts)))
    return connected_components(graph, directed=False)[1]


def split_by_group(
    spool: Spool, groups: np.ndarray, test: int, dev: int, train: int | None = None
) -> np.ndarray:
    """Assign documents to splits by hashes of their uids, near-duplicates together.

    Groups come in the order of the lowest hash among their documents. The first ones are the test side, up
    to `test` documents with an annotation; the next ones dev, up to `dev` documents; of the rest, train
    takes `train` documents (None: all).

    Returns int8 (n,): the split of each document of `spool`, -1 for those left out.
    """
    hashed = hashes(spool.table()["uid"], "split")
    first = np.full(groups.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, groups, hashed)
    order = np.lexsort((hashed, first[groups]))
    annotated = np.diff(np.frombuffer(spool.ends, dtype=np.int64)) > 0
    assigned = np.full(len(spool), TRAIN, dtype=np.int8)
    # A group goes where its first document goes, so a split may exceed its size by the rest of one group.
    before = np.cumsum(annotated[order]) - annotated[order]
    starts = np.diff(groups[order], prepend=-1) != 0
    group_starts = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    is_test = before[group_starts] < test
    assigned[order[is_test]] = TEST
    n_test = int(is_test.sum())
    is_dev = ~is_test & (group_starts - n_test < dev)
    assigned[order[is_dev]] = DEV
    if train is not None:
        assigned[order[n_test + int(is_dev.sum()) + train :]] = -1
    return assigned
