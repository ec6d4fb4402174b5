"""Whether `lmtx learn` keeps its word on small data sets of different fields, with a teacher of your choice.

    python tests/benchmarks/try_learning.py --teacher ensemble menus library

For each set: the words printed, P@1 of E0 and of the tagger by the truth, and their difference with its 95 %
interval. With `--errs 0.2` the teacher is a server that answers from the truth but for a fifth of the pairs.
With `--teacher qwen --record tests/verdicts` the verdicts are recorded, for the tests that have no model; the
taggers and their stores are in scratch/own-sets, so that an interrupted run goes on.
"""

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
import pytest
from own_sets import SETS, right, truthful, untrained

from lmtx import learn
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA, Corpus
from lmtx.metrics import paired_difference
from lmtx.tagger.checking import Opinion
from lmtx.teachers import VerdictStore
from lmtx.teachers.records import summary, write_record

TAGGERS = Path("scratch/own-sets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--teacher", default="ensemble")
    parser.add_argument("--errs", type=float)
    parser.add_argument("--documents", type=int, help="at most so many to learn from")
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--record", type=Path, help="the folder to record verdicts in")
    parser.add_argument("--set", nargs="+", default=[], help="parameters of the study")
    parser.add_argument("--unchecked", action="store_true", help="keep each student, whatever the check says")
    chosen = parser.parse_args()
    teacher = chosen.teacher if chosen.errs is None else "openai"
    if chosen.unchecked:
        Opinion.accepted = property(lambda opinion: True)
    for name in chosen.sets:
        learning, labels, measured = SETS[name]()
        texts = list(learning)[: chosen.documents]
        folder = TAGGERS / name.replace(" ", "-") if chosen.record else None
        patch = pytest.MonkeyPatch()
        judge = nullcontext() if chosen.errs is None else truthful(learning, labels, patch, chosen.errs)
        started = time.monotonic()
        with judge:
            tagger = learn(
                texts,
                labels,
                teacher=teacher,
                cycles=chosen.cycles,
                destination=folder,
                records=folder and chosen.record / folder.name,
                settings=chosen.set,
                say=lambda line: print(f"    {line}", flush=True),
            )
        seconds = time.monotonic() - started
        before, after = right(untrained(tagger), measured), right(tagger, measured)
        gain = {key: 100 * value for key, value in paired_difference(after * 1.0, before * 1.0).items()}
        print(
            f"{name}: {len(texts)} documents, {len(labels)} labels, {seconds:.0f} s: P@1 of E0 "
            f"{before.mean():.1%}, of the tagger {after.mean():.1%}: {gain['value']:+.1f} "
            f"[{gain['low']:+.1f}, {gain['high']:+.1f}] points on {len(measured)} documents",
            flush=True,
        )
        if folder:
            record(Path(f"{folder}.verdicts.sqlite"), texts, labels, chosen.record / folder.name)


def record(path: Path, texts: list[str], labels: list[str], folder: Path) -> None:
    """Record the verdicts of each teacher in a store."""
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    table = pa.table([numbers, [""] * len(texts), texts], schema=DOCUMENT_SCHEMA)
    corpus = Corpus(table, table[:0], table[:0], pa.table([labels, labels], schema=LABEL_SCHEMA), {})
    with VerdictStore(path) as store:
        for name in {row["name"] for row in summary(store) if row["verdicts"]}:
            write_record(store, name, corpus, folder / f"{name}.parquet")


if __name__ == "__main__":
    main()
