"""Parameters: what is wrong with them is said before any work starts, by file, key and value."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from lmtx.config import ConfigError, compose, find_upwards, load_config, load_price

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"


@pytest.fixture(scope="module")
def pydocs():
    return yaml.safe_dump(compose(["dataset=pydocs"], conf=CONF), sort_keys=False)


@pytest.fixture
def study(pydocs, tmp_path, monkeypatch):
    """A folder with a `params.yaml` of pydocs, and one more preset; the test runs in it."""
    (tmp_path / "params.yaml").write_text(pydocs, encoding="utf-8")
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "size" / "tiny.yaml").write_text(
        "# @package _global_\ndataset:\n  libraries: [numpy]\ntraining:\n  seed: 7\n"
        "ablation: {set: {}}\nablations: {}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, values):
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def change(study, key, value):
    """Set one parameter in the file itself, as an editor would."""
    values = yaml.safe_load((study / "params.yaml").read_text())
    section = values
    *sections, last = key.split(".")
    for name in sections:
        section = section[name]
    section[last] = value
    write(study / "params.yaml", values)


def message(*overrides):
    with pytest.raises(ConfigError) as error:
        load_config(overrides=overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("trainning", {}, "`trainning` is not a parameter; did you mean `training`?"),
        ("cycles.c1.previuos", "x", "`cycles.c1.previuos` is not a parameter; did you mean `previous`?"),
        ("teacher.acceptence", 0.3, "`teacher.acceptence` is not a parameter; did you mean `acceptance`?"),
        ("check.zzz", 1, "`check.zzz` is not a parameter; there are: documents"),
        ("training.batch_size", "64", "`training.batch_size` is '64': input should be a valid integer"),
        ("training.batch_size", 1, "`training.batch_size` is 1: input should be greater than or equal to 2"),
        ("encoder.title", 1, "`encoder.title` is 1: input should be a valid boolean"),
        ("teacher.acceptance", 1.5, "`teacher.acceptance` is 1.5: input should be less than 1"),
        ("evaluation.cutoffs", [1, 0], "`evaluation.cutoffs.1` is 0: input should be greater than or"),
        ("encoder.precision", "fp8", "`encoder.precision` is 'fp8': input should be 'auto', 'bf16'"),
        ("training", 5, "`training` is 5: expected a section"),
        ("teacher", "openai", "`teacher` is 'openai': expected a section"),
        ("cycles", {}, "`cycles` is {}: dictionary should have at least 1 item"),
        ("cycles", {"a b": {"previous": "zero-shot"}}, "`cycles.a b` is 'a b': string should match pattern"),
        ("baselines.tfidf.kind", "tf-idf", "`baselines.tfidf.kind` is 'tf-idf'"),
        ("teacher.kind", "opnai", "`teacher.kind` is 'opnai': expected one of 'ensemble'"),
    ],
)
def test_a_wrong_parameter_is_named(study, key, value, expected):
    change(study, key, value)
    assert f"{study / 'params.yaml'}: {expected}" in message()


def test_a_missing_parameter_is_named(study):
    values = yaml.safe_load((study / "params.yaml").read_text())
    del values["shortlist"], values["teacher"]["kind"], values["training"]["batch_size"]
    write(study / "params.yaml", values)
    assert message().splitlines() == [
        f"{study / 'params.yaml'}: `{key}` is missing"
        for key in ("teacher.kind", "shortlist", "training.batch_size")
    ]


def test_every_wrong_parameter_is_reported_at_once(study):
    change(study, "training.batch_size", 1)
    change(study, "encoder.device", 3)
    assert len(message().splitlines()) == 2


def test_a_member_of_a_union_is_no_part_of_the_key(study):
    found = message("teacher=openai", "teacher.concurency=4")
    assert "`teacher.concurency` is not a parameter; did you mean `concurrency`?" in found
    assert "`teacher.timeout` is -1" in message("teacher=openai", "teacher.timeout=-1")


def test_a_missing_file_is_named(study):
    for path in ("other.yaml", study):
        with pytest.raises(ConfigError, match="no parameter file"):
            load_config(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"training: [1,\n", "line 2"),
        (b"training:\n  seed: 1\n  seed: 2\n", "duplicate key seed"),
        (b"name: \xff\n", "is not valid YAML"),
        (b"- 1\n", "holds no parameters"),
    ],
)
def test_a_file_that_is_no_yaml_is_named(study, content, expected):
    (study / "params.yaml").write_bytes(content)
    assert str(study / "params.yaml") in message()
    assert expected in message()


def test_an_exponent_without_a_point_is_a_number(study):
    """DVC writes 0.00001 as 1e-05, which PyYAML alone takes for a word."""
    text = (study / "params.yaml").read_text()
    (study / "params.yaml").write_text(re.sub(r"learning_rate: \S+", "learning_rate: 1e-05", text))
    assert load_config().training.learning_rate == 0.00001


def test_the_file_is_found_from_a_folder_below(study, monkeypatch):
    (study / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(study / "notebooks" / "deep")
    assert find_upwards("params.yaml") == study / "params.yaml"


def test_overrides_set_typed_values(study):
    values = {
        "training.documents=500": 500,
        "training.learning_rate=1e-5": 0.00001,
        "dataset.libraries=[numpy, scipy]": ["numpy", "scipy"],
        "encoder.title=false": False,
        "encoder.sha256=null": None,
        "cycles.c3.previous=lmtx-c2": "lmtx-c2",
    }
    config = load_config(overrides=list(values)).model_dump()
    for override, value in values.items():
        found = config
        for key in override.partition("=")[0].split("."):
            found = found[key]
        assert (type(found), found) == (type(value), value)
    assert list(config["cycles"]) == ["c1", "c2", "c3"]


def test_later_overrides_win_and_a_preset_replaces_its_section_or_changes_several(study):
    tiny = load_config(overrides=["training.seed=1", "size=tiny", "training.margin=0.2"])
    assert (tiny.training.seed, tiny.training.margin, tiny.dataset.libraries) == (7, 0.2, ["numpy"])
    simulated = load_config(overrides=["teacher.acceptance=0.4", "teacher=simulated"])
    assert simulated.teacher.kind == "simulated"
    assert not hasattr(simulated.teacher, "acceptance")


def test_a_limit_in_dollars_needs_a_price(study):
    for teacher in ("", "baselines.icxml."):
        chosen = [
            "teacher=openai",
            f"{teacher}teacher.max_cost=5",
            f"{teacher}teacher.model=a-model-without-a-price",
        ]
        with pytest.raises(ConfigError, match=r"no price of 'a-model-without-a-price': add it there"):
            load_config(overrides=chosen)
    assert load_config(overrides=["teacher=openai", "teacher.max_cost=5"]).teacher.max_cost == 5


def test_a_table_of_prices_that_is_none_is_named(study):
    for content, expected in (
        ("- 1\n", "holds no price table; expected lines such as `MODEL: "),
        ("a: [\n", "is not valid YAML"),
    ):
        (study / "conf" / "prices.yaml").write_text(content)
        with pytest.raises(ConfigError, match=expected):
            load_price("any")


def test_edits_of_the_file_stay_where_a_preset_does_not_set_the_value(study):
    edits = {"training.margin": 0.2, "training.seed": 5, "cycles.c3": {"previous": "lmtx-c2"}}
    for key, value in (edits | {"teacher.acceptance": 0.11}).items():
        change(study, key, value)
    config = load_config(overrides=["size=tiny"])
    assert (config.training.margin, config.training.seed, config.teacher.acceptance) == (0.2, 7, 0.11)
    assert list(config.cycles) == ["c1", "c2", "c3"]
    chosen = load_config(overrides=["teacher=ensemble"])
    assert chosen.teacher.acceptance != 0.11, "the chosen section is the preset's"
    assert chosen.training.margin == 0.2


def test_a_size_leaves_one_s_own_data_set_in_place(study):
    values = compose(["dataset=own"], conf=CONF)
    values["dataset"] |= {"name": "news", "documents": "news.jsonl"}
    write(study / "params.yaml", values)
    smoke = compose(["dataset=own", "size=smoke"], conf=CONF)
    expected = smoke["dataset"] | {"name": "news", "documents": "news.jsonl"}
    assert load_config(overrides=["size=smoke"]).dataset.model_dump() == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.seed", "expected section.key=value or group=name"),
        ("size=hugh", "there are: default, full, paper, sample, smoke, tiny"),
        ("dataset=other", "there is no dataset 'other'"),
        ("training.sead=1", "`training.sead` is not a parameter; did you mean `seed`?"),
        ("training.seed=many", "`training.seed` is 'many': input should be a valid integer"),
        ("training.documents=[1", "override 'training.documents=[1'"),
        ("dataset.libraries.name=x", "override 'dataset.libraries.name=x'"),
    ],
)
def test_a_wrong_override_is_named(study, override, expected):
    assert expected in message(override)


def test_a_broken_preset_is_named(study):
    (study / "conf" / "size" / "tiny.yaml").write_text("training: [\n")
    assert str(study / "conf" / "size" / "tiny.yaml") in message("size=tiny")


def test_the_digest_tells_apart_values_and_nothing_else(study):
    config = load_config()
    with pytest.raises(ValueError, match="frozen"):
        config.training.seed = 1
    values = yaml.safe_load((study / "params.yaml").read_text())
    write(study / "params.yaml", dict(reversed(values.items())))
    assert load_config().digest() == config.digest()
    other = load_config(overrides=["training.seed=1"])
    assert other.digest() != config.digest()
    assert other.digest("training") != config.digest("training")
    assert other.digest("encoder", "teacher") == config.digest("teacher", "encoder")


def test_a_preset_may_choose_a_teacher_and_the_user_another():
    """Tags ask for a teacher that reads, a smoke run for one that is here, and the user has the last word."""
    kinds = {
        (): "combined",
        ("dataset=debian",): "huggingface",
        ("dataset=pydocs",): "ensemble",
        ("size=smoke",): "ensemble",
        ("teacher=simulated", "size=smoke"): "simulated",
        ("teacher=qwen",): "huggingface",
    }
    for chosen, kind in kinds.items():
        values = compose(list(chosen), conf=CONF)
        assert (chosen, values["teacher"]["kind"]) == (chosen, kind)
        assert values["baselines"]["rerank"]["teacher"] == values["teacher"]


def test_a_baseline_s_copies_of_sections_follow_them_but_for_edits_of_their_own():
    settings = ["teacher=openai", "teacher.model=m", "training.seed=5", "shortlist.size=4"]
    found = load_config(ROOT / "params.yaml", settings)
    asking = {name: b.teacher for name, b in found.baselines.items() if b.teacher}
    assert set(asking) == {"label-tuning", "rerank", "icxml"}
    assert asking.pop("icxml").name == "qwen-1.5b"  # whose texts are recorded
    assert all(teacher == found.teacher for teacher in asking.values())
    options = found.baselines["label-tuning"].options
    assert options["training"] == found.training.model_dump()
    assert options["shortlist"] == found.shortlist.model_dump()
    assert (options["training"]["seed"], options["shortlist"]["size"]) == (5, 4)
    own = ["baselines.rerank.teacher.acceptance=0.1", "teacher.acceptance=0.2"]
    assert load_config(ROOT / "params.yaml", own).baselines["rerank"].teacher.acceptance == 0.1
