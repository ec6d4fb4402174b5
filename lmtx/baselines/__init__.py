"""Systems that LMTX is compared with: one module each, with a function `rank`.

`rank(inputs, **options)` ranks the labels for each test document. The entry
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
from pydantic import ValidationError, create_model

from lmtx import teachers
from lmtx.config import BaselineConfig, ConfigError, EncoderConfig, Section, TeacherConfig, sentence
from lmtx.corpus import Corpus
from lmtx.encoder import Encoder
from lmtx.index import Shortlist
from lmtx.provenance import Clock
from lmtx.teachers import Teacher


class Unavailable(RuntimeError):
    """A baseline that cannot run with these parameters; its row shows the message, which gives the reason."""


@dataclass(frozen=True)
class Inputs:
    """The input of every baseline. It has no annotations."""

    corpus: Corpus  # documents, labels, and pairs that are no candidates
    embeddings: Mapping[str, np.ndarray]  # E0's: float32 (n, d) under "train", "dev", "test" and "labels"
    depth: int  # the number of labels to rank for each test document
    encoder: EncoderConfig | None = None  # E0
    teacher: TeacherConfig | None = None  # of a baseline that uses one; None for the others
    store: Path | None = None  # the teacher's verdict store
    records: Path | None = None  # the folder of recorded verdicts
    clock: Clock = field(default_factory=Clock)  # adds up seconds: `with inputs.clock("train"): …`


@dataclass(frozen=True)
class Ranked:
    """The result of a baseline."""

    ranking: Shortlist  # the labels of each test document
    cost: Mapping[str, float | None] = field(default_factory=dict)  # fields of the teacher's `Cost`
    # The teacher's requests, prompt_tokens, answer_tokens and usd (None: unknown) for all test documents with
    # an empty store; None without a teacher.
    bill: Mapping[str, float | None] | None = None
    notes: tuple[str, ...] = ()  # remarks that a table must show beside the system
    encoder: Encoder | None = None  # the trained one
    seed: int | None = None  # of the training's draws
    losses: tuple[float, ...] = ()  # of the training steps
    examples: tuple[dict[str, Any], ...] = ()  # training pairs of a few documents, for notebook and report


def rank(config: BaselineConfig, inputs: Inputs) -> Ranked:
    """Rank the labels for each test document with the baseline that `config.kind` names.

    Raises `ConfigError` for an option that the baseline does not have, or a value of the wrong type, and
    `Unavailable` when the baseline cannot run with these parameters.
    """
    function = import_module(f"lmtx.baselines.{config.kind}").rank
    # Its keyword arguments, with their types and defaults, are the section that the options must fit.
    accepted = {
        name: (parameter.annotation, parameter.default)
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    model = create_model(config.kind, __base__=Section, **accepted)
    try:
        options = model.model_validate(config.options)
    except ValidationError as error:
        fault = error.errors()[0]
        fault["loc"] = ("options", *fault["loc"])
        text = sentence(fault, {"options": config.options})
        raise ConfigError(f"baselines: kind {config.kind}: {text}") from None
    return function(inputs, **{name: getattr(options, name) for name in accepted})


def judging_teacher(inputs: Inputs, system: str) -> Teacher:
    """Build the teacher of a baseline that judges pairs, to be closed by the caller.

    Raises `Unavailable`, which names `system`, without a teacher or with one that reads annotations.
    """
    if inputs.teacher is None or inputs.teacher.kind == "simulated":
        raise Unavailable(
            f"{system} needs a teacher that reads no annotations (the simulated one does): "
            "set teacher to ensemble, combined, openai or huggingface"
        )
    return teachers.build(
        inputs.teacher,
        store=inputs.store,
        corpus=inputs.corpus,
        embeddings=inputs.embeddings,
        records=inputs.records,
    )


def share_note(ranked: int, corpus: Corpus) -> tuple[str, ...]:
    """Remark that a system ranks only the first `ranked` test documents; empty if these are all."""
    total = corpus.test.num_rows
    return () if ranked == total else (f"measured on the first {ranked:,} of {total:,} test documents",)
