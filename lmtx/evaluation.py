"""From rankings to result files: the one place where systems meet the annotations."""

import math
import re
import shutil
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp

from lmtx.config import Config, EvaluationConfig
from lmtx.corpus import Corpus
from lmtx.files import replacing
from lmtx.index import Shortlist, fuse, fuse_scores, without
from lmtx.metrics import PROPENSITY_CONSTANTS, evaluate, paired_differences, per_document, propensities
from lmtx.provenance import commit
from lmtx.study import Study
from lmtx.study.records import read_record, write_results

_WORD = re.compile(r"\w+")
FREQUENCIES = {"never": (0, 0), "rare": (1, 3), "common": (4, math.inf)}
"""Buckets of labels by their number of annotations in the training side: name -> (least, most)."""


def label_counts(annotated: sp.csr_array) -> np.ndarray:
    """Count the annotations of each label: int64 (L,)."""
    return np.bincount(annotated.indices, minlength=annotated.shape[1])


def label_propensities(annotated: sp.csr_array, kind: str = "other") -> np.ndarray:
    """Compute 1/p_l of each label for PSP@k, float64 (L,), from the annotated documents of the training side.

    `kind` chooses the constants (see `lmtx.metrics`).
    """
    documents = int((np.diff(annotated.indptr) > 0).sum())
    return propensities(label_counts(annotated), documents, *PROPENSITY_CONSTANTS[kind])


def score(
    rankings: Mapping[str, np.ndarray],
    truth: sp.csr_array,
    config: EvaluationConfig,
    against: Mapping[str, str],
    *,
    excluded: sp.csr_array,
    propensity: np.ndarray | None = None,
) -> dict[str, dict]:
    """Score several systems on the same documents, and compare each with some of them.

    `rankings` is system name -> label ids int32 (n, k), best first, -1 pads; one of fewer rows is measured
    and compared on the first documents. `against` is key of a comparison -> the system with which every other
    one is compared. `truth`, `excluded` and `propensity` are as for `lmtx.metrics.evaluate`.

    Returns system name -> "n", "metrics", and by each key of `against` the paired differences: the system
    minus the other one, None for that one itself.
    """
    draws = {"bootstrap": config.bootstrap, "seed": config.seed}
    results = {}
    for name, ids in rankings.items():
        n = len(ids)
        options = {"cutoffs": tuple(config.cutoffs), "excluded": excluded[:n], "propensity": propensity}
        own = per_document(ids, truth[:n], **options)
        results[name] = evaluate(ids, truth[:n], **options, **draws)
        for key, reference in against.items():
            results[name][key] = None
            if name != reference:
                other = per_document(rankings[reference][:n], truth[:n], **options)
                results[name][key] = paired_differences(own, other, **draws)
    return results


def precision_by_frequency(
    rankings: Mapping[str, np.ndarray],
    truth: sp.csr_array,
    counts: np.ndarray,
    config: EvaluationConfig,
    k: int = 5,
    *,
    excluded: sp.csr_array,
) -> dict[str, dict[str, dict[str, float]]]:
    """Split P@k by the labels' frequency; the buckets of a system add up to its P@k.

    `rankings`, `truth` and `excluded` are those of `score`; documents without a true label that is a
    candidate do not count. `counts` are the `label_counts` of the training side. Returns system name ->
    bucket of `FREQUENCIES` -> {"value", "low", "high"}.
    """
    truth, results = sp.csr_array(truth > excluded), {}
    for system, ids in rankings.items():
        annotated_rows = np.flatnonzero(np.diff(truth[: len(ids)].indptr))
        # Which of the first k labels are hits, and how many lie in each bucket.
        first = ids[annotated_rows, :k]
        hits = truth[annotated_rows[:, None], np.maximum(first, 0)].toarray() & (first >= 0)
        shares = {}
        for bucket, (low, high) in FREQUENCIES.items():
            inside = (counts[first] >= low) & (counts[first] <= high)
            shares[bucket] = (hits & inside).sum(axis=1) / k
        # The interval of a share is that of its difference to nothing.
        nothing = dict.fromkeys(shares, np.zeros(len(annotated_rows)))
        draws = {"bootstrap": config.bootstrap, "seed": config.seed}
        results[system] = paired_differences(shares, nothing, **draws)
    return results


