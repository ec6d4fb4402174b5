"""The commands `lmtx tag` and `lmtx add-labels`, on the options that `lmtx.cli` has parsed."""

import os
import stat
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from lmtx.datasets.lines import STANDARD_INPUT, kind, source_name
from lmtx.datasets.own import Labels
from lmtx.datasets.rows import text_files
from lmtx.files import check_destination
from lmtx.tagger import Tagger, TaggerError
from lmtx.tagger.labels import TABLE
from lmtx.tagger.stream import tag_stream


def tag(options: Namespace) -> int:
    """Tag documents; returns the exit status, 1 where some were skipped."""
    sources = options.files or [STANDARD_INPUT]
    for source in sources:
        kind(source)  # a file that is missing, or of no known format, is an error before the model is loaded
    _check_output(sources)
    if options.k < 1:
        raise TaggerError(f"-k is {options.k}; at least 1 label a document is needed")
    tagger = Tagger.load(options.folder)
    tagger.windows = options.windows or tagger.windows
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


def _check_output(sources: Sequence[Path]) -> None:
    """Raise `TaggerError` where standard output is closed, or goes into a file that is to be tagged."""
    if sys.stdout is None:
        raise TaggerError("standard output is closed; send the answers to a file or a program")
    try:
        out = os.fstat(sys.stdout.fileno())
    except OSError:  # no file, as in a notebook
        return
    if not stat.S_ISREG(out.st_mode) or (STANDARD_INPUT in sources and sys.stdin is None):
        return
    for source in sources:
        files = text_files(source) if source.is_dir() else [source]
        for file in files:
            read = os.fstat(sys.stdin.fileno()) if file == STANDARD_INPUT else file.stat()
            if os.path.samestat(read, out):
                raise TaggerError(
                    f"the answers go to {source_name(file)}, which is to be tagged; name another file"
                )


def add_labels(options: Namespace) -> None:
    """Add the labels of files to an exported tagger."""
    if options.folder.is_dir() and not (options.folder / TABLE).is_file():
        raise TaggerError(
            f"{options.folder} is no exported tagger; make one first: "
            f"lmtx export {options.folder} DESTINATION"
        )
    check_destination(options.folder, folder=True)
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
