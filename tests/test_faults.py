"""What faults of a server do to a teacher, and that its key stays secret."""

import email.utils
import logging
import os
import signal
import threading
import time
import traceback

import pytest
from judging import KEY, make_config, make_pairs
from servers import Reply, Server, completion, error, prompt

import lmtx.teachers
from lmtx.llm import dispatch
from lmtx.llm.faults import ServerError, TeacherError, address, backoff, read_fault
from lmtx.teachers.pairs import NONE, YES
from lmtx.teachers.records import summary
from lmtx.teachers.store import VerdictStore

PASSING = {
    "429": error(429, "slow down"),
    "500": error(500, "oops"),
    "502": error(502, "bad gateway"),
    "503": error(503, "overloaded"),
    "504": Reply("<html>timeout</html>", 504),
    "dropped": Reply(fault="drop"),
    "half an answer": Reply(completion("yes"), fault="half"),
    "broken JSON": Reply(b'{"choices": [{"mess'),
    "HTML": Reply(b"<html>hello</html>", headers={"content-type": "text/html"}),
    "an error as a success": Reply({"error": {"message": "upstream"}}),
    "no choices": Reply({"choices": []}),
    "no answer": Reply(fault="hang"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_passing_faults_are_tried_again(ask, fault):
    with Server(script=[None, fault, None, fault, fault, None, fault]) as server:
        verdicts, teacher = ask(server, timeout=0.5 if fault.fault == "hang" else 10.0)
        assert len(server.requests) == 18 + 4 == teacher.cost.requests
        assert server.most_at_once <= 4 + (4 if fault.fault == "hang" else 0)
    assert set(verdicts.answer) == {YES} and teacher.cost.failed == 0


def test_retry_after_is_honoured_by_all(ask):
    slow = error(429, "slow down", headers={"retry-after": "0.4"})
    with Server(script=[None] * 4 + [slow], delay=0.01) as server:
        ask(server, concurrency=4)
        at = [r.at for r in server.requests]
    assert not [time for time in at if at[4] + 0.1 < time < at[4] + 0.4]
    assert at[-1] < at[4] + 10


def test_retry_after_as_a_date():
    """In whole seconds, as RFC 9110 writes it."""
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    fault = read_fault(ServerError(503, "later", {"retry-after": date}), "m")
    assert fault.kind == "passing" and 98 <= fault.pause <= 100


def test_pauses_grow_and_differ():
    assert [backoff(n, 0.5) for n in range(5)] == [0.5, 1, 2, 4, 8]
    assert backoff(50, 0.5) == 30
    assert (backoff(2, 0.0), backoff(2, 0.999)) == (1.0, pytest.approx(3.0, abs=0.01))


def test_faults_of_all_requests_stay_under_the_concurrency_limit(ask):
    with Server(script=[error(500, "x")] * 12, delay=0.01) as server:
        ask(server, concurrency=3)
        assert server.most_at_once == 3


def test_a_server_that_goes_away_and_comes_back(ask):
    with Server(delay=0.01) as server:

        def absent():
            while len(server.requests) < 20:
                time.sleep(0.005)
            server.go_away()
            time.sleep(0.4)
            server.come_back()

        away = threading.Thread(target=absent)
        away.start()
        verdicts, _ = ask(server, make_pairs(documents=20))
        away.join()
    assert set(verdicts.answer) == {YES}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(401, "Incorrect API key provided", code="invalid_api_key"), "set OPENAI_API_KEY"),
        (error(403, "no access"), "may not use the model 'scripted'"),
        (error(404, "model not found", code="model_not_found"), "set teacher.model"),
        (error(429, "You exceeded your quota", code="insufficient_quota"), "quota is used up"),
        (error(429, "come tomorrow", headers={"retry-after": "86400"}), "asks to wait 24 h 0 min"),
        (error(422, "Unexpected fields in the request: {'foo'}"), "check teacher.model and teacher.extra"),
        (error(400, "Your credit balance is too low to access the API"), "Top up the account"),
        (error(400, "maximum context length is 512 tokens"), "lower teacher.document_tokens"),
        (error(400, "This model's maximum CONTEXT length is 512 tokens"), r"lower teacher\.document_tokens"),
        (error(400, "max_tokens is too large. This model supports 4096"), r"check teacher\.max_tokens"),
        (
            error(400, "Could not finish the message because max_tokens or model output limit was reached. "
                  "Please try again with higher max_tokens."),
            r"raise teacher\.max_tokens",
        ),
        # What the server says, whatever its form.
        (Reply({"error": "Model unloaded."}, 400), r"400 \(Model unloaded\.\): check teacher\.model"),
        (Reply({"error": {"message": ["a", {"b": "deep inside"}]}}, 400), "a; deep inside"),
        (Reply({"detail": [{"loc": ["a"], "msg": "b", "input": "the prompt"}]}, 422), r"\(a; b\)"),
        (Reply(b"<html>\n <h1>Bad\n gateway page</h1>", 400), "Bad gateway page"),
        (Reply(b"", 400), r"answered 400 \(nothing\)"),
        (Reply({"error": {"message": None, "code": 1210}}, 400), "JSON with the fields error"),
    ],
)  # fmt: skip
def test_lasting_faults_stop_at_once_with_a_remedy(ask, reply, message):
    with Server(lambda request: reply) as server:
        started = time.monotonic()
        with pytest.raises(TeacherError, match=message) as caught:
            ask(server)
        assert time.monotonic() - started < 15  # far below teacher.patience
        assert len(server.requests) <= 4 + 1  # one asks whether other requests are refused too
        assert f"127.0.0.1:{server.port}" in str(caught.value) and "the prompt" not in str(caught.value)


