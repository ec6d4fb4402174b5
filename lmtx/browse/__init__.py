"""One document at a time: what each system ranks first, and what the cycles taught the student.

Everything here is for looking at results that are there already. It takes annotations to mark them, and
gives nothing back that a system could learn from.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from lmtx.browse.page import MARK, document_page
from lmtx.report.render import GAP, Cell, Table, number

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
"""What `compare` says of a document, and how a reader calls it."""

_ANSWERS = {1: "yes", 0: "no", -1: "none"}
_NAME, _OFFERED = 70, 200


def find(uid: str, overviews: Mapping[str, pd.DataFrame]) -> tuple[str, int]:
    """The overview that holds a document, of `compare` or `lessons`, and the document's row.

    Raises `ValueError` with the uids most like one that none of `overviews` holds.
    """
    for name, overview in overviews.items():
        found = overview.index[overview["document"] == uid]
        if len(found):
            return name, int(found[0])
    known = [name for overview in overviews.values() for name in overview["document"]]
    close = ", ".join(difflib.get_close_matches(uid, known, n=3)) or "none"
    raise ValueError(
        f"no document {uid!r} among those of {' and '.join(overviews)}; the most alike: {close}. "
        "Set `document` to one of the overviews, or to an empty text"
    )


def ranks(ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where a ranking puts labels: float64 (len(labels),), from 1; NaN for one it does not hold.

    `ids` is one document's row of a ranking: label ids (k,), best first, -1 pads.
    """
    place = {int(label): rank for rank, label in enumerate(ids, 1) if label >= 0}
    return np.array([place.get(int(label), np.nan) for label in labels], dtype=np.float64)


def compare(
    lmtx: np.ndarray, other: np.ndarray, truth: sp.csr_array, uids: Sequence[str], name: str = "zero-shot"
) -> pd.DataFrame:
    """Sort the test documents by which of two systems puts an annotated label first.

    Parameters
    ----------
    lmtx, other
        Label ids (n, k), best first, -1 pads.
    truth
        Boolean CSR (n, L).
    uids
        The n documents' uids.
    name
        What to call `other`.

    Returns
    -------
    The columns document, group (a key of `GROUPS`), and for each of the two systems the rank of its first
    annotated label, NaN where it ranks none; indexed by the document's row. Groups come in the order of
    `GROUPS`; within one the widest difference comes first, by the ratio of the ranks.
    """
    first = {"lmtx": _first_hits(lmtx, truth), name: _first_hits(other, truth)}
    hit, other_hit = (places == 1 for places in first.values())
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
    """What the teacher said of each training document, cycle by cycle.

    Parameters
    ----------
    judged
        Cycle -> the table of `lmtx.curriculum.judge`, with the document's row of the corpus as `row`.

    Returns
    -------
    The columns document, then for each cycle how many labels of its shortlist the teacher accepted, and
    gained: the accepted pairs that the first cycle's shortlist did not hold. Indexed by the document's row,
    most gained first.
    """
    frames = list(judged.values())
    frame = frames[0].drop_duplicates("row").set_index("row")[["document_uid"]]
    frame.columns = ["document"]
    for cycle, table in judged.items():
        yes = table[table["answer"] == 1].groupby("row").size()
        frame[cycle] = yes.reindex(frame.index, fill_value=0).astype(int)
    later = pd.concat([f[f["answer"] == 1][["row", "label"]] for f in frames]).drop_duplicates()
    known = pd.MultiIndex.from_frame(frames[0][["row", "label"]])
    new = later[~pd.MultiIndex.from_frame(later).isin(known)].groupby("row").size()
    frame["gained"] = new.reindex(frame.index, fill_value=0).astype(int)
    return frame.sort_values("gained", ascending=False, kind="stable")


