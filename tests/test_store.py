"""The verdict store, and what every teacher does with it."""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import defaultdict
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judging import judge, make_pairs, processes
from servers import Server, completion, prompt

from lmtx import cli
from lmtx.corpus import DOCUMENT_SCHEMA
from lmtx.llm.faults import TeacherError
from lmtx.teachers.base import Teacher, TooFewAnswersError
from lmtx.teachers.pairs import NO, NONE, YES, Pairs
from lmtx.teachers.records import export, merge, summary
from lmtx.teachers.store import StoreError, VerdictStore


class Scripted(Teacher):
    """Yes to even sums of row and column, none where `neither` says, nothing at all where `fails` says."""

    def __init__(self, store, identity=None, neither=(), fails=(), stop_after=None):
        super().__init__("scripted", identity or {"kind": "scripted"}, store)
        self.neither, self.fails, self.stop_after = set(neither), set(fails), stop_after
        self.asked: list[tuple[int, int]] = []

    def ask(self, pairs):
        for position, pair in enumerate(zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)):
            if len(self.asked) == self.stop_after:
                raise TeacherError("the teacher went home")
            self.asked.append(pair)
            if pair in self.fails:
                continue
            answer = NONE if pair in self.neither else YES if sum(pair) % 2 == 0 else NO
            p_yes = {YES: 0.75, NO: 0.25, NONE: np.nan}[answer]
            yield np.array([position]), np.array([p_yes], np.float32), np.array([answer], np.int8)


@pytest.fixture
def store(tmp_path):
    with VerdictStore(tmp_path / "folder" / "verdicts.sqlite") as opened:
        yield opened


def test_pairs_of_a_shortlist_skip_the_padding():
    pairs = make_pairs(documents=2, labels=5)
    ids = np.array([[4, -1, 1], [-1, -1, 0]], dtype=np.int32)
    pairs = Pairs.from_shortlist(pairs.documents, pairs.labels, ids)
    assert pairs.rows.tolist() == [0, 0, 1]
    assert pairs.columns.tolist() == [4, 1, 0]
    documents = list(pairs.by_document())
    assert [(d.uid, d.labels, d.positions.tolist()) for d in documents] == [
        ("d0", ["label 4", "label 1"], [0, 1]),
        ("d1", ["label 0"], [2]),
    ]


def test_pairs_outside_the_tables_are_refused():
    pairs = make_pairs(documents=2, labels=3)
    with pytest.raises(ValueError, match=r"columns run from 0 to 3.*from 0 to 2"):
        Pairs(pairs.documents, pairs.labels, np.array([0, 1]), np.array([0, 3]))


def test_judging_gives_the_answers_and_a_second_time_asks_nothing(store):
    pairs = make_pairs()
    first = Scripted(store)
    verdicts = first.judge(pairs, progress=False)
    even = (pairs.rows + pairs.columns) % 2 == 0
    assert verdicts.answer.tolist() == even.astype(int).tolist()
    assert verdicts.p_yes.tolist() == np.where(even, 0.75, 0.25).tolist()
    assert len(first.asked) == len(pairs) == first.cost.verdicts

    second = Scripted(store)
    again = second.judge(pairs, progress=False)
    assert second.asked == []
    assert (second.cost.cached, second.cost.verdicts) == (len(pairs), 0)
    assert again.answer.tolist() == verdicts.answer.tolist()
    assert again.p_yes.tolist() == verdicts.p_yes.tolist()


def test_another_identity_or_another_text_is_another_verdict(store):
    """And moving words between title and text makes another document."""
    pairs = make_pairs()
    Scripted(store, {"model": "a"}).judge(pairs, progress=False)
    other = Scripted(store, {"model": "b"})
    other.judge(pairs, progress=False)
    assert len(other.asked) == len(pairs)

    texts = pairs.documents["text"].to_pylist()
    changed = pairs.documents.set_column(2, "text", pa.array(["changed", *texts[1:]], pa.large_string()))
    teacher = Scripted(store, {"model": "a"})
    teacher.judge(Pairs(changed, pairs.labels, pairs.rows, pairs.columns), progress=False)
    assert {row for row, _ in teacher.asked} == {0}

    for title, text in (("a", "b c"), ("a b", "c")):
        documents = pa.table([["d"], [title], [text]], schema=DOCUMENT_SCHEMA)
        teacher = Scripted(store)
        teacher.judge(Pairs(documents, pairs.labels, np.array([0]), np.array([0])), progress=False)
        assert len(teacher.asked) == 1


