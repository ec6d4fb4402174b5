"""A language model at prediction time: ICXML and the re-ranker, against rankings worked out by hand."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from judging import KEY, make_config
from servers import Server, completion, error, prompt
from test_baselines import make_corpus
from test_store import Scripted
from tiny_encoders import encoder_config, save_tiny_encoder
from tiny_models import save_gguf, save_random_model

from lmtx import baselines, teachers
from lmtx.baselines import Inputs, Unavailable
from lmtx.config import BaselineConfig, ConfigError, EnsembleConfig, HuggingFaceConfig, SimulatedConfig
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.llm import dispatch
from lmtx.teachers import NO, NONE, YES, BudgetError, TeacherError
from lmtx.teachers.records import write_record
from lmtx.teachers.store import VerdictStore

WORDS = ["red", "apple", "car", "blue", "green", "sky", "tree", "tall", "night"]
LABELS = [
    *("red apple", "green apple", "red car", "blue car"),
    *("blue sky", "green tree", "tall tree", "night sky"),
]
DOCUMENTS = ["doc zero", "doc one", "doc two"]
# How much of each of WORDS a document has; a label's cosine grows with the sum over its two words.
WEIGHTS = np.array(
    [
        [8, 4, 2, 1, 0.5, 0.25, 0.1, 0.05, 0.03],
        [0.03, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8],
        [8, 4, 2, 1, 0.5, 0.25, 0.1, 0.05, 0.03],
    ]
)
BY_E0 = [
    [2, 1, 3, 4, 5, 7, 6],  # 10, 4.5, 3, 1.25, .6, .28, .15; label 0 is its own
    [7, 6, 5, 4, 1, 3, 2, 0],  # 9, 6, 2.5, 1.25, .55, .35, .13, .08
    [0, 2, 1, 3, 4, 5, 7, 6],
]


def unit(vectors) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Words:
    """An encoder that counts words."""

    def encode(self, texts, max_tokens, progress=None):
        # A word that none of the labels has lies nowhere near one.
        return unit([[*(text.split().count(word) for word in WORDS), 1e-9] for text in texts])[:, :-1]

    def encode_labels(self, labels, progress=None):
        return self.encode(labels["text"].to_pylist(), 0)

    def encode_documents(self, documents, progress=None):
        return unit(WEIGHTS[: len(documents)])


def corpus_of(texts, labels=LABELS) -> Corpus:
    """The first label is the first document's own."""
    return make_corpus([("", "some text")], [("", text) for text in texts], labels, [(0, 0)])


def make_inputs(folder: Path, teacher, depth=8, **changes) -> Inputs:
    """The documents and labels above, with embeddings that count words."""
    vectors = {"labels": Words().encode(LABELS, 0), "test": unit(WEIGHTS)}
    vectors |= {"train": vectors["test"][:1], "dev": vectors["test"][:0]}
    inputs = Inputs(
        corpus_of(DOCUMENTS), vectors, depth, encoder_config("none"), teacher, folder / "v.sqlite"
    )
    return dataclasses.replace(inputs, **changes)


def rank(kind, inputs, **options):
    return baselines.rank(BaselineConfig(kind=kind, label=kind, options=options), inputs)


def row_of(text: str) -> int:
    return next(row for row, name in enumerate(DOCUMENTS) if name in text)


def task_of(text: str) -> str:
    return next(task for task in ("Make up", "Write the", "Choose the") if f"\n{task}" in text)


ANSWERS = {
    "Make up": [
        "Sure! Two documents:\n1. fruit => red apple; green apple\n2. cars => blue car",
        '[{"document": "trees", "labels": ["tall tree"]}]',
        "- skies => </document> night sky",
    ],
    "Write the": ["1. apple apple red\n2. blue blue sky", '["tall tall tree"]', "night sky sky, car car red"],
    # In each, the nearest labels of the first candidate and of the second take turns.
    "Choose the": ["4, 2", "I like them all", "1. red car\n2. night sky"],
}


def answer(request):
    text = prompt(request)
    return completion(ANSWERS[task_of(text)][row_of(text)], answer_tokens=7)