def side_by_side(
    labels: pa.Table, annotated: np.ndarray, rankings: Mapping[str, np.ndarray], k: int = 10
) -> Table:
    """The k first labels of each system, one column a system; annotated ones are bold and ticked.

    Parameters
    ----------
    labels
        The corpus' label table.
    annotated
        Ids of the document's annotated labels.
    rankings
        System -> the document's label ids, best first, -1 pads.
    """
    columns, frame = {}, {"rank": list(range(1, k + 1))}
    for system, ids in rankings.items():
        shown = [int(label) for label in ids[:k] if label >= 0]
        gaps = k - len(shown)
        columns[system] = [*_cells(labels, shown, annotated), *[Cell(GAP)] * gaps]
        frame[system] = [*labels["uid"].take(pa.array(shown, pa.int64())).to_pylist(), *[None] * gaps]
    rows = [[Cell(str(i + 1)), *(cells[i] for cells in columns.values())] for i in range(k)]
    caption = f"{MARK} and bold: annotated."
    return Table(
        "top", f"The first {k} labels", caption, ["Rank", *rankings], [("", rows)], pd.DataFrame(frame)
    )


def annotated_ranks(labels: pa.Table, annotated: np.ndarray, rankings: Mapping[str, np.ndarray]) -> Table:
    """Where each system ranks each annotated label; arguments as for `side_by_side`."""
    places = {system: ranks(ids, annotated) for system, ids in rankings.items()}
    names = _cells(labels, annotated, annotated)
    depths = {system: _depth(ids) for system, ids in rankings.items()}
    rows = [
        [name, *(_rank(places[system][i], depths[system]) for system in rankings)]
        for i, name in enumerate(names)
    ]
    frame = pd.DataFrame({"label": labels["uid"].take(pa.array(annotated)).to_pylist(), **places})
    caption = "The rank by each system; > 100 where it is not among the first 100."
    return Table(
        "ranks",
        "Where the annotated labels are",
        caption,
        ["Annotated label", *rankings],
        [("", rows)],
        frame,
    )


def changes(
    labels: pa.Table,
    annotated: np.ndarray,
    rankings: Mapping[str, np.ndarray],
    start: str,
    cycles: Sequence[str],
    k: int = 5,
) -> Table:
    """The labels that rose and that fell most from `start`, a system's name, to each of `cycles`.

    Ranks are compared by their ratio: from 8 to 1 is a longer way than from 90 to 50. A label that a
    ranking does not hold counts as just below its end. The other arguments are those of `side_by_side`.
    """
    groups, frames = [], []
    for cycle in cycles:
        before, after = rankings[start], rankings[cycle]
        union = np.unique(np.concatenate([before[before >= 0], after[after >= 0]]))
        frame = pd.DataFrame({"cycle": cycle, "before": ranks(before, union), "after": ranks(after, union)})
        frame["label"] = union
        ends = {"before": _depth(before), "after": _depth(after)}
        way = np.log2(frame["before"].fillna(ends["before"] + 1) / frame["after"].fillna(ends["after"] + 1))
        frame = frame.assign(way=way).sort_values("way", ascending=False, kind="stable")
        rose, fell = frame[frame["way"] > 0].head(k), frame[frame["way"] < 0].iloc[::-1].head(k)
        for title, part in (("▲ rose most", rose), ("▼ fell most", fell)):
            rows = [
                [name, _rank(row.before, ends["before"]), _rank(row.after, ends["after"])]
                for name, row in zip(_cells(labels, part["label"], annotated), part.itertuples(), strict=True)
            ]
            heading = f"{start} → {cycle}: {title}"
            groups.append((heading if rows else f"{heading}: none", rows))
            frames.append(part)
    caption = "Sorted by the ratio of the two ranks: from 8 to 1 is a longer way than from 90 to 50."
    columns = ["Label", "Rank before", "Rank after"]
    return Table("changes", "What training moved", caption, columns, groups, pd.concat(frames))


