"""The model card of an exported tagger, from what is known of it."""

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
        `encoder`, and where they are known `teacher`, `training`, `checked`, `statistics`, `results` (a
        result file) and `added_labels`. What is missing is left out or said to be unknown.
    calibration
        None: the card says that there is none.
    n_labels
        How many labels the tagger has.
    """
    encoder, results = card["encoder"], card.get("results", {})
    trained = (
        f"trained by LMTX on the verdicts of a teacher, {card['teacher']}" if "teacher" in card else "trained"
    )
    if not card.get("trained", card.get("system") != "zero-shot"):
        trained = "as it came: not trained on these documents"
    parts = [_HEAD.format(name=name, labels=f"{n_labels:,}", encoder=encoder["name"], trained=trained)]
    parts += [f"**{card['outcome']}**"] if "outcome" in card else []
    parts += [_usage(name, encoder), _data(card, n_labels), _teacher(card, results), _metrics(results)]
    parts += [_threshold(calibration), _LICENCE.format(encoder=encoder["name"])]
    return "\n".join(part.strip() + "\n" for part in parts)


_HEAD = """
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- extreme-multi-label-classification
- zero-shot
- lmtx
---

# {name}

Ranks {labels} labels for a document: by the cosine of the document's vector and each label's. The encoder is
{encoder}, {trained}.
"""

_LICENCE = """
## Licence

The weights derive from {encoder}, and were trained on texts of the data set above: the licences of both
hold for them. Look both up before you pass this model on. The code that made it is under the MIT licence.

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


def _data(card: dict, n_labels: int) -> str:
    statistics, learned = card.get("statistics"), card.get("learned")
    lines = ["## Data", ""]
    if learned is not None:
        lines.append(
            f"{learned['documents']:,} documents without annotations to learn from, "
            f"{learned['held_out']:,} held out for the check; {learned['labels']:,} labels."
        )
    elif statistics is None:
        lines.append("What it was trained on is not recorded.")
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
    lines = ["## Teacher and cost", "", f"Teacher: {teacher}."]
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
    if seconds := results.get("seconds"):
        host = results.get("host", {})
        where = f" on {host['gpu'] or host['processor']}, {host['cores']} cores" if host else ""
        lines.append(f"Training took {seconds.get('train', 0):,.0f} s{where}.")
    if checked := card.get("checked"):
        said = ", ".join(f"{entry['check']:.1%} ({entry['system']})" for entry in checked)
        lines.append(f"The teacher accepts of the first labels of held-out documents: {said}.")
    return "\n".join(lines)


def _metrics(results: dict) -> str:
    if not results.get("metrics"):
        return "## Metrics\n\nNot measured."
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
    first, rows = calibration.steps[0], []
    for wanted in (w for w in _WANTED if w > first.precision):
        if wanted <= calibration.steps[-1].precision:
            step = calibration.step(wanted)
            rows.append(
                f"| {wanted:.0%} | {step.score:.3f} | {100 * step.precision:.1f} | "
                f"{100 * step.low:.1f} to {100 * step.high:.1f} | {step.labels:.2f} |"
            )
    head = (
        "| accepted, wanted | from score | accepted, measured, % | 95 % interval | labels a document |\n"
        "| ---: | ---: | ---: | ---: | ---: |\n"
    )
    return f"""
## Threshold

{head}{chr(10).join(rows)}

From {calibration.pairs:,} verdicts of {calibration.teacher}, on the best {calibration.depth} labels of
{calibration.documents:,} documents that the encoder was not trained on. Of all these labels it accepts
{first.precision:.1%}. *Accepted* means **by the teacher**; it is no precision, which only people give.
Where the teacher errs, so does this table. It holds for documents like those, and no annotation went into it.
"""
