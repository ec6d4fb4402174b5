"""Teachers: judges of (document, label) pairs, each in a module of its own."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from lmtx.corpus import Corpus, load_truth
from lmtx.llm.cost import Budget, Cost, Plan
from lmtx.llm.faults import BudgetError, TeacherError
from lmtx.teachers.base import Teacher, TooFewAnswersError
from lmtx.teachers.pairs import NO, NONE, YES, Pairs, Verdicts
from lmtx.teachers.store import StoreError, VerdictStore

__all__ = [
    "NO",
    "NONE",
    "YES",
    "Budget",
    "BudgetError",
    "Cost",
    "Pairs",
    "Plan",
    "StoreError",
    "Teacher",
    "TeacherError",
    "TooFewAnswersError",
    "VerdictStore",
    "Verdicts",
    "build",
]


def build(
    config: Any,
    *,
    store: str | Path,
    corpus: Corpus,
    embeddings: Mapping[str, np.ndarray] | None = None,
    truth: Mapping[str, sp.csr_array] | Path | None = None,
    records: str | Path | None = None,
    budget: Budget | None = None,
) -> Teacher:
    """Make the teacher of a `teacher` section, whose `kind` chooses it.

    Parameters
    ----------
    store
        The verdict store's file; made when missing.
    corpus
        Documents and labels, which some teachers study before they judge.
    embeddings
        E0's unit vectors, float (n, d), under "train", "dev", "test", "labels"; the ensemble needs them.
    truth
        The annotations, one boolean CSR (n_docs, L) a split. For the simulated teacher, and refused
        by every other, so that no teacher reads them unannounced. A folder (see `lmtx.corpus.load_truth`) may
        stand there for every teacher: only the simulated one opens it, for "train" and "dev".
    records
        A folder of recorded verdicts (see `lmtx.teachers.records`); those of this teacher join the store.
    budget
        A limit in dollars that several teachers share; None: each has the `max_cost` of its section.

    Raises
    ------
    ValueError
        When `truth` is missing for the simulated teacher, or given to another.
    StoreError
        When the store cannot be used.
    """
    simulated = config.kind == "simulated"
    if isinstance(truth, Path):
        truth = {split: load_truth(truth, split) for split in ("train", "dev")} if simulated else None
    if simulated and truth is None:
        raise ValueError("the simulated teacher reads annotations: pass truth={split: matrix}")
    if truth is not None and not simulated:
        raise ValueError(f"the {config.kind} teacher must not see annotations; leave `truth` out")
    kinds = {config.kind, *(member.kind for member in getattr(config, "of", {}).values())}
    if "ensemble" in kinds and embeddings is None:
        raise ValueError("the ensemble teacher needs E0's embeddings: pass embeddings={split: array}")
    with ExitStack() as undo:
        opened = undo.enter_context(VerdictStore(store))
        if config.kind == "combined":
            from lmtx.teachers.combined import CombinedTeacher

            options = {"store": store, "corpus": corpus, "embeddings": embeddings, "records": records}
            members = [
                undo.enter_context(build(member, **options, budget=budget)) for member in config.of.values()
            ]
            teacher = CombinedTeacher(config, members, store=opened)
        elif config.kind == "ensemble":
            from lmtx.teachers.ensemble import EnsembleTeacher

            teacher = EnsembleTeacher(config, store=opened, corpus=corpus, embeddings=embeddings)
        elif config.kind == "openai":
            from lmtx.teachers.openai import OpenAITeacher

            teacher = OpenAITeacher(config, store=opened, budget=budget)
        elif config.kind == "huggingface":
            from lmtx.teachers.huggingface import HuggingFaceTeacher

            teacher = HuggingFaceTeacher(config, store=opened)
        elif config.kind == "simulated":
            from lmtx.teachers.simulated import SimulatedTeacher

            teacher = SimulatedTeacher(config, store=opened, corpus=corpus, truth=truth)
        else:
            raise ValueError(f"no teacher of the kind {config.kind!r}")
        teacher.threshold = getattr(config, "threshold", teacher.threshold)
        teacher.centred = getattr(config, "centred", False)
        if config.kind != "ensemble":  # which calibrates itself on E0's shortlists
            teacher.acceptance = getattr(config, "acceptance", None)
        if records is not None:
            teacher.take_record(Path(records) / f"{teacher.name}.parquet", corpus)
        undo.pop_all()
    return teacher
