"""What belongs to a tagger's folder: its study, E0, a student set aside, and documents with its labels."""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import load_config
from lmtx.corpus import DOCUMENT_SCHEMA, load_corpus
from lmtx.datasets.own import Labels, read_side
from lmtx.datasets.spool import Side
from lmtx.encoder import Encoder
from lmtx.files import DestinationError, read_json, replacing, write_json
from lmtx.study import Study
from lmtx.tagger import Tagger, read_card
from lmtx.tagger.card import is_trained
from lmtx.tagger.labels import TABLE, VECTORS, LabelIndex, TaggerError

STUDENT, E0 = "the student", "E0"
_MADE_FROM = "made_from.json"


def study_of(folder: str | Path) -> Study | None:
    """The study whose `models/DATASET/SYSTEM` is `folder`; None where there is none around it.

    The parameters are those of the nearest `params.yaml` above it, but for the data set's name: the
    study may have gone on to another one since.
    """
    folder = Path(folder).resolve()
    if len(folder.parts) < 4 or folder.parents[1].name != "models":
        return None
    root, dataset = folder.parents[2], folder.parent.name
    parameters = next((p / "params.yaml" for p in folder.parents[2:] if (p / "params.yaml").is_file()), None)
    if parameters is None:
        return None
    study = Study(load_config(parameters, [f'dataset.name="{dataset}"']), root, {})
    return study if study.model(folder.name) == folder and study.corpus.is_dir() else None


def study_labels(folder: Path, encoder: Encoder) -> LabelIndex:
    """The labels of the study around `folder`, embedded by its encoder.

    Raises `TaggerError` where there is no study.
    """
    study = study_of(folder)
    if study is None:
        raise TaggerError(
            f"{folder} has no labels, and no study around it has any; make a tagger of it within its study: "
            "lmtx export models/DATASET/SYSTEM DESTINATION"
        )
    made_from = [folder.resolve() / "model.safetensors", study.corpus / "labels.arrow"]
    labels = load_corpus(study.corpus).labels
    return _embedded_once(folder, "labels", labels, encoder, made_from, "the study's labels")


def untrained(folder: Path, tagger: Tagger) -> Tagger:
    """The tagger of `folder` as it was before training, with the same labels."""
    if not is_trained(tagger.card):
        return tagger
    e0, made_from = Encoder.load(tagger.encoder.config), [folder.resolve() / TABLE]
    labels = _embedded_once(folder, "e0", tagger.labels.table, e0, made_from, "the labels with E0")
    return Tagger(e0, labels, tagger.card)


def load_exported(folder: Path) -> Tagger:
    """Load a tagger that has its labels with it; raises `TaggerError` for another model, before any work."""
    read_card(folder)  # what is no model is told first
    if not (folder / TABLE).is_file():
        raise TaggerError(f"{folder} is no exported tagger; make one first: lmtx export {folder} DESTINATION")
    return Tagger.load(folder)


def systems_of(folder: Path) -> dict[str, Tagger]:
    """The student and E0 with the same labels; E0 alone where the tagger was not trained.

    Where an earlier review chose E0, the student is the one that it set aside.

    Raises `TaggerError` and `EncoderError` when either cannot be loaded.
    """
    tagger = load_exported(folder)
    if is_trained(tagger.card):
        return {STUDENT: tagger, E0: untrained(folder, tagger)}
    aside = folder.with_name(tagger.card.get("set_aside") or folder.name)
    if aside == folder or not aside.is_dir():
        return {E0: tagger}
    student, labels = Tagger.load(aside), tagger.labels.table
    if not student.labels.table.equals(labels):  # labels were added since
        vectors = student.encoder.encode_labels(labels, "embedding the labels with the student")
        card = student.card | {"added_labels": tagger.card.get("added_labels", 0)}
        student = Tagger(student.encoder, LabelIndex(labels, vectors), card)
    return {STUDENT: student, E0: tagger}


def read_documents(tagger: Tagger, path: str | Path, scratch: Path) -> Side:
    """Documents of a file, and the annotations it may have, by the tagger's labels; files go to `scratch`.

    Raises `CorpusError` naming file, line and value.
    """
    file = scratch / "labels.jsonl"
    rows = tagger.labels.table.to_pandas().to_json(orient="records", lines=True, force_ascii=False)
    file.write_text(rows, encoding="utf-8")
    labels = Labels(file)
    labels.path = Path("the tagger's labels")  # in error messages
    return read_side(Path(path).absolute(), labels, scratch)


def read_annotated(tagger: Tagger, path: str | Path) -> tuple[pa.Table, sp.csr_array]:
    """The annotated documents of a file: n rows uid, title, text; and boolean CSR (n, L).

    Raises `TaggerError` where no document is annotated, and what `read_documents` raises.
    """
    with TemporaryDirectory(prefix="lmtx-annotated-") as scratch:
        side = read_documents(tagger, path, Path(scratch))
        annotated = side.truth(len(tagger.labels))
        rows = np.flatnonzero(np.diff(annotated.indptr))
        if not len(rows):
            raise TaggerError(f"no document of {path} has labels; fill the column `labels`")
        return side.table().cast(DOCUMENT_SCHEMA).take(rows), sp.csr_array(annotated[rows])


def _embedded_once(
    folder: Path, name: str, table: pa.Table, encoder: Encoder, made_from: Sequence[Path], noun: str
) -> LabelIndex:
    """Labels whose vectors are kept in `.FOLDER-NAME` beside the folder, until a file `made_from` changes.

    Not in it, where DVC would take them for a changed model, and they would be published with a tagger. Where
    they cannot be written, a line says so and nothing is kept.
    """
    folder = folder.resolve().with_name(f".{folder.resolve().name}-{name}")
    stamps = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in made_from]
    if (folder / _MADE_FROM).is_file() and read_json(folder / _MADE_FROM) == stamps:
        vectors = np.load(folder / VECTORS, mmap_mode="c")
        if len(vectors) == table.num_rows:
            return LabelIndex(table, vectors)
    vectors = encoder.encode_labels(table, f"embedding {noun}, once")
    try:
        with replacing(folder) as scratch:
            scratch.mkdir()
            np.save(scratch / VECTORS, vectors)
            write_json(scratch / _MADE_FROM, stamps)
    except (OSError, DestinationError) as error:
        print(f"the labels will be embedded again at each start: {error}", file=sys.stderr)
    return LabelIndex(table, vectors)
