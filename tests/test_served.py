"""Servers as people report them: refusals, errors in odd places, waiting, money, environments."""

import time
from types import SimpleNamespace

import pytest
from judging import make_config, make_pairs
from servers import BatchApi, Reply, Server, completion, error, prompt

from lmtx.llm import dispatch, faults
from lmtx.llm.chat import Question
from lmtx.llm.faults import BudgetError, TeacherError
from lmtx.teachers import batches
from lmtx.teachers.base import TooFewAnswersError
from lmtx.teachers.pairs import NONE, YES
from lmtx.teachers.writer import build_writer


def judged(request):
    """Whether a request judges a document, and does not only look whether the server answers at all."""
    return "<document>" in prompt(request)


def document(request):
    """The number of the document that a request is about; None without one."""
    return int(prompt(request).partition("\ndocument ")[2].partition("\n")[0]) if judged(request) else None


# --- a document that is refused ---

REFUSALS = {
    "DeepSeek": error(400, "Content Exists Risk", code="invalid_request_error"),
    "OpenRouter": Reply(
        {"error": {"code": 403, "message": "Input flagged", "metadata": {"reasons": []}}}, 403
    ),
    "DashScope": Reply({"code": "DataInspectionFailed", "message": "Input data may be bad"}, 400),
    "llama.cpp": Reply({"error": {"code": 400, "type": "exceed_context_size_error", "message": "long"}}, 400),
    "too large": Reply(b"<html>413 Request Entity Too Large</html>", 413),
    "for legal reasons": Reply({"detail": "no"}, 451),
    "in a reply with the status 200": Reply({"error": {"message": "Content Exists Risk", "code": 400}}),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_document_is_its_own_failure(ask, refusal):
    """Also where it is the first of all, whichever others are in work, and run after run."""
    pairs = make_pairs(documents=15)
    for concurrency in (1, 4, 64):
        with Server(lambda r: refusal if document(r) in (0, 1, 2) else completion("yes")) as server:
            verdicts, teacher = ask(server, pairs, concurrency=concurrency, max_missing=0.2)
        answers = verdicts.answer.reshape(15, 3)
        assert (answers[:3] == NONE).all() and (answers[3:] == YES).all()
        assert teacher.cost.failed == 9
        # The first run asks about every pair once; the others only about those that were refused.
        assert sum(map(judged, server.requests)) == (45 if concurrency == 1 else 9)


def test_a_streak_of_refused_documents_ends_nothing(ask):
    refusal = error(400, "Content Exists Risk")
    with Server(lambda r: refusal if document(r) in range(10, 40) else completion("yes")) as server:
        verdicts, _ = ask(server, make_pairs(documents=60), max_missing=0.5)
    assert (verdicts.answer.reshape(60, 3) == NONE).all(axis=1).nonzero()[0].tolist() == list(range(10, 40))
    assert len(server.requests) <= 180 + 90 // dispatch._STREAK


@pytest.mark.parametrize("answered", [0, 30])
def test_a_server_that_refuses_every_request_is_left(ask, answered):
    def answer(request):
        return completion("yes") if len(server.requests) <= answered else error(403, "no access")

    with Server(answer) as server:
        with pytest.raises(TeacherError, match=r"no access.*may not use the model 'scripted'"):
            ask(server, make_pairs(documents=200))
        assert len(server.requests) <= answered + dispatch._STREAK + 8


def test_too_many_refused_documents_end_with_the_reason(ask):
    message = r"15 of 18 pairs.*15 were not answered \(.*Content Exists Risk"
    refusing = Server(lambda r: error(400, "Content Exists Risk") if document(r) else completion("yes"))
    with refusing as server, pytest.raises(TooFewAnswersError, match=message):
        ask(server)


# --- errors, whatever their form ---

REJECTED = {
    "text-generation-inference": (
        "top_logprobs",
        Reply({"error": "Input validation: `top_n_tokens` must be <= 5", "error_type": "validation"}, 422),
    ),
    "LM Studio": ("logprobs", Reply({"error": "'logprobs' is NOT SUPPORTED"}, 400)),
    "FastAPI": (
        "top_logprobs",
        Reply({"detail": [{"loc": ["body", "top_logprobs"], "msg": "Extra inputs are not permitted"}]}, 422),
    ),
    "llama-cpp-python": ("logprobs", error(500, "Logprobs is not supported with logits_all=False")),
    "OpenAI": ("max_tokens", error(400, "'max_tokens' is unsupported. Use 'max_completion_tokens'.")),
    "plain text": ("temperature", Reply(b"Temperature is not supported\n", 400)),
    "a status of 200": ("temperature", Reply({"message": "invalid temperature", "code": 400})),
    "forwarded": (
        "temperature",
        Reply({"error": {"message": "error", "metadata": {"raw": "{'error': 'unknown: temperature'}"}}}, 400),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("parameter", "rejection"), REJECTED.values(), ids=REJECTED)
def test_an_unsupported_parameter_is_left_out_wherever_the_error_names_it(ask, parameter, rejection):
    def answer(request):
        value = request.body.get(parameter)
        return completion("yes") if value is None or value == 5 else rejection

    with Server(answer) as server:
        verdicts, teacher = ask(server)
    assert set(verdicts.answer) == {YES} and teacher.cost.failed == 0
    assert len(server.requests) <= 18 + 3 * 4  # each worker learns it once, or twice


# --- a status of 200 that is no completion ---


def test_json_is_read_whatever_it_is_called(ask):
    types = iter(["text/plain", "text/html; charset=utf-8", "", "application/octet-stream"] * 5)
    with Server(lambda r: Reply(completion("yes"), headers={"content-type": next(types)})) as server:
        verdicts, teacher = ask(server)
    assert set(verdicts.answer) == {YES} and teacher.cost.requests == 18


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Rate limit exceeded", "code": 429}},
        {"error": "Rate limit exceeded"},
        {"choices": [{"error": {"code": "502", "message": "Rate limit exceeded"}, "message": {}}]},
        {"object": "error", "message": "Rate limit exceeded", "code": 429},
        b"Rate limit exceeded, take your time\n",
    ],
    ids=["OpenRouter", "text", "choice", "FastChat", "plain"],
)  # fmt: skip
def test_an_error_with_the_status_200_is_waited_for_and_told(ask, body):
    with Server(script=[Reply(body)] * 6) as server:
        verdicts, _ = ask(server)
    assert set(verdicts.answer) == {YES}
    with (
        Server(lambda request: Reply(body)) as server,
        pytest.raises(TeacherError, match=r"Rate limit exceeded.*no answer to any request") as caught,
    ):
        ask(server, make_pairs(documents=9), patience=0.1)
    assert "KeyError" not in str(caught.value)


