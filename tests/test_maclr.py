"""MACLR: pairs, clusters and pseudo-positives against small cases worked out by hand."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans
from test_baselines import make_corpus
from tiny_encoders import document_table, encoder_config

from lmtx import baselines
from lmtx.baselines import Inputs, Unavailable
from lmtx.baselines.maclr import TitlePairs, blank_out, find_clusters, pseudo_positives
from lmtx.config import BaselineConfig, TrainingConfig
from lmtx.encoder import Encoder

SETTINGS = TrainingConfig(batch_size=4, learning_rate=1e-3, seed=3)
TOPICS = ("ant", "bee", "cat")


@pytest.fixture
def encoder(folder):
    return Encoder.load(encoder_config(folder))


def texts(n, seed=0):
    """Documents about one of three topics each; the title's words stand in the text too."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(TOPICS, n)
    return [
        (f"{t}{i % 6}", f"{t}{i % 6} " + " ".join(f"{t}{k}" for k in rng.integers(6, 12, 8)))
        for i, t in enumerate(topics)
    ]


def inputs_for(folder, corpus, depth=3):
    encoder = Encoder.load(encoder_config(folder))
    embeddings = {"train": encoder.encode_documents(corpus.train)}
    return Inputs(corpus, embeddings, depth, encoder_config(folder))


def rank(folder, corpus, **options):
    config = BaselineConfig(kind="maclr", label="MACLR", options=options)
    return baselines.rank(config, inputs_for(folder, corpus))


# --- title and content -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "title", "expected"),
    [
        ("Read a CSV file. Reads csv.", "pandas.read_csv", "_ a _ file. Reads _."),
        ("use read_csv or readers", "read", "use __csv or readers"),
        ("nothing here", "", "nothing here"),
        ("Größe zählt, größe2 nicht", "größe", "_ zählt, größe2 nicht"),
    ],
)
def test_the_title_s_words_are_blanked_out_of_the_content(content, title, expected):
    assert blank_out(content, title, "_") == expected


def pairs(encoder, documents, labels=("dog0", "dog1", "dog2"), own=None, blanked=0.9, random_labels=2):
    own = np.zeros((len(documents), len(labels)), dtype=bool) if own is None else own
    return TitlePairs(
        [title for title, _ in documents],
        [text for _, text in documents],
        encoder.tokenize(list(labels), 16),
        sp.csr_array(own),
        "_",
        blanked,
        random_labels,
        0,
        lambda stage: np.arange(len(documents)),
        encoder,
    )


@pytest.mark.parametrize(("blanked", "least", "most"), [(0.0, 0, 0), (0.9, 0.86, 0.94), (1.0, 1, 1)])
def test_titles_are_blanked_at_the_rate_asked_for(encoder, blanked, least, most):
    source = pairs(encoder, texts(40), blanked=blanked)
    settings = TrainingConfig(batch_size=8, learning_rate=1e-3, seed=0, epochs=10)
    unknown = encoder.model.tokenizer.unk_token_id
    found = [unknown in document for b in source.batches(settings) for document in b.documents]
    assert least <= np.mean(found) <= most


# --- clusters ----------------------------------------------------------------------------------


def test_titles_of_the_same_cluster_are_positives_and_no_negatives(encoder):
    documents = [(f"ant{i}", f"bee{i}") for i in range(8)]
    clusters = np.array([0, 1, 0, 1, 0, 2, 2, 3])
    source = pairs(encoder, documents)
    settings = TrainingConfig(batch_size=8, learning_rate=1e-3, seed=0, epochs=100)
    drawn = np.zeros((8, 8))
    for batch in replace(source, find_clusters=lambda stage: clusters).batches(settings):
        rows = [ids[1] - 4 for ids in batch.labels[:8]]  # ant0 is the first word behind four special tokens
        together = clusters[rows][:, None] == clusters[rows]
        np.testing.assert_array_equal(batch.ignored[:, :8], together)
        assert together[np.arange(8), batch.positives].all()
        drawn[rows, np.array(rows)[batch.positives]] += 1
    np.testing.assert_array_equal(drawn > 0, clusters[:, None] == clusters)
    assert drawn[7, 7] == 100
    assert 20 < drawn[0, 4] < 47  # each of three as often


