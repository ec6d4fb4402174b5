"""pydocs: the documentation of installed libraries, annotated by its "See Also" sections.

A document is a public function, class or method with its docstring. Each is also a label, `name: summary`.
The annotations are the docstrings' See Also sections, which are cut out of the documents' texts. The data
set needs no download; its manifest names the versions of the libraries.

A separate process imports the libraries (`lmtx.datasets.pydocs.scan`), so this one keeps its modules,
warnings and settings.
"""

import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from lmtx.config import PydocsConfig
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA, Corpus, CorpusError, csr_from_lists
from lmtx.datasets import Reading

EXAMPLES = 20  # unresolved entries that the manifest shows
LONG = 25  # words; a label ends after its first sentence then


def read(config: PydocsConfig, root: Path, scratch: Path) -> Reading:
    """Read the documentation of `config.libraries`, which must be installed; no file is read.

    Hashes of the names decide the splits, so that few documents change theirs when a new version of a library
    adds or drops some.

    Raises `CorpusError` when a library is not installed or fails to import, or there are too few documents.
    """
    libraries = list(dict.fromkeys(config.libraries))
    for library in libraries:
        if not library.isidentifier():
            raise CorpusError(
                f"{library!r} in dataset.libraries is not the name of a top-level package, such as 'scipy'"
            )
        if importlib.util.find_spec(library) is None:
            raise CorpusError(
                f"the library {library!r} is not installed; install it, or remove it from dataset.libraries"
            )
    scanned = _scan_elsewhere(libraries)
    pages = [page for page in scanned["pages"] if page["callable"] and page["words"] >= config.min_words]
    ids = {page["uid"]: i for i, page in enumerate(pages)}
    truth = {
        page["uid"]: sorted({ids[uid] for uid in page["see_also"].values() if uid in ids} - {i})
        for i, page in enumerate(pages)
    }
    splits = _split(truth, config)
    texts = {page["uid"]: "\n".join(filter(None, (page["summary"], page["body"]))) for page in pages}
    tables = {
        split: pa.table({"uid": uids, "title": uids, "text": [texts[uid] for uid in uids]}, DOCUMENT_SCHEMA)
        for split, uids in splits.items()
    }
    names = [f"{page['uid']}: {_one_line(page['summary'])}" for page in pages]
    labels = pa.table({"uid": list(ids), "text": names}, LABEL_SCHEMA)
    excluded = {s: csr_from_lists([[ids[uid]] for uid in uids], len(ids)) for s, uids in splits.items()}
    annotated = {split: [truth[uid] for uid in uids] for split, uids in splits.items()}
    matrices = {split: csr_from_lists(rows, len(ids)) for split, rows in annotated.items()}
    corpus = Corpus(**tables, labels=labels, excluded=excluded).validate("pydocs")
    manifest = _manifest(scanned, pages, truth, splits)
    # The content is the documents, the labels and the annotations, in order.
    rows = [[list(row.values()) for row in table.to_pylist()] for table in (*tables.values(), labels)]
    content = json.dumps([rows, list(annotated.values())])
    manifest["content_sha256"] = hashlib.sha256(content.encode()).hexdigest()
    return Reading(corpus, matrices, manifest)


def _scan_elsewhere(libraries: list[str]) -> dict[str, Any]:
    """Run `lmtx.datasets.pydocs.scan` in a process of its own, with this one's import path."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "pages.json"
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-m", f"{__name__}.scan", str(result), *libraries],
            env={
                **os.environ,
                "MPLBACKEND": "Agg",  # no window, whatever a library does when it is imported
                "PYTHONHASHSEED": "0",  # some docstrings are made from sets
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode or not result.is_file():
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise CorpusError(f"the documentation of {', '.join(libraries)} cannot be read: {last}")
        scanned = json.loads(result.read_text(encoding="utf-8"))
    for library in libraries:
        if library in scanned["failed"]:
            raise CorpusError(
                f"the library {library!r} cannot be imported ({scanned['failed'][library]}); "
                "repair its installation, or remove it from dataset.libraries"
            )
    return scanned


def _split(truth: dict[str, list[int]], config: PydocsConfig) -> dict[str, list[str]]:
    """Return the uids of each split, in the order of their hashes, salted with the split's name."""
    annotated = _by_hash((uid for uid, labels in truth.items() if labels), "test")
    rest = len(truth) - config.test_documents - config.dev_documents
    if len(annotated) < config.test_documents or rest < 1:
        raise CorpusError(
            f"pydocs: {', '.join(dict.fromkeys(config.libraries))} give {len(truth)} documents, "
            f"{len(annotated)} with a See Also; not enough for {config.test_documents} test documents "
            f"with one, {config.dev_documents} dev documents and some to train on; lower "
            "dataset.test_documents or dataset.dev_documents, or add to dataset.libraries"
        )
    test = annotated[: config.test_documents]
    others = _by_hash(truth.keys() - set(test), "dev")
    dev = others[: config.dev_documents]
    train = _by_hash(others[config.dev_documents :], "train")[: config.train_documents]
    return {"train": train, "dev": dev, "test": test}


def _by_hash(uids: Iterable[str], salt: str) -> list[str]:
    return sorted(uids, key=lambda uid: hashlib.sha256(f"{salt}\0{uid}".encode()).digest())


def _one_line(summary: str) -> str:
    """Return the summary, or its first sentence if the summary is a long paragraph."""
    sentence = re.match(r"(\S+ ){3,}?\S+[.!?](?= [A-Z])", summary)
    return sentence.group() if sentence and len(summary.split()) > LONG else summary


def _manifest(
    scanned: dict[str, Any], pages: list[dict], truth: dict[str, list[int]], splits: dict[str, list[str]]
) -> dict[str, Any]:
    entries = [(page["uid"], *entry) for page in pages for entry in page["see_also"].items()]
    unresolved = [f"{uid}: {written}" for uid, written, target in entries if target is None]
    to_itself = sum(uid == target for uid, _, target in entries)
    dropped = sum(target is not None and target not in truth for _, _, target in entries)
    annotated = [labels for labels in truth.values() if labels]
    pairs = sum(map(len, annotated))
    attributes = sum(not page["callable"] for page in scanned["pages"])
    return {
        "python": platform.python_version(),
        "libraries": scanned["libraries"],
        "modules_not_imported": scanned["failed"],
        "objects": len(scanned["pages"]) + scanned["identical"],
        "aliases": scanned["names"] - len(scanned["pages"]) - scanned["identical"],
        "identical_docstrings_merged": scanned["identical"],
        "attributes_left_out": attributes,
        "near_empty_dropped": len(scanned["pages"]) - attributes - len(pages),
        "documents": len(pages),
        "documents_by_library": dict(sorted(Counter(page["library"] for page in pages).items())),
        "labels": len(pages),
        "splits": {split: len(uids) for split, uids in splits.items()},
        "with_truth": len(annotated),
        "truth_pairs": pairs,
        "truth_labels": len({label for labels in annotated for label in labels}),
        "mean_labels_per_document": round(pairs / max(len(annotated), 1), 3),
        "see_also_entries": len(entries),
        "see_also_resolved": len(entries) - len(unresolved) - to_itself - dropped,
        "see_also_to_itself": to_itself,
        "see_also_to_no_document": dropped,
        "see_also_unresolved": len(unresolved),
        "unresolved_examples": unresolved[:: max(1, len(unresolved) // EXAMPLES)][:EXAMPLES],
    }
