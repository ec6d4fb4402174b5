"""Ways out of a verdict store and into it: lists, exports, records that ship with a study, other stores.

`verdicts/DATASET/TEACHER.parquet` records the verdicts that a study's results were made with: a row a
verdict, with the document's and the label's uid, p_yes (null for none), and the store's key, a hash of the
teacher's identity and both texts. So a record serves whoever asks the same of the same texts, and nobody
else. `verdicts/DATASET/TEACHER-texts.parquet` holds the texts that a model wrote, each with its key.
"""

import hashlib
import json
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmtx.corpus import SPLITS, Corpus
from lmtx.files import check_destination, replacing
from lmtx.teachers.pairs import NO, NONE, YES, Pairs
from lmtx.teachers.store import KEY, KEY_BYTES, RUN_COLUMNS, StoreError, VerdictStore

FORMAT = 1
_PARQUET = b"PAR1"  # the first bytes of a Parquet file
_KEY = ("key", pa.binary(KEY_BYTES))
_SCHEMAS = {
    "verdicts": pa.schema([("document", pa.string()), ("label", pa.string()), ("p_yes", pa.float32()), _KEY]),
    "texts": pa.schema([_KEY, ("text", pa.string())]),
}
_ORDER = {"verdicts": "document, label, key", "texts": "key"}
_EXPORT = pa.schema(
    [(name, pa.string()) for name in ("teacher", "teacher_id", "document", "label")]
    + [("p_yes", pa.float32()), ("answer", pa.string())]
)
_TOTALS = RUN_COLUMNS[:-1]  # but for the price
_COUNTS = ("name", "teacher_id", "identity", "verdicts", "yes", "no", "none", "requests", "usd", "seconds")
_SUMMARY = """
SELECT name, lower(hex(digest)), identity, ifnull(v.verdicts, 0), ifnull(yes, 0), ifnull(no, 0),
       ifnull(none, 0), ifnull(requests, 0), usd, ifnull(seconds, 0)
FROM teachers AS t
LEFT JOIN (SELECT teacher, count(*) AS verdicts, sum(answer = 1) AS yes, sum(answer = 0) AS no,
                  sum(answer = -1) AS none FROM verdicts GROUP BY teacher) AS v ON v.teacher = t.id
LEFT JOIN (SELECT teacher, sum(requests) AS requests, sum(usd) AS usd, sum(seconds) AS seconds
           FROM runs GROUP BY teacher) AS r ON r.teacher = t.id
ORDER BY t.id"""
_MINE = "JOIN other.teachers AS theirs ON theirs.id = o.teacher JOIN main.teachers AS mine USING (digest)"
_MERGE = (
    "INSERT INTO main.teachers (digest, name, identity) SELECT digest, name, identity FROM other.teachers"
    " WHERE true ON CONFLICT DO NOTHING",
    f"""
    INSERT INTO main.verdicts (key, teacher, document, label, p_yes, answer)
    SELECT o.key, mine.id, o.document, o.label, o.p_yes, o.answer FROM other.verdicts AS o {_MINE} WHERE true
    ON CONFLICT (key) DO UPDATE SET p_yes = excluded.p_yes, answer = excluded.answer
    WHERE verdicts.answer = -1 AND excluded.answer != -1""",
    f"""
    INSERT INTO main.texts (key, teacher, text)
    SELECT o.key, mine.id, o.text FROM other.texts AS o {_MINE} WHERE true
    ON CONFLICT DO NOTHING""",
    f"""
    INSERT INTO main.runs (teacher, started, seconds, verdicts, requests, prompt_tokens, answer_tokens, usd)
    SELECT mine.id, o.started, o.seconds, o.verdicts, o.requests, o.prompt_tokens, o.answer_tokens, o.usd
    FROM other.runs AS o {_MINE}
    WHERE NOT EXISTS (SELECT 1 FROM main.runs AS m WHERE m.teacher = mine.id AND m.started = o.started)""",
    "INSERT INTO main.collected SELECT batch FROM other.collected WHERE true ON CONFLICT DO NOTHING",
)


def summary(store: VerdictStore) -> list[dict[str, Any]]:
    """One dict a teacher: name, teacher_id, identity, verdicts, yes, no, none, requests, usd, seconds.

    `usd` is None where no run of the teacher had a known price.
    """
    rows = [dict(zip(_COUNTS, row, strict=True)) for row in store.select(_SUMMARY)]
    return [row | {"identity": json.loads(row["identity"])} for row in rows]