def literal_pairs(truth: sp.csr_array, documents: pa.Table, names: Sequence[str]) -> sp.csr_array:
    """Select the annotated pairs whose label the document spells out: boolean CSR (n, L).

    A pair is literal if the document's title or text has the words of the label's name in sequence, in any
    case and with any punctuation. `names` are those of the L labels, without descriptions.
    """

    def spaced(text: str) -> str:
        return f" {' '.join(_WORD.findall(text.lower()))} "

    words = [spaced(name) for name in names]
    pairs = []
    for row, document in enumerate(documents.to_pylist()):
        text = spaced(f"{document['title']} {document['text']}")
        for label in truth.indices[truth.indptr[row] : truth.indptr[row + 1]]:
            if words[label].strip() and words[label] in text:
                pairs.append((row, label))
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return sp.csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=truth.shape)


def by_literalness(
    rankings: Mapping[str, np.ndarray],
    truth: sp.csr_array,
    literal: sp.csr_array,
    config: EvaluationConfig,
    against: Mapping[str, str],
    *,
    excluded: sp.csr_array,
) -> dict[str, dict[str, dict]]:
    """Score the `literal_pairs` and the other annotated pairs separately; the rest is as for `score`.

    For each kind, the annotated labels of the other kind are no candidates: neither hits nor misses. Returns
    system name -> "literal" and "other" -> the scores; a kind is left out where none of the documents that a
    system ranks has a pair of it.
    """
    other = sp.csr_array(truth > literal)
    results = {system: {} for system in rankings}
    for kind, wanted, hidden in (("literal", literal, other), ("other", other, literal)):
        barred = sp.csr_array(excluded + hidden)
        shown = {}
        for system, ids in rankings.items():
            if (wanted[: len(ids)] > excluded[: len(ids)]).nnz:
                ranking = Shortlist(ids, np.zeros(ids.shape, np.float32))
                shown[system] = without(ranking, barred[: len(ids)], ids.shape[1]).ids
        for system, scores in score(shown, wanted, config, against, excluded=barred).items():
            results[system][kind] = scores
    return results


def total_cost(*costs: dict[str, float | None]) -> dict[str, float | None]:
    """Add up accounts, field by field; an unknown price, None, makes it None, an empty account all empty."""
    return {
        name: None if any(cost[name] is None for cost in costs) else sum(cost[name] for cost in costs)
        for name in (costs[0] if all(costs) else ())
    }


def pseudo_label_quality(judged: pa.Table, rows: np.ndarray, truth: sp.csr_array) -> dict[str, float | None]:
    """Measure a teacher's yes verdicts against annotations, for the report only.

    `judged` is the table of `lmtx.curriculum.judge`, whose `document` counts within `rows`, int64: the judged
    documents' rows in `truth`, boolean CSR (n_train, L).

    Returns yes_rate, of all pairs; pseudo_positives per judged document; and, over the annotated ones among
    the judged documents, pseudo_precision (share of accepted pairs that are annotated), pseudo_recall (share
    of annotated pairs that are accepted) and shortlist_recall (share of annotated pairs that were judged).
    None for a division by zero.
    """
    yes = judged["answer"].to_numpy() == 1
    documents, labels = rows[judged["document"].to_numpy()], judged["label"].to_numpy()
    n_annotated = np.diff(truth.indptr)
    accepted_in_annotated = int((n_annotated[documents[yes]] > 0).sum())
    hits, shortlisted = truth[documents[yes], labels[yes]].sum(), truth[documents, labels].sum()
    relevant = n_annotated[rows].sum()

    def share(count: int, of: int) -> float | None:
        return float(count / of) if of else None

    return {
        "yes_rate": share(yes.sum(), len(yes)),
        "pseudo_positives": share(yes.sum(), len(rows)),
        "pseudo_precision": share(hits, accepted_in_annotated),
        "pseudo_recall": share(hits, relevant),
        "shortlist_recall": share(shortlisted, relevant),
    }


def same_answers(judged: pa.Table, other: pa.Table) -> float | None:
    """Return the share of equal answers among the pairs that both tables answer with yes or no.

    Both are tables of `lmtx.curriculum.judge`. None where they have no such pair in common.
    """
    keys = ["document_uid", "label_uid"]
    one, two = (t.filter(pc.field("answer") >= 0).select([*keys, "answer"]) for t in (judged, other))
    both = one.join(two, keys, join_type="inner", right_suffix="_other")
    return pc.mean(pc.equal(both["answer"], both["answer_other"])).as_py() if both.num_rows else None


