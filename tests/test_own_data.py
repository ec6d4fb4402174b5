"""One's own files: whatever editors and spreadsheets write is read right, or named by file and line."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from readings import documents, message, own, sizes

from lmtx.datasets import read

LABELS = "red\ngreen\nblue\n"


@pytest.fixture
def files(tmp_path):
    """Writes files into a folder; lists become JSONL."""

    def write(**contents):
        for name, content in contents.items():
            path = tmp_path / name.replace("_", ".")
            if isinstance(content, list):
                content = "".join(json.dumps(row) + "\n" for row in content)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    write(labels_txt=LABELS)
    return write


def everything(reading):
    """Labels are shown by their texts."""
    return documents(reading, "text")


DOCUMENTS = [
    {"uid": "a", "title": "First", "text": "a “red” thing, in\ntwo lines", "labels": ["red"]},
    {"uid": "b", "title": "", "text": "zażółć 文字 🙂", "labels": ["blue", "red"]},
    {"uid": 3, "text": "no title"},
    {"uid": "d", "title": "A title alone", "text": "", "labels": []},
]
EXPECTED = {
    "a": ("First", "a “red” thing, in\ntwo lines", ["red"]),
    "b": ("", "zażółć 文字 🙂", ["red", "blue"]),
    "3": ("", "no title", []),
    "d": ("", "A title alone", []),
}


def as_csv(mark="", end="\n", last=True, bar="red|blue"):
    lines = [
        "uid,title,text,labels",
        'a,First,"a “red” thing, in\ntwo lines",red',
        f"b,,zażółć 文字 🙂,{bar}",
        "3,,no title,",
        "d,A title alone,,",
    ]
    return mark + end.join(lines) + (end if last else "")


@pytest.mark.parametrize(("end", "mark"), [("\n", ""), ("\r\n", "\ufeff")])
def test_jsonl(files, end, mark):
    """With and without a byte order mark; the last line needs no end."""
    text = mark + end.join(json.dumps(row) for row in DOCUMENTS)
    root = files(documents_jsonl=text, labels_txt=mark + LABELS.replace("\n", end).rstrip())
    reading = read(own(), root)
    assert everything(reading) == EXPECTED
    labels = reading.corpus.validate().labels.to_pylist()
    assert labels == [{"uid": t, "text": t} for t in ("red", "green", "blue")]
    assert reading.manifest["labels_never_annotated"] == 1


@pytest.mark.parametrize(
    ("mark", "end", "last", "bar"),
    [
        ("", "\n", True, "red|blue"),
        ("\ufeff", "\r\n", False, " blue | red "),
        ("", "\r\n", True, '"[""blue"", ""red""]"'),
    ],
)
def test_csv_as_spreadsheets_write_it(files, mark, end, last, bar):
    root = files(documents_csv=as_csv(mark, end, last, bar))
    assert everything(read(own("documents.csv"), root)) == EXPECTED


def test_parquet(files):
    root = files()
    rows = [{"uid": str(row["uid"]), "title": None, "labels": None} | row for row in DOCUMENTS]
    pq.write_table(pa.Table.from_pylist([row | {"uid": str(row["uid"])} for row in rows]), root / "d.parquet")
    pq.write_table(pa.table({"text": ["red", "green", "blue"]}), root / "l.parquet")
    assert everything(read(own("d.parquet", "l.parquet"), root)) == EXPECTED


def test_gzip(files):
    root = files(documents_csv_gz=gzip.compress(as_csv().encode()))
    assert everything(read(own("documents.csv.gz"), root)) == EXPECTED


def test_a_text_a_line(files):
    root = files(documents_txt="one\n\ntwo words\nthree")
    found = everything(read(own("documents.txt"), root))
    assert found == {"1": ("", "one", []), "3": ("", "two words", []), "4": ("", "three", [])}


def test_a_document_of_a_megabyte(files):
    long = "lorem ipsum " * 90_000
    found = everything(read(own("documents.csv"), files(documents_csv=f'text\n"{long}"\nshort\nother\n')))
    assert (found["2"][1], found["3"][1]) == (long, "short")


def test_labels_with_uids_and_descriptions(files):
    labels = [
        {"uid": 1, "text": "red", "description": "as blood"},
        {"uid": "two", "text": "green", "description": None},
        {"uid": "3", "text": "blue"},
    ]
    rows = [
        {"text": "by uid", "labels": [1, "two"]},
        {"text": "by text", "labels": ["red", " blue "]},
        {"text": "none", "labels": None},
    ]
    reading = read(own(labels="labels.jsonl"), files(labels_jsonl=labels, documents_jsonl=rows))
    texts = ["red: as blood", "green", "blue"]
    assert reading.corpus.labels.to_pydict() == {"uid": ["1", "two", "3"], "text": texts}
    found = everything(reading)
    assert found["1"][2] == ["red: as blood", "green"]
    assert found["2"][2] == ["red: as blood", "blue"]


def test_three_files_of_a_kilobyte_are_enough(files):
    rows = [{"text": f"document {i} of a small study"} for i in range(15)]
    test = [{"text": "about red", "labels": ["red"]}, {"text": "about nothing"}]
    root = files(documents_jsonl=rows, test_jsonl=test)
    assert all(file.stat().st_size < 1024 for file in root.iterdir())
    reading = read(own(test="test.jsonl", dev_documents=800, test_documents=1000), root)
    reading.corpus.validate()
    assert sizes(reading) == [8, 7, 2]
    assert reading.truth["test"].toarray().tolist() == [[True, False, False], [False] * 3]
    assert reading.truth["train"].nnz == 0


def test_annotated_documents_are_kept_apart_for_the_test(files):
    rows = [{"uid": f"d{i}", "text": f"t{i}", "labels": ["red"] * (i % 4 == 0)} for i in range(40)]
    root = files(documents_jsonl=rows)
    reading = read(own(dev_documents=5), root)
    assert sorted(reading.corpus.test["uid"].to_pylist()) == sorted(f"d{i}" for i in range(0, 40, 4))
    assert sizes(reading) == [25, 5, 10]
    few = read(own(dev_documents=5, test_documents=4, train_documents=7), root)
    assert set(few.corpus.test["uid"].to_pylist()) < set(reading.corpus.test["uid"].to_pylist())
    assert sizes(few) == [7, 5, 4]
    # The order of the file, and documents that come later, change nothing for the others.
    again = read(own(dev_documents=5), files(documents_jsonl=rows[::-1]))
    assert set(again.corpus.dev["uid"].to_pylist()) == set(reading.corpus.dev["uid"].to_pylist())


@pytest.mark.parametrize(
    ("annotated", "options", "expected"),
    [
        (True, {"test_documents": 99, "dev_documents": 99}, [3, 2, 4]),
        (False, {"test_documents": 2}, [6, 1, 2]),
    ],
)
def test_never_more_than_half_is_kept_apart_annotated_or_not(files, annotated, options, expected):
    rows = [{"text": f"t{i}", "labels": ["red"] * annotated} for i in range(9)]
    reading = read(own(**options), files(documents_jsonl=rows))
    assert sizes(reading) == expected
    assert reading.truth["test"].shape == (expected[2], 3)
    assert reading.truth["test"].nnz == annotated * expected[2]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("oh", "documents.jsonl, line 2: 'oh' is not JSON"),
        ('"oh"', "line 2: '\"oh\"' is not a JSON object"),
        ("[" * 100_000, "line 2: '[[["),
        ("{}", "line 2: there is no `text`; there are: no columns"),
        ('{"body": "t", "id": 1}', "line 2: there is no `text`; there are: body, id"),
        ('{"text": " "}', "line 2: `text` is empty; fill it, or drop the row"),
        ('{"text": null}', "line 2: `text` is empty"),
        ('{"text": ["t"]}', "line 2: `text` is ['t'], not a text"),
        ('{"text": "t", "title": 5}', "line 2: `title` is 5, not a text"),
        ('{"text": "t", "uid": 1.5}', "line 2: `uid` is '1.5'; expected a text or a whole number"),
        ('{"text": "t", "labels": 5}', "line 2: `labels` is '5'; expected a list"),
        ('{"text": "t", "labels": [true]}', "line 2: `labels` is '[True]'; expected a list"),
        ('{"text": "t", "labels": ["bleu"]}', "'bleu' is not in {root}/labels.txt; did you mean 'blue'?"),
        ('{"text": "t", "labels": ["red"], "labels": []}', "the key 'labels' stands twice"),
        ('{"text": "t", "uid": "1"}', "1 uids stand more than once, first '1' in line 1 and line 2"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(files, line, expected):
    root = files(documents_jsonl=f'{{"text": "fine"}}\n{line}\n{{"text": "too"}}\n{{"text": "and this"}}')
    assert expected.replace("{root}", str(root)) in message(own(), root)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text,uid\na,1,2\nb,2\n", "documents.csv, line 2: 3 fields, and the header has 2; a comma within"),
        ('text\n"a\nb\n', "line 2: not CSV"),
        ("body;uid\na;1\n", "line 2: there is no `text`; there are: body;uid"),
        ("", "documents.csv is empty; its first line must name the columns"),
        ('text,labels\na,"[red"\n', "line 2: `labels` is '[red', which begins as a JSON list and is none"),
        ('text,labels\n"a\nb",red\nc,green|no\n', "line 4: label 'no' is not in"),
        ("text\na\nb\n", "documents.csv holds 2 documents; at least 3 are needed"),
        ("text,labels,labels\na,red,blue\n", "documents.csv has several columns 'labels'; rename or drop"),
        ("text, labels ,uid,labels\na,red,1,blue\n", "documents.csv has several columns 'labels'"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_named(files, content, expected):
    assert expected in message(own("documents.csv"), files(documents_csv=content))


def test_two_columns_of_parquet_are_not_one(files):
    root = files()
    table = pa.table([["a", "b", "c"], ["red"] * 3, ["blue"] * 3], names=["text", "labels", "labels"])
    pq.write_table(table, root / "documents.parquet")
    assert "documents.parquet has several columns 'labels'" in message(own("documents.parquet"), root)


@pytest.mark.parametrize(("end", "mark"), [("\r", ""), ("\r", "\ufeff"), ("\r\n", ""), ("\n", "")])
def test_lines_of_any_editor(files, end, mark):
    """Old spreadsheets of a Mac end a line with CR alone."""
    labels = mark + end.join([" red ", "", "green", "blue"])
    table = mark + end.join(["text,labels", "a,red", "b,blue|green", "c,"]) + end
    root = files(labels_txt=labels, documents_csv=table)
    reading = read(own("documents.csv"), root)
    assert reading.corpus.labels["text"].to_pylist() == ["red", "green", "blue"]
    expected = {"2": ("", "a", ["red"]), "3": ("", "b", ["green", "blue"]), "4": ("", "c", [])}
    assert everything(reading) == expected


SHORT, LONG = "caf\u00e9", "cafe\u0301"  # the same word, as Linux and as a Mac's file names spell it


@pytest.mark.parametrize("column", ["uid", "text"])
@pytest.mark.parametrize(("label", "annotation"), [(SHORT, LONG), (LONG, SHORT), (f" {LONG} ", SHORT)])
def test_an_accent_may_be_a_letter_s_or_stand_behind_it(files, label, annotation, column):
    """The user's spelling of the label stays; nothing else is taken for it."""
    row = {"text": label} if column == "text" else {"uid": label.strip(), "text": "a place"}
    rows = [{"text": f"t{i}", "labels": [annotation]} for i in range(3)]
    root = files(labels_jsonl=[row, {"text": "cafe"}], documents_jsonl=rows)
    reading = read(own(labels="labels.jsonl"), root)
    assert reading.corpus.labels[column].to_pylist()[0] == label.strip()
    assert all(labels == [row["text"].strip()] for _, _, labels in everything(reading).values())


