"""Systems that LMTX is compared with. Each is one module with a function `rank`.

`rank(inputs, **options)` gives the ranking of labels for each test document. The entry
`NAME: {kind: KIND, label: LABEL, options: {…}}` of the parameters runs `lmtx/baselines/KIND.py`; the
options are the function's keyword arguments.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, ValidationError, create_model

from lmtx.config import BaselineConfig, ConfigError, EncoderConfig, TeacherConfig
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.index import Shortlist
from lmtx.provenance import Clock


class Unavailable(RuntimeError):
    """A baseline that cannot run with these parameters; the message, shown in its row, says why."""


@dataclass(frozen=True)
class Inputs:
    """What a baseline may look at: no annotations.

    Attributes
    ----------
    corpus
        Documents, labels, and pairs that are no candidates.
    embeddings
        E0's unit vectors, float32 (n, d), under "train", "dev", "test" and "labels".
    depth
        How many labels to rank for each test document.
    encoder
        E0, and how texts reach it.
    teacher
        The language model of a baseline that uses one; None for the others.
    store
        The verdict store, for what a teacher says.
    records
        The folder of recorded verdicts.
    clock
        Adds up seconds by part of the work: `with inputs.clock("train"): …`.
    """

    corpus: Corpus
    embeddings: Mapping[str, np.ndarray]
    depth: int
    encoder: EncoderConfig | None = None
    teacher: TeacherConfig | None = None
    store: Path | None = None
    records: Path | None = None
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class Ranked:
    """What a baseline has made.

    Attributes
    ----------
    ranking
        The labels of each test document.
    cost
        What a teacher was paid (see `lmtx.llm.cost.Cost`), as a dict; empty without one.
    bill
        What it asks a teacher for where nothing is stored yet: requests, prompt_tokens, answer_tokens and
        usd (None: unknown) over all test documents. None without a teacher.
    notes
        What a table must say about the system.
    encoder
        The trained encoder; None where nothing was trained.
    seed
        What the training's draws follow from; None where nothing is drawn.
    losses
        The loss of each training step.
    examples
        Training pairs (or other material) of a few documents, for the notebook and the report: one
        dict a row.
    """

    ranking: Shortlist
    cost: Mapping[str, float | None] = field(default_factory=dict)
    bill: Mapping[str, float | None] | None = None
    notes: tuple[str, ...] = ()
    encoder: Encoder | None = None
    seed: int | None = None
    losses: tuple[float, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()


def rank(config: BaselineConfig, inputs: Inputs) -> Ranked:
    """Rank the labels for each test document with the baseline that `config.kind` names.

    Raises
    ------
    ConfigError
        For an option that the baseline does not have, or a value of the wrong type.
    Unavailable
        When the baseline cannot run with these parameters.
    """
    function = import_module(f"lmtx.baselines.{config.kind}").rank
    return function(inputs, **_checked(function, config))


def _checked(function: Any, config: BaselineConfig) -> dict[str, Any]:
    """The options of `config`, with the defaults of `function` where they are left out."""
    known = {
        name: (parameter.annotation, parameter.default)
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    model = create_model(config.kind, __config__=ConfigDict(extra="forbid", strict=True), **known)
    try:
        return {name: getattr(model.model_validate(config.options), name) for name in known}
    except ValidationError as error:
        found = error.errors()[0]
        name = ".".join(map(str, found["loc"]))
        if found["type"] == "extra_forbidden":
            expected = f"is not an option of this baseline; there are: {', '.join(known) or 'none'}"
        else:
            expected = f"is {found['input']!r}: {found['msg'][:1].lower()}{found['msg'][1:]}"
        raise ConfigError(f"baselines: kind {config.kind}: `options.{name}` {expected}") from None
