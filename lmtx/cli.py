"""The `lmtx` command. Each subcommand imports what it needs when it runs, so that help is instant."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

STORE = Path("data/verdicts.sqlite")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (None: the process's own); returns the exit status."""
    parser = argparse.ArgumentParser(prog="lmtx", description="Zero-shot tagging with LMTX.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_tag(commands)
    _add_labels(commands)
    _add_export(commands)
    _add_verdicts(commands)
    options, rest = parser.parse_known_args(arguments)
    # argparse takes `FOLDER -k 5 FILE` for a folder, no files, and a word too many.
    if rest and (not hasattr(options, "files") or any(word.startswith("-") and word != "-" for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.files += [Path(word) for word in rest]
    return options.run(options)


def _add_tag(commands: argparse._SubParsersAction) -> None:
    text = "tag documents: JSON lines with `text` in, JSON lines with labels and scores out"
    parser = commands.add_parser("tag", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("folder", type=Path, help="an exported tagger, or a model of a study")
    parser.add_argument("files", type=Path, nargs="*", help="JSONL files; none, or -: standard input")
    parser.add_argument("-k", type=int, default=5, help="labels a document (default: %(default)s)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--threshold", type=float, help="only labels with at least this score")
    limits.add_argument(
        "--precision",
        type=float,
        help="only labels above the score from which on the teacher accepts this share (0.8: 80 %%)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first broken line instead of skipping it"
    )
    parser.set_defaults(run=_reporting(_tag))


def _add_labels(commands: argparse._SubParsersAction) -> None:
    text = "add labels to an exported tagger, without training"
    parser = commands.add_parser("add-labels", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("folder", type=Path, help="an exported tagger")
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        help="JSONL files with `text` and maybe `uid`; none, or -: standard input",
    )
    parser.set_defaults(run=_reporting(_extend))


def _add_export(commands: argparse._SubParsersAction) -> None:
    text = "make a tagger of a study's model: encoder, labels, threshold, model card, in one folder"
    parser = commands.add_parser("export", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("folder", type=Path, help="a model of a study, models/DATASET/SYSTEM, or a tagger")
    parser.add_argument("destination", type=Path, help="the folder to write")
    parser.add_argument("--int8", action="store_true", help="label vectors at a quarter of the size")
    parser.add_argument(
        "--ask-teacher", action="store_true", help="calibrate even where that costs the teacher requests"
    )
    parser.set_defaults(run=_reporting(_export))


def _add_verdicts(commands: argparse._SubParsersAction) -> None:
    verdicts = commands.add_parser("verdicts", help="list, export or merge the verdicts of teachers")
    actions = verdicts.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, run, text: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parser.add_argument(
            "--store", type=Path, default=STORE, help="the verdict store (default: %(default)s)"
        )
        parser.set_defaults(run=_reporting(run))
        return parser

    action("list", _list_verdicts, "show what each teacher has judged, and what it cost")
    export = action("export", _export_verdicts, "write verdicts to a Parquet file")
    export.add_argument("file", type=Path, help="the Parquet file to write")
    export.add_argument("--teacher", help="only this teacher: its name, or the start of its id")
    record = action("record", _record_verdicts, "record a teacher's verdicts on a data set, to ship")
    record.add_argument("teacher", help="its name")
    record.add_argument("corpus", type=Path, help="the data set, such as data/processed/NAME/corpus")
    record.add_argument("file", type=Path, help="the record, such as verdicts/NAME/TEACHER.parquet")
    again = action("again", _judge_again, "judge recorded pairs anew, and say where the verdicts differ")
    again.add_argument("corpus", type=Path, help="the data set, such as data/processed/NAME/corpus")
    again.add_argument("file", type=Path, help="the record, such as verdicts/NAME/TEACHER.parquet")
    again.add_argument("--teacher", default="qwen", help="a preset of conf/teacher (default: %(default)s)")
    again.add_argument("--documents", type=int, help="only the first so many documents")
    again.set_defaults(store=Path("data/verdicts-again.sqlite"))
    merge = action("merge", _merge_verdicts, "take over the verdicts of other stores")
    merge.add_argument("other", type=Path, nargs="+", help="the stores to read; they are not changed")


def _reporting(run):
    """`run`, with the errors a user can do something about as one line instead of a traceback."""

    def reporting(options: argparse.Namespace) -> int:
        try:
            return run(options) or 0
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (ValueError, RuntimeError, OSError) as error:
            # Errors of the library are kinds of these; one of another origin is a bug, to be seen whole.
            if not isinstance(error, OSError) and not type(error).__module__.startswith("lmtx."):
                raise
            print(f"lmtx: {error}", file=sys.stderr)
            return 1

    return reporting


def _tag(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        sources = list(_open_files(options.files, stack))
        from lmtx.tagger import Tagger, TaggerError
        from lmtx.tagger.stream import tag_stream

        if options.k < 1:
            raise TaggerError(f"-k is {options.k}; at least 1 label a document is needed")
        _hush()
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
            tagger, sources, sys.stdout, k=options.k, threshold=threshold, strict=options.strict
        )
    print(f"lmtx: {summary}", file=sys.stderr)
    return 1 if summary.broken else 0


def _extend(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        sources = list(_open_files(options.files, stack))
        from lmtx.tagger import Tagger, TaggerError
        from lmtx.tagger.labels import TABLE
        from lmtx.tagger.stream import parse, read_lines

        if options.folder.is_dir() and not (options.folder / TABLE).is_file():
            raise TaggerError(
                f"{options.folder} is no exported tagger; make one first: "
                f"lmtx export {options.folder} DESTINATION"
            )
        _hush()
        tagger = Tagger.load(options.folder)
        lines = [line for source in sources for line in read_lines(*source)]
    labels = [parse(line, "label", numbered=False) for line in lines]
    uids = [None if label["uid"] is None else str(label["uid"]) for label in labels]
    tagger.add_labels([label["text"] for label in labels], uids)
    tagger.export(options.folder)
    print(f"{len(labels):,} labels added; {options.folder} has {len(tagger.labels):,} now")


def _open_files(files: list[Path], stack: ExitStack) -> Iterator[tuple[str, BinaryIO]]:
    """Names and open files; standard input for none, and for "-"."""
    for file in files or [Path("-")]:
        if file == Path("-"):
            yield "standard input", sys.stdin.buffer
        else:
            yield str(file), stack.enter_context(file.open("rb"))


def _hush() -> None:
    """No progress bars of transformers: a model of this size loads in a moment."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def _export(options: argparse.Namespace) -> None:
    from lmtx.tagger.origin import export_study

    _hush()
    storage = "int8" if options.int8 else None
    export_study(options.folder, options.destination, storage=storage, ask=options.ask_teacher)


def _list_verdicts(options: argparse.Namespace) -> None:
    from lmtx.teachers.archive import summary

    with _open(options.store) as store:
        rows = summary(store)
    heads = ("teacher", "id", "model", "verdicts", "yes", "no", "none", "requests", "US $", "hours")
    lines = [
        (
            row["name"],
            row["teacher_id"][:8],
            str(row["identity"].get("model", "")),
            *(f"{row[count]:,}" for count in ("verdicts", "yes", "no", "none", "requests")),
            "unknown" if row["usd"] is None else f"{row['usd']:,.2f}",
            f"{row['seconds'] / 3600:,.2f}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in (heads, *lines):
        cells = [
            cell.ljust(w) if i < 3 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    if not lines:
        print(f"{options.store} holds no verdicts yet")


def _export_verdicts(options: argparse.Namespace) -> None:
    from lmtx.teachers.archive import export

    with _open(options.store) as store:
        count = export(store, options.file, options.teacher)
    print(f"{count:,} verdicts written to {options.file}")


def _record_verdicts(options: argparse.Namespace) -> None:
    from lmtx.corpus import load_corpus
    from lmtx.teachers.records import write_record

    corpus = load_corpus(options.corpus)
    with _open(options.store) as store:
        count = write_record(store, options.teacher, corpus, options.file)
    print(f"{count:,} verdicts recorded in {options.file}")


def _judge_again(options: argparse.Namespace) -> None:
    import numpy as np

    from lmtx import teachers
    from lmtx.config import load_config
    from lmtx.corpus import load_corpus
    from lmtx.teachers.records import recorded_pairs

    corpus = load_corpus(options.corpus)
    pairs, before = recorded_pairs(options.file, corpus)
    if options.documents is not None:
        chosen = np.flatnonzero(np.isin(pairs.rows, np.unique(pairs.rows)[: options.documents]))
        pairs, before = pairs.select(chosen), before[chosen]
    config = load_config(overrides=[f"teacher={options.teacher}"]).teacher
    with teachers.build(config, store=options.store, corpus=corpus) as teacher:
        print(teacher.plan(pairs))
        now = teacher.judge(pairs).p_yes
    same = (now >= 0.5) == (before >= 0.5)
    print(
        f"{len(now):,} pairs judged anew: {same.mean():.2%} have the same answer; p_yes differs by "
        f"{np.abs(now - before).mean():.4f} on average and {np.abs(now - before).max():.4f} at most"
    )


def _merge_verdicts(options: argparse.Namespace) -> None:
    from lmtx.teachers.archive import merge
    from lmtx.teachers.store import VerdictStore

    with VerdictStore(options.store) as store:
        for other in options.other:
            print(f"{merge(store, other):,} new verdicts from {other}")


def _open(path: Path):
    """The store at `path`, which must be there: to look is not to make an empty one."""
    from lmtx.teachers.store import StoreError, VerdictStore

    if not path.is_file():
        raise StoreError(f"there is no verdict store {path}; name one with --store")
    return VerdictStore(path)


if __name__ == "__main__":
    sys.exit(main())
