"""What a verdict store holds: listed, exported to Parquet, merged with another."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lmtx.files import check_destination, replacing
from lmtx.teachers.pairs import NO, NONE, YES
from lmtx.teachers.store import StoreError, VerdictStore

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""

_WORDS = {YES: "yes", NO: "no", NONE: "none"}
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("teacher", "teacher_id", "document", "label")]
    + [("p_yes", pa.float32()), ("answer", pa.string())]
)
_SUMMARY = """
SELECT name, lower(hex(digest)), identity, ifnull(v.verdicts, 0), ifnull(yes, 0), ifnull(no, 0),
       ifnull(none, 0), ifnull(requests, 0), usd, ifnull(seconds, 0)
FROM teachers AS t
LEFT JOIN (SELECT teacher, count(*) AS verdicts, sum(answer = 1) AS yes, sum(answer = 0) AS no,
                  sum(answer = -1) AS none FROM verdicts GROUP BY teacher) AS v ON v.teacher = t.id
LEFT JOIN (SELECT teacher, sum(requests) AS requests, sum(usd) AS usd, sum(seconds) AS seconds
           FROM runs GROUP BY teacher) AS r ON r.teacher = t.id
ORDER BY t.id"""
_MERGE = (
    "INSERT INTO main.teachers (digest, name, identity) SELECT digest, name, identity FROM other.teachers"
    " WHERE true ON CONFLICT DO NOTHING",
    """
    INSERT INTO main.verdicts (key, teacher, document, label, p_yes, answer)
    SELECT v.key, mine.id, v.document, v.label, v.p_yes, v.answer FROM other.verdicts AS v
    JOIN other.teachers AS theirs ON theirs.id = v.teacher
    JOIN main.teachers AS mine ON mine.digest = theirs.digest WHERE true
    ON CONFLICT (key) DO UPDATE SET p_yes = excluded.p_yes, answer = excluded.answer
    WHERE verdicts.answer = -1 AND excluded.answer != -1""",
    """
    INSERT INTO main.texts (key, teacher, text)
    SELECT x.key, mine.id, x.text FROM other.texts AS x
    JOIN other.teachers AS theirs ON theirs.id = x.teacher
    JOIN main.teachers AS mine ON mine.digest = theirs.digest WHERE true
    ON CONFLICT DO NOTHING""",
    """
    INSERT INTO main.runs (teacher, started, seconds, verdicts, requests, prompt_tokens, answer_tokens, usd)
    SELECT mine.id, r.started, r.seconds, r.verdicts, r.requests, r.prompt_tokens, r.answer_tokens, r.usd
    FROM other.runs AS r JOIN other.teachers AS theirs ON theirs.id = r.teacher
    JOIN main.teachers AS mine ON mine.digest = theirs.digest
    WHERE NOT EXISTS (SELECT 1 FROM main.runs AS m WHERE m.teacher = mine.id AND m.started = r.started)""",
    "INSERT INTO main.collected SELECT batch FROM other.collected WHERE true ON CONFLICT DO NOTHING",
)


def summary(store: VerdictStore) -> list[dict[str, Any]]:
    """One dict a teacher: name, teacher_id, identity, verdicts, yes, no, none, requests, usd, seconds.

    `usd` is None where no run of the teacher had a known price.
    """
    names = ("name", "teacher_id", "identity", "verdicts", "yes", "no", "none", "requests", "usd", "seconds")
    rows = [dict(zip(names, row, strict=True)) for row in store.select(_SUMMARY)]
    return [row | {"identity": json.loads(row["identity"])} for row in rows]


def export(store: VerdictStore, file: str | Path, teacher: str | None = None) -> int:
    """Write the verdicts as Parquet, a block at a time; returns their number.

    Columns: teacher, teacher_id, document, label (uids), p_yes (null for none), answer ("yes", "no",
    "none"). `teacher`: a name, or the start of a teacher_id; None: all of them. Raises `StoreError` when no
    teacher matches, and `DestinationError` where the file cannot be written; it then writes nothing.
    """
    check_destination(file, begins=PARQUET, source=store.path)
    where, values = "", ()
    if teacher is not None:
        where, values = "WHERE name = ? OR hex(digest) LIKE ?", (teacher, f"{teacher}%")
        if not store.select(f"SELECT 1 FROM teachers {where}", values):
            names = ", ".join(sorted({row["name"] for row in summary(store)})) or "none"
            raise StoreError(f"{store.path} holds no verdicts of a teacher {teacher!r}; it knows: {names}")
    count = 0
    select = (
        "SELECT name, lower(hex(digest)), document, label, p_yes, answer"
        f" FROM verdicts JOIN teachers ON teachers.id = verdicts.teacher {where}"
    )
    with replacing(file) as scratch, pq.ParquetWriter(scratch, _SCHEMA) as out:
        for rows in store.query(select, values):
            *columns, answers = zip(*rows, strict=True)
            columns.append([_WORDS[a] for a in answers])
            arrays = [pa.array(c, t) for c, t in zip(columns, _SCHEMA.types, strict=True)]
            out.write_table(pa.table(arrays, schema=_SCHEMA))
            count += len(rows)
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
