"""The openai teacher against a server that nobody here wrote: `transformers serve`, on a tiny model."""

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from judging import make_config, make_pairs
from test_icxml import rank, real_inputs
from tiny_models import save_answering_model

from lmtx.corpus import DOCUMENT_SCHEMA
from lmtx.llm.faults import TeacherError
from lmtx.teachers.pairs import NO, YES, Pairs


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """`transformers serve`, started once; has `url` and `model`."""
    pytest.importorskip("fastapi", reason="transformers serve needs the extra `serving`")
    model = save_answering_model(tmp_path_factory.mktemp("model"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(model),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("log") / "serve.log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise AssertionError(f"no server after a minute: {log.read_text()}")
            yield SimpleNamespace(url=f"http://127.0.0.1:{port}/v1", model=str(model))
        finally:
            process.terminate()


def varied_pairs(documents: int) -> Pairs:
    """Two labels for each of some documents of very different length, for the model to differ on."""
    chance = random.Random(3)
    words = ["tree", "graph", "sort", "matrix", "index", "file", "plot", "value", "mean"]
    texts = [" ".join(chance.choices(words, k=chance.randint(2, 120))) for _ in range(documents)]
    table = pa.table([[f"d{i}" for i in range(documents)], [""] * documents, texts], schema=DOCUMENT_SCHEMA)
    return Pairs.from_shortlist(table, make_pairs().labels, np.array([[0, 1]] * documents, dtype=np.int32))


def test_pointwise_verdicts_come_from_the_answers_text(ask, server):
    pairs = varied_pairs(40)
    verdicts, teacher = ask(server, pairs, model=server.model, timeout=60.0)
    assert set(verdicts.answer) == {YES, NO}
    assert set(verdicts.p_yes) == {0.0, 1.0}  # this server returns no log-probabilities
    assert teacher.cost.requests == 80
    assert teacher.cost.prompt_tokens > 80 * 50  # as the server counts them
    again, other = ask(server, pairs, model=server.model)
    assert other.cost.requests == 0 and again.answer.tolist() == verdicts.answer.tolist()


def test_listwise_falls_back_where_the_model_writes_no_json(ask, server):
    verdicts, teacher = ask(
        server, make_pairs(documents=4), model=server.model, mode="listwise", timeout=60.0
    )
    assert set(verdicts.answer) <= {YES, NO}
    assert teacher.cost.requests == 4 + 12


@pytest.mark.parametrize("changes", [{"model": "another"}, {"extra": {"no_such_field": 1}}])
def test_what_the_server_refuses_stops_at_once(ask, server, changes):
    started = time.monotonic()
    with pytest.raises(TeacherError, match=r"check teacher\.model and teacher\.extra"):
        ask(server, **({"model": server.model} | changes))
    assert time.monotonic() - started < 10


def test_icxml_takes_what_the_model_writes(server, tmp_path, monkeypatch):
    """The model says yes or no to everything, so that nothing is selected and E0 ranks."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    inputs = real_inputs(tmp_path, make_config(model=server.model, timeout=60.0))
    ranked = rank("icxml", inputs)
    assert ranked.cost["requests"] == 12 and ranked.cost["failed"] == 0
    np.testing.assert_array_equal(ranked.ranking.ids, rank("zero_shot", inputs).ranking.ids)
    assert rank("icxml", inputs).cost["requests"] == 0
