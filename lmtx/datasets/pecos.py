"""The raw text and matrices that PECOS and X-Transformer publish (`xmc-base`).

The files are described in data/README.md. The texts are those of AttentionXML, whose own names for the files
(`train_raw_texts.txt`, `train_texts.txt`) are known here too. Products have titles, before the mark /SEP/.

Sources: the README of PECOS' `xmc.xtransformer` and `xmc-base` archives; `deepxml/data_utils.py` of
AttentionXML for the mark.
"""

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import scipy.sparse as sp

from lmtx.config import FolderConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import assemble_sides, label_table, read_sides
from lmtx.datasets.download import find
from lmtx.datasets.lines import Faults, lines
from lmtx.datasets.spool import RawDocument

TEXT_FILES = {
    "train": ("X.trn.txt", "trn_X.txt", "train_raw_texts.txt", "train_texts.txt"),
    "test": ("X.tst.txt", "tst_X.txt", "test_raw_texts.txt", "test_texts.txt"),
}
MATRIX_FILES = {"train": ("Y.trn.npz",), "test": ("Y.tst.npz",)}
LABEL_FILES = ("output-items.txt", "Y.txt")
TITLE_END = "/SEP/"
AGAIN = "they belong to different versions of the data set, get both again"


def read(config: FolderConfig, root: Path, scratch: Path) -> Reading:
    """Read `config.folder`; the splits are as in `lmtx.datasets.xmc.read`.

    A document's uid is its line, counted from 0. An empty label is its own number.

    Raises `CorpusError` when a file is missing or damaged, or the texts, labels and matrices do not agree in
    number.
    """
    label_path = find(config, root, LABEL_FILES)
    noted = [Faults(label_path, latin1=True)]
    texts = [line.strip() or str(number - 1) for number, line in lines(label_path, noted[0])]
    matrices = {split: find(config, root, names) for split, names in MATRIX_FILES.items()}
    sources, n_rows = {}, {}
    for split, matrix_path in matrices.items():
        path, matrix = find(config, root, TEXT_FILES[split]), _matrix(matrix_path)
        if matrix.shape[1] != len(texts):
            raise CorpusError(
                f"{matrix_path} has {matrix.shape[1]} columns, and {label_path} {len(texts)} labels; {AGAIN}"
            )
        noted.append(Faults(path, latin1=True))
        sources[split] = noted[-1], _documents(path, matrix, noted[-1])
        n_rows[split] = matrix.shape[0]
    sides = read_sides(config, sources, scratch)
    for split, side in sides.items():
        if side.total not in (None, n_rows[split]):
            raise CorpusError(
                f"{side.source} has {side.total} lines, and {matrices[split]} {n_rows[split]} rows; {AGAIN}"
            )
    labels = label_table([str(number) for number in range(len(texts))], texts)
    return assemble_sides(config, labels, sides, {"latin1_lines": sum(f.latin1_lines for f in noted)})


def _documents(path: Path, matrix: sp.csr_array, faults: Faults) -> Iterator[RawDocument]:
    """Yield the documents; one beyond the matrix has no labels, and is counted."""
    for number, line in lines(path, faults):
        row = number - 1
        ends = matrix.indptr[row : row + 2]
        annotated = matrix.indices[slice(*ends)].tolist() if len(ends) == 2 else []
        title, mark, text = line.partition(TITLE_END)
        yield row, str(row), title.strip() if mark else "", text.strip() if mark else line, annotated


def _matrix(path: Path) -> sp.csr_array:
    """Read a matrix of annotations: boolean CSR. Raises `CorpusError` where it cannot."""
    try:
        matrix = sp.csr_array(sp.load_npz(path))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise CorpusError(f"{path} cannot be read as a SciPy matrix ({error}); get it again") from None
    matrix.eliminate_zeros()
    return matrix.astype(bool)
