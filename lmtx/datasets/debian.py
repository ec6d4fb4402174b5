"""debian: the software catalogue of a Debian system, with the tags that people gave its packages.

A document is a source package of a program (libraries, fonts and data alone are none): its title the name,
its text the English description of its main binary package. A label is a tag of the Debtags vocabulary
(Enrico Zini and the Debtags team), as "facet: title"; the annotations are the tags of the source's
binary packages. apt's own tools read everything from the package lists of this machine.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lmtx.config import DebianConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import assemble_held_out, label_table
from lmtx.datasets.spool import near_duplicates

VOCABULARY = Path("/usr/share/debtags/vocabulary")
NO_TOPIC = frozenset({"role", "implemented-in", "scope", "made-of", "iso15924", "special", "secteam"})
"""Facets that are no topics: how a package is built, or its state."""
PREPARE = "apt-get update -o Acquire::Languages=en && apt-get install -y --no-install-recommends debtags"
_UNDONE = "TO" + "DO"  # ends tags that say nothing yet
PROGRAM = "role::program"
_CAT = ("/usr/lib/apt/apt-helper", "cat-file")
# The fields that are read of a stanza, each with the indented lines that continue it.
_FIELD = re.compile(
    r"^(Package|Source|Tag|Description|Description-en|Description-md5|Facet):(.*(?:\n[ \t].*)*)", re.MULTILINE
)

Stanza = dict[str, str]


def read(config: DebianConfig, root: Path, scratch: Path) -> Reading:
    """Read the package lists of this machine; `root` does not matter.

    Raises `CorpusError` without apt, with the lists of another release than `config.release`, or without
    tags, English descriptions or the vocabulary; the message gives the remedy.
    """
    packages, descriptions = _lists(config.release)
    titles = _vocabulary()
    # The binary packages that are built of a source package belong together.
    sources: dict[str, list[Stanza]] = {}
    for package in packages:
        name = package.get("Source", package["Package"]).split()[0]
        sources.setdefault(name, []).append(package)
    # A document is a source with a program, a topic and a description; the main package describes it.
    documents = []
    for name in sorted(sources):
        tags = {tag for package in sources[name] for tag in _tags(package.get("Tag", ""))}
        topics = tags & titles.keys()
        main = min(sources[name], key=lambda package: (package["Package"] != name, package["Package"]))
        text = descriptions.get(main.get("Description-md5", ""))
        if PROGRAM in tags and topics and text:
            documents.append((name, text, topics))
    if not documents:
        raise CorpusError(
            f"the package lists of {config.release} have no program with a topic and an English description; "
            "take another data set, or run the study in a Debian container"
        )
    used = sorted({tag for _, _, topics in documents for tag in topics})
    ids = {tag: i for i, tag in enumerate(used)}
    groups = near_duplicates([text for _, text, _ in documents])
    manifest = {
        "release": config.release,
        "source_packages": len(sources),
        "no_program_topic_or_description": len(sources) - len(documents),
        "near_duplicates": len(documents) - int(groups.max()) - 1,
    }
    labels = label_table(used, [titles[tag] for tag in used])
    annotated = ((name, name, text, [ids[tag] for tag in topics]) for name, text, topics in documents)
    return assemble_held_out(config, labels, "the package lists", annotated, scratch, groups, manifest)


def _lists(release: str) -> tuple[list[Stanza], dict[str, str]]:
    """Read the binary packages of a release, and their English descriptions by MD5."""
    if not shutil.which("apt-get") or not Path(_CAT[0]).is_file():
        raise CorpusError(
            "the data set debian reads the package lists of a Debian system through apt, and there is no apt "
            "here; take another data set, or run the study in a Debian container"
        )
    form = "$(IDENTIFIER)\t$(CODENAME)\t$(COMPONENT)\t$(FILENAME)"
    listed = _run("apt-get", "indextargets", "--format", form, "-o", "Acquire::Languages=en")
    targets = [line.split("\t") for line in listed.splitlines()]
    files: dict[str, list[str]] = {"Packages": [], "Translations": []}
    for kind, codename, component, file in targets:
        if kind in files and codename == release and component == "main":
            files[kind].append(file)
    if not files["Packages"] and (others := sorted({target[1] for target in targets})):
        raise CorpusError(
            f"the package lists here are those of {', '.join(others)}, not of {release}; set dataset.release "
            "for a study of its own (the recorded verdicts are on the texts of the other)"
        )
    if not all(files.values()):
        missing = "package lists" if not files["Packages"] else "English descriptions"
        raise CorpusError(f"apt has no {missing} here; as root: {PREPARE}")
    packages = [stanza for file in files["Packages"] for stanza in _stanzas(_run(*_CAT, file))]
    descriptions = {
        stanza["Description-md5"]: _plain(stanza["Description-en"])
        for file in files["Translations"]
        for stanza in _stanzas(_run(*_CAT, file))
        if "Description-en" in stanza
    }
    return packages, descriptions


def _vocabulary() -> dict[str, str]:
    """Map each tag that names a topic to its text "facet: title"."""
    if not VOCABULARY.is_file():
        raise CorpusError(f"no vocabulary of tags at {VOCABULARY}; as root: {PREPARE}")
    facets, tags = {}, {}
    for stanza in _stanzas(VOCABULARY.read_text(encoding="utf-8")):
        title = stanza.get("Description", "").partition("\n")[0].strip()
        if "Facet" in stanza:
            facets[stanza["Facet"]] = title
        elif "Tag" in stanza:
            tags[stanza["Tag"]] = title
    return {
        tag: f"{facets[facet]}: {title}"
        for tag, title in tags.items()
        if (facet := tag.partition("::")[0]) not in NO_TOPIC and not tag.endswith(_UNDONE) and facet in facets
    }


def _tags(field: str) -> list[str]:
    """Split a package's field into tags; in it a::{b,c} is short for a::b, a::c."""
    field = re.sub(
        r"([\w:-]+::)\{([^}]*)\}", lambda m: ", ".join(m[1] + part for part in m[2].split(",")), field
    )
    return [tag.strip() for tag in field.split(",") if tag.strip()]


def _plain(description: str) -> str:
    """Remove a description's indentation and the dots of its empty lines."""
    lines = [line.strip() for line in description.splitlines()]
    return "\n".join([lines[0], " ".join(line for line in lines[1:] if line != ".")]).strip()


def _stanzas(text: str) -> Iterator[Stanza]:
    """Yield the paragraphs of a file in Debian's control format, with the fields that are read here."""
    for paragraph in text.split("\n\n"):
        if stanza := {name: value.strip() for name, value in _FIELD.findall(paragraph)}:
            yield stanza


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CorpusError(f"{command[0]} failed ({last}); as root: {PREPARE}")
    return done.stdout
