"""RTS: segments that never overlap, titles that take part, and a run from end to end."""

import numpy as np
import pytest
from test_baselines import make_corpus
from tiny_encoders import encoder_config

from lmtx import baselines
from lmtx.baselines import Inputs, Unavailable
from lmtx.baselines.rts import Segments, two_segments
from lmtx.config import BaselineConfig, ConfigError, TrainingConfig
from lmtx.encoder import Encoder

SETTINGS = TrainingConfig(batch_size=4, learning_rate=1e-3, seed=3, epochs=2)
FRAME = [2], [3]


def texts(n, seed=0, words=40):
    """Documents about one of three topics each, with a title of two words."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(["ant", "bee", "cat"], n)
    return [
        (f"{t}0 {t}{i % 12}", " ".join(f"{t}{k}" for k in rng.integers(0, 12, words)))
        for i, t in enumerate(topics)
    ]


def rank(folder, corpus, **options):
    config = BaselineConfig(kind="rts", label="RTS", options=options)
    return baselines.rank(config, Inputs(corpus, {}, 3, encoder_config(folder)))


def test_two_segments_never_overlap_and_reach_every_place():
    rng = np.random.default_rng(0)
    drawn = [two_segments(20, (8, 5), 3, rng) for _ in range(2000)]
    seen = np.zeros((2, 20))
    for first, second in drawn:
        assert first.stop <= second.start or second.stop <= first.start
        assert min(first.start, second.start) >= 0
        assert max(first.stop, second.stop) <= 20
        seen[0, first] += 1
        seen[1, second] += 1
    assert {s.stop - s.start for s, _ in drawn} == {3, 4, 5, 6, 7, 8}
    assert {s.stop - s.start for _, s in drawn} == {3, 4, 5}
    assert (seen > 0).all()
    assert 0.45 < np.mean([first.start < second.start for first, second in drawn]) < 0.55


def test_the_shortest_text_is_cut_in_two():
    rng = np.random.default_rng(0)
    drawn = {tuple((s.start, s.stop) for s in two_segments(6, (30, 30), 3, rng)) for _ in range(50)}
    assert drawn == {((0, 3), (3, 6)), ((3, 6), (0, 3))}


def segments(titles, contents, title_share=0.5, longest=(8, 6)):
    return Segments(titles, contents, FRAME, longest, title_share, 3)


def test_documents_with_neither_title_nor_length_have_no_pair():
    source = segments([[], [7], [], [7]], [[9] * 6, [9], [9] * 5, []])
    assert source.trainable.tolist() == [0, 1]


def test_titles_take_the_place_of_a_segment_at_their_share():
    rng = np.random.default_rng(0)
    source = segments([[7]], [list(range(100, 120))], title_share=0.3)
    titled = [source.draw(0, rng)[1] is None for _ in range(2000)]
    assert 0.27 < np.mean(titled) < 0.33
    short = segments([[7]], [[9] * 5], title_share=0.0)  # too short for two segments
    assert [short.draw(0, rng)[1] for _ in range(20)] == [None] * 20
    untitled = segments([[]], [[9] * 6], title_share=1.0)
    assert all(untitled.draw(0, rng)[1] is not None for _ in range(20))


def test_a_batch_pairs_parts_of_the_same_document():
    contents = [[100 * d + i for i in range(1, 31)] for d in range(1, 8)]
    titles = [[10 + d] * 9 for d in range(1, 8)]
    rows = []
    for batch in segments(titles, contents).batches(SETTINGS):
        np.testing.assert_array_equal(batch.positives, np.arange(len(batch.documents)))
        np.testing.assert_array_equal(batch.ignored, np.eye(len(batch.documents), dtype=bool))
        for document, label in zip(batch.documents, batch.labels, strict=True):
            assert (document[0], document[-1], label[0], label[-1]) == (2, 3, 2, 3)
            row = document[1] // 100 - 1
            rows.append(row)
            inside = contents[row]
            assert document[1:-1] == inside[inside.index(document[1]) :][: len(document) - 2]
            assert 3 <= len(document) - 2 <= 8
            if label[1] < 100:
                assert label[1:-1] == titles[row][:6]
            else:
                assert label[1:-1] == inside[inside.index(label[1]) :][: len(label) - 2]
                assert not set(label[1:-1]) & set(document[1:-1])
    assert sorted(rows[:7]) == sorted(rows[7:]) == list(range(7))


def test_the_same_title_twice_is_no_negative():
    source = segments([[7], [7], [8]], [[9] * 8] * 3, title_share=1.0)
    (batch, *_) = source.batches(SETTINGS)
    same = [label == other for label in batch.labels for other in batch.labels]
    np.testing.assert_array_equal(batch.ignored.ravel(), same)
    assert batch.ignored.sum() == 5


def test_segments_have_the_special_tokens_and_the_lengths_of_the_encoder(folder):
    encoder = Encoder.load(encoder_config(folder, document_tokens=12, label_tokens=7))
    corpus = make_corpus(texts(6), texts(2), ["ant0"])
    source = Segments.of(encoder, corpus.train, title_share=0.5, shortest=3)
    assert source.frame == ([2], [3])
    assert source.longest == (10, 5)
    assert source.contents[0] == encoder.tokenize(corpus.train["text"].to_pylist(), 64)[0][1:-1]
    for batch in source.batches(SETTINGS):
        assert max(map(len, batch.documents)) <= 12
        assert max(map(len, batch.labels)) <= 7
    with pytest.raises(ConfigError, match=r"`options.shortest` is 6, but .* only 5 tokens of a label"):
        Segments.of(encoder, corpus.train, title_share=0.5, shortest=6)


def test_rts_learns_which_texts_belong_together(folder):
    test = texts(30, seed=5)
    corpus = make_corpus(texts(60), test, ["ant1 ant2 ant5", "bee1 bee2 bee5", "cat1 cat2 cat5"])
    options = {"documents": 50, "epochs": 6, "batch_size": 4, "learning_rate": 2e-3, "shortest": 4}
    options |= {"temperature": 0.2, "e0_share": 0.0, "title_share": 0.5}
    ranked = rank(folder, corpus, **options)
    topics = np.array([["ant", "bee", "cat"].index(title[:3]) for title, _ in test])
    assert (ranked.ranking.ids[:, 0] == topics).mean() > 0.9
    assert len(ranked.losses) == 6 * 13
    assert np.mean(ranked.losses[-7:]) < np.mean(ranked.losses[:7])
    few = options | {"epochs": 1, "documents": 12}
    losses = [rank(folder, corpus, **few, **seed).losses for seed in ({}, {}, {"seed": 1})]
    assert losses[0] == losses[1] != losses[2]
    assert [row["document"] for row in ranked.examples] == [f"d{i}" for i in range(20)]
    for row, document in zip(ranked.examples, corpus.train.to_pylist(), strict=False):
        assert row["anchor"] in document["text"]
        assert row["positive"] == document["title"] or row["positive"] in document["text"]


def test_without_titles_and_long_texts_there_is_nothing_to_train_on(folder):
    corpus = make_corpus([("", "ant0 ant1")] * 5, texts(2), ["ant0"])
    with pytest.raises(Unavailable, match=r"RTS needs titles, or texts of at least 16 tokens"):
        rank(folder, corpus)
