"""The losses: of LMTX, triplets by softmax over the hardest negatives; of the baselines, contrastive."""

import torch


def triplet_loss(
    similarity: torch.Tensor,
    positives: torch.Tensor,
    *,
    ignored: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
    margin: float = 0.3,
    temperature: float = 0.1,
    hard_negatives: int = 10,
) -> torch.Tensor:
    """Softmax-weighted triplet loss over the hardest negatives of a batch (LMTX, section 3).

    With s the cosine similarities of a document, p its positive and N the `hard_negatives` other
    labels of largest s:  v_n = max(0, s_n - s_p + margin),  w = softmax over N of s_n / temperature
    where v_n > 0 and of 0 elsewhere,  loss = mean over documents and n in N of w_n v_n.

    Parameters
    ----------
    similarity
        float (B, U): document against each label of the batch.
    positives
        int64 (B,): the column of each document's positive.
    ignored
        bool (B, U): pairs that are no negatives, such as another positive of the document. None:
        each label but the positive is one.
    weights
        float (B,): how much each document counts in the mean. None: all the same.

    Returns a scalar, with gradient through the similarities (the softmax weights carry none). A document with
    fewer than `hard_negatives` negatives counts zeros for the missing ones.
    """
    # N: the labels of largest similarity among those that may be negatives.
    positive = similarity.gather(1, positives[:, None])
    is_positive = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, positives[:, None], True)
    blocked = is_positive if ignored is None else is_positive | ignored
    candidates = similarity.masked_fill(blocked, -torch.inf)
    negatives = candidates.topk(min(hard_negatives, candidates.shape[1]), dim=1).values
    # v_n, and w_n without a gradient.
    violation = (negatives - positive + margin).clamp(min=0)
    with torch.no_grad():
        logits = torch.where(violation > 0, negatives / temperature, 0.0)
        hardness = logits.masked_fill(negatives == -torch.inf, -torch.inf).softmax(dim=1).nan_to_num(0.0)
    # The mean over documents and N.
    if weights is None:
        return (hardness * violation).sum() / (similarity.shape[0] * hard_negatives)
    return (weights @ (hardness * violation)).sum() / (weights.sum() * hard_negatives)


def contrastive_loss(
    similarity: torch.Tensor,
    positives: torch.Tensor,
    *,
    ignored: torch.Tensor | None = None,
    temperature: float = 0.05,
) -> torch.Tensor:
    """Cross-entropy of picking a document's positive among the labels of the batch (InfoNCE).

    With s the cosine similarities of a document and p its positive:
    loss = mean over documents of -log(exp(s_p / t) / sum over labels n of exp(s_n / t)), t the
    temperature, the sum being over p and the labels that are not ignored (van den Oord et al.,
    "Representation learning with contrastive predictive coding", 2018, equation 4).

    The parameters are those of `triplet_loss`. Returns a scalar, with gradient; a document without a negative
    adds zero.
    """
    logits = similarity / temperature
    if ignored is not None:
        logits = logits.masked_fill(ignored.scatter(1, positives[:, None], False), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, positives)
