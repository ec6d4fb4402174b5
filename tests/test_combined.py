"""Teachers combined: the sum of their log-odds, one account, and a threshold that any share of yes sets."""

from math import exp, log

import numpy as np
import pytest
import scipy.sparse as sp
import yaml
from test_config import ROOT
from tiny_encoders import document_table, label_table

from lmtx.config import CombinedConfig, ConfigError, compose, load_config
from lmtx.corpus import Corpus
from lmtx.curriculum import judge, pseudo_labels, threshold
from lmtx.index import Shortlist
from lmtx.llm.cost import estimate
from lmtx.teachers import NO, NONE, YES, Pairs, TooFewAnswersError, build
from lmtx.teachers.base import Teacher
from lmtx.teachers.combined import CombinedTeacher
from lmtx.teachers.store import VerdictStore

DOCUMENTS = document_table(["ant", "bee", "cat", "dog", "elk"])
LABELS = label_table(["zero", "one"])
ENSEMBLE = {"kind": "ensemble", "name": "e", "acceptance": 0.5, "lexical_weight": 0.5, "naming": 0.2}


class Scripted(Teacher):
    """Gives the pair of document i and label j its number p[i, j]; NaN is neither, 2 no answer at all."""

    def __init__(self, name, p, store, usd=0.0, **attributes):
        super().__init__(name, {"kind": name}, store)
        self.p, self.usd, self.asked = np.array(p, np.float32), usd, 0
        for key, value in attributes.items():
            setattr(self, key, value)

    def ask(self, pairs):
        p = self.p[pairs.rows, pairs.columns]
        places = np.flatnonzero(~(p > 1))
        self.asked += len(pairs)
        self.cost.requests += len(pairs)
        self.cost.prompt_tokens += 10 * len(pairs)
        self.cost.cached_tokens += 4 * len(pairs)
        self.cost.usd = None if self.usd is None else self.cost.usd + self.usd * len(pairs)
        answer = np.where(np.isnan(p), NONE, np.where(p >= 0.5, YES, NO)).astype(np.int8)
        yield places, p[places], answer[places]


def config(weights=(1.0, 0.3), **changes):
    values = {
        "kind": "combined",
        "name": "both",
        "of": {"a": ENSEMBLE, "b": ENSEMBLE | {"name": "f"}},
        "weights": dict(zip("ab", weights, strict=True)),
    }
    return CombinedConfig(**(values | changes))


@pytest.fixture
def combined(tmp_path):
    """Makes a combined teacher of two tables of p_yes; they share a store, which is kept between calls."""
    made = []

    def make(a, b, weights=(1.0, 0.3), usd=(0.0, 0.0), max_missing=1.0, limits=None, **attributes):
        path = tmp_path / "verdicts.sqlite"
        members = [
            Scripted(name, p, VerdictStore(path), price, max_missing=limit, **attributes)
            for name, p, price, limit in zip("ab", (a, b), usd, limits or 2 * [max_missing], strict=True)
        ]
        made.append(CombinedTeacher(config(weights), members, store=VerdictStore(path)))
        return made[-1], *members

    yield make
    for one in made:
        one.close()


def pairs(rows=5):
    return Pairs.from_shortlist(DOCUMENTS[:rows], LABELS, np.tile(np.arange(2, dtype=np.int32), (rows, 1)))


def by_hand(a, b, weights=(1.0, 0.3)):
    odds = weights[0] * log(a / (1 - a)) + weights[1] * log(b / (1 - b))
    return 1 / (1 + exp(-odds))


A = [[0.9, 0.4], [0.2, 0.5], [0.7, 0.1], [0.6, 0.3], [0.8, 0.05]]
B = [[0.1, 0.9], [0.6, 0.5], [0.2, 0.5], [0.9, 0.95], [0.7, 0.25]]


