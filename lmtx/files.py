"""Writing results so that nothing half-written stays behind."""

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CARD = "lmtx.json"
"""The file in a model's folder that describes the model."""


class DestinationError(ValueError):
    """A path where nothing may be written; the message names it and the remedy."""


def check_destination(
    path: str | Path, *, folder: bool = False, begins: bytes = b"", source: str | Path | None = None
) -> None:
    """Refuse, before any work, a path where a result would replace something else, or cannot be written.

    A link stands for the file or folder that it leads to. A result that is a `folder` may replace an empty
    one, or one that holds `CARD`; a file may replace one that `begins` with these bytes. `source` is a file
    or folder that is read meanwhile, and so cannot be replaced.

    Raises `DestinationError` when the path is a device or a pipe, a place where another file system begins,
    the current folder or one around it, `source`, or another kind of file or folder; or its folder is none to
    write to.
    """
    real = _replaceable(path)
    if source is not None and real.exists() and Path(source).exists() and real.samefile(source):
        raise DestinationError(f"{path} is read at the same time; name another {_noun(folder)} to write")
    if real.exists() and real.is_dir() != folder:
        raise DestinationError(f"{path} is a {_noun(not folder)}; name a {_noun(folder)} to write")
    if real.is_dir() and not (real / CARD).is_file() and any(real.iterdir()):
        raise DestinationError(f"{path} is there and holds no model; name another folder, or remove it")
    if real.is_file() and real.stat().st_size:
        with real.open("rb") as file:
            if file.read(len(begins)) != begins:
                raise DestinationError(
                    f"{path} is there and is another kind of file; name another, or remove it"
                )
    parent = next(parent for parent in real.parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise DestinationError(f"{path} cannot be written: {parent} is no folder that you may write to")


@contextmanager
def replacing(path: str | Path, folder: bool = False) -> Iterator[Path]:
    """Yield a scratch path beside `path`; on success it takes the place of `path`.

    The block may write a file or make a folder there; with `folder` it is an empty one. When it raises, the
    scratch is removed and `path` stays as it was. Where `path` is a link, its target is replaced.

    Raises `DestinationError` where a file would replace a folder, or a folder a file, and for a path that
    `check_destination` always refuses.
    """
    real = _replaceable(path)
    real.parent.mkdir(parents=True, exist_ok=True)
    scratch = real.with_name(f".{real.name}.{os.getpid()}.part")
    old = real.with_name(f".{real.name}.{os.getpid()}.old")
    _remove(scratch)  # left by a killed run of the same process id, as in a container
    try:
        if folder:
            scratch.mkdir()
        yield scratch
        if real.exists() and scratch.exists() and real.is_dir() != scratch.is_dir():
            raise DestinationError(
                f"{path} is a {_noun(real.is_dir())}, and a {_noun(scratch.is_dir())} is written"
            )
        if real.is_dir() and _swap(scratch, real):
            return
        if real.is_dir():  # unlike a file, a folder cannot be replaced by a move
            os.replace(real, old)
        try:
            os.replace(scratch, real)
        except OSError:
            if os.path.lexists(old):
                os.replace(old, real)
            raise
    finally:
        _remove(scratch)
        _remove(old)


def _replaceable(path: str | Path) -> Path:
    """Follow the links at `path` to an absolute path, and refuse one that must never be replaced."""
    real = Path(os.path.realpath(path))
    if real.is_mount():
        raise DestinationError(f"{path} is where a file system begins; name a folder or file within it")
    if real in (here := Path.cwd()).parents or real == here:
        raise DestinationError(f"{path} is the current folder, or one around it; name another")
    if real.exists() and not real.is_file() and not real.is_dir():
        raise DestinationError(f"{path} is a device or a pipe; name a file or folder")
    return real


def _swap(one: Path, other: Path) -> bool:
    """Swap two folders in one step, so that both are there at any moment; whether the system can."""
    try:
        rename = ctypes.CDLL(None).renameat2  # Linux has it, and Python does not
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _noun(folder: bool) -> str:
    return "folder" if folder else "file"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a broken one is an error that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON (line {error.lineno}): {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None