def test_equal_pairs_are_asked_once_and_all_answered(store):
    documents = pa.table([["a", "b", "c"], ["t"] * 3, ["same", "other", "same"]], schema=DOCUMENT_SCHEMA)
    labels = make_pairs().labels
    pairs = Pairs(documents, labels, np.array([0, 1, 2]), np.array([1, 1, 1]))
    teacher = Scripted(store)
    verdicts = teacher.judge(pairs, progress=False)
    assert teacher.asked == [(0, 1), (1, 1)]
    assert verdicts.answer.tolist() == [NO, YES, NO]


def test_none_is_stored_and_asked_again_on_demand(store):
    pairs = make_pairs()
    verdicts = Scripted(store, neither={(2, 2)}).judge(pairs, progress=False)
    place = np.flatnonzero((pairs.rows == 2) & (pairs.columns == 2))[0]
    assert verdicts.answer[place] == NONE and np.isnan(verdicts.p_yes[place])

    silent = Scripted(store)
    silent.judge(pairs, progress=False)
    assert silent.asked == []
    insistent = Scripted(store)
    insistent.retry_none = True
    assert insistent.judge(pairs, progress=False).answer[place] == YES
    assert insistent.asked == [(2, 2)]
    # What is yes now does not become none again.
    keys = insistent.keys(pairs)
    store.save(1, keys[[place]], ["d2"], ["l2"], np.array([np.nan], np.float32), np.array([NONE], np.int8))
    assert store.lookup(keys[[place]])[1].tolist() == [YES]


@pytest.mark.parametrize("max_missing", [0.1, 1.0])
def test_failed_requests_are_not_stored_and_too_many_are_an_error(store, max_missing):
    pairs = make_pairs()
    teacher = Scripted(store, fails={(0, 0), (3, 3)}, neither={(1, 1)})
    teacher.max_missing = max_missing
    if max_missing < 3 / 18:
        said = r"3 of 18 pairs .16\.7%.*2 were not answered, 1 answers"
        with pytest.raises(TooFewAnswersError, match=said):
            teacher.judge(pairs, progress=False)
    else:
        assert (teacher.judge(pairs, progress=False).answer == NONE).sum() == 3
    assert teacher.cost.failed == 2 and summary(store)[0]["verdicts"] == 16
    later = Scripted(store)
    later.judge(pairs, progress=False)
    assert later.asked == [(0, 0), (3, 3)]


def test_what_was_answered_before_a_teacher_stops_is_kept(store):
    pairs = make_pairs()
    with pytest.raises(TeacherError, match=r"went home\n7 of 18 new pairs .* 11 are missing"):
        Scripted(store, stop_after=7).judge(pairs, progress=False)
    later = Scripted(store)
    later.judge(pairs, progress=False)
    assert len(later.asked) == 11


def test_only_what_is_new_is_planned_and_asked(store):
    Scripted(store).judge(make_pairs(documents=4), progress=False)
    teacher = Scripted(store)
    plan = teacher.plan(make_pairs(documents=6))
    assert (plan.pairs, plan.cached, plan.requests, plan.usd) == (18, 12, 0, 0.0)
    assert plan.seconds > 0  # measured in the first run
    assert "answered by the store  12 (67%)" in str(plan)
    assert "12 (67%)" in plan._repr_html_()
    teacher.judge(make_pairs(documents=6), progress=False)
    assert {row for row, _ in teacher.asked} == {4, 5}


def test_lookup_of_a_stored_run_is_fast(store):
    pairs = make_pairs(documents=2000, labels=1000, k=10)
    half = np.zeros(len(pairs), dtype=np.float32)
    keys = Scripted(store).keys(pairs)
    uids = ["x"] * len(pairs)
    store.save(1, keys, uids, uids, half, half.astype(np.int8))
    teacher = Scripted(store)
    started = time.process_time()  # other work on the machine does not count
    verdicts = teacher.judge(pairs, progress=False)
    rate = len(pairs) / (time.process_time() - started)
    assert teacher.asked == [] and (verdicts.answer == NO).all()
    assert rate > 50_000, f"{rate:,.0f} verdicts a second"


