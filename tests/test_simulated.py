"""The simulated teacher: it reads the annotations, errs at the given rates, and says so."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from judging import make_config
from tiny_encoders import document_table, label_table

import lmtx.teachers
from lmtx.config import SimulatedConfig
from lmtx.corpus import Corpus
from lmtx.teachers.pairs import NO, YES, Pairs
from lmtx.teachers.records import summary

SIZES = {"train": 120, "dev": 40, "test": 5}
LABELS = 60


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Documents whose texts repeat, so that only the uid tells some apart."""
    tables = {}
    for split, n in SIZES.items():
        table = document_table([f"text {i // 2}" for i in range(n)])
        tables[split] = table.set_column(0, "uid", pa.array([f"{split}{i}" for i in range(n)]))
    labels = label_table([f"label {i}" for i in range(LABELS)])
    excluded = {split: sp.csr_array((n, LABELS), dtype=bool) for split, n in SIZES.items()}
    return Corpus(**tables, labels=labels, excluded=excluded)


@pytest.fixture(scope="module")
def truth():
    """A fifth of the pairs of train and dev are annotated."""
    rng = np.random.default_rng(0)
    return {split: sp.csr_array(rng.random((SIZES[split], LABELS)) < 0.2) for split in ("train", "dev")}


def simulated(**changes):
    values = {"kind": "simulated", "name": "simulated", "true_yes": 0.9, "false_yes": 0.05, "seed": 7}
    return SimulatedConfig(**(values | changes))


@pytest.fixture
def judge(tmp_path, corpus, truth):
    """`judge(pairs, store="a", **config)` gives the verdicts."""

    def judge(pairs, store="a", **changes):
        config = simulated(**changes)
        with lmtx.teachers.build(config, store=tmp_path / store, corpus=corpus, truth=truth) as teacher:
            assert teacher.notes == ("simulation: reads annotations",)
            plan = teacher.plan(pairs)
            assert (plan.requests, plan.usd) == (0, 0.0)
            return teacher.judge(pairs, progress=False)

    return judge


def all_pairs(corpus, split="train") -> Pairs:
    table = corpus.documents(split)
    ids = np.tile(np.arange(LABELS, dtype=np.int32), (table.num_rows, 1))
    return Pairs.from_shortlist(table, corpus.labels, ids)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_without_errors_it_says_what_the_annotations_say(judge, corpus, truth, split):
    pairs = all_pairs(corpus, split)
    verdicts = judge(pairs, true_yes=1.0, false_yes=0.0)
    expected = truth[split].toarray()[pairs.rows, pairs.columns]
    assert (verdicts.answer == np.where(expected, YES, NO)).all()
    assert (verdicts.p_yes == expected).all()
    stored = judge(
        pairs, true_yes=1.0, false_yes=0.0
    )  # where documents of one text keep their own annotations
    assert (stored.answer == verdicts.answer).all()


def test_it_errs_at_the_given_rates(judge, corpus, truth):
    pairs = all_pairs(corpus)
    yes = judge(pairs).answer == YES
    relevant = truth["train"].toarray()[pairs.rows, pairs.columns]
    n_true, n_false = relevant.sum(), (~relevant).sum()
    # Within four standard deviations of the binomial distribution.
    assert abs(yes[relevant].mean() - 0.9) < 4 * np.sqrt(0.9 * 0.1 / n_true)
    assert abs(yes[~relevant].mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n_false)


def test_an_answer_depends_on_the_pair_and_the_seed_alone(judge, corpus):
    pairs = all_pairs(corpus)
    answers = judge(pairs).answer
    order = np.random.default_rng(1).permutation(len(pairs))
    assert (judge(pairs.select(order), store="b").answer == answers[order]).all()
    few = order[:50]
    assert (judge(pairs.select(few), store="c").answer == answers[few]).all()
    assert (judge(pairs, seed=8).answer != answers).any()


def test_a_better_teacher_says_yes_wherever_a_worse_one_is_right(judge, corpus, truth):
    pairs = all_pairs(corpus)
    relevant = truth["train"].toarray()[pairs.rows, pairs.columns]
    worse, better = (judge(pairs, true_yes=rate).answer[relevant] for rate in (0.5, 0.8))
    assert (better >= worse).all() and better.sum() > worse.sum()


def test_other_annotations_are_another_teacher(judge, corpus, truth, tmp_path):
    pairs = all_pairs(corpus)
    judge(pairs, true_yes=1.0, false_yes=0.0)
    flipped = {split: sp.csr_array(~matrix.toarray()) for split, matrix in truth.items()}
    config = simulated(true_yes=1.0, false_yes=0.0)
    with lmtx.teachers.build(config, store=tmp_path / "a", corpus=corpus, truth=flipped) as teacher:
        verdicts = teacher.judge(pairs, progress=False)
        assert len(summary(teacher.store)) == 2
    assert (verdicts.answer == flipped["train"].toarray()[pairs.rows, pairs.columns]).all()


def test_annotations_go_to_the_simulated_teacher_only(corpus, truth, tmp_path):
    ensemble = SimpleNamespace(kind="ensemble")
    with pytest.raises(ValueError, match="pass truth="):
        lmtx.teachers.build(simulated(), store=tmp_path / "s", corpus=corpus)
    for config in (ensemble, make_config()):
        with pytest.raises(ValueError, match="must not see annotations"):
            lmtx.teachers.build(config, store=tmp_path / "s", corpus=corpus, truth=truth)
    with pytest.raises(ValueError, match="needs E0's embeddings"):
        lmtx.teachers.build(ensemble, store=tmp_path / "s", corpus=corpus)


def test_what_is_not_annotated_is_an_error(judge, corpus, truth, tmp_path):
    with pytest.raises(ValueError, match="no annotations of the document 'test0'"):
        judge(all_pairs(corpus, "test"))
    wrong = truth | {"dev": truth["train"]}
    with pytest.raises(ValueError, match=r"annotations of dev are \(120, 60\), not \(40, 60\)"):
        lmtx.teachers.build(simulated(), store=tmp_path / "s", corpus=corpus, truth=wrong)
