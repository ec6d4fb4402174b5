"""Documents that are longer than the encoder reads: every window counts as it is said to."""

import io
import json

import numpy as np
import pytest
import scipy.sparse as sp
from own_sets import kitchen, right
from tiny_encoders import document_table, label_table, random_texts

from lmtx import Tagger
from lmtx.config import load_presets
from lmtx.encoder import Encoder
from lmtx.tagger import TaggerError
from lmtx.tagger.stream import tag_stream
from lmtx.tagger.windows import MOST, cut_down, longer, read

PREFACE = """When we were children, the summers were long and the train to the coast took half a day. My
brother counted bridges, I read the same three comics, and our father slept behind his newspaper. The
house stood at the end of a sandy road; it had green shutters, a bench in front and a radio that only
knew one station. In the evenings the neighbours came over, somebody told a story about the war, and we
were allowed to stay up until the lamps went out. I have kept one thing from those years, and people ask
me for it."""
WORDS = " ".join(random_texts(60, 30, seed=3)).split()
LABELS = label_table(random_texts(20, 8, seed=2))


def by_hand(encoder, words):
    """The vectors of a text's windows, of equal length and at most 30 words each."""
    parts = np.array_split(words, -(-len(words) // 30))
    return encoder.encode([" ".join(part) for part in parts], 32)


def test_windows_cover_a_text_between_the_special_tokens(encoder):
    documents = document_table([" ".join(WORDS[:100]), " ".join(WORDS[:30]), " ".join(WORDS[40:71])])
    expected = [by_hand(encoder, WORDS[:100]), by_hand(encoder, WORDS[:30]), by_hand(encoder, WORDS[40:71])]
    assert [len(vectors) for vectors in expected] == [4, 1, 2]
    vectors, rows = read(encoder, documents, "best")
    assert rows.tolist() == [0, 0, 0, 0, 1, 2, 2]
    np.testing.assert_allclose(vectors, np.concatenate(expected), atol=1e-5)
    means = np.stack([vectors.mean(axis=0) for vectors in expected])
    vectors, rows = read(encoder, documents, "mean")
    assert rows.tolist() == [0, 1, 2]
    np.testing.assert_allclose(vectors, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)
    first, _ = read(encoder, documents, "first")
    np.testing.assert_allclose(first[0], encoder.encode([" ".join(WORDS[:30])], 32)[0], atol=1e-5)


def test_the_best_window_scores_a_label(encoder):
    texts = [WORDS[:100], WORDS[100:120], WORDS[120:300]]
    tagger = Tagger.build(encoder, LABELS, {"windows": "best"})
    excluded = sp.csr_array((np.ones(2, bool), ([0, 2], [3, 5])), shape=(3, 20))
    ranking = tagger.rank(document_table([" ".join(words) for words in texts]), 7, excluded=excluded)
    for row, words in enumerate(texts):
        scores = (by_hand(encoder, words) @ tagger.labels.vectors.T).max(axis=0)
        scores[excluded[[row]].indices] = -np.inf
        expected = np.argsort(-scores)[:7]
        assert ranking.ids[row].tolist() == expected.tolist()
        np.testing.assert_allclose(ranking.scores[row], scores[expected], atol=1e-5)


def test_a_book_is_read_up_to_a_limit(encoder):
    _, rows = read(encoder, document_table([" ".join(WORDS[:100] * 100)]), "best")
    assert MOST <= len(rows) <= MOST + 5  # the special tokens of each window take room


def test_the_share_of_longer_documents_is_told(encoder, tmp_path):
    documents = document_table([" ".join(WORDS[:31]), *[" ".join(WORDS[:30])] * 3])
    told = longer(encoder, documents, "first")
    assert told.startswith("25% of the documents are longer than the 32 tokens that the encoder reads")
    assert longer(encoder, documents[1:], "first") is None
    source = tmp_path / "documents.jsonl"
    source.write_text("".join(json.dumps({"text": t}) + "\n" for t in documents["text"].to_pylist()))
    said = []
    tag_stream(Tagger.build(encoder, LABELS), [source], io.StringIO(), say=said.append)
    assert said == [f"of the first 4, {told}"]


def test_a_long_document_is_cut_down_to_the_window_that_is_nearest_to_a_label(encoder):
    documents = document_table([" ".join(WORDS[:90]), " ".join(WORDS[:20])], ["", "cat1"])
    parts = np.split(np.array(WORDS[:90]), 3)
    for number, part in enumerate(parts):
        labels = encoder.encode([" ".join(part)], 32)
        cut = cut_down(encoder, documents, labels)
        assert cut["text"].to_pylist() == [" ".join(part), " ".join(WORDS[:20])], number
        assert cut.schema == documents.schema and cut["title"].to_pylist() == ["", "cat1"]


def test_windows_are_kept_in_the_folder(encoder, tmp_path):
    text = " ".join(WORDS[:100])
    tagger = Tagger.build(encoder, LABELS, {"windows": "best"})
    tagger.export(tmp_path / "tagger")
    again = Tagger.load(tmp_path / "tagger")
    assert again.tag([text]) == tagger.tag([text]) != Tagger.build(encoder, LABELS).tag([text])
    assert "a document in windows of 32 tokens, and scores" in (tmp_path / "tagger/README.md").read_text()
    with pytest.raises(TaggerError, match="windows is 'all'; there are first, mean, best"):
        Tagger.build(encoder, LABELS, {"windows": "all"}).tag([text])


def test_a_recipe_whose_subject_stands_after_90_words_of_preface_is_tagged_by_its_subject():
    _, dishes, recipes = kitchen()
    recipes = dict(list(recipes.items())[:40])
    prefaced = {f"{PREFACE} {text}": dish for text, dish in recipes.items()}
    assert len(PREFACE.split()) >= 90
    encoder = Encoder.load(load_presets(["dataset=own"], ["encoder.document_tokens=64"]).encoder)
    taggers = [Tagger.build(encoder, label_table(dishes), {"windows": way}) for way in ("first", "best")]
    alone, (first, best) = right(taggers[0], recipes), (right(tagger, prefaced) for tagger in taggers)
    assert best.mean() >= 0.75 * alone.mean() > 2 * first.mean()