def test_labels_that_look_alike_are_one_or_named(files, capsys):
    rows = [{"text": f"t{i}"} for i in range(3)]
    reading = read(own(), files(labels_txt=f"{SHORT}\n{LONG}\n{SHORT} \nred\nred\n", documents_jsonl=rows))
    assert reading.corpus.labels["text"].to_pylist() == [SHORT, "red"]
    assert reading.manifest["labels_merged"] == 3
    assert "3 of the labels repeat one before them" in capsys.readouterr().out
    root = files(labels_jsonl=[{"uid": SHORT, "text": "a"}, {"uid": LONG, "text": "b"}])
    assert "stands for 'a' already" in message(own(labels="labels.jsonl"), root)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (b"", "labels.txt holds no labels"),
        (b"red\nbl\xe9u\n", "labels.txt, line 2: byte 0xe9 at 2 is not UTF-8; save it as UTF-8"),
        ([{"uid": 1, "text": "a"}, {"uid": 1, "text": "b"}], "line 2: uid '1' stands for 'a' already"),
        ([{"text": "a"}, {"text": "a", "description": "d"}], "line 2: label 'a' stands for 'a' already"),
        ([{"text": "a", "description": 5}], "line 1: `description` is 5, not a text"),
        (
            [{"uid": 1, "text": "red"}, {"uid": 2, "text": "red"}, {"uid": 3, "text": "blue"}],
            "documents.jsonl, line 1: label 'red' is the name of several labels in",
        ),
    ],
)
def test_labels_that_cannot_be_used_or_told_apart_are_named(files, labels, expected):
    name = "labels.txt" if isinstance(labels, bytes) else "labels.jsonl"
    root = files(documents_jsonl=DOCUMENTS, **{name.replace(".", "_"): labels})
    assert expected in message(own(labels=name), root)


def test_ten_thousand_broken_lines_are_one_message(files):
    found = message(own(), files(documents_jsonl="{\n" * 10_000)).splitlines()
    assert found[0].endswith("documents.jsonl: 10,000 lines cannot be used; the first 5:")
    assert len(found) == 6


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"documents": "none.jsonl"}, "none.jsonl cannot be read: No such file"),
        ({"documents": "documents.docx"}, "documents.docx has none of the endings .jsonl, .csv, .tsv"),
        ({"documents": "indented.json"}, "indented.json, line 1: '[' begins a JSON list"),
        ({"documents": "broken.parquet"}, "broken.parquet cannot be read as Parquet"),
        ({"test": "none.csv"}, "none.csv cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(files, options, expected):
    root = files(
        documents_jsonl=DOCUMENTS, indented_json='[\n  {"text": "t"}\n]\n', broken_parquet=b"PAR1 and no more"
    )
    assert expected in message(own(**options), root)
