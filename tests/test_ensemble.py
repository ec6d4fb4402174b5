"""The teacher that needs no network: what it scores, and how its threshold is set."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from lmtx.config import EnsembleConfig
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA, Corpus, csr_from_lists
from lmtx.teachers import Pairs, Verdicts, build
from lmtx.teachers.discrimination import agreement
from lmtx.teachers.ensemble import named_labels

NAMES = ["a.sort", "a.argsort", "a.shuffle", "b.open_file", "b.close_file"]
SUMMARIES = [
    "Sort the numbers.",
    "Give the order that would sort the numbers.",
    "Mix the numbers at random.",
    "Open a file for reading.",
    "Close a file again.",
]
BODIES = ["Uses argsort.", "", "Undoes a.sort quietly.", "Call close_file after it.", ""]


def config(**changes) -> EnsembleConfig:
    values = {"kind": "ensemble", "name": "ensemble", "acceptance": 0.5, "lexical_weight": 0.5, "naming": 0.2}
    return EnsembleConfig(**values | changes)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    texts = [f"{summary}\n{body}" for summary, body in zip(SUMMARIES, BODIES, strict=True)]
    documents = pa.table({"uid": NAMES, "title": NAMES, "text": texts}, DOCUMENT_SCHEMA)
    labels = pa.table(
        {"uid": NAMES, "text": [f"{n}: {s}" for n, s in zip(NAMES, SUMMARIES, strict=True)]}, LABEL_SCHEMA
    )
    own = csr_from_lists([[i] for i in range(5)], 5)
    parts = {"train": slice(0, 4), "dev": slice(4, 5), "test": slice(4, 5)}
    tables = {split: documents.slice(p.start, p.stop - p.start) for split, p in parts.items()}
    return Corpus(**tables, labels=labels, excluded={split: own[p] for split, p in parts.items()})


@pytest.fixture(scope="module")
def embeddings() -> dict[str, np.ndarray]:
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {"train": vectors[:4], "dev": vectors[4:], "test": vectors[4:], "labels": vectors}


def all_pairs(corpus: Corpus) -> Pairs:
    ids = np.array([[j for j in range(5) if j != i] for i in range(4)], dtype=np.int32)
    return Pairs.from_shortlist(corpus.train, corpus.labels, ids)


def test_names_are_found_where_they_are_written():
    labels = ["x.linalg.norm: a", "x.stats.norm: b", "y.rank: c", "Graph theory: d"]
    found = named_labels(
        ["see linalg.norm here", "a norm, maybe", "y.rank or rank", "on Graph theory", "graph theory", ""],
        labels,
    )
    assert found.toarray().tolist() == [
        [1, 0, 0, 0],
        [0.5, 0.5, 0, 0],  # two labels share the name
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    # Ordinary words name nothing.
    texts = ["sort it"] * 6 + ["argsort it"] + [""] * 393
    found = named_labels(texts, ["a.sort: x", "a.argsort: y"])
    assert found.toarray()[0].tolist() == [0, 0]  # six of 400 texts are more than one in 200
    assert found.toarray()[6].tolist() == [0, 1]


def score_by_hand(corpus, view, label_vectors, vector, named):
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    labels = vectorizer.fit_transform(corpus.labels["text"].to_pylist()).toarray()
    letters = labels @ vectorizer.transform([view]).toarray()[0]
    return 0.5 * letters + 0.5 * label_vectors @ vector + 0.2 * np.array(named)


def test_the_score_is_both_cosines_and_the_name(corpus, embeddings, tmp_path):
    view, vectors = f"{NAMES[0]}: {SUMMARIES[0]}", (embeddings["labels"], embeddings["train"][0])
    expected = score_by_hand(corpus, view, *vectors, [0, 1, 0, 0, 0])  # "Uses argsort."
    with build(config(), store=tmp_path / "v.sqlite", corpus=corpus, embeddings=embeddings) as teacher:
        scores = teacher.score(np.zeros(5, dtype=int), np.arange(5))
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        strange = pa.table({"uid": ["z"], "title": ["z"], "text": ["z"]}, DOCUMENT_SCHEMA)
        pairs = Pairs.from_shortlist(strange, corpus.labels, np.array([[0]], dtype=np.int32))
        with pytest.raises(ValueError, match="only the corpus it was built with"):
            teacher.judge(pairs, progress=False)


def test_the_threshold_accepts_the_share_it_is_told_to(corpus, embeddings, tmp_path):
    for share in (0.25, 0.75):
        settings = config(acceptance=share)
        with build(settings, store=tmp_path / "v.sqlite", corpus=corpus, embeddings=embeddings) as teacher:
            verdicts = teacher.judge(all_pairs(corpus), progress=False)
        assert (verdicts.answer == 1).mean() == pytest.approx(share, abs=1 / 16)
        assert ((verdicts.p_yes >= 0.5) == (verdicts.answer == 1)).all()


def test_another_threshold_is_another_teacher_and_verdicts_are_kept(corpus, embeddings, tmp_path):
    store = tmp_path / "v.sqlite"
    with build(config(), store=store, corpus=corpus, embeddings=embeddings) as teacher:
        first = teacher.judge(all_pairs(corpus), progress=False)
        assert (teacher.cost.verdicts, teacher.cost.cached) == (16, 0)
    with build(config(), store=store, corpus=corpus, embeddings=embeddings) as teacher:
        again = teacher.judge(all_pairs(corpus), progress=False)
        assert (teacher.cost.verdicts, teacher.cost.cached) == (0, 16)
        np.testing.assert_array_equal(again.answer, first.answer)
    with build(config(acceptance=0.2), store=store, corpus=corpus, embeddings=embeddings) as teacher:
        assert teacher.plan(all_pairs(corpus)).cached == 0


def test_test_documents_are_judged_but_nothing_is_learnt_from_them(corpus, embeddings, tmp_path):
    """The uid of a training document, and texts that would make `argsort` an ordinary word."""
    texts = ["Give an order.\nUses argsort and shuffle.", *["argsort it"] * 9]
    uids = [NAMES[0], *(f"t{i}" for i in range(9))]
    test = pa.table({"uid": uids, "title": uids, "text": texts}, DOCUMENT_SCHEMA)
    other = replace(corpus, test=test, excluded=corpus.excluded | {"test": csr_from_lists([[]] * 10, 5)})
    vectors = np.random.default_rng(1).normal(size=(10, 8)).astype(np.float32)
    ids = np.arange(5, dtype=np.int32)[None]
    pairs = Pairs.from_shortlist(test, corpus.labels, np.repeat(ids, 10, axis=0))
    with (
        build(config(), store=tmp_path / "a", corpus=corpus, embeddings=embeddings) as plain,
        build(
            config(), store=tmp_path / "b", corpus=other, embeddings=embeddings | {"test": vectors}
        ) as more,
    ):
        assert more.identity == plain.identity and more.score_threshold == plain.score_threshold
        rows, columns = np.divmod(np.arange(25), 5)
        np.testing.assert_array_equal(more.score(rows, columns), plain.score(rows, columns))
        for split in (corpus.train, corpus.dev):
            known = Pairs.from_shortlist(split, corpus.labels, np.repeat(ids, split.num_rows, axis=0))
            np.testing.assert_array_equal(
                more.judge(known, progress=False).p_yes, plain.judge(known, progress=False).p_yes
            )
        verdicts = more.judge(pairs, progress=False)
        scores = more.score(5 + pairs.rows, pairs.columns)
        assert (verdicts.answer == (scores >= more.score_threshold)).all()
        view = f"{NAMES[0]}: Give an order."
        expected = score_by_hand(corpus, view, embeddings["labels"], vectors[0], [0, 1, 1, 0, 0])
        np.testing.assert_allclose(scores[:5], expected, atol=1e-6)


def verdicts(*answers: int) -> Verdicts:
    answer = np.array(answers, dtype=np.int8)
    return Verdicts(np.where(answer < 0, np.nan, answer).astype(np.float32), answer)


def test_agreement_by_hand():
    found = agreement(verdicts(1, 1, 0, 0, -1, 1), verdicts(1, 0, 0, 0, 1, -1))
    # over four pairs: 3 of 4 equal; chance is .5 * .25 + .5 * .75 = .5, so kappa = (.75 - .5) / (1 - .5)
    rates = {"first_yes_rate": 0.5, "second_yes_rate": 0.25}
    assert found == {"pairs": 4, "agreement": 0.75, "kappa": 0.5} | rates
    # Without a common answer, or without variety.
    assert agreement(verdicts(-1), verdicts(1))["pairs"] == 0
    same = agreement(verdicts(1, 1), verdicts(1, 1))
    assert same["agreement"] == 1 and np.isnan(same["kappa"])
