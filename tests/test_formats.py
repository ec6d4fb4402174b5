"""Vocabularies and corpora of other tools: SKOS, Annif's files, cells of several labels."""

import gzip
import time

import pytest
from readings import message, own
from test_own_data import LABELS, everything

from lmtx.corpus import CorpusError
from lmtx.datasets import read
from lmtx.datasets.own import Labels

TURTLE = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix v: <http://example.org/v/> .

v: a skos:ConceptScheme .
v:dog a skos:Concept ; skos:prefLabel "dog"@en, "koira"@fi ; skos:altLabel "hound"@en, "dog"@en, "canine"@en ;
    skos:broader v:animal ; skos:notation "599.7" .
v:animal a skos:Concept ; skos:prefLabel "animal"@en , "eläin"@fi .
v:cat a skos:Concept ; skos:prefLabel "domestic  cat"@en ; skos:altLabel "kissa"@fi .
v:pet a skos:Concept ; skos:prefLabel "pet"@en ; skos:narrower v:cat .
v:mouse a skos:Concept ; skos:prefLabel "hiiri"@fi .
v:norse a skos:Concept ; skos:prefLabel "Canis lupus" .
v:old a skos:Concept ; skos:prefLabel "cur"@en ; owl:deprecated true ;
    skos:changeNote "1999-99-99"^^xsd:date .
"""
RDF = """<?xml version="1.0" encoding="utf-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:owl="http://www.w3.org/2002/07/owl#"
    xmlns:skos="http://www.w3.org/2004/02/skos/core#">
  <skos:Concept rdf:about="http://example.org/v/dog">
    <skos:prefLabel xml:lang="en">dog</skos:prefLabel>
    <skos:broader><skos:Concept rdf:about="http://example.org/v/animal"/></skos:broader>
  </skos:Concept>
  <rdf:Description rdf:about="http://example.org/v/animal">
    <skos:prefLabel xml:lang="en">animal</skos:prefLabel>
  </rdf:Description>
  <skos:Concept rdf:about="http://example.org/v/old">
    <skos:prefLabel xml:lang="en">cur</skos:prefLabel>
    <owl:deprecated rdf:datatype="http://www.w3.org/2001/XMLSchema#boolean">true</owl:deprecated>
  </skos:Concept>
</rdf:RDF>
"""
V = "http://example.org/v/"
ANNIF = f"<{V}dog>\tdog\t599.7\n<{V}cat>\tcat\n"


@pytest.fixture
def write(tmp_path):
    """Writes a file (gzipped where its name says so), and gives its path."""

    def writing(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return writing


def named(labels):
    """uid without the vocabulary's address -> text."""
    return {row["uid"].removeprefix(V): row["text"] for row in labels.table().to_pylist()}


def test_concepts_are_labels_in_the_language_of_most(write):
    labels = Labels(write("v.ttl", TURTLE))
    names = {"animal": "animal", "cat": "domestic cat", "dog": "dog", "norse": "Canis lupus", "pet": "pet"}
    assert named(labels) == names
    assert labels.left_out == {f"{V}old": "deprecated", f"{V}mouse": "without a label in 'en'"}
    assert labels.note.endswith(
        "v.ttl: 5 concepts with labels in 'en' (others: 'fi', ''); 1 deprecated left out; "
        "1 without a label in 'en' left out"
    )


def test_another_language(write):
    labels = Labels(write("v.TTL.gz", "\ufeff" + TURTLE), language="FI")
    assert named(labels) == {"animal": "eläin", "dog": "koira", "mouse": "hiiri", "norse": "Canis lupus"}


def test_concepts_are_described(write):
    path = write("v.ttl", TURTLE)
    assert named(Labels(path, describe="alternatives"))["dog"] == "dog: canine, hound"
    broader = named(Labels(path, describe="broader"))
    assert broader["dog"] == "dog: animal"
    assert broader["cat"] == "domestic cat: pet", "the pet says so by skos:narrower"


def test_the_study_reads_a_vocabulary(write, tmp_path, capsys):
    write("v.ttl", TURTLE)
    write("docs.csv", f"text,labels\none,<{V}dog>\ntwo,<{V}mouse>\nthree,\n")
    reading = read(own("docs.csv", "v.ttl", language="fi", describe="broader"), tmp_path)
    assert {labels[0] for _, _, labels in everything(reading).values() if labels} == {"koira: eläin", "hiiri"}
    assert reading.manifest["labels_left_out"] == 3, "of seven: cat, pet and the deprecated one"
    assert "4 concepts with labels in 'fi'" in capsys.readouterr().out


