"""How fast files are read and how much memory it takes, against pandas.

Files of LF-Wikipedia-500K's shape, gzipped as published, are read by our reader, which checks them and
leaves a corpus on disk, and by pandas, which parses them into memory: each time in a process of its own.
The same documents, unzipped and with named labels, are read as one's own data too.

    python tests/benchmarks/bench_reading.py --share 0.005
"""

import contextlib
import gzip
import io
import json
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from make_wikipedia_shape import make
from rows import Row, apart, options, report

from lmtx.config import DataConfig, FolderConfig, OwnConfig

COMMON = {"name": "bench", "dev_documents": 50, "train_documents": None, "propensity": "wiki"}


def main() -> None:
    chosen = options(__doc__, share=0.005)
    with TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        published, own = Path(scratch) / "published", Path(scratch) / "own"
        make(published, chosen.share)
        count = as_own(published, own)
        settings = COMMON | {"test_documents": None, "wording": "encyclopedia-category"}
        layout = FolderConfig(reader="xmc", folder=str(published), source="here", expected=None, **settings)
        files = [f"{published}/{name}.json.gz" for name in ("trn", "tst", "lbl")]
        compare(chosen, f"{count:,} documents, published layout, gzipped", layout, files)
        names = {"documents": str(own / "documents.jsonl"), "labels": str(own / "labels.jsonl")}
        layout = OwnConfig(reader="own", test=None, **names, **settings)
        compare(chosen, f"{count:,} documents, one's own JSONL", layout, list(names.values()))


def as_own(published: Path, own: Path) -> int:
    """Write the documents of both sides and the labels as a user's two files; how many documents."""
    own.mkdir()
    count = 0
    with (own / "documents.jsonl").open("w", encoding="utf-8") as out:
        for name in ("trn", "tst"):
            with gzip.open(published / f"{name}.json.gz", "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    labels = [f"L{label}" for label in row["target_ind"]]
                    row = {"uid": row["uid"], "title": row["title"], "text": row["content"], "labels": labels}
                    out.write(json.dumps(row) + "\n")
                    count += 1
    with (
        gzip.open(published / "lbl.json.gz", "rt", encoding="utf-8") as lines,
        (own / "labels.jsonl").open("w", encoding="utf-8") as out,
    ):
        for line in lines:
            row = json.loads(line)
            out.write(json.dumps({"uid": row["uid"], "text": row["title"]}) + "\n")
    return count


def compare(chosen, case: str, layout: DataConfig, files: list[str]) -> None:
    found = {"ours": [], "theirs": []}
    for number in range(chosen.rounds):
        for name in list(found)[:: -1 if number % 2 else 1]:
            found[name].append(apart(ours, layout) if name == "ours" else apart(theirs, files))
    seconds = [[each for each, _ in found[name]] for name in found]
    memory = [[each for _, each in found[name]] for name in found]
    names = ("lmtx", "pandas.read_json")
    report(
        chosen,
        Row.of("Reading", case, names, *seconds, note="ours also checks, and writes the corpus"),
        Row.of("Reading", f"{case}, peak memory", names, *memory, unit="MiB"),
    )


def ours(layout: DataConfig) -> float:
    """Seconds to a saved corpus."""
    from lmtx.datasets import read

    import_module(f"lmtx.datasets.{layout.reader}")  # which `read` would do within the time
    with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        read(layout, scratch=folder).save(f"{folder}/corpus", f"{folder}/truth")
        return time.perf_counter() - started


def theirs(files: list[str]) -> float:
    """Seconds to tables in memory."""
    import pandas as pd

    started = time.perf_counter()
    tables = [pd.read_json(file, lines=True) for file in files]
    assert all(len(table) for table in tables)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
