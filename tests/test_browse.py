"""Looking at one document: against what can be read off a small study, and with texts that are markup."""

import re
from html import unescape

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from lmtx import browse
from lmtx.corpus import DOCUMENT_SCHEMA, LABEL_SCHEMA, Corpus

LABELS = pa.table(
    {
        "uid": ["a.sort", "a.order", "b", "c", "d", "e"],
        "text": ["a.sort: puts in order", "a.order: <b>ranks</b>", "bold & <i>", "c" * 200, "d: of d", "e"],
    },
    LABEL_SCHEMA,
)
NAMES = ["a.sort", "a.order", "bold & <i>", "c" * 69 + "…", "d", "e"]


def ranking(*rows):
    return np.array(rows, np.int32)


def texts(table):
    """What a reader sees: heading -> rows of texts."""
    return {heading: [[cell.text for cell in row] for row in rows] for heading, rows in table.groups}


def rows(*lines):
    return [[cell.replace("_", " ") for cell in line.replace("✓ ", "✓_").split()] for line in lines]


def seen(html):
    """The text of HTML without its tags."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)))


@pytest.fixture
def corpus():
    text = "<script>alert('x')</script> & more\n" + "long " * 2000
    table = pa.table({"uid": ["x<y", "z"], "title": ["<h1>T & t</h1>", ""], "text": [text, "short"]})
    table = table.cast(DOCUMENT_SCHEMA)
    return Corpus(table, table, table, LABELS, {s: sp.csr_array((2, 6), dtype=bool) for s in ("test",)})


# --- choosing a document -----------------------------------------------------------------------

LMTX = ranking([0, 1, 2], [1, 0, 2], [3, 4, 5], [0, 1, 2], [0, 1, 2], [1, 2, 0])
E0 = ranking([1, 2, 0], [0, 1, 2], [4, 5, -1], [0, 1, 2], [0, 1, 2], [0, 1, 2])
TRUTH = sp.csr_array(
    np.array([[i in row for i in range(6)] for row in ([0], [0], [0, 5], [0], [], [1])], dtype=bool)
)
UIDS = ["won", "lost", "missed", "both", "open", "won-less"]


def overview():
    return browse.compare(LMTX, E0, TRUTH, UIDS)


def test_documents_are_grouped_by_whose_first_label_is_annotated():
    frame = overview()
    groups = {uid: uid for uid in UIDS} | {"won-less": "won", "missed": "neither"}
    assert dict(zip(frame["document"], frame["group"], strict=True)) == groups
    assert set(frame["group"]) == set(browse.GROUPS)
    assert list(frame["document"][:2]) == ["won", "won-less"]  # from 3 to 1 is more than from 2 to 1
    assert [UIDS[row] for row in frame.index] == list(frame["document"])
    ranks = frame.set_index("document").loc[["won", "lost", "missed", "open"], ["lmtx", "zero-shot"]]
    np.testing.assert_array_equal(ranks, [[1, 3], [2, 1], [3, 2], [np.nan, np.nan]])


def test_padding_is_no_hit():
    """-1 must not read as the last label, nor as label 0."""
    truth = sp.csr_array(np.array([[True, False, False, False, False, True]]))
    frame = browse.compare(ranking([-1, -1]), ranking([1, 5]), truth, ["x"])
    assert np.isnan(frame["lmtx"].item())
    assert frame["zero-shot"].item() == 2


def verdicts(*rows):
    """A cycle's table: (row, label, rank, p_yes, answer) a pair."""
    frame = pd.DataFrame(rows, columns=["row", "label", "rank", "p_yes", "answer"])
    return frame.assign(document_uid=[f"t{row}" for row in frame["row"]])


NONE = (7, 4, 1, np.nan, -1)
JUDGED = {
    "c1": verdicts((3, 0, 1, 0.9, 1), (3, 1, 2, 0.1, 0), (5, 2, 1, 0.2, 0), (5, 3, 2, 0.3, 0), NONE),
    "c2": verdicts((3, 2, 1, 0.4, 0), (3, 0, 2, 0.9, 1), (5, 4, 1, 0.8, 1), (5, 5, 2, 0.7, 1), NONE),
}