def test_clusters_are_those_of_scikit_learn_on_the_current_embeddings(encoder):
    documents = document_table([text for _, text in texts(50)], [title for title, _ in texts(50)])
    start = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    clusters = partial(find_clusters, encoder, documents, start, 3, 7)
    now = encoder.encode(encoder.document_texts(documents), 16)
    for stage, vectors in enumerate([start, now, now]):
        expected = MiniBatchKMeans(3 * 2**stage, random_state=7, n_init=1).fit_predict(vectors)
        np.testing.assert_array_equal(clusters(stage), expected)
        assert len(np.unique(expected)) <= 3 * 2**stage
    assert clusters(9).max() < 50  # no more clusters than documents


@pytest.mark.parametrize(
    ("epochs", "refreshes", "expected"),
    [(4, 3, [0, 3, 6, 9]), (11, 3, [0, 8, 16, 24]), (4, 0, [0]), (1, 5, [0, 1, 2])],
)
def test_clusters_are_refreshed_at_even_distances(encoder, epochs, refreshes, expected):
    """Three steps an epoch; no more refreshes than steps."""
    calls, seen = [], 0
    source = replace(
        pairs(encoder, texts(18)),
        refreshes=refreshes,
        find_clusters=lambda stage: calls.append((seen, stage)) or np.arange(18),
    )
    for _ in source.batches(TrainingConfig(batch_size=6, learning_rate=1e-3, seed=0, epochs=epochs)):
        seen += 1
    assert (seen, calls) == (3 * epochs, [(step, stage) for stage, step in enumerate(expected)])


# --- label regularisation ----------------------------------------------------------------------


@pytest.mark.parametrize(("random_labels", "joined"), [(0, 0), (2, 2), (9, 3)])
def test_so_many_random_labels_join_as_negatives(encoder, random_labels, joined):
    documents = texts(8)
    own = np.zeros((8, 3), dtype=bool)
    own[:, 1] = True
    source = pairs(encoder, documents, own=own, random_labels=random_labels)
    numbers = {tuple(ids): i for i, ids in enumerate(source.labels)}
    for batch in source.batches(SETTINGS):
        extra = [numbers[tuple(ids)] for ids in batch.labels[4:]]
        assert len(extra) == len(set(extra)) == joined
        assert batch.positives.max() < 4
        np.testing.assert_array_equal(batch.ignored[:, 4:], np.broadcast_to(np.equal(extra, 1), (4, joined)))


def test_the_same_title_twice_is_no_negative(encoder):
    source = pairs(encoder, [("ant1", "bee1"), ("ant1", "bee2"), ("ant2", "bee3"), ("ant3", "bee4")])
    (batch,) = source.batches(SETTINGS)
    assert batch.ignored[:, :4].sum() == 6


# --- self-training -----------------------------------------------------------------------------


class Answers:
    """An encoder that gives the vectors it was told to."""

    def __init__(self, encoder, documents, labels):
        self._encoder, self._documents, self._labels = encoder, documents, labels

    def encode_documents(self, documents, progress=None):
        return self._documents

    def encode_labels(self, labels, progress=None):
        return self._labels

    def __getattr__(self, name):
        return getattr(self._encoder, name)