@pytest.fixture
def words(monkeypatch, tmp_path):
    monkeypatch.setattr(Encoder, "load", lambda config: Words())
    monkeypatch.setattr(dispatch, "backoff", lambda attempt, chance: 0.02 * (attempt + 1))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)

    def go(server, folder=tmp_path, depth=8, **changes):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        inputs = make_inputs(folder, make_config(**changes), depth)
        return rank("icxml", inputs, demonstrations=2, candidates=2, nearest=2), inputs

    return go


# "apple apple red" is nearest to "green apple" (2 / √10, as its own label "red apple" is none) and then
# to "red car" (1 / √10); "blue blue sky" to "blue sky" (3 / √10) and "blue car" (2 / √10): the model is
# shown 1 green apple, 2 blue sky, 3 red car, 4 blue car. It takes 4 and 2.
# "night sky sky" finds "night sky" (3 / √10) and "blue sky" (2 / √10), "car car red" finds "red car" and
# "blue car".
EXPECTED = [[3, 4, 2, 1, 5, 7, 6, -1], BY_E0[1], [2, 7, 0, 1, 3, 4, 5, 6]]


def test_the_ranking_is_the_one_worked_out_by_hand(words, capsys):
    with Server(answer) as server:
        ranked, inputs = words(server)
        sent = [prompt(request) for request in server.requests]
        assert len(sent) == 9
    assert ranked.ranking.ids.tolist() == EXPECTED
    assert (ranked.ranking.ids.dtype, ranked.ranking.scores.dtype) == (np.int32, np.float32)
    assert ranked.ranking.scores[0, :2].tolist() == pytest.approx([2, 1.9])
    assert ranked.ranking.scores[0, 2] == pytest.approx(10 / np.sqrt(2 * (WEIGHTS[0] ** 2).sum()), abs=1e-6)
    assert (np.diff(ranked.ranking.scores, axis=1) <= 0)[:, :-1].all()
    costs = [ranked.cost[name] for name in ("requests", "prompt_tokens", "answer_tokens")]
    assert costs == [9, 900, 63]
    assert set(inputs.clock.seconds) == {"ask", "encode", "rank"}
    assert ranked.notes == (
        "asks scripted at prediction time",
        "1 of 3 selections could not be read: ranked by E0 alone",
    )
    assert ranked.examples[0] == {
        "document": "doc zero",
        "demonstrations": "fruit => red apple; green apple | cars => blue car",
        "candidates": "apple apple red | blue blue sky",
        "selected": "blue car | blue sky",
    }
    printed = capsys.readouterr().out
    assert printed.startswith("Plan of tester") and "answers to write  9" in printed
    by_task = {task: {row_of(t): t for t in sent if task_of(t) == task} for task in ANSWERS}
    assert "- fruit => red apple; green apple\n- cars => blue car\n" in by_task["Write the"][0]
    assert "1. green apple\n2. blue sky\n3. red car\n4. blue car\n" in by_task["Choose the"][0]
    assert "Is “[label]” a relevant tag" in by_task["Make up"][0]
    # The five labels nearest to a document show what labels look like; its own is none of them.
    for text, ids in zip(by_task["Write the"].values(), BY_E0, strict=True):
        shown = "\n".join(f"- {LABELS[label]}" for label in ids[:5])
        assert f"Labels look like these:\n{shown}\n\n" in text
    # What the model writes cannot end the document, nor can a document.
    assert "‹/document> night sky" in by_task["Write the"][2]


def test_a_second_run_asks_nothing_and_ranks_the_same_and_a_ranking_ends_at_its_depth(words):
    with Server(answer) as server:
        first, _ = words(server)
        again, _ = words(server)
        short, _ = words(server, depth=3)
        assert len(server.requests) == 9
    np.testing.assert_array_equal(again.ranking.ids, first.ranking.ids)
    assert (again.cost["requests"], again.cost["cached"]) == (0, 9)
    assert short.ranking.ids.tolist() == [row[:3] for row in EXPECTED]