def test_rdf_xml(write):
    labels = Labels(write("v.rdf.gz", RDF), describe="broader")
    assert named(labels) == {"animal": "animal", "dog": "dog: animal"}
    assert labels.left_out == {f"{V}old": "deprecated"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "v.ttl",
            TURTLE.replace('"cur"@en ;', '"cur"@en'),
            "v.ttl, line 15: expected '.' or '}' or ']' at end",
        ),
        (
            "v.ttl",
            "# a note\n" + TURTLE.replace("v:norse a", "v:norse"),
            "v.ttl, line 15: objectList expected",
        ),
        ("v.ttl", TURTLE[:-20], "v.ttl, line 16: "),
        ("v.ttl", '<a> <b> "cut', "v.ttl, line 1: the file ends within a statement at '<a> <b> \"cut'"),
        ("v.ttl", b"# \xe4", "v.ttl, line 1: byte 0xe4 at 2 is not UTF-8; save it as UTF-8"),
        ("v.ttl", "", "v.ttl holds no skos:Concept that has a skos:prefLabel"),
        ("v.rdf", RDF.replace("</skos:broader>", ""), "v.rdf, line 7: mismatched tag at '</skos:Concept>'"),
        ("v.rdf", RDF[:400], "v.rdf, line 7: no element found"),
        ("v.rdf", RDF.replace("rdf:about", "rdf:ID"), "v.rdf, line 4: rdf:ID value is not a valid NCName"),
        ("v.rdf", RDF.replace('"en">ani', '"e n">ani'), "v.rdf, line 9: 'e n' is not a valid language tag"),
        ("v.xml", "<html></html>", "v.xml holds no skos:Concept"),
        ("v.tsv", f"{ANNIF}cow\tcow\n", "v.tsv, line 3: 'cow\\tcow' is not `<URI>`, a tab and a label"),
        ("v.tsv", f"{ANNIF}<{V}cow>\n", "v.tsv, line 3: `text` is empty"),
        (
            "v.tsv",
            "a dog\t<x>\n",
            "v.tsv holds documents; a line of a vocabulary is `<URI>`, a tab and a label",
        ),
    ],
)
def test_a_vocabulary_that_cannot_be_read_is_named(write, name, content, expected):
    with pytest.raises(CorpusError) as error:
        Labels(write(name, content))
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1


def test_a_language_that_is_not_there(write):
    with pytest.raises(CorpusError, match=r"no skos:prefLabel in the language 'sv'; there are: 'en', 'fi'"):
        Labels(write("v.ttl", TURTLE), language="sv")
    with pytest.raises(CorpusError, match=r"labels.txt is no SKOS vocabulary"):
        Labels(write("labels.txt", LABELS), language="en")


