"""RTS: contrast two random segments of a document, or its title and a segment of its content.

Zhang et al., "Structural contrastive representation learning for zero-shot multi-label text
classification", Findings of EMNLP 2022. Training has one stage and does not use the labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from lmtx import curriculum
from lmtx.baselines import Inputs, Ranked, Unavailable
from lmtx.config import ConfigError, Fraction, Natural, Positive, TrainingConfig
from lmtx.encoder import Encoder
from lmtx.training import Batch, alike, contrastive_loss, row_batches, train

_SHOWN = 20  # documents among the examples


def rank(
    inputs: Inputs,
    *,
    documents: Positive | None = 2240,  # training documents, drawn with `seed`; None: all
    epochs: Positive = 1,
    batch_size: Positive = 32,
    learning_rate: float = 3e-5,
    warmup_steps: Natural = 10,
    temperature: float = 0.05,  # of the contrastive loss
    title_share: Fraction = 0.9,  # of the draws, in which the title replaces the second segment
    shortest: Positive = 8,  # minimum number of tokens of a segment
    e0_share: Fraction = 0.5,  # of E0 in the trained weights
    seed: Natural = 108,  # of the sample, the order and the segments
) -> Ranked:
    """Rank labels with E0 trained on random segments of the training documents.

    Raises `ConfigError` when a label has fewer tokens than `shortest`, and `Unavailable` when no document has
    a title or is long enough for two segments.
    """
    settings = TrainingConfig(
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        e0_share=e0_share,
        seed=seed,
    )
    table = inputs.corpus.train
    with inputs.clock("train"):
        encoder = Encoder.load(inputs.encoder)
        rows = curriculum.sample(table.num_rows, documents, seed)
        source = Segments.of(encoder, table.take(rows), title_share=title_share, shortest=shortest)
        if not len(source.trainable):
            raise Unavailable(
                f"RTS needs titles, or texts of at least {2 * shortest} tokens, and the {len(rows):,} "
                "training documents have neither; lower its option shortest"
            )
        examples = tuple(_examples(encoder, table.slice(0, _SHOWN), title_share, shortest, seed))
        log = train(encoder, source, settings, loss=partial(contrastive_loss, temperature=temperature))
    with inputs.clock("rank"):
        ranking = curriculum.rank(encoder, inputs.corpus, inputs.depth)
    return Ranked(ranking, encoder=encoder, seed=seed, losses=tuple(log.losses), examples=examples)


def two_segments(
    length: int, longest: tuple[int, int], shortest: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    """Draw two segments of a text of `length` tokens that do not overlap; either may come first.

    The first one returned has `shortest` to `longest[0]` tokens, the second `shortest` to `longest[1]`.
    `length` must be at least twice `shortest`.
    """
    # Two lengths that fit into the text together.
    first = int(rng.integers(shortest, min(longest[0], length - shortest) + 1))
    second = int(rng.integers(shortest, min(longest[1], length - first) + 1))
    # Of the tokens in neither segment, `before` precede both, and `until` precede the later one.
    before, until = sorted(rng.integers(0, length - first - second + 1, size=2).tolist())
    if rng.random() < 0.5:
        start = until + first
        return slice(before, before + first), slice(start, start + second)
    start = until + second
    return slice(start, start + first), slice(before, before + second)


@dataclass(frozen=True)
class Segments:
    """Random segments as a pair source."""

    titles: Sequence[list[int]]  # token ids without special tokens; empty for no title
    contents: Sequence[list[int]]
    frame: tuple[list[int], list[int]]  # special token ids before and after a text
    longest: tuple[int, int]  # tokens of a document's segment and of a label's, without special tokens
    title_share: float  # this and the next are options of `rank`
    shortest: int

    @classmethod
    def of(cls, encoder: Encoder, documents: pa.Table, *, title_share: float, shortest: int) -> "Segments":
        """Tokenize a document table for segments of the lengths that `encoder` reads.

        Segments come from all of the text that the model can take, which is more than the encoder reads
        for a ranking.
        """
        tokenizer, read = encoder.model.tokenizer, _reader(encoder)
        # The frame: the special tokens on either side of a tokenized word.
        word = tokenizer("a", add_special_tokens=False)["input_ids"]
        framed = tokenizer("a")["input_ids"]
        at = next(i for i in range(len(framed)) if framed[i : i + len(word)] == word)
        frame = framed[:at], framed[at + len(word) :]
        config, special = encoder.config, sum(map(len, frame))
        longest = config.document_tokens - special, config.label_tokens - special
        if shortest > min(longest):
            raise ConfigError(
                f"baselines: kind rts: `options.shortest` is {shortest}, but the encoder reads only "
                f"{min(longest)} tokens of a label; lower it, or raise encoder.label_tokens"
            )
        return cls(
            read(documents["title"].to_pylist())["input_ids"],
            read(documents["text"].to_pylist())["input_ids"],
            frame,
            longest,
            title_share,
            shortest,
        )

    @property
    def trainable(self) -> np.ndarray:
        return np.array([row for row in range(len(self.contents)) if self._titled(row) or self._long(row)])

    def draw(self, row: int, rng: np.random.Generator) -> tuple[slice, slice | None]:
        """Draw a pair of a trainable document: a segment of its content, and another; None for the title."""
        length = len(self.contents[row])
        if self._titled(row) and (not self._long(row) or rng.random() < self.title_share):
            longest = min(self.longest[0], length)
            size = int(rng.integers(min(self.shortest, longest), longest + 1))
            start = int(rng.integers(0, length - size + 1))
            return slice(start, start + size), None
        return two_segments(length, self.longest, self.shortest, rng)

    def batches(self, settings: TrainingConfig) -> Iterator[Batch]:
        rng = np.random.default_rng(settings.seed)
        before, after = self.frame
        for rows in row_batches(self.trainable, settings, rng):
            documents, labels = [], []
            for row in rows:
                segment, other = self.draw(row, rng)
                label = self.titles[row][: self.longest[1]] if other is None else self.contents[row][other]
                documents.append([*before, *self.contents[row][segment], *after])
                labels.append([*before, *label, *after])
            yield Batch(documents, labels, np.arange(len(rows)), alike(labels))

    def _titled(self, row: int) -> bool:
        return bool(self.titles[row] and self.contents[row])

    def _long(self, row: int) -> bool:
        return len(self.contents[row]) >= 2 * self.shortest


def _reader(encoder: Encoder) -> partial:
    """The tokenizer, without special tokens, for as much of a text as the model can take."""
    limit = encoder.model.max_seq_length
    return partial(encoder.model.tokenizer, add_special_tokens=False, truncation=True, max_length=limit)


def _examples(
    encoder: Encoder, documents: pa.Table, title_share: float, shortest: int, seed: int
) -> Iterator[dict[str, str]]:
    """Yield a pair of each trainable document, as text."""
    source = Segments.of(encoder, documents, title_share=title_share, shortest=shortest)
    rng, read = np.random.default_rng(seed), _reader(encoder)
    for row in source.trainable:
        document = documents.slice(row, 1).to_pylist()[0]
        segment, other = source.draw(row, rng)
        # From tokens back to characters.
        offsets = read(document["text"], return_offsets_mapping=True)["offset_mapping"]
        anchor, positive = (
            document["title"]
            if span is None
            else document["text"][offsets[span][0][0] : offsets[span][-1][1]]
            for span in (segment, other)
        )
        yield {"document": document["uid"], "anchor": anchor, "positive": positive}
