"""From result files to what a reader sees: tables, figures, one page, and the README's numbers."""

import re
from pathlib import Path

import pandas as pd

from lmtx.files import replacing
from lmtx.report import tables
from lmtx.report.points import load_points
from lmtx.report.render import interval, percent
from lmtx.report.results import READS_ANNOTATIONS, datasets, load_results, load_statistics

SUMMARY_METRICS = ("P@1", "R@10", "R@100")
MARKERS = ("<!-- main-table -->", "<!-- /main-table -->")


def write(reports: str | Path, dataset: str) -> list[Path]:
    """Write every table, figure and `index.html` into `reports`, from the result files in it.

    T1 to T4 hold every data set that has results, `dataset` first; the ablations, the figures and the
    page's title are about `dataset`. What has no result yet is a labelled gap in its place. The same
    result files give the same bytes; other files in the two folders go.

    Returns the paths written. Raises `ValueError` naming a result file that cannot be used, before
    anything is written.
    """
    # matplotlib takes a second to load, and `summary` has no use for it.
    from lmtx.report import ablation_tables, ablations, figures, loop, systems
    from lmtx.report.page import write_page

    reports = Path(reports)
    names = datasets(reports, dataset)
    parts = [
        tables.t1(reports, names),
        tables.t2(reports, names),
        figures.main_comparison(reports, dataset),
        tables.t2_tail(reports, names),
        tables.t2_literal(reports, names),
        systems.by_frequency(reports, dataset),
        tables.t3(reports, names),
        systems.f1_pairs(reports, dataset),
        loop.f2_loop(reports, dataset),
        tables.t4(reports, names),
        ablation_tables.t5_teachers(reports, dataset),
        ablations.teacher_map(reports, dataset),
        ablations.f3_sample_size(reports, dataset),
        ablations.f4_negatives(reports, dataset),
        ablations.f5_shortlist(reports, dataset),
        ablation_tables.t6_curriculum(reports, dataset),
        figures.f6_curriculum(reports, dataset),
        ablation_tables.variants(reports, dataset),
    ]
    paths = []
    for part in parts:
        paths += part.save(reports / ("tables" if isinstance(part, tables.Table) else "figures"))
    for old in {file for path in paths for file in path.parent.iterdir()} - {*paths}:
        if not old.name.startswith("."):
            old.unlink()
    results, points = load_results(reports, dataset), load_points(reports, dataset)
    statistics = load_statistics(reports, dataset)
    return [*paths, write_page(reports / "index.html", dataset, parts, results, points, statistics)]


def summary(reports: str | Path, dataset: str) -> dict[str, dict[str, float]]:
    """The headline figures of every system with a result, as fractions: {"lmtx": {"P@1": 0.46, …}, …}."""
    return {
        r.system: {name: r.metrics[name].value for name in SUMMARY_METRICS if name in r.metrics}
        for r in load_results(reports, dataset)
        if r.metrics
    }


def readme_table(reports: str | Path, dataset: str) -> str:
    """The main comparison in the few columns that fit a README, from the CSV of T2.

    Raises `ValueError` when T2 was not written yet, or does not hold the data set.
    """
    path = Path(reports) / "tables" / "t2_main.csv"
    if not path.is_file():
        raise ValueError(f"no {path}; run the `report` stage first")
    every = pd.read_csv(path)
    frame = every[(every["dataset"] == dataset) & every["P@1"].notna()]
    if frame.empty:
        raise ValueError(f"{path} holds no result on {dataset}; run the `report` stage again")
    shown = ("P@1", "P@5", "R@10", "R@100")
    lines = [
        f"| {dataset}, % | " + " | ".join(shown) + " | P@1 − LMTX |",
        "| --- |" + " ---: |" * (len(shown) + 1),
    ]
    for row in frame.to_dict("records"):
        marked = READS_ANNOTATIONS in str(row["notes"])
        cells = [row["label"].replace("|", "\\|") + (" †" if marked else "")]
        for name in shown:
            cells.append(f"{percent(row[name])} {interval(row[f'{name}_low'], row[f'{name}_high'])}".strip())
        ends = (row["P@1_minus_lmtx_low"], row["P@1_minus_lmtx_high"])
        cells.append(f"{percent(row['P@1_minus_lmtx'], sign=True)} {interval(*ends, sign=True)}".strip())
        lines.append("| " + " | ".join(cells) + " |")
    sizes = " or ".join(f"{n:,.0f}" for n in sorted(frame["n"].dropna().unique()))
    note = "in brackets 95 % bootstrap intervals over them, paired in the last column."
    if frame["notes"].astype(str).str.contains(READS_ANNOTATIONS).any():
        note += " † reads annotations: no zero-shot system."
    lines += ["", f"n = {sizes} test documents; {note}"]
    lines += _all_datasets(every)
    return "\n".join(lines) + "\n"


def _all_datasets(frame: pd.DataFrame) -> list[str]:
    """A row a data set: LMTX beside its encoder before training; nothing where there is one data set only."""
    rows = []
    for dataset, part in frame.groupby("dataset", sort=False):
        part = part.set_index("system")
        if not {"zero-shot", "lmtx"} <= set(part.index) or part["P@1"][["zero-shot", "lmtx"]].isna().any():
            continue
        e0, lmtx = part.loc["zero-shot"], part.loc["lmtx"]
        ends = (-e0["P@1_minus_lmtx_high"], -e0["P@1_minus_lmtx_low"])
        gain = f"{percent(-e0['P@1_minus_lmtx'], sign=True)} {interval(*ends, sign=True)}".strip()
        values = [percent(system[metric]) for metric in ("P@1", "R@10") for system in (e0, lmtx)]
        rows.append("| " + " | ".join([str(dataset), values[0], values[1], gain, *values[2:]]) + " |")
    if len(rows) < 2:
        return []
    head = "| every data set, % | P@1, E0 | P@1, LMTX | gain | R@10, E0 | R@10, LMTX |"
    return ["", head, "| --- |" + " ---: |" * 5, *rows]


def update_readme(readme: str | Path, reports: str | Path, dataset: str) -> None:
    """Put `readme_table` between the README's `<!-- main-table -->` and `<!-- /main-table -->`.

    Raises `ValueError`, and leaves the README as it is, when it does not hold each marker once.
    """
    readme = Path(readme)
    text = readme.read_text(encoding="utf-8")
    start, end = MARKERS
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if text.count(start) != 1 or text.count(end) != 1 or not pattern.search(text):
        raise ValueError(f"{readme} needs one {start} and, after it, one {end}")
    table = readme_table(reports, dataset)
    with replacing(readme) as scratch:
        scratch.write_text(pattern.sub(lambda _: f"{start}\n{table}{end}", text), encoding="utf-8")