def test_a_document_gains_what_was_accepted_beyond_the_first_shortlist():
    frame = browse.lessons(JUDGED)
    assert list(frame.columns) == ["document", "c1", "c2", "gained"]
    rows = [[5, "t5", 0, 2, 2], [3, "t3", 1, 1, 0], [7, "t7", 0, 0, 0]]
    assert frame.reset_index().to_numpy().tolist() == rows
    assert browse.lessons({"c1": JUDGED["c1"]})["gained"].tolist() == [0, 0, 0]


def test_a_document_is_found_by_its_uid():
    overviews = {"test": overview(), "train": browse.lessons(JUDGED)}
    assert browse.find("missed", overviews) == ("test", 2)
    assert browse.find("t5", overviews) == ("train", 5)
    with pytest.raises(ValueError, match=r"'wonn' among those of test and train; the most alike: won"):
        browse.find("wonn", overviews)


def test_a_search_keeps_a_group_and_all_the_words():
    assert browse.matching(overview(), "won") == [("won", 0), ("won-less", 5)]
    assert browse.matching(overview(), words="WON less") == [("won-less", 5)]
    assert browse.matching(overview(), "lost", "won") == []
    many = pd.DataFrame({"document": [f"d{i}" for i in range(500)], "group": "won"})
    assert len(browse.matching(many, "won", "d")) == 200


# --- what there is to say of one ---------------------------------------------------------------

ROW = {"lmtx-c1": ranking(2, 0, 1, 3), "zero-shot": ranking(3, 5, 0, 2), "tfidf": ranking(4, -1, -1, -1)}


def test_systems_stand_side_by_side_and_annotated_labels_are_ticked():
    table = browse.side_by_side(LABELS, np.array([0, 2]), ROW, 3)
    assert table.headings == ["Rank", *ROW]
    assert texts(table)[""] == [
        ["1", "✓ bold & <i>", NAMES[3], "d"],
        ["2", "✓ a.sort", "e", "—"],
        ["3", "a.order", "✓ a.sort", "—"],
    ]
    assert [cell.bold for cell in table.groups[0][1][1]] == [False, True, False, False]


def test_each_annotated_label_has_its_rank_by_each_system():
    table = browse.annotated_ranks(LABELS, np.array([0, 5]), ROW)
    assert texts(table)[""] == [["✓ a.sort", "2", "3", "> 1"], ["✓ e", "> 4", "2", "> 1"]]


def test_what_rose_and_what_fell_is_told_by_the_ratio_of_ranks():
    """E0 ranks 3, 5, 0, 2; the cycle 2, 0, 1, 3. Beyond the fourth place counts as the fifth."""
    table = browse.changes(LABELS, np.array([0]), ROW, "zero-shot", ["lmtx-c1"], 2)
    assert texts(table) == {
        "zero-shot → lmtx-c1: ▲ rose most": [["bold & <i>", "4", "1"], ["a.order", "> 4", "3"]],  # 4, 5/3
        "zero-shot → lmtx-c1: ▼ fell most": [[NAMES[3], "1", "4"], ["e", "2", "> 4"]],  # 4, 5/2
    }

    table = browse.changes(LABELS, np.array([]), {"e": ROW["tfidf"], "c": ROW["tfidf"]}, "e", ["c"])
    assert texts(table) == {"e → c: ▲ rose most: none": [], "e → c: ▼ fell most: none": []}


def test_shortlists_stand_one_below_the_other_with_their_verdicts():
    judged = {cycle: table[table["row"] == 3] for cycle, table in JUDGED.items()}
    proposers = {"c1": "zero-shot", "c2": "lmtx-c1"}
    table = browse.shortlists(LABELS, np.array([0]), judged, proposers, ("lmtx-c2", np.array([0, 2, 1])))
    assert texts(table) == {
        "c1: the shortlist, by zero-shot": rows("✓ a.sort 1 — 0.90 yes", "a.order 2 — 0.10 no"),
        "c2: the shortlist, by lmtx-c1": rows("bold_&_<i> 1 new 0.40 no", "✓ a.sort 2 1 0.90 yes"),
        "Afterwards: the same labels, by lmtx-c2": rows(
            "✓ a.sort 1 2 0.90 yes", "bold_&_<i> 2 1 0.40 no", "a.order 3 — 0.10 no"
        ),
    }

    judged = {"c1": JUDGED["c1"][JUDGED["c1"]["row"] == 7]}  # without an answer
    table = browse.shortlists(LABELS, np.array([]), judged, proposers, ("lmtx-c2", np.array([4])))
    assert texts(table)["c1: the shortlist, by zero-shot"] == rows("d 1 — — none")


