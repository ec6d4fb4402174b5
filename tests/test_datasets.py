"""Readers of downloaded data sets and of the hub: what is in the files is in the corpus, and nothing else."""

import gzip
import json

import numpy as np
import pytest
import scipy.sparse as sp
from readings import BASE, documents, message

from lmtx.config import ExpectedConfig, FolderConfig, HubConfig
from lmtx.corpus import SPLITS, CorpusError, load_corpus, load_truth
from lmtx.datasets import differences, read, statistics, word_counts
from lmtx.datasets.lines import Faults, lines

ALL = BASE | {"test_documents": None, "folder": "data/raw/toy", "source": "https://example.org"}


def folder_data(reader="xmc", **changes):
    return FolderConfig(reader=reader, **ALL | {"expected": None} | changes)


LABELS = ["red", "grün", "blue"]
TRAIN = [
    ("a", "Rot", "a red text", [0]),
    ("b", "", "ein grüner Text", [1, 2, 1]),
    ("c", "Only a title", "", []),
    ("d", "", "", [2]),
    ("e", "Himmel", "blue “sky”", [2]),
]
TEST = [("x", "", "red and blue", [2, 0]), ("y", "t", "nothing", [])]


def document(uid, title, content, target):
    return {"uid": uid, "title": title, "content": content, "target_ind": target, "target_rel": [1.0]}


def as_lines(objects, **options):
    return "".join(json.dumps(found, **options) + "\n" for found in objects)


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "data" / "raw" / "toy"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def xmc(folder):
    (folder / "trn.json").write_text(as_lines(document(*row) for row in TRAIN))
    (folder / "tst.json").write_text(as_lines(document(*row) for row in TEST))
    labels = [{"uid": f"L{i}", "title": text} for i, text in enumerate(LABELS)]
    (folder / "lbl.json").write_text(as_lines(labels))
    return folder


