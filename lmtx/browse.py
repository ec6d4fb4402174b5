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
from lmtx.encoder import Encoder
from lmtx.index import search
from lmtx.report.render import GAP, HTML, Cell, Column, Table, number

GROUPS = {
    "won": "LMTX wins",
    "lost": "LMTX loses",
    "neither": "both miss",
    "both": "both hit",
    "open": "not annotated",
}
"""The groups of `compare`, and their names for a reader."""
MARK = "✓"
Rankings = Mapping[str, np.ndarray]  # system -> label ids, best first, -1 pads
_ANSWERS = {1: "yes", 0: "no", -1: "none"}
_OFFERED = 200  # documents that a search lists
_NAME, _TEXT = 70, 4000  # characters shown of a label and of a document


def find(uid: str, overviews: Mapping[str, pd.DataFrame]) -> tuple[str, int]:
    """Return the name of the overview (of `compare` or `lessons`) with a document, and the document's row.

    Raises `ValueError` with the most similar uids where no overview has it.
    """
    for name, overview in overviews.items():
        rows = overview.index[overview["document"] == uid]
        if len(rows):
            return name, int(rows[0])
    uids = [name for overview in overviews.values() for name in overview["document"]]
    close = ", ".join(difflib.get_close_matches(uid, uids, n=3)) or "none"
    among = f"among those of {' and '.join(overviews)}; the most alike: {close}"
    raise ValueError(
        f"no document {uid!r} {among}. Set `document` to one of the overviews, or to an empty text"
    )


def compare(lmtx: np.ndarray, e0: np.ndarray, truth: sp.csr_array, uids: Sequence[str]) -> pd.DataFrame:
    """Group the test documents by which of two systems ranks an annotated label first.

    `lmtx` and `e0` are label ids (n, k), best first, -1 pads; `truth` is a boolean CSR (n, L). Returns
    the columns document, group (a key of `GROUPS`), and for each system the rank of its first annotated
    label, NaN where it ranks none; indexed by the document's row. Rows are in the order of `GROUPS`, and
    within a group by the ratio of the two ranks, largest first.
    """
    ranks = {"lmtx": _first_hits(lmtx, truth), "zero-shot": _first_hits(e0, truth)}
    hit, e0_hit = (each == 1 for each in ranks.values())
    # The first of these that holds for a document is its group.
    groups = {"open": np.diff(truth.indptr) == 0, "won": hit & ~e0_hit, "lost": ~hit & e0_hit, "both": hit}
    group = np.select([*groups.values()], [*groups], "neither")
    frame = pd.DataFrame({"document": uids, "group": group, **ranks})
    end = max(lmtx.shape[1], e0.shape[1]) + 1
    gap = np.log2(frame["lmtx"].fillna(end) / frame["zero-shot"].fillna(end)).abs()
    return frame.iloc[np.lexsort((-gap, frame["group"].map(list(GROUPS).index)))]


