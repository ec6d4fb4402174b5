"""A data set of the Hugging Face hub, or a local folder in one of the hub's formats, by its column names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtx.config import HubConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import assemble_sides, label_table, read_sides
from lmtx.datasets.lines import Faults
from lmtx.datasets.spool import RawDocument

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 256  # rows in memory at once


def read(config: HubConfig, root: Path, scratch: Path) -> Reading:
    """Read the splits `config.train_split` and `config.test_split` of `config.path`.

    `config.path` is a folder relative to `root`, else a name on the hub. Where the column of annotations
    holds numbers whose names the data set knows, these names are the labels; else its texts are, in
    alphabetical order. A document's uid is its row, counted from 0; the splits are as in
    `lmtx.datasets.xmc.read`.

    Raises `CorpusError` when the data set, a split or a column cannot be found, or a column is of another
    type.
    """
    splits = {"train": config.train_split, "test": config.test_split}
    loaded = {split: _load(config, root, name) for split, name in splits.items()}
    if config.annotations is None:
        raise CorpusError(
            f"dataset.annotations is null, and the labels of {config.path} are to be found nowhere else; "
            "name the column of annotated labels, or use the reader `own`"
        )
    labels, number = _labels(config, loaded)
    sources = {}
    for split, rows in loaded.items():
        faults = Faults(Path(config.path) / splits[split], "row")
        sources[split] = faults, _documents(config, rows, number, faults)
    table = label_table([str(i) for i in range(len(labels))], labels)
    return assemble_sides(config, table, read_sides(config, sources, scratch), {})


def _load(config: HubConfig, root: Path, split: str) -> "Dataset":
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    local = root / config.path
    path = str(local) if local.exists() else config.path
    try:
        source = load_dataset(path, config.configuration, split=split)
    except (DatasetsError, OSError, ValueError) as error:
        raise CorpusError(f"{path}, split {split!r}, cannot be loaded: {error.__cause__ or error}") from None
    for key in ("text", "title", "annotations"):
        column = getattr(config, key)
        if column is not None and column not in source.column_names:
            raise CorpusError(
                f"{path} has no column {column!r}, which dataset.{key} names; "
                f"there are {', '.join(source.column_names)}"
            )
    return source


def _labels(config: HubConfig, sources: dict[str, "Dataset"]) -> tuple[list[str], Callable[[Any], int]]:
    """Return the labels' texts, and the function from an annotation's value to a label's id."""
    feature = sources["train"].features[config.annotations]
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if names is not None:
        return list(names), int
    annotations = (value for source in sources.values() for (value,) in _rows(source, [config.annotations]))
    texts = sorted({text for value in annotations for text in _listed(value)}, key=str)
    if wrong := next((text for text in texts if not isinstance(text, str) or not text.strip()), None):
        raise CorpusError(
            f"{config.path}: the column {config.annotations!r} holds {wrong!r}, and no names of labels; "
            "expected texts, or numbers of a column that knows their names (ClassLabel)"
        )
    return texts, {text: i for i, text in enumerate(texts)}.__getitem__


def _documents(
    config: HubConfig, source: "Dataset", number: Callable[[Any], int], faults: Faults
) -> Iterator[RawDocument]:
    columns = [config.annotations, config.text, *([config.title] if config.title else [])]
    for position, (annotation, *texts) in enumerate(_rows(source, columns)):
        text, title = (value or "" for value in (*texts, "")[:2])
        if wrong := [value for value in (text, title) if not isinstance(value, str)]:
            faults.add(position + 1, f"{str(wrong[0])[:60]} stands in the place of a text")
            continue
        labels = [number(value) for value in _listed(annotation)]
        yield position, str(position), title, text, [label for label in labels if label >= 0]


def _rows(source: "Dataset", columns: list[str]) -> Iterator[tuple]:
    """Yield the values of the columns, read by batches: much faster than row by row."""
    for batch in source.select_columns(list(dict.fromkeys(columns))).iter(BATCH):
        yield from zip(*(batch[column] for column in columns), strict=True)


def _listed(value: Any) -> list[Any]:
    """Return an annotation of several labels, of one, or of none, as a list; a null is none."""
    return [label for label in (value if isinstance(value, list) else [value]) if label is not None]