@pytest.fixture
def pecos(folder):
    for side, rows in (("trn", TRAIN), ("tst", TEST)):
        texts = [f"{title} /SEP/ {text}" if title and text else text or title for _, title, text, _ in rows]
        (folder / f"X.{side}.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        matrix = sp.lil_matrix((len(rows), len(LABELS)), dtype=np.float32)
        for i, row in enumerate(rows):
            matrix[i, row[3]] = 1
        sp.save_npz(folder / f"Y.{side}.npz", matrix.tocsr())
    (folder / "output-items.txt").write_text("".join(f"{text}\n" for text in LABELS), encoding="utf-8")
    return folder


def sides(reading):
    """Documents of train and dev together and of test; their labels by number."""
    return documents(reading, None, ("train", "dev")), documents(reading, None, ("test",))


TEST_SIDE = {"x": ("", "red and blue", [0, 2]), "y": ("t", "nothing", [])}
TRAIN_SIDE = {
    "a": ("Rot", "a red text", [0]),
    "b": ("", "ein grüner Text", [1, 2]),
    "c": ("", "Only a title", []),
    "e": ("Himmel", "blue “sky”", [2]),
}


def test_the_repository_s_jsonl(xmc, tmp_path):
    reading = read(folder_data(), tmp_path)
    labels = reading.corpus.validate().labels.to_pylist()
    assert labels == [{"uid": f"L{i}", "text": text} for i, text in enumerate(LABELS)]
    assert sides(reading) == (TRAIN_SIDE, TEST_SIDE)
    assert reading.manifest["source"] == {"train": 5, "test": 2}
    assert reading.manifest["without_text_left_out"] == 1
    assert reading.manifest["labels_never_annotated"] == 0
    for split in SPLITS:
        assert reading.truth[split].dtype == bool
        assert reading.truth[split].has_canonical_format
        assert reading.corpus.excluded[split].nnz == 0


def test_a_uid_that_is_null_is_the_position(xmc, tmp_path):
    for file, row in (("tst.json", {"title": "blue"}), ("lbl.json", {"title": "sea"})):
        (xmc / file).write_text(as_lines([{"uid": None, **row}, {"uid": "7", **row}]))
    for file in xmc.glob("trn*"):
        file.write_text(as_lines([{"uid": None, "title": f"red {i}"} for i in range(3)]))
    reading = read(folder_data(), tmp_path)
    assert reading.corpus.labels["uid"].to_pylist() == ["0", "7"]
    assert [set(side) for side in sides(reading)] == [{"0", "1", "2"}, {"0", "7"}]


def test_pecos_raw_text(pecos, tmp_path):
    """A document's uid is its line."""
    reading = read(folder_data("pecos"), tmp_path)
    assert reading.corpus.validate().labels["text"].to_pylist() == LABELS
    train, test = sides(reading)
    assert train == dict(zip("0124", TRAIN_SIDE.values(), strict=True))
    assert test == dict(zip("01", TEST_SIDE.values(), strict=True))
    assert reading.manifest["source"] == {"train": 5, "test": 2}


@pytest.mark.parametrize(
    ("encoding", "zipped", "end"),
    [("utf-8", True, "\n"), ("latin-1", False, "\r\n"), ("latin-1", True, "\n")],
)
def test_encodings_line_ends_and_gzip_make_no_difference(xmc, tmp_path, encoding, zipped, end):
    rows = [row if row[0] != "e" else ("e", "Himmel", "blue sky", [2]) for row in TRAIN]
    text = as_lines((document(*row) for row in rows), ensure_ascii=False).replace("\n", end).rstrip()
    content = text.encode(encoding)
    (xmc / "trn.json").unlink()
    name = "trn.json.gz" if zipped else "trn.json"
    (xmc / name).write_bytes(gzip.compress(content) if zipped else content)
    reading = read(folder_data(), tmp_path)
    assert sides(reading)[0] == TRAIN_SIDE | {"e": ("Himmel", "blue sky", [2])}
    assert reading.manifest["latin1_lines"] == (encoding == "latin-1")


def test_labels_a_line_in_the_place_of_json(xmc, tmp_path):
    (xmc / "lbl.json").unlink()
    (xmc / "Yf.txt").write_bytes("red\ngrün\n\n".encode("latin-1"))
    labels = read(folder_data(), tmp_path).corpus.labels
    assert labels.to_pydict() == {"uid": ["0", "1", "2"], "text": ["red", "grün", "2"]}


def test_filter_files_exclude_pairs(xmc, tmp_path):
    (xmc / "filter_labels_train.txt").write_text("0 1\n3 0\n4 2\n")
    (xmc / "filter_labels_test.txt").write_text("1 2\n")
    reading = read(folder_data(), tmp_path)
    found = {
        (split, reading.corpus.documents(split)["uid"][int(row)].as_py(), int(label))
        for split in SPLITS
        for row, label in zip(*reading.corpus.excluded[split].nonzero(), strict=True)
    }
    # Document 3 has no text: it is left out, and the numbers after it still mean the same documents.
    assert {(side == "test", *pair) for side, *pair in found} == {(0, "a", 1), (0, "e", 2), (1, "y", 2)}
    assert reading.manifest["filter_files"]["test"] == "filter_labels_test.txt"


def test_dev_is_kept_apart_by_the_hash_of_the_uid(xmc, tmp_path):
    """Whatever the order of the file, the same documents are kept apart; the others keep their order."""
    config = folder_data(dev_documents=2)
    first = read(config, tmp_path)
    (xmc / "trn.json").write_text(as_lines(document(*row) for row in TRAIN[::-1]))
    second = read(config, tmp_path)
    assert set(first.corpus.dev["uid"].to_pylist()) == set(second.corpus.dev["uid"].to_pylist())
    assert first.corpus.train["uid"].to_pylist() == second.corpus.train["uid"].to_pylist()[::-1]
    assert sides(first) == sides(second)


def test_a_side_is_read_from_its_start_as_far_as_it_is_wanted(xmc, tmp_path):
    with (xmc / "tst.json").open("a") as file:
        file.write("broken\n")
    reading = read(folder_data(test_documents=1, train_documents=2), tmp_path)
    train, test = sides(reading)
    assert (train.keys(), test.keys()) == ({"a", "b", "c"}, {"x"})
    assert reading.manifest["source"] == {"train": None, "test": None}


def test_a_saved_reading_is_what_was_read(xmc, tmp_path):
    (xmc / "filter_labels_train.txt").write_text("0 1\n")
    reading = read(folder_data(), tmp_path, tmp_path / "scratch")
    for _ in range(2):  # the first moves the tables, the second writes them anew
        reading.save(tmp_path / "corpus", tmp_path / "truth")
    saved = load_corpus(tmp_path / "corpus").validate()
    assert saved.labels.equals(reading.corpus.labels)
    for split in SPLITS:
        assert saved.documents(split).equals(reading.corpus.documents(split))
        assert (saved.excluded[split] != reading.corpus.excluded[split]).nnz == 0
        assert (load_truth(tmp_path / "truth", split) != reading.truth[split]).nnz == 0
    del reading
    assert not list((tmp_path / "scratch").iterdir())


def test_reading_again_gives_the_same_content(xmc, tmp_path):
    first, second = (read(folder_data(), tmp_path).manifest for _ in range(2))
    assert first == second
    with (xmc / "tst.json").open("a") as file:
        file.write(as_lines([document("z", "", "one more", [])]))
    assert read(folder_data(), tmp_path).manifest["content_sha256"] != first["content_sha256"]


def test_half_a_surrogate_pair_is_replaced(xmc, tmp_path):
    (xmc / "tst.json").write_text('{"uid": "x", "title": "", "content": "odd \\ud83d sign"}\n')
    assert read(folder_data(), tmp_path).corpus.test["text"][0].as_py() == "odd � sign"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nonsense", "trn.json, line 6: 'nonsense' is not JSON"),
        ('{"uid": "f", "content": 5}', "line 6: `content` is 5, not a text"),
        ('{"uid": "f", "text": "t"}', "line 6: there is neither `title` nor `content`; there are uid, text"),
        ('{"title": "t", "target_ind": [3]}', "`target_ind` holds 3; the numbers of labels run from 0 to 2"),
        ('{"title": "t", "target_ind": [-1]}', "`target_ind` holds -1"),
        ('{"title": "t", "target_ind": [0.5]}', "`target_ind` is [0.5], not a list of whole numbers"),
        ('{"uid": "a", "title": "t"}', "1 uids stand more than once, first 'a' in document 0 and document 5"),
    ],
)
def test_a_broken_line_is_named(xmc, tmp_path, line, expected):
    with (xmc / "trn.json").open("a") as file:
        file.write(line)
    assert expected in message(folder_data(), tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0 1\n7 0\n", "test.txt, line 2: 7; the numbers of documents run from 0 to 1"),
        ("0 3\n", "line 1: 3; the numbers of labels run from 0 to 2"),
        ("a b\n", "expected two whole numbers a line"),
        ("1\n2\n", "has 1 columns; expected two"),
    ],
)
def test_a_broken_filter_file_is_named(xmc, tmp_path, content, expected):
    (xmc / "filter_labels_test.txt").write_text(content)
    assert expected in message(folder_data(), tmp_path)


