"""The reader of Debian's package lists, on small lists that the tests write."""

import pytest
from readings import BASE, documents, message

from lmtx.config import DebianConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import debian, read


def stanzas(*lines):
    """Paragraphs of Debian's control format; here each is a line, with a bar where it has a line end."""
    return "\n\n".join(lines).replace("|", "\n") + "\n"


VOCABULARY = stanzas(
    "Facet: use|Description: Purpose|Nature: what it is for",
    "Tag: use::editing|Description: Editing| To change something that exists.",
    "Tag: use::viewing|Description: Data Visualization",
    "Facet: interface|Description: User Interface",
    "Tag: interface::commandline|Description: Command Line",
    "Tag: interface::TO{}|Description: Need an extra tag".format("DO"),
    "Facet: role|Description: Role",
    "Tag: role::program|Description: Program",
    "Tag: lost::facet|Description: Its facet is not described",
)
EDIT = "Package: edit|Source: edit-suite (1.2-3)|Version: 1.2-3+b1|Description: a text editor|"
PACKAGES = stanzas(
    EDIT + "Description-md5: m1|Tag: interface::commandline, role::program,| use::editing|Depends: a,| b::c",
    "Package: edit-suite|Description-md5: m2|Tag: role::program, use::viewing",
    "Package: libedit|Description-md5: m3|Tag: role::shared-lib, use::editing",
    "Package: tagless|Description-md5: m4|Tag: role::program",
    "Package: undescribed|Description-md5: m9|Tag: role::program, use::editing",
    "Package: other-tool|Description-md5: m4|Tag: role::program, use::viewing",
)
MORE = stanzas(
    "Package: viewer|Description-md5: m5|"
    "Tag: role::program, use::viewing, interface::TO{}, lost::facet, unknown::tag".format("DO")
)
TRANSLATIONS = stanzas(
    "Package: edit|Description-md5: m1|Description-en: a text editor| Not the main package.",
    "Package: edit-suite|Description-md5: m2|Description-en: editors for texts"
    "| The first line| of a paragraph.| .| Another paragraph.",
    "Package: libedit|Description-md5: m3|Description-en: library of the editor",
    "Package: tagless|Description-md5: m4|Description-en: nothing is said",
    "Package: viewer|Description-md5: m5|Description-en: shows pictures| And plots.",
    "Package: foreign|Description-md5: m6|Description-de: nur auf Deutsch",
)
INDEX = """\
Packages\tbookworm\tmain\tlists/packages
Packages\tbookworm\tmain\tlists/more
Packages\tbookworm\tnon-free\tlists/absent
Packages\tbookworm-backports\tmain\tlists/absent
Translations\tbookworm\tmain\tlists/translations
Contents-deb\tbookworm\tmain\tlists/absent
"""


def config(release="bookworm"):
    return DebianConfig(reader="debian", release=release, **BASE)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with apt, as far as its commands are used; changes to the dict change what they print."""
    (tmp_path / "vocabulary").write_text(VOCABULARY)
    (tmp_path / "apt-helper").touch()
    monkeypatch.setattr(debian, "VOCABULARY", tmp_path / "vocabulary")
    monkeypatch.setattr(debian, "_CAT", (str(tmp_path / "apt-helper"), "cat-file"))
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    prints = {
        "index": INDEX,
        "lists/packages": PACKAGES,
        "lists/more": MORE,
        "lists/translations": TRANSLATIONS,
    }

    def run(*command):
        if command[0] == "apt-get":
            return prints["index"]
        assert command[:2] == (str(tmp_path / "apt-helper"), "cat-file")
        return prints[command[2]]

    monkeypatch.setattr(debian, "_run", run)
    return prints


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", []),
        ("role::program", ["role::program"]),
        ("a::b,c::d,\n e::f", ["a::b", "c::d", "e::f"]),
        ("use::{editing,viewing}, role::program", ["use::editing", "use::viewing", "role::program"]),
        ("works-with::{image:raster,3dmodel}", ["works-with::image:raster", "works-with::3dmodel"]),
        ("a::{b}, c::{d,e}", ["a::b", "c::d", "c::e"]),
    ],
)
def test_tags_in_braces_are_written_out(field, expected):
    assert debian._tags(field) == expected


def test_programs_become_documents_with_the_topics_of_all_their_packages(machine):
    """Of edit-suite's two packages the one of its name describes it; libraries and what lacks a text go."""
    reading = read(config())
    assert documents(reading) == {
        "edit-suite": (
            "edit-suite",
            "editors for texts\nThe first line of a paragraph. Another paragraph.",
            ["interface::commandline", "use::editing", "use::viewing"],
        ),
        "viewer": ("viewer", "shows pictures\nAnd plots.", ["use::viewing"]),
        "other-tool": ("other-tool", "nothing is said", ["use::viewing"]),
    }
    assert reading.corpus.validate().labels.to_pydict() == {
        "uid": ["interface::commandline", "use::editing", "use::viewing"],
        "text": ["User Interface: Command Line", "Purpose: Editing", "Purpose: Data Visualization"],
    }
    assert reading.manifest["source_packages"] == 6
    assert reading.manifest["no_program_topic_or_description"] == 3
    assert (reading.manifest["release"], reading.manifest["near_duplicates"]) == ("bookworm", 0)


def test_without_apt_another_data_set_is_proposed(machine, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda _: None)
    assert "no apt here; take another data set, or run the study in a Debian" in message(config())


@pytest.mark.parametrize(
    ("index", "release", "expected"),
    [
        ("", "trixie", "those of bookworm, bookworm-backports, not of trixie; set dataset.release"),
        ("Packages", "bookworm", "apt has no English descriptions here; as root: apt-get update"),
        ("nothing", "bookworm", "apt has no package lists here; as root: apt-get update"),
    ],
)
def test_lists_that_are_not_here_are_named_with_the_remedy(machine, index, release, expected):
    machine["index"] = "".join(line for line in INDEX.splitlines(True) if line.startswith(index))
    assert expected in message(config(release))


def test_lists_without_tags_are_named(machine):
    """As those of a system that is made from Debian may be."""
    for lists in ("lists/packages", "lists/more"):
        machine[lists] = machine[lists].replace("Tag:", "Untag:")
    assert "bookworm have no program with a topic and an English description" in message(config())


def test_without_the_vocabulary_the_message_says_how_to_get_it(machine):
    debian.VOCABULARY.unlink()
    error = message(config())
    assert str(debian.VOCABULARY) in error
    assert "apt-get install -y --no-install-recommends debtags" in error


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path):
    command = tmp_path / "apt-helper"
    command.write_text("#!/bin/sh\necho first >&2\necho 'E: no such list' >&2\nexit 3\n")
    command.chmod(0o755)
    with pytest.raises(CorpusError, match=r"apt-helper failed \(E: no such list\); as root: apt-get update"):
        debian._run(str(command), "cat-file", "x")
