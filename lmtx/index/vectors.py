"""A block of stored vectors, as searches take it."""

from typing import NoReturn

import numpy as np


def block(name: str, stored: np.ndarray, rows: slice, scales: np.ndarray | None = None) -> np.ndarray:
    """Rows of `stored`, each times its scale where there are any: float32, contiguous.

    Raises `ValueError` naming the first row that holds a NaN or an infinity.
    """
    vectors = np.ascontiguousarray(stored[rows], dtype=np.float32)
    if scales is not None:
        vectors = vectors * np.float32(scales[rows])[:, None]
    wrong = ~np.isfinite(np.einsum("ij,ij->i", vectors, vectors))
    if wrong.any():
        not_finite(name, rows.start + int(wrong.argmax()))
    return vectors


def not_finite(name: str, row: int) -> NoReturn:
    """Raise the `ValueError` for a row that cannot be compared with others."""
    raise ValueError(f"{name}: row {row} holds a NaN or an infinity; embed it anew")
