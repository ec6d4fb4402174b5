"""Recorded verdicts: what a study's results were made with, as Parquet files that ship with it.

`verdicts/DATASET/TEACHER.parquet` holds a row a verdict: the document's and the label's uid, p_yes (null
for none), and the store's key, a hash of the teacher's identity and both texts. So a record serves whoever
asks the same of the same texts, and nobody else. `verdicts/DATASET/TEACHER-texts.parquet` holds
the texts that a model wrote, each with its key.
"""

import hashlib
import json
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmtx.corpus import SPLITS, Corpus
from lmtx.files import check_destination, replacing
from lmtx.teachers.archive import PARQUET
from lmtx.teachers.pairs import NO, NONE, YES, Pairs
from lmtx.teachers.store import KEY_BYTES, StoreError, VerdictStore

FORMAT = 1
_VERDICTS = pa.schema(
    [
        ("document", pa.string()),
        ("label", pa.string()),
        ("p_yes", pa.float32()),
        ("key", pa.binary(KEY_BYTES)),
    ]
)
_TEXTS = pa.schema([("key", pa.binary(KEY_BYTES)), ("text", pa.string())])
_TOTALS = ("verdicts", "requests", "prompt_tokens", "answer_tokens", "seconds")


def write_record(store: VerdictStore, name: str, corpus: Corpus, file: str | Path) -> int:
    """Record a teacher's verdicts on a corpus; returns their number.

    Raises `StoreError` when the store has none, and `DestinationError` where the file cannot be written.
    """
    check_destination(file, begins=PARQUET, source=store.path)
    documents = pa.concat_tables([corpus.documents(split) for split in SPLITS])["uid"]
    columns: list[list] = [[], [], [], []]
    select = (
        "SELECT document, label, p_yes, key FROM verdicts WHERE teacher = ? ORDER BY document, label, key"
    )
    teacher, metadata = _describe(store, name, "judge")
    for rows in store.query(select, (teacher,)):
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(values)
    table = pa.table(
        [pa.array(c, t) for c, t in zip(columns, _VERDICTS.types, strict=True)], schema=_VERDICTS
    )
    here = pc.and_(
        pc.is_in(table["document"], pc.unique(documents)),
        pc.is_in(table["label"], corpus.labels["uid"].combine_chunks()),
    )
    return _write(table.filter(here), metadata, store, name, file)


def write_texts(store: VerdictStore, name: str, file: str | Path) -> int:
    """Record all texts that a model wrote; returns their number, and raises as `write_record`."""
    check_destination(file, begins=PARQUET, source=store.path)
    teacher, metadata = _describe(store, name, "write")
    rows = store.select("SELECT key, text FROM texts WHERE teacher = ? ORDER BY key", (teacher,))
    table = pa.table([list(column) for column in zip(*rows, strict=True)] or [[], []], schema=_TEXTS)
    return _write(table, metadata, store, name, file)


def read_record(
    store: VerdictStore,
    teacher: int,
    identity: dict[str, Any],
    file: str | Path,
    corpus: Corpus | None = None,
) -> int:
    """Take the verdicts, or the texts, of a record into the store; returns how many it holds.

    A record of another identity is left alone, with a warning that names the difference. So is one that was
    taken over before, without one.

    Parameters
    ----------
    teacher, identity
        The teacher's row id in the store, and what it is.
    file
        The record; 0 is returned where there is none.
    corpus
        Whose uids the verdicts must have; None: any.

    Raises
    ------
    StoreError
        When the file is no record, or has a newer format, a p_yes outside [0, 1] or an unknown uid.
    """
    file = Path(file)
    if not file.is_file():
        return 0
    mark = f"record {hashlib.sha256(file.read_bytes()).hexdigest()}"
    try:
        schema = pq.read_schema(file)
        told = json.loads((schema.metadata or {})[b"lmtx"])
        told_format, told_identity = told["format"], told["identity"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file} is no record of verdicts ({error}); restore it from git") from None
    if told_format > FORMAT:
        raise StoreError(f"{file} has the format {told_format}, and this version reads {FORMAT}; update lmtx")
    if told_identity != identity:
        differs = [k for k in {*told_identity, *identity} if told_identity.get(k) != identity.get(k)]
        warnings.warn(
            f"{file} is not used: it records {told['teacher']} with another {', '.join(sorted(differs))}",
            stacklevel=2,
        )
        return 0
    if store.is_collected(mark):
        return pq.read_metadata(file).num_rows
    table = pq.read_table(file)
    if "text" in table.column_names:
        texts = dict(zip(table["key"].to_pylist(), table["text"].to_pylist(), strict=True))
        store.save_texts(teacher, texts)
    else:
        _check(table, file, corpus)
        p_yes = table["p_yes"].to_numpy()
        answer = np.where(np.isnan(p_yes), NONE, np.where(p_yes >= 0.5, YES, NO)).astype(np.int8)
        keys = np.frombuffer(b"".join(table["key"].to_pylist()), dtype=np.uint8).reshape(-1, KEY_BYTES)
        documents, labels = table["document"].to_pylist(), table["label"].to_pylist()
        store.save(teacher, keys, documents, labels, p_yes, answer)
    store.mark_collected(mark)
    return table.num_rows


