"""Verdicts kept for good: one SQLite file that several processes may read and write at once.

A verdict is found by a hash of everything it depends on: the teacher's identity, the document's
text and the label's text. Whatever is run again, no verdict is asked for twice. The same holds for
texts that a language model has written, found by a hash of its identity and the prompt.
"""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lmtx.teachers.database import Database, StoreError
from lmtx.teachers.pairs import NONE

__all__ = ["KEY_BYTES", "StoreError", "VerdictStore", "identity_digest", "key_order"]

KEY_BYTES = 16
_BLOCK = 10_000  # keys in one look-up
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


def identity_digest(identity: dict[str, Any]) -> bytes:
    """The hash of a teacher's identity, independent of the order of its keys."""
    return blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=KEY_BYTES).digest()


class VerdictStore(Database):
    """The verdicts of all teachers, data sets and runs, in the file `path`; see `Database`."""

    def __init__(self, path: str | Path, writing: bool = True):
        super().__init__(path, _SCHEMA, writing)

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
        """Find stored verdicts.

        Parameters
        ----------
        keys
            uint8 (n, 16), in any order, repeats allowed.

        Returns
        -------
        p_yes float32 (n,), NaN for none and where nothing is stored; answer int8 (n,), -1 there;
        stored bool (n,).
        """
        n = len(keys)
        p_yes = np.full(n, np.nan, dtype=np.float32)
        answer = np.full(n, NONE, dtype=np.int8)
        is_stored = np.zeros(n, dtype=bool)
        # In key order the B-tree is read page after page.
        order = key_order(keys)
        for start in range(0, n, _BLOCK):
            block = order[start : start + _BLOCK]
            wanted = [bytes(key) for key in keys[block]]
            stored = {key: (p, a) for key, p, a in self._rows("key, p_yes, answer FROM verdicts", wanted)}
            for i, key in zip(block.tolist(), wanted, strict=True):
                if key in stored:
                    p, answer[i] = stored[key]
                    is_stored[i] = True
                    if p is not None:
                        p_yes[i] = p
        return p_yes, answer, is_stored

    def save(
        self,
        teacher: int,
        keys: np.ndarray,
        documents: list[str],
        labels: list[str],
        p_yes: np.ndarray,
        answer: np.ndarray,
        run: int | None = None,
        totals: dict[str, Any] | None = None,
    ) -> None:
        """Keep verdicts: all of them are in the file when this returns, or none.

        Parameters
        ----------
        teacher
            Row id of the teacher.
        keys
            uint8 (n, 16).
        documents, labels
            n uids each.
        p_yes, answer
            float32 and int8 (n,); NaN is stored as NULL. A none does not replace an answer.
        run, totals
            The run they belong to, and its columns as they stand with these verdicts counted in.
        """
        values = [
            (bytes(key), teacher, document, label, None if p != p else p, a)
            for key, document, label, p, a in zip(
                keys, documents, labels, p_yes.tolist(), answer.tolist(), strict=True
            )
        ]
        with self._transaction() as connection:
            connection.executemany(_INSERT, values)
            if run is not None and totals is not None:
                _enter(connection, run, totals)

    def lookup_texts(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The stored texts among those with these keys of 16 bytes."""
        blocks = (keys[start : start + _BLOCK] for start in range(0, len(keys), _BLOCK))
        return {key: text for block in blocks for key, text in self._rows("key, text FROM texts", block)}

    def _rows(self, columns: str, keys: Sequence[bytes]) -> list[tuple]:
        """The rows of a table with these keys."""
        marks = ",".join("?" * len(keys))
        return self.select(f"SELECT {columns} WHERE key IN ({marks})", keys)

    def save_texts(
        self,
        teacher: int,
        texts: Mapping[bytes, str],
        run: int | None = None,
        totals: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep texts by their keys, all of them or none; a text that is there already stays.

        `teacher`, `run` and `totals` are those of `save`.
        """
        # A JSON reply may hold half of a character's UTF-16 code, which no file can.
        values = [(key, teacher, text.encode(errors="replace").decode()) for key, text in texts.items()]
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO texts (key, teacher, text) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", values
            )
            if run is not None and totals is not None:
                _enter(connection, run, totals)

    def start_run(self, teacher: int) -> int:
        """Open a line in the account of runs; `save` brings it up to date."""
        with self._transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (teacher, started, seconds, verdicts, requests, prompt_tokens,"
                " answer_tokens) VALUES (?, ?, 0, 0, 0, 0, 0)",
                (teacher, time.time()),
            )
            return cursor.lastrowid

    def speed(self, teacher: int) -> float | None:
        """Seconds a request (a verdict, where none are counted) took in earlier runs; None without one."""
        sums = "SELECT sum(seconds), sum(requests), sum(verdicts) FROM runs WHERE teacher = ?"
        ((seconds, requests, verdicts),) = self.select(f"{sums} AND verdicts > 0", (teacher,))
        return seconds / (requests or verdicts) if verdicts else None

    def mark_collected(self, batch: str) -> None:
        """Remember that all answers of a provider's batch are stored."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO collected VALUES (?) ON CONFLICT DO NOTHING", (batch,))

    def is_collected(self, batch: str) -> bool:
        """Whether all answers of the batch are stored."""
        return bool(self.select("SELECT 1 FROM collected WHERE batch = ?", (batch,)))


def _enter(connection: sqlite3.Connection, run: int, totals: Mapping[str, Any]) -> None:
    """Bring the line of a run up to date."""
    columns = ", ".join(f"{name} = ?" for name in totals)
    connection.execute(f"UPDATE runs SET {columns} WHERE id = ?", (*totals.values(), run))


def key_order(keys: np.ndarray) -> np.ndarray:
    """The order that sorts uint8 (n, 16) keys as byte strings: int64 (n,)."""
    halves = np.ascontiguousarray(keys).view(">u8").astype(np.uint64).reshape(-1, 2)
    return np.lexsort((halves[:, 1], halves[:, 0]))
