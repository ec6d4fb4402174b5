"""Find and run the notebook that makes a result, for a notebook that is run by hand."""

from pathlib import Path

from lmtx.config import find_upwards
from lmtx.study import Study


def maker(study: Study, path: Path) -> tuple[str, dict[str, str]]:
    """Return the notebook that makes `path`, and its parameters."""
    name = path.name
    if path in (study.corpus, study.truth, study.statistics):
        return "01_prepare", {}
    if path in (study.embeddings, study.model("zero-shot")):
        return "02_encode", {}
    if path == study.results:
        return "06_evaluate", {}
    if path == study.ablations:
        return "06_ablations", {}
    if path == study.point(name) or name.startswith("ablate-"):
        return "05_ablation", {"point": name.removeprefix("ablate-")}
    if path == study.labelled(name):
        return "03_label", {"cycle": name}
    if name.startswith("lmtx-"):
        return "04_train", {"cycle": name.removeprefix("lmtx-")}
    if name == "supervised":
        return "05_supervised", {}
    return "05_baselines", {"baseline": name}


def run(study: Study, notebook: str, parameters: dict[str, str]) -> None:
    """Run a notebook with the parameters of `study`, and write the executed copy to its reports."""
    import papermill

    source = find_upwards(study.opened["config"]).parent / "notebooks" / f"{notebook}.ipynb"
    name = "-".join([notebook, *parameters.values()])
    target = study.reports / "notebooks" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"running {name} first: this notebook needs its results")
    papermill.execute_notebook(
        source, target, {**study.opened, **parameters}, progress_bar=False, kernel_name="python3"
    )
