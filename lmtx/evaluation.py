"""From rankings to result files: the one place where systems meet the annotations."""

import math
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from lmtx.config import EvaluationConfig
from lmtx.index import Shortlist, without
from lmtx.metrics import PROPENSITY_CONSTANTS, evaluate, paired_differences, per_document, propensities

_WORD = re.compile(r"\w+")
FREQUENCIES = {"never": (0, 0), "rare": (1, 3), "common": (4, math.inf)}
"""Buckets of labels by their number of annotations in the training side: name -> (least, most)."""


def label_counts(annotated: sp.csr_array) -> np.ndarray:
    """Count the annotations of each label: int64 (L,)."""
    return np.bincount(annotated.indices, minlength=annotated.shape[1])


def label_propensities(annotated: sp.csr_array, kind: str = "other") -> np.ndarray:
    """Compute 1/p_l of each label, float64 (L,), from the annotations of the training side.

    Documents without annotations do not count. Only PSP@k uses the result. `kind` chooses the constants (see
    `lmtx.metrics`).
    """
    counts = label_counts(annotated)
    documents = int((np.diff(annotated.indptr) > 0).sum())
    return propensities(counts, documents, *PROPENSITY_CONSTANTS[kind])


def score(
    rankings: dict[str, np.ndarray],
    truth: sp.csr_array,
    config: EvaluationConfig,
    *,
    reference: str,
    excluded: sp.csr_array,
    propensity: np.ndarray,
) -> dict[str, dict]:
    """Score several systems on the same documents, and compare each with `reference`, one of them.

    Parameters
    ----------
    rankings
        System name -> label ids int32 (n, k), best first, -1 pads. A ranking of fewer rows is measured and
        compared on the first documents.
    truth, excluded, propensity
        As for `lmtx.metrics.evaluate`.

    Returns
    -------
    System name -> {"n", "metrics", "against_lmtx"}, the last being None for `reference`.
    """
    return _compared(rankings, truth, config, {"against_lmtx": reference}, excluded, propensity)


def score_points(
    rankings: dict[str, np.ndarray],
    truth: sp.csr_array,
    config: EvaluationConfig,
    *,
    excluded: sp.csr_array,
    references: tuple[str, ...],
) -> dict[str, dict]:
    """Score each point of the ablations as `score` does, without PSP@k, and compare it with each reference.

    Returns name -> {"n", "metrics", "against_REFERENCE": …}, None for a reference against itself.
    """
    against = {f"against_{name.replace('-', '_')}": name for name in references}
    return _compared(rankings, truth, config, against, excluded)


def _compared(
    rankings: dict[str, np.ndarray],
    truth: sp.csr_array,
    config: EvaluationConfig,
    against: dict[str, str],
    excluded: sp.csr_array,
    propensity: np.ndarray | None = None,
) -> dict[str, dict]:
    """Score each ranking; each key of `against` gets its paired difference to the named ranking."""
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
    rankings: dict[str, np.ndarray],
    truth: sp.csr_array,
    counts: np.ndarray,
    config: EvaluationConfig,
    k: int = 5,
) -> dict[str, dict[str, dict[str, float]]]:
    """Split P@k by the labels' frequency; the buckets of a system add up to its P@k.

    `rankings` and `truth` are those of `score`; documents without a true label do not count. `counts` are the
    `label_counts` of the training side. Returns system name -> bucket of `FREQUENCIES` -> {"value", "low",
    "high"}.
    """
    results: dict[str, dict[str, dict[str, float]]] = {}
    for system, ids in rankings.items():
        annotated_rows = np.flatnonzero(np.diff(truth[: len(ids)].indptr))
        first = ids[annotated_rows, :k]
        hits = truth[annotated_rows[:, None], np.maximum(first, 0)].toarray() & (first >= 0)
        shares = {}
        for bucket, (low, high) in FREQUENCIES.items():
            inside = (counts[first] >= low) & (counts[first] <= high)
            shares[bucket] = (hits & inside).sum(axis=1) / k
        nothing = dict.fromkeys(shares, np.zeros(len(annotated_rows)))
        draws = {"bootstrap": config.bootstrap, "seed": config.seed}
        results[system] = paired_differences(shares, nothing, **draws)
    return results


