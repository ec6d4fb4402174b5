"""Texts that a language model writes: kept for good, asked once, read whatever their form."""

import json

import pytest
import torch
from judging import KEY, make_config
from servers import Reply, Server, completion, error, prompt
from tiny_models import local_config, save_answering_model, save_random_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmtx.llm import dispatch
from lmtx.llm.chat import Question, read_items, read_selection
from lmtx.llm.faults import BudgetError, TeacherError
from lmtx.teachers.base import TooFewAnswersError
from lmtx.teachers.records import merge
from lmtx.teachers.store import VerdictStore
from lmtx.teachers.writer import build_writer

pytestmark = pytest.mark.usefixtures("one_thread")

# --- what an answer says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. red apple\n2. blue car\n", ["red apple", "blue car"]),
        ("Here they are:\n\n1) red apple\n2) blue car\n\nI hope this helps!", ["red apple", "blue car"]),
        ("- **red apple**\n* “blue car”,\n• 3. sky", ["red apple", "blue car", "sky"]),
        ("Labels:\nred apple\n\nblue car", ["red apple", "blue car"]),
        ('["red apple", "blue car"]', ["red apple", "blue car"]),
        ('Sure:\n```json\n{"labels": ["red apple", "blue car"]}\n```\nDone.', ["red apple", "blue car"]),
        ('{"1": "red apple", "2": "blue car"}', ["red apple", "blue car"]),
        ('[{"document": "fruit", "labels": ["red", "green"]}]', ["fruit => red; green"]),
        ("```\nred apple\n```", ["red apple"]),
        ("<think>1. no\n2. never</think>\n1. red apple", ["red apple"]),
        ("[1] red apple\n[2] blue car", ["[1] red apple", "[2] blue car"]),
        ("<think>endless", []),
        ("[null, 7, true]", ["7", "True"]),
        ("", []),
    ],
)
def test_a_list_is_read_in_any_form(text, items):
    assert read_items(text) == items


LABELS = ["red apple", "2001: a film", "blue car: a car", "sky", "tree", "sea", "sand"]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("3, 1", [2, 0]),
        ("3, 1 and 7.", [2, 0, 6]),
        ("3", [2]),
        ("3.\n1.\n", [2, 0]),
        ("[3, 1]", [2, 0]),
        ('```json\n{"selected": ["3", "1"]}\n```', [2, 0]),
        ("1. 3\n2. 1\n3. 7", [2, 0, 6]),
        ("1. #3: something\n2. #1 (else)", [2, 0]),
        ("- 3. blue car: a car\n- 1. red apple", [2, 0]),
        ("1. sky\n2. red apple\n3. 2001: a film", [3, 0, 1]),
        ('["sky", "Red  apple"]', [3, 0]),
        ("2. 2001: a film", [1]),
        ("3. a vehicle\n1. a fruit", [2, 0]),
        ("The numbers are: 3, 1", [2, 0]),
        ("Here are the 4 best:\n3\n1", [2, 0]),
        ("I would choose 3, then 1.", [2, 0]),
        ("3, 3, 99, 0, 1", [2, 0]),
        ("none of them", []),
        ("<think>1, 2, 3", []),
        ("", []),
    ],
)
def test_a_selection_is_read_in_any_form(text, places):
    assert read_selection(text, LABELS) == places


# --- behind an address -------------------------------------------------------------------------


def questions(n, tokens=20):
    return [Question(f"question {i}", tokens) for i in range(n)]


def echo(request):
    return completion(f"answer to {prompt(request)}", answer_tokens=5)