def test_a_page_at_the_start_is_told_at_once(ask):
    html, events = (
        b"<!DOCTYPE html>\n<html><title>Open WebUI</title>",
        b'data: {"choices": []}\n\ndata: [DONE]\n',
    )
    for body, message in ((html, "Open WebUI"), (events, r"data: \{")):
        page = Reply(body, headers={"content-type": "text/html"})
        with Server(lambda request, page=page: page) as server:
            with pytest.raises(TeacherError, match=message + ".*OPENAI_BASE_URL is not the address"):
                ask(server)
            assert len(server.requests) <= 4
    with Server(script=[None, page, page]) as server:  # a gateway's page between answers passes
        assert set(ask(server, concurrency=1)[0].answer) == {YES}
    message = r"with no chat completion \(nothing\)"
    with Server(lambda request: Reply(b"")) as server, pytest.raises(TeacherError, match=message):
        ask(server, make_pairs(documents=9), patience=0.1)


# --- no answer ---


def thinks(request):
    """A model that thinks for 100 tokens, in all the ways in which servers tell of it."""
    if request.body["max_tokens"] >= 100:
        return completion("<think>Hm.</think>yes", answer_tokens=100)
    return completion("<think>Hm", finish="length", answer_tokens=request.body["max_tokens"])


def plain_thought(request):
    body = thinks(request)
    message = body["choices"][0]["message"]
    message["content"] = message["content"].replace("<think>Hm", "No mention of cats")
    return body


