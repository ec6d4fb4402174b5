"""Browse one document at a time: each system's first labels, and the verdicts of each cycle.

These functions show existing results. They take annotations to mark them, and return nothing that a system
could learn from.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lmtx.browse.page import MARK, annotated_ranks, changes, document_page, ranks, shortlists, side_by_side

__all__ = [
    "GROUPS",
    "MARK",
    "annotated_ranks",
    "changes",
    "compare",
    "document_page",
    "find",
    "lessons",
    "matching",
    "picker",
    "ranks",
    "shortlists",
    "side_by_side",
]

GROUPS = {
    "won": "LMTX wins",
    "lost": "LMTX loses",
    "neither": "both miss",
    "both": "both hit",
    "open": "not annotated",
}
"""The groups of `compare`, and their names for a reader."""
_OFFERED = 200  # documents that a search lists


def find(uid: str, overviews: Mapping[str, pd.DataFrame]) -> tuple[str, int]:
    """Return the name of the overview (of `compare` or `lessons`) with a document, and the document's row.

    Raises `ValueError` with the most similar uids where no overview has `uid`.
    """
    for name, overview in overviews.items():
        rows = overview.index[overview["document"] == uid]
        if len(rows):
            return name, int(rows[0])
    uids = [name for overview in overviews.values() for name in overview["document"]]
    close = ", ".join(difflib.get_close_matches(uid, uids, n=3)) or "none"
    raise ValueError(
        f"no document {uid!r} among those of {' and '.join(overviews)}; the most alike: {close}. "
        "Set `document` to one of the overviews, or to an empty text"
    )


def compare(
    lmtx: np.ndarray, other: np.ndarray, truth: sp.csr_array, uids: Sequence[str], name: str = "zero-shot"
) -> pd.DataFrame:
    """Group the test documents by which of two systems ranks an annotated label first.

    Parameters
    ----------
    lmtx, other
        Label ids (n, k), best first, -1 pads.
    truth
        Boolean CSR (n, L).
    uids
        The n documents' uids.
    name
        The name of `other`.

    Returns
    -------
    The columns document, group (a key of `GROUPS`), and for each system the rank of its first annotated
    label, NaN where it ranks none; indexed by the document's row. Rows are in the order of `GROUPS`, and
    within a group by the ratio of the two ranks, largest first.
    """
    first = {"lmtx": _first_hits(lmtx, truth), name: _first_hits(other, truth)}
    hit, other_hit = (first_ranks == 1 for first_ranks in first.values())
    group = np.select(
        [np.diff(truth.indptr) == 0, hit & ~other_hit, ~hit & other_hit, hit],
        ["open", "won", "lost", "both"],
        "neither",
    )
    frame = pd.DataFrame({"document": uids, "group": group, **first})
    end = max(lmtx.shape[1], other.shape[1]) + 1
    gap = np.log2(frame["lmtx"].fillna(end) / frame[name].fillna(end)).abs()
    return frame.iloc[np.lexsort((-gap, frame["group"].map(list(GROUPS).index)))]


def lessons(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the teacher's yes verdicts on each training document, cycle by cycle.

    Parameters
    ----------
    judged
        Cycle -> the table of `lmtx.curriculum.judge`, with the document's row of the corpus as `row`.

    Returns
    -------
    The columns document, one for each cycle with the number of accepted labels of its shortlist, and
    gained: the number of accepted labels that the first cycle's shortlist lacks. Indexed by the document's
    row, most gained first.
    """
    frames = list(judged.values())
    frame = frames[0].drop_duplicates("row").set_index("row")[["document_uid"]]
    frame.columns = ["document"]
    for cycle, table in judged.items():
        yes = table[table["answer"] == 1].groupby("row").size()
        frame[cycle] = yes.reindex(frame.index, fill_value=0).astype(int)
    accepted = pd.concat([f[f["answer"] == 1][["row", "label"]] for f in frames]).drop_duplicates()
    first_shortlist = pd.MultiIndex.from_frame(frames[0][["row", "label"]])
    new = accepted[~pd.MultiIndex.from_frame(accepted).isin(first_shortlist)].groupby("row").size()
    frame["gained"] = new.reindex(frame.index, fill_value=0).astype(int)
    return frame.sort_values("gained", ascending=False, kind="stable")


def matching(overview: pd.DataFrame, group: str = "", words: str = "") -> list[tuple[str, int]]:
    """Return (uid, row) of the first 200 documents whose uid contains all of `words`, in any case.

    `group` keeps one group of `compare`'s overview; "" keeps all.
    """
    chosen = overview["document"] if not group else overview["document"][overview["group"] == group]
    for word in words.lower().split():
        chosen = chosen[chosen.str.lower().str.contains(word, regex=False)]
    return [(uid, int(row)) for row, uid in chosen.head(_OFFERED).items()]


def picker(overview: pd.DataFrame, show: Callable[[int], str]):
    """Make widgets that choose a document of an overview (of `compare` or `lessons`) and show its page.

    `show` makes the HTML of a row. Returns an `ipywidgets.VBox`, which needs a running kernel.
    """
    import ipywidgets

    groups = [("all", ""), *((name, key) for key, name in GROUPS.items())] if "group" in overview else []
    group = ipywidgets.Dropdown(options=groups or [("all", "")], description="Group")
    words = ipywidgets.Text(placeholder="part of a name", description="Search")
    document = ipywidgets.Dropdown(description="Document", layout={"width": "40em"})
    page = ipywidgets.HTML("No such document.", layout={"width": "100%"})

    def narrow(_=None):
        document.options = matching(overview, group.value, words.value)
        if document.index is None and document.options:  # the widget has lost its choice
            document.index = 0

    def turn(_=None):
        page.value = show(document.value) if document.value is not None else "No such document."

    document.observe(turn, "value")
    for widget in (group, words):
        widget.observe(narrow, "value")
    narrow()
    return ipywidgets.VBox([ipywidgets.HBox([group, words] if groups else [words]), document, page])


def _first_hits(ids: np.ndarray, truth: sp.csr_array) -> np.ndarray:
    """Return the rank of each document's first annotated label: float64 (n,); NaN where it ranks none."""
    hits = truth[np.arange(len(ids))[:, None], np.maximum(ids, 0)].toarray() & (ids >= 0)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.nan)