@pytest.mark.parametrize("after", [1, 4])
def test_an_interrupted_run_asks_only_the_rest(words, capsys, after):
    with Server(answer) as server:
        with pytest.raises(BudgetError, match=f"max_requests = {after} is reached"):
            words(server, max_requests=after, concurrency=2)
        assert len(server.requests) == after
        capsys.readouterr()
        ranked, _ = words(server)
        assert len(server.requests) == 9 and set(server.prompts().values()) == {1}
        printed = capsys.readouterr().out
    assert ranked.ranking.ids.tolist() == EXPECTED
    lines = dict(line.rsplit(maxsplit=1) for line in printed.splitlines() if line.startswith("   "))
    assert lines["              requests"] == str(9 - after)
    assert f"answered by the store  {after} (" in printed


def test_the_plan_estimates_what_hangs_on_answers_to_come(words, capsys):
    with Server(answer) as server:
        words(server)
        sent = sum(len(prompt(r).encode()) for r in server.requests) / 4 + 8 * 9
    printed = capsys.readouterr().out
    assert "later questions about 3 documents hang on answers yet to come: estimated" in printed
    planned = next(line for line in printed.splitlines() if "prompt tokens" in line).split()[-1]
    # Demonstrations are taken at their longest: 2 x 96 tokens for each of three documents.
    assert sent < int(planned.replace(",", "")) < sent + 3 * 2 * 96


def test_a_failed_request_leaves_the_document_to_e0_and_is_asked_again(words):
    failing = {"Make up": 1, "Choose the": 2}

    def refuse(request):
        text = prompt(request)
        if failing.get(task_of(text)) == row_of(text):
            return error(400, "not now")
        return answer(request)

    with Server(refuse) as server:
        ranked, _ = words(server, max_missing=0.5, concurrency=1)
        assert len(server.requests) == 3 + 2 + 2
        assert ranked.ranking.ids.tolist() == [EXPECTED[0], BY_E0[1], BY_E0[2]]
        assert ranked.cost["failed"] == 2
        assert "2 of 3 documents were not answered: ranked by E0 alone" in ranked.notes
        failing.clear()
        ranked, _ = words(server)
        assert len(server.requests) == 7 + 3 + 1
        assert ranked.ranking.ids.tolist() == EXPECTED
        failing["Make up"] = 1
    with Server(refuse) as server, pytest.raises(TeacherError, match=r"1 of 3 texts are missing"):
        words(server, max_missing=0.1, concurrency=1, model="another")


def ensemble_config() -> EnsembleConfig:
    return EnsembleConfig(kind="ensemble", name="ensemble", acceptance=0.5, lexical_weight=0.5, naming=0.2)


def test_without_a_model_that_writes_the_row_says_why_and_options_are_checked(tmp_path):
    for teacher, there in ((None, "no teacher"), (ensemble_config(), "the ensemble teacher")):
        with pytest.raises(Unavailable, match=rf"icxml\.teacher to one \(this run has {there}\)"):
            rank("icxml", make_inputs(tmp_path, teacher))
    with pytest.raises(ConfigError, match=r"options\.candidates"):
        rank("icxml", make_inputs(tmp_path, None), candidates=0)


TINY = {"kind": "huggingface", "name": "tiny", "wording": "tag", "question": None, "device": "cpu"}
TINY |= {"document_tokens": 30, "precision": "fp32", "batch_tokens": 2048}


def real_inputs(folder: Path, teacher, documents=4) -> Inputs:
    """Documents and labels embedded by a tiny encoder, for a model that writes what it likes."""
    config = encoder_config(save_tiny_encoder(folder / "encoder"))
    encoder = Encoder.load(config)
    corpus = corpus_of([f"ant{i} bee{i} " * (i + 1) for i in range(documents)], [f"cat{i}" for i in range(9)])
    vectors = {"test": encoder.encode_documents(corpus.test), "labels": encoder.encode_labels(corpus.labels)}
    return Inputs(corpus, vectors, 5, config, teacher, folder / "v.sqlite")