def test_1500_concepts_in_seconds(write):
    """They take a quarter of a second; the bound is for a slow machine."""
    lines = ["@prefix skos: <http://www.w3.org/2004/02/skos/core#> .", f"@prefix v: <{V}> ."]
    concept = 'v:c{} a skos:Concept ; skos:prefLabel "label number {}"@en ; skos:broader v:c{} .'
    lines += [concept.format(i, i, i // 10) for i in range(1, 1500)]
    started = time.process_time()
    assert len(named(Labels(write("v.ttl", "\n".join(lines)), describe="broader"))) == 1499
    assert time.process_time() - started < 3


def test_a_name_before_a_colon_names_the_label_where_no_label_has_it(write):
    labels = Labels(write("labels.txt", "C\nC: a language\nJava: an island\nGo: a game\nGo: a language\n"))
    assert [labels.find(name) for name in ("C", "C: a language", "Java")] == [0, 1, 2]
    with pytest.raises(ValueError, match="label 'Go' is the name of several labels"):
        labels.find("Go")
    with pytest.raises(ValueError, match="'5' is the name of several labels"):
        Labels(write("v.tsv", "<a>\tdog\t5\n<b>\tcat\t5\n")).find("5")


def test_annifs_vocabulary(write):
    labels = Labels(write("v.tsv", ANNIF))
    assert named(labels) == {"dog": "dog", "cat": "cat"}
    assert [labels.find(name) for name in (f"{V}cat", "cat", "599.7")] == [1, 1, 0]


def test_annifs_corpus_of_short_texts(write, tmp_path):
    write("v.tsv", ANNIF)
    write(
        "docs.tsv.gz", f"a dog\t<{V}dog>\na cat, a dog\t<{V}cat> <{V}dog>\nnothing\t\nof cats\t<{V}cat>\r\n"
    )
    assert everything(read(own("docs.tsv.gz", "v.tsv"), tmp_path)) == {
        "1": ("", "a dog", ["dog"]),
        "2": ("", "a cat, a dog", ["dog", "cat"]),
        "3": ("", "nothing", []),
        "4": ("", "of cats", ["cat"]),
    }


def test_annifs_corpus_of_full_texts(write, tmp_path):
    write("v.ttl", TURTLE)
    write("docs/a.txt", "all about\ndogs")
    write("docs/a.tsv", f"\ufeff<{V}dog>\tdog\n<{V}animal>\n")
    write("docs/b.txt", "of cats")
    write("docs/b.key", "domestic cat\r\npet\r\n")
    write("docs/c.txt", "nothing")
    assert everything(read(own("docs", "v.ttl"), tmp_path)) == {
        "a.txt": ("", "all about\ndogs", ["animal", "dog"]),
        "b.txt": ("", "of cats", ["domestic cat", "pet"]),
        "c.txt": ("", "nothing", []),
    }


def test_a_table_with_tabs(write, tmp_path):
    write("labels.txt", LABELS)
    write("docs.tsv", 'uid\ttext\tlabels\na\t"one\ttwo"\tred|blue\nb\tthree\t\nc\tfour\tgreen\n')
    assert everything(read(own("docs.tsv"), tmp_path)) == {
        "a": ("", "one\ttwo", ["red", "blue"]),
        "b": ("", "three", []),
        "c": ("", "four", ["green"]),
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("docs.csv", "text,labels\na,<red><green>\nb,< blue > <red>\nc,red\n"),
        (
            "docs.jsonl",
            "".join(f'{{"text": "a", "labels": "{n}"}}\n' for n in ("<red><green>", "blue|red", "red")),
        ),
    ],
)
def test_several_labels_in_a_cell(write, tmp_path, name, content):
    write("labels.txt", LABELS)
    write(name, content)
    labels = [labels for _, _, labels in everything(read(own(name), tmp_path)).values()]
    assert sorted(labels) == [["red"], ["red", "blue"], ["red", "green"]]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "docs.tsv",
            "a\t<x>\nb\tc\t<x>\n",
            "docs.tsv, line 2: 'c\\t<x>' stands behind the tab; expected `<URI>",
        ),
        ("docs.tsv", "a\t<x>\nb\n", "docs.tsv, line 2: 'b' has no tab; expected a text, a tab and"),
        ("docs.tsv", f"a\t<{V}old>\n", f"line 1: label '{V}old' is deprecated in {{root}}/v.ttl; drop"),
        ("docs.tsv", "id\tbody\na\tb\n", "docs.tsv, line 1: 'id\\tbody' begins no TSV file that can be read"),
        ("docs.tsv", "", "docs.tsv, line 1: '' begins no TSV file"),
        ("docs.tsv", ANNIF, "docs.tsv is a vocabulary, which holds labels; name a file of documents"),
        ("docs.ttl", TURTLE, "docs.ttl is a vocabulary"),
    ],
)
def test_documents_that_cannot_be_used_are_named(write, tmp_path, name, content, expected):
    write("v.ttl", TURTLE)
    write(name, content)
    assert expected.replace("{root}", str(tmp_path)) in message(own(name, "v.ttl"), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "<x>\nno uri\n", "docs/a.txt: a.tsv, line 2: 'no uri' is not `<URI>`, a tab and a label"),
        ("a.tsv", "<x>\tx\n", "docs/a.txt: label 'x' is not in {root}/v.ttl"),
        ("a.key", "dgo\n", "docs/a.txt: label 'dgo' is not in {root}/v.ttl; did you mean 'dog'?"),
        ("b.txt", b"\xe4", "docs/b.txt: byte 0 is not UTF-8; save it as UTF-8"),
        ("b.txt", "\n", "docs/b.txt: `text` is empty"),
    ],
)
def test_a_file_of_a_folder_that_cannot_be_used_is_named(write, tmp_path, name, content, expected):
    write("v.ttl", TURTLE)
    write("docs/a.txt", "dogs")
    write(f"docs/{name}", content)
    assert expected.replace("{root}", str(tmp_path)) in message(own("docs", "v.ttl"), tmp_path)
