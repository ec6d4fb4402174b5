"""Teachers behind an OpenAI-compatible address: what is sent, what it costs, what comes back."""

import asyncio
import math
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openai
import pytest
from judging import KEY, make_config, make_pairs
from servers import Server, completion, error, judge_by_length, prompt, with_logprobs

import lmtx.teachers
from lmtx.config import ConfigError, Price, load_price
from lmtx.llm.faults import BudgetError
from lmtx.teachers.pairs import NO, NONE, YES
from lmtx.teachers.prompts import Wording
from lmtx.teachers.store import VerdictStore


def test_pointwise_answers_by_text(ask):
    def answer(request):
        label = prompt(request).rpartition("“label ")[2][0]
        return completion({"0": "Yes", "1": "no", "2": "hard to say", "3": ""}[label])

    with Server(answer) as server:
        verdicts, teacher = ask(server, max_missing=1.0)
        assert server.most_at_once <= 4
    expected = {0: YES, 1: NO, 2: NONE, 3: NONE}
    pairs = make_pairs()
    assert verdicts.answer.tolist() == [expected[c] for c in pairs.columns.tolist()]
    assert np.isnan(verdicts.p_yes[verdicts.answer == NONE]).all()
    assert set(verdicts.p_yes[verdicts.answer == YES]) == {1.0}
    assert (teacher.cost.requests, teacher.cost.prompt_tokens, teacher.cost.answer_tokens) == (18, 1800, 18)
    sent = server.requests[0]
    assert (sent.body["model"], sent.body["temperature"], sent.body["max_tokens"]) == ("scripted", 0, 4)
    assert sent.body["logprobs"] is True and sent.body["top_logprobs"] == 20
    assert sent.headers["authorization"] == f"Bearer {KEY}"


def test_pointwise_uses_log_probabilities_where_the_server_gives_them(ask):
    tops = {"yes": math.log(0.2), "Yes": math.log(0.1), "no": math.log(0.6), "The": math.log(0.1)}
    with Server(lambda request: with_logprobs("yes", [tops])) as server:
        verdicts, _ = ask(server)
    assert verdicts.p_yes == pytest.approx(0.3 / 0.9, abs=1e-6)
    assert set(verdicts.answer) == {NO}


def test_listwise_asks_once_a_document(ask):
    with Server(judge_by_length) as server:
        verdicts, _ = ask(server, mode="listwise")
        assert len(server.requests) == 6
        assert server.requests[0].body["response_format"] == {"type": "json_object"}
    assert set(verdicts.answer) == {NO}  # all labels have seven letters
    assert len(verdicts.answer) == 18


def test_a_bad_listwise_answer_falls_back_to_pointwise(ask):
    def answer(request):
        text = prompt(request)
        if "JSON" in text:
            whole = '{"1": "yes", "2": "yes", "3": "?"}'
            return completion(whole[:12] if "document 3" in text else whole)
        return completion("no")

    with Server(answer) as server:
        verdicts, teacher = ask(server, mode="listwise", max_missing=0.5)
        assert len(server.requests) == 6 + 3 == teacher.cost.requests
    answers = verdicts.answer.reshape(6, 3).tolist()
    assert answers[3] == [NO, NO, NO]
    assert answers[:3] + answers[4:] == [[YES, YES, NONE]] * 5


def test_refusals_and_filtered_content_are_none(ask):
    def answer(request):
        number = prompt(request).partition("\ndocument ")[2][0]
        return {
            "0": completion(None, refusal="I can't judge this."),
            "1": completion("yes", finish="content_filter"),
            "2": error(400, "The response was filtered", code="content_filter"),
        }.get(number, completion("yes"))

    with Server(answer) as server:
        verdicts, _ = ask(server, max_missing=0.6)
        assert verdicts.answer.reshape(6, 3).tolist() == [[NONE] * 3] * 3 + [[YES] * 3] * 3
        asked = len(server.requests)
        ask(server, max_missing=0.6)
        assert len(server.requests) == asked  # stored as none, and not asked again


def test_works_where_an_event_loop_runs_already(ask):
    async def notebook_cell(server):
        return ask(server)[0]

    with Server() as server:
        verdicts = asyncio.run(notebook_cell(server))
    assert set(verdicts.answer) == {YES}
    assert not [t for t in threading.enumerate() if t.name == "lmtx-requests"]


