"""Label tuning: the teacher's verdicts move the labels' vectors, and nothing else."""

import numpy as np
import pytest
from test_baselines import make_corpus
from test_config import ROOT

from lmtx import baselines
from lmtx.baselines import Inputs, Unavailable
from lmtx.config import BaselineConfig, SimulatedConfig, compose, load_config

TOPICS = ["sorting numbers", "plotting curves", "reading files", "sparse matrices", "random graphs"]


@pytest.fixture(scope="module")
def study():
    """Forty documents that spell one of five labels each; vectors that are told apart by nothing."""
    documents = [(f"{TOPICS[i % 5]} {i}", f"all about {TOPICS[i % 5]}, part {i}") for i in range(40)]
    corpus = make_corpus(documents[:30], documents[30:], TOPICS)
    rng = np.random.default_rng(0)
    # Documents of a topic lie together, and each topic's own label where the next topic's documents are.
    centres = np.linalg.qr(rng.normal(size=(16, 5)))[0].T
    points = centres[np.arange(40) % 5] + 0.05 * rng.normal(size=(40, 16))
    labels = centres[(np.arange(5) + 1) % 5] + 0.6 * centres
    unit = lambda v: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)  # noqa: E731
    vectors = {"train": unit(points[:30]), "test": unit(points[30:]), "labels": unit(labels)}
    return corpus, vectors | {"dev": vectors["test"][:0]}


def tune(study, store, teacher=None, **changes):
    corpus, vectors = study
    values = compose(["dataset=pydocs", "teacher=ensemble"], conf=ROOT / "conf")
    options = values["baselines"]["label-tuning"]["options"]
    options["training"] |= {"batch_size": 8, "epochs": 12, "e0_share": 0.0} | changes.pop("training", {})
    options["shortlist"] |= {"size": 5}
    asked = values["teacher"] | {"lexical_weight": 1.0, "acceptance": 0.2} if teacher is None else teacher
    options["learning_rate"] = 0.01  # few labels and steps: it must move them in the end
    config = BaselineConfig(kind="label_tuning", label="l", teacher=asked, options=options | changes)
    return baselines.rank(config, Inputs(corpus, vectors, 5, teacher=config.teacher, store=store))


def test_what_the_teacher_accepts_comes_first_after_tuning(study, tmp_path):
    """The loss falls, the account is the teacher's, and E0's vectors stay as they are."""
    _, vectors = study
    right, before = np.arange(30, 40) % 5, {name: v.copy() for name, v in vectors.items()}
    tuned = tune(study, tmp_path / "v.sqlite")
    assert ((vectors["test"] @ vectors["labels"].T).argmax(axis=1) == right).mean() < 0.2
    assert (tuned.ranking.ids[:, 0] == right).mean() > 0.8
    for name, v in vectors.items():
        np.testing.assert_array_equal(v, before[name])
    assert np.mean(tuned.losses[-4:]) < 0.5 * np.mean(tuned.losses[:4])
    assert tuned.cost["verdicts"] == 150
    assert tuned.seed == 108


def test_a_second_run_gives_the_same_and_asks_nothing(study, tmp_path):
    first, second = (tune(study, tmp_path / "v.sqlite", training={"epochs": 2}) for _ in range(2))
    np.testing.assert_array_equal(first.ranking.ids, second.ranking.ids)
    np.testing.assert_array_equal(first.ranking.scores, second.ranking.scores)
    assert (second.cost["verdicts"], second.cost["cached"]) == (0, 150)
    other = tune(study, tmp_path / "v.sqlite", training={"epochs": 2, "seed": 5})
    assert (other.ranking.scores != first.ranking.scores).any()


def test_a_teacher_that_reads_annotations_is_refused(study, tmp_path):
    simulated = SimulatedConfig(kind="simulated", name="s", true_yes=0.9, false_yes=0.1, seed=1)
    with pytest.raises(Unavailable, match="a teacher that reads no annotations"):
        tune(study, tmp_path / "v.sqlite", simulated)
    found = load_config(ROOT / "params.yaml").baselines["label-tuning"]
    with pytest.raises(Unavailable, match="a teacher that reads no annotations"):
        baselines.rank(found.model_copy(update={"teacher": None}), Inputs(*study, 5))