def fuse_systems(
    config: Config, shortlists: Mapping[str, Shortlist], runs: dict[str, dict], best: str
) -> dict[str, np.ndarray]:
    """Fuse rankings as `hybrids` says, and add a record of each fusion to `runs`: system -> label ids.

    `best` is the best cycle, which stands for "lmtx". A fusion of a system without a ranking is left out.
    """
    fused, depth = {}, max(config.evaluation.cutoffs)
    for name, hybrid in config.hybrids.items():
        systems = [best if system == "lmtx" else system for system in hybrid.of]
        runs[name] = {"system": name, "label": hybrid.label, "family": "hybrid"}
        if missing := [system for system in systems if system not in shortlists]:
            runs[name]["stopped"] = f"{' and '.join(missing)} has no ranking"
            continue
        rankings = [shortlists[system] for system in systems]
        if hybrid.weights is None:
            fused[name] = fuse([ranking.ids for ranking in rankings], depth).ids
        else:
            fused[name] = fuse_scores(rankings, hybrid.weights, depth).ids
        last = runs[systems[-1]]
        runs[name] |= {key: last[key] for key in ("host", "versions", "precision", "config_hash")}
        notes = sorted({note for system in systems for note in runs[system]["notes"]})
        runs[name] |= {"notes": notes, "seconds": {}, "cost": {}, "seed": None}
    return fused


def score_systems(
    config: Config,
    rankings: Mapping[str, np.ndarray],
    best: str,
    corpus: Corpus,
    truth: sp.csr_array,
    train_truth: sp.csr_array,
) -> dict[str, dict]:
    """Return all that the result files say of quality: system -> `score` against `best`, and two splits.

    `truth` and `train_truth` are the annotations of the test and of the training documents.
    """
    settings, excluded = config.evaluation, corpus.excluded["test"]
    # A label's text is "name: description", and "facet: name" in debian.
    part = 2 if config.dataset.reader == "debian" else 0
    names = [text.partition(": ")[part] for text in corpus.labels["text"].to_pylist()]
    propensity = label_propensities(train_truth, config.dataset.propensity)
    against = {"against_lmtx": best}
    literal = literal_pairs(truth, corpus.test, names)
    scores = score(rankings, truth, settings, against, excluded=excluded, propensity=propensity)
    counts = label_counts(train_truth)
    buckets = precision_by_frequency(rankings, truth, counts, settings, excluded=excluded)
    kinds = by_literalness(rankings, truth, literal, settings, against, excluded=excluded)
    return {s: {"by_frequency": buckets[s], "by_literalness": kinds[s]} | scores[s] for s in rankings}


def headline(scores: Mapping[str, dict]) -> dict[str, dict[str, float]]:
    """System -> the few metrics that tell most."""
    names = ("P@1", "P@5", "R@10", "R@100")
    return {s: {m: round(r["metrics"][m]["value"], 4) for m in names} for s, r in scores.items()}


def add_labelling(study: Study, runs: dict[str, dict], truth: sp.csr_array) -> None:
    """Add the time, the cost and the quality of judging to the record of each cycle that was trained."""
    for cycle in study.config.cycles:
        if "stopped" in (run := runs[f"lmtx-{cycle}"]):
            continue
        folder, record = study.labelled(cycle), study.record(f"label-{cycle}")
        study.need(folder, record)
        judged = pq.read_table(folder / "verdicts.parquet")
        run["cycle"] |= pseudo_label_quality(judged, np.load(folder / "rows.npy"), truth)
        labelling = read_record(study, record)
        if labelling["seconds"]:
            run["seconds"] |= {"label": sum(labelling["seconds"].values())}
        run["cost"] = total_cost(labelling["cost"], run["cost"])


def write_systems(
    study: Study, runs: Mapping[str, dict], best: str, scores: Mapping[str, dict], stopped: str = ""
) -> None:
    """Write the result files and the model of `lmtx`, which is the best cycle.

    `stopped` says why there are no `scores`.
    """
    with replacing(study.model("lmtx")) as folder:
        shutil.copytree(study.model(best), folder)
    more = {"dataset": study.name, "commit": commit(), "by_frequency": {}, "by_literalness": {}}
    more |= {"stopped": stopped} if stopped else {}
    results = {system: run | more | scores.get(system, {}) for system, run in runs.items()}
    for system, result in results.items():
        if result.get("cycle"):  # a cycle's record says whether it was the best so far
            result["cycle"] = result["cycle"] | {"best": system == best}
    results["lmtx"] = results[best] | {"system": "lmtx", "label": "LMTX, best cycle"}
    write_results(study.results, results, study.scores("systems"))
    figures = headline(scores)
    write_results(study.summary, figures | {"lmtx": figures.get(best, {})})
