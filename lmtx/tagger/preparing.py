"""What `learn` begins with: one's own documents and labels, and parameters that suit so many of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import Config, Describe, load_presets
from lmtx.corpus import DOCUMENT_SCHEMA, Corpus
from lmtx.datasets.own import Labels, read_side
from lmtx.datasets.spool import hashes, lowest
from lmtx.encoder import Encoder
from lmtx.tagger.labels import TaggerError
from lmtx.tagger.opinion import FEWEST
from lmtx.tagger.windows import limit_of

YES_A_DOCUMENT = 1.2
"""Labels that the teacher is to accept for a document, on average: few sure ones teach more than many."""
STEPS = 60
"""Training steps that a cycle is to have at least, as far as four passes give them."""
LEAST = 8
"""Documents to learn from at least."""
_READ = 512  # tokens of a document, or what the encoder reads where that is less


Source = str | Path | Sequence[str]


@dataclass(frozen=True)
class Sources:
    """What there is to learn from.

    `annotated` are people's answers on the held-out documents, boolean CSR (n_dev, L); they only check.
    """

    corpus: Corpus
    annotated: sp.csr_array


def read_sources(
    documents: Source,
    labels: Source,
    scratch: Path,
    free: bool,
    language: str | None,
    describe: Describe,
    say: Callable[[str], None],
) -> Sources:
    """Documents and labels, read as the study reads one's own; a part is held out.

    Annotated documents are held out first; else a tenth, or a quarter where the check is `free`. `language`
    and `describe` are for a SKOS vocabulary (`lmtx.datasets.skos.read`).
    """
    files = [Path(source).absolute() for source in (documents, labels) if isinstance(source, str | Path)]
    if len(files) == 2 and files[0] == files[1]:
        raise TaggerError(f"documents and labels are the same file, {documents}; name one of each")
    known = Labels(_file(labels, scratch / "labels.jsonl"), language, describe)
    if known.note:
        say(known.note)
    side = read_side(_file(documents, scratch / "documents.jsonl"), known, scratch)
    side.check_uids()
    table = known.table()
    shape = len(side.spool), table.num_rows
    if shape[1] < 2:
        raise TaggerError(f"{known.path} holds one label; at least 2 are needed, or every document has it")
    if shape[0] < LEAST:
        raise TaggerError(
            f"{side.source} holds {shape[0]} documents; at least {LEAST} are needed to learn from"
        )
    found = side.spool.table().cast(DOCUMENT_SCHEMA)
    annotated = side.spool.truth(shape[1])
    known_rows = np.flatnonzero(np.diff(annotated.indptr))
    uids = pa.chunked_array(found["uid"])
    if enough(annotated):
        dev = lowest(hashes(uids, "dev"), known_rows, min(len(known_rows), shape[0] // 2, 500))
    else:
        share = shape[0] // 4 if free else max(shape[0] // 10, min(60, shape[0] // 4))
        dev = lowest(hashes(uids, "dev"), np.arange(shape[0]), min(share, 500))
    dev = np.sort(dev)
    train = np.setdiff1d(np.arange(shape[0]), dev)
    parts = {"train": train, "dev": dev, "test": np.arange(0)}
    excluded = {split: sp.csr_array((len(rows), shape[1]), dtype=bool) for split, rows in parts.items()}
    tables = {split: found.take(pa.array(rows)) for split, rows in parts.items()}
    return Sources(Corpus(**tables, labels=table, excluded=excluded), sp.csr_array(annotated[dev]))


def _file(source: Source, made: Path) -> Path:
    """The path of a source; texts are written to the file `made` first."""
    if isinstance(source, str | Path):
        return Path(source).absolute()
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in source]
    made.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def settings_for(name: str, corpus: Corpus, max_cost: float | None, settings: Sequence[str]) -> Config:
    """The parameters for so many documents and labels."""
    n, n_labels = corpus.train.num_rows, corpus.labels.num_rows
    size = min(10, max(2, -(-n_labels // 3)))
    batch = 16 if n < 1000 else 32
    epochs = min(4, max(1, round(STEPS * batch / n)))
    chosen = [
        f"encoder.document_tokens={_READ}",
        f"shortlist.size={size}",
        "shortlist.lexical_weight=0.5",
        f"training.batch_size={batch}",
        f"training.epochs={epochs}",
    ]
    # How many of its pairs a teacher accepts is a share, whatever the model thinks of a yes.
    if name in ("combined", "qwen", "huggingface", "ensemble"):
        chosen.append(f"teacher.acceptance={min(0.5, YES_A_DOCUMENT / size):.3f}")
    if name != "ensemble":
        chosen.append("teacher.centred=true")
    if max_cost is not None and name == "openai":
        chosen.append(f"teacher.max_cost={max_cost}")
    return load_presets(["dataset=own", f"teacher={name}"], [*chosen, *settings])


def read_whole(config: Config, e0: Encoder) -> Config:
    """The parameters with documents read as far as the encoder can."""
    encoder = config.encoder.model_copy(update={"document_tokens": limit_of(e0)})
    return config.model_copy(update={"encoder": encoder})


def enough(annotated: sp.csr_array) -> bool:
    """Whether so many documents are annotated, boolean CSR (n, L), that people can be the judge."""
    return int((np.diff(annotated.indptr) > 0).sum()) >= 2 * FEWEST
