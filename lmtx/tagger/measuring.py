"""A tagger on annotated documents, beside E0, BM25 and their fusion; and how E0 is made again of a tagger."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from lmtx.baselines import Inputs
from lmtx.baselines.bm25 import rank as bm25
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.datasets.own import Labels, read_side
from lmtx.datasets.spool import Side
from lmtx.encoder import Encoder
from lmtx.index import fuse
from lmtx.metrics import evaluate, paired_difference, per_document
from lmtx.tagger import LabelIndex, Tagger, TaggerError
from lmtx.tagger.card import is_trained, percent
from lmtx.tagger.labels import TABLE

STUDENT, E0 = "the student", "E0"
_CUTOFFS = (1, 3, 5, 10)
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
    labels, empty = tagger.labels.table, documents.slice(0, 0)
    none = sp.csr_array((documents.num_rows, labels.num_rows), dtype=bool)
    words = bm25(Inputs(Corpus(empty, empty, documents, labels, {"test": none}), {}, depth)).ranking
    before = untrained(Path(folder), tagger).rank(documents, depth)
    systems = {
        "this tagger": tagger.rank(documents, depth),
        E0: before,
        "BM25": words,
        "Fusion of BM25 and E0": fuse([words.ids, before.ids], depth),
    }
    lines = {}
    for name, ranking in systems.items():
        metrics = evaluate(ranking.ids, truth, cutoffs=[k for k in _CUTOFFS if k <= depth])["metrics"]
        lines[name] = {m: percent(metrics[m]) for m in _SHOWN if m in metrics}
    first = (per_document(systems[name].ids, truth, cutoffs=[1])["P@1"] for name in ("this tagger", E0))
    difference = paired_difference(*first)
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
    file = scratch / "labels.jsonl"
    rows = tagger.labels.table.to_pandas().to_json(orient="records", lines=True, force_ascii=False)
    file.write_text(rows, encoding="utf-8")
    labels = Labels(file)
    labels.path = Path("the tagger's labels")  # in error messages
    return read_side(Path(path).absolute(), labels, scratch)


def read_annotated(tagger: Tagger, path: str | Path) -> tuple[pa.Table, sp.csr_array]:
    """The annotated documents of a file: n rows uid, title, text; and boolean CSR (n, L).

    Raises `TaggerError` where no document is annotated, and what `read_documents` raises.
    """
    with TemporaryDirectory(prefix="lmtx-annotated-") as scratch:
        side = read_documents(tagger, path, Path(scratch))
        truth = side.truth(len(tagger.labels))
        rows = np.flatnonzero(np.diff(truth.indptr))
        if not len(rows):
            raise TaggerError(f"no document of {path} has labels; fill the column `labels`")
        return side.table().cast(DOCUMENT_SCHEMA).take(rows), sp.csr_array(truth[rows])


def systems_of(folder: Path) -> dict[str, Tagger]:
    """The student and E0 with the same labels; E0 alone where the tagger was not trained.

    Where an earlier review chose E0, the student is the one that it set aside.

    Raises `TaggerError` and `EncoderError` when either cannot be loaded.
    """
    tagger = Tagger.load(folder)
    if not (folder / TABLE).is_file():
        raise TaggerError(f"{folder} is no exported tagger; make one first: lmtx export {folder} DESTINATION")
    if is_trained(tagger.card):
        return {STUDENT: tagger, E0: untrained(folder, tagger)}
    aside = folder.with_name(tagger.card.get("set_aside") or folder.name)
    if aside == folder or not aside.is_dir():
        return {E0: tagger}
    student, labels = Tagger.load(aside), tagger.labels.table
    if not student.labels.table.equals(labels):  # labels were added since
        vectors = student.encoder.encode_labels(labels, "embedding the labels with the student")
        student = Tagger(student.encoder, LabelIndex(labels, vectors), student.card)
    return {STUDENT: student, E0: tagger}


def untrained(folder: Path, tagger: Tagger) -> Tagger:
    """The tagger of `folder` as it was before training, with the same labels.

    E0's vectors of them are kept beside the folder, not in it: a tagger is published without them.
    """
    if not is_trained(tagger.card):
        return tagger
    folder = folder.resolve()
    e0, labels = Encoder.load(tagger.encoder.config), tagger.labels.table
    index = LabelIndex.beside(
        folder.with_name(f".{folder.name}-e0"),
        labels,
        [folder / TABLE],
        lambda: e0.encode_labels(labels, "embedding the labels with E0, once"),
    )
    return Tagger(e0, index, tagger.card)
