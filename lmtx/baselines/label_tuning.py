"""Label tuning: the encoder stays as it is, and only the labels' vectors learn from the teacher."""

from dataclasses import asdict

import torch
from torch.nn.functional import normalize

from lmtx import curriculum
from lmtx.baselines import Inputs, Ranked, judging_teacher
from lmtx.config import ShortlistConfig, TrainingConfig
from lmtx.index import search
from lmtx.training import PseudoLabels, triplet_loss


def rank(
    inputs: Inputs, *, shortlist: ShortlistConfig, training: TrainingConfig, learning_rate: float = 0.001
) -> Ranked:
    """Move the labels' vectors by LMTX's loss on the verdicts of its first cycle, and rank by cosine.

    Müller, Pérez-Torró and Franco-Salvador, "Few-Shot Learning with Siamese Networks and Label Tuning" (ACL
    2022), with a teacher's verdicts in the place of annotated examples.

    `shortlist` and `training` are those of the first cycle, so that the verdicts are the same. Adam moves a
    coordinate by about the `learning_rate` a step; of a unit vector it is about 0.05.

    Raises `Unavailable` without a teacher, or with one that reads annotations.
    """
    teacher = judging_teacher(inputs, "label tuning")
    corpus, vectors = inputs.corpus, inputs.embeddings
    rows = curriculum.sample(corpus.train.num_rows, training.documents)
    documents, excluded = corpus.train.take(rows), corpus.excluded["train"][rows]
    queries = torch.tensor(vectors["train"][rows])
    # The verdicts of the first cycle.
    candidates = curriculum.propose(shortlist, corpus, rows, vectors)
    with inputs.clock("judge"), teacher:
        judged = curriculum.judge(teacher, documents, corpus.labels, candidates)
    accepted, rejected, _ = curriculum.pseudo_labels(judged, excluded.shape, training.unsure)
    spared = curriculum.spare(training.spared_ranks, corpus, rows, vectors, judged, rejected)
    numbers = [[row] for row in range(max(len(rows), corpus.labels.num_rows))]  # a text's "tokens": its row
    source = PseudoLabels(
        numbers[: len(rows)], numbers[: corpus.labels.num_rows], accepted, rejected, excluded + spared
    )
    # The loss of LMTX, with vectors of labels in place of an encoder.
    torch.manual_seed(training.seed)
    tuned = torch.nn.Parameter(torch.tensor(vectors["labels"]))
    optimizer = torch.optim.Adam([tuned], lr=learning_rate)
    losses = []
    with inputs.clock("train"):
        for batch in source.batches(training):
            chosen = torch.tensor(batch.labels).ravel()
            similarity = queries[torch.tensor(batch.documents).ravel()] @ normalize(tuned[chosen], dim=-1).T
            loss = triplet_loss(
                similarity,
                torch.as_tensor(batch.positives),
                ignored=torch.as_tensor(batch.ignored),
                margin=training.margin,
                temperature=training.temperature,
                hard_negatives=training.hard_negatives,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with inputs.clock("rank"):
        labels = normalize(tuned, dim=-1).detach().numpy()
        ranking = search(vectors["test"], labels, inputs.depth, excluded=corpus.excluded["test"])
    cost = asdict(teacher.cost)
    return Ranked(ranking, cost=cost, notes=teacher.notes, seed=training.seed, losses=tuple(losses))
