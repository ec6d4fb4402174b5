"""Verdicts kept for good: one SQLite file that several processes may read and write at once.

A verdict is found by a hash of everything it depends on: the teacher's identity, the document's text and the
label's text. Whatever is run again, no verdict is asked for twice. The same holds for texts that a language
model has written, found by a hash of its identity and the prompt.

The file is in write-ahead mode, which needs a local disk, as opposed to a network share. A commit is not
forced to the disk: a process that is killed loses nothing; a power cut may lose the last seconds.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.teachers.pairs import NONE

KEY_BYTES = 16
KEY = np.dtype(f"V{KEY_BYTES}")
_APPLICATION = 0x4C4D5458  # "LMTX"
_WAIT = 60.0  # seconds to wait for another process's transaction
_KEYS, _ROWS = 10_000, 65_536  # keys in one look-up; rows of a query in memory at once
_SCHEMA = """
CREATE TABLE IF NOT EXISTS teachers (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS verdicts (
    key BLOB PRIMARY KEY, teacher INTEGER NOT NULL REFERENCES teachers, document TEXT NOT NULL,
    label TEXT NOT NULL, p_yes REAL, answer INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (
    key BLOB PRIMARY KEY, teacher INTEGER NOT NULL REFERENCES teachers, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, teacher INTEGER NOT NULL REFERENCES teachers, started REAL NOT NULL,
    seconds REAL NOT NULL, verdicts INTEGER NOT NULL, requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL, usd REAL);
CREATE TABLE IF NOT EXISTS collected (batch TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_INSERT = """
INSERT INTO verdicts (key, teacher, document, label, p_yes, answer) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET p_yes = excluded.p_yes, answer = excluded.answer
WHERE excluded.answer != -1 OR verdicts.answer = -1
"""  # an answer is never replaced by none
RUN_COLUMNS = ("verdicts", "requests", "prompt_tokens", "answer_tokens", "seconds", "usd")
"""What a run took, as the account of runs has it."""
_START = """
INSERT INTO runs (teacher, started, seconds, verdicts, requests, prompt_tokens, answer_tokens)
VALUES (?, ?, 0, 0, 0, 0, 0)"""


class StoreError(RuntimeError):
    """A store that cannot be used; the message names the file and the remedy."""


def identity_digest(identity: dict[str, Any]) -> bytes:
    """The hash of a teacher's identity, independent of the order of its keys."""
    return blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=KEY_BYTES).digest()


class VerdictStore(AbstractContextManager):
    """The verdicts of all teachers, data sets and runs, in short transactions. A context manager.

    It is for the thread that opens it; other threads and processes open the file for themselves. The file
    `path` and its folder are made when missing. Without `writing` it keeps its content, and one needs no
    right to change it. Raises `StoreError` when the file is damaged, belongs to something else, or cannot be
    opened; it is left as it is.
    """

    def __init__(self, path: str | Path, writing: bool = True):
        self.path = Path(path)
        with self._explained():
            if writing:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            uri = self.path.absolute().as_uri() if writing else _reading(self.path)
            self._connection = sqlite3.connect(uri, timeout=_WAIT, isolation_level=None, uri=True)
            tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            if tables and application != _APPLICATION:
                another = "is a SQLite file of another program; choose another path for the verdict store"
                raise StoreError(f"{self.path} {another}")
            if writing:
                self._set_up()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, values: Sequence = ()) -> Iterator[list[tuple]]:
        """Yield the rows of a SELECT, some at a time."""
        with self._explained():
            cursor = self._connection.execute(sql, values)
            while rows := cursor.fetchmany(_ROWS):
                yield rows

    def select(self, sql: str, values: Sequence = ()) -> list[tuple]:
        """All rows of a SELECT."""
        return [row for rows in self.query(sql, values) for row in rows]

    @contextmanager
    def attached(self, other: Path) -> Iterator[sqlite3.Connection]:
        """A write transaction in which the store at `other` can be read as `other`."""
        self.select("ATTACH ? AS other", (_reading(other),))
        try:
            with self._transaction() as connection:
                yield connection
        finally:
            self.select("DETACH other")

    def teacher(self, name: str, identity: dict[str, Any]) -> int:
        """The row id of the teacher with this identity, entered when new."""
        digest = identity_digest(identity)
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO teachers (digest, name, identity) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, name, json.dumps(identity, sort_keys=True, ensure_ascii=False)),
            )
            return connection.execute("SELECT id FROM teachers WHERE digest = ?", (digest,)).fetchone()[0]

    def lookup(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find stored verdicts by their keys, `KEY` (n,), in any order, repeats allowed.

        Returns p_yes float32 (n,), NaN for none and where nothing is stored; answer int8 (n,), -1 there; and
        whether it is stored, bool (n,).
        """
        n = len(keys)
        p_yes = np.full(n, np.nan, dtype=np.float32)
        answer = np.full(n, NONE, dtype=np.int8)
        is_stored = np.zeros(n, dtype=bool)
        # In key order the B-tree is read page after page.
        order = np.argsort(keys)
        for start in range(0, n, _KEYS):
            block = order[start : start + _KEYS]
            wanted = keys[block].tolist()
            stored = {key: (p, a) for key, p, a in self._rows("key, p_yes, answer FROM verdicts", wanted)}
            for i, key in zip(block.tolist(), wanted, strict=True):
                if key in stored:
                    p, answer[i] = stored[key]
                    p_yes[i], is_stored[i] = np.nan if p is None else p, True
        return p_yes, answer, is_stored

    def save(
        self,
        teacher: int,
        keys: np.ndarray,
        documents: list[str],
        labels: list[str],
        p_yes: np.ndarray,
        answer: np.ndarray,
    ) -> None:
        """Keep verdicts: all of them are in the file when this returns, or none.

        `keys` are `KEY` (n,), `documents` and `labels` uids, `p_yes` float32 (n,) and `answer` int8 (n,);
        a none does not replace an answer.
        """
        columns = (keys.tolist(), documents, labels, p_yes.tolist(), answer.tolist())
        values = [
            (key, teacher, document, label, None if p != p else p, a)
            for key, document, label, p, a in zip(*columns, strict=True)
        ]
        with self._transaction() as connection:
            connection.executemany(_INSERT, values)

    def lookup_texts(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The stored texts among those with these keys of 16 bytes."""
        blocks = (keys[start : start + _KEYS] for start in range(0, len(keys), _KEYS))
        return {key: text for block in blocks for key, text in self._rows("key, text FROM texts", block)}

    def save_texts(self, teacher: int, texts: Mapping[bytes, str]) -> None:
        """Keep texts by their keys as `save` keeps verdicts; a text that is there already stays."""
        # A JSON reply may hold half of a character's UTF-16 code, which no file can.
        values = [(key, teacher, text.encode(errors="replace").decode()) for key, text in texts.items()]
        insert = "INSERT INTO texts (key, teacher, text) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        with self._transaction() as connection:
            connection.executemany(insert, values)

    def start_run(self, teacher: int) -> int:
        """Open a line in the account of runs, and return its id for `account`."""
        with self._transaction() as connection:
            return connection.execute(_START, (teacher, time.time())).lastrowid

    def account(self, run: int, totals: Mapping[str, Any]) -> None:
        """Bring columns of a run up to date."""
        columns = ", ".join(f"{name} = ?" for name in totals)
        with self._transaction() as connection:
            connection.execute(f"UPDATE runs SET {columns} WHERE id = ?", (*totals.values(), run))

    def speed(self, teacher: int) -> float | None:
        """Seconds a request (a verdict, where none are counted) took in earlier runs; None without one."""
        sums = "SELECT sum(seconds), sum(requests), sum(verdicts) FROM runs WHERE teacher = ?"
        ((seconds, requests, verdicts),) = self.select(f"{sums} AND verdicts > 0", (teacher,))
        return seconds / (requests or verdicts) if verdicts else None

    def mark_collected(self, batch: str) -> None:
        """Remember that all answers of a provider's batch, or of a record, are stored."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO collected VALUES (?) ON CONFLICT DO NOTHING", (batch,))

    def is_collected(self, batch: str) -> bool:
        """Whether all of its answers are stored."""
        return bool(self.select("SELECT 1 FROM collected WHERE batch = ?", (batch,)))

    def _rows(self, columns: str, keys: Sequence[bytes]) -> list[tuple]:
        return self.select(f"SELECT {columns} WHERE key IN ({','.join('?' * len(keys))})", keys)

    def _set_up(self) -> None:
        """Make the tables; several processes may do so at once."""
        # SQLite does not wait when another process changes the journal mode at the same moment.
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        for pragma in ("synchronous = NORMAL", "cache_size = -65536"):  # 64 MiB
            self._connection.execute(f"PRAGMA {pragma}")
        with self._transaction() as connection:
            for statement in (f"PRAGMA application_id = {_APPLICATION}", *_SCHEMA.split(";")):
                connection.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A short write transaction: all of the block, or nothing of it."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into one that names the file and the remedy."""
        try:
            yield
        except sqlite3.ProgrammingError:  # such as a store that was closed
            raise
        except (sqlite3.Error, OSError) as error:
            if "locked" in str(error) or "busy" in str(error):
                remedy = f"another process has been writing to it for {_WAIT:.0f} s; wait for it, or stop it"
            elif isinstance(error, sqlite3.OperationalError | OSError) and "malformed" not in str(error):
                remedy = "check that its folder exists, can be written to, and has free space"
            else:
                remedy = (
                    "the file is damaged. It was left as it is: move it away to start an empty store, or "
                    f'rescue what it holds with `sqlite3 "{self.path}" .recover`'
                )
            raise StoreError(f"verdict store {self.path}: {error}; {remedy}") from None


def _reading(path: Path) -> str:
    """The URI by which SQLite reads a store, whether or not one may write to it."""
    # SQLite makes files beside a store that it reads, unless it is told that nobody writes to it: it is told
    # so where these cannot be made, and no process has left anything in them.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    log = path.with_name(f"{path.name}-wal")
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError:
        if log.exists() and log.stat().st_size:
            raise
        uri += "&immutable=1"
    return uri
