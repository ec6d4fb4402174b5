"""A tagger of one's own documents in one call: plan, cycles of LMTX, a check that can say no, folder."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx import curriculum, teachers
from lmtx.config import Config, Describe, load_presets
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.datasets.own import Labels, read_side
from lmtx.datasets.spool import hashes, lowest
from lmtx.encoder import Encoder
from lmtx.llm.cost import Plan, duration, total_cost
from lmtx.llm.models import MODELS, on_disk
from lmtx.tagger import LabelIndex, Tagger, TaggerError
from lmtx.tagger.calibration import calibrate_by, calibrate_on
from lmtx.tagger.card import check_free, excerpt
from lmtx.tagger.checking import Check, enough
from lmtx.tagger.windows import Windows, check_windows, cut_down, limit_of, longer
from lmtx.teachers.discrimination import CHECKED, RANDOM_LABELS, tells_apart
from lmtx.teachers.ensemble import named_labels

LEAST = 8  # documents, to learn from and to check on
NAMED = 0.2  # share of the documents that name a label, from which on letters count beside a language model
CALIBRATED = 500
"""Verdicts from which on the teacher is asked for a calibration; with fewer, `lmtx review` asks people."""
YES_A_DOCUMENT = 1.2
"""Labels that the teacher is to accept for a document, on average: few sure ones teach more than many."""
STEPS = 60  # of training that a cycle is to have at least, as far as four passes give them
READ = 512  # tokens of a document, or as many as the encoder reads where that is less

Source = str | Path | Sequence[str]
Say = Callable[[str], None]


def learn(
    documents: Source,
    labels: Source,
    *,
    teacher: str | None = None,
    destination: str | Path | None = None,
    cycles: int = 2,
    max_cost: float | None = None,
    dry_run: bool = False,
    windows: Windows = "first",
    settings: Sequence[str] = (),
    language: str | None = None,
    describe: Describe = "name",
    records: str | Path | None = None,
    say: Say = print,
) -> Tagger | None:
    """Make a tagger from documents and labels, without an annotated example.

    A student is kept only where a judge that did not teach it finds it better than the encoder it came from
    (`lmtx.tagger.checking`); otherwise the tagger is that encoder, and says so.

    Parameters
    ----------
    documents
        A file (JSONL, CSV, TSV, Parquet, or a text a line), a folder of .txt and .md files, or texts.
        Annotations in a column `labels` train nothing: they check, and are the best check there is.
    labels
        A file, a SKOS vocabulary, or texts; see `data/README.md`.
    teacher
        A preset of `conf/teacher`. None: the language model where it is on this machine (`lmtx model
        qwen-1.5b`), together with the ensemble where documents name their labels; else the ensemble.
    destination
        The folder to write; None: none. Verdicts are kept in DESTINATION.verdicts.sqlite, so that the same
        call goes on where it was interrupted and pays for nothing twice.
    cycles
        Of LMTX, at most; the first that is not better than what came before is the last.
    max_cost, dry_run
        US dollars that this call may spend, on all judging together; and whether it only says what it takes.
    windows
        What counts of a document that is longer than the encoder reads: its "first" window, the "mean" of all
        its windows, or for each label the "best" one. But for "first", teacher and student read the window
        that E0 finds nearest to a label.
    settings
        `section.key=value`: parameters of the study, on top of what this function chooses.
    language, describe
        Of a SKOS vocabulary's labels; see `lmtx.datasets.skos.read`.
    records
        A folder of recorded verdicts on these documents, which need no model; None: there are none.
    say
        Tells the user what is done.

    Returns the tagger, whose `card` says what happened; None for a dry run. Raises `CorpusError`,
    `TaggerError` or `DestinationError`, before any work, where documents, labels or the destination cannot be
    used; and `TeacherError` where the teacher cannot go on, or costs too much.
    """
    check_windows(windows)
    if cycles < 1:
        raise TaggerError(f"the number of cycles is {cycles}; at least 1 is needed")
    if destination is not None:
        check_free(destination, recalibrated=True)
    with ExitStack() as stack:
        # Read. A part of the documents is held out for the check.
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="lmtx-learn-")))
        say("reading documents and labels")
        model = on_disk("qwen-1.5b")
        free, skos = teacher == "ensemble" or not model, {"language": language, "describe": describe}
        corpus, annotated = read_corpus(documents, labels, scratch, free, say, **skos)

        # Choose the teacher, and parameters that suit so many documents and labels.
        name = teacher or "ensemble"
        if model and teacher is None:
            named = named_labels(corpus.train["text"].to_pylist(), corpus.labels["text"].to_pylist())
            name = "combined" if np.mean(np.diff(named.indptr) > 0) >= NAMED else "qwen"
        config = settings_for(name, corpus, settings)
        say(
            f"{corpus.train.num_rows:,} documents to learn from, {corpus.dev.num_rows:,} held out for the "
            f"check; {corpus.labels.num_rows:,} labels; teacher: {config.teacher.name}"
        )
        bytes_each = [pc.mean(pc.binary_length(t["text"])).as_py() for t in (corpus.labels, corpus.train)]
        if bytes_each[0] > bytes_each[1]:
            say("the labels are longer than the documents: are the two files swapped?")

        # Embed with E0, which reads as far as it can.
        e0 = Encoder.load(config.encoder)
        encoder = config.encoder.model_copy(update={"document_tokens": limit_of(e0)})
        e0.config, config = encoder, config.model_copy(update={"encoder": encoder})
        if note := longer(e0, corpus.train, windows):
            say(note)
        embeddings = {"labels": e0.encode_labels(corpus.labels, progress="labels")}
        whole = corpus.dev
        if windows != "first":
            train, dev = (cut_down(e0, each, embeddings["labels"]) for each in (corpus.train, whole))
            corpus = replace(corpus, train=train, dev=dev)
        for split in ("train", "dev"):
            embeddings[split] = e0.encode_documents(corpus.documents(split), progress=f"{split} documents")
        embeddings["test"] = embeddings["dev"][:0]

        # Appoint the teacher, and another judge for the check. They share verdicts, and one limit of costs.
        store = Path(f"{os.path.abspath(destination or scratch)}.verdicts.sqlite")
        if destination is None or (dry_run and not store.exists()):
            store = scratch / "verdicts.sqlite"
        budget = teachers.Budget(max_cost or getattr(config.teacher, "max_cost", None))
        options = {"store": store, "corpus": corpus, "records": records, "budget": budget}
        judge = stack.enter_context(teachers.build(config.teacher, embeddings=embeddings, **options))
        untrained = Tagger(e0, LabelIndex(corpus.labels, embeddings["labels"]), {"windows": windows})
        check = stack.enter_context(closing(Check(config, corpus, whole, annotated, untrained, options, say)))

        # Shortlist. Show what judging takes, and refuse what costs more than was allowed.
        rows = curriculum.sample(corpus.train.num_rows, config.training.documents)
        shortlist = curriculum.propose(config.shortlist, corpus, rows, embeddings)
        asks, calibrates = config.teacher.kind != "ensemble", corpus.dev.num_rows * 5 >= CALIBRATED
        if asks:
            chosen = corpus.train.take(pa.array(rows))
            plan = judge.plan(teachers.Pairs.from_shortlist(chosen, corpus.labels, shortlist.ids))
            # Random labels, to look at the teacher, and labels for thresholds.
            others = CHECKED * RANDOM_LABELS + (5 * corpus.dev.num_rows if calibrates else 0)
            _agree(plan, check.plan(), others, cycles, max_cost, say)
        reason = check.unable
        if dry_run:
            if reason:
                say(reason)
            return None

        # Look at the teacher: one that cannot tell shortlisted labels from random ones teaches nothing.
        if asks:
            say(f"asking the teacher about {CHECKED} documents: does it tell random labels from others?")
            look = tells_apart(judge, corpus, rows, shortlist)
            reason = look and look.warning

        # Learn: the cycles of LMTX, as long as the check finds each student better than the one before it.
        if reason is None:
            say(f"at most {cycles} cycles: in each the teacher judges, and a student learns")
            try:
                curriculum.learn(config, corpus, embeddings, judge, check.improves, cycles, shortlist)
            except curriculum.CurriculumError as error:  # nothing is accepted in this cycle
                reason = None if check.accepted else str(error)

        # Say what was kept, and why; the card says it too.
        tagger, trained = check.tagger, check.accepted > 0
        kept = f"after cycle {check.accepted}" if trained else "E0, the encoder before training"
        outcome = f"Kept: {kept}; {reason or check.reason}."
        say(outcome)
        if name == "ensemble" and teacher is None:
            size = f"{MODELS['qwen-1.5b']().size / 1e9:.1f} GB"
            say(f"a language model judges better than letters: `lmtx model qwen-1.5b` brings one ({size})")
        sizes = {"documents": corpus.train, "held_out": corpus.dev, "labels": corpus.labels}
        learned = {name: table.num_rows for name, table in sizes.items()} | {
            "teacher": config.teacher.name,
            "cycles": check.cycles,
            "cost": total_cost(judge.cost, *([check.second.cost] if check.second else [])),
        }
        tagger.card |= {"outcome": outcome, "trained": trained, "example": excerpt(whole), "learned": learned}
        tagger.card |= {"teacher": config.teacher.name} if trained else {}

        # Calibrate: on people's answers where there are enough, else on verdicts on held-out documents.
        if enough(annotated):
            calibrate_on(tagger, whole, annotated)
        elif trained and calibrates:
            calibrate_by(tagger, whole, judge, depth=5, shown=corpus.dev)
        if destination is not None:
            tagger.export(destination)
            say(f"{len(tagger.labels):,} labels; tag with: lmtx tag {destination} -k 5")
        return tagger


def read_corpus(
    documents: Source, labels: Source, scratch: Path, free: bool, say: Say, **skos: str | None
) -> tuple[Corpus, sp.csr_array]:
    """Read documents as the study reads one's own; its dev documents are held out, and come annotated.

    They are annotated ones where people annotated enough; else a tenth of all, or a quarter where the check
    is `free`; at most half, and at most 500. Returns the annotations of these too: boolean CSR (n_dev, L).
    """
    file, label_file = _file(documents, scratch / "documents.jsonl"), _file(labels, scratch / "labels.jsonl")
    if file == label_file:
        raise TaggerError(f"documents and labels are the same file, {documents}; name one of each")
    names = Labels(label_file, **skos)
    if names.note:
        say(names.note)
    side = read_side(file, names, scratch)
    side.check_uids()
    table, n, n_labels = side.table().cast(DOCUMENT_SCHEMA), len(side), len(names.table())
    if n_labels < 2:
        raise TaggerError(f"{label_file} holds one label; at least 2 are needed, or every document has it")
    if n < LEAST:
        source = documents if isinstance(documents, str | Path) else "your list"
        raise TaggerError(f"{source} holds {n} documents; at least {LEAST} are needed to learn from")
    annotated = side.truth(n_labels)
    candidates, size = np.arange(n), n // 4 if free else max(n // 10, min(60, n // 4))
    if enough(annotated):
        candidates = np.flatnonzero(np.diff(annotated.indptr))
        size = min(len(candidates), n // 2)
    dev = np.sort(lowest(hashes(table["uid"], "dev"), candidates, min(size, 500)))
    splits = {"train": np.setdiff1d(np.arange(n), dev), "dev": dev, "test": dev[:0]}
    tables = {split: table.take(pa.array(rows)) for split, rows in splits.items()}
    excluded = {split: sp.csr_array((len(rows), n_labels), dtype=bool) for split, rows in splits.items()}
    return Corpus(**tables, labels=names.table(), excluded=excluded), sp.csr_array(annotated[dev])


def settings_for(name: str, corpus: Corpus, settings: Sequence[str]) -> Config:
    """The parameters for so many documents and labels."""
    n = corpus.train.num_rows
    size = min(10, max(2, -(-corpus.labels.num_rows // 3)))
    batch = 16 if n < 1000 else 32
    chosen = [
        f"encoder.document_tokens={READ}",
        f"shortlist.size={size}",
        "shortlist.lexical_weight=0.5",
        f"training.batch_size={batch}",
        f"training.epochs={min(4, max(1, round(STEPS * batch / n)))}",
    ]
    # How many of its pairs a teacher accepts is a share, whatever the model thinks of a yes.
    if name in ("combined", "qwen", "huggingface", "ensemble"):
        chosen.append(f"teacher.acceptance={min(0.5, YES_A_DOCUMENT / size):.3f}")
    if name != "ensemble":
        chosen.append("teacher.centred=true")
    return load_presets(["dataset=own", f"teacher={name}"], [*chosen, *settings])


def _file(source: Source, made: Path) -> Path:
    """The path of a source; texts are written to the file `made` first."""
    if isinstance(source, str | Path):
        return Path(source).absolute()
    made.write_text(
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in source), "utf-8"
    )
    return made


def _agree(
    plan: Plan, checking: Plan | None, others: int, cycles: int, max_cost: float | None, say: Say
) -> None:
    """Show what judging will take, and refuse what costs more than was allowed.

    `plan` is that of cycle 1, `checking` that of a check; `others` is the number of pairs that the teacher is
    asked about besides. A later cycle asks about the labels that are new in it, never more.
    """
    say(str(plan))
    if not plan.requests:
        return

    def total(name: str) -> float | None:
        once, each = getattr(plan, name), getattr(checking, name) if checking else 0
        if once is None or each is None:
            return None
        return cycles * (once + each) + once * others / (plan.pairs - plan.cached)

    usd, seconds = total("usd"), total("seconds")
    price = "an unknown price" if usd is None else f"up to ${usd:,.2f}"
    time = "" if seconds is None else f", {duration(seconds)}"
    say(f"all {cycles} cycles with their checks: at most {total('requests'):,.0f} requests, {price}{time}")
    if max_cost is not None and (usd is None or usd > max_cost):
        raise teachers.BudgetError(
            f"the plan of {cycles} cycles costs {price}, and --max-cost is ${max_cost:,.2f}: allow more, ask "
            "about fewer documents (training.documents), or take a cheaper model"
        )
