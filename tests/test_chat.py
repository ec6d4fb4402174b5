"""What a reply says, whatever its fields hold: a verdict, none, or a fault with a name."""

import json
import math
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies as st
from judging import make_config, make_pairs
from servers import completion, with_logprobs

from lmtx.llm.chat import Question, Reply, usage, without_thought
from lmtx.llm.faults import Fault, ServerError, read_fault, read_json, unsupported
from lmtx.teachers.openai import OpenAITeacher
from lmtx.teachers.pairs import NO, NONE, YES
from lmtx.teachers.prompts import read_text
from lmtx.teachers.store import VerdictStore

QUESTION = Question("Is it?", 4, "word")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    with VerdictStore(tmp_path_factory.mktemp("store") / "v.sqlite") as store:
        yield OpenAITeacher(make_config(), store=store)


@pytest.fixture(scope="module")
def job(teacher):
    return next(teacher.jobs(make_pairs()))


# Each thought is as a template of a current model writes it; several begin in the prompt.
THOUGHTS = {
    "Qwen 3": "<think>\nNo mention of cats.\n</think>\n\n",
    "DeepSeek R1, begun in the prompt": "No mention of cats, but birds fit.\n</think>\n\n",
    "two thoughts": "<think>no</think>\n<think>Yes?\n</think>",
    "Magistral": "[THINK]No mention of cats.[/THINK]",
    "Seed-OSS": "<seed:think>No.</seed:think>",
    "Kimi-VL": "◁think▷No mention.◁/think▷",
    "Command A": "<|START_THINKING|>No.<|END_THINKING|><|START_RESPONSE|>",
    "OpenThinker": "<|begin_of_thought|>\nNo\n<|end_of_thought|>\n\n<|begin_of_solution|>\n",
    "Exaone": "<thought>\nNo mention.\n</thought>\n",
    "Apertus": "<|inner_prefix|>No.<|inner_suffix|>",
    "gpt-oss": "<|channel|>analysis<|message|>No.<|end|><|start|>assistant<|channel|>final<|message|>",
    "gpt-oss without its marks": "analysisNo mention of cats.assistantfinal",
    "Gemma": "<|channel>thought\nNo mention.\n<channel|>",
    "MedGemma": "<unused94>thought\nNo mention.<unused95>",
}


@pytest.mark.parametrize("thought", THOUGHTS.values(), ids=THOUGHTS)
def test_a_thought_is_no_answer(teacher, job, thought):
    assert without_thought(f"{thought}yes").strip() == "yes"
    # The log-probabilities of a thought's first token say nothing about the answer.
    body = with_logprobs(f"{thought}yes", [{"No": math.log(0.9), "Yes": math.log(0.1)}])
    assert teacher.read(job, Reply.of(QUESTION, body))[2].tolist() == [YES]


@pytest.mark.parametrize("thought", [t for t in THOUGHTS.values() if t[0] in "<[◁"])
def test_a_thought_without_an_end_is_no_answer(teacher, job, thought):
    begun = thought.partition("No")[0].partition("no")[0]
    assert without_thought(f"{begun}Yes, it may be. No") == ""
    assert teacher.read(job, Reply.of(QUESTION, completion(f"{begun}yes"))) is None


def test_a_thought_behind_the_answer_is_left_out_and_a_text_about_thoughts_stays():
    for text in ("Yes\n<reasoning>No cats.</reasoning>", "yes <think>no</think>", "Yes[THINK]no[/THINK]"):
        assert without_thought(text).strip().casefold() == "yes"
    for text in ("yes, I think", "I <think> so", "think: no", "<answer>yes</answer>", "The <b>no</b> fits"):
        assert without_thought(text) == text


def test_a_text_that_was_cut_off_answers_only_in_a_word_of_its_own():
    assert read_text("No mention of cats.", cut=False) == NO
    for text in ("No mention of cats", "Yes it is a"):  # perhaps a thought that began in the prompt
        assert read_text(text, cut=True) == NONE
    for text, answer in (("No, the document", NO), ("Yes.\n\nThe", YES), ("**Yes**", YES), ("yes", YES)):
        assert read_text(text, cut=True) == answer


NO_ANSWER = {
    "empty": completion(""),
    "null": completion(None),
    "blank": completion(" \n"),
    "only a thought": completion("", reasoning_content="I wonder"),
    "cut off": completion("Let me think about", finish="length"),
    "cut off, as its tokens tell": completion("Let me think about", finish=None, answer_tokens=4),
    "cut off before its first word": completion(None, finish="length"),
}


@pytest.mark.parametrize("body", NO_ANSWER.values(), ids=NO_ANSWER)
def test_no_answer_is_no_verdict(teacher, job, body):
    reply = Reply.of(QUESTION, body)
    assert teacher.read(job, reply) is None
    assert "raise teacher.max_tokens" in reply.shortfall("m")


def test_content_may_come_in_parts(teacher, job):
    def text(content):
        return {"type": "text", "text": content}

    thought = {"type": "thinking", "thinking": [text("No.")]}
    unknown = [{"type": "image_url", "image_url": {}}, None, 7]
    for content in (
        [text("Y"), text("es")],
        ["Yes"],
        [thought, text("Yes")],
        [*unknown, text("yes")],
        text("yes"),
    ):
        assert teacher.read(job, Reply.of(QUESTION, completion(content)))[2].tolist() == [YES]