def test_a_file_that_is_no_store_is_named_and_left_alone(tmp_path):
    path = tmp_path / "verdicts.sqlite"

    def refused(message):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=message):
            VerdictStore(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["verdicts.sqlite"]

    path.write_bytes(b"this is no database " * 500)
    refused(r"verdicts\.sqlite.*not a database.*move it away")
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE verdicts (a)")
    refused("another program")
    with pytest.raises(StoreError, match="can be written"):
        VerdictStore(tmp_path)


def test_damage_found_while_reading_is_reported(tmp_path):
    path = tmp_path / "verdicts.sqlite"
    pairs = make_pairs(documents=2000, labels=50, k=10)
    with VerdictStore(path) as store:
        n = len(pairs)
        store.save(
            Scripted(store)._teacher, Scripted(store).keys(pairs), ["d"] * n, ["l"] * n,
            np.zeros(n, np.float32), np.zeros(n, np.int8),
        )  # fmt: skip
    content = bytearray(path.read_bytes())
    content[40_960:] = random.Random(0).randbytes(len(content) - 40_960)
    path.write_bytes(content)
    with VerdictStore(path) as store, pytest.raises(StoreError, match=r"damaged.*move it away"):
        Scripted(store).judge(pairs, progress=False)


# --- listing, export, merge ---


def test_export_writes_each_verdict_once(store, tmp_path):
    pairs = make_pairs()
    Scripted(store, neither={(1, 1)}).judge(pairs, progress=False)
    Scripted(store, {"model": "other"}).judge(make_pairs(documents=1), progress=False)
    assert export(store, tmp_path / "all.parquet") == 21
    digest = summary(store)[0]["teacher_id"]
    assert export(store, tmp_path / "one.parquet", digest[:10]) == 18
    table = pq.read_table(tmp_path / "one.parquet").to_pandas().set_index(["document", "label"])
    assert table.loc[("d0", "l0")][["p_yes", "answer"]].tolist() == [0.75, "yes"]
    assert table.loc[("d0", "l1")][["p_yes", "answer"]].tolist() == [0.25, "no"]
    assert table.loc[("d1", "l1"), "answer"] == "none" and np.isnan(table.loc[("d1", "l1"), "p_yes"])
    with pytest.raises(StoreError, match="no verdicts of a teacher 'nobody'; it knows: scripted"):
        export(store, tmp_path / "none.parquet", "nobody")
    assert not (tmp_path / "none.parquet").exists()


def test_merge_takes_what_is_new_and_keeps_answers(tmp_path):
    with VerdictStore(tmp_path / "a") as a, VerdictStore(tmp_path / "b") as b:
        Scripted(a, neither={(0, 0)}).judge(make_pairs(documents=3), progress=False)
        # Other row numbers for the same teachers must not mix them up.
        Scripted(b, {"model": "z"}).judge(make_pairs(documents=1), progress=False)
        Scripted(b).judge(make_pairs(documents=4), progress=False)
        assert merge(a, tmp_path / "b") == 3 + 3
        assert merge(a, tmp_path / "b") == 0
        rows = {row["identity"].get("model", "scripted"): row for row in summary(a)}
        assert (rows["scripted"]["verdicts"], rows["scripted"]["none"]) == (12, 0)
        assert rows["z"]["verdicts"] == 3
        asked = Scripted(a)
        asked.judge(make_pairs(documents=4), progress=False)
        assert asked.asked == []
        with pytest.raises(StoreError, match="into itself"):
            merge(a, tmp_path / "a")
    with VerdictStore(tmp_path / "a") as a, pytest.raises(StoreError, match="no verdict store"):
        merge(a, tmp_path / "missing")


def test_the_command_lists_exports_and_merges(tmp_path, capsys):
    path, other, out = (str(tmp_path / name) for name in ("a.sqlite", "b.sqlite", "v.parquet"))
    with VerdictStore(path) as store:
        Scripted(store, {"model": "tiny"}).judge(make_pairs(), progress=False)
    shutil.copy(path, other)
    assert cli.main(["verdicts", "list", "--store", path]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["teacher", "id", "model", "verdicts"]
    assert line.split()[0] == "scripted" and line.split()[2:6] == ["tiny", "18", "12", "6"]
    assert cli.main(["verdicts", "export", out, "--store", path, "--teacher", "scripted"]) == 0
    assert pq.read_table(out).num_rows == 18
    assert cli.main(["verdicts", "merge", other, "--store", path]) == 0
    assert "0 new verdicts" in capsys.readouterr().out
    assert cli.main(["verdicts", "list", "--store", str(tmp_path / "none")]) == 1
    assert "there is no verdict store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


# --- several processes, and death ---


@pytest.fixture(scope="module")
def start():
    """Start a process that judges: `start(path, url, documents, first, concurrency)`."""
    with processes() as context:

        def start(*arguments):
            process = context.Process(target=judge, args=arguments)
            process.start()
            return process

        yield start


def by_hash(request):
    """A stable made-up verdict on a prompt."""
    return completion("yes" if hashlib.sha256(prompt(request).encode()).digest()[0] % 2 else "no")


def stored(path) -> dict[tuple[str, str], int]:
    """The answer to each (document uid, label uid) in a store, read without our code."""
    with sqlite3.connect(path, timeout=60) as connection:
        rows = connection.execute("SELECT document, label, answer FROM verdicts").fetchall()
    assert len({row[:2] for row in rows}) == len(rows)
    return {(document, label): answer for document, label, answer in rows}


def uids(text: str) -> tuple[str, str]:
    """The pair that a prompt asks about."""
    document = text.partition("\ndocument ")[2].partition("\n")[0]
    label = text.rpartition("“label ")[2].partition("”")[0]
    return f"d{document}", f"l{label}"


def test_two_processes_judge_overlapping_pairs_into_one_store(tmp_path, start):
    path = tmp_path / "verdicts.sqlite"
    with Server(by_hash, delay=0.005) as server:
        workers = [
            start(str(path), server.url, documents, first, 8) for documents, first in ((200, 0), (300, 100))
        ]
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0]
        asked = {uids(text): text for text in server.prompts()}
    answers = stored(path)
    assert len(answers) == 300 * 5
    for pair, answer in answers.items():
        assert answer == hashlib.sha256(asked[pair].encode()).digest()[0] % 2


def test_killed_twenty_times_nothing_is_lost_and_little_is_asked_twice(tmp_path, start):
    path, concurrency, documents = tmp_path / "verdicts.sqlite", 8, 500
    chance = random.Random(5)
    seen_at_restart: list[tuple[int, set]] = []
    with Server(by_hash, delay=0.01) as server:
        for number in range(20):
            process = start(str(path), server.url, documents, 0, concurrency)
            # Wait for its first request, so that each kill hits work and not the start.
            before, deadline = len(server.requests), time.monotonic() + 30
            while len(server.requests) == before and time.monotonic() < deadline:
                time.sleep(0.002)
            if number % 10 == 5:  # the server is restarted under it
                server.go_away()
                server.come_back()
            time.sleep(chance.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert process.exitcode == -signal.SIGKILL, "the work was over before the kill"
            deadline = time.monotonic() + 5
            while server.connections and time.monotonic() < deadline:
                time.sleep(0.002)
            seen_at_restart.append((len(server.requests), set(stored(path))))
        process = start(str(path), server.url, documents, 0, concurrency)
        process.join(120)
        assert process.exitcode == 0
        asked = defaultdict(list)
        for number, request in enumerate(server.requests):
            asked[uids(prompt(request))].append(number)
    answers = stored(path)
    assert len(answers) == documents * 5 == len(asked)
    for restart, known in seen_at_restart:
        assert all(asked[pair][-1] < restart for pair in known), "a stored verdict was asked for again"
    assert len(seen_at_restart[0][1]) > 0 and len(seen_at_restart[-1][1]) < documents * 5
    repeated = sum(len(numbers) - 1 for numbers in asked.values())
    assert repeated <= (20 + 2) * concurrency