def test_unknown_parameters_are_left_out(ask):
    def picky(request):
        body = request.body
        if body.get("top_logprobs", 0) > 5:
            return error(400, "Requested sample logprobs of 20, which is greater than max allowed: 5")
        if "temperature" in body:
            return error(400, "Unsupported value: 'temperature' does not support 0", param="temperature")
        if "max_tokens" in body:
            return error(400, "Use 'max_completion_tokens' instead of 'max_tokens'", param="max_tokens")
        if "logprobs" in body:
            return error(403, "You are not allowed to request logprobs from this model")
        return completion("yes")

    with Server(picky) as server:
        verdicts, _ = ask(server)
        last = server.requests[-1].body
        assert {r.body.get("top_logprobs") for r in server.requests} == {20, 5, None}
    assert set(verdicts.answer) == {YES}
    assert not {"temperature", "logprobs", "top_logprobs", "max_tokens"} & set(last)
    assert last["max_completion_tokens"] == 4


def test_extra_parameters_are_sent_and_change_the_verdicts_identity(ask):
    with Server() as server:
        ask(server, extra={"reasoning_effort": "low"})
        assert server.requests[0].body["reasoning_effort"] == "low"
        sent = len(server.requests)
        ask(server, extra={"reasoning_effort": "high"})
        assert len(server.requests) == 2 * sent
        ask(
            server, extra={"reasoning_effort": "high"}, concurrency=9, timeout=5.0, patience=1.0, name="other"
        )
        assert len(server.requests) == 2 * sent


# --- plan, price, budgets ---


def test_plan_says_what_judging_then_sends(ask, prices):
    prices("scripted: {prompt: 2.0, cached: 0.5, answer: 8.0}")
    for mode, requests in (("pointwise", 18), ("listwise", 6)):
        with Server(judge_by_length) as server:
            plan, _ = ask(server, mode=mode, plan=True)
            assert server.requests == []
            assert (plan.pairs, plan.cached, plan.requests) == (18, 0, requests)
            _, teacher = ask(server, mode=mode)
            assert len(server.requests) == requests
            letters = sum(len(prompt(r).encode()) for r in server.requests)
            assert plan.prompt_tokens == pytest.approx(letters / 4 + 8 * requests, rel=0.02)
            assert plan.usd == pytest.approx(plan.prompt_tokens * 2e-6 + plan.answer_tokens * 8e-6)
            assert teacher.cost.usd == pytest.approx(
                teacher.cost.prompt_tokens * 2e-6 + teacher.cost.answer_tokens * 8e-6
            )
            after, _ = ask(server, mode=mode, plan=True)
            assert (after.cached, after.requests, after.usd, after.seconds) == (18, 0, 0.0, 0.0)


def test_plan_of_many_documents_counts_a_sample(ask):
    with Server() as server:
        plan, _ = ask(server, make_pairs(documents=2000, labels=50, k=5), plan=True)
    assert plan.requests == 10_000
    assert "500 of 2,000 documents" in str(plan)
    wording = Wording.of("tag")
    short, long = (
        len(wording.prefix(f"title\ndocument {i}") + wording.suffix("label 10")) for i in (1, 1999)
    )
    assert short / 4 < plan.prompt_tokens / 10_000 - 8 < long / 4 + 2
    assert plan.usd is None and "unknown" in str(plan)


def test_cached_and_batched_tokens_are_cheaper():
    price = Price(prompt=2.0, answer=8.0, cached=0.5, batch=0.5)
    assert price.usd(1e6, 1e6) == 10.0
    assert price.usd(1e6, 0, cached=4e5) == pytest.approx(0.6 * 2.0 + 0.4 * 0.5)
    assert price.usd(1e6, 1e6, batch=True) == 5.0
    assert Price(prompt=2.0, answer=8.0).usd(1e6, 0, cached=4e5) == 2.0


def test_price_table(prices):
    assert load_price("any") is None
    prices("mine: {prompt: 1, answer: 2}\nbad: {prompt: -1, answer: 2}\n")
    assert load_price("mine") == Price(prompt=1, answer=2)
    assert load_price("other") is None
    with pytest.raises(ConfigError, match=r"prices\.yaml: `bad` is"):
        load_price("bad")


def test_max_requests_stops_and_running_again_goes_on(ask):
    pairs = make_pairs()
    message = r"max_requests = 7 is reached[^\n]*\n7 of 18 .* 11 are missing"
    with Server() as server:
        with pytest.raises(BudgetError, match=message):
            ask(server, pairs, max_requests=7)
        assert len(server.requests) == 7
        verdicts, _ = ask(server, pairs, max_requests=11)
        assert len(server.requests) == 18 and set(server.prompts().values()) == {1}
    assert set(verdicts.answer) == {YES}


