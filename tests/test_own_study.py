"""The study on one's own documents runs to its end, whatever these are; its notebooks run in this process."""

import json
import os
from types import ModuleType

import matplotlib.pyplot as plt
import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from test_config import ROOT
from tiny_encoders import save_tiny_encoder
from tiny_models import save_random_model

from lmtx.config import compose
from lmtx.files import read_json

WORDS = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a tiny encoder and of a tiny language model."""
    folder = tmp_path_factory.mktemp("models")
    encoder = save_tiny_encoder(folder / "encoder")
    return str(encoder), str(save_random_model(folder / "model"))


@pytest.fixture
def shell(monkeypatch):
    """An IPython that runs notebooks here; a kernel for each would take seconds."""
    # In a module of its own: a reset empties it, and what pytest runs as needs its own.
    shell = InteractiveShell.instance(user_module=ModuleType("notebook"))
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield shell
    plt.switch_backend(before)
    InteractiveShell.clear_instance()


def run(shell, name, **parameters):
    """Execute a notebook of the study with these parameters."""
    shell.reset(new_session=False)
    shell.input_transformers_cleanup.clear()
    cells = [
        c.source
        for c in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells
        if c.cell_type == "code"
    ]
    given = {"size": "", "workspace": ".", **parameters}
    cells.insert(1, "\n".join(f"{key} = {value!r}" for key, value in given.items()))
    for cell in cells:
        shell.run_cell(cell, silent=True).raise_error()
    plt.close("all")


def study(folder, models, documents, labels, teacher):
    """Write a study on own files into `folder`: two cycles, E0 and TF-IDF."""
    encoder, model = models
    (folder / "documents.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    values = compose(["dataset=own", f"teacher={teacher['preset']}"], ROOT / "conf")
    values["dataset"] |= {"documents": "documents.jsonl", "labels": "labels.txt"}
    values["encoder"] |= {"model": encoder, "sha256": None}
    values["teacher"] |= teacher["set"] | ({"model": model} if teacher["preset"] == "qwen" else {})
    values["baselines"] = {name: values["baselines"][name] for name in ("zero-shot", "tfidf")}
    values |= {"hybrids": {}, "ablations": {}}
    values["training"] |= {"batch_size": 4, "documents": None}
    (folder / "conf").symlink_to(ROOT / "conf")
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return list(values["cycles"])


def texts(n, labels=None):
    """n documents of one topic each; `labels(i)` annotates document i."""
    for i in range(n):
        word = WORDS[i % len(WORDS)]
        yield {"text": f"{word}{i % 5} {word}{i % 7} {word}1"} | ({"labels": labels(i)} if labels else {})


def one_label(i):
    return [f"{WORDS[i % len(WORDS)]}1"]


ENSEMBLE = {"preset": "ensemble", "set": {}}
TOPICS = [f"{word}1" for word in WORDS]
LLM = {"sha256": None, "device": "cpu", "precision": "fp32", "acceptance": None, "name": "tiny"}
CASES = {
    "none annotated": (list(texts(40)), TOPICS, ENSEMBLE),
    "three documents": (list(texts(3)), TOPICS, ENSEMBLE),
    "labels that nobody proposes": (
        list(texts(40, one_label)),
        [*TOPICS, *(f"owl{i}" for i in range(60))],
        ENSEMBLE,
    ),
    "a teacher that says yes to all": (
        list(texts(30, one_label)),
        TOPICS,
        {"preset": "qwen", "set": LLM | {"threshold": 1e-9}},
    ),
    "a teacher that says no to all": (
        list(texts(30, one_label)),
        TOPICS,
        {"preset": "qwen", "set": LLM | {"threshold": 1 - 1e-9}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_study_runs_to_its_end(case, models, shell, tmp_path, monkeypatch):
    documents, labels, teacher = CASES[case]
    cycles = study(tmp_path, models, documents, labels, teacher)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    run(shell, "01_prepare")
    run(shell, "02_encode")
    for cycle in cycles:
        run(shell, "03_label", cycle=cycle)
        run(shell, "04_train", cycle=cycle)
    for baseline in ("zero-shot", "tfidf"):
        run(shell, "05_baselines", baseline=baseline)
    for name in ("stages/supervised", "06_evaluate", "stages/ablations", "07_report"):
        run(shell, name)
    results = {file.stem: read_json(file) for file in (tmp_path / "reports/metrics/own").glob("*.json")}
    annotated = any(d.get("labels") for d in documents)
    assert ("metrics" in results["zero-shot"]) == annotated
    assert (tmp_path / "models/own/lmtx/lmtx.json").is_file()
    assert os.path.getsize(tmp_path / "reports/index.html") > 1000
