"""The presets of the paper hold the values of the method's tables, which stand here once more."""

import pytest
import yaml
from test_config import CONF, ROOT

from lmtx.config import Config, compose, load_config

# train docs, test docs, labels, docs used, most cycles, title, label tokens, question, propensity
PAPER = {
    "eurlex-4k": (15_449, 3_865, 3_956, None, 6, False, 15, "tag", "other"),
    "wiki10-31k": (14_146, 6_616, 30_938, None, 6, False, 15, "tag", "other"),
    "amazoncat-13k": (1_186_239, 306_782, 13_330, 30_000, 4, True, 15, "product-category", "amazon"),
    "lf-wikiseealso-320k": (693_082, 177_515, 312_330, 30_000, 3, True, 64, "related-page", "wiki"),
    "lf-wikipedia-500k": (1_813_391, 783_743, 501_070, 30_000, 3, True, 15, "encyclopedia-category", "wiki"),
}
# Of the same repository, but not in the paper.
OTHERS = {"lf-amazon-131k": (294_805, 134_835, 131_073, 30_000, 3, True, 64, "tag", "amazon")}
COMMAND = ["size=paper", "encoder=msmarco-distilbert", "teacher=openai"]


@pytest.mark.parametrize("name", [*PAPER, *OTHERS])
def test_a_paper_preset_composes_to_the_method(name):
    train, test, labels, used, cycles, title, label_tokens, wording, kind = (PAPER | OTHERS)[name]
    config = Config.model_validate(compose([*COMMAND, f"dataset={name}"], conf=CONF))

    data = config.dataset
    assert data.name == name
    assert data.reader == ("xmc" if name.startswith("lf-") else "pecos")
    assert data.expected.model_dump() == {"train": train, "test": test, "labels": labels}
    assert (data.train_documents, data.test_documents, data.dev_documents) == (None, None, 800)
    assert (data.wording, data.propensity) == (wording, kind)
    assert data.source.startswith("https://")
    assert data.folder.startswith("data/raw/")

    assert config.encoder.model == "sentence-transformers/msmarco-distilbert-base-v4"
    assert (config.encoder.document_tokens, config.encoder.label_tokens) == (430, label_tokens)
    assert config.encoder.title is title

    training = config.training
    assert training.documents == used
    assert (training.batch_size, training.epochs, training.seed) == (128, 1, 108)
    assert (training.drop_last, training.dropout) == (True, True)
    assert (training.learning_rate, training.warmup_steps, training.weight_decay) == (2e-4, 100, 0)
    assert (training.margin, training.temperature, training.hard_negatives) == (0.3, 0.1, 10)
    assert (training.negatives, training.rejected_negatives, training.soft_targets) == ("hardest", 0, False)
    assert (training.unsure, training.spared_ranks, training.e0_share) == (0, 0, 0)
    assert config.shortlist.size == 10
    assert config.check.documents == 800
    assert config.curriculum.model_dump() == {"refresh": True, "restart": True}

    assert list(config.cycles) == [f"c{i}" for i in range(1, cycles + 1)]
    previous = [cycle.previous for cycle in config.cycles.values()]
    assert previous == ["zero-shot", *(f"lmtx-c{i}" for i in range(1, cycles))]

    teacher = config.teacher
    assert (teacher.kind, teacher.wording, teacher.document_tokens) == ("openai", wording, 430)
    assert config.ablations["negatives-both"].set["training"]["rejected_negatives"] == 3
    assert config.evaluation.cutoffs == [1, 3, 5, 10, 100]


SIZES = {"paper": [*PAPER, *OTHERS], "smoke": ["own", "pydocs", "debian"], "full": ["hub", "semanlink"]}
SIZES |= {"default": ["own", "pydocs", "debian", "hub", "eurlex-4k"]}


@pytest.mark.parametrize(("size", "name"), [(size, name) for size, names in SIZES.items() for name in names])
def test_overrides_of_the_parameters_give_what_hydra_composes(size, name):
    """In any order, on the parameters as they stand."""
    chosen = [*(COMMAND if size == "paper" else [f"size={size}"]), f"dataset={name}"]
    config = Config.model_validate(compose(chosen, conf=CONF))
    assert load_config(ROOT / "params.yaml", chosen[::-1]) == config
    assert config.dataset.name == name
    assert size == "paper" or list(config.cycles) == ["c1", "c2"]


def test_a_value_given_by_hand_wins_over_the_paper():
    found = compose(["dataset=own", "size=paper", "training.documents=5", "dataset.labels=b.csv"], conf=CONF)
    assert (found["training"]["documents"], found["dataset"]["labels"]) == (5, "b.csv")


def test_settings_are_of_a_size_and_a_data_set_that_exist():
    """A file of another name would never be read."""
    for file in (CONF / "settings").glob("*.yaml"):
        size, _, data = file.stem.partition("-")
        assert (CONF / "size" / f"{size}.yaml").is_file()
        assert (CONF / "dataset" / f"{data}.yaml").is_file()
        assert "@package _global_" in file.read_text()
        assert yaml.safe_load(file.read_text()).keys() - {"defaults"} <= Config.model_fields.keys()