def export(store: VerdictStore, file: str | Path, teacher: str | None = None) -> int:
    """Write the verdicts as Parquet, a block at a time; returns their number.

    Columns: teacher, teacher_id, document, label (uids), p_yes (null for none), answer ("yes", "no",
    "none"). `teacher`: a name, or the start of a teacher_id; None: all of them. Raises `StoreError` when no
    teacher matches, and `DestinationError` where the file cannot be written; it then writes nothing.
    """
    check_destination(file, begins=_PARQUET, source=store.path)
    where, values = "", ()
    if teacher is not None:
        where, values = "WHERE name = ? OR hex(digest) LIKE ?", (teacher, f"{teacher}%")
        if not store.select(f"SELECT 1 FROM teachers {where}", values):
            names = ", ".join(sorted({row["name"] for row in summary(store)})) or "none"
            raise StoreError(f"{store.path} holds no verdicts of a teacher {teacher!r}; it knows: {names}")
    select = (
        "SELECT name, lower(hex(digest)), document, label, p_yes,"
        " CASE answer WHEN 1 THEN 'yes' WHEN 0 THEN 'no' ELSE 'none' END"
        f" FROM verdicts JOIN teachers ON teachers.id = verdicts.teacher {where}"
    )
    count = 0
    with replacing(file) as scratch, pq.ParquetWriter(scratch, _EXPORT) as out:
        for table in _tables(store, select, values, _EXPORT):
            out.write_table(table)
            count += table.num_rows
    return count


def merge(store: VerdictStore, other: str | Path) -> int:
    """Take over the verdicts, written texts and runs of another store; returns how many verdicts were new.

    Where both hold a verdict or text, this store's stays, unless it is none and the other's is not. Merging
    the same store twice changes nothing the second time. `other` is not changed. Raises `StoreError`
    when `other` is missing, damaged, or the same file.
    """
    other = Path(other)
    if not other.is_file():
        raise StoreError(f"there is no verdict store {other}")
    if other.samefile(store.path):
        raise StoreError(f"{other} cannot be merged into itself")
    with VerdictStore(other, writing=False):
        pass  # a file that is damaged or something else is reported under its own name
    with store.attached(other) as connection:
        before = connection.execute("SELECT count(*) FROM main.verdicts").fetchone()[0]
        for statement in _MERGE:
            connection.execute(statement)
        return connection.execute("SELECT count(*) FROM main.verdicts").fetchone()[0] - before


def read_record(
    store: VerdictStore, teacher: int, identity: dict[str, Any], file: Path, corpus: Corpus | None = None
) -> int:
    """Take the verdicts, or the texts, of a record into the store; returns how many it holds.

    `teacher` is the teacher's row id in the store, and `corpus` has the uids of the verdicts; None: any. A
    record of another identity is left alone, with a warning that names the difference; so is one that was
    taken over before, and a file that is not there. Raises `StoreError` when the file is no record, or has a
    newer format, a p_yes outside [0, 1] or an unknown uid.
    """
    if not file.is_file():
        return 0
    # Is it of this teacher?
    told = _header(file)
    if (recorded := told["identity"]) != identity:
        differs = [key for key in {*recorded, *identity} if recorded.get(key) != identity.get(key)]
        other = f"{told['teacher']} with another {', '.join(sorted(differs))}"
        warnings.warn(f"{file} is not used: it records {other}", stacklevel=2)
        return 0
    # Was it taken over before?
    mark = f"record {hashlib.sha256(file.read_bytes()).hexdigest()}"
    if store.is_collected(mark):
        return pq.read_metadata(file).num_rows
    # Take it over.
    table = pq.read_table(file)
    if "text" in table.column_names:
        store.save_texts(teacher, dict(zip(*(table[c].to_pylist() for c in ("key", "text")), strict=True)))
    else:
        _check(table, file, corpus)
        p_yes = table["p_yes"].to_numpy()
        answer = np.where(np.isnan(p_yes), NONE, np.where(p_yes >= 0.5, YES, NO)).astype(np.int8)
        keys = np.frombuffer(b"".join(table["key"].to_pylist()), dtype=KEY)
        documents, labels = table["document"].to_pylist(), table["label"].to_pylist()
        store.save(teacher, keys, documents, labels, p_yes, answer)
    store.mark_collected(mark)
    return table.num_rows


def recorded_speed(file: Path) -> float | None:
    """Seconds a request took where the record was made; None where it does not say."""
    spent = _header(file).get("spent", {})
    return spent["seconds"] / spent["requests"] if spent.get("seconds") and spent.get("requests") else None


