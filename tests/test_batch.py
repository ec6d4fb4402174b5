"""The Batch API: the same verdicts, and nothing sent twice."""

import json

import pytest
from judging import make_pairs
from servers import BatchApi, Server, completion, error, prompt

from lmtx.llm.faults import BudgetError, TeacherError
from lmtx.teachers import batches
from lmtx.teachers.pairs import NO, NONE, YES


@pytest.fixture
def quick_polls(monkeypatch):
    monkeypatch.setattr(batches, "FIRST_POLL", 0.01)
    monkeypatch.setattr(batches, "LAST_POLL", 0.01)


def by_document(request):
    number = int(prompt(request).partition("\ndocument ")[2].partition("\n")[0])
    if "JSON" in prompt(request):
        return completion("no JSON" if number == 3 else json.dumps({str(i): "yes" for i in (1, 2, 3)}))
    return completion("yes" if number % 2 == 0 else "no")


def test_batches_give_the_same_verdicts(ask, quick_polls, monkeypatch):
    monkeypatch.setattr(batches, "LINES", 7)
    api = BatchApi(by_document)
    with Server(api) as server:
        verdicts, teacher = ask(server, batch=True)
    assert len(api.created) == 3 and len(api.lines()) == 18 == teacher.cost.requests
    assert verdicts.answer.tolist() == (make_pairs().rows % 2 == 0).astype(int).tolist()
    with Server(by_document) as server:
        again, _ = ask(server)  # the same verdicts, whichever way they came
        assert server.requests == [] and again.answer.tolist() == verdicts.answer.tolist()


def test_listwise_batches_fall_back_to_pointwise(ask, quick_polls):
    api = BatchApi(by_document)
    with Server(api) as server:
        verdicts, _ = ask(server, batch=True, mode="listwise")
    assert [len(api.files[b["input_file_id"]].splitlines()) for b in api.created.values()] == [6, 3]
    assert verdicts.answer.reshape(6, 3).tolist() == [[YES] * 3] * 3 + [[NO] * 3] + [[YES] * 3] * 2


@pytest.mark.parametrize("mode", ["pointwise", "listwise"])
def test_a_batch_of_an_interrupted_run_is_taken_up(ask, quick_polls, monkeypatch, mode):
    api = BatchApi(by_document, polls=5)
    with Server(api) as server:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(batches.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
            ask(server, batch=True, mode=mode)
        assert len(api.created) == 1
        ask(server, batch=True, mode=mode)
        sent = len(api.created)
        assert sent == (1 if mode == "pointwise" else 2)  # listwise: the fallback of document 3
        lines = len(api.lines())
        ask(server, make_pairs(documents=7), batch=True, mode=mode)
        assert len(api.created) == sent + 1 and len(api.lines()) - lines == (3 if mode == "pointwise" else 1)


def test_failed_lines_of_a_batch_are_not_stored(ask, quick_polls):
    faults = {"0": error(500, "oops"), "1": error(400, "filtered", code="content_filter")}
    api = BatchApi(lambda r: faults.get(prompt(r).partition("\ndocument ")[2][0], completion("yes")))
    with Server(api) as server:
        verdicts, teacher = ask(server, batch=True, max_missing=1.0)
        assert verdicts.answer.reshape(6, 3).tolist() == [[NONE] * 3] * 2 + [[YES] * 3] * 4
        assert teacher.cost.failed == 3
        ask(server, batch=True, max_missing=1.0)
        assert len(api.lines()) == 18 + 3


def test_batches_learn_which_parameters_to_leave_out(ask, quick_polls):
    def picky(request):
        if "top_logprobs" in request.body:
            return error(400, "'top_logprobs' is not supported", param="top_logprobs")
        return completion("yes")

    api = BatchApi(picky)
    with Server(api) as server:
        verdicts, _ = ask(server, batch=True)
    assert set(verdicts.answer) == {YES} and len(api.created) == 3  # 20 alternatives, then 5, then none


def test_a_server_without_batches_is_explained(ask):
    message = r"Batch API at this address\? If not, set teacher\.batch=false"
    with Server(lambda r: error(404, "Not Found")) as server, pytest.raises(TeacherError, match=message):
        ask(server, batch=True)


def test_a_refused_batch_is_reported_with_its_reason(ask, quick_polls):
    class Refusing(BatchApi):
        def _poll(self, batch):
            errors = {"object": "list", "data": [{"code": "x", "message": "Enqueued token limit reached"}]}
            return batch | {"status": "failed", "errors": errors}

    message = r"refused batch batch-0: Enqueued token limit reached"
    with Server(Refusing(by_document)) as server, pytest.raises(TeacherError, match=message):
        ask(server, batch=True)


def test_budgets_hold_for_batches(ask, quick_polls):
    api = BatchApi(by_document)
    with Server(api) as server:
        with pytest.raises(BudgetError, match=r"max_requests = 7 is reached[^\n]*\n7 of 18"):
            ask(server, batch=True, max_requests=7)
        ask(server, batch=True, max_requests=11)
    assert len(api.lines()) == 18