def test_what_is_missing_says_where_to_get_it(xmc, tmp_path):
    (xmc / "tst.json").unlink()
    found = message(folder_data(), tmp_path)
    assert "has none of the files tst.json (or .gz); get them from https://example.org" in found
    found = message(folder_data(folder="data/raw/other"), tmp_path)
    assert "there is no folder" in found
    assert "https://example.org" in found


def test_a_damaged_archive_is_named(xmc, tmp_path):
    content = gzip.compress((xmc / "trn.json").read_bytes())
    (xmc / "trn.json").unlink()
    (xmc / "trn.json.gz").write_bytes(content[:-30])
    assert "trn.json.gz is damaged after line" in message(folder_data(), tmp_path)


def test_dev_must_leave_something_to_train_on(xmc, tmp_path):
    config = folder_data(dev_documents=4)
    assert "holds 4 documents with a text, and dataset.dev_documents keeps 4" in message(config, tmp_path)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda f: (f / "output-items.txt").write_text("red\n"), "Y.trn.npz has 3 columns, and "),
        (lambda f: (f / "X.tst.txt").write_text("one\n"), "X.tst.txt has 1 lines, and "),
        (lambda f: (f / "X.tst.txt").write_text("1\n2\n3\n"), "X.tst.txt has 3 lines, and "),
        (lambda f: (f / "Y.tst.npz").write_bytes(b"PK broken"), "Y.tst.npz cannot be read as a SciPy matrix"),
        (lambda f: (f / "Y.tst.npz").unlink(), "has none of the files Y.tst.npz"),
    ],
)
def test_pecos_files_must_agree(pecos, tmp_path, damage, expected):
    damage(pecos)
    assert expected in message(folder_data("pecos"), tmp_path)


def test_counts_that_differ_are_said():
    manifest = {"source": {"train": 5, "test": None}, "labels": 3}
    assert differences(ExpectedConfig(train=5, test=9, labels=3), manifest) == []
    assert differences(None, manifest) == []
    assert differences(ExpectedConfig(train=1500, test=9, labels=2), manifest) == [
        "train: 5 instead of 1,500 (-1,495)",
        "labels: 3 instead of 2 (+1)",
    ]