def recorded_pairs(file: Path, corpus: Corpus) -> tuple[Pairs, np.ndarray]:
    """The pairs of a record, those of one document together, and their p_yes, float32 (n,).

    Raises `StoreError` as `read_record`.
    """
    _header(file)
    table = pq.read_table(file)
    _check(table, file, corpus)
    documents = pa.concat_tables([corpus.documents(split) for split in SPLITS])
    rows, columns = (pc.index_in(table[name], uids).to_numpy() for name, uids in _uids(corpus).items())
    order = np.argsort(rows, kind="stable")
    pairs = Pairs(documents, corpus.labels, rows[order], columns[order])
    return pairs, table["p_yes"].to_numpy()[order]


def _tables(store: VerdictStore, select: str, values: tuple, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a SELECT as tables; the first has none."""
    yield schema.empty_table()
    for rows in store.query(select, values):
        columns = dict(zip(schema.names, zip(*rows, strict=True), strict=True))
        yield pa.Table.from_pydict(columns, schema=schema)


def _uids(corpus: Corpus) -> dict[str, pa.Array]:
    """The uids of a corpus by the columns of a record."""
    documents = pa.concat_tables([corpus.documents(split) for split in SPLITS])
    return {"document": documents["uid"].combine_chunks(), "label": corpus.labels["uid"].combine_chunks()}


def _header(file: Path) -> dict[str, Any]:
    """The teacher's name, its identity and more that a record gives; raises `StoreError` if it is none."""
    try:
        told = json.loads((pq.read_schema(file).metadata or {})[b"lmtx"])
        form, *_ = told["format"], told["teacher"], told["identity"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file} is no record of verdicts ({error}); restore it from git") from None
    if form > FORMAT:
        raise StoreError(f"{file} has the format {form}, and this version reads {FORMAT}; update lmtx")
    return told


def _check(table: pa.Table, file: Path, corpus: Corpus | None) -> None:
    p_yes = table["p_yes"].to_numpy()
    wrong = np.flatnonzero((p_yes < 0) | (p_yes > 1))
    if len(wrong):
        raise StoreError(f"{file}, row {wrong[0]}: p_yes is {p_yes[wrong[0]]}; expected 0 to 1")
    for column, uids in () if corpus is None else _uids(corpus).items():
        row = pc.index(pc.is_in(table[column], uids), False).as_py()
        if row >= 0:
            raise StoreError(
                f"{file}, row {row}: the {column} {table[column][row].as_py()!r} is not in this corpus; the "
                "record is of another data set or version of it"
            )


def write_record(store: VerdictStore, name: str, corpus: Corpus | None, file: str | Path) -> int:
    """Record a teacher's verdicts on a corpus, or, for None, all texts that a model wrote; returns how many.

    The store knows a text's prompt by its hash alone, not its corpus. Of several teachers of that name, the
    one with most is recorded. Raises `StoreError` when the store has none, and `DestinationError` where the
    file cannot be written.
    """
    kind = "texts" if corpus is None else "verdicts"
    check_destination(file, begins=_PARQUET, source=store.path)
    select = (
        f"SELECT t.id, t.identity, (SELECT count(*) FROM {kind} WHERE teacher = t.id) AS n"
        " FROM teachers AS t WHERE t.name = ? ORDER BY n DESC LIMIT 1"
    )
    (teacher, identity, count), *_ = store.select(select, (name,)) or [(None, None, 0)]
    if not count:
        raise StoreError(f"{store.path} holds no {kind} of a teacher {name!r}")
    schema = _SCHEMAS[kind]
    select = f"SELECT {', '.join(schema.names)} FROM {kind} WHERE teacher = ? ORDER BY {_ORDER[kind]}"
    table = pa.concat_tables(_tables(store, select, (teacher,), schema))
    if corpus is not None:
        table = table.filter(pc.and_(*(pc.is_in(table[name], uids) for name, uids in _uids(corpus).items())))
    if not table.num_rows:
        raise StoreError(f"{store.path} holds nothing of {name!r} on this corpus")
    totals = f"SELECT {', '.join(f'sum({name})' for name in _TOTALS)} FROM runs WHERE teacher = ?"
    told = {
        "format": FORMAT,
        "teacher": name,
        "identity": json.loads(identity),
        "spent": dict(zip(_TOTALS, *store.select(totals, (teacher,)), strict=True)),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    with replacing(file) as scratch:
        pq.write_table(
            table.replace_schema_metadata({"lmtx": json.dumps(told, sort_keys=True)}),
            scratch,
            compression="zstd",
            use_dictionary=["document", "label"] if kind == "verdicts" else False,
        )
    return table.num_rows
