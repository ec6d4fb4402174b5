"""The model card of an exported tagger, from what is known of it."""

import pyarrow as pa
from huggingface_hub import EvalResult, ModelCardData

from lmtx.tagger.calibration import Calibration

_SHOWN = ("P@1", "P@3", "P@5", "R@10", "R@100")
_WANTED = (0.5, 0.6, 0.7, 0.8, 0.9)


def model_card(name: str, card: dict, calibration: Calibration | None, n_labels: int) -> str:
    """The text of README.md.

    Parameters
    ----------
    name
        The folder's name.
    card
        `encoder`, and where they are known `outcome` (the first line), `teacher`, `training`, `checked`,
        `learned`, `statistics`, `results` (a result file), `review` (`lmtx.tagger.review`), `example`
        (`text` and `labels`, as `Tagger.tag` gives them) and `added_labels`. What is missing is left out or
        said to be unknown.
    calibration
        None: the card says that there is none.
    n_labels
        How many labels the tagger has.
    """
    encoder, results = card["encoder"], card.get("results", {})
    trained = (
        f"trained by LMTX on the verdicts of a teacher, {card['teacher']}" if "teacher" in card else "trained"
    )
    if not is_trained(card):
        trained = "as it came: not trained on these documents"
    parts = [f"---\n{_metadata(name, card)}\n---", f"# {name}"]
    parts += [f"**{card['outcome']}**"] if "outcome" in card else []
    parts += [
        f"Ranks {n_labels:,} labels for a document: by the cosine of the document's vector and each label's. "
        f"The encoder is\n{encoder['name']}, {trained}.",
        _usage(name, encoder),
        _example(card),
        _review(card),
        _threshold(calibration),
        _data(card, n_labels),
        _teacher(card, results),
        _metrics(results),
        _limits(card, calibration),
        _LICENCE.format(encoder["name"], *(_TRAINED if is_trained(card) else _UNTRAINED)),
    ]
    return "\n".join(part.strip() + "\n" for part in parts if part)


def is_trained(card: dict) -> bool:
    """Whether the encoder is a student; else it is E0 as it came."""
    return card.get("trained", card.get("system") != "zero-shot")


def _metadata(name: str, card: dict) -> str:
    """YAML that the Hugging Face hub reads; measured figures are its `model-index`."""
    figures = []
    if results := card.get("results", {}).get("metrics"):
        dataset = card.get("statistics", {}).get("dataset", "annotated test documents")
        figures += [(dataset, metric, results[metric]["value"]) for metric in _SHOWN if metric in results]
    if review := card.get("review"):
        dataset = f"{review['documents']} documents reviewed by people"
        figures.append((dataset, "P@1", review["first"][review["uses"]]["value"]))
    measured = [
        EvalResult(
            task_type="text-classification",
            task_name="Extreme multi-label classification",
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=metric.replace("@", "_at_").lower(),
            metric_name=metric,
            metric_value=round(value, 4),
        )
        for dataset, metric, value in figures
    ]
    return ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "extreme-multi-label-classification", "zero-shot", "lmtx"],
        **({"model_name": name, "eval_results": measured} if measured else {}),
    ).to_yaml()


_TRAINED = "derive from", ", and were trained on texts of the data set above: the licences of both hold."
_UNTRAINED = "are those of", ": its licence holds, and for the labels that of the data set above."
_LICENCE = """
## Licence

The weights {1} {0}{2}
Look them up before you pass this model on. The code that made it is under the MIT licence.

The method: Jinbin Zhang, Nasib Ullah and Rohit Babbar, *Large Language Model as a Teacher for Zero-shot
Tagging at Extreme Scales*, COLING 2025, <https://aclanthology.org/2025.coling-main.233/>.
"""