def test_statistics_count_words_batch_by_batch(xmc, tmp_path):
    reading = read(folder_data(), tmp_path)
    reading.save(tmp_path / "corpus", tmp_path / "truth")
    words = {name: word_counts(tmp_path / "corpus", name) for name in (*SPLITS, "labels")}
    assert words["test"].tolist() == [3, 1]
    assert words["labels"].tolist() == [1, 1, 1]
    found = statistics("toy", words, reading.truth, {"m": 1})
    assert found["documents"] == {"train": 3, "dev": 1, "test": 2}
    assert (found["with_truth"], found["mean_labels_per_document"], found["truth_labels"]) == (1, 2.0, 2)
    assert found["mean_words_per_document"] == pytest.approx((3 + 3 + 3 + 2 + 3 + 1) / 6)
    empty = {split: sp.csr_array(matrix.shape, dtype=bool) for split, matrix in reading.truth.items()}
    assert statistics("toy", words, empty, {})["mean_labels_per_document"] is None


def test_no_line_end_but_the_newline_divides_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\xe2\x80\xa8two\x0cthree\r\nfour\rfive")
    assert list(lines(tmp_path / "a.txt", Faults(tmp_path / "a.txt"))) == [
        (1, "one\u2028two\x0cthree"),
        (2, "four\rfive"),
    ]


def test_utf16_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("text\n".encode("utf-16"))
    with pytest.raises(CorpusError, match=r"a\.txt is UTF-16 text; save it as UTF-8"):
        list(lines(tmp_path / "a.txt", Faults(tmp_path / "a.txt")))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that the library `datasets` reads, and a cache of its own for it."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # which has no attempts repeated
    folder = tmp_path / "mine"
    folder.mkdir()
    train = [{"body": f"text {i}", "head": "", "tags": ["b", "a"][: i % 3]} for i in range(6)]
    (folder / "train.jsonl").write_text(as_lines(train))
    (folder / "test.jsonl").write_text(as_lines([{"body": "c?", "head": "H", "tags": ["c"]}]))
    return folder


def hub_data(**changes):
    splits = {"configuration": None, "train_split": "train", "test_split": "test"}
    values = BASE | splits | {"test_documents": None, "text": "body", "title": "head", "annotations": "tags"}
    return HubConfig(reader="hub", **values | {"path": "mine"} | changes)


def test_a_folder_of_the_hub_s_library(hub, tmp_path):
    reading = read(hub_data(), tmp_path)
    reading.corpus.validate()
    assert reading.corpus.labels["text"].to_pylist() == ["a", "b", "c"]
    train, test = sides(reading)
    assert test == {"0": ("H", "c?", [2])}
    assert train["2"] == ("", "text 2", [0, 1])
    assert train["1"] == ("", "text 1", [1])
    assert len(train) == 6


def test_a_null_among_labels_is_none(hub, tmp_path):
    (hub / "test.jsonl").write_text(as_lines([{"body": "c?", "head": None, "tags": [None, "c"]}]))
    assert sides(read(hub_data(), tmp_path))[1] == {"0": ("", "c?", [2])}


def test_numbers_whose_names_the_data_set_knows(hub, tmp_path):
    import datasets

    features = datasets.Features(
        {"body": datasets.Value("string"), "tags": datasets.ClassLabel(names=["no", "yes"])}
    )
    for split in ("train", "test"):
        rows = [{"body": f"t{i}", "tags": i % 2} for i in range(4)]
        (hub / f"{split}.jsonl").unlink()
        datasets.Dataset.from_list(rows, features).to_parquet(hub / f"{split}.parquet")
    reading = read(hub_data(title=None), tmp_path)
    assert reading.corpus.labels["text"].to_pylist() == ["no", "yes"]
    assert sides(reading)[1]["3"] == ("", "t3", [1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"text": "content"}, "no column 'content', which dataset.text names; there are body, head, tags"),
        ({"train_split": "big"}, "split 'big', cannot be loaded"),
        ({"path": "nowhere/at-all"}, "nowhere/at-all, split 'train', cannot be loaded"),
        ({"annotations": None}, "dataset.annotations is null"),
    ],
)
def test_what_the_hub_s_library_cannot_find_is_named(hub, tmp_path, change, expected):
    assert expected in message(hub_data(**change), tmp_path)
