"""A tagger of one's own documents in one call: plan, cycles of LMTX, a check that can say no, folder."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from lmtx import curriculum, teachers
from lmtx.config import Describe
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.files import check_destination
from lmtx.llm.cost import duration
from lmtx.llm.models import MODELS, on_disk
from lmtx.tagger import LabelIndex, Tagger
from lmtx.tagger.card import excerpt
from lmtx.tagger.checking import Check
from lmtx.tagger.measuring import calibrate_by, calibrate_on
from lmtx.tagger.preparing import Source, enough, read_sources, read_whole, settings_for
from lmtx.tagger.windows import Windows, check_windows, longer, read
from lmtx.teachers.discrimination import CHECKED, RANDOM_LABELS, tells_apart
from lmtx.teachers.ensemble import named_labels

NAMED = 0.2
"""Share of the documents that name a label, from which on letters count beside a language model."""
CALIBRATED = 500
"""Verdicts from which on the teacher is asked for a calibration; with fewer, `lmtx review` asks people."""


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
    say: Callable[[str], None] = print,
) -> Tagger | None:
    """Make a tagger from documents and labels, without an annotated example.

    A student is kept only where a judge that did not teach it finds it better than the encoder it came from
    (`lmtx.tagger.opinion`); otherwise the tagger is that encoder, and says so.

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
    max_cost
        US dollars that this call may spend, on all judging together.
    dry_run
        Only say what it would take.
    windows
        What counts of a document that is longer than the encoder reads: its "first" window, the "mean" of all
        its windows, or for each label the "best" one. The student learns from first windows.
    settings
        `section.key=value`: parameters of the study, on top of what this function chooses.
    language, describe
        Of a SKOS vocabulary's labels; see `lmtx.datasets.skos.read`.
    records
        A folder of recorded verdicts on these documents, which need no model; None: there are none.
    say
        Tells the user what is done.

    Returns
    -------
    The tagger, whose `card` says what happened; None for a dry run.

    Raises
    ------
    CorpusError, TaggerError, DestinationError
        When documents, labels or the destination cannot be used: before any work.
    TeacherError
        When the teacher cannot go on, or the plan exceeds `max_cost`.
    """
    check_windows(windows)
    if destination is not None:
        check_destination(destination, folder=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="lmtx-learn-")))
        say("reading documents and labels")
        model = on_disk("qwen-1.5b")
        free = teacher == "ensemble" or not model
        found = read_sources(documents, labels, scratch, free, language, describe, say)
        corpus = found.corpus
        name = teacher or (_judge_for(corpus) if model else "ensemble")
        config = settings_for(name, corpus, max_cost, settings)
        store = scratch / "verdicts.sqlite"
        if destination is not None:
            place = Path(os.path.abspath(destination))
            store = place.with_name(f"{place.name}.verdicts.sqlite")
        say(
            f"{corpus.train.num_rows:,} documents to learn from, {corpus.dev.num_rows:,} held out for the "
            f"check; {corpus.labels.num_rows:,} labels; teacher: {config.teacher.name}"
        )
        e0 = Encoder.load(config.encoder)
        config = read_whole(config, e0)
        e0.config = config.encoder
        if note := longer(e0, corpus.train, windows):
            say(note)
        # One vector a document: of its windows, the teacher's shortlist is made by the mean.
        one = "first" if windows == "first" else "mean"
        embeddings = {s: read(e0, corpus.documents(s), one)[0] for s in ("train", "dev", "test")}
        embeddings["labels"] = e0.encode_labels(corpus.labels)
        # One limit for all judging: that of the teacher, and that of the check by another wording.
        budget = teachers.Budget(getattr(config.teacher, "max_cost", None) or max_cost)
        options = {"store": store, "corpus": corpus, "records": records, "budget": budget}
        judge = stack.enter_context(teachers.build(config.teacher, embeddings=embeddings, **options))
        rows = curriculum.sample(corpus.train.num_rows, config.training.documents)
        shortlist = curriculum.propose(config.shortlist, corpus, rows, embeddings)
        sampled = corpus.train.take(pa.array(rows))
        calibrates = corpus.dev.num_rows * 5 >= CALIBRATED
        untrained = Tagger(e0, LabelIndex(corpus.labels, embeddings["labels"]), {"windows": windows})
        check = Check(config, found, untrained, options, say)
        stack.callback(check.close)
        if config.teacher.kind != "ensemble":
            pairs = teachers.Pairs.from_shortlist(sampled, corpus.labels, shortlist.ids)
            # Random labels, to look at the teacher, and labels for thresholds.
            others = CHECKED * RANDOM_LABELS + (5 * corpus.dev.num_rows if calibrates else 0)
            _agree(judge.plan(pairs), check.plan(), others, cycles, max_cost, say)
        if dry_run:
            return None
        reason = check.unable
        if config.teacher.kind != "ensemble" and corpus.labels.num_rows > config.shortlist.size // 2:
            look = tells_apart(judge, corpus, rows, shortlist)
            reason = look and look.warning
        if reason is None:
            say(f"at most {cycles} cycles: in each the teacher judges, and a student learns")
            try:
                curriculum.learn(config, corpus, embeddings, judge, check.improves, cycles, shortlist)
            except curriculum.CurriculumError as error:  # nothing is accepted in this cycle
                reason = None if check.accepted else str(error)
        kept = f"after cycle {check.accepted}" if check.accepted else "E0, the encoder before training"
        outcome = f"Kept: {kept}; {reason or check.reason}."
        say(outcome)
        if config.teacher.kind == "ensemble" and name != teacher:
            say(_within_reach())
        tagger = check.tagger
        tagger.card |= {
            "outcome": outcome,
            "trained": check.accepted > 0,
            "example": excerpt(corpus.dev),
            "learned": {
                "teacher": config.teacher.name,
                "checks": check.sentences,
                "cycles": check.cycles,
                "documents": corpus.train.num_rows,
                "held_out": corpus.dev.num_rows,
                "labels": corpus.labels.num_rows,
                "cost": _sum(judge.cost, check.cost),
            },
        }
        if check.accepted:
            tagger.card["teacher"] = config.teacher.name
        if enough(found.annotated):
            calibrate_on(tagger, corpus.dev, found.annotated)
        elif check.accepted and calibrates:
            calibrate_by(tagger, corpus.dev, judge, depth=5, excluded=corpus.excluded["dev"])
        if destination is not None:
            tagger.export(destination)
            say(f"{len(tagger.labels):,} labels; tag with: lmtx tag {destination} -k 5")
        return tagger


def _judge_for(corpus: Corpus) -> str:
    """The language model alone, or with the ensemble where documents name their labels."""
    named = named_labels(corpus.train["text"].to_pylist(), corpus.labels["text"].to_pylist())
    return "combined" if np.mean(np.diff(named.indptr) > 0) >= NAMED else "qwen"


def _agree(
    plan: teachers.Plan,
    checking: teachers.Plan | None,
    others: int,
    cycles: int,
    max_cost: float | None,
    say: Callable[[str], None],
) -> None:
    """Show what judging will take, and refuse what costs more than was allowed.

    `plan` is that of cycle 1, `checking` that of a check; `others` is the number of pairs that the teacher is
    asked about besides.
    """
    say(str(plan))
    if not plan.requests:
        return

    def whole(name: str) -> float | None:
        """The sum over all cycles; a later cycle asks about the labels that are new in it, never more."""
        once, each = getattr(plan, name), getattr(checking, name) if checking else 0
        if once is None or each is None:
            return None
        return cycles * (once + each) + once * others / (plan.pairs - plan.cached)

    usd, seconds = whole("usd"), whole("seconds")
    price = "an unknown price" if usd is None else f"up to ${usd:,.2f}"
    time = "" if seconds is None else f", {duration(seconds)}"
    say(f"all {cycles} cycles with their checks: at most {whole('requests'):,.0f} requests, {price}{time}")
    if max_cost is not None and (usd is None or usd > max_cost):
        raise teachers.BudgetError(
            f"the plan of {cycles} cycles costs {price}, and --max-cost is ${max_cost:,.2f}: allow more, ask "
            "about fewer documents (training.documents), or take a cheaper model"
        )


def _sum(*costs: teachers.Cost) -> dict[str, float | None]:
    """The account of several teachers as one; an unknown price makes the sum unknown."""
    spent = [asdict(cost) for cost in costs]
    columns = {name: [one[name] for one in spent] for name in spent[0]}
    return {name: None if None in values else sum(values) for name, values in columns.items()}


def _within_reach() -> str:
    model = MODELS["qwen-1.5b"]
    return (
        f"a language model judges where letters cannot: `lmtx model qwen-1.5b` brings one here "
        f"({model.size / 1e9:.1f} GB, {model.licence}), and learning takes it by itself from then on"
    )
