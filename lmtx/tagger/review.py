"""People review a tagger: y or n to proposed labels, then precision, the better encoder, and thresholds."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from lmtx.corpus import DOCUMENT_SCHEMA
from lmtx.datasets.spool import hashes, lowest
from lmtx.files import check_destination, replacing
from lmtx.index import Shortlist
from lmtx.metrics import paired_difference
from lmtx.tagger import Tagger, TaggerError
from lmtx.tagger.calibration import PEOPLE, Calibration, fit, share
from lmtx.tagger.card import excerpt, percent
from lmtx.tagger.folders import E0, STUDENT, read_documents, systems_of
from lmtx.tagger.questions import Answers, Proposals, ask, keys, propose

# By semanlink's annotations, 50 documents choose the better of two encoders 10.7 points apart in 96 % of
# draws so. To wait for a difference beyond chance would keep the student in 86 %, were it the worse one.
RULE = (
    "The tagger uses the encoder whose first label people found right more often; at a tie the student, "
    "which passed a check before."
)


def review(
    folder: str | Path,
    documents: str | Path,
    *,
    count: int = 50,
    answers: str | Path | None = None,
    read: Callable[[str], str] | None = None,
    say: Callable[[str], None] = print,
) -> dict | None:
    """Ask about the labels of some documents; then measure, choose between student and E0, and calibrate.

    The proposals come from both encoders, and nothing says from which. Answers are written to a file as they
    are given; the same call goes on where it was left. When all are given, the tagger's folder is written
    anew with thresholds and a card that tell of them. Where people find E0 better, the tagger becomes E0, and
    the trained one moves to FOLDER.trained.

    Parameters
    ----------
    folder
        An exported tagger.
    documents
        A file or a folder, as for `learn`; best of documents that the tagger did not learn from. Annotations
        in it are not used.
    count
        How many documents are reviewed. They are drawn by hashes of their uids: a larger number adds some.
    answers
        The file of the answers; None: FOLDER.review.jsonl.
    read
        Shows a question and returns the answer; None: a key of the terminal, elsewhere (in a notebook, say)
        a line.
    say
        Shows a line of text.

    Returns the card's `review`: shares with their 95 % intervals, and which encoder the tagger uses; None
    when it was left before the end. Raises `CorpusError`, `TaggerError`, `EncoderError` or
    `DestinationError`, before the first question, when documents, answers or tagger cannot be used.
    """
    place, folder = folder, Path(folder).resolve()
    file = folder.with_name(f"{folder.name}.review.jsonl") if answers is None else Path(answers)
    check_destination(file, source=documents)
    systems = systems_of(folder)
    check_destination(folder, folder=True)
    given = Answers(file)
    drawn = _draw(systems[E0], documents, count)
    for document in drawn.to_pylist():
        given.check(document)
    proposals = propose(systems, drawn)
    with nullcontext(read) if read else keys() as reading:
        finished = ask(proposals, given, reading, say)
    if not finished:
        say(f"the answers are in {file}; the same command goes on from there")
        return None

    # The answers as they lie in `proposals.ids`; a pad counts as skipped.
    uids, names = drawn["uid"].to_pylist(), proposals.labels["uid"].to_pylist()
    said = np.array(
        [
            [given.get(uid, names[label]) if label >= 0 else "s" for label in ids]
            for uid, ids in zip(uids, proposals.ids.tolist(), strict=True)
        ]
    )
    # Precision of all, P@1 of each system, and which is used.
    result = _compare(proposals, said)
    say(f"{result['answers']:,} answers on {len(uids):,} documents, in {file}")
    say(f"  proposals that fit, %  {percent(result['yes'])}, a 95 % interval in brackets")
    for name, value in result["first"].items():
        say(f"  P@1 of {name}, %  {percent(value)}")
    if "difference" in result:
        say(f"{result['difference']}. {RULE}")
    # Thresholds for that one, and the folder, with a card that tells of it.
    tagger = systems[result["uses"]]
    calibration = _calibration(proposals, proposals.rankings[result["uses"]], said)
    tagger.calibration = calibration or tagger.calibration
    storage = tagger.labels.storage
    tagger.card |= {"review": result, "example": excerpt(drawn)}
    if result["uses"] == E0 and STUDENT in systems:
        storage = systems[STUDENT].labels.storage
        tagger.card = _without_student(folder, tagger.card)
    if "outcome" in tagger.card:
        say(tagger.card["outcome"])
    tagger.export(folder, storage)
    if calibration is None:
        say("no thresholds: too few answers, or the share of yes does not rise with the score")
    else:
        last = calibration.thresholds[-1].wanted
        say(f"thresholds up to a precision of {last:.0%}: lmtx tag {place} --precision {last:.2f}")
    return result


def _draw(tagger: Tagger, source: str | Path, count: int) -> pa.Table:
    if count < 1:
        raise TaggerError(f"the number of documents is {count}; at least 1 is needed")
    with TemporaryDirectory(prefix="lmtx-review-") as scratch:
        side = read_documents(tagger, source, Path(scratch))
        side.check_uids()
        if not len(side):
            raise TaggerError(f"{source} holds no documents")
        table = side.table().cast(DOCUMENT_SCHEMA)
        rows = lowest(hashes(pa.chunked_array(table["uid"]), "review"), np.arange(len(table)), count)
        return table.take(pa.array(rows))


def _compare(proposals: Proposals, said: np.ndarray) -> dict:
    """Shares of yes; P@1 of each system, where all first labels are answered; and which system is used.

    `said`, (n, SHOWN), are keys of `COLUMNS`.
    """
    told, yes = said != "s", said == "y"
    first = {name: proposals.ids == ranking.ids[:, :1] for name, ranking in proposals.rankings.items()}
    rows = np.all([(told & here).any(axis=1) for here in first.values()], axis=0)
    if not rows.any():
        raise TaggerError("of every document a first label was skipped; there is nothing to measure")
    right = {name: (yes & here).any(axis=1)[rows].astype(float) for name, here in first.items()}
    result = {
        "first": {name: share(of, np.ones(len(of))) for name, of in right.items()},
        "uses": E0,
        "documents": len(said),
        "answers": int(told.sum()),
        "yes": share(yes.sum(axis=1), told.sum(axis=1)),
    }
    if STUDENT in right:
        gain = {k: 100 * v for k, v in paired_difference(right[STUDENT], right[E0]).items()}
        chance = (
            "chance may explain that" if gain["low"] <= 0 <= gain["high"] else "more than chance explains"
        )
        result["uses"] = STUDENT if gain["value"] >= 0 else E0
        result["rule"] = RULE
        result["difference"] = (
            f"The student's first label against E0's: {gain['value']:+.1f} [{gain['low']:+.1f}, "
            f"{gain['high']:+.1f}] points, better for {(right[STUDENT] > right[E0]).sum():,} and worse for "
            f"{(right[E0] > right[STUDENT]).sum():,} of {len(right[E0]):,} documents: {chance}"
        )
    return result


def _calibration(proposals: Proposals, ranking: Shortlist, said: np.ndarray) -> Calibration | None:
    """From the answers to the first labels of one system, each for as many as it stands for."""
    same = proposals.ids[:, :, None] == ranking.ids[:, None, :]
    rows, places, ranks = np.nonzero(same & (said != "s")[:, :, None])
    return fit(
        ranking.scores[rows, ranks],
        said[rows, places] == "y",
        rows,
        judge=PEOPLE,
        documents=len(said),
        depth=ranking.ids.shape[1],
        weights=proposals.weights[rows, places],
    )


def _without_student(folder: Path, card: dict) -> dict:
    """The card of E0 in the student's place; the student's folder is copied to one beside, unless it was."""
    aside = card.get("set_aside")
    if aside is None:
        names = (f"{folder.name}.trained{number}" for number in ("", *(f"-{n}" for n in range(2, 100))))
        aside = next(name for name in names if not folder.with_name(name).exists())
        with replacing(folder.with_name(aside)) as scratch:
            shutil.copytree(folder, scratch)
    first = card["review"]["first"]
    outcome = (
        f"This is E0, the encoder before training: people found its first label right in "
        f"{percent(first[E0])} % of the documents, the student's in {percent(first[STUDENT])} %. "
        f"The student is in `{aside}`."
    )
    # The study's figures are those of the student.
    measured = {name: value for name, value in card.items() if name not in ("results", "teacher")}
    return measured | {"trained": False, "set_aside": aside, "outcome": outcome}