def test_log_odds_are_weighted_and_added(combined):
    teacher, *_ = combined(A, B)
    verdicts = teacher.judge(pairs(), progress=False)
    expected = [by_hand(a, b) for row in zip(A, B, strict=True) for a, b in zip(*row, strict=True)]
    np.testing.assert_allclose(verdicts.p_yes, expected, rtol=1e-5)
    assert verdicts.p_yes.dtype == np.float32
    assert verdicts.answer.tolist() == [YES if p >= 0.5 else NO for p in expected]
    # The first pair: 9 to 1, and against it (1 to 9) ** 0.3.
    assert verdicts.p_yes[0] == pytest.approx(9**0.7 / (1 + 9**0.7), rel=1e-5)
    assert (A[0][1] < 0.5) and verdicts.answer[1] == YES  # the second teacher has the last word


def test_the_surest_teacher_does_not_outvote_all_others(combined):
    teacher, *_ = combined([[1.0, 0.0]], [[0.0, 1.0]], weights=(1.0, 1.0))
    np.testing.assert_allclose(teacher.judge(pairs(1), progress=False).p_yes, 0.5, atol=1e-6)
    teacher, *_ = combined([[1.0, 0.0]], [[0.5, 0.5]], weights=(1.0, 2.0))
    assert np.isfinite(teacher.judge(pairs(1), progress=False).p_yes).all()


def test_a_pair_without_a_verdict_of_one_teacher_has_none(combined):
    a, b = [[np.nan, 0.9], [0.9, 0.9]], [[0.9, 0.9], [2.0, 0.9]]
    teacher, *_ = combined(a, b)
    verdicts = teacher.judge(pairs(2), progress=False)
    assert verdicts.answer.tolist() == [NONE, YES, NONE, YES]
    assert np.isnan(verdicts.p_yes).tolist() == [True, False, True, False]
    assert teacher.cost.failed == 2


def test_what_may_be_missing_is_what_the_most_lenient_teacher_allows(combined):
    a, b = [[np.nan, 0.9]], [[0.9, 0.9]]
    teacher, *_ = combined(a, b, max_missing=0.5)
    # A second run asks again for what has no verdict, and for nothing else: that is no larger share of all.
    for _ in range(2):
        assert teacher.judge(pairs(1), progress=False).answer.tolist() == [NONE, YES]
    strict, *_ = combined(a, b, weights=(1.0, 1.0), max_missing=0.4)
    with pytest.raises(TooFewAnswersError, match="1 of 2 pairs"):
        strict.judge(pairs(1), progress=False)


def test_a_teacher_that_always_answers_lifts_no_limit_of_the_other(combined):
    missing = [[np.nan, 0.9]]
    teacher, *_ = combined(missing, [[0.9, 0.9]], limits=(0.4, 1.0))
    assert teacher.max_missing == 0.4
    with pytest.raises(TooFewAnswersError, match="1 of 2 pairs"):
        teacher.judge(pairs(1), progress=False)


def test_costs_add_up_and_an_unknown_price_stays_unknown(combined):
    teacher, *_ = combined(A, B, usd=(0.5, 0.25))
    teacher.judge(pairs(), progress=False)
    cost = teacher.cost
    assert (cost.requests, cost.prompt_tokens, cost.cached_tokens) == (20, 200, 80)
    assert (cost.verdicts, cost.cached, cost.usd) == (10, 0, 7.5)
    other, *_ = combined(A, B, weights=(1.0, 1.0), usd=(None, 0.25))
    other.judge(pairs(), progress=False)
    assert other.cost.requests == 0  # the teachers' own verdicts are stored
    assert other.cost.verdicts == 10
    third, *_ = combined(A, B, weights=(1.0, 2.0), usd=(None, 0.25))
    third.judge(Pairs(document_table(["new"] * 5), LABELS, *[np.zeros(1, np.int32)] * 2), progress=False)
    assert third.cost.usd is None
    assert third.cost.requests == 2


