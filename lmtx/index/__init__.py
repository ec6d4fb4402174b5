"""Nearest labels: cosine search over unit vectors, exact or by a graph, and operations on rankings."""

from lmtx.index.blocks import letter_vectors, lexical_view, rank_blocks, search_with_letters
from lmtx.index.nearest import search
from lmtx.index.rankings import Shortlist, fuse, fuse_scores, top, without

__all__ = [
    "Shortlist",
    "fuse",
    "fuse_scores",
    "letter_vectors",
    "lexical_view",
    "rank_blocks",
    "search",
    "search_with_letters",
    "top",
    "without",
]
