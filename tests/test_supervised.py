"""The supervised reference: it learns from annotations, and from nothing it must not."""

import numpy as np
import pytest
import scipy.sparse as sp
from test_baselines import make_corpus
from test_config import ROOT
from test_training import training_config
from tiny_encoders import encoder_config

from lmtx.config import load_config
from lmtx.encoder import Encoder
from lmtx.index import search
from lmtx.supervised import SupervisedError, train_supervised

TOPICS = ("ant", "bee", "cat")


def documents(topics, seed):
    rng = np.random.default_rng(seed)
    return [("", " ".join(f"{TOPICS[t]}{k}" for k in rng.integers(0, 12, 8))) for t in topics]


def study(own=()):
    """Documents of three topics; label t + 1 modulo 3 is annotated, which no text gives away."""
    rng = np.random.default_rng(0)
    topics, asked = rng.integers(0, 3, 60), rng.integers(0, 3, 30)
    labels = [f"{t}0 {t}1" for t in TOPICS]
    corpus = make_corpus(documents(topics, 1), documents(asked, 2), labels, own)
    return corpus, np.eye(3, dtype=bool)[(topics + 1) % 3], (asked + 1) % 3


def parameters(folder, **changes):
    """The study's parameters with the tiny encoder, and with changes to its training."""
    sections = {"encoder": encoder_config(folder), "training": training_config(**changes)}
    return load_config(ROOT / "params.yaml").model_copy(update=sections)


def supervised(config, corpus, truth):
    e0 = Encoder.load(config.encoder)
    embeddings = {"train": e0.encode_documents(corpus.train), "labels": e0.encode_labels(corpus.labels)}
    return train_supervised(config, corpus, embeddings, sp.csr_array(truth))


def rank(encoder, corpus, depth):
    vectors = encoder.encode_documents(corpus.test), encoder.encode_labels(corpus.labels)
    return search(*vectors, depth, excluded=corpus.excluded["test"])


def test_it_learns_what_only_the_annotations_say(folder):
    corpus, truth, expected = study()
    config = parameters(folder, epochs=6)
    encoder, log = supervised(config, corpus, truth)
    ranking = rank(encoder, corpus, 2)
    assert ranking.ids.shape == (30, 2)
    assert (ranking.ids[:, 0] == expected).mean() > 0.75
    assert len(log.losses) == 6 * 8
    again, second = supervised(config, corpus, truth)
    assert log.losses == second.losses
    np.testing.assert_array_equal(rank(again, corpus, 2).scores, ranking.scores)


def test_excluded_pairs_are_neither_positives_nor_ranked(folder):
    corpus, truth, _ = study(own=[(i, 0) for i in range(30)])
    excluded = np.zeros_like(truth)
    excluded[:, 2] = True
    corpus.excluded["train"] = sp.csr_array(excluded)
    config = parameters(folder)
    _, log = supervised(config, corpus, truth)
    assert len(log.losses) == -(-int(truth[:, :2].sum()) // 8)
    encoder, same = supervised(config, corpus, truth & ~excluded)
    assert log.losses == same.losses
    assert not (rank(encoder, corpus, 3).ids == 0).any()


def test_shortlisted_labels_that_are_not_annotated_are_rejected(folder, monkeypatch):
    """A shortlist of ten holds all three labels; only the documents that the parameters name are used."""
    corpus, truth, _ = study(own=[(i, 0) for i in range(30)])
    given = []
    monkeypatch.setattr("lmtx.supervised.train_student", lambda *inputs, spared: given.extend(inputs))
    supervised(parameters(folder, documents=20), corpus, truth)
    _, _, rows, accepted, rejected = given
    assert len(rows) == 20
    np.testing.assert_array_equal(accepted.toarray(), truth[rows])
    np.testing.assert_array_equal(rejected.toarray(), ~truth[rows])


def test_annotations_that_do_not_fit_or_are_none_stop_it(folder):
    corpus, truth, _ = study()
    config = parameters(folder), corpus
    with pytest.raises(SupervisedError, match=r"annotations are \(59, 3\), not \(60, 3\)"):
        supervised(*config, truth[:59])
    with pytest.raises(SupervisedError, match="none of 60 training documents has an annotation"):
        supervised(*config, np.zeros_like(truth))
