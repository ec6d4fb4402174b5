"""`lmtx tag` from its start: the first answer, each document after it, and memory.

Against a script of a dozen lines with sentence-transformers, which reads everything and then answers.
Both tag the same documents with the same labels, in turn, each time in a new process; medians are
compared. Processor time is given too, for a machine that has other work.

    python tests/benchmarks/bench_tag.py --documents 1000 --labels 131072 --rounds 3
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rows import Row, apart, options, report

from lmtx.config import load_config
from lmtx.encoder import Encoder
from lmtx.tagger import Tagger
from lmtx.tagger.labels import LabelIndex, label_table

ALONE = "each after it"  # the script has all answers at once
PARTS = {"first answer": "s", ALONE: "ms", "all answers": "s", "processor time": "s", "peak memory": "MiB"}
PLAIN = """
import json, sys
import numpy as np, pyarrow.parquet as pq, torch
from sentence_transformers import SentenceTransformer, util
folder, k = sys.argv[1], 5
model = SentenceTransformer(folder)
names = pq.read_table(folder + "/labels.parquet")["text"].to_pylist()
labels = torch.from_numpy(np.load(folder + "/labels.npy"))
texts = [json.loads(line)["text"] for line in sys.stdin]
vectors = model.encode(texts, normalize_embeddings=True, convert_to_tensor=True)
for found in util.semantic_search(vectors, labels, top_k=k):
    print(json.dumps([[names[hit["corpus_id"]], hit["score"]] for hit in found]), flush=True)
"""


def make_tagger(folder: Path, labels: int) -> None:
    """E0 with random label vectors: a search takes as long, whatever they are."""
    encoder = Encoder.load(load_config().encoder)
    vectors = np.random.default_rng(0).standard_normal((labels, encoder.dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = label_table([f"label number {i}" for i in range(labels)])
    Tagger(encoder, LabelIndex(table, vectors), {}).export(folder)
    Tagger(encoder, LabelIndex(table, vectors), {}).export(f"{folder}-int8", storage="int8")


def measure(command: list[str], documents: Path) -> dict[str, float]:
    """What `PARTS` names, in its units."""
    count = sum(1 for _ in documents.open())
    started = time.perf_counter()
    with documents.open() as given, open(os.devnull, "w") as nothing:
        process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=nothing)
    process.stdout.readline()
    first = time.perf_counter() - started
    answered = 1 + sum(1 for _ in process.stdout)
    total = time.perf_counter() - started
    _, status, usage = os.wait4(process.pid, 0)
    process.stdout.close()
    if status or answered != count:
        raise SystemExit(f"{' '.join(command[:4])} … ended with {status} after {answered} answers")
    return {
        "first answer": first,
        ALONE: 1000 * (total - first) / max(1, count - 1),
        "all answers": total,
        "processor time": usage.ru_utime + usage.ru_stime,
        "peak memory": usage.ru_maxrss / 1024,
    }


def main() -> None:
    chosen = options(__doc__, documents=1000, labels=131_072)
    rng = np.random.default_rng(0)
    words = ["the", "of", "to", "and", "in", "is", "for", "that", "it", "as", "was", "with", "be", "by", "on"]
    with TemporaryDirectory() as scratch:
        documents = Path(scratch) / "documents.jsonl"
        with documents.open("w") as file:
            for _ in range(chosen.documents):
                file.write(json.dumps({"text": " ".join(rng.choice(words, 100))}) + "\n")
        folder = Path(scratch) / "tagger"
        # Apart, for the peak memory of a new process begins with that of its parent.
        apart(make_tagger, folder, chosen.labels)
        ways = {
            "lmtx tag": [sys.executable, "-m", "lmtx.cli", "tag", str(folder), "-k", "5"],
            "lmtx tag, int8": [sys.executable, "-m", "lmtx.cli", "tag", f"{folder}-int8", "-k", "5"],
            "sentence-transformers": [sys.executable, "-c", PLAIN, str(folder)],
        }
        found = {name: [] for name in ways}
        for _ in range(chosen.rounds):
            for name, command in ways.items():
                found[name].append(measure(command, documents))
    size = f"{chosen.documents:,} documents, {chosen.labels:,} labels"
    for part, unit in PARTS.items():
        theirs = [each[part] for each in found["sentence-transformers"]]
        for name in ("lmtx tag", "lmtx tag, int8"):
            mine = [each[part] for each in found[name]]
            other = (None, None) if part == ALONE else ("a sentence-transformers script", theirs)
            report(chosen, Row.of("Tagging", f"{size}: {part}", (name, other[0]), mine, other[1], unit=unit))


if __name__ == "__main__":
    main()
