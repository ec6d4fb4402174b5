"""Documents that are longer than an encoder reads: cut into windows, of which the mean or the best counts."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from tqdm.auto import tqdm

from lmtx.encoder import Encoder
from lmtx.encoder.tokens import Tokens, blocks
from lmtx.index import Shortlist, search
from lmtx.tagger.labels import LabelIndex, TaggerError

Windows = Literal["first", "mean", "best"]
"""What counts of a long document: its first window; the mean of all; or, for each label, the nearest one."""
MOST = 64
"""Windows that are read of a document, at most."""
LOOKED_AT = 1000
"""Documents of which the share of longer ones is told."""
_BLOCK = 256  # documents whose windows are embedded at a time


def check_windows(windows: str) -> Windows:
    """The same word; raises `TaggerError` where it is none of `Windows`."""
    if windows not in get_args(Windows):
        raise TaggerError(f"windows is {windows!r}; there are {', '.join(get_args(Windows))}")
    return windows


def document_table(titles: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """Make a table of documents. Unlike pa.table of lists, this does not import pandas."""

    def column(values: Sequence[str]) -> pa.Array:
        encoded = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, encoded)])
        buffers = pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
        return pa.LargeStringArray.from_buffers(len(encoded), *buffers)

    return pa.table({"title": column(titles), "text": column(texts)})


def read(
    encoder: Encoder, documents: pa.Table, windows: Windows, progress: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of documents, float32 (m, d), and the rows that they belong to, int64 (m,), ascending.

    By "first" and "mean" each document has one vector, by "best" one a window. A document of more tokens than
    `encoder.config.document_tokens` is cut into as few windows of so many as hold it, of about equal length.
    `progress` names a progress bar; None shows none.
    """
    n = documents.num_rows
    if windows == "first" or not n:
        return encoder.encode_documents(documents, progress), np.arange(n)
    vectors, rows = [], []
    with tqdm(total=n, desc=progress, disable=progress is None, unit="text") as bar:
        for block in blocks(n, _BLOCK):
            cut = [list(_cut(encoder, ids)) for ids in _whole(encoder, documents[block], MOST)]
            counts = np.array([len(parts) for parts in cut])
            embedded = encoder.encode_tokens(Tokens.of(part for parts in cut for part in parts))
            if windows == "mean":
                embedded = np.add.reduceat(embedded, np.cumsum(counts) - counts)
                embedded /= np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12)
                counts = np.ones(len(cut), dtype=int)
            vectors.append(embedded)
            rows.append(np.repeat(np.arange(block.start, block.start + len(cut)), counts))
            bar.update(len(cut))
    return np.concatenate(vectors), np.concatenate(rows)


def nearest(
    encoder: Encoder,
    labels: LabelIndex,
    documents: pa.Table,
    windows: Windows,
    k: int,
    excluded: sp.csr_array | None = None,
) -> Shortlist:
    """The k nearest labels of n documents, without the pairs `excluded`, boolean CSR (n, L).

    The score of a label is that of its best window.
    """
    vectors, rows = read(encoder, documents, windows)
    if len(rows) == documents.num_rows:
        return labels.search(vectors, k, excluded)
    ranking = labels.search(vectors, k, None if excluded is None else sp.csr_array(excluded[rows]))
    merged = Shortlist.empty(documents.num_rows, ranking.ids.shape[1])
    for row, (start, stop) in enumerate(_spans(rows, documents.num_rows)):
        # A label among a document's k best is among the k best of its own best window.
        ids, scores = ranking.ids[start:stop].ravel(), ranking.scores[start:stop].ravel()
        order = np.argsort(-scores, kind="stable")
        order = order[ids[order] >= 0]
        order = order[np.sort(np.unique(ids[order], return_index=True)[1])]  # each label where it scores best
        order = order[: merged.ids.shape[1]]
        merged.ids[row, : len(order)], merged.scores[row, : len(order)] = ids[order], scores[order]
    return merged


def cut_down(encoder: Encoder, documents: pa.Table, labels: np.ndarray) -> pa.Table:
    """The documents, long ones cut to the window that is nearest to a label, by words.

    `labels`, float32 (L, d), are the encoder's unit vectors. On recipes behind 90 words of preface, P@1 is
    39 % by E0, 69 % by a student of these windows, and 24 % by a student of the first windows.
    """
    vectors, rows = read(encoder, documents, "best", progress="windows")
    nearness = search(vectors, labels, 1).scores[:, 0]
    texts = documents["text"].to_pylist()
    for row, (start, stop) in enumerate(_spans(rows, len(texts))):
        if stop - start > 1:
            parts = np.array_split(texts[row].split(), stop - start)
            texts[row] = " ".join(parts[nearness[start:stop].argmax()])
    text = documents.schema.field("text")
    return documents.drop_columns("text").append_column(text, pa.array(texts, text.type))


def _spans(rows: np.ndarray, n: int) -> Iterator[tuple[int, int]]:
    """Where the windows of each of n documents begin and end."""
    return pairwise(np.searchsorted(rows, np.arange(n + 1)).tolist())


def longer(encoder: Encoder, documents: pa.Table, windows: Windows) -> str | None:
    """How many of the first documents are longer than what is read at a time; None: none is."""
    limit = limit_of(encoder)
    share = np.mean([len(ids) > limit for ids in _whole(encoder, documents.slice(0, LOOKED_AT), 2)])
    if not share:
        return None
    rest = "the rest is not read (--windows best reads it)"
    rest = rest if windows == "first" else f"windows are read, and the {windows} counts"
    return f"{share:.0%} of the documents are longer than the {limit} tokens that the encoder reads: {rest}"


def limit_of(encoder: Encoder) -> int:
    """Tokens that the encoder reads at a time, special tokens included."""
    return min(encoder.config.document_tokens, encoder.model.max_seq_length or encoder.config.document_tokens)


def _whole(encoder: Encoder, documents: pa.Table, windows: int) -> Tokens:
    """Token ids of documents, cut behind so many windows and not where the encoder ends."""
    limit, longest = windows * limit_of(encoder), encoder.model.max_seq_length
    try:
        encoder.model.max_seq_length = limit
        return encoder.tokenize(encoder.document_texts(documents), limit)
    finally:
        encoder.model.max_seq_length = longest


def _cut(encoder: Encoder, ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """The windows of a text, each between the special tokens that the encoder puts around a text."""
    limit = limit_of(encoder)
    if len(ids) <= limit:
        yield ids
        return
    frame = encoder.tokenize([""], limit)[0]
    head = next((n for n, (a, b) in enumerate(zip(frame, ids, strict=False)) if a != b), len(frame))
    inner = np.array(ids[head : len(ids) - len(frame) + head])
    for part in np.array_split(inner, -(-len(inner) // (limit - len(frame)))):
        yield [*frame[:head], *part.tolist(), *frame[head:]]
