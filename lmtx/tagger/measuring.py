"""What a tagger is worth on annotated documents, beside E0, BM25 and their fusion."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lmtx.baselines import Inputs
from lmtx.baselines.bm25 import rank as bm25
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.datasets.own import Labels, read_side
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, fuse, search
from lmtx.metrics import evaluate, paired_difference, per_document
from lmtx.tagger import Tagger, TaggerError

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
    table = tagger.labels.table
    with TemporaryDirectory(prefix="lmtx-evaluate-") as scratch:
        names = Path(scratch) / "labels.jsonl"
        names.write_text(table.to_pandas().to_json(orient="records", lines=True, force_ascii=False))
        side = read_side(Path(annotated).absolute(), Labels(names), Path(scratch))
        truth = side.spool.truth(table.num_rows)
        rows = np.flatnonzero(np.diff(truth.indptr))
        if not len(rows):
            raise TaggerError(f"no document of {annotated} has labels; fill the column `labels`")
        documents = side.spool.table().cast(DOCUMENT_SCHEMA).take(rows)
    truth = sp.csr_array(truth[rows])
    depth = min(100, table.num_rows)
    systems = _rankings(tagger, documents, depth)
    lines = {}
    for name, ranking in systems.items():
        found = evaluate(ranking.ids, truth, cutoffs=[k for k in CUTOFFS if k <= depth])["metrics"]
        lines[name] = {m: _percent(found[m]) for m in _SHOWN if m in found}
    first = {name: per_document(ranking.ids, truth, cutoffs=[1])["P@1"] for name, ranking in systems.items()}
    difference = paired_difference(first["this tagger"], first["E0"])
    verdict = "better" if difference["low"] > 0 else "worse" if difference["high"] < 0 else "no different"
    return (
        f"{len(rows):,} annotated documents, {table.num_rows:,} labels; percent, with 95 % intervals\n"
        f"{pd.DataFrame(lines).T.to_string()}\n"
        f"P@1 against E0: {100 * difference['value']:+.1f} [{100 * difference['low']:+.1f}, "
        f"{100 * difference['high']:+.1f}] points: {verdict} as far as these documents tell"
    )


def _rankings(tagger: Tagger, documents, depth: int) -> dict[str, Shortlist]:
    labels = tagger.labels.table
    e0 = Encoder.load(tagger.encoder.config)
    vectors = {"test": e0.encode_documents(documents), "labels": e0.encode_labels(labels)}
    none = sp.csr_array((documents.num_rows, labels.num_rows), dtype=bool)
    empty = documents.slice(0, 0)
    corpus = Corpus(empty, empty, documents, labels, {"test": none})
    words = bm25(Inputs(corpus, vectors, depth)).ranking
    plain = search(vectors["test"], vectors["labels"], depth)
    return {
        "this tagger": tagger.rank(documents, depth),
        "E0": plain,
        "BM25": words,
        "Fusion of BM25 and E0": fuse([words.ids, plain.ids], depth),
    }


def _percent(metric: dict[str, float]) -> str:
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"