def test_each_teacher_s_verdicts_are_stored_for_itself(combined):
    teacher, first, second = combined(A, B)
    teacher.judge(pairs(), progress=False)
    assert (first.asked, second.asked) == (10, 10)
    again, *members = combined(A, B)
    again.judge(pairs(), progress=False)
    assert again.cost.cached == 10 and not any(member.asked for member in members)
    for member, table in zip(members, (A, B), strict=True):
        np.testing.assert_array_equal(member.judge(pairs(), progress=False).p_yes, np.float32(table).ravel())
        assert member.asked == 0
    weighted, *members = combined(A, B, weights=(0.5, 2.0))  # another teacher, of the same verdicts
    weighted.judge(pairs(), progress=False)
    assert weighted.cost.cached == 0 and not any(member.asked for member in members)


def test_the_plan_is_that_of_all_teachers(combined):
    estimated = []

    def estimate_of(member):
        def sent(pairs):
            estimated.append(member.name)
            return estimate(len(pairs), 10 * len(pairs), len(pairs), 0.5, 2.0, ["as sent"])

        return sent

    teacher, *members = combined(A, B)
    for member in members:
        member.estimate = estimate_of(member)
    assert vars(teacher.plan(pairs())) == {
        **{"teacher": "both", "pairs": 10, "cached": 0, "task": "pairs to judge"},
        **estimate(20, 200, 20, 1.0, 4.0, ["as sent"]),
    }
    assert estimated == ["a", "b"]  # once each: counting tokens takes long
    members[0].judge(pairs(), progress=False)
    assert teacher.plan(pairs()).requests == 10  # what one teacher has said is not asked for again
    # The bill of a re-ranker is that of all pairs, whatever is stored.
    teacher.judge(pairs(), progress=False)
    assert teacher.estimate(pairs())["requests"] == 20


def test_what_a_plan_calls_stored_needs_no_request(combined):
    """A letter judge sends nothing, so that the verdicts of the language model decide."""
    teacher, first, second = combined(A, B)
    first.sends = True
    assert teacher.plan(pairs()).cached == 0
    first.judge(pairs(3), progress=False)
    assert teacher.plan(pairs()).cached == 6
    second.sends = True  # two of them: both must be stored
    second.judge(pairs().select(np.array([0, 9])), progress=False)
    assert teacher.plan(pairs()).cached == 1


SHORTLIST = Shortlist(np.tile(np.arange(2, dtype=np.int32), (5, 1)), np.zeros((5, 2), np.float32))


@pytest.mark.parametrize(("share", "accepted"), [(0.1, 1), (0.5, 5), (0.9, 9)])
def test_the_wanted_share_of_the_shortlisted_pairs_is_accepted(combined, share, accepted):
    teacher, *_ = combined(A, B)
    teacher.acceptance = share
    table = judge(teacher, DOCUMENTS, LABELS, SHORTLIST)
    p_yes, answer = table["p_yes"].to_numpy(), table["answer"].to_numpy()
    assert (answer == YES).sum() == accepted
    assert p_yes[answer == YES].min() > p_yes[answer == NO].max()  # the surest ones
    assert threshold(table) == teacher.threshold
    assert p_yes[answer == NO].max() < threshold(table) <= p_yes[answer == YES].min()
    assert pseudo_labels(table, (5, 2))[0].nnz == accepted
    # What is asked later is decided by the same threshold.
    later = teacher.judge(pairs(), progress=False)
    assert later.answer.tolist() == answer.tolist()


def test_pairs_without_a_verdict_are_not_among_the_share(combined):
    a = [[np.nan, 0.9], [0.8, 0.7], [0.6, np.nan], [0.3, 0.2], [0.1, 0.4]]
    teacher, *_ = combined(a, [[0.5, 0.5]] * 5)
    teacher.acceptance = 0.5
    answer = judge(teacher, DOCUMENTS, LABELS, SHORTLIST)["answer"].to_numpy()
    assert answer.tolist() == [NONE, YES, YES, YES, YES, NONE, NO, NO, NO, NO]


