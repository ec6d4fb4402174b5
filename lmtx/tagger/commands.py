"""The commands `lmtx tag` and `lmtx add-labels`, on the options that `lmtx.cli` has parsed."""

import sys
from argparse import Namespace

from lmtx.datasets.formats import kind
from lmtx.datasets.labels import Labels
from lmtx.datasets.lines import STANDARD_INPUT
from lmtx.tagger import Tagger, TaggerError
from lmtx.tagger.labels import TABLE
from lmtx.tagger.stream import tag_stream


def tag(options: Namespace) -> int:
    """Tag documents; returns the exit status, 1 where some were skipped."""
    sources = options.files or [STANDARD_INPUT]
    for source in sources:
        kind(source)  # a file that is missing, or of no known format, is an error before the model is loaded
    if options.k < 1:
        raise TaggerError(f"-k is {options.k}; at least 1 label a document is needed")
    tagger = Tagger.load(options.folder)
    threshold = options.threshold
    if options.precision is not None:
        if tagger.calibration is None:
            raise TaggerError(
                f"{options.folder} is not calibrated, so no precision can be promised; give --threshold, "
                "or make a calibrated tagger with `lmtx export`"
            )
        threshold = tagger.calibration.threshold(options.precision)
    sys.stdout.reconfigure(encoding="utf-8")
    summary = tag_stream(
        tagger,
        sources,
        sys.stdout,
        k=options.k,
        threshold=threshold,
        strict=options.strict,
        form=options.format,
        text=options.text,
    )
    print(f"lmtx: {summary}", file=sys.stderr)
    return 1 if summary.broken else 0


def add_labels(options: Namespace) -> None:
    """Add the labels of files to an exported tagger."""
    if options.folder.is_dir() and not (options.folder / TABLE).is_file():
        raise TaggerError(
            f"{options.folder} is no exported tagger; make one first: "
            f"lmtx export {options.folder} DESTINATION"
        )
    tagger = Tagger.load(options.folder)
    before = len(tagger.labels)
    for file in options.files or [STANDARD_INPUT]:
        labels = Labels(file, options.language, options.describe)
        if labels.note:
            print(labels.note)
        table = labels.table()
        tagger.add_labels(table["text"].to_pylist(), table["uid"].to_pylist())
    tagger.export(options.folder)
    print(f"{len(tagger.labels) - before:,} labels added; {options.folder} has {len(tagger.labels):,} now")