def _usage(name: str, encoder: dict) -> str:
    reads = 'f"{title}. {text}" if title else text' if encoder["title"] else "text"
    return f"""
## Use

```sh
echo '{{"title": "…", "text": "…"}}' | lmtx tag {name} -k 5
```

```python
from lmtx import Tagger

Tagger.load("{name}").tag(["a document", "another"], k=5)
```

With sentence-transformers alone. A document is read as its first {encoder["document_tokens"]} tokens of
`{reads}`, a label as {encoder["label_tokens"]} tokens of its text:

```python
import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
model.max_seq_length = {encoder["document_tokens"]}
labels, vectors = pd.read_parquet("{name}/labels.parquet"), np.load("{name}/labels.npy").astype(np.float32)
# Where the vectors are int8: vectors *= np.load("{name}/label_scales.npy")[:, None]
title, text = "…", "…"
document = {reads}
scores = vectors @ model.encode(document, normalize_embeddings=True)
print(labels.iloc[np.argsort(-scores)[:5]])
```
"""


def _example(card: dict) -> str:
    """A document that the encoder was not trained on, and the answer that this tagger gives."""
    if not (example := card.get("example")):
        return ""
    rows = [
        f"| {_plain(label['text'])} | {label['score']:.3f} | {label.get('p_yes', '')} |"
        for label in example["labels"]
    ]
    return (
        f"A document, and the answer of this tagger:\n\n> {_plain(example['text'])}\n\n"
        "| label | score | p_yes |\n| --- | ---: | ---: |\n" + "\n".join(rows)
    )


def excerpt(documents: pa.Table, longest: int = 300) -> str:
    """The beginning of a document, for an example: of the first that has 40 characters, or of the first."""
    texts = documents["text"].slice(0, 100).to_pylist()
    text = " ".join(next((text for text in texts if len(text) >= 40), texts[0]).split())
    return text if len(text) <= longest else text[:longest].rpartition(" ")[0] or text[:longest]


