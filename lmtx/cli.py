"""The `lmtx` command. Each subcommand imports what it needs when it runs, so that help is instant."""

import argparse
import sys
from pathlib import Path

STORE = Path("data/verdicts.sqlite")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (None: the process's own); returns the exit status."""
    parser = argparse.ArgumentParser(prog="lmtx", description="Zero-shot tagging with LMTX.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_verdicts(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


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
    merge = action("merge", _merge_verdicts, "take over the verdicts of other stores")
    merge.add_argument("other", type=Path, nargs="+", help="the stores to read; they are not changed")


def _reporting(run):
    """`run`, with the errors a user can do something about as one line instead of a traceback."""

    def reporting(options: argparse.Namespace) -> int:
        from lmtx.teachers.store import StoreError

        try:
            run(options)
        except (StoreError, OSError) as error:
            print(f"lmtx: {error}", file=sys.stderr)
            return 1
        return 0

    return reporting


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