def test_a_threshold_decides_and_is_no_part_of_the_identity(combined):
    teacher, *_ = combined(A, B)
    identity = dict(teacher.identity)
    p_yes = teacher.judge(pairs(), progress=False).p_yes
    for value in (0.2, 0.8):
        teacher.threshold = value
        found = teacher.judge(pairs(), progress=False)
        np.testing.assert_array_equal(found.answer, np.where(p_yes >= np.float32(value), YES, NO))
        np.testing.assert_array_equal(found.p_yes, p_yes)
    assert teacher.cost.verdicts == 10  # asked once, for all thresholds
    assert teacher.identity == identity
    other, *_ = combined(A, B, weights=(1.0, 0.4))
    assert other.identity != identity


# --- parameters --------------------------------------------------------------------------------


def test_build_makes_each_teacher_and_needs_what_they_need(tmp_path):
    parts = {"train": DOCUMENTS[:3], "dev": DOCUMENTS[3:4], "test": DOCUMENTS[4:]}
    excluded = {split: sp.csr_array((table.num_rows, 2), dtype=bool) for split, table in parts.items()}
    vectors = np.eye(5, dtype=np.float32)
    embeddings = {"train": vectors[:3], "dev": vectors[3:4], "test": vectors[4:], "labels": vectors[:2]}
    corpus = Corpus(**parts, labels=LABELS, excluded=excluded)
    options = {"store": tmp_path / "v.sqlite", "corpus": corpus}
    # When yes is said is no part of a teacher's identity.
    with build(config(), embeddings=embeddings, **options) as one:
        for key in ("threshold", "acceptance"):
            with build(config(**{key: 0.25}), embeddings=embeddings, **options) as other:
                assert one.identity == other.identity and getattr(other, key) == 0.25
    lexical = config(of={"a": ENSEMBLE | {"lexical_weight": 1.0}, "b": ENSEMBLE | {"lexical_weight": 0.0}})
    few = Pairs.from_shortlist(corpus.train, corpus.labels, np.array([[0, 1]] * 3, np.int32))
    with build(lexical, embeddings=embeddings, **options) as teacher:
        both = teacher.judge(few, progress=False).p_yes
    alone = []
    for member in lexical.of.values():
        with build(member, embeddings=embeddings, **options) as teacher:
            alone.append(teacher.judge(few, progress=False).p_yes.astype(float))
            assert teacher.cost.verdicts == 0
    odds = [np.log(p / (1 - p)) for p in np.clip(alone, 1e-6, 1 - 1e-6)]
    np.testing.assert_allclose(both, 1 / (1 + np.exp(-odds[0] - 0.3 * odds[1])), rtol=1e-4)
    with pytest.raises(ValueError, match="needs E0's embeddings"):
        build(lexical, **options)
    with pytest.raises(ValueError, match="must not see annotations"):
        build(lexical, embeddings=embeddings, truth={}, **options)


def test_wrong_parameters_are_named(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(compose(["teacher=combined"], conf=ROOT / "conf")))
    for override, expected in {
        "teacher.weights.other=1.0": "teacher.weights has ['ensemble', 'other', 'qwen']",
        "teacher.weights.qwen=much": "`teacher.weights.qwen` is 'much'",
        "teacher.acceptance=1.5": "`teacher.acceptance` is 1.5",
        "teacher.threshold=0": "`teacher.threshold` is 0",
    }.items():
        with pytest.raises(ConfigError) as error:
            load_config(tmp_path / "params.yaml", [override])
        assert expected in str(error.value).replace("combined.", "")
    with pytest.raises(ValueError, match=r"teacher\.weights has \['a', 'c'\]; expected \['a', 'b'\]"):
        CombinedConfig(**config().model_dump() | {"weights": {"a": 1.0, "c": 1.0}})
    with pytest.raises(ValueError, match="at least 2"):
        CombinedConfig(**config().model_dump() | {"of": {"a": ENSEMBLE}, "weights": {"a": 1.0}})
