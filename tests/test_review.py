"""`lmtx review`: keys and files as a person meets them, and figures checked against a truth that is known."""

import json
import os
import pty
import select
import subprocess
import sys

import numpy as np
import pytest
from tiny_encoders import document_table, encoder_config, label_table, random_texts, save_tiny_encoder

from lmtx import Tagger, cli
from lmtx import review as review_tagger
from lmtx.corpus import CorpusError
from lmtx.encoder import Encoder
from lmtx.files import read_json
from lmtx.tagger import TaggerError
from lmtx.tagger.folders import E0, STUDENT, read_annotated, systems_of
from lmtx.tagger.questions import Answers, propose

LABELS = label_table(random_texts(60, longest=20, seed=2))
TEXTS = random_texts(40, seed=1)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """E0 and a student: the same network with other weights."""
    folder = tmp_path_factory.mktemp("models")
    config = encoder_config(save_tiny_encoder(folder / "e0"))
    return {
        E0: Encoder.load(config),
        STUDENT: Encoder.load(config, save_tiny_encoder(folder / "student", seed=1)),
    }


@pytest.fixture(scope="module")
def systems(encoders):
    return {name: Tagger.build(encoder, LABELS) for name, encoder in encoders.items()}


@pytest.fixture
def folder(encoders, tmp_path):
    card = {"trained": True, "teacher": "scripted", "outcome": "Kept: after cycle 1; scripted."}
    Tagger.build(encoders[STUDENT], LABELS, card).export(tmp_path / "tagger")
    return tmp_path / "tagger"


@pytest.fixture
def documents(tmp_path):
    path = tmp_path / "documents.jsonl"
    rows = [{"uid": f"d{i}", "title": f"No. {i}", "text": text} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Person:
    """Answers by the keys given first, then by `truth`, the right (text, label) pairs; recalls all it saw."""

    def __init__(self, truth=(), first=""):
        self.truth, self.keys, self.said, self.prompts = truth, list(first), [], []

    def say(self, text):
        self.said.append(text)

    def read(self, prompt):
        self.prompts.append(prompt)
        if self.keys:
            return self.keys.pop(0)
        page = next(text for text in reversed(self.said) if text.startswith("\n---"))
        text = " ".join(page.split("\n\n")[1].split())
        label = prompt.split("  ")[2].removesuffix("   y/n ").strip()
        return "y" if (text, label) in self.truth else "n"

    def review(self, folder, documents, **options):
        return review_tagger(folder, documents, read=self.read, say=self.say, **options)


def first_labels(tagger):
    """(text, label) of each document's first label."""
    table = document_table(TEXTS, [f"No. {i}" for i in range(len(TEXTS))])
    ids = tagger.rank(table, 1).ids[:, 0]
    return {(text, LABELS["text"][int(label)].as_py()) for text, label in zip(TEXTS, ids, strict=True)}


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def answered(file):
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["uid"], len(row["labels"]), len(row["rejected"]), len(row["skipped"])) for row in rows]


# --- what is asked -------------------------------------------------------------------------------


def test_e0_embeds_the_labels_once(folder, documents, monkeypatch):
    """For all reviews and measurements, until the tagger has other labels; nothing is added to its folder."""
    files = sorted(file.name for file in folder.iterdir())
    Person(first="q").review(folder, documents)
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode_labels", lambda *_: pytest.fail("the labels were embedded again"))
        Person(first="q").review(folder, documents)
    assert sorted(file.name for file in folder.iterdir()) == files
    tagger = Tagger.load(folder)
    tagger.add_labels(["ant1 bee1"])
    tagger.export(folder)
    assert len(systems_of(folder)[E0].labels) == 61


def test_both_first_labels_are_asked_about_and_nothing_says_whose_they_are(systems):
    table = document_table(TEXTS)
    proposals = propose(systems, table)
    places = {name: [] for name in systems}
    for name, ranking in proposals.rankings.items():
        for row, ids in enumerate(proposals.ids):
            assert len(set(ids)) == 5
            places[name] += np.flatnonzero(ids == ranking.ids[row, 0]).tolist()
        assert len(places[name]) == len(TEXTS) and set(places[name]) == {0, 1, 2, 3, 4}
    later = propose(systems, table.slice(7))
    assert (later.ids == proposals.ids[7:]).all()


