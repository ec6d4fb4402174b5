"""The tagger: the study's ranking, wherever it is asked for; labels, thresholds and folders that hold."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import yaml
from huggingface_hub import ModelCard
from tiny_encoders import document_table, label_table, random_texts

import lmtx
from lmtx.config import compose, load_config
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.files import DestinationError, read_json, write_json
from lmtx.index import search
from lmtx.tagger import LabelIndex, Tagger, TaggerError
from lmtx.tagger.calibration import calibrate_by
from lmtx.tagger.commands import export_study
from lmtx.tagger.labels import pack
from lmtx.teachers import NO, NONE, YES, Teacher, VerdictStore

DOCUMENTS = document_table(random_texts(40, seed=1), [f"cat{i % 12}" if i % 3 else "" for i in range(40)])
LABELS = label_table(random_texts(60, longest=20, seed=2))


class FirstTwo(Teacher):
    """Yes to the first two labels of `ranked`, int (n, k); none to the first one of document 0."""

    def __init__(self, store, ranked):
        super().__init__("first two", {"kind": "first two"}, store)
        self.ranked = ranked

    def ask(self, pairs):
        liked = (self.ranked[pairs.rows, :2] == pairs.columns[:, None]).any(axis=1)
        answer = np.where(liked, YES, NO).astype(np.int8)
        answer[(pairs.rows == 0) & (pairs.columns == self.ranked[0, 0])] = NONE
        yield np.arange(len(pairs)), np.where(answer == YES, 0.75, 0.25).astype(np.float32), answer


@pytest.fixture
def tagger(encoder):
    return Tagger.build(encoder, LABELS, {"teacher": "scripted"})


@pytest.fixture
def exported(tagger, tmp_path):
    tagger.export(tmp_path / "tagger")
    return tmp_path / "tagger"


def uids(answers):
    return [[label["uid"] for label in labels] for labels in answers]


def tag(tagger, k=10, **options):
    return tagger.tag(DOCUMENTS["text"].to_pylist(), k, titles=DOCUMENTS["title"].to_pylist(), **options)


# --- one ranking ---------------------------------------------------------------------------------


def test_tagger_sentence_transformers_and_the_evaluation_rank_alike(encoder, exported):
    """The model card's recipe, word for word, against the study's search and the exported tagger."""
    from sentence_transformers import SentenceTransformer

    evaluated = search(encoder.encode_documents(DOCUMENTS), encoder.encode_labels(LABELS), 10)
    expected = [[f"l{i}" for i in row] for row in evaluated.ids]
    assert uids(tag(lmtx.Tagger.load(exported))) == expected

    model = SentenceTransformer(str(exported), device="cpu")
    assert model.max_seq_length == encoder.config.document_tokens
    names, vectors = pd.read_parquet(exported / "labels.parquet"), np.load(exported / "labels.npy")
    pairs = zip(DOCUMENTS["title"].to_pylist(), DOCUMENTS["text"].to_pylist(), strict=True)
    read = [f"{title}. {text}" if title else text for title, text in pairs]
    scores = model.encode(read, normalize_embeddings=True) @ vectors.T
    best = np.argsort(-scores, axis=1)[:, :10]
    assert [[names["uid"][i] for i in row] for row in best] == expected
    np.testing.assert_allclose(np.take_along_axis(scores, best, axis=1), evaluated.scores, atol=2e-6)


def test_an_answer_is_plain_data(tagger):
    (answer,) = tagger.tag(["ant1 bee2"], k=2)
    assert [sorted(label) for label in answer] == [["score", "text", "uid"]] * 2
    assert answer[0]["score"] >= answer[1]["score"]
    assert answer[0]["text"] == LABELS["text"][int(answer[0]["uid"][1:])].as_py()
    assert json.loads(json.dumps(answer)) == answer
    assert tagger.tag([]) == []


def test_a_threshold_cuts_and_k_stays_the_most(tagger):
    everything = tag(tagger)
    limit = everything[0][4]["score"]
    cut = tag(tagger, threshold=limit - 1e-6)
    assert cut == [[label for label in labels if label["score"] >= limit - 1e-6] for labels in everything]
    assert len(cut[0]) == 5
    assert tagger.tag(["ant1"], threshold=1.1) == [[]]
    assert len(tagger.tag(["ant1"], k=1000)[0]) == len(LABELS)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.tag("ant1"), TypeError, r"give a list of documents"),
        (lambda t: t.tag(["ant1"], k=0), ValueError, r"k is 0"),
        (lambda t: t.add_labels(["ant1"], ["l3"]), TaggerError, "'l3' is in the tagger already"),
        (
            lambda t: t.add_labels(["ant1", "ant1"]),
            TaggerError,
            "the label 'ant1' comes twice; leave it out",
        ),
        (lambda t: t.add_labels(["ant1", " "]), TaggerError, r"number 2 has no text"),
        (lambda t: t.add_labels(["ant1"], []), TaggerError, r"1 label texts and 0 uids"),
        (lambda t: t.export(Path(__file__).parent), DestinationError, r"holds no model; name another"),
        (lambda t: t.labels.stored_as("int4"), ValueError, r"'int4' is none of float32, int8"),
    ],
)
def test_what_cannot_be_done_is_said(tagger, call, error, message):
    before = len(tagger.labels)
    with pytest.raises(error, match=message):
        call(tagger)
    assert len(tagger.labels) == before


# --- labels --------------------------------------------------------------------------------------


def test_labels_are_added_without_training_and_saved(tagger, exported):
    text = "fox1 fox2 elk3 dog4"
    tagger = Tagger.load(exported)
    tagger.add_labels([text, "ant1 ant2"], [None, "second"])
    tagger.export(exported)
    again = Tagger.load(exported)
    assert again.labels.table["uid"].to_pylist() == [*LABELS["uid"].to_pylist(), text, "second"]
    assert again.tag([text], k=1)[0][0] == {"uid": text, "text": text, "score": pytest.approx(1, abs=1e-5)}
    assert np.array_equal(again.labels.vectors[: len(LABELS)], tagger.labels.vectors[: len(LABELS)])
    assert "2 of the 62 labels were added later" in (exported / "README.md").read_text()


def test_label_vectors_are_mapped_not_read(exported):
    assert isinstance(Tagger.load(exported).labels.vectors, np.memmap)


def test_int8_takes_a_quarter_and_keeps_the_ranking(tagger, tmp_path):
    tagger.export(tmp_path / "small", storage="int8")
    small = Tagger.load(tmp_path / "small")
    assert small.labels.storage == "int8" and small.labels.vectors.dtype == np.int8
    queries = tagger.encoder.encode_documents(DOCUMENTS)
    unpacked = small.labels.stored_as("float32")
    assert (np.einsum("ij,ij->i", unpacked.vectors, tagger.labels.vectors) > 0.9999).all()
    blockwise, whole = small.labels.search(queries, 9), unpacked.search(queries, 9)
    np.testing.assert_allclose(blockwise.scores, whole.scores, atol=1e-6)
    assert (blockwise.ids == whole.ids).mean() > 0.99
    assert small.labels.search(queries, 1000).ids.shape == (len(DOCUMENTS), len(LABELS))
    small.add_labels(["fox1 fox2 elk3"])
    assert small.tag(["fox1 fox2 elk3"], k=1)[0][0]["uid"] == "fox1 fox2 elk3"


def test_packing_a_row_of_zeros_is_harmless():
    packed, scales = pack(np.array([[0.0, 0.0], [0.5, -1.0]], dtype=np.float32))
    assert packed.tolist() == [[0, 0], [64, -127]]
    assert scales == pytest.approx([0, np.hypot(0.5, 1) / np.hypot(64, 127)])


# --- folders -------------------------------------------------------------------------------------


def test_an_interrupted_export_leaves_what_was_there(tagger, exported, monkeypatch):
    before = sorted(file.name for file in exported.iterdir())
    monkeypatch.setattr("lmtx.tagger.card.model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tagger.export(exported)
    assert sorted(file.name for file in exported.iterdir()) == before
    assert [file.name for file in exported.parent.iterdir()] == ["tagger"]
    assert len(tag(Tagger.load(exported))) == len(DOCUMENTS)


# --- calibration ---------------------------------------------------------------------------------


def test_the_teacher_calibrates_and_the_folder_keeps_it(tagger, tmp_path):
    with VerdictStore(tmp_path / "verdicts.sqlite") as store:
        teacher = FirstTwo(store, tagger.rank(DOCUMENTS, 5).ids)
        excluded = sp.csr_array((np.ones(1, bool), ([1], [4])), shape=(len(DOCUMENTS), len(LABELS)))
        calibrate_by(tagger, DOCUMENTS, teacher, depth=5, excluded=excluded)
    made = tagger.calibration
    assert (made.documents, made.depth, made.pairs, made.judge) == (40, 5, 199, "first two")
    tagger.export(tmp_path / "tagger")
    again = Tagger.load(tmp_path / "tagger")
    assert again.calibration == made
    (answer,) = again.tag(["ant1"], k=1)
    assert answer[0]["p_yes"] == round(float(made.p_yes(np.array(answer[0]["score"]))), 4)
    text = (tmp_path / "tagger" / "README.md").read_text()
    assert made.thresholds[0].yes == pytest.approx(79 / 199)
    assert "From 199 verdicts of first two" in text and "means **by the teacher**; it is no precision" in text


# --- a study's model -----------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def study(encoder, tmp_path):
    """A study's folder with a corpus, E0's embeddings, one trained model and its results."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    values = compose(["dataset=pydocs"], conf=ROOT / "conf")  # whose teacher needs no model
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    processed = tmp_path / "data" / "processed" / "tiny"
    dev = document_table(random_texts(30, seed=5))
    none = {
        s: sp.csr_array((len(t), len(LABELS)), dtype=bool) for s, t in (("train", DOCUMENTS), ("dev", dev))
    }
    corpus = Corpus(DOCUMENTS, dev, DOCUMENTS, LABELS, none | {"test": none["train"]})
    corpus.validate().save(processed / "corpus")
    (processed / "embeddings").mkdir()
    for split in ("train", "dev", "test"):
        np.save(processed / "embeddings" / f"{split}.npy", encoder.encode_documents(corpus.documents(split)))
    np.save(processed / "embeddings" / "labels.npy", encoder.encode_labels(LABELS))
    model = tmp_path / "models" / "tiny" / "lmtx"
    checked = [{"system": "zero-shot", "check": 0.25}, {"system": "lmtx-c1", "check": 0.5}]
    encoder.save(model, {"encoder": encoder.config.model_dump(), "teacher": "ensemble", "checked": checked})
    value = {"value": 0.5, "low": 0.4125, "high": 0.6}
    cost = {"requests": 3, "prompt_tokens": 10, "answer_tokens": 2, "usd": 1.5, "verdicts": 7, "cached": 13}
    host = {"gpu": None, "processor": "a processor", "cores": 2}
    results = {"n": 40, "metrics": {"P@1": value}, "cost": cost, "seconds": {"train": 12.3}, "host": host}
    write_json(tmp_path / "reports" / "metrics" / "tiny" / "lmtx.json", results)
    sizes = {"train": 40, "dev": 30, "test": 40}
    statistics = {"dataset": "tiny", "documents": sizes, "labels": len(LABELS)}
    write_json(tmp_path / "reports" / "corpus" / "tiny.json", statistics)
    return model


