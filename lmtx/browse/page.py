"""One document as HTML, and the tables that show its rankings and verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jinja2 import Environment, FileSystemLoader

from lmtx.corpus import Corpus
from lmtx.report.render import GAP, Cell, Table, number

MARK = "✓"
_ANSWERS = {1: "yes", 0: "no", -1: "none"}
_NAME, _TEXT = 70, 4000  # characters shown of a label and of a document


def document_page(corpus: Corpus, split: str, row: int, annotated: np.ndarray, *tables: Table) -> str:
    """Render a document and tables about it as HTML for a light or a dark notebook; all text is escaped.

    `annotated` holds the ids of its annotated labels. A text beyond 4,000 characters is cut, with a note.
    """
    document = corpus.documents(split).slice(row, 1).to_pylist()[0]
    annotations = corpus.labels["text"].take(pa.array(annotated)).to_pylist()
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("document.html.j2")
    return template.render(document, annotations=annotations, tables=tables, limit=_TEXT, mark=MARK)


def ranks(ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the rank of each label, from 1: float64 (len(labels),); NaN where the ranking lacks it.

    `ids` is one document's row of a ranking: label ids (k,), best first, -1 pads.
    """
    rank_of = {int(label): rank for rank, label in enumerate(ids, 1) if label >= 0}
    return np.array([rank_of.get(int(label), np.nan) for label in labels], dtype=np.float64)


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
    """Show the rank of each annotated label by each system; parameters as for `side_by_side`."""
    by_system = {system: ranks(ids, annotated) for system, ids in rankings.items()}
    rows = [
        [name, *(_rank(by_system[system][i], _depth(ids)) for system, ids in rankings.items())]
        for i, name in enumerate(_cells(labels, annotated, annotated))
    ]
    frame = pd.DataFrame({"label": labels["uid"].take(pa.array(annotated)).to_pylist(), **by_system})
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
    """Show the labels that rose and fell most from the system `start` to each of `cycles`.

    Ranks are compared by their ratio: from 8 to 1 is more than from 90 to 50. A label that a ranking lacks
    counts as just below its end. The other parameters are those of `side_by_side`.
    """
    groups, frames = [], []
    for cycle in cycles:
        before, after = rankings[start], rankings[cycle]
        union = np.unique(np.concatenate([before[before >= 0], after[after >= 0]]))
        frame = pd.DataFrame({"cycle": cycle, "before": ranks(before, union), "after": ranks(after, union)})
        frame["label"] = union
        ends = {"before": _depth(before), "after": _depth(after)}
        # Doublings of the rank that the label rose.
        way = np.log2(frame["before"].fillna(ends["before"] + 1) / frame["after"].fillna(ends["after"] + 1))
        frame = frame.assign(way=way).sort_values("way", ascending=False, kind="stable")
        rose, fell = frame[frame["way"] > 0].head(k), frame[frame["way"] < 0].iloc[::-1].head(k)
        for title, moved in (("▲ rose most", rose), ("▼ fell most", fell)):
            rows = [
                [name, _rank(row.before, ends["before"]), _rank(row.after, ends["after"])]
                for name, row in zip(
                    _cells(labels, moved["label"], annotated), moved.itertuples(), strict=True
                )
            ]
            heading = f"{start} → {cycle}: {title}"
            groups.append((heading if rows else f"{heading}: none", rows))
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


def _depth(ids: np.ndarray) -> int:
    return int((ids >= 0).sum())


def _rank(value: float, depth: int) -> Cell:
    return Cell(f"> {depth}" if np.isnan(value) else f"{value:.0f}", bold=value == 1)


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