def test_drawn_proposals_stand_for_all_first_five(systems):
    """Horvitz and Thompson: the weighted hits of the drawn are those of all, on average over draws."""
    right = np.random.default_rng(3).uniform(size=len(LABELS)) < 0.4
    estimates, exact = [], []
    for draw in range(30):
        table = document_table(TEXTS)
        table = table.set_column(0, "uid", [[f"{draw}-{i}" for i in range(len(TEXTS))]])
        proposals = propose(systems, table)
        ids = proposals.rankings[STUDENT].ids
        of_student = (proposals.ids[:, :, None] == ids[:, None, :]).any(axis=2)
        estimates.append((proposals.weights * of_student * right[proposals.ids]).sum())
        exact.append(right[ids].sum())
    assert np.mean(estimates) == pytest.approx(np.mean(exact), rel=0.03)


def test_one_system_is_asked_about_its_first_five(systems):
    proposals = propose({E0: systems[E0]}, document_table(TEXTS))
    assert (np.sort(proposals.ids) == np.sort(proposals.rankings[E0].ids)).all()
    assert (proposals.weights == 1).all()


@pytest.mark.parametrize("n_labels", [1, 2, 4])
def test_fewer_labels_than_proposals_are_all_asked_about(encoders, n_labels):
    few = {name: Tagger.build(encoder, LABELS.slice(0, n_labels)) for name, encoder in encoders.items()}
    proposals = propose(few, document_table(TEXTS))
    asked = np.sort(proposals.ids, axis=1)
    assert (asked == [-1] * (5 - n_labels) + list(range(n_labels))).all()
    assert (proposals.weights == (proposals.ids >= 0)).all()


# --- keys and the file ---------------------------------------------------------------------------


def test_each_answer_is_in_the_file_when_the_next_one_is_asked_for(folder, documents):
    file = folder.with_name("tagger.review.jsonl")
    seen = []

    class Watching(Person):
        def read(self, prompt):
            seen.append(answered(file)[-1][1:] if file.exists() else None)
            return super().read(prompt)

    person = Watching(first="ynsuxq")
    assert person.review(folder, documents) is None
    assert seen == [None, (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 1, 0), (1, 1, 0)]
    assert person.said[0].startswith("0 of 200 proposals are answered. y: it fits")
    assert sum(text.startswith("y: it fits") for text in person.said) == 1  # after x, no key
    assert person.said[-1] == f"the answers are in {file}; the same command goes on from there"
    later = Person(first="q")
    later.review(folder, documents)
    assert later.said[0].startswith("2 of 200 proposals") and later.prompts == [person.prompts[2]]


def test_undo_goes_back_over_documents_and_not_before_the_first(folder, documents):
    person = Person(first="uyyyyynuuq")
    person.review(folder, documents)
    (row,) = answered(folder.with_name("tagger.review.jsonl"))[:1]
    assert row[1:] == (4, 0, 0)
    pages = [text for text in person.said if text.startswith("\n---")]
    assert [page.split("\n")[2].split("   ")[0] for page in pages] == ["1 of 40", "2 of 40", "1 of 40"]


def test_more_documents_add_to_those_that_are_answered(folder, documents):
    Person().review(folder, documents, count=4)
    person = Person(first="q")
    person.review(folder, documents, count=6)
    assert person.said[0].startswith("20 of 30 proposals are answered")


def test_what_is_shown_cannot_steer_the_terminal(folder, tmp_path):
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"title": "\x1b[2Ja", "text": "ant1 \x1b]0;title\x07 " + "bee2 " * 900}))
    person = Person(first="q")
    person.review(folder, file)
    assert all(c.isprintable() or c == "\n" for c in "".join(person.said))
    assert len(person.said[1]) < 2000


def test_the_answers_are_annotations(folder, documents, systems):
    truth = first_labels(systems[STUDENT])
    Person(truth).review(folder, documents)
    table, annotated = read_annotated(Tagger.load(folder), folder.with_name("tagger.review.jsonl"))
    names = LABELS["text"].to_pylist()
    pairs = zip(*annotated.nonzero(), strict=True)
    assert {(table["text"][int(d)].as_py(), names[label]) for d, label in pairs} <= truth
    assert annotated.nnz == len(TEXTS)


def test_a_killed_review_goes_on(folder, documents):
    """In a terminal of its own, ended as by a crash."""

    command = [sys.executable, "-m", "lmtx.cli", "review", str(folder), str(documents), "--documents", "2"]

    def start():
        leader, follower = pty.openpty()
        process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=subprocess.DEVNULL)
        os.close(follower)
        return leader, process

    def until(leader, text):
        told = ""
        while text not in told:
            assert select.select([leader], [], [], 120)[0], f"no {text!r} came: {told}"
            told += os.read(leader, 4096).decode()
        return told

    leader, process = start()
    for place, key in enumerate("yns", 1):
        assert f"  {place}  " in until(leader, "y/n ")
        os.write(leader, key.encode())
    until(leader, "y/n ")
    process.kill()
    process.wait()
    os.close(leader)
    file = folder.with_name("tagger.review.jsonl")
    assert [row[1:] for row in answered(file)] == [(1, 1, 1)]
    leader, process = start()
    assert "  4  " in until(leader, "y/n ")
    os.write(leader, b"\x04")
    assert "goes on" in until(leader, "from there")
    assert process.wait(timeout=120) == 0
    os.close(leader)