def hidden_thought(request):
    body = thinks(request)
    stopped = body["choices"][0]["finish_reason"] == "stop"
    body["choices"][0]["message"] = {"content": "yes" if stopped else None, "reasoning_content": "Hm"}
    return body


@pytest.mark.parametrize("model", [thinks, plain_thought, hidden_thought])
@pytest.mark.parametrize("batch", [False, True])
def test_the_remedy_of_a_thought_cut_off_works(ask, model, batch, monkeypatch):
    """What was cut off is no verdict, so that a run with more tokens asks again."""
    monkeypatch.setattr(batches, "FIRST_POLL", 0.01)
    with Server(BatchApi(model) if batch else model) as server:
        with pytest.raises(TeacherError, match=r"cut off before it answered.*raise teacher\.max_tokens"):
            ask(server, max_tokens=4, batch=batch)
        assert len(server.requests) <= 8 or model is plain_thought  # which may yet be an answer
        assert set(ask(server, max_tokens=2000, batch=batch)[0].answer) == {YES}
        sent = len(server.requests)
        assert set(ask(server, max_tokens=4)[0].answer) == {YES}
        assert len(server.requests) == sent


def test_neither_yes_nor_no_is_asked_again_on_demand(ask):
    message = r"teacher\.retry_none=true asks them again"
    with Server(lambda r: completion("Perhaps.")) as server, pytest.raises(TooFewAnswersError, match=message):
        ask(server)
    with Server() as server:
        assert set(ask(server, retry_none=True)[0].answer) == {YES}
        assert len(server.requests) == 18


def test_a_text_that_is_only_a_thought_is_no_text(tmp_path, monkeypatch):
    questions = [Question(f"Write about {i}", 10) for i in range(5)]

    def answer(request):
        cut = "about 3" in prompt(request)
        return completion("<think>about", finish="length") if cut else completion("A text", finish="length")

    with Server(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for requests in (5, 6):
            with build_writer(
                make_config(max_missing=0.5, concurrency=1), store=tmp_path / "v.sqlite"
            ) as writer:
                texts = writer.write(questions, "texts", progress=False)
            assert texts == ["A text"] * 3 + [None] + ["A text"]
            assert sum("about" in prompt(r) for r in server.requests) == requests


# --- waiting ---


def test_no_server_is_stormed(ask, monkeypatch):
    """64 workers, each told to come back at once."""
    monkeypatch.setattr(dispatch, "backoff", faults.backoff)
    told = [{"retry-after": "0"}, {"retry-after-ms": "0"}, {"retry-after": "-5"}, {}]
    busy = iter([error(429, "slow down", headers=headers) for headers in told] * 500)
    with Server(lambda r: completion("yes") if time.monotonic() > end else next(busy)) as server:
        end = time.monotonic() + 1.2
        verdicts, _ = ask(server, make_pairs(documents=30), concurrency=64)
        storm = sum(request.at < end for request in server.requests)
    assert set(verdicts.answer) == {YES}
    assert storm <= 64 * 3  # all wait at least 0.25, then 0.5, then 1 second


def test_a_fault_makes_all_requests_wait(ask, monkeypatch):
    monkeypatch.setattr(dispatch, "backoff", lambda waits, chance: 0.5 * (waits + 1))
    with Server(script=[None] * 8 + [error(503, "busy")], delay=0.01) as server:
        verdicts, _ = ask(server, make_pairs(documents=10), concurrency=4)
        at = [request.at for request in server.requests]
    failed = at[8] + 0.01
    assert set(verdicts.answer) == {YES} and len(at) == 31
    assert not [time for time in at if failed + 0.1 < time < failed + 0.5]
    assert at[-1] < failed + 5  # one wait


def test_faults_of_one_outage_lengthen_the_wait_once(monkeypatch):
    now = 100.0
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(dispatch.random, "random", lambda: 0.5)
    fault = faults.Fault("passing", "503")
    shared = dispatch.Backoff(300.0, lambda text: None)
    requests = [dispatch.Attempts(shared) for _ in range(64)]
    for wait in (0.5, 1.0, 2.0, 4.0):  # half a second, doubled
        assert [request.wait() for request in requests] == [0.0] * 64
        now += 0.01
        assert all(request.again(fault) for request in requests)
        assert shared.resume_at == pytest.approx(now + wait)
        newcomer = dispatch.Attempts(shared)
        assert newcomer.wait() == pytest.approx(1.05 * wait)
        now += 1.1 * wait
    requests[0].wait()
    requests[0].answered()
    assert requests[1].wait() == 0.0 and requests[1].again(fault)
    assert shared.resume_at == pytest.approx(now + 0.5)  # all others wait briefly
    assert requests[1].wait() == pytest.approx(1.05 * 8.0)  # and the one that keeps failing longer


def test_a_pause_that_is_none_is_passed_over(ask):
    values = ["nan", "inf", "soon", "", "1e999", "Wed, 99 Foo"]
    busy = [error(503, "busy", headers={"retry-after": value}) for value in values]
    with Server(script=[reply for one in busy for reply in (one, None)]) as server:
        assert set(ask(server, concurrency=1)[0].answer) == {YES}


def test_patience_is_whole_from_the_start(ask, monkeypatch):
    """A server that loads its model for longer than ten seconds, and says so in all sorts of ways."""
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: 40 * time.monotonic()))
    said = [error(529, "Overloaded"), error(503, "Loading model"), error(500, "oops")]
    faults = iter([*said, Reply(fault="drop"), Reply(b"")] * 500)
    with Server(lambda r: completion("yes") if time.monotonic() > end else next(faults)) as server:
        end = time.monotonic() + 0.35
        verdicts, teacher = ask(server, patience=300.0)
    assert set(verdicts.answer) == {YES} and teacher.cost.failed == 0


