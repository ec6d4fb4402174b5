"""Whether `lmtx learn` keeps its word on small data sets of different fields, with a teacher of your choice.

    python tests/benchmarks/try_learning.py --teacher ensemble menus library

For each set: the words printed, P@1 of E0 and of the tagger by the truth, documents won and lost. With
`--errs 0.2` the teacher is a server that answers from the truth but for a fifth of the pairs.
"""

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from own_sets import SETS, right, truthful, untrained

from lmtx import learn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--teacher", default="ensemble")
    parser.add_argument("--errs", type=float)
    parser.add_argument("--documents", type=int, help="at most so many to learn from")
    chosen = parser.parse_args()
    teacher = chosen.teacher if chosen.errs is None else "openai"
    for name in chosen.sets:
        learning, labels, measured = SETS[name]()
        texts = list(learning)[: chosen.documents]
        judge = (
            nullcontext()
            if chosen.errs is None
            else truthful(learning, labels, pytest.MonkeyPatch(), chosen.errs)
        )
        started = time.monotonic()
        with judge:
            tagger = learn(texts, labels, teacher=teacher, say=lambda line: print(f"    {line}"))
        seconds = time.monotonic() - started
        before, after = right(untrained(tagger), measured), right(tagger, measured)
        print(
            f"{name}: {len(texts)} documents, {len(labels)} labels, {seconds:.0f} s: P@1 of E0 "
            f"{before.mean():.1%}, of the tagger {after.mean():.1%}; won {(after & ~before).sum()}, lost "
            f"{(before & ~after).sum()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