# --- what comes of it ----------------------------------------------------------------------------


def test_the_figures_are_those_of_the_truth(folder, documents, systems):
    """Right is E0's first label of the even documents, and the student's of all."""
    even = {(text, label) for text, label in first_labels(systems[E0]) if TEXTS.index(text) % 2 == 0}
    truth = first_labels(systems[STUDENT]) | even
    result = Person(truth).review(folder, documents)
    right = len(first_labels(systems[E0]) & truth)
    assert result["documents"] == 40 and result["answers"] == 200
    assert result["first"][STUDENT]["value"] == 1
    assert result["first"][E0]["value"] == pytest.approx(right / 40)
    assert result["yes"]["value"] == pytest.approx(len(truth) / 200)
    assert f"better for {40 - right} and worse for 0 of 40" in result["difference"]
    tagger = Tagger.load(folder)
    assert tagger.card["review"] == read_json(folder / "lmtx.json")["review"] == result
    assert tagger.calibration.by_people and tagger.calibration.documents == 40
    card = (folder / "README.md").read_text()
    assert f"| E0 | {100 * right / 40:.1f} |" in card and "Precision means **by people**" in card
    assert "**Kept: after cycle 1; scripted.**" in card


def test_skipped_answers_count_for_nothing(folder, documents, systems):
    class Unsure(Person):
        def read(self, prompt):
            key = super().read(prompt)
            return "s" if key == "n" and len(self.prompts) % 3 == 0 else key

    result = Unsure(first_labels(systems[STUDENT])).review(folder, documents)
    file = folder.with_name("tagger.review.jsonl")
    skipped = sum(row[3] for row in answered(file))
    assert skipped > 20 and result["answers"] == 200 - skipped
    assert result["first"][STUDENT]["value"] == 1


def test_e0_takes_over_where_people_find_it_better_and_the_student_is_kept(folder, documents, systems):
    student = contents(folder)
    result = Person(first_labels(systems[E0])).review(folder, documents)
    assert result["uses"] == E0
    tagger = Tagger.load(folder)
    texts, titles = list(TEXTS), [f"No. {i}" for i in range(40)]
    assert (
        tagger.tag(texts, 1, titles=titles)[0][0]["uid"]
        == systems[E0].tag(texts, 1, titles=titles)[0][0]["uid"]
    )
    card = (folder / "README.md").read_text().partition("\n# tagger\n")[2].strip()
    assert card.startswith("**This is E0, the encoder before training: people found")
    assert "The student is in `tagger.trained`.**" in card and "trained by LMTX" not in card
    aside = folder.with_name("tagger.trained")
    assert contents(aside) == student
    # Other people, on more documents, may find otherwise; the student comes back.
    folder.with_name("tagger.review.jsonl").unlink()
    tagger.add_labels(["fox1 fox2"])
    tagger.export(folder)
    assert Person(first_labels(systems[STUDENT])).review(folder, documents)["uses"] == STUDENT
    tagger = Tagger.load(folder)
    assert tagger.card["outcome"].startswith("Kept: after cycle 1") and "set_aside" not in tagger.card
    assert len(tagger.labels) == 61 and aside.is_dir()
    assert "1 of the 61 labels were added later" in (folder / "README.md").read_text()


def test_what_was_set_aside_before_is_not_replaced(folder, documents, systems):
    (folder.parent / "tagger.trained").mkdir()
    (folder.parent / "tagger.trained" / "mine").touch()
    Person(first_labels(systems[E0])).review(folder, documents)
    assert [file.name for file in (folder.parent / "tagger.trained").iterdir()] == ["mine"]
    assert Tagger.load(folder.with_name("tagger.trained-2")).card["trained"]


@pytest.mark.parametrize(("lead", "uses"), [(0, STUDENT), (1, E0)])
def test_the_one_that_is_right_more_often_is_used_and_at_a_tie_the_student(
    folder, documents, systems, lead, uses
):
    student, e0 = (dict(first_labels(systems[name])) for name in (STUDENT, E0))
    differ = [text for text in TEXTS if student[text] != e0[text]]
    half = len(differ) // 2
    truth = {(text, student[text]) for text in differ[: half - lead]}
    truth |= {(text, e0[text]) for text in differ[half : 2 * half]}
    result = Person(truth).review(folder, documents)
    assert result["uses"] == uses and "chance may explain that" in result["difference"]
    assert folder.with_name("tagger.trained").exists() == (uses == E0)


