"""Browse one document at a time: each system's first labels, and the verdicts of each cycle.

These functions show existing results. They take annotations to mark them, and return nothing that a system
could learn from.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from lmtx.corpus import Corpus
from lmtx.report.render import GAP, HTML, Cell, Table, number

GROUPS = {
    "won": "LMTX wins",
    "lost": "LMTX loses",
    "neither": "both miss",
    "both": "both hit",
    "open": "not annotated",
}
"""The groups of `compare`, and their names for a reader."""
MARK = "✓"
_ANSWERS = {1: "yes", 0: "no", -1: "none"}
_OFFERED = 200  # documents that a search lists
_NAME, _TEXT = 70, 4000  # characters shown of a label and of a document


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
    lmtx: np.ndarray, zero_shot: np.ndarray, truth: sp.csr_array, uids: Sequence[str]
) -> pd.DataFrame:
    """Group the test documents by which of two systems ranks an annotated label first.

    `lmtx` and `zero_shot` are label ids (n, k), best first, -1 pads; `truth` is a boolean CSR (n, L), and
    `uids` are the documents'.

    Returns the columns document, group (a key of `GROUPS`), and for each system the rank of its first
    annotated label, NaN where it ranks none; indexed by the document's row. Rows are in the order of
    `GROUPS`, and within a group by the ratio of the two ranks, largest first.
    """
    ranks = {"lmtx": _first_hits(lmtx, truth), "zero-shot": _first_hits(zero_shot, truth)}
    hit, zero_shot_hit = (ranks_of_system == 1 for ranks_of_system in ranks.values())
    group = np.select(
        [np.diff(truth.indptr) == 0, hit & ~zero_shot_hit, ~hit & zero_shot_hit, hit],
        ["open", "won", "lost", "both"],
        "neither",
    )
    frame = pd.DataFrame({"document": uids, "group": group, **ranks})
    end = max(lmtx.shape[1], zero_shot.shape[1]) + 1
    gap = np.log2(frame["lmtx"].fillna(end) / frame["zero-shot"].fillna(end)).abs()
    return frame.iloc[np.lexsort((-gap, frame["group"].map(list(GROUPS).index)))]


def lessons(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the teacher's yes verdicts on each training document, cycle by cycle.

    `judged` is cycle -> the table of `lmtx.curriculum.judge`, with the document's row of the corpus as `row`.

    Returns the columns document, one for each cycle with the number of accepted labels of its shortlist, and
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

    group_names = GROUPS if "group" in overview else {}
    options = [("all", ""), *((name, key) for key, name in group_names.items())]
    group = ipywidgets.Dropdown(options=options, description="Group")
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
    return ipywidgets.VBox([ipywidgets.HBox([group, words] if group_names else [words]), document, page])


def document_page(corpus: Corpus, split: str, row: int, annotated: np.ndarray, *tables: Table) -> str:
    """Render a document and tables about it as HTML for a light or a dark notebook; all text is escaped.

    `annotated` holds the ids of its annotated labels. A text beyond 4,000 characters is cut, with a note.
    """
    document = corpus.documents(split).slice(row, 1).to_pylist()[0]
    annotations = corpus.labels["text"].take(pa.array(annotated)).to_pylist()
    template = HTML.get_template("document.html.j2")
    return template.render(document, annotations=annotations, tables=tables, limit=_TEXT, mark=MARK)


def side_by_side(
    labels: pa.Table, annotated: np.ndarray, rankings: Mapping[str, np.ndarray], k: int = 10
) -> Table:
    """Show the first k labels of each system, a column a system; annotated ones are bold and ticked.

    Parameters
    ----------
    labels
        The corpus' label table.
    annotated
        Ids of the document's annotated labels.
    rankings
        System -> the document's label ids, best first, -1 pads.
    """
    cells, uids = {}, {"rank": list(range(1, k + 1))}
    for system, ids in rankings.items():
        first_ids = ids[:k][ids[:k] >= 0]
        gaps = k - len(first_ids)
        cells[system] = [*_cells(labels, first_ids, annotated), *[Cell(GAP)] * gaps]
        uids[system] = [*labels["uid"].take(pa.array(first_ids, pa.int64())).to_pylist(), *[None] * gaps]
    rows = [[Cell(str(rank)), *row] for rank, row in enumerate(zip(*cells.values(), strict=True), 1)]
    title, caption = f"The first {k} labels", f"{MARK} and bold: annotated."
    return Table("top", title, caption, ["Rank", *rankings], [("", rows)], pd.DataFrame(uids))


def annotated_ranks(labels: pa.Table, annotated: np.ndarray, rankings: Mapping[str, np.ndarray]) -> Table:
    """Show the rank of each annotated label by each system; parameters as for `side_by_side`."""
    ranks = {system: _ranks(ids, annotated) for system, ids in rankings.items()}
    names = _cells(labels, annotated, annotated)
    columns = [[_rank(rank, ids) for rank in ranks[system]] for system, ids in rankings.items()]
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    frame = pd.DataFrame({"label": labels["uid"].take(pa.array(annotated)).to_pylist(), **ranks})
    title = "Where the annotated labels are"
    caption = "The rank by each system; > 100 where it is not among the first 100."
    return Table("ranks", title, caption, ["Annotated label", *rankings], [("", rows)], frame)


def changes(
    labels: pa.Table,
    annotated: np.ndarray,
    rankings: Mapping[str, np.ndarray],
    start: str,
    cycles: Sequence[str],
    k: int = 5,
) -> Table:
    """Show the labels that rose and fell most from the system `start` to each of `cycles`.

    Ranks are compared by their ratio: from 8 to 1 is more than from 90 to 50. A label that a ranking lacks
    counts as just below its end. The other parameters are those of `side_by_side`.
    """
    groups, frames = [], []
    for cycle in cycles:
        before, after = rankings[start], rankings[cycle]
        ids = np.unique(np.concatenate([before, after]))
        ids = ids[ids >= 0]
        frame = pd.DataFrame({"cycle": cycle, "label": ids})
        frame["before"], frame["after"] = _ranks(before, ids), _ranks(after, ids)
        # The number of times that the rank halved.
        start_rank = frame["before"].fillna(_depth(before) + 1)
        frame["rise"] = np.log2(start_rank / frame["after"].fillna(_depth(after) + 1))
        frame = frame.sort_values("rise", ascending=False, kind="stable")
        rose, fell = frame[frame["rise"] > 0].head(k), frame[frame["rise"] < 0].iloc[::-1].head(k)
        for title, moved in (("▲ rose most", rose), ("▼ fell most", fell)):
            names = _cells(labels, moved["label"], annotated)
            befores = [_rank(rank, before) for rank in moved["before"]]
            afters = [_rank(rank, after) for rank in moved["after"]]
            rows = [list(row) for row in zip(names, befores, afters, strict=True)]
            groups.append((f"{start} → {cycle}: {title}{'' if rows else ': none'}", rows))
            frames.append(moved)
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
    """Show a training document's shortlist in each cycle, with the teacher's verdicts.

    Parameters
    ----------
    labels, annotated
        As for `side_by_side`.
    judged
        Cycle -> this document's rows of `lmtx.curriculum.judge`'s table.
    proposers
        Cycle -> the system whose ranking its shortlist is.
    after
        The last student's name, and its order of the labels of all shortlists. None: not shown.
    """
    verdicts = pd.concat(judged.values()).drop_duplicates("label", keep="last").set_index("label")
    lists = [
        (f"{cycle}: the shortlist, by {proposers[cycle]}", table.sort_values("rank"))
        for cycle, table in judged.items()
    ]
    if after is not None:
        name, ids = after
        ordered = verdicts.loc[ids].reset_index().assign(rank=np.arange(1, len(ids) + 1))
        lists.append((f"Afterwards: the same labels, by {name}", ordered))
    groups, frames, before, seen = [], [], np.array([], dtype=np.int64), set()
    for heading, table in lists:
        ids = table["label"].to_numpy()
        table = table.assign(list=heading, before=_ranks(before, ids))
        rows = []
        for name, row in zip(_cells(labels, ids, annotated), table.itertuples(), strict=True):
            before_text = "new" if seen and row.label not in seen else number(row.before).text
            answer = Cell(_ANSWERS[row.answer], bold=row.answer == 1)
            rows.append([name, Cell(str(row.rank)), Cell(before_text), number(row.p_yes, 2), answer])
        groups.append((heading, rows))
        frames.append(table)
        before, seen = ids, seen.union(ids)
    caption = f"Before: the rank in the list above; {GAP} where that one does not hold the label."
    columns = ["Label", "Rank", "Before", "p_yes", "Verdict"]
    return Table("shortlists", "What the teacher said", caption, columns, groups, pd.concat(frames))


def _first_hits(ids: np.ndarray, truth: sp.csr_array) -> np.ndarray:
    """Return the rank of each document's first annotated label: float64 (n,); NaN where it ranks none."""
    hits = truth[np.arange(len(ids))[:, None], np.maximum(ids, 0)].toarray() & (ids >= 0)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.nan)


def _ranks(ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the rank of each label from 1: float64 (len(labels),); NaN where `ids` lacks it."""
    rank_of = {int(label): rank for rank, label in enumerate(ids, 1) if label >= 0}
    return np.array([rank_of.get(int(label), np.nan) for label in labels], dtype=np.float64)


def _depth(ids: np.ndarray) -> int:
    return int((ids >= 0).sum())


def _rank(rank: float, ids: np.ndarray) -> Cell:
    """A rank in the ranking `ids`; for NaN, that it lies beyond the end."""
    return Cell(f"> {_depth(ids)}" if np.isnan(rank) else f"{rank:.0f}", bold=rank == 1)


def _cells(labels: pa.Table, ids: Sequence[int] | np.ndarray, annotated: np.ndarray) -> list[Cell]:
    """Make a cell for each label: the name before its description, ticked where it is annotated."""
    ids = np.asarray(ids, dtype=np.int64)
    return [
        Cell(f"{MARK} {_name(**label)}" if ticked else _name(**label), bold=bool(ticked))
        for label, ticked in zip(labels.take(ids).to_pylist(), np.isin(ids, annotated), strict=True)
    ]


def _name(uid: str, text: str) -> str:
    if text.startswith(f"{uid}:"):
        return uid
    return text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