def lessons(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the teacher's yes verdicts on each training document, cycle by cycle.

    `judged` is cycle -> the table of `lmtx.curriculum.judge`, with the document's row of the corpus as `row`.
    Returns the columns document, one for each cycle with the number of accepted labels of its shortlist, and
    gained: the number of accepted labels that the first cycle's shortlist lacks. Indexed by the document's
    row, most gained first.
    """
    first = next(iter(judged.values()))
    frame = first.drop_duplicates("row").set_index("row")[["document_uid"]].set_axis(["document"], axis=1)
    accepted = {cycle: table[table["answer"] == 1] for cycle, table in judged.items()}
    pairs = pd.concat(accepted.values())[["row", "label"]].drop_duplicates()
    in_first = pd.MultiIndex.from_frame(pairs).isin(pd.MultiIndex.from_frame(first[["row", "label"]]))
    for column, table in (accepted | {"gained": pairs[~in_first]}).items():
        frame[column] = table.groupby("row").size().reindex(frame.index, fill_value=0)
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
    """Make widgets that choose a document of an overview and `show` its row as HTML; they need a kernel."""
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


def test_page(corpus: Corpus, truth: sp.csr_array, rankings: Rankings, cycles: list[str], row: int) -> str:
    """Render a test document, by `truth` (n_test, L) and rankings (n_test, k); changes are from E0."""
    # A system that asks the teacher at prediction time may have ranked the first documents only.
    ids = {system: ranking[row] for system, ranking in rankings.items() if row < len(ranking)}
    annotated = truth[[row]].indices
    tables = (
        side_by_side(corpus.labels, annotated, ids),
        annotated_ranks(corpus.labels, annotated, ids),
        changes(corpus.labels, annotated, ids, "zero-shot", cycles),
    )
    return document_page(corpus, "test", row, annotated, *tables)


def train_page(
    corpus: Corpus,
    truth: sp.csr_array,
    judged: Mapping[str, pd.DataFrame],
    proposers: Mapping[str, str],
    student: tuple[str, Encoder],
    row: int,
) -> str:
    """Render a training document, by `truth` (n_train, L), `judged` of `lessons`, and the last student."""
    verdicts = {cycle: table[table["row"] == row] for cycle, table in judged.items()}
    labels = np.unique(np.concatenate([table["label"] for table in verdicts.values()]))
    name, encoder = student
    vectors = encoder.encode_labels(corpus.labels.take(labels))
    order = search(encoder.encode_documents(corpus.train.slice(row, 1)), vectors, len(labels)).ids[0]
    annotated = truth[[row]].indices
    table = shortlists(corpus.labels, annotated, verdicts, proposers, (name, labels[order]))
    return document_page(corpus, "train", row, annotated, table)


def document_page(corpus: Corpus, split: str, row: int, annotated: np.ndarray, *tables: Table) -> str:
    """Render a document, its `annotated` labels (ids) and tables as HTML; all text is escaped.

    A text beyond 4,000 characters is cut, with a note.
    """
    document = corpus.documents(split).slice(row, 1).to_pylist()[0]
    annotations = corpus.labels["text"].take(pa.array(annotated)).to_pylist()
    template = HTML.get_template("document.html.j2")
    return template.render(document, annotations=annotations, tables=tables, limit=_TEXT, mark=MARK)


def side_by_side(labels: pa.Table, annotated: np.ndarray, rankings: Rankings, k: int = 10) -> Table:
    """Show a document's first k labels, a column a system; annotated ones are bold and ticked.

    `labels` is the corpus' label table, `annotated` holds the ids of the document's annotated labels.
    """
    columns = []
    for ids in rankings.values():
        cells = _cells(labels, ids[:k][ids[:k] >= 0], annotated)
        columns.append([*cells, *[Cell(GAP)] * (k - len(cells))])
    rows = [[Cell(str(rank)), *row] for rank, row in enumerate(zip(*columns, strict=True), 1)]
    caption = f"{MARK} and bold: annotated."
    return _table("top", f"The first {k} labels", caption, ["Rank", *rankings], {"": rows})


def annotated_ranks(labels: pa.Table, annotated: np.ndarray, rankings: Rankings) -> Table:
    """Show the rank of each annotated label by each system; parameters as for `side_by_side`."""
    columns = [[_rank(rank, ids) for rank in _ranks(ids, annotated)] for ids in rankings.values()]
    rows = list(zip(_cells(labels, annotated, annotated), *columns, strict=True))
    caption = "The rank by each system; > 100 where it is not among the first 100."
    headings = ["Annotated label", *rankings]
    return _table("ranks", "Where the annotated labels are", caption, headings, {"": rows})


def changes(
    labels: pa.Table, annotated: np.ndarray, rankings: Rankings, start: str, cycles: Sequence[str], k: int = 5
) -> Table:
    """Show the labels that rose and fell most from the system `start` to each of `cycles`.

    Ranks are compared by their ratio: from 8 to 1 is more than from 90 to 50. A label that a ranking lacks
    counts as just below its end. The other parameters are those of `side_by_side`.
    """
    groups = {}
    for cycle in cycles:
        old, new = rankings[start], rankings[cycle]
        ids = np.unique(np.concatenate([old, new]))
        ids = ids[ids >= 0]
        before, after = _ranks(old, ids), _ranks(new, ids)
        # The number of times that the rank halved.
        ends = (np.where(np.isnan(r), _depth(of) + 1, r) for r, of in ((before, old), (after, new)))
        rise = np.log2(np.divide(*ends))
        order = np.argsort(-rise, kind="stable")
        rose, fell = order[rise[order] > 0][:k], order[rise[order] < 0][::-1][:k]
        for title, moved in (("▲ rose most", rose), ("▼ fell most", fell)):
            names = _cells(labels, ids[moved], annotated)
            ranks = [[_rank(r, old) for r in before[moved]], [_rank(r, new) for r in after[moved]]]
            rows = list(zip(names, *ranks, strict=True))
            groups[f"{start} → {cycle}: {title}{'' if rows else ': none'}"] = rows
    caption = "Sorted by the ratio of the two ranks: from 8 to 1 is a longer way than from 90 to 50."
    headings = ["Label", "Rank before", "Rank after"]
    return _table("changes", "What training moved", caption, headings, groups)


def shortlists(
    labels: pa.Table,
    annotated: np.ndarray,
    judged: Mapping[str, pd.DataFrame],
    proposers: Mapping[str, str],
    after: tuple[str, np.ndarray],
) -> Table:
    """Show a training document's shortlist in each cycle, with the teacher's verdicts.

    `judged` is cycle -> this document's rows of the table of `lmtx.curriculum.judge`, `proposers` cycle ->
    the system that made its shortlist, `after` the last student's name and its order of all these labels.
    """
    lists = {
        f"{cycle}: the shortlist, by {proposers[cycle]}": table.sort_values("rank")
        for cycle, table in judged.items()
    }
    student, ids = after
    verdicts = pd.concat(judged.values()).drop_duplicates("label", keep="last").set_index("label")
    ordered = verdicts.loc[ids].reset_index().assign(rank=np.arange(1, len(ids) + 1))
    lists[f"Afterwards: the same labels, by {student}"] = ordered
    groups, before, seen = {}, np.array([], dtype=np.int64), set()
    for heading, table in lists.items():
        ids = table["label"].to_numpy()
        rows = groups[heading] = []
        cells = zip(_cells(labels, ids, annotated), _ranks(before, ids), table.itertuples(), strict=True)
        for name, rank_before, row in cells:
            before_text = "new" if seen and row.label not in seen else number(rank_before).text
            answer = Cell(_ANSWERS[row.answer], bold=row.answer == 1)
            rows.append([name, Cell(str(row.rank)), Cell(before_text), number(row.p_yes, 2), answer])
        before, seen = ids, seen.union(ids)
    caption = f"Before: the rank in the list above; {GAP} where that one does not hold the label."
    headings = ["Label", "Rank", "Before", "p_yes", "Verdict"]
    return _table("shortlists", "What the teacher said", caption, headings, groups)


def _table(name: str, title: str, caption: str, headings: Sequence[str], groups: Mapping) -> Table:
    """Make a table of cells: heading of a part -> rows of cells."""
    columns = [Column(heading, heading, lambda cell: cell) for heading in headings[1:]]
    parts = [
        (part, [(row[0], dict(zip(headings, row, strict=True))) for row in rows])
        for part, rows in groups.items()
    ]
    return Table(name, title, caption, headings[0], columns, parts)


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


def _cells(labels: pa.Table, ids: np.ndarray, annotated: np.ndarray) -> list[Cell]:
    """Make a cell for each label: the name before its description, ticked where it is annotated."""
    cells, rows = [], labels.take(np.asarray(ids, np.int64)).to_pylist()
    for row, ticked in zip(rows, np.isin(ids, annotated).tolist(), strict=True):
        name = row["uid"] if row["text"].startswith(f"{row['uid']}:") else row["text"]
        name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        cells.append(Cell(f"{MARK} {name}" if ticked else name, bold=ticked))
    return cells