# --- money ---


def test_replies_that_cannot_be_read_are_paid_for(ask, prices):
    prices("scripted: {prompt: 0, answer: 1}")
    paid = {"usage": {"prompt_tokens": 17, "completion_tokens": 50_000}}  # five cents
    cut = completion("<think>", finish="length")
    bodies = [{"choices": []}, {"choices": [{"message": None}]}, completion(None), cut]
    for body in (*bodies, {"error": {"message": "cut"}}):
        with Server(lambda r, body=body: Reply({**body, **paid})) as server:
            with pytest.raises(TeacherError) as caught:
                ask(server, max_cost=0.25, concurrency=1)
            assert len(server.requests) <= 5
        is_shortfall = "choices" in body and (body["choices"] or [{}])[0].get("message")
        assert isinstance(caught.value, BudgetError) or is_shortfall


# --- the environment ---


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ALL_PROXY", "socks://user:hunter2@127.0.0.1:1", "Unknown scheme.*correct or unset ALL_PROXY"),
        ("https_proxy", "http://host:port", "Invalid port: 'port'.*correct or unset https_proxy"),
        ("OPENAI_BASE_URL", "localhost:8000/v1", "set OPENAI_BASE_URL to an address such as http://"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:80a/v1", "Invalid port: '80a'.*OPENAI_BASE_URL"),
        ("OPENAI_BASE_URL", "ftp://127.0.0.1/v1", "set OPENAI_BASE_URL to an address such as http://"),
        ("SSL_CERT_FILE", "/nowhere.pem", r"No such file.*correct or unset .*SSL_CERT_FILE=/nowhere\.pem"),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_an_environment_that_cannot_work_is_named(ask, monkeypatch, name, value, message, batch):
    with Server() as server, monkeypatch.context() as patch:
        if name != "OPENAI_BASE_URL":
            patch.setenv(name, value)
        else:
            server = type("Address", (), {"url": value})
        with pytest.raises(TeacherError, match=message) as caught:
            ask(server, batch=batch)
    assert "hunter2" not in str(caught.value)


def test_a_proxy_is_named_when_nobody_answers(ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Server() as server:
        message = r"through the proxy in HTTP_PROXY \(NO_PROXY=127\.0\.0\.1 goes"
        with pytest.raises(TeacherError, match=message):
            ask(server, patience=0.1)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert set(ask(server)[0].answer) == {YES}
