"""Points of the ablations: what they change, which are not run twice, and what is said of a wrong one."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from full import with_seeds

from lmtx.config import ConfigError, compose, load_config
from lmtx.study import ablations as ablation

ROOT = Path(__file__).resolve().parents[1]
SIMULATED = {"kind": "simulated", "name": "sim", "true_yes": 0.7, "false_yes": 0.1, "seed": 1}
POINTS = {
    "base": {"previous": "zero-shot", "keep": True},
    "shortlist-3": {"previous": "zero-shot", "set": {"shortlist": {"size": 3}}},
    "teacher-other": {"previous": "zero-shot", "set": {"teacher": SIMULATED}},
    "teacher-weight": {"previous": "zero-shot", "set": {"teacher": {"lexical_weight": 0.9}}},
    "labels-names": {"previous": "zero-shot", "descriptions": False},
    "curriculum-on": {"previous": "ablate-base", "set": {"curriculum": {"restart": False}}},
}
SUBSET = {"set": {"training": {"documents": 7}}}


@pytest.fixture
def study(tmp_path):
    """Loads a study's parameters with other points, or another subset."""

    def load(points, subset=SUBSET):
        values = compose(["dataset=pydocs"], conf=ROOT / "conf") | {"ablation": subset, "ablations": points}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return load_config(tmp_path / "params.yaml")

    return load


def test_a_point_changes_what_it_names_and_nothing_else(study):
    config = study(POINTS)
    base, short = config.at("base"), config.at("shortlist-3")
    assert base.training == config.training.model_copy(update={"documents": 7})
    assert base.teacher == config.teacher and base.shortlist.size == 10
    assert short.shortlist.size == 3 and short.training == base.training
    assert config.training.documents is None  # the study's own stay as they are


def test_a_teacher_of_another_kind_replaces_the_section_and_one_of_the_same_kind_is_changed(study):
    config = study(POINTS)
    assert config.at("teacher-other").teacher.model_dump() == SIMULATED
    assert config.at("teacher-weight").teacher == config.teacher.model_copy(update={"lexical_weight": 0.9})


def test_the_cycle_of_a_point_counts_those_it_comes_after(study):
    points = POINTS | {
        "curriculum-on": {"previous": "ablate-base", "keep": True},
        "curriculum-further": {"previous": "ablate-curriculum-on"},
    }
    config = study(points)
    found = [ablation.cycle(config, p) for p in ("base", "curriculum-on", "curriculum-further")]
    assert found == [1, 2, 3]


def test_what_the_report_tells_points_apart_by(study):
    config = study(POINTS)
    base = ablation.settings(config, "base", 7)
    assert base == {
        "documents": 7, "shortlist": 10, "teacher": "ensemble", "teacher_kind": "ensemble", "mode": None,
        "true_yes": None, "false_yes": None, "negatives": "hardest", "rejected_negatives": 0,
        "soft_targets": False, "refresh": True, "restart": True, "descriptions": True, "cycle": 1,
        "acceptance": 0.4, "lexical_weight": 0.0, "model": None, "prompt": None,
    }  # fmt: skip
    rates = {"true_yes": 0.7, "false_yes": 0.1}
    changed = {
        "shortlist-3": {"shortlist": 3},
        "labels-names": {"descriptions": False},
        "curriculum-on": {"restart": False, "cycle": 2},
        "teacher-other": rates | {"teacher": "sim", "teacher_kind": "simulated", "acceptance": None},
        ablation.MAIN: {},
    }
    for point, other in changed.items():
        assert ablation.settings(config, point, 7) == base | other, point


def test_a_point_with_the_settings_of_another_is_not_run_again(study):
    twins = {
        "shortlist-10": {"previous": "zero-shot", "set": {"shortlist": {"size": 10}}},
        "shortlist-three": POINTS["shortlist-3"],
        # The first cycle takes nothing from one before it.
        "curriculum-first": {"previous": "zero-shot", "set": {"curriculum": {"restart": False}}},
        "curriculum-again": POINTS["curriculum-on"],
    }
    config = study(POINTS | twins)
    assert {p: ablation.same_as(config, p) for p in config.ablations} == dict.fromkeys(POINTS) | {
        "shortlist-10": "base",
        "shortlist-three": "shortlist-3",
        "curriculum-first": "base",
        "curriculum-again": "curriculum-on",
    }


