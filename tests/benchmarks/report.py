"""Run every benchmark, each in a fresh process, and write reports/benchmarks.md: `make bench`.

    python tests/benchmarks/report.py [--only metrics reading] [--rounds 3]

A script that fails leaves what it had measured and a line that says why; the others still run, and the
command ends with an error. `--only` runs some, and keeps the rows of the others from the last run.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import torch
from rows import Row, quantity, read_rows, row_of, threads, times

from lmtx.devices import resolve_precision
from lmtx.files import read_json, replacing, write_json
from lmtx.provenance import commit, host, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GROWTH = "Growth"
FIGURE = ROOT / "reports" / "benchmarks" / "scaling"
ROWS = ROOT / "reports" / "benchmarks" / "rows.json"
PAGE = ROOT / "reports" / "benchmarks.md"
# In the order of the report: as data flows.
SCRIPTS = (
    *("reading", "encoding", "search", "teachers", "huggingface", "judging", "wording"),
    *("training", "metrics", "tag", "zero_shot", "scaling", "gpu"),
)


@dataclass(frozen=True)
class Run:
    """What one script left.

    Attributes
    ----------
    script
        Its name, between `bench_` and `.py`.
    rows
        What it measured.
    seconds
        How long it took.
    failure
        Its last words, or None where it ended well.
    machine
        Where it ran: what and which, in the order of the report.
    """

    script: str
    rows: list[Row]
    seconds: float
    failure: str | None
    machine: dict[str, str]


def run(script: str, rounds: int | None, machine: dict[str, str], folder: Path = HERE) -> Run:
    """Run one script of `folder` at its default sizes; its rows are printed as they come."""
    with TemporaryDirectory() as scratch:
        rows, errors = Path(scratch) / "rows.jsonl", Path(scratch) / "errors"
        command = [sys.executable, str(folder / f"bench_{script}.py"), "--rows", str(rows)]
        if rounds is not None:
            command += ["--rounds", str(rounds)]
        if script == "scaling":
            command += ["--figure", str(FIGURE.parent.relative_to(ROOT))]
        started = time.monotonic()
        with errors.open("w") as out:
            status = subprocess.run(command, stderr=out, cwd=ROOT).returncode
        seconds = time.monotonic() - started
        failure = None
        if status:
            said = errors.read_text(errors="replace").strip()
            print(said, file=sys.stderr)
            # The page is for others, to whom the place of this copy says nothing.
            failure = said.splitlines()[-1].replace(f"{ROOT}/", "") if said else f"it ended with {status}"
        return Run(script, read_rows(rows), seconds, failure, machine)


def machine() -> dict[str, str]:
    """What figures depend on beside the code."""
    found = host()
    precision = resolve_precision("auto", torch.device("cpu"))
    package = versions() | {"torch": torch.__version__}
    return {
        "processor": f"{found['processor']}, {found['cores']} cores",
        "threads": f"{threads()} (torch {torch.get_num_threads()}, faiss {faiss.omp_get_max_threads()})",
        "memory": f"{found['memory_gib']} GiB",
        "precision": f'"auto" is {precision} on this processor',
        "GPU": found["gpu"] or "none, so no rows",
        "system": f"{found['system']}, Python {found['python']}",
        "versions": ", ".join(f"{name} {version}" for name, version in package.items()),
        "commit": commit() or "unknown",
    }


def page(runs: list[Run]) -> str:
    """The report, as Markdown: a table a part, in the order in which the rows came."""
    parts: dict[str, list[Row]] = {}
    for row in (row for each in runs for row in each.rows):
        parts.setdefault(row.part, []).append(row)
    text = [
        "# Benchmarks",
        "Each row sets this project against what one would pick instead. Both ran in turn, several times; "
        "figures are medians, and “times” is how many times better ours is: the median over the rounds and, "
        "in brackets, the worst and the best round. `make bench` writes this page.",
    ]
    machines = [each.machine for each in runs]
    for number, where in enumerate(m for i, m in enumerate(machines) if m not in machines[:i]):
        names = [f"`bench_{each.script}.py`" for each in runs if each.machine == where]
        if number or len(names) < len(runs):
            text.append(f"Measured by {', '.join(names)}:")
        text.append("\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in where.items())]))
    for part, rows in parts.items():
        text += [f"## {part}", table(rows)]
        if part == GROWTH and FIGURE.with_suffix(".png").is_file():
            text.append(f"![Time against size, with slopes]({FIGURE.relative_to(ROOT / 'reports')}.png)")
    gaps = [
        f"- `bench_{each.script}.py` failed, so rows are missing: {each.failure}"
        for each in runs
        if each.failure is not None
    ]
    if gaps:
        text += ["## Gaps", "\n".join(gaps)]
    total = sum(each.seconds for each in runs)
    shares = ", ".join(f"{each.script} {each.seconds:.0f} s" for each in runs)
    text.append(f"All took {total / 60:.0f} minutes: {shares}.")
    return "\n\n".join(text) + "\n"


def table(rows: list[Row]) -> str:
    """Rows of one part; columns that none of them fills are left out."""
    compared = any(row.other is not None for row in rows)
    head = ["measured", "ours", *(["instead", "times"] if compared else []), "repeat with"]
    lines = [head, ["---", "---:", *(["---:", "---:"] if compared else []), "---"]]
    for row in rows:
        cells = [row.case + (f"; {row.note}" if row.note else ""), cell(row.ours, row.figures[0], row.unit)]
        if compared:
            other = "" if row.other is None else cell(row.other, row.figures[1], row.unit)
            cells += [other, times(row)]
        lines.append([*cells, f"`{row.command}`"])
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def cell(name: str, figure: float, unit: str) -> str:
    return f"{name}: **{quantity(figure)}** {unit}"


def last_runs(path: Path) -> dict[str, Run]:
    """What the last report was made from, by script; nothing where there is none."""
    if not path.is_file():
        return {}
    saved = [each | {"rows": [row_of(row) for row in each["rows"]]} for each in read_json(path)]
    return {each["script"]: Run(**each) for each in saved}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="run these alone")
    parser.add_argument(
        "--rounds", type=int, help="how often each way is measured; each script has a default"
    )
    chosen = parser.parse_args()
    where = machine()
    runs = last_runs(ROWS) if chosen.only != SCRIPTS else {}
    for script in SCRIPTS:
        if script in chosen.only:
            print(f"== bench_{script}.py", flush=True)
            runs[script] = run(script, chosen.rounds, where)
            ordered = [runs[name] for name in SCRIPTS if name in runs]
            write_json(ROWS, [asdict(each) for each in ordered])
            with replacing(PAGE) as scratch:
                scratch.write_text(page(ordered), encoding="utf-8")
    failed = [script for script in chosen.only if runs[script].failure is not None]
    print(f"{PAGE.relative_to(ROOT)} is written")
    if failed:
        raise SystemExit(f"these failed, see the page: {', '.join(failed)}")


if __name__ == "__main__":
    main()
