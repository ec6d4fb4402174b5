"""Where rankings meet the annotations: against figures worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from pytest import approx
from tiny_encoders import document_table, label_table

from lmtx.config import EvaluationConfig, load_config
from lmtx.config.sections import HybridConfig
from lmtx.corpus import Corpus
from lmtx.evaluation import (
    by_literalness,
    fuse_systems,
    label_counts,
    label_propensities,
    literal_pairs,
    precision_by_frequency,
    pseudo_label_quality,
    same_answers,
    score,
    score_systems,
    total_cost,
    write_systems,
)
from lmtx.files import read_json
from lmtx.index import Shortlist
from lmtx.metrics import evaluate
from lmtx.study import Study

CONFIG = EvaluationConfig(cutoffs=[1, 2], bootstrap=200, seed=5)


def csr(rows, n_labels):
    matrix = np.zeros((len(rows), n_labels), dtype=bool)
    for row, columns in enumerate(rows):
        matrix[row, columns] = True
    return sp.csr_array(matrix)


# Four documents, of which one has no annotation, and five labels.
TRUTH = csr([[0], [1, 2], [], [3]], 5)
NONE = csr([[], [], [], []], 5)
RANKINGS = {
    "tfidf": np.array([[1, 2], [4, 3], [0, 1], [0, 4]], np.int32),  # no hit at all
    "lmtx-c1": np.array([[0, 1], [1, 2], [0, 1], [4, 3]], np.int32),  # 2 of 3 first, all in two
    "zero-shot": np.array([[0, 4], [0, 1], [1, 0], [4, 2]], np.int32),  # 1 of 3 first
}
OPTIONS = {"cutoffs": (1, 2), "propensity": np.ones(5), "bootstrap": 200, "seed": 5}  # those of `scored`


def scored(rankings=RANKINGS, excluded=NONE):
    against = {"against_lmtx": "lmtx-c1"}
    return score(rankings, TRUTH, CONFIG, against, excluded=excluded, propensity=np.ones(5))


def test_every_system_is_scored_on_the_documents_with_annotations_and_beside_the_reference():
    results = scored()
    assert list(results) == list(RANKINGS)
    assert {system: result["n"] for system, result in results.items()} == dict.fromkeys(RANKINGS, 3)
    value = {s: {m: v["value"] for m, v in results[s]["metrics"].items()} for s in results}
    assert value["lmtx-c1"]["P@1"] == approx(2 / 3)
    assert value["lmtx-c1"]["R@2"] == approx(1)
    assert value["zero-shot"]["P@1"] == approx(1 / 3)
    assert value["zero-shot"]["R@2"] == approx((1 + 1 / 2) / 3)
    assert value["tfidf"]["P@1"] == 0
    assert {m.partition("@")[2] for m in value["tfidf"]} == {"1", "2"}
    expected = evaluate(RANKINGS["lmtx-c1"], TRUTH, **OPTIONS)
    assert results["lmtx-c1"]["metrics"] == expected["metrics"]
    # Differences are the system minus the reference.
    assert results["lmtx-c1"]["against_lmtx"] is None
    for system in ("tfidf", "zero-shot"):
        against = results[system]["against_lmtx"]
        assert against.keys() == results[system]["metrics"].keys()
        for metric, difference in against.items():
            assert difference["low"] <= difference["value"] <= difference["high"] <= 0
            assert difference["value"] == approx(value[system][metric] - value["lmtx-c1"][metric])


def test_systems_are_compared_with_several_others_and_may_rank_more_labels():
    rankings = RANKINGS | {"wide": np.c_[RANKINGS["lmtx-c1"], [4, 0, 2, 0]].astype(np.int32)}
    against = {"against_zero_shot": "zero-shot", "against_lmtx_c1": "lmtx-c1"}
    results, single = score(rankings, TRUTH, CONFIG, against, excluded=NONE), scored()
    for system in RANKINGS:
        metrics = single[system]["metrics"].items()
        assert results[system]["metrics"] == {m: v for m, v in metrics if not m.startswith("PSP")}
    assert results["zero-shot"]["against_zero_shot"] is results["lmtx-c1"]["against_lmtx_c1"] is None
    assert results["wide"]["metrics"] == results["lmtx-c1"]["metrics"]
    assert results["wide"]["against_lmtx_c1"]["P@1"]["value"] == 0
    assert results["wide"]["against_zero_shot"]["P@1"]["value"] == approx(1 / 3), "a better one is ahead"


def test_excluded_pairs_are_no_truth_and_no_candidates():
    excluded = csr([[], [2], [], []], 5)
    rankings = {s: np.where(ids == 2, -1, ids) for s, ids in RANKINGS.items()} | {"tfidf": RANKINGS["tfidf"]}
    results = scored(rankings, excluded=excluded)
    assert results["lmtx-c1"]["metrics"]["R@2"]["value"] == approx(1)  # label 2 is not missed
    with pytest.raises(ValueError, match="excluded"):
        scored(excluded=excluded)


def test_a_ranking_of_fewer_documents_is_measured_and_compared_on_these_alone():
    """Only the first two were ranked; the others' annotations, and lmtx-c1's misses there, do not count."""
    excluded = csr([[], [4], [], []], 5)
    first = {"rerank": np.array([[1, 0], [1, 2]], np.int32)}
    whole = {name: RANKINGS[name] for name in ("lmtx-c1", "zero-shot")}
    results = scored(whole | first, excluded=excluded)
    assert [results[name]["n"] for name in ("lmtx-c1", "zero-shot", "rerank")] == [3, 3, 2]
    alone = evaluate(first["rerank"], TRUTH[:2], excluded=excluded[:2], **OPTIONS)
    assert results["rerank"]["metrics"] == alone["metrics"]
    assert results["rerank"]["metrics"]["P@1"]["value"] == 1 / 2
    # lmtx-c1 has both of these right at first, and two of three over all.
    assert results["rerank"]["against_lmtx"]["P@1"]["value"] == approx(1 / 2 - 1)
    assert results["zero-shot"] == scored(whole, excluded=excluded)["zero-shot"], "nothing changes for others"
    config, counts = EvaluationConfig(cutoffs=[5], bootstrap=200, seed=1), np.array([0, 2, 9, 4, 3])
    few, same = (
        precision_by_frequency(first, TRUTH[:n], counts, config, k=2, excluded=NONE[:n]) for n in (4, 2)
    )
    assert few == same


def test_propensities_count_annotated_documents_only():
    """N = 4 documents have annotations, of six; label 0 stands in three of them."""
    annotated = csr([[0], [0, 1], [], [0], [2], []], 4)
    for kind, (a, b) in {"other": (0.55, 1.5), "wiki": (0.5, 0.4)}.items():
        c = (math.log(4) - 1) * (b + 1) ** a
        expected = [1 + c * (n + b) ** -a for n in (3, 1, 1, 0)]
        np.testing.assert_allclose(label_propensities(annotated, kind), expected, rtol=1e-12)


def judged(document, label, answer):
    columns = np.array(document, np.int32), np.array(label, np.int32), np.array(answer, np.int8)
    return pa.table(dict(zip(("document", "label", "answer"), columns, strict=True)))


def test_pseudo_labels_against_annotations_by_hand():
    """Documents 4, 1 and 2 of the training side were judged; document 2 has no annotations.

    Accepted: (4, 0) right, (4, 3) wrong, (1, 2) right, (2, 1) unknown. Of the annotated pairs
    (4, 0), (4, 1), (1, 2), (1, 3), two are accepted and all but the last were judged. Document 0 was not
    judged and does not count.
    """
    truth = csr([[0, 1, 2], [2, 3], [], [], [0, 1]], 5)
    rows = np.array([4, 1, 2])
    table = judged([0, 0, 0, 1, 1, 2, 2, 2], [0, 3, 1, 2, 4, 1, 0, 3], [1, 1, 0, 1, -1, 1, 0, 0])
    assert pseudo_label_quality(table, rows, truth) == {
        "yes_rate": 4 / 8,
        "pseudo_positives": 4 / 3,
        "pseudo_precision": 2 / 3,
        "pseudo_recall": 2 / 4,
        "shortlist_recall": 3 / 4,
    }


def test_shares_of_nothing_are_none():
    truth = csr([[0], [], []], 2)
    unknown = pseudo_label_quality(judged([0, 1], [0, 1], [1, 1]), np.array([1, 2]), truth)
    assert list(unknown.values()) == [1.0, 1.0, None, None, None]
    refused = pseudo_label_quality(judged([0], [0], [0]), np.array([0]), truth)
    assert (refused["yes_rate"], refused["pseudo_precision"], refused["pseudo_recall"]) == (0.0, None, 0.0)
    assert refused["shortlist_recall"] == 1.0  # it was judged, and refused
    nothing = pseudo_label_quality(judged([], [], []), np.array([], dtype=int), truth)
    assert set(nothing.values()) == {None}


def test_costs_add_up_and_an_unknown_price_stays_unknown():
    total = total_cost({"usd": 0.5, "requests": 2}, {"usd": 0.25, "requests": 3}, {"usd": 0.0, "requests": 0})
    assert total == {"usd": 0.75, "requests": 5}
    assert total_cost({}, {"usd": 1.0, "requests": 1}) == total_cost({"usd": 1.0}, {}) == {}
    unknown = total_cost({"usd": None, "requests": 2}, {"usd": 1.0, "requests": 1})
    assert unknown == {"usd": None, "requests": 3}


def test_a_fusion_has_a_record_of_its_own_and_one_of_a_system_without_a_ranking_says_so():
    hybrids = {f"hybrid-{n}": HybridConfig(label=n, of=[n, "lmtx"]) for n in ("tfidf", "bm25")}
    config = load_config(Path(__file__).parents[1] / "params.yaml").model_copy(update={"hybrids": hybrids})
    run = {"host": {"cores": 2}, "versions": {}, "precision": "fp32", "config_hash": "h", "notes": ["a note"]}
    runs = {"tfidf": run, "lmtx-c1": run | {"precision": "bf16", "notes": []}}
    shortlists = {system: Shortlist(RANKINGS[system], np.ones((4, 2), np.float32)) for system in runs}
    fused = fuse_systems(config, shortlists, runs, "lmtx-c1")
    # Reciprocal ranks: label 1 is second and first, label 0 first, label 2 second.
    assert fused["hybrid-tfidf"][0, :3].tolist() == [1, 0, 2]
    assert runs["hybrid-tfidf"]["notes"] == ["a note"] and runs["hybrid-tfidf"]["precision"] == "bf16"
    assert "hybrid-bm25" not in fused and runs["hybrid-bm25"]["stopped"] == "bm25 has no ranking"


# --- rare and common labels --------------------------------------------------------------------


def test_buckets_of_labels_add_up_to_p5():
    truth = sp.csr_array(np.array([[1, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=bool))
    ids = np.array([[0, 1, 2, 4, -1], [3, 0, -1, -1, -1], [0, 1, 2, 3, 4]], dtype=np.int32)
    counts = np.array([0, 2, 9, 4, 3, 0])  # never, rare, common, common, rare, never
    np.testing.assert_array_equal(label_counts(csr([[0, 1], [1]], 3)), [1, 2, 0])
    config = EvaluationConfig(cutoffs=[5], bootstrap=200, seed=1)
    scores = precision_by_frequency({"a": ids}, truth, counts, config, excluded=csr([[]] * 3, 6))["a"]
    # Document 0 finds one label never annotated and two rare ones, document 1 a common one; 2 has no truth.
    values = {bucket: part["value"] for bucket, part in scores.items()}
    assert values == approx({"never": 0.1, "rare": 0.2, "common": 0.1})
    p5 = evaluate(ids, truth, cutoffs=(5,), bootstrap=100)["metrics"]["P@5"]["value"]
    assert sum(part["value"] for part in scores.values()) == approx(p5)
    assert all(part["low"] <= part["value"] <= part["high"] for part in scores.values())


def test_the_buckets_add_up_to_p5_where_a_document_s_only_annotation_is_excluded():
    """As a page that is annotated with itself, where that is no candidate: no bucket counts the document."""
    truth, excluded = csr([[0, 1], [2]], 6), csr([[], [2]], 6)
    documents, labels = document_table(["a", "b"]), label_table("abcdef")
    corpus = Corpus(documents[:0], documents[:0], documents, labels, {"test": excluded})
    settings = {"evaluation": EvaluationConfig(cutoffs=[5], bootstrap=100, seed=1)}
    config = load_config(Path(__file__).parents[1] / "params.yaml").model_copy(update=settings)
    rankings = {"lmtx-c1": np.array([[0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5, -1]], np.int32)}
    (scores,) = score_systems(config, rankings, "lmtx-c1", corpus, truth, csr([[0]] * 3, 6)).values()
    assert (scores["n"], scores["metrics"]["P@5"]["value"]) == (1, 0.4)
    assert sum(part["value"] for part in scores["by_frequency"].values()) == approx(0.4)


# --- what stands in the text, and what does not -------------------------------------------------


def test_a_label_stands_in_the_text_where_its_words_do():
    documents = document_table(
        ["On Semantic-Web tools", "chess and chessboards", "nothing", ""],
        ["", "", "RDF", "The Graph; theory"],
    )
    names = ["semantic web", "chessboard", "rdf", "Graph Theory", "C++", "…"]
    truth = csr([[0, 2], [1], [2, 5], [3, 4]], 6)
    scores = literal_pairs(truth, documents, names)
    np.testing.assert_array_equal(scores.toarray(), csr([[0], [], [2], [3]], 6).toarray())
    assert scores.dtype == bool and scores.shape == truth.shape


def test_the_metrics_of_either_kind_pass_over_the_labels_of_the_other():
    """Document 0 has label 0 in its text and label 1 not; document 1 has label 2 not."""
    truth, literal = csr([[0, 1], [2], []], 4), csr([[0], [], []], 4)
    rankings = {
        "lmtx": np.array([[0, 1, 2, 3], [2, 0, 1, 3], [0, 1, 2, 3]], np.int32),
        "other": np.array([[1, 3, 0, 2], [3, 2, 1, 0]], np.int32),
    }
    config = EvaluationConfig(cutoffs=[1], bootstrap=200, seed=1)
    none = csr([[], [], []], 4)
    scores = by_literalness(rankings, truth, literal, config, {"against_lmtx": "lmtx"}, excluded=none)
    n = {name: {kind: part["n"] for kind, part in kinds.items()} for name, kinds in scores.items()}
    assert n == {"lmtx": {"literal": 1, "other": 2}, "other": {"literal": 1, "other": 2}}
    # lmtx: label 0, then, without it, labels 1 and 2. The other: label 3 is left on top where 1 goes.
    for name, expected in (("lmtx", [1.0, 1.0]), ("other", [0.0, 0.5])):
        assert [scores[name][kind]["metrics"]["P@1"]["value"] for kind in ("literal", "other")] == expected
    assert scores["other"]["other"]["against_lmtx"]["P@1"]["value"] == approx(-0.5)
    assert scores["lmtx"]["literal"]["against_lmtx"] is None


def test_equal_answers_are_counted_over_the_pairs_that_both_answer():
    def judged(rows):
        documents, labels, answers = zip(*rows, strict=True)
        return pa.table(
            {"document_uid": documents, "label_uid": labels, "answer": pa.array(answers, pa.int8())}
        )

    one = judged([("a", "x", 1), ("a", "y", 0), ("b", "x", 1), ("c", "x", -1), ("d", "x", 1)])
    other = judged([("b", "x", 1), ("a", "y", 0), ("a", "x", 0), ("c", "x", 1), ("e", "x", 1)])
    assert same_answers(one, other) == approx(2 / 3)
    assert same_answers(one, other.slice(4)) is None


def test_only_the_cycle_kept_is_the_best(tmp_path, monkeypatch):
    """Each record says whether its cycle was the best so far, as both were here."""
    monkeypatch.chdir(Path(__file__).parents[1])
    study = Study.open(workspace=str(tmp_path))
    study.model("lmtx-c2").mkdir(parents=True)
    runs = {
        f"lmtx-c{n}": {"system": f"lmtx-c{n}", "label": f"cycle {n}", "cycle": {"number": n, "best": True}}
        for n in (1, 2)
    }
    write_systems(study, runs | {"tfidf": {"system": "tfidf"}}, "lmtx-c2", {}, stopped="no annotations")
    results = [read_json(file) for file in study.results.glob("*.json")]
    best = {r["system"]: r["cycle"]["best"] for r in results if "cycle" in r}
    assert best == {"lmtx-c1": False, "lmtx-c2": True, "lmtx": True}