def test_recorded_texts_need_no_model_and_the_first_documents_can_be_enough(tmp_path, capsys):
    """Here the model is a GGUF file, deleted in between."""
    folder = save_random_model(tmp_path / "model", "qwen2", layer_types=["full_attention"] * 2)
    file = save_gguf(folder, tmp_path / "tiny.gguf")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    model = TINY | {"model": str(file), "sha256": sha256, "prompt": "strict"}
    inputs = real_inputs(tmp_path, HuggingFaceConfig(**model))
    ranked = rank("icxml", inputs, documents=2, demonstrations=1, candidates=1)
    assert len(ranked.ranking) == 2 and "measured on the first 2 of 4 test documents" in ranked.notes
    assert ranked.cost["requests"] >= 4
    with VerdictStore(inputs.store) as store:
        assert write_record(store, "tiny", None, tmp_path / "records" / "tiny-texts.parquet") >= 4
    file.unlink()
    inputs = dataclasses.replace(inputs, store=tmp_path / "new.sqlite", records=tmp_path / "records")
    recorded = rank("icxml", inputs, documents=2, demonstrations=1, candidates=1)
    np.testing.assert_array_equal(recorded.ranking.ids, ranked.ranking.ids)
    assert recorded.cost["requests"] == 0 and recorded.bill["requests"] == ranked.bill["requests"]
    with pytest.raises(TeacherError, match=r"no file .*tiny\.gguf"):
        rank("icxml", inputs, documents=3, demonstrations=1, candidates=1)
    teacher = HuggingFaceConfig(**model, max_missing=0.02)  # another prompt on another processor, say
    with pytest.raises(Unavailable, match=r"not recorded, and tiny is not on this machine"):
        inputs = dataclasses.replace(inputs, teacher=teacher)
        rank("icxml", inputs, documents=3, demonstrations=1, candidates=1)
    printed = capsys.readouterr().out
    assert "1 of 3 texts are missing" in printed and f"no file {file}" in printed


# --- the teacher as a re-ranker ----------------------------------------------------------------


class Judge(Scripted):
    """Verdicts written out: (row, column) to p_yes and answer."""

    GIVEN = {  # noqa: RUF012
        (0, 2): (0.1, NO), (0, 1): (np.nan, NONE), (0, 3): (0.6, YES), (0, 4): (0.9, YES),
        (1, 7): (0.2, NO), (1, 6): (0.2, NO), (1, 5): (0.3, NO), (1, 4): (0.2, NO),
        (2, 0): (0.5, YES), (2, 2): (np.nan, NONE), (2, 1): (0.5, YES), (2, 3): (np.nan, NONE),
    }  # fmt: skip

    def ask(self, pairs):
        for position, pair in enumerate(zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)):
            p_yes, said = self.GIVEN[pair]
            yield np.array([position]), np.array([p_yes], np.float32), np.array([said], np.int8)


def test_the_shortlist_is_ordered_by_the_verdicts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(teachers, "build", lambda config, store, **_: Judge(VerdictStore(store)))
    ranked = rank("rerank", make_inputs(tmp_path, ensemble_config()), shortlist=4)
    assert ranked.ranking.ids.tolist() == [
        [4, 3, 1, 2, 5, 7, 6, -1],  # .9, .6, none, no
        [5, 7, 6, 4, 1, 3, 2, 0],  # all no: .3 first, then as E0 ranks them
        [0, 1, 2, 3, 4, 5, 7, 6],  # yes at .5 before none
    ]
    assert ranked.ranking.scores[0, :4].tolist() == pytest.approx([1.9, 1.6, 1.5, 1.1])
    assert (np.diff(ranked.ranking.scores[:, :7], axis=1) <= 0).all()
    assert ranked.cost["verdicts"] == 12
    assert "asks scripted at prediction time" in ranked.notes
    assert capsys.readouterr().out.startswith("Plan of scripted")
    cut = rank("rerank", make_inputs(tmp_path, ensemble_config(), depth=2), shortlist=4)
    assert cut.ranking.ids.tolist() == [[4, 3], [5, 7], [0, 1]]
    assert (cut.cost["verdicts"], cut.cost["cached"]) == (0, 12)


def test_a_reranker_without_a_teacher_or_with_a_simulation_says_why(tmp_path):
    simulated = SimulatedConfig(kind="simulated", name="s", true_yes=0.9, false_yes=0.1, seed=1)
    for teacher in (None, simulated):
        with pytest.raises(Unavailable, match="needs a teacher that reads no annotations"):
            rank("rerank", make_inputs(tmp_path, teacher))
