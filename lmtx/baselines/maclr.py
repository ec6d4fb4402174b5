"""MACLR: titles find their contents, then labels their documents, all without annotations.

Xiong et al., "Extreme zero-shot learning for extreme text classification", NAACL 2022.

Stage 1 contrasts each document's content with titles. The title's words are blanked out of the
content, or they alone would give the pair away. Documents of one cluster are positives of each
other; the clusters are found on the current embeddings, few and large at first, then ever finer.
Random labels stand among the negatives, so that the space of labels does not collapse.

Stage 2 trains on the encoder's own guesses where it is sure, and on those of TF-IDF.
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

from lmtx.baselines import Inputs, Ranked, Unavailable, tfidf
from lmtx.baselines._dense import nearest_labels
from lmtx.config import Fraction, Natural, Positive, TrainingConfig
from lmtx.curriculum import sample
from lmtx.encoder import Encoder
from lmtx.index import search
from lmtx.training import Batch, PseudoLabels, alike, contrastive_loss, row_batches, steps_for, train

_SHOWN = 20


def rank(
    inputs: Inputs,
    *,
    documents: Positive | None = 2240,
    epochs: Positive = 1,
    batch_size: Positive = 32,
    learning_rate: float = 3e-5,
    warmup_steps: Natural = 10,
    temperature: float = 0.05,
    blanked: Fraction = 0.9,
    clusters: Positive = 64,
    refreshes: Natural = 2,
    random_labels: Natural = 8,
    self_documents: Positive | None = 960,
    self_epochs: Positive = 1,
    trusted: Fraction = 0.5,
    e0_share: Fraction = 0.5,
    seed: Natural = 108,
) -> Ranked:
    """Rank labels with E0 trained in MACLR's two stages.

    Parameters
    ----------
    documents, self_documents
        How many training documents stage 1 and stage 2 use, drawn by `seed`; None: all of them.
    epochs, self_epochs
        Passes over them.
    batch_size, learning_rate, warmup_steps, temperature
        Of either stage; warm-up in steps, the temperature that of the contrastive loss.
    blanked
        Share of the draws in which the title's words are blanked out of the content.
    clusters, refreshes
        How many clusters stage 1 begins with, and how often it finds them anew, each time twice as many.
    random_labels
        Labels that join each batch of stage 1 as negatives.
    trusted
        Share of the documents, those of the highest score, whose top label by the encoder of stage 1 is
        a pseudo-positive of stage 2.
    e0_share
        Share that each stage's weights keep of those it began with.
    seed
        Of the samples, the order, the draws and the clusters.

    Raises
    ------
    Unavailable
        When no training document has a title.
    """
    settings = TrainingConfig(
        documents=documents,
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
        rows = sample(corpus.train.num_rows, documents, seed)
        rows = rows[_titled(corpus.train)[rows]]
        if not len(rows):
            raise Unavailable(
                "MACLR pairs a document's title with its content, and no training document has a title"
            )
        encoder = Encoder.load(inputs.encoder)
        groups = Clusters(encoder, corpus.train.take(rows), inputs.embeddings["train"][rows], clusters, seed)
        source = TitlePairs.of(
            encoder,
            inputs,
            rows,
            blanked=blanked,
            random_labels=random_labels,
            refreshes=refreshes,
            find_clusters=groups.find,
        )
        log = train(encoder, source, settings, loss=loss)
        rows = sample(corpus.train.num_rows, self_documents, seed)
        guesses = pseudo_positives(encoder, inputs, rows, trusted)
        second = train(encoder, guesses, settings.model_copy(update={"epochs": self_epochs}), loss=loss)
    examples = tuple(_examples(encoder, corpus.train.slice(0, _SHOWN), blanked, seed))
    ranking = nearest_labels(inputs, encoder)
    return Ranked(
        ranking, encoder=encoder, seed=seed, losses=(*log.losses, *second.losses), examples=examples
    )


def blank_out(content: str, title: str, blank: str) -> str:
    """`content` with each of its words that `title` has, in either case, replaced by `blank`.

    A word is a run of letters and digits, so that `read_csv` has two.
    """
    words = {word.lower() for word in _WORD.findall(title)}
    return _WORD.sub(lambda found: blank if found[0].lower() in words else found[0], content)


_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class TitlePairs:
    """Stage 1 as a pair source: contents are the documents, titles the labels.

    Attributes
    ----------
    titles, contents
        Texts of n documents.
    labels
        Token ids of the label set.
    excluded
        Boolean CSR (n, L): pairs of document and label that are no negatives.
    blank
        What stands for a word that is blanked out.
    blanked, random_labels, refreshes
        The options of `rank`.
    find_clusters
        Called with a stage, gives each document's cluster, int (n,): before the first step with 0, and at
        each of the `refreshes`, evenly spread over the steps, with 1, 2, …
    encoder
        Cuts texts into tokens.
    """

    titles: Sequence[str]
    contents: Sequence[str]
    labels: Sequence[list[int]]
    excluded: sp.csr_array
    blank: str
    blanked: float
    random_labels: int
    refreshes: int
    find_clusters: Callable[[int], np.ndarray]
    encoder: Encoder

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        inputs: Inputs,
        rows: np.ndarray,
        *,
        blanked: float,
        random_labels: int,
        refreshes: int,
        find_clusters: Callable[[int], np.ndarray],
    ) -> "TitlePairs":
        """The pairs of these rows of the training documents."""
        documents = inputs.corpus.train.take(rows)
        return cls(
            documents["title"].to_pylist(),
            documents["text"].to_pylist(),
            encoder.tokenize_labels(inputs.corpus.labels),
            inputs.corpus.excluded["train"][rows],
            _blank(encoder),
            blanked,
            random_labels,
            refreshes,
            find_clusters,
            encoder,
        )

    @property
    def trainable(self) -> np.ndarray:
        """All rows: each document has a title."""
        return np.arange(len(self.titles))

    def batches(self, settings: TrainingConfig) -> Iterator[Batch]:
        """Every document once an epoch; order and draws are fixed by `settings.seed`."""
        rng = np.random.default_rng(settings.seed)
        moments = refresh_steps(steps_for(len(self.titles), settings), self.refreshes)
        for step, rows in enumerate(row_batches(self.trainable, settings, rng)):
            if step in moments:
                clusters = self.find_clusters(moments.index(step))
            yield self._batch(rows, clusters, rng)

    def _batch(self, rows: np.ndarray, clusters: np.ndarray, rng: np.random.Generator) -> Batch:
        config = self.encoder.config
        contents = [
            blank_out(self.contents[row], self.titles[row], self.blank)
            if rng.random() < self.blanked
            else self.contents[row]
            for row in rows
        ]
        titles = self.encoder.tokenize([self.titles[row] for row in rows], config.label_tokens)
        together = np.equal.outer(clusters[rows], clusters[rows])
        # Drawn among the documents of its cluster: over the steps each of them is its positive as often.
        positives = np.array([rng.choice(np.flatnonzero(row)) for row in together])
        n_labels = len(self.labels)
        joined = rng.choice(n_labels, min(self.random_labels, n_labels), replace=False)
        return Batch(
            self.encoder.tokenize(contents, config.document_tokens),
            [*titles, *(self.labels[label] for label in joined)],
            positives,
            np.hstack([together | alike(titles), self.excluded[rows][:, joined].toarray()]),
        )


@dataclass(frozen=True)
class Clusters:
    """Clusters of documents by k-means on their current embeddings.

    Attributes
    ----------
    encoder
        The encoder as training changes it.
    documents
        Document table of n rows.
    start
        E0's embeddings of them, float32 (n, d).
    number
        How many clusters there are at first.
    seed
        Of k-means.
    """

    encoder: Encoder
    documents: pa.Table
    start: np.ndarray
    number: int
    seed: int

    def find(self, stage: int) -> np.ndarray:
        """Each document's cluster, int32 (n,), of `number` times 2 to the power of `stage`.

        At stage 0 the encoder is still E0. After that as much of a document is read as of a label,
        which is enough to tell groups apart and takes half the time.
        """
        vectors = self.start
        if stage:
            texts = self.encoder.document_texts(self.documents)
            vectors = self.encoder.encode(texts, self.encoder.config.label_tokens, f"clusters {stage + 1}")
        number = min(self.number * 2**stage, len(vectors))
        return MiniBatchKMeans(number, random_state=self.seed, n_init=1).fit_predict(vectors)


def refresh_steps(steps: int, refreshes: int) -> list[int]:
    """The steps before which clusters are found: 0, and `refreshes` more at even distances.

    Fewer where there are fewer steps.
    """
    return sorted({steps * stage // (refreshes + 1) for stage in range(refreshes + 1)})


def pseudo_positives(encoder: Encoder, inputs: Inputs, rows: np.ndarray, trusted: float) -> PseudoLabels:
    """Stage 2 as a pair source: the top labels of these training documents, never an excluded one.

    A document's positives are its top label by TF-IDF, where the two share a word, and its top label by
    `encoder`, where the score is among the highest `trusted` of all.
    """
    corpus = inputs.corpus
    documents, excluded = corpus.train.take(rows), corpus.excluded["train"][rows]
    labels = encoder.encode_labels(corpus.labels, progress="labels")
    dense = search(encoder.encode_documents(documents, progress="documents"), labels, 1, excluded=excluded)
    # The same ranking as the baseline's, of these documents.
    asked = replace(corpus, test=documents, excluded=corpus.excluded | {"test": excluded})
    lexical = tfidf.rank(Inputs(asked, {}, depth=1)).ranking
    threshold = np.quantile(dense.scores[dense.ids >= 0], 1 - trusted)
    chosen = [(dense, dense.scores >= threshold), (lexical, lexical.scores > 0)]
    accepted = sp.lil_array(excluded.shape, dtype=bool)
    for ranking, good in chosen:
        found = np.flatnonzero((good & (ranking.ids >= 0))[:, 0])
        accepted[found, ranking.ids[found, 0]] = True
    return PseudoLabels(
        encoder.tokenize_documents(documents),
        encoder.tokenize_labels(corpus.labels),
        sp.csr_array(accepted),
        sp.csr_array(excluded.shape, dtype=bool),
        excluded,
    )


def _titled(documents: pa.Table) -> np.ndarray:
    return pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(documents["title"])), 0).to_numpy()


def _blank(encoder: Encoder) -> str:
    # What the model was pretrained to read as a word left out.
    return encoder.model.tokenizer.mask_token or "_"


def _examples(encoder: Encoder, documents: pa.Table, blanked: float, seed: int) -> Iterator[dict[str, str]]:
    """Content and title of each document that has one, as the encoder reads them."""
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
    """As much of `text` as the encoder reads."""
    places = encoder.model.tokenizer(
        text, truncation=True, max_length=max_tokens, return_offsets_mapping=True
    )["offset_mapping"]
    return text[: max(end for _, end in places)]
