"""ICXML: a language model at prediction time, which writes examples and candidates and picks the best.

Zhu and Zamani, "ICXML: An In-Context Learning Framework for Zero-Shot Extreme Multi-Label
Classification" (2023). Three requests a document, each begun with the document:

1. demonstrations: the labels that the model would expect for similar documents,
2. candidates: given these, the labels that it would give to this one; E0 finds the nearest labels of
   the label set to each of them,
3. selection: the ten best of the labels found.

The model is told what a label is by the teacher's question, and shown the form by the labels that E0 finds
nearest to the document: a small model copies them, so that labels from anywhere would be its answers.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import scipy.sparse as sp

from lmtx.baselines import Inputs, Ranked, Unavailable, share_note
from lmtx.config import Positive
from lmtx.encoder import Encoder
from lmtx.index import Shortlist, search
from lmtx.index.rankings import in_order
from lmtx.llm.chat import Question, read_items, read_selection
from lmtx.llm.cost import Plan
from lmtx.teachers import TooFewAnswersError
from lmtx.teachers.prompts import Wording, document_text, one_line
from lmtx.teachers.writer import Writer, build_writer

_SELECTED = 10
_FORM = 5  # labels near to a document that show what labels look like
_EXAMPLES = 6  # documents shown in the notebook
_DEMONSTRATION_TOKENS, _CANDIDATE_TOKENS, _NUMBER_TOKENS = 96, 32, 12  # room in an answer
_QUESTION = "A label is relevant to a document when the answer to this question is yes: {question}\n\n"
_FORMS = "Labels look like these:\n{form}\n\n"
_DEMONSTRATIONS = """Make up {n} other documents that are similar to the one above, and for each the labels \
you would expect to be relevant. Write each on one line, as in
1. what the document is about => a label; another label; a third label
and nothing else."""
_EXAMPLE = "These are similar documents, each with its relevant labels:\n{demonstrations}\n\n"
_CANDIDATES = """Write the {n} labels that are most relevant to the document above, the most relevant first, \
one a line, and nothing else."""
_SELECTION = """These are labels:
{labels}

