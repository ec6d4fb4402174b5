"""MACLR: match titles with contents, then labels with documents, without annotations.

Xiong et al., "Extreme zero-shot learning for extreme text classification", NAACL 2022.

Stage 1 contrasts each document's content with titles. It blanks the title's words out of the content, as
these words alone would give the pair away. Documents of one cluster are positives of each other; k-means on
the current embeddings finds few large clusters at first, and more and smaller ones later. Random labels join
the negatives, so that the labels' vectors do not collapse.

Stage 2 trains on the encoder's own first labels where its score is high, and on those of TF-IDF.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans

from lmtx import curriculum
from lmtx.baselines import Inputs, Ranked, Unavailable, tfidf
from lmtx.config import Fraction, Natural, Positive, TrainingConfig
from lmtx.encoder import Encoder
from lmtx.index import search
from lmtx.training import Batch, PseudoLabels, alike, contrastive_loss, row_batches, steps_for, train

_SHOWN = 20  # documents among the examples
_WORD = re.compile(r"[^\W_]+")


def rank(
    inputs: Inputs,
    *,
    documents: Positive | None = 2240,  # training documents of stage 1, drawn with `seed`; None: all
    epochs: Positive = 1,  # of stage 1
    batch_size: Positive = 32,  # batches, learning rate and temperature are those of both stages
    learning_rate: float = 3e-5,
    warmup_steps: Natural = 10,
    temperature: float = 0.05,  # of the contrastive loss
    blanked: Fraction = 0.9,  # of the draws, in which the title's words are blanked out of the content
    clusters: Positive = 64,  # at the start of stage 1
    refreshes: Natural = 2,  # how often they are replaced by twice as many
    random_labels: Natural = 8,  # that join each batch of stage 1 as negatives
    self_documents: Positive | None = 960,  # as `documents`, of stage 2
    self_epochs: Positive = 1,  # of stage 2
    trusted: Fraction = 0.5,  # of the documents, the surest, whose first label is a positive of stage 2
    e0_share: Fraction = 0.5,  # of a stage's initial weights in its trained ones
    seed: Natural = 108,  # of the samples, the order, the draws and the clusters
) -> Ranked:
    """Rank labels with E0 trained in MACLR's two stages.

    Raises `Unavailable` when no training document has a title.
    """
    settings = TrainingConfig(
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        e0_share=e0_share,
        seed=seed,
    )
    loss = partial(contrastive_loss, temperature=temperature)
    corpus = inputs.corpus
    with inputs.clock("train"):
        # Stage 1: contents and titles of a sample of the documents with a title.
        rows = curriculum.sample(corpus.train.num_rows, documents, seed)
        rows = rows[_titled(corpus.train)[rows]]
        if not len(rows):
            raise Unavailable(
                "MACLR pairs a document's title with its content, and no training document has a title"
            )
        encoder, table = Encoder.load(inputs.encoder), corpus.train.take(rows)
        source = TitlePairs(
            table["title"].to_pylist(),
            table["text"].to_pylist(),
            encoder.tokenize_labels(corpus.labels),
            corpus.excluded["train"][rows],
            _blank(encoder),
            blanked,
            random_labels,
            refreshes,
            partial(find_clusters, encoder, table, inputs.embeddings["train"][rows], clusters, seed),
            encoder,
        )
        log = train(encoder, source, settings, loss=loss)
        # Stage 2: another sample, with the first labels by the encoder of stage 1 and by TF-IDF.
        rows = curriculum.sample(corpus.train.num_rows, self_documents, seed)
        guesses = pseudo_positives(encoder, inputs, rows, trusted)
        second = train(encoder, guesses, settings.model_copy(update={"epochs": self_epochs}), loss=loss)
    examples = tuple(_examples(encoder, corpus.train.slice(0, _SHOWN), blanked, seed))
    with inputs.clock("rank"):
        ranking = curriculum.rank(encoder, corpus, inputs.depth)
    return Ranked(
        ranking, encoder=encoder, seed=seed, losses=(*log.losses, *second.losses), examples=examples
    )


def blank_out(content: str, title: str, blank: str) -> str:
    """Replace each word of `content` that occurs in `title`, in any case, by `blank`.

    A word is a run of letters and digits, so `read_csv` has two.
    """
    words = {word.lower() for word in _WORD.findall(title)}
    return _WORD.sub(lambda match: blank if match[0].lower() in words else match[0], content)


@dataclass(frozen=True)
class TitlePairs:
    """Stage 1 as a pair source: contents are the documents, titles the labels."""

    titles: Sequence[str]  # of n documents
    contents: Sequence[str]
    labels: Sequence[list[int]]  # token ids of the label set
    excluded: sp.csr_array  # boolean CSR (n, L): pairs of document and label that are no negatives
    blank: str  # the text in place of a blanked word
    blanked: float  # this and the next two are options of `rank`
    random_labels: int
    refreshes: int
    find_clusters: Callable[[int], np.ndarray]  # 0 -> first cluster of each document, 1 -> after a refresh, …
    encoder: Encoder  # tokenizes texts

    @property
    def trainable(self) -> np.ndarray:
        """All rows: each document has a title."""
        return np.arange(len(self.titles))

    def batches(self, settings: TrainingConfig) -> Iterator[Batch]:
        """Yield every document once an epoch; `settings.seed` determines order and draws."""
        rng = np.random.default_rng(settings.seed)
        config, n_labels = self.encoder.config, len(self.labels)
        # Clusters are found before the first step, and again before up to `refreshes` evenly spaced ones.
        steps, parts = steps_for(len(self.titles), settings), self.refreshes + 1
        refreshed_at = sorted({steps * stage // parts for stage in range(parts)})
        for step, rows in enumerate(row_batches(self.trainable, settings, rng)):
            if step in refreshed_at:
                clusters = self.find_clusters(refreshed_at.index(step))
            # Contents, most of them without their title's words.
            contents = [
                blank_out(self.contents[row], self.titles[row], self.blank)
                if rng.random() < self.blanked
                else self.contents[row]
                for row in rows
            ]
            titles = self.encoder.tokenize([self.titles[row] for row in rows], config.label_tokens)
            # A document's positive is a random title of its cluster; its other titles are no negatives.
            same_cluster = np.equal.outer(clusters[rows], clusters[rows])
            positives = np.array([rng.choice(np.flatnonzero(row)) for row in same_cluster])
            # Random labels are negatives, but for a document's own label.
            joined = rng.choice(n_labels, min(self.random_labels, n_labels), replace=False)
            yield Batch(
                self.encoder.tokenize(contents, config.document_tokens),
                [*titles, *(self.labels[label] for label in joined)],
                positives,
                np.hstack([same_cluster | alike(titles), self.excluded[rows][:, joined].toarray()]),
            )


def find_clusters(
    encoder: Encoder, documents: pa.Table, e0: np.ndarray, number: int, seed: int, stage: int
) -> np.ndarray:
    """Assign each document one of `number` x 2^`stage` clusters by k-means on its embedding: int32 (n,).

    Stage 0 uses E0's embeddings `e0`, float32 (n, d). Later stages use those of `encoder`, which reads as
    many tokens of a document as of a label: this separates groups well enough in half the time.
    """
    vectors = e0
    if stage:  # the encoder has changed
        texts = encoder.document_texts(documents)
        vectors = encoder.encode(texts, encoder.config.label_tokens, f"clusters {stage + 1}")
    number = min(number * 2**stage, len(vectors))
    return MiniBatchKMeans(number, random_state=seed, n_init=1).fit_predict(vectors)


def pseudo_positives(encoder: Encoder, inputs: Inputs, rows: np.ndarray, trusted: float) -> PseudoLabels:
    """Make the pair source of stage 2 from the first labels of these training documents.

    A document's positives are its first label by TF-IDF, where the two share a word, and its first label by
    `encoder`, where the score is in the highest share `trusted` of all. Excluded pairs are no positives.
    """
    corpus = inputs.corpus
    documents, excluded = corpus.train.take(rows), corpus.excluded["train"][rows]
    # First labels by the encoder of stage 1.
    labels = encoder.encode_labels(corpus.labels, progress="labels")
    dense = search(encoder.encode_documents(documents, progress="documents"), labels, 1, excluded=excluded)
    # First labels by the TF-IDF baseline, with these documents in place of the test documents.
    as_test = replace(corpus, test=documents, excluded=corpus.excluded | {"test": excluded})
    lexical = tfidf.rank(Inputs(as_test, {}, depth=1)).ranking
    # Trust the encoder where it is surest, and TF-IDF where document and label share a word.
    threshold = np.quantile(dense.scores[dense.ids >= 0], 1 - trusted)
    accepted = sp.lil_array(excluded.shape, dtype=bool)
    for ranking, is_positive in ((dense, dense.scores >= threshold), (lexical, lexical.scores > 0)):
        positive_rows = np.flatnonzero((is_positive & (ranking.ids >= 0))[:, 0])
        accepted[positive_rows, ranking.ids[positive_rows, 0]] = True
    return PseudoLabels(
        encoder.tokenize_documents(documents),
        encoder.tokenize_labels(corpus.labels),
        sp.csr_array(accepted),
        sp.csr_array(excluded.shape, dtype=bool),
        excluded,
    )


def _titled(documents: pa.Table) -> np.ndarray:
    """Which documents have a title: bool (n,)."""
    return pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(documents["title"])), 0).to_numpy()


def _blank(encoder: Encoder) -> str:
    # Pretraining taught the model to read its mask token as a missing word.
    return encoder.model.tokenizer.mask_token or "_"


def _examples(encoder: Encoder, documents: pa.Table, blanked: float, seed: int) -> Iterator[dict[str, str]]:
    """Yield content and title of each document with a title, as the encoder reads them."""
    rng = np.random.default_rng(seed)
    for document in documents.filter(pa.array(_titled(documents))).to_pylist():
        content, title = document["text"], document["title"]
        if rng.random() < blanked:
            content = blank_out(content, title, _blank(encoder))
        yield {
            "document": document["uid"],
            "anchor": _read(encoder, content, encoder.config.document_tokens),
            "positive": _read(encoder, title, encoder.config.label_tokens),
        }


def _read(encoder: Encoder, text: str, max_tokens: int) -> str:
    """Cut `text` after the last token that the encoder reads."""
    tokenize = encoder.model.tokenizer
    tokens = tokenize(text, truncation=True, max_length=max_tokens, return_offsets_mapping=True)
    return text[: max(end for _, end in tokens["offset_mapping"])]
