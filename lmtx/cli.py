"""The `lmtx` command. Each subcommand imports what it needs when it runs, so that help is instant."""

import argparse
import sys
from pathlib import Path

from lmtx import __version__, exits

STORE = Path("data/verdicts.sqlite")
EXAMPLES = {
    "lmtx tag": "my-tagger -k 3 new.jsonl",
    "lmtx add-labels": "my-tagger more.txt",
    "lmtx export": "models/semanlink/lmtx my-tagger",
    "lmtx verdicts list": "",
    "lmtx verdicts export": "verdicts.parquet --teacher gpt-4.1-mini",
    "lmtx verdicts record": "qwen-1.5b data/processed/semanlink/corpus verdicts/semanlink/qwen-1.5b.parquet",
    "lmtx verdicts again": "data/processed/semanlink/corpus verdicts/semanlink/qwen-1.5b.parquet",
    "lmtx verdicts merge": "other.sqlite",
    "lmtx learn": "documents.jsonl labels.txt -o my-tagger",
    "lmtx review": "my-tagger new.jsonl --documents 50",
    "lmtx evaluate": "my-tagger annotated.jsonl",
    "lmtx model": "qwen-1.5b",
}
DOCUMENTS = "JSONL, CSV, TSV, Parquet, a text a line, or a folder of texts"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (None: the process's own); returns the exit status."""
    parser = argparse.ArgumentParser(prog="lmtx", description="Zero-shot tagging with LMTX.")
    parser.epilog = f"example: lmtx learn {EXAMPLES['lmtx learn']}"
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_tag(commands)
    _add_labels(commands)
    _add_export(commands)
    _add_verdicts(commands)
    _add_learn(commands)
    _add_review(commands)
    _add_evaluate(commands)
    _add_model(commands)
    options, rest = parser.parse_known_args(arguments)
    # argparse takes `FOLDER -k 5 FILE` for a folder, no files, and a word too many.
    if rest and (not hasattr(options, "files") or any(word.startswith("-") and word != "-" for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.files += [Path(word) for word in rest]
    return exits.status(options.run, options)


def _command(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    """The parser of a command that `text`, in lower case, describes; its help ends with an example."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.epilog = f"example: {parser.prog} {EXAMPLES[parser.prog]}"
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    return parser


def _add_tag(commands: argparse._SubParsersAction) -> None:
    text = "tag documents: files or JSON lines with `text` in, labels with scores out"
    parser = _command(commands, "tag", text)
    parser.add_argument("folder", type=Path, help="an exported tagger, or a model of a study")
    parser.add_argument(
        "files", type=Path, nargs="*", help=f"{DOCUMENTS}; none, or -: JSON lines from standard input"
    )
    parser.add_argument("-k", type=int, default=5, help="labels a document (default: %(default)s)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--threshold", type=float, help="only labels with at least this score")
    limits.add_argument(
        "--precision",
        type=float,
        help="only labels from the score on at which this share is right (0.8: 80 %%), by the answers of "
        "people (`lmtx review`, or `lmtx export --annotated`)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first broken line instead of skipping it"
    )
    parser.add_argument(
        "--format",
        choices=["jsonl", "csv", "tsv"],
        default="jsonl",
        help="of the answers: JSON lines, CSV with a row a label, or Annif's TSV of texts and URIs "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--text", action="store_true", help="put the document's title, or else its text, into its answer"
    )
    _add_windows(parser, None)
    parser.set_defaults(run=_tag)


def _add_labels(commands: argparse._SubParsersAction) -> None:
    text = "add labels to an exported tagger, without training"
    parser = _command(commands, "add-labels", text)
    parser.add_argument("folder", type=Path, help="an exported tagger")
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        help="a label a line, JSONL, CSV, TSV, Parquet or SKOS; none, or -: JSON lines from standard input",
    )
    _add_skos(parser)
    parser.set_defaults(run=_extend)


def _add_skos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language", help="of a SKOS vocabulary's labels, such as en; default: that of most")
    parser.add_argument(
        "--describe",
        choices=["name", "alternatives", "broader"],
        default="name",
        help="text of a SKOS concept: its name, or also its other names or those above it "
        "(default: %(default)s)",
    )


def _add_windows(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--windows",
        choices=["first", "mean", "best"],
        default=default,
        help="of a document that is longer than the encoder reads: its first window, the mean of all, or for "
        f"each label the best one (default: {default or 'as the tagger was made'})",
    )


def _add_export(commands: argparse._SubParsersAction) -> None:
    text = "make a tagger of a study's model: encoder, labels, threshold, model card, in one folder"
    parser = _command(commands, "export", text)
    parser.add_argument("folder", type=Path, help="a model of a study, models/DATASET/SYSTEM, or a tagger")
    parser.add_argument("destination", type=Path, help="the folder to write")
    parser.add_argument("--int8", action="store_true", help="label vectors at a quarter of the size")
    parser.add_argument(
        "--ask-teacher", action="store_true", help="calibrate even where that costs the teacher requests"
    )
    parser.add_argument(
        "--annotated", type=Path, help="calibrate on documents with people's answers in the column `labels`"
    )
    _add_windows(parser, None)
    parser.set_defaults(run=_export)


def _add_verdicts(commands: argparse._SubParsersAction) -> None:
    verdicts = commands.add_parser("verdicts", help="list, export or merge the verdicts of teachers")
    actions = verdicts.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, does: str, text: str) -> argparse.ArgumentParser:
        parser = _command(actions, name, text)
        parser.add_argument(
            "--store", type=Path, default=STORE, help="the verdict store (default: %(default)s)"
        )
        parser.set_defaults(run=_verdicts(does))
        return parser

    action("list", "list_verdicts", "show what each teacher has judged, and what it cost")
    export = action("export", "export_verdicts", "write verdicts to a Parquet file")
    export.add_argument("file", type=Path, help="the Parquet file to write")
    export.add_argument("--teacher", help="only this teacher: its name, or the start of its id")
    record = action("record", "record_verdicts", "record a teacher's verdicts on a data set, to ship")
    record.add_argument("teacher", help="its name")
    record.add_argument("corpus", type=Path, help="the data set, such as data/processed/NAME/corpus")
    record.add_argument("file", type=Path, help="the record, such as verdicts/NAME/TEACHER.parquet")
    record.add_argument(
        "--texts", action="store_true", help="beside it, in TEACHER-texts.parquet, all texts that it wrote"
    )
    again = action("again", "judge_again", "judge recorded pairs anew, and say where the verdicts differ")
    again.add_argument("corpus", type=Path, help="the data set, such as data/processed/NAME/corpus")
    again.add_argument("file", type=Path, help="the record, such as verdicts/NAME/TEACHER.parquet")
    again.add_argument("--teacher", default="qwen", help="a preset of conf/teacher (default: %(default)s)")
    again.add_argument("--documents", type=int, help="only the first so many documents")
    again.set_defaults(store=Path("data/verdicts-again.sqlite"))
    merge = action("merge", "merge_verdicts", "take over the verdicts of other stores")
    merge.add_argument("other", type=Path, nargs="+", help="the stores to read; they are not changed")


def _verdicts(name: str):
    """The function of `lmtx.teachers.commands`, imported when it runs."""

    def run(options: argparse.Namespace) -> int | None:
        from lmtx.teachers import commands

        return getattr(commands, name)(options)

    return run


def _add_learn(commands: argparse._SubParsersAction) -> None:
    text = "make a tagger from documents and labels, without an annotated example"
    parser = _command(commands, "learn", text)
    parser.add_argument("documents", type=Path, help=DOCUMENTS)
    parser.add_argument("labels", type=Path, help="a label a line, JSONL, CSV, TSV, Parquet or SKOS")
    _add_skos(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder of the tagger")
    parser.add_argument(
        "--teacher",
        help="a preset of conf/teacher; default: the language model where that is here, else ensemble",
    )
    parser.add_argument("--cycles", type=int, default=2, help="at most (default: %(default)s)")
    parser.add_argument("--max-cost", type=float, help="US dollars that this call may spend in all")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, ask nobody")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="parameters of the study"
    )
    _add_windows(parser, "first")
    parser.set_defaults(run=_learn)


def _add_review(commands: argparse._SubParsersAction) -> None:
    text = "answer y or n to proposed labels: measures and calibrates a tagger, beside E0"
    parser = _command(commands, "review", text)
    parser.add_argument("folder", type=Path, help="an exported tagger")
    parser.add_argument(
        "documents", type=Path, help="as for `lmtx learn`, best such as it did not learn from"
    )
    parser.add_argument(
        "--documents", dest="count", type=int, default=50, help="how many (default: %(default)s)"
    )
    parser.add_argument("--answers", type=Path, help="the file of the answers (default: FOLDER.review.jsonl)")
    parser.set_defaults(run=_review)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    text = "measure a tagger on annotated documents, beside E0, BM25 and their fusion"
    parser = _command(commands, "evaluate", text)
    parser.add_argument("folder", type=Path, help="an exported tagger")
    parser.add_argument("annotated", type=Path, help="documents with the column `labels`")
    parser.set_defaults(run=_evaluate)


def _add_model(commands: argparse._SubParsersAction) -> None:
    text = "bring an open language model onto this machine, to teach"
    parser = _command(commands, "model", text)
    parser.add_argument("name", help="its name, such as qwen-1.5b")
    parser.set_defaults(run=_model)


def _tag(options: argparse.Namespace) -> int:
    from lmtx.tagger.commands import tag

    return tag(options)


def _extend(options: argparse.Namespace) -> None:
    from lmtx.tagger.commands import add_labels

    add_labels(options)


def _export(options: argparse.Namespace) -> None:
    from lmtx.tagger.exporting import export_study

    storage = "int8" if options.int8 else None
    export_study(
        options.folder,
        options.destination,
        storage=storage,
        ask=options.ask_teacher,
        annotated=options.annotated,
        windows=options.windows,
    )


def _learn(options: argparse.Namespace) -> None:
    print("lmtx learn: starting", flush=True)  # the libraries take seconds to import
    from lmtx.tagger.learning import learn

    learn(
        options.documents,
        options.labels,
        teacher=options.teacher,
        destination=options.output,
        cycles=options.cycles,
        max_cost=options.max_cost,
        dry_run=options.dry_run,
        windows=options.windows,
        settings=options.set,
        language=options.language,
        describe=options.describe,
        say=lambda text: print(text, flush=True),
    )


def _review(options: argparse.Namespace) -> None:
    from lmtx.tagger.review import review

    review(options.folder, options.documents, count=options.count, answers=options.answers)


def _evaluate(options: argparse.Namespace) -> None:
    from lmtx.tagger.measuring import measure

    print(measure(options.folder, options.annotated))


def _model(options: argparse.Namespace) -> None:
    from lmtx.llm.models import fetch

    fetch(options.name)


if __name__ == "__main__":
    sys.exit(main())
