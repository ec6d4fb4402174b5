"""What `lmtx export`, `lmtx add-labels` and `lmtx evaluate` do."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from lmtx import teachers
from lmtx.baselines import Inputs
from lmtx.baselines.bm25 import rank as bm25
from lmtx.corpus import Corpus, load_corpus
from lmtx.datasets.lines import STANDARD_INPUT
from lmtx.datasets.own import Labels
from lmtx.files import check_destination, read_json
from lmtx.index import fuse
from lmtx.metrics import evaluate, paired_difference, per_document
from lmtx.study import Study
from lmtx.tagger import Tagger, TaggerError
from lmtx.tagger.calibration import calibrate_by, calibrate_on
from lmtx.tagger.card import check_free, excerpt, is_trained, percent
from lmtx.tagger.folders import E0, load_exported, read_annotated, study_of, untrained
from lmtx.tagger.windows import Windows, check_windows, longer

_DEPTH = 10  # labels of each held-out document that a calibration rests on
_CUTOFFS = (1, 3, 5, 10)
_SHOWN = ("P@1", "P@3", "P@5", "R@5", "R@10", "nDCG@5")


def export_study(
    folder: str | Path,
    destination: str | Path,
    *,
    storage: str | None = None,
    ask: bool = False,
    annotated: str | Path | None = None,
    windows: Windows | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Make a tagger of a study's model, with its results in the model card and a calibration.

    `folder` is `models/DATASET/SYSTEM` of a study, or an exported tagger, which keeps its card and
    calibration. `storage` is as for `Tagger.export`, and `windows` as for `lmtx.learn`; None: as in `folder`.

    It is calibrated on the teacher's verdicts: those that are stored or free, and with `ask` also such as may
    cost money. With `annotated`, documents with people's answers in the column `labels`, it is calibrated on
    these: `lmtx tag --precision` then means precision. The encoder must not have learnt from them.

    Raises what `Tagger.load`, `Tagger.export` and the teacher raise.
    """
    check_free(destination, folder, recalibrated=annotated is not None)
    tagger = Tagger.load(folder)
    if tagger.card.get("system") == "zero-shot":
        outcome = (
            "This is E0, the encoder before training: the study kept no cycle, or you chose this system."
        )
        tagger.card |= {"trained": False, "outcome": outcome}
        say(outcome)
    if windows is not None:
        tagger.windows = tagger.card["windows"] = check_windows(windows)
    study = study_of(folder)
    if study is not None:
        corpus, system = load_corpus(study.corpus), Path(folder).resolve().name
        if note := longer(tagger.encoder, corpus.train, tagger.windows):
            say(note)
        files = {"statistics": study.statistics, "results": study.results / f"{system}.json"}
        tagger.card |= {name: read_json(file) for name, file in files.items() if file.is_file()}
        tagger.card["example"] = excerpt(corpus.test)
        tagger.calibration = None
        if annotated is None:
            say(_calibrate(tagger, study, corpus, ask))
    if annotated is not None:
        documents, right = read_annotated(tagger, annotated)
        calibrate_on(tagger, documents, right)
        if tagger.calibration is None:
            raise TaggerError(
                f"{annotated} says too little for a calibration: {documents.num_rows:,} of its documents "
                "have labels; annotate more"
            )
        say(f"calibrated on people's answers on {documents.num_rows:,} documents")
    tagger.export(destination, storage)
    say(f"{len(tagger.labels):,} labels; tag with: lmtx tag {destination} -k 5")


def _calibrate(tagger: Tagger, study: Study, corpus: Corpus, ask: bool) -> str:
    """Calibrate on the study's held-out documents; returns a sentence that says so, or why not."""
    config, excluded = study.config.teacher, corpus.excluded["dev"]
    if config.kind == "simulated":
        return "no calibration: the simulated teacher reads annotations"
    if not corpus.dev.num_rows:
        return "no calibration: the study keeps no dev documents; raise dataset.dev_documents"
    embeddings = study.load_embeddings()
    with teachers.build(config, store=study.store, corpus=corpus, embeddings=embeddings) as teacher:
        ids = tagger.rank(corpus.dev, _DEPTH, excluded=excluded).ids
        plan = teacher.plan(teachers.Pairs.from_shortlist(corpus.dev, corpus.labels, ids))
        if plan.requests and not ask:
            return f"{plan}\nno calibration: the teacher would have to be asked; to ask it: --ask-teacher"
        calibrate_by(tagger, corpus.dev, teacher, depth=_DEPTH, excluded=excluded)
    made = tagger.calibration
    if made is None:
        return "no calibration: too few verdicts, or the teacher's yes does not rise with the score"
    return f"calibrated on {made.pairs:,} verdicts of {made.judge} on {made.documents:,} held-out documents"


def add_labels(options: Namespace) -> None:
    """Add the labels of files to an exported tagger."""
    if options.folder.is_file():
        raise TaggerError(f"{options.folder} is a file; the tagger's folder comes first, then the labels")
    tagger = load_exported(options.folder)
    check_destination(options.folder, folder=True)
    before = len(tagger.labels)
    for file in options.files or [STANDARD_INPUT]:
        labels = Labels(file, options.language, options.describe)
        if labels.note:
            print(labels.note)
        table = labels.table()
        tagger.add_labels(table["text"].to_pylist(), table["uid"].to_pylist())
    tagger.export(options.folder)
    print(f"{len(tagger.labels) - before:,} labels added; {options.folder} has {len(tagger.labels):,} now")


def measure(folder: str | Path, annotated: str | Path) -> str:
    """P@k, R@k and nDCG@k in percent with 95 % bootstrap intervals, a line a system.

    `folder` is an exported tagger. `annotated` are documents that it did not learn from, with the column
    `labels` as `data/README.md` says; those without any are left out. PSP@k needs the counts of an annotated
    training side, which zero-shot tagging has not.

    Raises `CorpusError` or `TaggerError` when either cannot be used, or no document is annotated.
    """
    tagger = Tagger.load(folder)
    documents, right = read_annotated(tagger, annotated)
    depth = min(100, len(tagger.labels))
    labels, empty = tagger.labels.table, documents.slice(0, 0)
    corpus = Corpus(empty, empty, documents, labels, {"test": sp.csr_array(right.shape, dtype=bool)})
    words = bm25(Inputs(corpus, {}, depth)).ranking
    before = untrained(Path(folder), tagger).rank(documents, depth)
    systems = {
        "this tagger": tagger.rank(documents, depth),
        E0: before,
        "BM25": words,
        "Fusion of BM25 and E0": fuse([words.ids, before.ids], depth),
    }
    lines = {}
    for name, ranking in systems.items():
        metrics = evaluate(ranking.ids, right, cutoffs=[k for k in _CUTOFFS if k <= depth])["metrics"]
        lines[name] = {m: percent(metrics[m]) for m in _SHOWN if m in metrics}
    first = (per_document(systems[name].ids, right, cutoffs=[1])["P@1"] for name in ("this tagger", E0))
    difference = {name: 100 * value for name, value in paired_difference(*first).items()}
    verdict = "better" if difference["low"] > 0 else "worse" if difference["high"] < 0 else "no different"
    trained = is_trained(tagger.card)
    told = f"{verdict} as far as these documents tell" if trained else "this tagger is E0 itself"
    return (
        f"{len(documents):,} annotated documents, {len(labels):,} labels; percent, with 95 % intervals\n"
        f"{pd.DataFrame(lines).T.to_string()}\n"
        f"P@1 against E0: {difference['value']:+.1f} [{difference['low']:+.1f}, {difference['high']:+.1f}] "
        f"points: {told}"
    )
