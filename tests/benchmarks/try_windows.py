"""What of a long document should count: its first window, the mean of all, or the best for each label?

    python tests/benchmarks/try_windows.py models/pydocs/zero-shot --tokens 64 128 256

P@1 and R@10 of a study's system on its annotated test documents, by the length of a window and by
`lmtx.tagger.windows`. A model that the study trained was trained on first windows.
"""

import argparse
from pathlib import Path
from typing import get_args

from lmtx.corpus import load_corpus, load_truth
from lmtx.encoder import Encoder
from lmtx.metrics import evaluate
from lmtx.tagger import LabelIndex
from lmtx.tagger.folders import study_of
from lmtx.tagger.windows import Windows, longer, nearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, help="models/DATASET/SYSTEM of a study")
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 128, 256])
    chosen = parser.parse_args()
    study = study_of(chosen.model)
    corpus, truth = load_corpus(study.corpus), load_truth(study.truth, "test")
    excluded = corpus.excluded["test"]
    for tokens in chosen.tokens:
        config = study.config.encoder.model_copy(update={"document_tokens": tokens})
        encoder = Encoder.load(config, chosen.model)
        labels = LabelIndex(corpus.labels, encoder.encode_labels(corpus.labels))
        print(f"windows of {tokens} tokens; {longer(encoder, corpus.test, 'best')}")
        for windows in get_args(Windows):
            ranking = nearest(encoder, labels, corpus.test, windows, 10, excluded)
            metrics = evaluate(ranking.ids, truth, cutoffs=[1, 10], excluded=excluded)["metrics"]
            told = (f"{name} {100 * metrics[name]['value']:.1f}" for name in ("P@1", "R@10"))
            print(f"    {windows:>5}: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
