"""Notebooks run by hand: how their tables look, and the notebook that makes a missing result."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import find_upwards
from lmtx.study import Study


def style_output() -> None:
    """Show whole texts in tables, on the left, and figures in the style of the study."""
    import matplotlib.pyplot as plt
    from IPython import get_ipython

    plt.style.use([f"seaborn-v0_8-{name}" for name in ("notebook", "whitegrid", "colorblind")])
    html = get_ipython().display_formatter.formatters["text/html"]
    html.for_type(pd.DataFrame, lambda table: left(table).to_html())


def left(table: pd.DataFrame) -> "pd.io.formats.style.Styler":
    """Style a table: its text on the left, long addresses broken, numbers with at most three decimals."""
    table = table.infer_objects()
    texts = [i for i, kind in enumerate(table.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    cells = ", ".join(["th.row_heading", "th.index_name", *(f".col{i}" for i in texts)])
    rules = [{"selector": cells, "props": "text-align: left"}]
    rules += [{"selector": f"td.col{i}", "props": "overflow-wrap: anywhere; min-width: 8em"} for i in texts]
    aligned = table.style.set_table_styles(rules)
    return aligned.format(precision=3, escape="html", na_rep="")


def plot_losses(losses: Sequence[float], title: str) -> None:
    """Plot the loss of each training step, and the mean of ten."""
    steps = pd.Series(losses, index=range(1, len(losses) + 1))
    ax = steps.plot(alpha=0.35, figsize=(7, 3))
    steps.rolling(10, min_periods=1).mean().plot(ax=ax)
    ax.set(xlabel="step", ylabel="loss, and mean of ten", ylim=(0, None))
    ax.set_title(f"{title}: {len(steps)} steps")


def label_lists(documents: pa.Table, labels: pa.Table, pairs: sp.csr_array) -> pd.DataFrame:
    """Table these documents with their labels in `pairs`, boolean CSR (n_docs, L), by uids."""
    rows = [", ".join(labels["uid"].take(pairs[[row]].indices).to_pylist()) for row in range(len(documents))]
    return pd.DataFrame({"document": documents["uid"].to_pylist(), "labels": rows})


def maker(study: Study, path: Path) -> tuple[str, dict[str, str]]:
    """Return the notebook that makes `path`, and its parameters."""
    name = path.name.removesuffix(".json")
    if path in (study.corpus, study.truth, study.statistics):
        return "notebooks/01_prepare.ipynb", {}
    if path in (study.embeddings, study.model("zero-shot"), study.record("encode")):
        return "notebooks/02_encode.ipynb", {}
    if path == study.results:
        return "notebooks/06_evaluate.ipynb", {}
    if path == study.ablations:
        return "notebooks/stages/ablations.ipynb", {}
    if path == study.point(name) or name.startswith("ablate-"):
        return "notebooks/stages/ablation.ipynb", {"point": name.removeprefix("ablate-")}
    if path == study.labelled(name) or name.removeprefix("label-") in study.config.cycles:
        return "notebooks/03_label.ipynb", {"cycle": name.removeprefix("label-")}
    if name.startswith("lmtx-"):
        return "notebooks/04_train.ipynb", {"cycle": name.removeprefix("lmtx-")}
    if name == "supervised":
        return "notebooks/stages/supervised.ipynb", {}
    return "notebooks/05_baselines.ipynb", {"baseline": name}


def run(study: Study, notebook: str, parameters: dict[str, str]) -> None:
    """Run a notebook with the parameters of `study`, and write the executed copy to its reports."""
    import papermill

    source = find_upwards(study.opened["config"]).parent / notebook
    name = "-".join([source.stem, *parameters.values()])
    target = study.reports / "notebooks" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"running {name} first: this notebook needs its results")
    papermill.execute_notebook(
        source, target, {**study.opened, **parameters}, progress_bar=False, kernel_name="python3"
    )