# --- the page ----------------------------------------------------------------------------------


def test_nothing_of_a_document_or_a_label_becomes_markup(corpus):
    annotated = np.array([1, 2])
    tables = (
        browse.side_by_side(LABELS, annotated, {"<u>s</u>": ranking(1, 2)}, 2),
        browse.annotated_ranks(LABELS, annotated, {"<u>s</u>": ranking(1, 2)}),
    )
    html = browse.document_page(corpus, "test", 0, annotated, *tables)
    assert not re.search(r"<(script|h1|u|i)>", html)
    text = seen(html)
    shown = ("<script>alert('x')</script> & more", "<h1>T & t</h1>", "bold & <i>", "<u>s</u>")
    for part in (*shown, "✓ a.order: <b>ranks</b>", "The first 4,000 of 10,035 characters."):
        assert part in text


def test_a_short_document_without_title_or_annotations(corpus):
    html = browse.document_page(corpus, "train", 1, np.array([], dtype=int))
    text = seen(html)
    assert [line for line in text.splitlines() if line][:2] == ["z", "short"]
    assert "this document is not annotated" in text
    assert "characters" not in text


class Encoder:
    """Embeds labels as unit vectors, and a document as one that prefers them in reverse."""

    def encode_labels(self, labels):
        return np.eye(8, dtype=np.float32)[: labels.num_rows]

    def encode_documents(self, documents):
        scores = np.arange(1, 9, dtype=np.float32)
        return (scores / np.linalg.norm(scores))[None]


def test_a_test_document_has_its_tables_and_a_long_name_breaks_between_its_parts_only(corpus):
    html = browse.test_page(corpus, TRUTH, {"zero-shot": E0, "lmtx-c1": LMTX}, ["lmtx-c1"], 0)
    for heading in ("The first 10 labels", "Where the annotated labels are", "lmtx-c1: ▲ rose most"):
        assert heading in seen(html)
    assert "a.<wbr>sort" in html


def test_a_system_that_ranked_only_the_first_documents_is_left_out_of_the_others(corpus):
    rankings = {"zero-shot": E0, "rerank": E0[:1]}
    assert "rerank" in seen(browse.test_page(corpus, TRUTH, rankings, [], 0))
    html = seen(browse.test_page(corpus, TRUTH, rankings, [], 1))
    assert "zero-shot" in html
    assert "rerank" not in html


def test_a_training_document_ends_with_the_last_student_s_order_of_all_shortlists(corpus):
    judged = {cycle: table.replace({"row": {3: 1}}) for cycle, table in JUDGED.items()}
    proposers = {"c1": "zero-shot", "c2": "lmtx-c1"}
    text = seen(browse.train_page(corpus, TRUTH, judged, proposers, ("lmtx-c2", Encoder()), 1))
    order = text.partition("Afterwards: the same labels, by lmtx-c2")[2]
    assert order.index("bold & <i>") < order.index("a.order") < order.index("a.sort")


def test_the_picker_turns_pages():
    box = browse.picker(overview(), lambda row: f"<p>{row}</p>")
    (group, words), document, page = box.children[0].children, *box.children[1:]
    assert (document.label, page.value) == ("won", "<p>0</p>")
    group.value = "lost"
    assert (document.label, page.value) == ("lost", "<p>1</p>")
    group.value, words.value = "", "open"
    assert page.value == "<p>4</p>"
    words.value = "nowhere"
    assert page.value == "No such document."
    words.value = ""
    assert page.value == "<p>0</p>"


def test_training_documents_have_no_groups_to_pick_from():
    box = browse.picker(browse.lessons(JUDGED), str)
    assert len(box.children[0].children) == 1
    assert box.children[2].value == "5"