def _plain(text: str) -> str:
    """The text on one line, so that no markup of it counts."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))


def _review(card: dict) -> str:
    if not (review := card.get("review")):
        return ""
    lines = [
        f"People answered {review['answers']:,} proposals on {review['documents']:,} documents, without "
        f"seeing which encoder made them; {percent(review['yes'])} % of them fit.",
        "",
        "| first label is right, P@1 | % | 95 % interval |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {100 * value['value']:.1f} | {100 * value['low']:.1f} to {100 * value['high']:.1f} |"
        for name, value in review["first"].items()
    ]
    if "difference" in review:
        lines += ["", f"{review['difference']}. {review['rule']}"]
    return "## Review by people\n\n" + "\n".join(lines)


def percent(value: dict[str, float]) -> str:
    """A share with its interval, in percent: "44.0 [31.2, 57.7]"."""
    return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def _data(card: dict, n_labels: int) -> str:
    statistics, learned = card.get("statistics"), card.get("learned")
    lines = ["## Data", ""]
    if learned is not None:
        lines.append(
            f"{learned['documents']:,} documents without annotations to learn from, "
            f"{learned['held_out']:,} held out for the check; {learned['labels']:,} labels."
        )
    elif statistics is None:
        lines.append(f"{n_labels:,} labels. The data set is not recorded.")
    else:
        documents = statistics["documents"]
        lines.append(
            f"`{statistics['dataset']}`: {documents['train']:,} training documents, {documents['dev']:,} "
            f"kept apart for the teacher's check, {documents['test']:,} for the metrics; "
            f"{statistics['labels']:,} labels."
        )
    if added := card.get("added_labels"):
        lines.append(
            f"{added:,} of the {n_labels:,} labels were added later, without training. The metrics and the "
            "thresholds below do not cover them."
        )
    return "\n".join(lines)


def _teacher(card: dict, results: dict) -> str:
    learned = card.get("learned", {})
    teacher = card.get("teacher") or learned.get("teacher", "not recorded")
    trained = is_trained(card)
    lines = [f"Teacher: {teacher}."] if trained else []
    if learned and not trained:
        lines = [f"Nothing in this encoder is learnt from the teacher, {teacher}."]
    for number, cycle in enumerate(learned.get("cycles", []), 1):
        said = learned["checks"][number - 1]
        lines.append(
            f"Cycle {number}: {cycle['pairs']:,} pairs judged, {cycle['yes']:.0%} of them yes; "
            f"the check: {said}."
        )
    lines += [f"Note: {note}." for note in results.get("notes", [])]
    if cost := results.get("cost") or learned.get("cost"):
        judged = cost["verdicts"] + cost["cached"]
        usd = "an unknown price" if cost["usd"] is None else f"${cost['usd']:,.2f}"
        lines.append(
            f"{judged:,} verdicts, {cost['cached']:,} of them from the store of earlier runs; the others "
            f"took {cost['requests']:,} requests, {cost['prompt_tokens'] + cost['answer_tokens']:,} tokens "
            f"and {usd}."
        )
    if trained and (seconds := results.get("seconds")):
        host = results.get("host", {})
        where = f" on {host['gpu'] or host['processor']}, {host['cores']} cores" if host else ""
        lines.append(f"Training took {seconds.get('train', 0):,.0f} s{where}.")
    if checked := card.get("checked"):
        said = ", ".join(f"{entry['check']:.1%} ({entry['system']})" for entry in checked)
        lines.append(f"The teacher accepts of the first labels of held-out documents: {said}.")
    return "\n".join(["## Teacher and cost", "", *lines]) if lines else ""


def _metrics(results: dict) -> str:
    if not results.get("metrics"):
        return "## Metrics\n\nNot measured on annotated test documents."
    shown = [(metric, results["metrics"][metric]) for metric in _SHOWN if metric in results["metrics"]]
    rows = [
        f"| {metric} | {100 * v['value']:.1f} | {100 * v['low']:.1f} to {100 * v['high']:.1f} |"
        for metric, v in shown
    ]
    head = "| metric | % | 95 % interval |\n| --- | ---: | ---: |\n"
    return (
        "## Metrics\n\n"
        + head
        + "\n".join(rows)
        + f"\n\nOn {results['n']:,} annotated test documents, which had no part in the training."
    )


def _threshold(calibration: Calibration | None) -> str:
    if calibration is None:
        return "## Threshold\n\nNot calibrated: scores order the labels of a document, and say no more."
    first, last = calibration.thresholds[0], calibration.thresholds[-1]
    rows = [
        f"| {step.wanted:.0%} | {step.score:.3f} | {100 * step.yes:.1f} | "
        f"{100 * step.low:.1f} to {100 * step.high:.1f} | {step.labels:.2f} |"
        for step in (calibration.step(w) for w in _WANTED if first.wanted < w <= last.wanted)
    ]
    yes = "precision" if calibration.by_people else "accepted"
    table = [
        f"| {yes}, wanted | from score | {yes}, measured, % | 95 % interval | labels a document |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *rows,
    ]
    meaning = (
        "Precision means **by people**: no annotation trained the encoder."
        if calibration.by_people
        else "*Accepted* means **by the teacher**; it is no precision, which only people give.\n"
        "Where the teacher errs, so does this table. No annotation went into it."
    )
    said, documents = f"verdicts of {calibration.judge}", "documents that the encoder was not trained on"
    if calibration.by_people:
        said, documents = "answers of people", "documents"
    return f"""
## Threshold

{chr(10).join(table) if rows else "No score gives half of the labels a yes."}

From {calibration.pairs:,} {said}, on the best {calibration.depth} labels of
{calibration.documents:,} {documents}: {first.yes:.1%} of all these labels got a yes.
A threshold is measured on answers that it was not chosen on. {meaning}
"""


_READS = {
    "first": "the first {} tokens of a document, and nothing behind them",
    "mean": "a document in windows of {} tokens, and takes their mean",
    "best": "a document in windows of {} tokens, and scores a label by the one nearest to it",
}


def _limits(card: dict, calibration: Calibration | None) -> str:
    encoder = card["encoder"]
    lines = [
        f"- It reads {_READS[card.get('windows', 'first')].format(encoder['document_tokens'])}.",
        "- It knows its labels by their texts alone, and ranks them all for every document: one that none of "
        "them fits gets labels too.",
    ]
    if "review" not in card and not card.get("results", {}).get("metrics"):
        lines.append("- People have not measured it yet: `lmtx review` and `lmtx evaluate` do.")
    if calibration is not None:
        lines.append("- Thresholds hold for documents like those that were judged.")
    return "## Limits\n\n" + "\n".join(lines)