def test_pseudo_positives_are_the_top_labels_where_the_encoder_is_sure(encoder):
    """The encoder's top labels are 0 (own), so 1 at 0.9; 2 at 0.8; 2 at 0.7; 1 at 0.6.

    TF-IDF: document 0 shares a word with its own label alone, 1 with label 3, 2 with label 2, 3 with
    none.
    """
    documents = [("dog0", "cat1"), ("bee3", "cat1"), ("cat2", "bee9"), ("ant9", "ant9")]
    corpus = make_corpus(documents, [("x", "y")], ["dog0 dog0", "dog1 fox1", "cat2 fox2", "bee3 fox3"])
    own = np.zeros((4, 4), dtype=bool)
    own[0, 0] = True
    corpus.excluded["train"] = sp.csr_array(own)
    cosines = np.array([[1, 0.9, 0, 0], [0, 0, 0.8, 0], [0, 0, 0.7, 0], [0, 0.6, 0, 0]], dtype=np.float32)
    told = Answers(encoder, cosines, np.eye(4, dtype=np.float32))
    inputs = Inputs(corpus, {}, 3)
    found = pseudo_positives(told, inputs, np.arange(4), trusted=0.5)
    expected = np.zeros((4, 4), dtype=bool)
    expected[[0, 1, 1, 2], [1, 2, 3, 2]] = True
    np.testing.assert_array_equal(found.positives.toarray(), expected)
    np.testing.assert_array_equal(found.excluded.toarray(), own)
    assert found.rejected.nnz == 0
    assert found.trainable.tolist() == [0, 1, 2]
    everything = pseudo_positives(told, inputs, np.arange(4), trusted=1.0)
    expected[3, 1] = True
    np.testing.assert_array_equal(everything.positives.toarray(), expected)
    assert found.documents[0] == encoder.tokenize(["dog0. cat1"], 32)[0]


def test_a_document_s_own_label_is_never_its_pseudo_positive(folder, encoder):
    documents = texts(30)
    corpus = make_corpus(documents, [("x", "y")], [f"{title} {text}" for title, text in documents])
    rows = np.array([2, 3, 5, 8, 13, 21])
    corpus.excluded["train"] = sp.csr_array(np.eye(30, dtype=bool))
    found = pseudo_positives(encoder, inputs_for(folder, corpus), rows, 1.0).positives.toarray()
    assert found.shape == (6, 30)
    assert not found[np.arange(6), rows].any()
    assert found.any(axis=1).all()


# --- both stages -------------------------------------------------------------------------------

OPTIONS = {"epochs": 4, "batch_size": 8, "learning_rate": 2e-3, "temperature": 0.2, "e0_share": 0.0}
OPTIONS |= {"clusters": 3, "refreshes": 1, "random_labels": 1}


def test_maclr_learns_which_texts_belong_together(folder):
    test = texts(60, seed=5)
    labels = [f"{t}{i} {t}{i + 6}" for t in TOPICS for i in range(4)]
    corpus = make_corpus(texts(150), test, labels)
    ranked = rank(folder, corpus, **OPTIONS)
    topics = np.array([TOPICS.index(title[:3]) for title, _ in test])
    assert (ranked.ranking.ids[:, 0] // 4 == topics).mean() > 0.75, "0.33 by chance"
    assert np.mean(ranked.losses[-7:]) < np.mean(ranked.losses[:7])


def test_runs_follow_from_the_seed_and_use_as_many_documents_as_asked_for(folder):
    corpus = make_corpus(texts(40), texts(2), ["ant0", "bee0", "cat0"])
    few = {**OPTIONS, "documents": 20, "self_documents": 9, "trusted": 1.0}
    losses = [rank(folder, corpus, **few, **seed).losses for seed in ({}, {}, {"seed": 1})]
    assert losses[0] == losses[1] != losses[2]
    assert len(losses[0]) == 4 * 3 + 2


def test_examples_show_the_pairs_as_the_encoder_reads_them(folder):
    documents = [("ant1", "the ant1 of bee2 " + "cat3 " * 60), ("", "no title"), ("bee1 bee2", "BEE2 ant")]
    corpus = make_corpus(documents, texts(2), ["ant0", "bee0"])
    ranked = rank(folder, corpus, **(OPTIONS | {"blanked": 1.0}))
    assert ranked.examples == (
        {"document": "d0", "anchor": "the _ of bee2 " + " ".join(["cat3"] * 26), "positive": "ant1"},
        {"document": "d2", "anchor": "_ ant", "positive": "bee1 bee2"},
    )


def test_without_titles_there_is_nothing_to_pair(folder):
    corpus = make_corpus([("", "ant0 ant1"), (" ", "ant2")], texts(2), ["ant0"])
    with pytest.raises(Unavailable, match="no training document has a title"):
        rank(folder, corpus)