@pytest.fixture
def writing(tmp_path, monkeypatch):
    """`writing(server, **config)` builds a writer; all share one store."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(dispatch, "backoff", lambda attempt, chance: 0.02 * (attempt + 1))
    opened = []

    def build(server, **changes):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        opened.append(build_writer(make_config(**changes), store=tmp_path / "verdicts.sqlite"))
        return opened[-1]

    yield build
    for writer in opened:
        writer.close()


def test_answers_are_kept_and_equal_questions_asked_once(writing):
    asked = [*questions(5), *questions(3)]
    with Server(echo) as server:
        writer = writing(server)
        assert writer.stored(asked) == [None] * 8
        texts = writer.write(asked, "texts", progress=False)
        assert texts == [f"answer to question {i}" for i in (0, 1, 2, 3, 4, 0, 1, 2)]
        assert len(server.requests) == 5
        assert (writer.cost.requests, writer.cost.verdicts, writer.cost.answer_tokens) == (5, 5, 25)
        sent = server.requests[0].body
        assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("scripted", 0, 20 + 4)
        assert not {"logprobs", "response_format"} & set(sent)
        again = writing(server, concurrency=1, name="other")
        assert again.write(asked, "texts", progress=False) == texts == again.stored(asked)
        assert (again.cost.requests, again.cost.cached) == (0, 8)
        # Another model, setting or length of the answer is another text.
        for changes, tokens in (({"model": "b"}, 20), ({"extra": {"seed": 1}}, 20), ({"max_tokens": 5}, 20)):
            assert writing(server, **changes).stored(questions(5, tokens)) == [None] * 5
        assert writing(server).stored(questions(5, 21)) == [None] * 5


def test_plan_says_what_writing_then_takes(writing, prices):
    prices("scripted: {prompt: 2.0, answer: 8.0}")
    asked = [*questions(6), *questions(2)]
    with Server(echo) as server:
        plan = writing(server).plan(asked)
        assert server.requests == []
        assert (plan.pairs, plan.cached, plan.requests, plan.answer_tokens) == (8, 0, 6, 6 * 24)
        assert plan.prompt_tokens == 6 * (3 + 8)  # "question 1" has ten bytes, four a token
        assert plan.usd == pytest.approx(66 * 2e-6 + 144 * 8e-6)
        assert "answers to write" in str(plan)
        writer = writing(server)
        writer.write(asked, "texts", progress=False)
        assert writer.cost.usd == pytest.approx(600 * 2e-6 + 30 * 8e-6)
        after = writing(server).plan([*asked, *questions(7)])
        assert (after.cached, after.requests) == (14, 1)
        assert after.seconds is not None
        assert "time as measured in earlier runs" in str(after) and "takes 3 s" not in str(after)


def test_limits_stop_and_running_again_goes_on(writing):
    with Server(echo) as server:
        with pytest.raises(BudgetError, match=r"max_requests = 4 [^\n]*\n4 of 10 new texts \(texts\)"):
            writing(server, max_requests=4).write(questions(10), "texts", progress=False)
        assert len(server.requests) == 4
        writing(server).write(questions(10), "texts", progress=False)
        assert len(server.requests) == 10 and set(server.prompts().values()) == {1}


def test_a_failed_request_is_not_stored_and_a_refused_answer_is_empty(writing):
    def answer(request):
        number = prompt(request).split()[-1]
        return {
            "0": error(400, "no"),
            "1": error(400, "filtered", code="content_filter"),
            "2": completion("half", finish="content_filter"),
            "3": completion(None, refusal="I can't"),
        }.get(number) or echo(request)

    asked = [questions(6)[5], *questions(5)]
    with Server(answer) as server:
        writer = writing(server, concurrency=1, max_missing=0.7)
        texts = writer.write(asked, "texts", progress=False)
        assert texts == ["answer to question 5", None, "", "", "", "answer to question 4"]
        assert writer.cost.failed == 1
        with pytest.raises(TooFewAnswersError, match="4 of 6 texts are missing: 1 were not answered"):
            writing(server, concurrency=1, max_missing=0.5, model="b").write(asked, "texts", progress=False)
    with Server(echo, script=[Reply(status=500), Reply(fault="drop")]) as server:  # passing faults
        writer = writing(server, max_missing=0.7)
        assert writer.write(asked, "texts", progress=False)[1] == "answer to question 0"
        assert set(server.prompts()) == {"question 0"}


def test_a_model_that_only_thinks_is_stopped_early(writing):
    with Server(lambda request: completion("<think>hmm")) as server:
        with pytest.raises(TeacherError, match=r"scripted answered nothing.*raise teacher\.max_tokens"):
            writing(server).write(questions(60), "texts", progress=False)
        assert len(server.requests) <= 8


def test_odd_texts_are_kept(writing):
    """Half of a surrogate pair, as JSON can carry it, and a NUL."""
    with Server(lambda r: Reply(json.dumps(completion("a\ud83d\0b")).encode())) as server:
        assert writing(server).write(questions(2), "texts", progress=False) == ["a?\0b"] * 2


def test_the_first_of_two_answers_stays_and_merging_takes_them_over(writing, tmp_path):
    with Server(echo) as server:
        writing(server).write(questions(2), "texts", progress=False)
        path = tmp_path / "other.sqlite"
        with build_writer(make_config(), store=path) as other:
            other.write(questions(3), "texts", progress=False)
            for key in other._keys(questions(1)):
                other.store.save_texts(1, {key: "later"})
            assert other.stored(questions(1)) == ["answer to question 0"]
        with VerdictStore(tmp_path / "verdicts.sqlite") as mine:
            merge(mine, path)
            merge(mine, path)
        assert writing(server).stored(questions(4))[2:] == ["answer to question 2", None]


def test_a_teacher_that_does_not_write_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the ensemble teacher writes no text"):
        build_writer(make_config().model_copy(update={"kind": "ensemble"}), store=tmp_path / "v.sqlite")


# --- in this process ---------------------------------------------------------------------------


def local(model, **changes):
    return local_config(model, **({"document_tokens": 8, "batch_tokens": 300} | changes))


PROMPTS = ["sort", "sort the matrix and plot a graph of its values " * 3, "index file <|im_end|> yes", "tree"]


@pytest.mark.parametrize("chat", [True, False])
def test_a_batch_writes_what_the_model_writes_alone(tmp_path, chat):
    folder = save_random_model(tmp_path / "model", tokenizer=tiny_tokenizer(chat=chat), seed=3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Advice on drawing at random, which a greedy writer does not take.
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generation_config.update(do_sample=True, temperature=2.0, repetition_penalty=3.0)
    model.save_pretrained(folder)
    with build_writer(local(folder), store=tmp_path / "v.sqlite") as writer:
        asked = [Question(text, 12) for text in PROMPTS]
        plan = writer.plan(asked)
        texts = writer.write(asked, "texts", progress=False)
        assert (plan.requests, plan.prompt_tokens) == (4, writer.cost.prompt_tokens)
        assert 0 < writer.cost.answer_tokens <= plan.answer_tokens == 48
        assert writer.plan(asked).requests == 0
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for text, written in zip(PROMPTS, texts, strict=True):
        frame = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n") if chat else ("", "\nAnswer:")
        parts = (tokenizer(frame[0]), tokenizer(text, split_special_tokens=True), tokenizer(frame[1]))
        ids = [token for part in parts for token in part["input_ids"]]
        start = len(ids)
        while len(ids) < start + 12:
            with torch.no_grad():
                likeliest = model(torch.tensor([ids])).logits[0, -1].argmax().item()
            if likeliest == tokenizer.eos_token_id:
                break
            ids.append(likeliest)
        assert written == tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("allowed", [64, 100_000])
def test_a_batch_on_a_cpu_is_as_large_as_its_keys_and_values(tmp_path, monkeypatch, allowed):
    """Memory that runs out there is no error, but the end of the process."""
    folder = save_answering_model(tmp_path / "m")
    with build_writer(local(folder, batch_tokens=allowed), store=tmp_path / "v.sqlite") as writer:
        layers = writer.model.weights(torch.tensor([[1] * 10])).past_key_values.layers
        token = sum(part.nbytes for layer in layers for part in (layer.keys, layer.values)) // 10
        monkeypatch.setattr("lmtx.llm.local._CPU_CACHE", 200 * token)
        sizes, generate = [], writer.model.weights.generate
        writer.model.weights.generate = lambda input_ids, **more: (
            sizes.append(input_ids.shape), generate(input_ids=input_ids, **more))[1]  # fmt: skip
        asked = [Question(f"sort {i}", 9) for i in range(40)]
        assert set(writer.write(asked, "texts", progress=False)) <= {"yes", "no"}
    assert sum(rows for rows, _ in sizes) == 40
    assert all(rows == 1 or rows * (width + 9) <= 200 for rows, width in sizes) and len(sizes) < 40


def test_the_head_multiplies_whole_states(tmp_path):
    """Else torch copies its weights, 0.5 GB of a 1.5B model, for each answer that is written at once."""
    with build_writer(local(save_answering_model(tmp_path / "m")), store=tmp_path / "v.sqlite") as writer:
        inputs, head = [], writer.model.weights.get_output_embeddings()
        head.register_forward_pre_hook(lambda _, states: inputs.append(states[0]))
        writer.write([Question(f"sort {i}", 9) for i in range(4)], "texts", progress=False)
    assert len(inputs[0]) == 4 and all(states.is_contiguous() for states in inputs)


def test_an_answer_ends_where_the_model_ends_it(tmp_path):
    with build_writer(local(save_answering_model(tmp_path / "m")), store=tmp_path / "v.sqlite") as writer:
        texts = writer.write([Question(text, 9) for text in PROMPTS], "texts", progress=False)
        assert set(texts) <= {"yes", "no"}
        assert writer.cost.answer_tokens == 8  # a word and the end of the message each
        # Eight tokens of four bytes, counted without the tokenizer.
        assert writer.cut(["sort " * 50, "né" * 50, "a"]) == ["sort " * 6 + "so", "né" * 10 + "n", "a"]
    with build_writer(local(tmp_path / "m"), store=tmp_path / "v.sqlite") as writer:
        assert writer.write([Question(text, 9) for text in PROMPTS], "texts", progress=False) == texts
        assert "weights" not in vars(writer.model)  # a run that the store can answer needs no weights


def test_a_prompt_too_long_for_the_model_is_explained(tmp_path):
    folder = save_random_model(tmp_path / "model", max_position_embeddings=64)
    with (
        build_writer(local(folder), store=tmp_path / "v.sqlite") as writer,
        pytest.raises(TeacherError, match=r"reads 64; lower teacher\.document_tokens, now 8, by at least"),
    ):
        writer.write([Question("word " * 60, 8)], "texts", progress=False)
