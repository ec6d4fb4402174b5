"""Answers of a tagger as JSON lines, as CSV, or as a corpus for Annif.

A writer has two methods: `write` takes a document and its labels as `Tagger.tag` gives them, `skip` the
number of a row that is no document, and what is wrong with it.
"""

import csv
import json
from typing import TextIO

import pyarrow.compute as pc

from lmtx.datasets.own import Document
from lmtx.tagger import Tagger
from lmtx.tagger.labels import TaggerError


class JsonLines:
    """A line a document: `{"uid": …, "labels": […]}` with the labels of `Tagger.tag`."""

    def __init__(self, out: TextIO, tagger: Tagger, text: bool) -> None:
        self._out, self._text = out, text

    def write(self, document: Document, labels: list[dict]) -> None:
        text = {"text": document.title or document.text} if self._text else {}
        self._write({"uid": document.uid} | text | {"labels": labels})

    def skip(self, number: int, error: str) -> None:
        self._write({"uid": number, "labels": [], "error": error})

    def _write(self, answer: dict) -> None:
        self._out.write(json.dumps(answer, ensure_ascii=False) + "\n")


class Csv:
    """A row a label under a header; a document without labels has one row that names none."""

    def __init__(self, out: TextIO, tagger: Tagger, text: bool) -> None:
        self._text = text
        columns = ["uid", "text" if text else None, "label_uid", "label", "score"]
        columns += ["p_yes" if tagger.calibration else None, "error"]
        self._rows = csv.DictWriter(out, [name for name in columns if name], lineterminator="\n")
        self._rows.writeheader()

    def write(self, document: Document, labels: list[dict]) -> None:
        row = {"uid": document.uid} | ({"text": document.title or document.text} if self._text else {})
        for label in labels or [{}]:
            names = {"label_uid": label["uid"], "label": label["text"]} if label else {}
            numbers = {key: value for key, value in label.items() if key in ("score", "p_yes")}
            self._rows.writerow(row | names | numbers)

    def skip(self, number: int, error: str) -> None:
        self._rows.writerow({"uid": number, "error": error})


class Annif:
    """A line a document, the text on one line: `text<tab><URI> <URI>`. Skipped documents have none.

    Raises `TaggerError` where the uid of a label is no URI.
    """

    def __init__(self, out: TextIO, tagger: Tagger, text: bool) -> None:
        self._out = out
        uids = tagger.labels.table["uid"]
        no_uri = uids.filter(pc.match_substring_regex(uids, r"[\s<>]"))
        if len(no_uri):
            raise TaggerError(
                f"the uid {no_uri[0].as_py()!r} of a label is no URI, by which Annif's format names labels; "
                "write jsonl or csv"
            )

    def write(self, document: Document, labels: list[dict]) -> None:
        text = " ".join(f"{document.title} {document.text}".split())
        self._out.write(text + "\t" + " ".join(f"<{label['uid']}>" for label in labels) + "\n")

    def skip(self, number: int, error: str) -> None:
        pass


WRITERS = {"jsonl": JsonLines, "csv": Csv, "tsv": Annif}
"""The formats of `lmtx tag --format`."""
