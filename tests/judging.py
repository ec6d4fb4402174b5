"""Teachers that ask a scripted server, in this process or in one of their own, which a test may kill.

What they import is imported here, before such a process forks.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import openai
import pandas  # noqa: F401  pyarrow and tqdm import these when they are first used
import pyarrow as pa
import pytest
import tqdm.auto  # noqa: F401

import lmtx.teachers
from lmtx.config import OpenAIConfig
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA
from lmtx.llm import dispatch
from lmtx.teachers.openai import OpenAITeacher
from lmtx.teachers.pairs import Pairs
from lmtx.teachers.store import VerdictStore

KEY = "sk-proj-Zq9verysecretkey0123456789"

# Making a client imports what it needs.
openai.AsyncOpenAI(api_key="none", http_client=openai.DefaultAioHttpClient())


def make_config(**changes) -> OpenAIConfig:
    """The configuration of a teacher that asks a scripted server, a few requests at once."""
    values = {
        **{"kind": "openai", "name": "tester", "model": "scripted", "wording": "tag", "question": None},
        **{"mode": "pointwise", "batch": False, "document_tokens": 430, "tokenizer": None, "logprobs": True},
        **{"max_tokens": 4, "extra": {}, "concurrency": 4, "timeout": 10.0, "patience": 30.0},
        **{"max_requests": None, "max_cost": None, "max_missing": 0.05, "retry_none": False},
    }
    return OpenAIConfig(**(values | changes))


def make_pairs(documents: int = 6, labels: int = 4, k: int = 3) -> Pairs:
    """Document i with the labels i, i + 1, …; texts name both."""
    texts = [f"document {i}" for i in range(documents)]
    table = pa.table(
        [[f"d{i}" for i in range(documents)], ["title"] * documents, texts], schema=DOCUMENT_SCHEMA
    )
    names = pa.table(
        [[f"l{i}" for i in range(labels)], [f"label {i}" for i in range(labels)]], schema=LABEL_SCHEMA
    )
    ids = (np.arange(documents)[:, None] + np.arange(k)) % labels
    return Pairs.from_shortlist(table, names, ids.astype(np.int32))


def judge(path: str, url: str, documents: int, first: int, concurrency: int) -> None:
    """Ask the server at `url` about the documents from `first` on, into the store at `path`."""
    os.environ["OPENAI_BASE_URL"] = url
    pairs = make_pairs(documents=documents, labels=50, k=5)
    pairs = pairs.select(np.flatnonzero(pairs.rows >= first))
    with VerdictStore(path) as store:
        OpenAITeacher(make_config(concurrency=concurrency), store=store).judge(pairs, progress=False)


def asking(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """The body of the fixture: `ask(server, pairs, **config)` judges, and gives the verdicts and the teacher.

    With `plan=True` it only plans. All share one store in `folder`; pauses after faults are short.
    """
    patch.setenv("OPENAI_API_KEY", KEY)
    patch.setattr(dispatch, "backoff", lambda attempt, chance: 0.02 * (attempt + 1))
    opened = []

    def ask(server, pairs=None, plan=False, **changes):
        patch.setenv("OPENAI_BASE_URL", server.url)
        teacher = lmtx.teachers.build(make_config(**changes), store=folder / "verdicts.sqlite", corpus=None)
        opened.append(teacher)
        pairs = make_pairs() if pairs is None else pairs
        return (teacher.plan(pairs) if plan else teacher.judge(pairs, progress=False)), teacher

    yield ask
    for teacher in opened:
        teacher.close()


@contextmanager
def processes() -> Iterator[multiprocessing.context.BaseContext]:
    """Processes that start in a moment: forks of a server that has imported this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["judging"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()
    yield context
