"""Make a synthetic corpus of the shape of LF-Wikipedia-500K, to measure reading with.

    python tests/benchmarks/make_wikipedia_shape.py FOLDER --share 0.1

writes `trn.json.gz`, `tst.json.gz`, `lbl.json.gz` and the filter files as the Extreme Classification
Repository does: at share 1, 1,813,391 training and 783,743 test documents, 501,070 labels, 4.8
annotations a document. Words and annotations follow Zipf's law, lengths a log-normal one.
"""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

TRAIN, TEST, LABELS = 1_813_391, 783_743, 501_070
MEAN_LABELS = 4.8
WORDS = 809  # a document, the mean that AttentionXML (table 1) gives for the like Wiki-500K
SPREAD = 1.0  # standard deviation of the logarithm of a length
VOCABULARY = 200_000
BLOCK = 2000  # documents made at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of documents and labels")
    parser.add_argument("--seed", type=int, default=108)
    options = parser.parse_args()
    make(options.folder, options.share, options.seed)


def make(folder: Path, share: float, seed: int = 108) -> None:
    """Write the files into `folder`, which is made; `share` is of documents and labels alike."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzäöüéèñçšž"))
    words = np.array(["".join(draw.choice(letters, n)) for n in draw.integers(2, 12, VOCABULARY)])
    n_labels = max(2, round(LABELS * share))
    with gzip.open(folder / "lbl.json.gz", "wt", encoding="utf-8", compresslevel=1) as out:
        for label in range(n_labels):
            title = " ".join(words[_zipf(draw, VOCABULARY, draw.integers(1, 5))])
            out.write(json.dumps({"uid": f"L{label}", "title": title}) + "\n")
    for name, total, long_name in (("trn", TRAIN, "train"), ("tst", TEST, "test")):
        n = max(2, round(total * share))
        with gzip.open(folder / f"{name}.json.gz", "wt", encoding="utf-8", compresslevel=1) as out:
            for start in tqdm(range(0, n, BLOCK), desc=name, unit="block"):
                _block(out, draw, words, name, range(start, min(n, start + BLOCK)), n_labels)
        pairs = np.stack([np.arange(0, n, 50), draw.integers(n_labels, size=len(range(0, n, 50)))], axis=1)
        np.savetxt(folder / f"filter_labels_{long_name}.txt", pairs, fmt="%d")


def _block(out, draw: np.random.Generator, words: np.ndarray, name: str, rows: range, n_labels: int) -> None:
    lengths = np.maximum(5, draw.lognormal(np.log(WORDS) - SPREAD**2 / 2, SPREAD, len(rows))).astype(int)
    drawn = words[_zipf(draw, VOCABULARY, lengths.sum())]
    counts = 1 + draw.poisson(MEAN_LABELS - 1, len(rows))
    labels = _zipf(draw, n_labels, counts.sum())
    ends, label_ends = lengths.cumsum(), counts.cumsum()
    for i, row in enumerate(rows):
        text = drawn[ends[i] - lengths[i] : ends[i]]
        target = sorted(set(labels[label_ends[i] - counts[i] : label_ends[i]].tolist()))
        document = {
            "uid": f"{name}{row}",
            "title": " ".join(text[:3]),
            "content": " ".join(text),
            "target_ind": target,
            "target_rel": [1.0] * len(target),
        }
        out.write(json.dumps(document) + "\n")


def _zipf(draw: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Ranks 0 … n - 1 with probabilities near 1 / (rank + 1)."""
    return np.minimum((n ** draw.random(size)).astype(np.int64), n) - 1


if __name__ == "__main__":
    main()