def test_max_cost_is_not_passed(ask, prices):
    with Server() as server:
        with pytest.raises(ConfigError, match=r"no price of 'scripted'"):
            ask(server, max_cost=1.0)
        prices("scripted: {prompt: 1000, answer: 0}")
        with pytest.raises(BudgetError, match=r"max_cost = \$1\.0000 is reached \(\$[01]\.\d+ spent\)"):
            ask(server, max_cost=1.0)  # a request costs 10 cents
        assert 0 < len(server.requests) <= 10


def test_two_teachers_keep_to_one_limit(tmp_path, monkeypatch, prices):
    """A request costs 10 cents: 18 pairs in one wording leave 20 cents for two in another."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    prices("scripted: {prompt: 1000, answer: 0}")
    budget = lmtx.teachers.Budget(2.0)
    options = {"store": tmp_path / "v.sqlite", "corpus": None, "budget": budget}
    with Server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with lmtx.teachers.build(make_config(max_cost=99.0), **options) as first:
            first.judge(make_pairs(), progress=False)
        with (
            lmtx.teachers.build(make_config(prompt="strict", concurrency=1), **options) as second,
            pytest.raises(BudgetError, match=r"max_cost = \$2\.0000 is reached \(\$\d\.\d+ spent\)"),
        ):
            second.judge(make_pairs(), progress=False)
    spent = first.cost.usd + second.cost.usd
    assert (budget.spent, budget.reserved) == (pytest.approx(spent), pytest.approx(0))
    assert (first.cost.requests, second.cost.requests) == (18, 2)


def test_work_is_prepared_only_as_it_is_done(ask, monkeypatch):
    """However many pairs there are, few requests exist at a time."""
    made, ahead = 0, []
    write = Wording.suffix

    def counted(self, label):
        nonlocal made
        made += 1
        return write(self, label)

    def answer(request):
        ahead.append(made - len(ahead))
        return completion("yes")

    monkeypatch.setattr(Wording, "suffix", counted)
    with Server(answer, delay=0.002) as server:
        ask(server, make_pairs(documents=30), concurrency=8)
    assert len(ahead) == 90
    assert max(ahead) <= 8 + 3  # those in work, and the rest of a document


def test_asking_costs_little_more_than_the_client_itself(ask):
    """64 requests are in work, for less than twice the CPU time of a bare loop around the openai client."""
    pairs = make_pairs(documents=50, labels=50, k=10)
    question = "<document>\ndocument 1\n</document>\n\nIs “label 1” a relevant tag? Answer yes or no."

    async def bare(url: str) -> None:
        http = openai.DefaultAioHttpClient()
        async with openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http) as client:
            gate = asyncio.Semaphore(64)

            async def send(_: int) -> None:
                async with gate:
                    message = {"role": "user", "content": question}
                    await client.chat.completions.create(
                        model="scripted", messages=[message], max_tokens=4, logprobs=True, top_logprobs=20
                    )

            await asyncio.gather(*map(send, range(len(pairs))))

    command = [sys.executable, str(Path(__file__).with_name("servers.py")), "0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = SimpleNamespace(url=server.stdout.readline().strip())
        started = time.process_time()
        asyncio.run(bare(address.url))
        between = time.process_time()
        _, teacher = ask(address, pairs, concurrency=64)
        bare_seconds, seconds = between - started, time.process_time() - between
        server.stdin.close()
        requests, at_once = map(int, server.stdout.read().split())
    assert teacher.cost.requests == len(pairs)
    assert (requests, at_once) == (2 * len(pairs), 64)
    assert seconds < 2 * bare_seconds, f"{seconds:.2f} s of CPU, the client alone {bare_seconds:.2f} s"


def test_no_request_is_sent_while_as_many_answers_wait_to_be_stored(ask, monkeypatch):
    """So that whatever kills the process loses at most the requests in work, however slow the disk is."""
    stored, waiting = 0, []
    save = VerdictStore.save

    def slow_save(self, teacher, keys, *columns):
        nonlocal stored
        time.sleep(0.01)
        save(self, teacher, keys, *columns)
        stored += len(keys)

    def answer(request):
        waiting.append(len(waiting) + 1 - stored)
        return completion("yes")

    monkeypatch.setattr(VerdictStore, "save", slow_save)
    with Server(answer) as server:
        ask(server, make_pairs(documents=20), concurrency=6)
    assert len(waiting) == 60
    assert max(waiting) <= 6
