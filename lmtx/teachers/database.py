"""One SQLite file that several processes may read and write at once.

The file is in write-ahead mode, and a commit is not forced to the disk: a process that is killed
loses nothing that was committed; a power cut may lose the last seconds, and damages nothing.
Write-ahead mode needs a local disk, as opposed to a network share.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

_APPLICATION = 0x4C4D5458  # "LMTX"
_WAIT = 60.0  # seconds to wait for another process's transaction


class StoreError(RuntimeError):
    """A store that cannot be used; the message names the file and the remedy."""


class Database:
    """A file of this program, with short transactions, and errors that say what to do. A context manager.

    Parameters
    ----------
    path
        The file; it and its folder are made when missing.
    schema
        Statements that make the tables where they are missing, separated by semicolons.
    writing
        Whether to write. Otherwise the file, which one may have no right to change, keeps its content.

    Raises
    ------
    StoreError
        When the file is damaged, belongs to something else, or cannot be opened. It is left as it is.
    """

    def __init__(self, path: str | Path, schema: str, writing: bool = True):
        self.path = Path(path)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with self._explained():
            if writing:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            uri = self.path.absolute().as_uri() if writing else _reading(self.path)
            self._connection = sqlite3.connect(
                uri, timeout=_WAIT, isolation_level=None, check_same_thread=False, uri=True
            )
            self._check()
            if writing:
                self._set_up(schema)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, values: tuple = (), block: int = 65_536) -> Iterator[list[tuple]]:
        """Yield the rows of a SELECT, `block` at a time."""
        with self._explained():
            with self._lock:
                cursor = self._open.execute(sql, values)
            while True:
                with self._lock:
                    rows = cursor.fetchmany(block)
                if not rows:
                    return
                yield rows

    def select(self, sql: str, values: Sequence = ()) -> list[tuple]:
        """All rows of a SELECT."""
        with self._explained(), self._lock:
            return self._open.execute(sql, values).fetchall()

    @contextmanager
    def attached(self, other: Path) -> Iterator[sqlite3.Connection]:
        """A write transaction in which the store at `other` can be read as `other`."""
        self.select("ATTACH ? AS other", (_reading(other),))
        try:
            with self._transaction() as connection:
                yield connection
        finally:
            self.select("DETACH other")

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the verdict store {self.path} is closed")
        return self._connection

    def _check(self) -> None:
        """Refuse a file that is something else."""
        connection = self._connection
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != _APPLICATION:
            raise StoreError(
                f"{self.path} is a SQLite file of another program; choose another path for the verdict store"
            )

    def _set_up(self, schema: str) -> None:
        """Make the tables; several processes may do so at once."""
        connection = self._connection
        # SQLite does not wait when another process changes the journal mode at the same moment.
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")  # 64 MiB
        with self._transaction():
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            for statement in schema.split(";"):
                connection.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A short write transaction: all of the block, or nothing of it."""
        with self._explained(), self._lock:
            connection = self._open
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into one that names the file and what to do."""
        try:
            yield
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
    """The URI by which SQLite reads a store, whether or not one may write to it.

    SQLite makes files beside a store that it reads, unless it is told that nobody writes to it. It is told
    so where these cannot be made, and no process has left anything in them.
    """
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
