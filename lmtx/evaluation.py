"""From rankings to result files: the one place where systems meet the annotations."""

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from lmtx.config import EvaluationConfig
from lmtx.metrics import PROPENSITY_CONSTANTS, evaluate, paired_difference, per_document, propensities


def label_propensities(annotated: sp.csr_array, kind: str = "other") -> np.ndarray:
    """1/p_l of each label, float64 (L,), from the counts of an annotated training side.

    Documents without annotations do not count. For PSP@k only; no system reads it. `kind` chooses the
    constants (see `lmtx.metrics`).
    """
    counts = np.bincount(annotated.indices, minlength=annotated.shape[1])
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
    """The metrics of several systems on the same documents, and each one's difference to one of them.

    Parameters
    ----------
    rankings
        System name -> label ids int32 (n, k), best first, -1 pads.
    truth
        Boolean CSR (n, L).
    reference
        The system that the others are compared with, pair by pair.

    Returns
    -------
    System name -> {"n", "metrics", "against_lmtx"}, the last being None for `reference`.
    """
    options = {"cutoffs": tuple(config.cutoffs), "excluded": excluded, "propensity": propensity}
    single = {system: per_document(ids, truth, **options) for system, ids in rankings.items()}
    results = {}
    for system, ids in rankings.items():
        results[system] = evaluate(ids, truth, **options, bootstrap=config.bootstrap, seed=config.seed)
        differences = {
            metric: paired_difference(
                values, single[reference][metric], bootstrap=config.bootstrap, seed=config.seed
            )
            for metric, values in single[system].items()
        }
        results[system]["against_lmtx"] = None if system == reference else differences
    return results


def total_cost(*costs: dict[str, float | None]) -> dict[str, float | None]:
    """The sum of several accounts, field by field; None, an unknown price, makes the sum unknown."""
    return {
        name: None if any(cost[name] is None for cost in costs) else sum(cost[name] for cost in costs)
        for name in costs[0]
    }


def pseudo_label_quality(judged: pa.Table, rows: np.ndarray, truth: sp.csr_array) -> dict[str, float | None]:
    """How good a teacher's yes is, against annotations: for the report only.

    Parameters
    ----------
    judged
        The table of `lmtx.curriculum.judge`; its `document` counts within `rows`.
    rows
        int64: the judged documents' rows in `truth`.
    truth
        Boolean CSR (n_train, L).

    Returns
    -------
    yes_rate, of all pairs; pseudo_positives per judged document; and, over the judged documents that
    have annotations, pseudo_precision (share of accepted pairs that are annotated) and pseudo_recall
    (share of annotated pairs that are accepted). None where there is nothing to divide by.
    """
    yes = judged["answer"].to_numpy() == 1
    document, label = rows[judged["document"].to_numpy()[yes]], judged["label"].to_numpy()[yes]
    annotated = np.diff(truth.indptr) > 0
    known = annotated[document]
    hits = truth[document[known], label[known]].sum()
    relevant = np.diff(truth.indptr)[rows].sum()
    return {
        "yes_rate": float(yes.mean()) if len(yes) else None,
        "pseudo_positives": float(yes.sum() / len(rows)) if len(rows) else None,
        "pseudo_precision": float(hits / known.sum()) if known.any() else None,
        "pseudo_recall": float(hits / relevant) if relevant else None,
    }
