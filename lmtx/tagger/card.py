"""The model card of an exported tagger: `card.md.j2` filled in with what is known of it."""

from pathlib import Path

import pyarrow as pa
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader

from lmtx.files import CARD, DestinationError, check_destination, read_json
from lmtx.tagger.calibration import Calibration

_SHOWN = ("P@1", "P@3", "P@5", "R@10", "R@100")


def model_card(name: str, card: dict, calibration: Calibration | None, n_labels: int) -> str:
    """The text of README.md, for a tagger in the folder `name`.

    `card` has `encoder`, and where they are known `outcome` (the first line), `teacher`, `checked`,
    `learned`, `statistics`, `results` (a result file), `review` (`lmtx.tagger.review`), `example` (`text` and
    `labels`, as `Tagger.tag` gives them) and `added_labels`. What is missing is left out or said to be
    unknown, the calibration too.
    """
    spaces = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=False, **spaces)
    percents = {"percent": lambda share: f"{100 * share:.1f}", "interval": percent}
    templates.filters |= {"count": "{:,}".format, "plain": _plain} | percents
    values = {"name": name, "card": card, "calibration": calibration, "n_labels": n_labels, "shown": _SHOWN}
    return templates.get_template("card.md.j2").render(
        values, trained=is_trained(card), metadata=_metadata(name, card)
    )


def check_free(destination: str | Path, source: str | Path | None = None, recalibrated: bool = False) -> None:
    """Refuse a destination as `check_destination` does, and a tagger that holds work of its user.

    `recalibrated`: the tagger to come may have another calibration than one on people's answers.
    """
    check_destination(destination, folder=True, source=source)
    if not (Path(destination) / CARD).is_file():
        return
    card = read_json(Path(destination) / CARD)
    calibration = None if recalibrated else Calibration.load(destination)
    answers = card.get("review") or (calibration and calibration.by_people)
    kinds = {"added labels": card.get("added_labels"), "people's answers": answers}
    work = [kind for kind, there in kinds.items() if there]
    if work:
        raise DestinationError(
            f"{destination} is a tagger with {' and '.join(work)}, which a new one would lose; name another "
            "folder, or remove it"
        )


def is_trained(card: dict) -> bool:
    """Whether the encoder is a student; else it is E0 as it came."""
    return card.get("trained", card.get("system") != "zero-shot")


def excerpt(documents: pa.Table, longest: int = 300) -> str:
    """The beginning of a document, for an example: of the first that has 40 characters, or of the first."""
    texts = documents["text"].slice(0, 100).to_pylist()
    text = " ".join(next((text for text in texts if len(text) >= 40), texts[0]).split())
    return text if len(text) <= longest else text[:longest].rpartition(" ")[0] or text[:longest]


def percent(value: dict[str, float]) -> str:
    """A share with its interval, in percent: "44.0 [31.2, 57.7]"."""
    return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


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


def _plain(text: str) -> str:
    """The text on one line, so that no markup of it counts."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
