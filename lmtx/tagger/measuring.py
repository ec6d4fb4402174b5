"""What a tagger is worth on annotated documents, beside E0, BM25 and their fusion."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from lmtx.baselines import Inputs
from lmtx.baselines.bm25 import rank as bm25
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.curriculum import judge
from lmtx.datasets.assemble import Side
from lmtx.datasets.own import Labels, read_side
from lmtx.index import Shortlist, fuse
from lmtx.metrics import evaluate, paired_difference, per_document
from lmtx.tagger import Tagger, TaggerError
from lmtx.tagger.calibration import PEOPLE, fit
from lmtx.tagger.card import percent
from lmtx.tagger.proposals import untrained
from lmtx.teachers.base import Teacher
from lmtx.teachers.pairs import NONE, YES

CUTOFFS = (1, 3, 5, 10)
_SHOWN = ("P@1", "P@3", "P@5", "R@5", "R@10", "nDCG@5")


def measure(folder: str | Path, annotated: str | Path) -> str:
    """P@k, R@k and nDCG@k in percent with 95 % bootstrap intervals, a line a system.

    The documents must not be those that the tagger learnt from. PSP@k is left out: it needs the counts of an
    annotated training side, which zero-shot tagging has not.

    Parameters
    ----------
    folder
        An exported tagger.
    annotated
        Documents with the column `labels`, as `data/README.md` says; those without any are left out.

    Raises
    ------
    CorpusError, TaggerError
        When either cannot be used, or no document is annotated.
    """
    tagger = Tagger.load(folder)
    documents, truth = read_annotated(tagger, annotated)
    depth = min(100, len(tagger.labels))
    systems = _rankings(tagger, untrained(Path(folder), tagger), documents, depth)
    lines = {}
    for name, ranking in systems.items():
        found = evaluate(ranking.ids, truth, cutoffs=[k for k in CUTOFFS if k <= depth])["metrics"]
        lines[name] = {m: percent(found[m]) for m in _SHOWN if m in found}
    first = {name: per_document(ranking.ids, truth, cutoffs=[1])["P@1"] for name, ranking in systems.items()}
    difference = paired_difference(first["this tagger"], first["E0"])
    verdict = "better" if difference["low"] > 0 else "worse" if difference["high"] < 0 else "no different"
    return (
        f"{len(documents):,} annotated documents, {len(tagger.labels):,} labels; "
        "percent, with 95 % intervals\n"
        f"{pd.DataFrame(lines).T.to_string()}\n"
        f"P@1 against E0: {100 * difference['value']:+.1f} [{100 * difference['low']:+.1f}, "
        f"{100 * difference['high']:+.1f}] points: {verdict} as far as these documents tell"
    )


def read_documents(tagger: Tagger, path: str | Path, scratch: Path) -> Side:
    """Documents of a file, and the annotations it may have, by the tagger's labels; files go to `scratch`.

    Raises `CorpusError` naming file, line and value.
    """
    names = scratch / "labels.jsonl"
    names.write_text(tagger.labels.table.to_pandas().to_json(orient="records", lines=True, force_ascii=False))
    labels = Labels(names)
    labels.path = Path("the tagger's labels")  # in error messages
    return read_side(Path(path).absolute(), labels, scratch)


def read_annotated(tagger: Tagger, path: str | Path) -> tuple[pa.Table, sp.csr_array]:
    """The annotated documents of a file: n rows uid, title, text; and boolean CSR (n, L).

    Raises `TaggerError` where no document is annotated, and what `read_documents` raises.
    """
    with TemporaryDirectory(prefix="lmtx-annotated-") as scratch:
        side = read_documents(tagger, path, Path(scratch))
        truth = side.spool.truth(len(tagger.labels))
        rows = np.flatnonzero(np.diff(truth.indptr))
        if not len(rows):
            raise TaggerError(f"no document of {path} has labels; fill the column `labels`")
        return side.spool.table().cast(DOCUMENT_SCHEMA).take(rows), sp.csr_array(truth[rows])


def calibrate_on(tagger: Tagger, documents: pa.Table, annotated: sp.csr_array, depth: int = 5) -> None:
    """Calibrate on people's annotations, boolean CSR (n, L): a label that is not annotated is wrong.

    Documents without annotations count for nothing. Where the annotations say too little, the tagger has no
    calibration.
    """
    rows = np.flatnonzero(np.diff(annotated.indptr))
    ranking = tagger.rank(documents.take(rows), depth)
    n, depth = ranking.ids.shape
    right = np.asarray(annotated[rows[:, None], ranking.ids].todense()).ravel()
    places = np.repeat(np.arange(n), depth)
    tagger.calibration = fit(ranking.scores.ravel(), right, places, judge=PEOPLE, documents=n, depth=depth)


def calibrate_by(
    tagger: Tagger,
    documents: pa.Table,
    teacher: Teacher,
    *,
    depth: int = 10,
    excluded: sp.csr_array | None = None,
) -> None:
    """Calibrate on a teacher's verdicts on the best labels of some documents.

    Where the verdicts say too little, the tagger has no calibration. Pairs whose answer is none count for
    nothing.

    Parameters
    ----------
    documents
        Table with the columns uid, title, text: documents that the encoder was not trained on.
    teacher
        Who judges. Verdicts that its store has cost nothing; see `Teacher.plan` for the others.
    depth
        How many labels of each document are judged.
    excluded
        Boolean CSR (n, L): pairs that are no candidates; None: every label is one.
    """
    ranking = tagger.rank(documents, depth, excluded=excluded)
    judged = judge(teacher, documents, tagger.labels.table, ranking)
    answer = judged["answer"].to_numpy()
    answered = answer != NONE
    tagger.calibration = fit(
        judged["similarity"].to_numpy()[answered],
        answer[answered] == YES,
        judged["document"].to_numpy()[answered],
        judge=teacher.name,
        documents=len(documents),
        depth=ranking.ids.shape[1],
    )


def _rankings(tagger: Tagger, e0: Tagger, documents: pa.Table, depth: int) -> dict[str, Shortlist]:
    labels, empty = tagger.labels.table, documents.slice(0, 0)
    none = sp.csr_array((documents.num_rows, labels.num_rows), dtype=bool)
    words = bm25(Inputs(Corpus(empty, empty, documents, labels, {"test": none}), {}, depth)).ranking
    plain = e0.rank(documents, depth)
    return {
        "this tagger": tagger.rank(documents, depth),
        "E0": plain,
        "BM25": words,
        "Fusion of BM25 and E0": fuse([words.ids, plain.ids], depth),
    }