def recorded_pairs(file: str | Path, corpus: Corpus) -> tuple[Pairs, np.ndarray]:
    """The pairs of a record, those of one document together, and their p_yes, float32 (n,).

    Raises `StoreError` for what `read_record` refuses.
    """
    table = pq.read_table(file)
    _check(table, Path(file), corpus)
    documents = pa.concat_tables([corpus.documents(split) for split in SPLITS])
    rows = pc.index_in(table["document"], documents["uid"].combine_chunks()).to_numpy()
    columns = pc.index_in(table["label"], corpus.labels["uid"].combine_chunks()).to_numpy()
    order = np.argsort(rows, kind="stable")
    pairs = Pairs(documents, corpus.labels, rows[order], columns[order])
    return pairs, table["p_yes"].to_numpy()[order]


def _check(table: pa.Table, file: Path, corpus: Corpus | None) -> None:
    p_yes = table["p_yes"].to_numpy()
    wrong = np.flatnonzero((p_yes < 0) | (p_yes > 1))
    if len(wrong):
        raise StoreError(f"{file}, row {wrong[0]}: p_yes is {p_yes[wrong[0]]}; expected 0 to 1")
    if corpus is None:
        return
    uids_of = {
        "document": pa.concat_tables([corpus.documents(split) for split in SPLITS])["uid"].combine_chunks(),
        "label": corpus.labels["uid"].combine_chunks(),
    }
    for column, uids in uids_of.items():
        unknown = pc.invert(pc.is_in(table[column], uids))
        if pc.any(unknown).as_py():
            row = pc.index(unknown, True).as_py()
            raise StoreError(
                f"{file}, row {row}: the {column} {table[column][row].as_py()!r} is not in this corpus; the "
                "record is of another data set or version of it"
            )


def _describe(store: VerdictStore, name: str, task: str) -> tuple[int, dict[str, Any]]:
    """The row id of the teacher of that name that did most of a task, and what a record says of it."""
    table = "texts" if task == "write" else "verdicts"
    select = (
        f"SELECT t.id, t.identity, (SELECT count(*) FROM {table} WHERE teacher = t.id) AS n"
        " FROM teachers AS t WHERE t.name = ? ORDER BY n DESC LIMIT 1"
    )
    (teacher, identity, count), *_ = store.select(select, (name,)) or [(None, None, 0)]
    if not count:
        raise StoreError(f"{store.path} holds no {table} of a teacher {name!r}")
    totals = f"SELECT {', '.join(f'sum({name})' for name in _TOTALS)} FROM runs WHERE teacher = ?"
    (spent,) = store.select(totals, (teacher,))
    return teacher, {
        "format": FORMAT,
        "teacher": name,
        "identity": json.loads(identity),
        "spent": dict(zip(_TOTALS, spent, strict=True)),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def _write(
    table: pa.Table, metadata: dict[str, Any], store: VerdictStore, name: str, file: str | Path
) -> int:
    if not table.num_rows:
        raise StoreError(f"{store.path} holds nothing of {name!r} on this corpus")
    with replacing(file) as scratch:
        pq.write_table(
            table.replace_schema_metadata({"lmtx": json.dumps(metadata, sort_keys=True)}),
            scratch,
            compression="zstd",
            use_dictionary=["document", "label"] if "label" in table.column_names else False,
        )
    return table.num_rows
