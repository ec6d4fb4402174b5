"""The `lmtx` command: its arguments, and how it ends.

Each subcommand imports what it needs when it runs, so that help is instant.
"""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from lmtx import __version__

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
LABELS = "a label a line, JSONL, CSV, TSV, Parquet or SKOS"
TEACHERS = "combined, ensemble, huggingface, openai or qwen"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (None: the process's own); returns the exit status."""
    parser = argparse.ArgumentParser(prog="lmtx", description="Zero-shot tagging with LMTX.")
    parser.epilog = f"example: lmtx learn {EXAMPLES['lmtx learn']}"
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_tag, _add_labels, _add_export, _add_verdicts, _add_learn, _add_review):
        add(commands)
    text = "measure a tagger on annotated documents, beside E0, BM25 and their fusion"
    measure = _runs("tagger.commands:measure", keywords=True)
    add = _command(commands, "evaluate", text, lambda options: print(measure(options)))
    add("folder", type=Path, help="an exported tagger")
    add("annotated", type=Path, help="documents with the column `labels`")
    text = "bring an open language model onto this machine, to teach"
    add = _command(commands, "model", text, _runs("llm.models:fetch", keywords=True))
    add("name", help="its name, such as qwen-1.5b")
    options, rest = parser.parse_known_args(arguments)
    # argparse takes `FOLDER -k 5 FILE` for a folder, no files, and a word too many.
    if rest and (not hasattr(options, "files") or any(word.startswith("-") and word != "-" for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.files += [Path(word) for word in rest]
    return run(options)


def run(options: argparse.Namespace) -> int:
    """Run `options.run`; return the exit status, and write an error as a line instead of a traceback.

    The status is 130 after Ctrl-C, 1 after an error, and 0 where nobody reads the output any more.
    `options.debug` keeps the traceback.
    """
    if sys.stderr is None:  # `print` would take standard output for it
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        code = options.run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # whoever read our output has seen enough
        _drop_output()
        return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would be a trace
        _drop_output()
        print("lmtx: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        _drop_output()
        message = str(error)
        # An error that is none of ours, and no fault of the system, is a bug.
        if not isinstance(error, OSError) and not type(error).__module__.startswith("lmtx."):
            first = f"{type(error).__name__}: {message}".partition("\n")[0]
            message = f"{first}; this is a fault of the program, and --debug shows where"
        print(f"lmtx: {message}", file=sys.stderr)
        return 1


def _drop_output() -> None:
    """Write out complete lines; where that fails, make sure that Python does not try again at its end."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(commands: argparse._SubParsersAction, name: str, text: str, runs: Callable) -> Callable:
    """Add a command that `text`, in lower case, describes; return the function that adds its arguments."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.epilog = f"example: {parser.prog} {EXAMPLES[parser.prog]}"
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    parser.set_defaults(run=runs)
    return parser.add_argument


def _runs(target: str, keywords: bool = False) -> Callable:
    """A function of `lmtx`, "module:name", imported when it runs; it takes the options, maybe as keywords."""
    module, _, name = target.partition(":")

    def run(options: argparse.Namespace):
        gc.disable()  # imports leave no garbage, and looking for it takes a tenth of their time
        try:
            function = getattr(import_module(f"lmtx.{module}"), name)
        finally:
            gc.freeze()
            gc.enable()
        given = {option: value for option, value in vars(options).items() if option not in ("run", "debug")}
        return function(**given) if keywords else function(options)

    return run


def _add_tag(commands: argparse._SubParsersAction) -> None:
    text = "tag documents: files or JSON lines with `text` in, labels with scores out"
    add = _command(commands, "tag", text, _runs("tagger.stream:tag"))
    add("folder", type=Path, help="an exported tagger, or a model of a study")
    add("files", type=Path, nargs="*", help=f"{DOCUMENTS}; none, or -: JSON lines from standard input")
    add("-k", type=int, default=5, help="labels a document (default: %(default)s)")
    limits = add.__self__.add_mutually_exclusive_group()
    limits.add_argument("--threshold", type=float, help="only labels with at least this score")
    precision = (
        "only labels from the score on at which this share is right (0.8: 80 %%), by the answers of people "
        "(`lmtx review`, or `lmtx export --annotated`)"
    )
    limits.add_argument("--precision", type=float, help=precision)
    add("--strict", action="store_true", help="stop at the first broken line instead of skipping it")
    formats = (
        "of the answers: JSON lines, CSV with a row a label, or Annif's TSV of texts and URIs "
        "(default: %(default)s)"
    )
    add("--format", choices=["jsonl", "csv", "tsv"], default="jsonl", help=formats)
    add("--text", action="store_true", help="put the document's title, or else its text, into its answer")
    _add_windows(add, None)


def _add_labels(commands: argparse._SubParsersAction) -> None:
    text = "add labels to an exported tagger, without training"
    add = _command(commands, "add-labels", text, _runs("tagger.commands:add_labels"))
    add("folder", type=Path, help="an exported tagger")
    add("files", type=Path, nargs="*", help=f"{LABELS}; none, or -: JSON lines from standard input")
    _add_skos(add)


def _add_skos(add: Callable) -> None:
    add("--language", help="of a SKOS vocabulary's labels, such as en; default: that of most")
    text = (
        "text of a SKOS concept: its name, or also its other names or those above it (default: %(default)s)"
    )
    add("--describe", choices=["name", "alternatives", "broader"], default="name", help=text)


def _add_windows(add: Callable, default: str | None) -> None:
    text = (
        "of a document that is longer than the encoder reads: its first window, the mean of all, or for each "
        f"label the best one (default: {default or 'as the tagger was made'})"
    )
    add("--windows", choices=["first", "mean", "best"], default=default, help=text)


def _add_export(commands: argparse._SubParsersAction) -> None:
    text = "make a tagger of a study's model: encoder, labels, threshold, model card, in one folder"
    add = _command(commands, "export", text, _runs("tagger.commands:export_study", keywords=True))
    add("folder", type=Path, help="a model of a study, models/DATASET/SYSTEM, or a tagger")
    add("destination", type=Path, help="the folder to write")
    int8 = {"action": "store_const", "const": "int8", "dest": "storage"}
    add("--int8", **int8, help="label vectors at a quarter of the size")
    text = "calibrate even where it costs the teacher requests"
    add("--ask-teacher", action="store_true", dest="ask", help=text)
    add("--annotated", type=Path, help="calibrate on documents with people's answers in the column `labels`")
    _add_windows(add, None)


def _add_verdicts(commands: argparse._SubParsersAction) -> None:
    verdicts = commands.add_parser("verdicts", help="list, export or merge the verdicts of teachers")
    actions = verdicts.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, does: str, text: str, store: Path = STORE) -> Callable:
        add = _command(actions, name, text, _runs(f"teachers.commands:{does}"))
        add("--store", type=Path, default=store, help="the verdict store (default: %(default)s)")
        return add

    action("list", "list_verdicts", "show what each teacher has judged, and what it cost")
    add = action("export", "export_verdicts", "write verdicts to a Parquet file")
    add("file", type=Path, help="the Parquet file to write")
    add("--teacher", help="only this teacher: its name, or the start of its id")
    corpus, record = "the data set, such as data/processed/NAME/corpus", "verdicts/NAME/TEACHER.parquet"
    add = action("record", "record_verdicts", "record a teacher's verdicts on a data set, to ship")
    add("teacher", help="its name")
    add("corpus", type=Path, help=corpus)
    add("file", type=Path, help=f"the record, such as {record}")
    texts = "beside it, in TEACHER-texts.parquet, all texts that it wrote"
    add("--texts", action="store_true", help=texts)
    text = "judge recorded pairs anew, and say where the verdicts differ"
    add = action("again", "judge_again", text, store=Path("data/verdicts-again.sqlite"))
    add("corpus", type=Path, help=corpus)
    add("file", type=Path, help=f"the record, such as {record}")
    add("--teacher", default="qwen", help=f"{TEACHERS} (default: %(default)s)")
    add("--documents", type=int, help="only the first so many documents")
    add = action("merge", "merge_verdicts", "take over the verdicts of other stores")
    add("other", type=Path, nargs="+", help="the stores to read; they are not changed")


def _add_learn(commands: argparse._SubParsersAction) -> None:
    text = "make a tagger from documents and labels, without an annotated example"
    add = _command(commands, "learn", text, _learn)
    add("documents", type=Path, help=DOCUMENTS)
    add("labels", type=Path, help=LABELS)
    _add_skos(add)
    output = {"type": Path, "required": True, "dest": "destination", "metavar": "OUTPUT"}
    add("-o", "--output", **output, help="the folder of the tagger")
    teacher = f"{TEACHERS}; default: the language model where that is here, else ensemble"
    add("--teacher", help=teacher)
    add("--cycles", type=int, default=2, help="at most (default: %(default)s)")
    add("--max-cost", type=float, help="US dollars that this call may spend in all")
    add("--dry-run", action="store_true", help="show the plan, ask nobody")
    settings = {"action": "extend", "nargs": "+", "default": [], "dest": "settings"}
    add("--set", **settings, metavar="SECTION.KEY=VALUE", help="parameters of the study")
    _add_windows(add, "first")


def _learn(options: argparse.Namespace) -> None:
    options.say = partial(print, flush=True)
    options.say("lmtx learn: starting")  # the libraries take seconds to import
    _runs("tagger.learning:learn", keywords=True)(options)


def _add_review(commands: argparse._SubParsersAction) -> None:
    text = "answer y or n to proposed labels: measures and calibrates a tagger, beside E0"
    add = _command(commands, "review", text, _runs("tagger.review:review", keywords=True))
    add("folder", type=Path, help="an exported tagger")
    add("documents", type=Path, help="as for `lmtx learn`, best such as it did not learn from")
    add("--documents", dest="count", type=int, default=50, help="how many (default: %(default)s)")
    add("--answers", type=Path, help="the file of the answers (default: FOLDER.review.jsonl)")


if __name__ == "__main__":
    sys.exit(main())