def test_a_study_s_model_finds_its_labels_and_embeds_them_once(study, encoder, monkeypatch):
    files = sorted(file.name for file in study.iterdir())
    first = tag(Tagger.load(study))
    assert uids(first) == uids(tag(Tagger.build(encoder, LABELS)))
    assert sorted(file.name for file in study.iterdir()) == files  # or DVC would see a changed model

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode_labels", lambda *_: pytest.fail("the labels were embedded again"))
        assert tag(Tagger.load(study)) == first
    os.utime(study / "model.safetensors", ns=(1, 1))  # trained again
    embedded = []
    monkeypatch.setattr(
        Encoder, "encode_labels", lambda *_, **__: embedded.append(1) or encoder.encode(["ant1"] * 60, 8)
    )
    Tagger.load(study)
    assert embedded == [1]


def test_a_model_in_a_folder_that_cannot_be_written_is_tagged_with_all_the_same(study, monkeypatch, capsys):
    """The study's labels are embedded each time, and a line says so."""

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "unlink"):
        monkeypatch.setattr(Path, name, read_only)
    assert len(tag(Tagger.load(study))) == len(DOCUMENTS)
    assert "the labels will be embedded again at each start: [Errno 30] Read-only" in capsys.readouterr().err


def test_a_study_s_model_becomes_a_tagger_with_card_and_calibration(study, tmp_path):
    """The card has figures that the hub reads, recipes that are Python, and the tagger's own answer."""
    said = []
    export_study(study, tmp_path / "out", say=said.append)
    tagger = Tagger.load(tmp_path / "out")
    assert uids(tag(tagger)) == uids(tag(Tagger.load(study)))
    assert tagger.calibration.judge == "ensemble" and tagger.calibration.pairs == 300
    assert said[0].startswith("5% of the documents are longer than the 32 tokens that the encoder reads")
    assert said[1] == "calibrated on 300 verdicts of ensemble on 30 held-out documents"
    text = (tmp_path / "out" / "README.md").read_text()
    for line in (
        "| P@1 | 50.0 | 41.2 to 60.0 |",
        "20 verdicts, 13 of them from the verdict store",
        "the others took 3 requests, 12 tokens and $1.50.",
        "Training took 12 s on a processor, 2 cores.",
        "25.0% (zero-shot), 50.0% (lmtx-c1)",
        "`tiny`: 40 training documents, 30 kept apart",
    ):
        assert line in text, line
    assert read_json(tmp_path / "out" / "lmtx.json")["results"]["n"] == 40
    data = ModelCard.load(tmp_path / "out" / "README.md").data
    assert data.library_name == "sentence-transformers" and data.model_name == "out"
    (result,) = data.eval_results
    assert (result.metric_name, result.metric_value, result.dataset_name) == ("P@1", 0.5, "tiny")
    assert text.startswith("---\nlibrary_name: sentence-transformers\n")
    blocks = text.split("```python\n")[1:]
    assert len(blocks) == 2
    for block in blocks:
        compile(block.partition("```")[0], "README.md", "exec")
    example = tagger.card["example"]
    assert len(example) >= 40 and any(whole.startswith(example) for whole in DOCUMENTS["text"].to_pylist())
    for label in tagger.tag([example], 3)[0]:
        assert f"| {label['text']} | {label['score']:.3f} | {label['p_yes']} |" in text
    # Its answer is that of the labels of today.
    best = tagger.tag([example], 1)[0][0]
    tagger.add_labels([example], ["the document itself"])
    tagger.export(tmp_path / "out")
    rows = (tmp_path / "out" / "README.md").read_text().partition("| label | score")[2].splitlines()
    assert rows[2].startswith(f"| {example} | ") and rows[3].startswith(f"| {best['text']} | ")


