"""The reader of semanlink, on a small package that the tests write, and on the installed one."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from readings import BASE, documents, message

from lmtx.config import SemanlinkConfig
from lmtx.corpus import SPLITS
from lmtx.datasets import read, semanlink
from lmtx.datasets.spool import near_duplicates

SITE = "http://www.semanlink.net/tag/"


def tag(name, names=None, alternatives=(), broader=()):
    return SITE + name, {
        "prefLabel": names or [name.upper()],
        "altLabel": list(alternatives),
        "broader_prefLabel": list(broader),
    }


TAGS = dict([
    tag("bert", ["BERT"], ["Bert model", "BERT", ""], ["Language models", "Attention"]),
    tag("rdf", ["RDF", "Resource &amp; Description"], [], ["Semantic Web", "Semantic Web"]),
    *(tag(name) for name in ("tweet", "good", "unused")),
])  # fmt: skip


def link(name, title, tags, comment="", summary=""):
    return {
        "document": f"http://example.org/{name}",
        "title": title,
        "comment": comment,
        "arxiv_summary": summary,
        "tag": [SITE + one for one in tags],
    }


LINKS = [
    link("a", "Attention for <b>all</b>", ["bert", "tweet"], "A <a href='x'>comment</a>\n\nof R&amp;D"),
    link("b", "A title and nothing else", ["rdf", "bert", "rdf"]),
    link("c", "An abstract", ["rdf"], "", "We present\n  a method with p < 0.05 &lt;sic&gt;."),
    link("d", "Only form", ["tweet", "good"], "its words"),
    link("e", " ", ["bert"]),
    link("f", "Without a tag", []),
    link("g", "Comment before abstract", ["bert"], "the comment", "the abstract"),
]


def config(**changes):
    return SemanlinkConfig(**BASE | {"reader": "semanlink", "describe": "name", "form_tags": False} | changes)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package that must not be imported; `package(links, tags)` gives its folder of data."""

    def make(links=LINKS, tags=TAGS):
        folder = tmp_path / "site" / "tagged_links" / "data" / "semanlink"
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parents[1] / "__init__.py").write_text("raise RuntimeError('imported')\n")
        contents = {"docs.json": json.dumps(links), "tags.json": json.dumps(tags)}
        for name, content in contents.items():
            (folder / name).write_text(content)
        hashed = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()}
        monkeypatch.setattr(semanlink, "FILES", hashed)
        return folder

    monkeypatch.setattr(semanlink, "PACKAGE", "tagged_links")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return make


def test_links_become_documents_and_tags_labels(package):
    package()
    reading = read(config())
    assert documents(reading) == {
        "http://example.org/a": ("Attention for all", "A comment of R&D", ["bert"]),
        # A title alone is the text.
        "http://example.org/b": ("", "A title and nothing else", ["bert", "rdf"]),
        "http://example.org/c": ("An abstract", "We present a method with p < 0.05 <sic>.", ["rdf"]),
        "http://example.org/d": ("Only form", "its words", []),
        "http://example.org/g": ("Comment before abstract", "the comment", ["bert"]),
    }
    assert reading.corpus.validate().labels.to_pydict() == {
        "uid": ["bert", "rdf"],
        "text": ["BERT", "RDF / Resource & Description"],
    }
    assert all(matrix.nnz == 0 for matrix in reading.corpus.excluded.values())
    assert reading.truth["test"].nnz  # the test document is an annotated one


@pytest.mark.parametrize(
    ("describe", "expected"),
    [
        ("name", ["BERT", "RDF / Resource & Description"]),
        ("alternatives", ["BERT: Bert model", "RDF / Resource & Description"]),
        ("broader", ["BERT: Language models, Attention", "RDF / Resource & Description: Semantic Web"]),
    ],
)
def test_a_label_reads_as_the_parameters_say(package, describe, expected):
    """Nothing stands twice in it, and nothing empty."""
    package()
    assert read(config(describe=describe)).corpus.labels["text"].to_pylist() == expected


def test_tags_of_form_are_left_out_or_taken_in_and_counted_either_way(package):
    package()
    without, taken = read(config()), read(config(form_tags=True))
    told = ("links", "without_title_or_tag", "form_tags", "form_tag_pairs", "pairs_with_form_tags")
    # Pairs: a 2, b 2 (one tag stands twice), c 1, d 2, g 1; three of the eight are of form.
    assert [without.manifest[name] for name in told] == [7, 2, 2, 3, 8]
    assert [taken.manifest[name] for name in told] == [7, 2, 0, 0, 8]
    assert (without.manifest["truth_pairs"], taken.manifest["truth_pairs"]) == (5, 8)
    assert taken.corpus.labels["uid"].to_pylist() == ["bert", "good", "rdf", "tweet"]
    assert documents(taken)["http://example.org/d"][2] == ["good", "tweet"]
    assert without.manifest["with_truth"] == 4


def test_links_of_nearly_the_same_title_are_on_the_same_side(package):
    twins = [link(f"twin{i}", "One two three four five" + " again" * (i % 2), ["bert"]) for i in range(12)]
    others = [link(f"other{i}", f"other{i} title{i}", ["rdf"]) for i in range(12)]
    package([*twins, *others])
    reading = read(config(test_documents=5, dev_documents=5))
    uids = [str(reading.corpus.documents(split)["uid"].to_pylist()) for split in SPLITS]
    assert sorted(uid.count("/twin") for uid in uids) == [0, 0, 12]
    assert reading.manifest["near_duplicates"] == 11


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(semanlink, "PACKAGE", "no_such_package")
    assert re.search("no_such_package.*is not installed: python -m pip install", message(config()))


@pytest.mark.parametrize("name", ["docs.json", "tags.json"])
def test_a_missing_or_another_file_is_named_with_the_remedy(package, name):
    """Another version with both hashes."""
    file = package() / name
    file.write_text(file.read_text() + " ")
    error, found = message(config()), hashlib.sha256(file.read_bytes()).hexdigest()
    assert all(part in error for part in (str(file), found, semanlink.FILES[name], "--force-reinstall"))
    file.unlink()
    error = message(config())
    assert str(file) in error and "--force-reinstall" in error


def test_the_installed_package():
    if importlib.util.find_spec("cherche") is None:
        pytest.skip(f"the data set is not installed: {semanlink.INSTALL}")
    reading = read(config(test_documents=1000, dev_documents=400), Path("nowhere"))
    manifest = reading.manifest
    assert (manifest["documents"], manifest["links"], manifest["without_title_or_tag"]) == (7188, 7300, 112)
    assert sum(manifest["splits"].values()) == 7188
    assert manifest["splits"]["dev"] >= 400
    assert (np.diff(reading.truth["test"].indptr) > 0).sum() >= 1000
    assert manifest["labels_never_annotated"] == 0
    assert manifest["truth_pairs"] + manifest["form_tag_pairs"] == manifest["pairs_with_form_tags"]
    # No title of one side has a near-duplicate on another: they are sought again, in all titles.
    tables = [reading.corpus.documents(split) for split in SPLITS]
    titles = [d["title"] or d["text"] for table in tables for d in table.to_pylist()]
    sides = np.repeat(np.arange(3), [table.num_rows for table in tables])
    groups = near_duplicates(titles)
    first = np.zeros(groups.max() + 1, dtype=int)
    first[groups] = sides
    np.testing.assert_array_equal(first[groups], sides)
    texts = [d[column] for table in tables for d in table.to_pylist() for column in ("title", "text")]
    assert not [text for text in texts if "</" in text or "&amp;" in text]