def test_an_encoder_that_was_not_trained_is_measured_alone(encoders, systems, documents, tmp_path):
    Tagger.build(encoders[E0], LABELS, {"trained": False}).export(tmp_path / "plain")
    said = Person(first_labels(systems[E0]))
    result = said.review(tmp_path / "plain", documents)
    assert list(result["first"]) == [E0] and "difference" not in result


def test_a_tagger_of_int8_stays_one(folder, documents, systems):
    Tagger.load(folder).export(folder, "int8")
    Person(first_labels(systems[E0])).review(folder, documents)
    assert Tagger.load(folder).labels.storage == "int8"


def test_tagging_keeps_the_precision_that_it_promises(folder, documents, systems, capsys):
    """First labels are right, one in five; above the threshold are at least as many as promised."""
    truth = first_labels(systems[STUDENT])
    person = Person(truth)
    person.review(folder, documents)
    capsys.readouterr()
    last = Tagger.load(folder).calibration.thresholds[-1]
    wanted = last.wanted
    assert person.said[-1].endswith(f"lmtx tag {folder} --precision {wanted:.2f}")
    assert cli.main(["tag", str(folder), str(documents), "--precision", str(wanted)]) == 0
    shown = capsys.readouterr()
    assert f"labels that score {last.score:.3f} or more; measured, {last.yes:.0%} [" in shown.err
    answers = [json.loads(line) for line in shown.out.splitlines()]
    given = [
        (text, label["text"])
        for text, answer in zip(TEXTS, answers, strict=True)
        for label in answer["labels"]
    ]
    right = np.mean([pair in truth for pair in given])
    assert wanted > 0.3 and right >= wanted


# --- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"review\.jsonl, line 2: '\{' is not JSON"),
        (
            '{"uid": 3, "text": "a"}',
            r"line 2: `uid` is '3', not a text; mend the line, or move the file away",
        ),
        ('{"uid": "x", "text": "a", "labels": "b"}', r"line 2: `labels` is 'b', not a list"),
        ('{"uid": "d1", "text": "a"}', r"line 2: document 'd1' stands in line 1 already"),
    ],
)
def test_a_broken_file_of_answers_is_named_and_left_alone(folder, documents, line, message):
    file = folder.with_name("tagger.review.jsonl")
    text = json.dumps({"uid": "d1", "text": TEXTS[1], "note": "mine"}) + f"\n{line}\n"
    file.write_text(text)
    person = Person()
    with pytest.raises(CorpusError, match=message):
        person.review(folder, documents)
    assert file.read_text() == text and not person.prompts


def test_answers_on_other_documents_are_not_mixed(folder, documents):
    file = folder.with_name("tagger.review.jsonl")
    file.write_text(json.dumps({"uid": "d7", "text": "another text"}) + "\n")
    with pytest.raises(CorpusError, match=r"line 1: document 'd7' has another text now.*--answers"):
        Person().review(folder, documents)


def test_other_lines_and_columns_of_the_answers_stay(tmp_path):
    file = tmp_path / "answers.jsonl"
    mine = {"uid": "é", "text": "a", "labels": ["l1"], "note": [1, {"a": None}]}
    file.write_text(json.dumps(mine) + "\n")
    answers = Answers(file)
    answers.set({"uid": "b", "title": "", "text": "t"}, "l2", "n")
    answers.set({"uid": "b", "title": "", "text": "t"}, "l2", "y")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[0] == mine
    assert rows[1] == {"uid": "b", "title": "", "text": "t", "labels": ["l2"], "rejected": [], "skipped": []}


def test_the_command_answers_in_one_line(folder, documents, capsys):
    for arguments, message in (
        ([folder.with_name("none"), documents], "there is no folder"),
        ([folder, documents.with_name("none.jsonl")], "none.jsonl cannot be read"),
        ([folder, documents, "--documents", "0"], "the number of documents is 0"),
    ):
        assert cli.main(["review", *map(str, arguments)]) == 1
        assert message in (errors := capsys.readouterr().err) and errors.count("lmtx: ") == 1


def test_nothing_answered_leaves_the_tagger(folder, documents):
    before = contents(folder)
    with pytest.raises(TaggerError, match="nothing to measure"):
        Person(first="s" * 200).review(folder, documents)
    assert contents(folder) == before