def test_a_log_probability_that_is_none_is_left_out(teacher, job):
    for broken in (None, "x", True, math.nan, [], -(10**400), -math.inf):
        body = with_logprobs("no", [{"no": math.log(0.3), "yes": math.log(0.6), "maybe": broken}])
        _, (p_yes,), (answer,) = teacher.read(job, Reply.of(QUESTION, body))
        assert p_yes == pytest.approx(0.6 / 0.9) and answer == YES
        # Without any that can be read, the text answers.
        body = with_logprobs("no", [{"no": broken}])
        assert teacher.read(job, Reply.of(QUESTION, body))[1:] == (0.0, NO)


def test_usage_is_read_where_the_reply_is_not():
    unreadable = {"choices": [], "usage": {"prompt_tokens": 17, "completion_tokens": 50_000}}
    assert usage(QUESTION, unreadable) == (17, 0, 50_000)
    with pytest.raises(ServerError):
        Reply.of(QUESTION, unreadable)
    strange = {"prompt_tokens": "17", "completion_tokens": -1, "prompt_tokens_details": [9]}
    assert usage(QUESTION, completion("yes") | {"usage": strange}) == (QUESTION.about_tokens(), 0, 1)
    for nothing in ({"error": {"message": "slow down"}}, "<html>", None, []):
        assert usage(QUESTION, nothing) is None


ODD = (
    None, True, False, 0, 4, -1, 2.5, math.nan, math.inf, -math.inf, 10**400, -(10**400), "", "yes",
    "No way", "<think>no", "no</think>yes", '{"1": "no"}', "length", "content_filter", "429", "\ud83d",
    "\x1b", [], {}, [None], ["yes"], [[]], [{}], {"": None}, {"text": "no"},
    [{"type": "text", "text": "yes"}],
    {"code": 429}, {"message": 7},
)  # fmt: skip
WHOLE = with_logprobs(
    "Yes", [{"**": -0.1, "*": -3.0}, {"Yes": -0.4, " yes": -1.5, "no": -2.0, "maybe": -4.0}]
)
WHOLE["usage"]["prompt_tokens_details"] = {"cached_tokens": 20}
WHOLE["choices"][0]["message"] |= {"refusal": None, "reasoning_content": None, "reasoning": ""}
FAILED = {
    "error": {"message": "slow down", "type": "error", "code": None, "param": "x"},
    "detail": [{"msg": "y"}],
}


def paths(body, start=()):
    """The place of every value in a body, its own first."""
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [start, *(path for name, value in items for path in paths(value, (*start, name)))]


def altered(body, path, value):
    """A body with another value in this place; the same where it has no such place."""
    if not path:
        return value
    if not isinstance(body, dict | list):
        return body
    changed = body.copy()
    try:
        changed[path[0]] = altered(body[path[0]], path[1:], value)
    except (KeyError, IndexError, TypeError):
        return body
    return changed


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(
    changes=st.lists(st.tuples(st.sampled_from(paths(WHOLE | FAILED)), st.sampled_from(ODD)), max_size=4),
    failed=st.booleans(),
    status=st.sampled_from([200, 200, 200, 400, 403, 422, 429, 500]),
)
def test_any_reply_is_a_verdict_a_none_or_a_named_fault(teacher, job, changes, failed, status):
    body = WHOLE | FAILED if failed else WHOLE
    for path, value in changes:
        body = altered(body, path, value)
    assert_read(teacher, job, read_json(json.dumps(body).encode()), status)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    raw=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps(text).encode())
)
def test_any_bytes_are_a_named_fault(teacher, job, raw):
    assert_read(teacher, job, read_json(raw), 200)


def test_a_body_nested_very_deeply_is_a_named_fault(teacher, job):
    for start, end in ((b"[", b"]"), (b'{"error":', b"}")):
        for depth in (500, 100_000):
            assert_read(teacher, job, read_json(start * depth + b"1" + end * depth), 200)


def assert_read(teacher, job, body, status):
    tokens = usage(QUESTION, body)
    assert tokens is None or (tokens[0] > 0 and 0 <= tokens[1] <= tokens[0])
    try:
        if status != 200:
            raise ServerError(status, body)
        reply = Reply.of(QUESTION, body)
    except ServerError as error:
        assert unsupported(error) in (None, "max_tokens", "response_format", "temperature", "logprobs")
        fault = read_fault(error, "m")
        assert isinstance(fault, Fault) and fault.message.isprintable() and len(fault.message) < 1000
        return
    for one in (job, replace(job, listwise=True)):
        verdicts = teacher.read(one, reply)
        if verdicts is not None:
            _, p_yes, answer = verdicts
            assert set(answer.tolist()) <= {YES, NO, NONE}
            assert (math.isnan(p_yes[0]) and answer[0] == NONE) or 0 <= p_yes[0] <= 1
    assert reply.shortfall("m").isprintable()