def shortlists(
    labels: pa.Table,
    annotated: np.ndarray,
    judged: Mapping[str, pd.DataFrame],
    proposers: Mapping[str, str],
    after: tuple[str, np.ndarray] | None = None,
) -> Table:
    """One training document's shortlist in each cycle, with the teacher's verdicts.

    Parameters
    ----------
    labels, annotated
        As for `side_by_side`.
    judged
        Cycle -> this document's rows of `lmtx.curriculum.judge`'s table.
    proposers
        Cycle -> the system whose ranking its shortlist is.
    after
        The last student, and how it orders the labels of all the shortlists: (name, ids). None: not shown.
    """
    verdicts = pd.concat(judged.values()).drop_duplicates("label", keep="last").set_index("label")
    lists = [
        (f"{cycle}: the shortlist, by {proposers[cycle]}", table.sort_values("rank"))
        for cycle, table in judged.items()
    ]
    if after is not None:
        name, ids = after
        known = verdicts.loc[ids].reset_index()
        lists.append(
            (f"Afterwards: the same labels, by {name}", known.assign(rank=np.arange(1, len(ids) + 1)))
        )
    groups, frames, before, seen = [], [], np.array([], dtype=np.int64), set()
    for heading, table in lists:
        ids = table["label"].to_numpy()
        table = table.assign(list=heading, before=ranks(before, ids))
        rows = [
            [
                name,
                Cell(str(row.rank)),
                Cell("new" if seen and row.label not in seen else number(row.before).text),
                number(row.p_yes, 2),
                Cell(_ANSWERS[row.answer], bold=row.answer == 1),
            ]
            for name, row in zip(_cells(labels, ids, annotated), table.itertuples(), strict=True)
        ]
        groups.append((heading, rows))
        frames.append(table)
        before, seen = ids, seen.union(ids)
    caption = f"Before: the rank in the list above; {GAP} where that one does not hold the label."
    columns = ["Label", "Rank", "Before", "p_yes", "Verdict"]
    return Table("shortlists", "What the teacher said", caption, columns, groups, pd.concat(frames))


def matching(overview: pd.DataFrame, group: str = "", words: str = "") -> list[tuple[str, int]]:
    """(uid, row) of the first 200 documents of an overview whose uid holds all of `words`, any case.

    `group` keeps one group of `compare`'s overview; "" keeps all.
    """
    kept = overview if not group else overview[overview["group"] == group]
    parts = words.lower().split()
    found = (
        (uid, int(row))
        for uid, row in zip(kept["document"], kept.index, strict=True)
        if all(part in uid.lower() for part in parts)
    )
    return [pair for pair, _ in zip(found, range(_OFFERED), strict=False)]


def picker(overview: pd.DataFrame, show: Callable[[int], str]):
    """Widgets to choose a document of `compare`'s or `lessons`' overview, above its page.

    `show` makes the HTML of a row. Returns an `ipywidgets.VBox`, of use where a kernel runs.
    """
    import ipywidgets

    groups = [("all", ""), *((name, key) for key, name in GROUPS.items())] if "group" in overview else []
    group = ipywidgets.Dropdown(options=groups or [("all", "")], description="Group")
    words = ipywidgets.Text(placeholder="part of a name", description="Search")
    document = ipywidgets.Dropdown(description="Document", layout={"width": "40em"})
    page = ipywidgets.HTML("No such document.", layout={"width": "100%"})

    def narrow(_=None):
        document.options = matching(overview, group.value, words.value)
        if document.index is None and document.options:  # the widget does not choose again by itself
            document.index = 0

    def turn(_=None):
        page.value = show(document.value) if document.value is not None else "No such document."

    document.observe(turn, "value")
    for part in (group, words):
        part.observe(narrow, "value")
    narrow()
    return ipywidgets.VBox([ipywidgets.HBox([group, words] if groups else [words]), document, page])


def _first_hits(ids: np.ndarray, truth: sp.csr_array) -> np.ndarray:
    """The rank of each document's first annotated label: float64 (n,), NaN where it ranks none."""
    hits = truth[np.arange(len(ids))[:, None], np.maximum(ids, 0)].toarray() & (ids >= 0)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.nan)


def _depth(ids: np.ndarray) -> int:
    return int((ids >= 0).sum())


def _rank(value: float, depth: int) -> Cell:
    return Cell(f"> {depth}" if np.isnan(value) else f"{value:.0f}", bold=value == 1)


def _cells(labels: pa.Table, ids: Sequence[int] | np.ndarray, annotated: np.ndarray) -> list[Cell]:
    """A cell for each label: the name before its description, ticked where it is annotated."""
    chosen = labels.take(pa.array(np.asarray(ids, dtype=np.int64))).to_pylist()
    ticked = np.isin(np.asarray(ids, dtype=np.int64), annotated)
    return [
        Cell(f"{MARK} {_name(**label)}" if tick else _name(**label), bold=bool(tick))
        for label, tick in zip(chosen, ticked, strict=True)
    ]


def _name(uid: str, text: str) -> str:
    if text.startswith(f"{uid}:"):
        return uid
    return text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
