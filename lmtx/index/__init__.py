"""Nearest labels: cosine search over unit vectors, exact or by a graph, and what one does with rankings."""

from lmtx.index.nearest import search
from lmtx.index.rankings import Shortlist, fuse, top, without

__all__ = ["Shortlist", "fuse", "search", "top", "without"]