def test_a_point_with_the_settings_of_the_main_run_is_not_run_again(study):
    whole = {"previous": "zero-shot", "set": {"training": {"documents": None}}}
    config = study(POINTS | {"sample-all": whole})
    assert ablation.same_as(config, "sample-all") == ablation.MAIN
    config = study(POINTS | {"negatives-hardest": {"previous": "zero-shot"}}, {"set": {}})
    assert ablation.same_as(config, "negatives-hardest") == ablation.MAIN
    assert ablation.same_as(config, "base") is None  # another point goes on from its student


def test_names_only_cuts_descriptions():
    labels = pa.table({"uid": ["a", "b", "c"], "text": ["a.b: does: much", "plain", "x:y: z"]})
    assert ablation.names_only(labels)["text"].to_pylist() == ["a.b", "plain", "x:y"]


ZERO = {"previous": "zero-shot"}
WRONG = [
    ({"set": {}}, "`ablations.new.previous` is missing"),
    (ZERO | {"sets": {}}, "`ablations.new.sets` is not a parameter; did you mean `set`?"),
    (ZERO | {"set": {"trainning": {}}}, "`ablations.new.set.trainning`"),
    (ZERO | {"set": {"encoder": {"title": False}}}, "`ablations.new.set.encoder`"),
    ({"previous": "ablate-shortlist-3"}, "expected one of zero-shot, ablate-base"),
    ({"previous": "ablate-new", "keep": True}, "`ablations.new.previous` is 'ablate-new'"),
    ({"previous": "lmtx-c1"}, "`ablations.new.previous` is 'lmtx-c1'"),
    (ZERO | {"set": {"training": {"documents": -3}}}, "`ablation.set`: `training.documents` is -3"),
    (ZERO | {"set": {"training": {"negatives": "rejected"}}}, "needs rejected_negatives of at least 1"),
    (ZERO | {"set": {"shortlist": {"sizes": 3}}}, "`ablations.new.set` or `ablation.set`: `shortlist.sizes`"),
]


@pytest.mark.parametrize(("point", "expected"), WRONG)
def test_a_wrong_point_is_named_when_the_parameters_are_read(study, point, expected):
    with pytest.raises(ConfigError) as error:
        study(POINTS | {"new": point})
    assert expected in str(error.value)


def test_a_name_with_a_dot_is_refused_as_dvc_reads_it_as_a_path(study):
    with pytest.raises(ConfigError, match=r"`ablations\.teacher-0\.5b` is 'teacher-0\.5b': string should"):
        study(POINTS | {"teacher-0.5b": ZERO})


def test_every_size_has_points_that_can_be_told_apart():
    """And those of the default are among those of the full study, so that nothing is computed twice."""
    chosen = ([f"size={size}", "dataset=pydocs"] for size in ("default", "full"))
    default, full = (compose(one, ROOT / "conf") for one in chosen)
    assert default["ablation"] == full["ablation"]
    assert default["ablations"].items() <= full["ablations"].items()


def test_the_full_study_repeats_every_point_with_further_seeds():
    points = {
        "base": {"previous": "zero-shot", "keep": True},
        "again": {"previous": "ablate-base", "set": {"training": {"documents": 7}, "shortlist": {"size": 3}}},
    }
    assert with_seeds(points, (5,)) == points | {
        "base-s2": {"previous": "zero-shot", "keep": True, "set": {"training": {"seed": 5}}},
        "again-s2": {
            "previous": "ablate-base-s2",
            "set": {"training": {"documents": 7, "seed": 5}, "shortlist": {"size": 3}},
        },
    }
