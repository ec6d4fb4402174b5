"""A data set of the Hugging Face hub, or a local folder in one of the hub's formats, by its column names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtx.config import HubConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import RawDocument, assemble_sides, label_table, read_sides
from lmtx.datasets.lines import Faults

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 256  # rows in memory at once


def read(config: HubConfig, root: Path, scratch: str | Path | None = None) -> Reading:
    """Read the splits `config.train_split` and `config.test_split` of `config.path`.

    `config.path` is a folder relative to `root`, else a name on the hub. Where the column of annotations
    holds numbers whose names the data set knows, these names are the labels; else its texts are, in
    alphabetical order. A document's uid is its row, counted from 0; the splits are as in
    `lmtx.datasets.xmc.read`.

    Raises
    ------
    CorpusError
        When the data set, a split or a column cannot be found, or a column is of another type.
    """
    splits = {"train": config.train_split, "test": config.test_split}
    sources = {split: _load(config, root, name) for split, name in splits.items()}
    if config.annotations is None:
        raise CorpusError(
            f"dataset.annotations is null, and the labels of {config.path} are to be found nowhere else; "
            "name the column of annotated labels, or use the reader `own`"
        )
    labels, number = _labels(config, sources)
    opened = {}
    for split, source in sources.items():
        path = Path(config.path) / splits[split]
        faults = Faults(path, "row")
        opened[split] = path, _documents(config, source, number, faults), faults
    sides, folder = read_sides(config, opened, scratch)
    table = label_table([str(i) for i in range(len(labels))], labels)
    return assemble_sides(config, table, sides, folder, {})


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
    annotations: set[str] = set()
    for source in sources.values():
        column = source.select_columns([config.annotations])
        for batch in column.iter(BATCH):
            for value in batch[config.annotations]:
                annotations.update(_listed(value))
    texts = sorted(annotations, key=str)
    if wrong := next((text for text in texts if not isinstance(text, str) or not text.strip()), None):
        raise CorpusError(
            f"{config.path}: the column {config.annotations!r} holds {wrong!r}, and no names of labels; "
            "expected texts, or numbers of a column that knows their names (ClassLabel)"
        )
    return texts, {text: i for i, text in enumerate(texts)}.__getitem__


def _documents(
    config: HubConfig, source: "Dataset", number: Callable[[Any], int], faults: Faults
) -> Iterator[RawDocument | None]:
    columns = [column for column in (config.text, config.title, config.annotations) if column is not None]
    row = 0
    for batch in source.select_columns(list(dict.fromkeys(columns))).iter(BATCH):
        for values in zip(*(batch[column] for column in columns), strict=True):
            by_column = dict(zip(columns, values, strict=True))
            row += 1
            text, title = by_column[config.text] or "", by_column.get(config.title) or ""
            wrong = next((value for value in (text, title) if not isinstance(value, str)), None)
            if wrong is not None:
                faults.add(row, f"{str(wrong)[:60]} stands in the place of a text")
                yield None
                continue
            labels = [number(value) for value in _listed(by_column[config.annotations])]
            yield str(row - 1), title, text, [label for label in labels if label >= 0]


def _listed(value: Any) -> list[Any]:
    """Return an annotation of several labels, of one, or of none, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