def test_a_lasting_fault_later_keeps_what_came_before(ask):
    message = r"revoked.*\n9 of 18 new pairs"
    with (
        Server(script=[None] * 9 + [error(401, "revoked")] * 50) as server,
        pytest.raises(TeacherError, match=message),
    ):
        ask(server)
    with Server() as server:
        ask(server)
        assert len(server.requests) == 9


def test_a_server_that_is_not_there_or_stays_away_ends_after_patience(ask, tmp_path):
    with Server() as server:
        pass
    with pytest.raises(TeacherError, match=r"ConnectionRefusedError.*Check that the server is up"):
        ask(server, patience=0.2)
    with Server(script=[None] * 5 + [Reply(fault="drop")] * 1000) as server:
        with pytest.raises(TeacherError, match=r"no answer to any request for .* \(teacher\.patience\)"):
            ask(server, patience=0.3)
        sent = len(server.requests)
    with VerdictStore(tmp_path / "verdicts.sqlite") as store:  # which counts unanswered requests too
        (row,) = summary(store)
    assert row["requests"] >= sent > 9 and row["verdicts"] == 5


@pytest.mark.parametrize("fault", [error(500, "cannot do this one"), completion("Let me", finish="length")])
def test_a_few_requests_that_keep_failing_are_left_out_and_asked_next_time(ask, fault):
    def answer(request):
        return fault if "document 3\n" in prompt(request) else completion("yes")

    with Server(answer, delay=0.01) as server:
        verdicts, teacher = ask(server, make_pairs(documents=60), patience=0.1)
        assert teacher.cost.failed == 3 and (verdicts.answer == NONE).sum() == 3
    with Server() as server:
        verdicts, _ = ask(server, make_pairs(documents=60))
        assert len(server.requests) == 3 and set(verdicts.answer) == {YES}


def test_a_model_that_answers_something_else_is_stopped_early(ask):
    message = r"none of the first 5\d answers .*'Let me think about'.*max_tokens"
    with Server(lambda request: completion("Let me think about")) as server:
        with pytest.raises(TeacherError, match=message):
            ask(server, make_pairs(documents=50))
        assert len(server.requests) < 60


def test_an_interrupt_keeps_the_answers_that_are_under_way(ask):
    pairs = make_pairs(documents=40)

    def interrupt(request):
        if len(server.requests) == 30:
            signalled.set()
        return completion("yes")

    # A shell lets its background jobs ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    signalled = threading.Event()
    with Server(interrupt, delay=0.02) as server:

        def send():
            signalled.wait()
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=send).start()
        try:
            with pytest.raises(KeyboardInterrupt):
                ask(server, pairs)
        finally:
            signal.signal(signal.SIGINT, before)
        asked = len(server.requests)
        ask(server, pairs)
        assert asked < 60 and len(server.requests) == 120  # not one was asked twice


@pytest.mark.parametrize("times", [1, 2])
def test_a_first_interrupt_is_raised_in_the_end_and_a_second_at_once(times):
    before, steps = signal.signal(signal.SIGINT, signal.default_int_handler), []
    try:
        with pytest.raises(KeyboardInterrupt), dispatch.first_interrupt(lambda: steps.append("told")):
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
                steps.append("goes on")
        assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["told", "goes on"]


# --- the key ---


def test_the_key_appears_nowhere(ask, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    echo = error(401, f"Incorrect API key provided: {KEY}")
    texts = []
    for script in ([echo] * 50, [error(500, f"Bearer {KEY}")] * 50, [Reply(fault="drop")] * 50):
        with Server(script=script) as server, pytest.raises(TeacherError) as caught:
            ask(server, patience=0.05)
        texts.append("".join(traceback.format_exception(caught.value)))
    with Server() as server:
        _, teacher = ask(server)
    texts += [str(teacher.identity), repr(teacher), repr(teacher.cost), str(teacher.plan(make_pairs()))]
    texts += [record.getMessage() for record in caplog.records]
    texts += [*capfd.readouterr()]
    texts += [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
    assert any("[key]" in text for text in texts)
    for text in texts:
        assert KEY not in text and KEY[8:20] not in text


def test_a_missing_or_malformed_key_is_explained_without_showing_it(ask, tmp_path, monkeypatch):
    with Server() as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
        ask(server)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        monkeypatch.setenv("OPENAI_API_KEY", KEY + " é")
        with pytest.raises(TeacherError, match="characters that no key has") as caught:
            ask(server, make_pairs(documents=9))
        assert KEY not in str(caught.value)
        monkeypatch.delenv("OPENAI_API_KEY")
        ask(server, make_pairs(documents=9))  # a local server needs none
        monkeypatch.delenv("OPENAI_BASE_URL")
        with (
            lmtx.teachers.build(make_config(), store=tmp_path / "other", corpus=None) as teacher,
            pytest.raises(TeacherError, match="no OPENAI_API_KEY in the environment"),
        ):
            teacher.judge(make_pairs(), progress=False)


def test_credentials_in_the_address_are_not_shown(ask, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:hunter2@127.0.0.1:1/v1")
    assert address() == "http://127.0.0.1:1/v1"
