"""Texts as token ids: one flat array for all of them, in memory or memory-mapped."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmtx.files import replacing


@dataclass(frozen=True, eq=False)
class Tokens(Sequence):
    """The token ids of n texts, without a Python object for each.

    `tokens[row]` is a list of int, `tokens[start:stop]` a view of some of the texts.
    """

    ids: np.ndarray  # int32 (t,): the token ids, one text behind the other
    ends: np.ndarray  # int64 (n,): where in `ids` each text ends

    @classmethod
    def of(cls, texts: Iterable[Sequence[int]]) -> "Tokens":
        """Keep token ids in memory."""
        ids, ends = array("i"), array("q")
        for text in texts:
            ids.extend(text)
            ends.append(len(ids))
        return cls(np.asarray(ids), np.asarray(ends))

    @classmethod
    def write(cls, folder: str | Path, texts: Iterable[Sequence[int]]) -> "Tokens":
        """Write token ids to ids.npy and ends.npy in `folder`, as they come, and open them there."""
        with replacing(folder, folder=True) as scratch:
            ends = array("q")
            total = 0
            with (scratch / "ids.npy").open("wb") as file:
                _write_header(file, 0)
                for text in texts:
                    array("i", text).tofile(file)
                    total += len(text)
                    ends.append(total)
                # numpy leaves room in a header for the first axis to grow.
                file.seek(0)
                _write_header(file, total)
            np.save(scratch / "ends.npy", np.asarray(ends))
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Tokens":
        """Open what `write` wrote, memory-mapped. Raises `ValueError` when the two files do not fit."""
        ids, ends = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ("ids", "ends"))
        if len(ids) != (ends[-1] if len(ends) else 0):
            raise ValueError(
                f"{folder}: ids.npy and ends.npy are not of one run; remove the folder and make it anew"
            )
        return cls(ids, ends)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text: int64 (n,)."""
        return np.diff(self.ends, prepend=0)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int | slice) -> "list[int] | Tokens":
        if isinstance(row, slice):
            start, stop, step = row.indices(len(self))
            if step != 1:
                return Tokens.of(map(self.__getitem__, range(start, stop, step)))
            ends = np.asarray(self.ends[start:stop])
            first = self._start(start)
            return Tokens(self.ids[first : ends[-1] if len(ends) else first], ends - first)
        row = range(len(self))[row]
        return self.ids[self._start(row) : self.ends[row]].tolist()

    def _start(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0


def blocks(n: int, size: int) -> Iterator[slice]:
    """The rows 0 … n - 1, `size` at a time."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _write_header(file, n: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (n,)}
    np.lib.format.write_array_header_1_0(file, header)