def label_names(reader: str, texts: Sequence[str]) -> list[str]:
    """Return the labels' names without descriptions: the title of "facet: title", else the text before ": ".

    `reader` is that of the data set: the labels of `debian` begin with a facet.
    """
    if reader == "debian":
        return [text.partition(": ")[2] for text in texts]
    return [text.partition(": ")[0] for text in texts]


def literal_pairs(truth: sp.csr_array, documents: pa.Table, names: Sequence[str]) -> sp.csr_array:
    """Select the annotated pairs whose label the document spells out: boolean CSR (n, L).

    A pair is literal if the document's title or text has the words of the label's name in sequence, in any
    case and with any punctuation. `names` are the L `label_names`.
    """

    def spaced(text: str) -> str:
        return f" {' '.join(_WORD.findall(text.lower()))} "

    words = [spaced(name) for name in names]
    titles, texts = documents["title"].to_pylist(), documents["text"].to_pylist()
    rows, columns = [], []
    for row, (title, text) in enumerate(zip(titles, texts, strict=True)):
        spoken = spaced(f"{title} {text}")
        for label in truth.indices[truth.indptr[row] : truth.indptr[row + 1]]:
            if words[label].strip() and words[label] in spoken:
                rows.append(row)
                columns.append(label)
    return sp.csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=truth.shape)


def by_literalness(
    rankings: dict[str, np.ndarray],
    truth: sp.csr_array,
    literal: sp.csr_array,
    config: EvaluationConfig,
    *,
    reference: str,
    excluded: sp.csr_array,
) -> dict[str, dict[str, dict]]:
    """Score the `literal_pairs` and the other annotated pairs separately; the rest is as for `score`.

    For each kind, the annotated labels of the other kind are no candidates: neither hits nor misses.

    Returns
    -------
    System name -> "literal" and "other" -> {"n", "metrics", "against_lmtx"}. A kind is left out where none of
    the documents that a system ranks has a pair of it.
    """
    other = sp.csr_array(truth > literal)
    results: dict[str, dict[str, dict]] = {system: {} for system in rankings}
    for kind, wanted, hidden in (("literal", literal, other), ("other", other, literal)):
        barred = sp.csr_array(excluded + hidden)
        shown = {
            system: without(
                Shortlist(ids, np.zeros(ids.shape, np.float32)), barred[: len(ids)], ids.shape[1]
            ).ids
            for system, ids in rankings.items()
            if (wanted[: len(ids)] > excluded[: len(ids)]).nnz
        }
        scores = _compared(shown, wanted, config, {"against_lmtx": reference}, barred)
        for system, score_of_kind in scores.items():
            results[system][kind] = score_of_kind
    return results


def total_cost(*costs: dict[str, float | None]) -> dict[str, float | None]:
    """Add up several accounts, field by field; None, an unknown price, makes the sum None.

    An empty account, which is that of a run elsewhere, makes the sum empty.
    """
    return {
        name: None if any(cost[name] is None for cost in costs) else sum(cost[name] for cost in costs)
        for name in (costs[0] if all(costs) else ())
    }


def pseudo_label_quality(judged: pa.Table, rows: np.ndarray, truth: sp.csr_array) -> dict[str, float | None]:
    """Measure a teacher's yes verdicts against annotations, for the report only.

    `judged` is the table of `lmtx.curriculum.judge`, whose `document` counts within `rows`, int64: the judged
    documents' rows in `truth`, boolean CSR (n_train, L).

    Returns
    -------
    yes_rate, of all pairs; pseudo_positives per judged document; and, over the annotated ones among the
    judged documents, pseudo_precision (share of accepted pairs that are annotated), pseudo_recall (share of
    annotated pairs that are accepted) and shortlist_recall (share of annotated pairs that were judged). None
    for a division by zero.
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
    answers = [
        table.select([*keys, "answer"]).filter(pc.greater_equal(table["answer"], 0))
        for table in (judged, other)
    ]
    both = answers[0].join(answers[1], keys, join_type="inner", right_suffix="_other")
    return pc.mean(pc.equal(both["answer"], both["answer_other"])).as_py() if both.num_rows else None
