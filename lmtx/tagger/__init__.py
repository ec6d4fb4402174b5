"""The trained student as a product: documents in, labels with scores out; no teacher, no training."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pydantic import ValidationError

from lmtx.config import EncoderConfig
from lmtx.encoder import Encoder
from lmtx.files import CARD, check_destination, read_json, replacing
from lmtx.index import Shortlist
from lmtx.tagger.calibration import FILE as CALIBRATION
from lmtx.tagger.calibration import Calibration
from lmtx.tagger.labels import SCALES, TABLE, LabelIndex, TaggerError, label_table
from lmtx.tagger.windows import check_windows, document_table, nearest

__all__ = ["Calibration", "LabelIndex", "Tagger", "TaggerError"]


class Tagger:
    """An encoder with its labels.

    Attributes
    ----------
    encoder
        The student.
    labels
        What it chooses from.
    card
        JSON-able: what is known of the model. It becomes `lmtx.json` and the model card.
    windows
        What counts of a long document: the word of the card, else "first" (`lmtx.tagger.windows`).
    calibration
        What its scores are worth; None: unknown. See `lmtx.tagger.calibration`.
    """

    def __init__(
        self, encoder: Encoder, labels: LabelIndex, card: dict, calibration: Calibration | None = None
    ):
        if labels.vectors.shape[1] != encoder.dimension:
            raise TaggerError(
                f"the labels have {labels.vectors.shape[1]} dimensions, the encoder {encoder.dimension}; "
                "they were made by another encoder: export again"
            )
        self.encoder = encoder
        self.labels = labels
        self.card = card | {"encoder": encoder.config.model_dump()}
        self.calibration = calibration
        self.windows = check_windows(card.get("windows", "first"))

    @classmethod
    def build(cls, encoder: Encoder, labels: pa.Table, card: dict | None = None) -> "Tagger":
        """A tagger from an encoder and a table of labels with the columns uid, text.

        `card` says what is known of the model; None: nothing.
        """
        return cls(encoder, LabelIndex(labels, encoder.encode_labels(labels)), card or {})

    @classmethod
    def load(cls, folder: str | Path) -> "Tagger":
        """Open what `export` wrote, or a trained model within a study.

        A study's model has no labels of its own. Its study's are embedded, once: the vectors are kept
        beside the model's folder.

        Raises `TaggerError` when the folder is no such model, or has labels neither in it nor in a study
        around it, and `EncoderError` when the encoder cannot be loaded.
        """
        folder = Path(folder)
        card = read_card(folder)
        try:
            config = EncoderConfig.model_validate(card["encoder"])
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(["encoder", *map(str, fault["loc"])])
            raise TaggerError(
                f"{folder / CARD}: `{key}` cannot be used ({fault['msg']}); export again with this version"
            ) from None
        encoder = Encoder.load(config, folder)
        if (folder / TABLE).is_file():
            return cls(encoder, LabelIndex.load(folder), card, Calibration.load(folder))
        from lmtx.tagger.folders import study_labels  # with all that a study is made of

        return cls(encoder, study_labels(folder, encoder), card)

    def tag(
        self,
        texts: Sequence[str],
        k: int = 5,
        threshold: float | None = None,
        titles: Sequence[str | None] | None = None,
    ) -> list[list[dict]]:
        """The best labels of each document.

        Parameters
        ----------
        texts
            Documents.
        k
            At most so many labels a document.
        threshold
            Only labels whose cosine is at least this; `calibration.threshold` finds one for a wanted
            share of yes. None: always k labels.
        titles
            Of the documents, for an encoder that reads titles; None, also for a single one: no title.

        Returns for each document its labels, best first: dictionaries with uid, text, score (the cosine)
        and, where the tagger is calibrated, p_yes, how likely its judge (people, or the teacher) says yes.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one string; give a list of documents, such as [text]")
        if not len(texts):
            return []
        titles = [""] * len(texts) if titles is None else [title or "" for title in titles]
        ranking = self.rank(document_table(titles, texts), k)
        chosen = (ranking.ids >= 0) & (ranking.scores >= (-np.inf if threshold is None else threshold))
        # Of a buffer, as pa.array imports pandas, which takes longer than an answer.
        ids = pa.Array.from_buffers(pa.int32(), int(chosen.sum()), [None, pa.py_buffer(ranking.ids[chosen])])
        labels, scores = self.labels.table.take(ids).to_pylist(), ranking.scores[chosen]
        for label, score in zip(labels, scores, strict=True):
            label["score"] = round(float(score), 6)
        if self.calibration is not None:
            for label, p_yes in zip(labels, self.calibration.p_yes(scores), strict=True):
                label["p_yes"] = round(float(p_yes), 4)
        counts = chosen.sum(axis=1)
        return [labels[end - n : end] for end, n in zip(np.cumsum(counts), counts, strict=True)]

    def rank(self, documents: pa.Table, k: int, *, excluded: sp.csr_array | None = None) -> Shortlist:
        """The k nearest labels of a table of documents with the columns title and text.

        `excluded`, boolean CSR (n, L), holds pairs that are no candidates; None: every label is one.
        """
        if k < 1:
            raise ValueError(f"k is {k}; at least 1 label a document is needed")
        return nearest(self.encoder, self.labels, documents, self.windows, k, excluded)

    def add_labels(self, texts: Sequence[str], uids: Sequence[str | None] | None = None) -> None:
        """Add labels, without training; `export` saves them.

        A uid that is None, or all of them, is the label's text. Raises `TaggerError` for an empty text
        or a uid that is there already.
        """
        labels = label_table(texts, uids)
        self.labels = self.labels.extended(labels, self.encoder.encode_labels(labels))
        self.card = self.card | {"added_labels": self.card.get("added_labels", 0) + len(labels)}

    def export(self, folder: str | Path, storage: str | None = None) -> None:
        """Write a folder that this class loads, and sentence-transformers too; it may replace its own.

        In it are the encoder, a model card (README.md), the labels (labels.parquet, labels.npy), the
        calibration where there is one, and `lmtx.json`. It appears whole or not at all. A folder that is
        there must hold an earlier model; files in it that are none of a tagger stay. The `storage` of the
        label vectors is "float32", or "int8" for a quarter of the size; None: as they are.

        Raises `DestinationError` where the folder cannot be written.
        """
        from lmtx.tagger.card import model_card  # whose libraries tagging does without

        folder = Path(folder)
        check_destination(folder, folder=True)
        labels = self.labels.stored_as(storage or self.labels.storage)
        card = self.card
        if "example" in card:  # its answer is that of the labels and thresholds of today
            answer = self.tag([card["example"]], 3)[0]
            card = card | {"example": {"text": card["example"], "labels": answer}}
        model, config = self.encoder.model, self.encoder.config
        longest = model.max_seq_length
        try:
            # So that sentence-transformers cuts a document where the student learnt to.
            tokens = max(config.document_tokens, config.label_tokens)
            model.max_seq_length = min(longest or tokens, tokens)
            with replacing(folder) as scratch:
                self.encoder.save(scratch, self.card)
                labels.save(scratch)
                if self.calibration is not None:
                    self.calibration.save(scratch)
                text = model_card(folder.resolve().name, card, self.calibration, len(labels))
                (scratch / "README.md").write_text(text, encoding="utf-8")
                _keep_others(folder, scratch)
        finally:
            model.max_seq_length = longest


def _keep_others(folder: Path, scratch: Path) -> None:
    """Copy files that are none of a tagger, such as .git, from the folder that `scratch` replaces."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in (SCALES, CALIBRATION) and not (scratch / path.name).exists():
            copy = partial(shutil.copytree, symlinks=True) if path.is_dir() else shutil.copy2
            copy(path, scratch / path.name)


def read_card(folder: Path) -> dict:
    """The card of a model's folder. Raises `TaggerError` when it is missing or holds no trained model."""
    if not (folder / CARD).is_file():
        missing = f"there is no folder {folder}"
        if folder.exists():
            missing = f"{folder} has no {CARD}" if folder.is_dir() else f"{folder} is a file"
        raise TaggerError(f"{missing}; name an exported tagger, or a model of a study")
    try:
        card = read_json(folder / CARD)
    except ValueError as error:
        raise TaggerError(f"{error}; export again") from None
    if not isinstance(card, dict):
        raise TaggerError(f"{folder / CARD} holds no JSON object; export again")
    if "encoder" not in card:
        raise TaggerError(
            f"{folder} holds no trained model: {card.get('stopped', f'its {CARD} names no encoder')}"
        )
    return card