Choose the {n} of them that are most relevant to the document above. Answer with their numbers, the most \
relevant first, separated by commas, and nothing else."""

Ask = Callable[[Sequence[Question], str], list[str | None]]


def rank(
    inputs: Inputs,
    *,
    demonstrations: Positive = 3,
    candidates: Positive = 10,
    nearest: Positive = 3,
    documents: Positive | None = None,
) -> Ranked:
    """Rank first what the language model selects, then the other labels as E0 ranks them.

    A selected label scores 2 down to 1.1, the others their cosine. A document whose selection cannot
    be read, or whose request failed, is ranked by E0 alone; the notes say how many there are.

    For each document the model makes up `demonstrations`, so many similar documents, and writes so many
    labels (`candidates`), for each of which E0 finds the `nearest` ones of the label set. `documents` is the
    number of test documents to rank, the first ones (None: all).

    Raises `Unavailable` where no language model that writes is configured, or more than `max_missing` of its
    texts are neither recorded nor to be had, as the model is not on this machine; `TeacherError` when the
    model cannot go on; what it has written is kept and not asked again.
    """
    if inputs.teacher is None or inputs.teacher.kind not in ("openai", "huggingface"):
        teacher = "no teacher" if inputs.teacher is None else f"the {inputs.teacher.kind} teacher"
        raise Unavailable(
            "ICXML needs a language model that writes: set baselines.icxml.teacher to one "
            f"(this run has {teacher})"
        )
    with build_writer(inputs.teacher, store=inputs.store, records=inputs.records) as writer:
        rounds = _Rounds(inputs, writer, documents, (demonstrations, candidates, nearest))
        print(rounds.plan())
        try:
            answered = rounds.run(writer.write)
        except TooFewAnswersError as reason:
            if getattr(writer.model, "missing", None) is None:
                raise
            print(reason)
            raise Unavailable(
                f"ICXML needs texts that are not recorded, and {inputs.teacher.name} is not on this machine"
            ) from None
        with inputs.clock("rank"):
            ranking = _first(rounds.retrieved, [document.selected for document in answered], inputs.depth)
        notes = share_note(len(answered), inputs.corpus) + _shortcomings(answered)
        return Ranked(
            ranking,
            cost=asdict(writer.cost),
            bill=writer.bill(rounds.questions, rounds.answers),
            notes=(f"asks {writer.model.name} at prediction time", *notes),
            examples=_examples(inputs, answered[:_EXAMPLES]),
        )


@dataclass
class _Document:
    """The results of the rounds for a document."""

    prefix: str  # of its questions: the document
    task: str  # the prefix, what a label is, and labels that show what they look like
    n_asked: int = 0  # the number of them so far
    failed: bool = False  # whether one was not answered
    demonstrations: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    shown: tuple[int, ...] = ()  # label ids
    selected: tuple[int, ...] = ()  # label ids


class _Rounds:
    """The three rounds of questions about the first `documents` test documents (None: all)."""

    def __init__(self, inputs: Inputs, writer: Writer, documents: int | None, counts: tuple[int, int, int]):
        """`counts` are the options `demonstrations`, `candidates` and `nearest` of `rank`."""
        self._inputs, self._writer = inputs, writer
        self._demonstrations, self._candidates, self._nearest = counts
        self.questions: list[Question] = []  # of the last run
        self.answers: list[str | None] = []
        self._labels = inputs.corpus.labels["text"].to_pylist()
        self._excluded = inputs.corpus.excluded["test"][:documents]
        self._vectors: dict[str, np.ndarray] = {}  # of candidates, which the plan has embedded
        # In fp32: rounded to bf16, the model would be shown other labels, for which no answer is recorded.
        self._encoder = Encoder.load(inputs.encoder.model_copy(update={"precision": "fp32"}))
        # A prompt begins with its document, and says what a label is as the teacher's question does.
        wording = Wording.of(inputs.teacher.wording, inputs.teacher.question)
        self._question = _QUESTION.format(question=wording.question.replace("{label}", "[label]"))
        tests = inputs.corpus.test[:documents]
        texts = map(document_text, tests["title"].to_pylist(), tests["text"].to_pylist())
        prefixes = [wording.prefix(text) for text in writer.cut(list(texts))]
        # The labels nearest to each document show what labels look like.
        with inputs.clock("encode"):
            queries = self._encoder.encode_documents(tests, "test documents")
            self._label_vectors = self._encoder.encode_labels(inputs.corpus.labels, "labels")
        with inputs.clock("rank"):
            depth = max(inputs.depth, self._candidates * self._nearest, _FORM)
            self.retrieved = search(queries, self._label_vectors, depth, excluded=self._excluded)
        near = (_items(self._labels[id] for id in row[row >= 0]) for row in self.retrieved.ids[:, :_FORM])
        tasks = (self._question + _FORMS.format(form=form) for form in near)
        self._starts = [(prefix, prefix + task) for prefix, task in zip(prefixes, tasks, strict=True)]

    def plan(self) -> Plan:
        """Plan the rounds; make up the questions that depend on answers yet to come.

        Such a question holds an answer of full length, or the labels that E0 finds.
        """
        documents = self.run(lambda questions, task: self._writer.stored(questions))
        expected, unknown = [*self.questions], 0
        for row, document in enumerate(documents):
            if not document.failed or document.n_asked == 3:
                continue
            unknown += 1
            if document.n_asked == 1:
                # "the" is one token of four bytes with its space, however tokens are counted.
                line = " ".join(["the"] * _DEMONSTRATION_TOKENS)
                made_up = replace(document, demonstrations=(line,) * self._demonstrations)
                expected.append(self._ask_candidates(made_up))
            shown = self.retrieved.ids[row, : self._candidates * self._nearest]
            expected.append(self._ask_selection(replace(document, shown=tuple(shown[shown >= 0].tolist()))))
        plan = self._writer.plan(expected)
        if unknown:
            note = f"later questions about {unknown:,} documents hang on answers yet to come: estimated"
            plan = replace(plan, notes=(*plan.notes, note))
        return plan

    def run(self, ask: Ask) -> list[_Document]:
        """Ask all three rounds, each of all documents at once."""
        self.questions, self.answers = [], []
        documents = [_Document(*start) for start in self._starts]
        # Demonstrations: labels of similar documents.
        for document, answer in self._round(documents, self._ask_demonstrations, ask, "demonstrations"):
            document.demonstrations = tuple(read_items(answer)[: self._demonstrations])
        # Candidates: labels of this document, in the model's words.
        going_on = [document for document in documents if not document.failed]
        for document, answer in self._round(going_on, self._ask_candidates, ask, "candidates"):
            items = read_items(answer)
            if len(items) == 1:  # all of them on one line
                items = re.split(r"\s*[;,]\s+", items[0])
            document.candidates = tuple(dict.fromkeys(items))[: self._candidates]
        # Selection: the best of the labels nearest to the candidates.
        self._show_nearest(documents)
        going_on = [document for document in going_on if document.shown]
        for document, answer in self._round(going_on, self._ask_selection, ask, "selections"):
            shown = [one_line(self._labels[label]) for label in document.shown]
            chosen = read_selection(answer, shown)[:_SELECTED]
            document.selected = tuple(document.shown[number] for number in chosen)
        return documents

    def _round(
        self, documents: list[_Document], write: Callable[[_Document], Question], ask: Ask, task: str
    ) -> list[tuple[_Document, str]]:
        """Return the documents with their answers; a document without one has failed, and stops here.

        Going on without an answer would make questions that nobody asks again when it is there.
        """
        questions = [write(document) for document in documents]
        with self._inputs.clock("ask"):
            answers = ask(questions, task) if documents else []
        self.questions += questions
        self.answers += answers
        for document, answer in zip(documents, answers, strict=True):
            document.n_asked += 1
            document.failed = answer is None
        return [(d, answer) for d, answer in zip(documents, answers, strict=True) if answer is not None]

    def _ask_demonstrations(self, document: _Document) -> Question:
        n = self._demonstrations
        return Question(document.task + _DEMONSTRATIONS.format(n=n), n * _DEMONSTRATION_TOKENS)

    def _ask_candidates(self, document: _Document) -> Question:
        n, examples = self._candidates, _items(document.demonstrations)
        examples = _EXAMPLE.format(demonstrations=examples) if examples else ""
        prompt = document.task + examples + _CANDIDATES.format(n=n)
        return Question(prompt, n * _CANDIDATE_TOKENS)

    def _ask_selection(self, document: _Document) -> Question:
        shown = enumerate(document.shown, 1)
        labels = "\n".join(f"{number}. {one_line(self._labels[label])}" for number, label in shown)
        n = min(_SELECTED, len(document.shown))
        prompt = document.prefix + self._question + _SELECTION.format(labels=labels, n=n)
        return Question(prompt, _SELECTED * _NUMBER_TOKENS)

    def _show_nearest(self, documents: list[_Document]) -> None:
        """Find the labels nearest to each candidate: first the nearest of each, then the second, …"""
        # A row a candidate: all documents are searched at once.
        rows = [row for row, document in enumerate(documents) for _ in document.candidates]
        texts = [candidate for document in documents for candidate in document.candidates]
        if not texts:
            return
        # E0 embeds them as labels, each once.
        if new := [text for text in dict.fromkeys(texts) if text not in self._vectors]:
            with self._inputs.clock("encode"):
                tokens = self._inputs.encoder.label_tokens
                self._vectors |= zip(new, self._encoder.encode(new, tokens, "candidates"), strict=True)
        vectors = np.stack([self._vectors[text] for text in texts])
        with self._inputs.clock("rank"):
            excluded = sp.csr_array(self._excluded[rows])
            nearest = search(vectors, self._label_vectors, self._nearest, excluded=excluded).ids
        # A document is shown column after column of its candidates' rows, each label once.
        ends = np.cumsum([len(document.candidates) for document in documents])
        for document, ids in zip(documents, np.split(nearest, ends[:-1]), strict=True):
            document.shown = tuple(dict.fromkeys(ids.T[ids.T >= 0].tolist()))


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {one_line(line)}" for line in lines)


def _first(retrieved: Shortlist, selected: list[tuple[int, ...]], depth: int) -> Shortlist:
    """Rank the selected labels before the other retrieved ones, cut at `depth`."""
    # The selected labels, scored 2, 1.9, …; then the retrieved ones, without those.
    ids = np.full((len(selected), _SELECTED), -1, dtype=np.int32)
    for row, chosen in zip(ids, selected, strict=True):
        row[: len(chosen)] = chosen
    scores = np.broadcast_to(2 - np.arange(_SELECTED) / _SELECTED, ids.shape)
    rest = np.where((retrieved.ids[:, :, None] == ids[:, None, :]).any(axis=2), -1, retrieved.ids)
    ranking = in_order(np.hstack([ids, rest]), np.hstack([scores, retrieved.scores]))
    width = min(depth, rest.shape[1])
    return Shortlist(ranking.ids[:, :width], ranking.scores[:, :width].astype(np.float32))


def _shortcomings(documents: list[_Document]) -> tuple[str, ...]:
    """Say how many documents are ranked by E0 alone, a sentence a reason."""
    counts = {
        "selections could not be read": sum(not (d.selected or d.failed) for d in documents),
        "documents were not answered": sum(d.failed for d in documents),
    }
    total = len(documents)
    return tuple(f"{n:,} of {total:,} {reason}: ranked by E0 alone" for reason, n in counts.items() if n)


def _examples(inputs: Inputs, documents: list[_Document]) -> tuple[dict[str, str], ...]:
    labels = inputs.corpus.labels["text"]
    rows = inputs.corpus.test[: len(documents)].to_pylist()
    return tuple(
        {
            "document": row["title"] or row["text"][:80],
            "demonstrations": " | ".join(document.demonstrations),
            "candidates": " | ".join(document.candidates),
            "selected": " | ".join(labels[label].as_py() for label in document.selected),
        }
        for row, document in zip(rows, documents, strict=True)
    )