def test_an_encoder_that_was_not_trained_is_not_called_trained(study, encoder, tmp_path):
    """The study keeps E0 where no cycle was better, and `lmtx export` says so."""
    encoder.save(study, {"system": "zero-shot", "encoder": encoder.config.model_dump(), "checked": []})
    said = []
    export_study(study, tmp_path / "out", say=said.append)
    assert said[0].startswith("This is E0, the encoder before training")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "**This is E0" in text and "as it came: not trained" in text
    # Nowhere does the card speak of a training, or of a teacher.
    assert not re.search(r"trained by LMTX|were trained|Training took|Teacher:", text)


def test_a_teacher_that_costs_is_not_asked_unasked(study, tmp_path):

    openai = load_config(ROOT / "params.yaml", ["teacher=openai"]).teacher.model_dump()
    values = yaml.safe_load((tmp_path / "params.yaml").read_text()) | {"teacher": openai}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    said = []
    export_study(study, tmp_path / "out", say=said.append)
    assert "requests" in said[1] and "no calibration: the teacher would have to be asked" in said[1]
    assert Tagger.load(tmp_path / "out").calibration is None
    assert "Not calibrated" in (tmp_path / "out" / "README.md").read_text()


def test_people_s_answers_calibrate_an_export(study, tmp_path):
    """The share of right labels above a threshold is a precision, by documents that people annotated."""
    ranked = tag(Tagger.load(study), k=5)
    rows = [
        {"title": title, "text": text, "labels": [labels[0]["uid"]]}
        for title, text, labels in zip(
            DOCUMENTS["title"].to_pylist(), DOCUMENTS["text"].to_pylist(), ranked, strict=True
        )
    ]
    annotated = tmp_path / "annotated.jsonl"
    annotated.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "no labels"}]))
    said = []
    export_study(study, tmp_path / "out", annotated=annotated, say=said.append)
    made = Tagger.load(tmp_path / "out").calibration
    assert made.by_people and (made.documents, made.depth, made.pairs) == (40, 5, 200)
    assert made.thresholds[0].yes == pytest.approx(0.2)
    assert said[1] == "calibrated on people's answers on 40 documents"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "From 200 answers of people" in text and "Precision means **by people**" in text
    annotated.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(TaggerError, match=r"says too little for a calibration: 1 of its documents"):
        export_study(study, tmp_path / "out", annotated=annotated, say=said.append)
    assert Tagger.load(tmp_path / "out").calibration == made
    # Another export into the folder would lose the answers; one with new answers is asked for.
    with pytest.raises(DestinationError, match=r"is a tagger with people's answers, which a new one would"):
        export_study(study, tmp_path / "out", say=said.append)
    assert Tagger.load(tmp_path / "out").calibration == made


# --- what the label table may hold ---------------------------------------------------------------


def test_labels_in_chunks_and_in_other_string_types(encoder):
    table = pa.concat_tables([LABELS.slice(0, 7), LABELS.slice(7)])
    index = LabelIndex(table, encoder.encode_labels(table))
    wide = pa.table(
        {"uid": pa.array(["x"], pa.large_string()), "text": pa.array(["ant1"], pa.large_string())}
    )
    assert len(index.extended(wide, encoder.encode_labels(wide))) == 61
