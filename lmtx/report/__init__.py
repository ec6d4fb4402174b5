"""The report of a study: tables, figures, one page, and the README's numbers.

`load` reads the result files once; everything else is made from the `Results` that it returns.
"""

from pathlib import Path

from lmtx.report.page import SHORT, update_readme, write_page
from lmtx.report.results import Results, load

__all__ = ["SHORT", "Results", "load", "update_readme", "write"]


def write(results: Results, reports: str | Path) -> list[Path]:
    """Write every table, figure and `index.html` into the folder `reports`.

    T1 to T4 hold every data set that has results, `results.dataset` first; T5, T6, the figures and the page's
    title are about that one. A missing result is a labelled gap; a table or figure without any
    number gets no file, and the page names the command that runs it. The same results give the same bytes;
    other files in `reports/tables` and `reports/figures` go.

    Returns the paths written, that of the page last.
    """
    # matplotlib takes a second to load, and `load` has no use for it.
    from lmtx.report import ablation_tables, ablations, diagrams, figures, tables

    sections = [
        figures.main_comparison(results),
        tables.t1(results),
        tables.t2(results),
        tables.t2_tail(results),
        tables.t2_literal(results),
        ablation_tables.strings_or_model(results),
        figures.by_frequency(results),
        tables.t3(results),
        diagrams.f1_pairs(results),
        diagrams.f2_loop(results),
        tables.t4(results),
        ablation_tables.t5_teachers(results),
        ablations.teacher_map(results),
        *(ablations.of_axis(results, axis) for axis in ablations.AXES),
        ablation_tables.t6_curriculum(results),
        figures.f6_curriculum(results),
        ablation_tables.variants(results),
    ]
    reports = Path(reports)
    paths = [
        path for section in sections if not section.empty for path in section.save(reports / section.folder)
    ]
    for old in {file for path in paths for file in path.parent.iterdir()} - {*paths}:
        if not old.name.startswith("."):
            old.unlink()
    return [*paths, write_page(reports / "index.html", results, sections)]
