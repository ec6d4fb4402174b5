"""The reader of documentation, on a small package that the tests write, and on an installed one."""

import hashlib
import re
import sys
from pathlib import Path

import pytest
from readings import BASE, documents, message, sizes

from lmtx.config import PydocsConfig
from lmtx.corpus import SPLITS
from lmtx.datasets import Reading, pydocs, read
from lmtx.datasets.pydocs.docstrings import entries, parse

TOP = """
import warnings
from boxes import _core
from boxes._core import Box, Crate, alpha, alpha as first_letter, beta, empty, gamma, knob, moody, _hidden
__version__ = "1.2.3"
print("noise on standard output")

def __getattr__(name):
    if name != "old_alpha":
        raise AttributeError(name)
    warnings.warn("use alpha", DeprecationWarning, stacklevel=2)
    return alpha

def __dir__():
    return [*globals(), "old_alpha"]
"""

CORE = '''
def alpha(x):
    """Compute the first letter
    of an alphabet.

    It works for *every* alphabet, unlike `beta` [1]_.

    See Also
    --------
    beta : The second letter, described with the word secretword.
    Box.open, missing_thing
    :func:`~boxes.shapes.circle`
    alpha : This one.
    empty : A page with nothing on it.

    References
    ----------
    .. [1] Somebody, "The secretword".
    """

def beta(x):
    """Compute the second letter of an alphabet.

    .. seealso:: `.alpha`

    .. versionadded:: 1.1

        With noise and secretword.
    """

def empty(): "Too short."
def _hidden(): "A private function that nobody is shown in the list."
def gamma(): pass
gamma.__doc__ = "gamma(x, /, *, out=None)\\ngamma(x) -> letter\\n\\nCompute the third letter."

class _Lid:
    def close(self): "Close whatever it is that has this lid."

class Box(_Lid):
    """A box to put letters of alphabets into.

    See also `Crate`.
    """
    count = 3

    def open(self):
        """Open the box so that letters come out.

        See Also
        --------
        close
        open : The function of that name
            that is not here.
        """

    @property
    def size(self): "How many letters the box can hold."
    @classmethod
    def of(cls, letters): "Make a box of some given letters."

class Crate(Box):
    """A crate is a box made of wood.

    See Also
    --------
    Box.size, Crate.size
    shapes.open_crate : Takes the lid off.
    """
    def size(self): pass

class _Knob: "A knob that is one of a kind here."
knob = _Knob()

class _Moody:
    "An object that computes its attributes, and cannot here."
    def __getattr__(self, name): raise RuntimeError("no such device")
moody = _Moody()
'''

SHAPES = '''
from boxes._core import beta
__all__ = ["circle", "open_crate", "square", "beta"]

def circle(radius):
    """Draw a circle of the given radius.

    See Also: square, alpha
    """

def square(side): "Draw a square of the given side.\\n\\nMemory at 0x7f00deadbeef is not for reading."
def open_crate(): "Draw a square of the given side twice."
def helper(): "A helper that the list of public names leaves out."
helper.__module__ = "boxes._core"
'''

MODULES = {
    "boxes/__init__.py": TOP,
    "boxes/_core.py": CORE,
    "boxes/shapes.py": SHAPES,
    "boxes/broken.py": "import a_package_that_nobody_has",
    "boxes/leaving.py": "raise SystemExit(3)",
    "boxes/tests/__init__.py": 'def probe():\n    """A test that should not be found here."""',
    "boxes/conftest.py": 'def fixture():\n    """A fixture that should not be found here."""',
}


def config(*libraries: str, test=1, dev=1, train=None, min_words=3) -> PydocsConfig:
    counts = {"test_documents": test, "dev_documents": dev, "train_documents": train}
    values = BASE | counts | {"libraries": list(libraries), "min_words": min_words}
    return PydocsConfig(reader="pydocs", **values)


def write_boxes(folder: Path) -> None:
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, encoding="utf-8")


SCAN = pydocs._scan_elsewhere


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """The folder of the package, on the import path; it is scanned once."""
    folder, scanned = tmp_path_factory.mktemp("packages"), {}

    def scan(libraries: list[str]) -> dict:
        key = tuple(libraries)
        if key not in scanned:
            scanned[key] = SCAN(libraries)
        return scanned[key]

    write_boxes(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(pydocs, "_scan_elsewhere", scan)
        yield folder


@pytest.fixture(scope="module")
def reading(boxes) -> Reading:
    return read(config("boxes"))


def texts(reading: Reading) -> dict[str, str]:
    return {uid: text for uid, (_, text, _) in documents(reading).items()}


def truth(reading: Reading) -> dict[str, list[str]]:
    return {uid: labels for uid, (_, _, labels) in documents(reading).items()}


def lowest(uids, salt: str) -> list[str]:
    return sorted(uids, key=lambda uid: hashlib.sha256(f"{salt}\0{uid}".encode()).hexdigest())


def test_documents_have_the_names_that_users_write_and_the_prose(reading):
    """See Also, examples and references are cut out."""
    found = texts(reading)
    assert found == found | {
        "boxes.alpha": "Compute the first letter of an alphabet.\nIt works for every alphabet, unlike beta.",
        "boxes.beta": "Compute the second letter of an alphabet.",
        "boxes.gamma": "Compute the third letter.",
        "boxes.Box": "A box to put letters of alphabets into.",
        "boxes.shapes.circle": "Draw a circle of the given radius.",
        "boxes.shapes.square": "Draw a square of the given side.\nMemory is not for reading.",
    }
    others = "knob Box.close Box.open Box.of Crate gamma shapes.square shapes.open_crate"
    assert found.keys() == set(ANNOTATED) | {f"boxes.{name}" for name in others.split()}
    assert all(title == uid for uid, (title, _, _) in documents(reading).items())
    assert not any("secretword" in text or "See Also" in text for text in found.values())
    labels = dict(zip(*(reading.corpus.labels[c].to_pylist() for c in ("uid", "text")), strict=True))
    assert labels.keys() == found.keys()
    assert labels["boxes.alpha"] == "boxes.alpha: Compute the first letter of an alphabet."


ANNOTATED = {
    "boxes.alpha": ["boxes.Box.open", "boxes.beta", "boxes.shapes.circle"],
    "boxes.beta": ["boxes.alpha"],
    "boxes.Box": ["boxes.Crate"],
    "boxes.Box.open": ["boxes.Box.close"],
    # Box.size is a property, and Crate.size has no docstring: neither is a document
    "boxes.Crate": ["boxes.shapes.open_crate"],
    "boxes.shapes.circle": ["boxes.alpha", "boxes.shapes.square"],
}


def test_truth_is_what_see_also_resolves_to_and_never_a_document_s_own_label(reading):
    assert truth(reading) == {uid: [] for uid in texts(reading)} | ANNOTATED
    labels = reading.corpus.labels["uid"].to_pylist()
    for split in SPLITS:
        own = [[labels.index(uid)] for uid in reading.corpus.documents(split)["uid"].to_pylist()]
        excluded = reading.corpus.excluded[split]
        assert excluded.tolil().rows.tolist() == own
        assert excluded.multiply(reading.truth[split]).nnz == 0


def test_manifest_counts_what_was_found(reading):
    manifest = dict(reading.manifest)
    failed = manifest.pop("modules_not_imported")
    assert sorted(failed) == ["boxes.broken", "boxes.leaving"]
    assert "a_package_that_nobody_has" in failed["boxes.broken"]
    del manifest["python"], manifest["content_sha256"]
    assert manifest == {
        "libraries": {"boxes": "1.2.3"},
        # the twelve documents, the property Box.size, `empty`, and Crate's undocumented `size`
        "objects": 15,
        "attributes_left_out": 1,
        "near_empty_dropped": 2,
        "documents": 12,
        "documents_by_library": {"boxes": 12},
        "labels": 12,
        "splits": {"train": 10, "dev": 1, "test": 1},
        # first_letter, boxes.shapes.beta, and what Crate inherits: close, open, of
        "aliases": 5,
        "identical_docstrings_merged": 0,
        "with_truth": 6,
        "truth_pairs": 9,
        "truth_labels": 8,
        "mean_labels_per_document": 1.5,
        # alpha 6, beta 1, Box 1, Box.open 2, Crate 3, circle 2
        "see_also_entries": 15,
        "see_also_to_itself": 2,
        "see_also_to_no_document": 3,
        "see_also_unresolved": 1,
        "see_also_resolved": 9,
        "unresolved_examples": ["boxes.alpha: missing_thing"],
    }


def test_splits_follow_the_hashes_of_the_names(reading, boxes):
    test = lowest(ANNOTATED, "test")[:1]
    rest = lowest(texts(reading).keys() - set(test), "dev")
    assert list(documents(reading, splits=["test"])) == test
    assert list(documents(reading, splits=["dev"])) == rest[:1]
    train = lowest(rest[1:], "train")
    assert list(documents(reading, splits=["train"])) == train
    few = read(config("boxes", train=4))
    assert list(documents(few, splits=["train"])) == train[:4]
    assert few.corpus.labels.equals(reading.corpus.labels)


def test_the_same_documentation_gives_the_same_content_hash(reading, boxes, monkeypatch, tmp_path):
    monkeypatch.setattr(pydocs, "_scan_elsewhere", SCAN)
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.chdir(tmp_path)
    Path("boxes.py").write_text("raise ImportError('the wrong one')", encoding="utf-8")
    assert read(config("boxes", "boxes")).manifest == reading.manifest


def test_a_new_object_moves_only_what_stands_at_the_border(reading, boxes, tmp_path, monkeypatch):
    write_boxes(tmp_path)
    more = CORE[CORE.index("def beta") : CORE.index("def empty")].replace("beta", "delta")
    (tmp_path / "boxes/more.py").write_text(more.replace("second", "fourth"), encoding="utf-8")
    monkeypatch.setattr(pydocs, "_scan_elsewhere", SCAN)
    monkeypatch.syspath_prepend(tmp_path)
    grown = read(config("boxes"))
    assert truth(grown) == {**truth(reading), "boxes.more.delta": ["boxes.alpha"]}
    before, after = (
        {uid: split for split in SPLITS for uid in documents(each, splits=[split])}
        for each in (reading, grown)
    )
    moved = {uid for uid in before if before[uid] != after[uid]}
    assert len(moved) == (after["boxes.more.delta"] != "train")
    assert grown.manifest["content_sha256"] != reading.manifest["content_sha256"]


def test_min_words_drops_short_pages_from_documents_and_labels(boxes):
    long = read(config("boxes", min_words=8))
    assert all(len(text.split()) >= 8 for text in texts(long).values())
    assert set(long.corpus.labels["uid"].to_pylist()) == texts(long).keys()


@pytest.mark.parametrize(
    ("library", "source", "expected"),
    [
        ("boxess", None, r"library 'boxess' is not installed.*dataset\.libraries"),
        ("boxes.shapes", None, "'boxes.shapes' in dataset.libraries is not the name of a top-level"),
        ("brittle", "raise RuntimeError('no')", r"'brittle' cannot be imported \(RuntimeError: no\)"),
        ("fatal", "import os\nos._exit(9)", "documentation of boxes, fatal cannot be read: exit status 9"),
    ],
)
def test_a_library_that_cannot_be_read_is_named(boxes, library, source, expected):
    if source:
        (boxes / f"{library}.py").write_text(source, encoding="utf-8")
    assert re.search(expected, message(config("boxes", library)))


def test_too_few_documents_are_counted_in_the_error(boxes):
    for test, dev in ((7, 1), (6, 7)):
        counts = rf"12 documents, 6 with a See Also; not enough for {test} test .* {dev} dev"
        assert re.search(counts, message(config("boxes", test=test, dev=dev)))
    assert "boxes" not in sys.modules, "another process imports it"


def test_numpy_as_it_is_installed():
    found = read(config("numpy", test=100, dev=100, min_words=5))
    assert sizes(found)[1:] == [100, 100]
    names = "add concatenate linalg.norm ndarray.sort random.Generator.normal r_ polynomial.Polynomial"
    assert texts(found).keys() >= {f"numpy.{name}" for name in names.split()}
    assert not [uid for uid in texts(found) if re.search(r"\._|\.(tests|f2py|core)\.", uid)]
    assert "numpy.add: Add arguments element-wise." in found.corpus.labels["text"].to_pylist()
    related = {"numpy.einsum", "numpy.linalg.multi_dot", "numpy.matmul", "numpy.tensordot", "numpy.vdot"}
    assert set(truth(found)["numpy.dot"]) >= related
    assert found.manifest["see_also_unresolved"] < 0.1 * found.manifest["see_also_entries"]
    for text in texts(found).values():
        assert not re.search(r"^See Also\b| at 0x|>>>|\.\. \w+::|`\w+`", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("dot : matrix product\n    of `two` arrays\nvdot", ["dot", "vdot"]),
        ("numpy.dot, :func:`vdot`,\n    `numpy.inner`: products", ["numpy.dot", "vdot", "numpy.inner"]),
        (":meth:`~pandas.DataFrame.loc` : by label", ["pandas.DataFrame.loc"]),
        (":class:`the box <boxes.Box>`", ["boxes.Box"]),
        ("- `.Axes.plot`\n- dot -- product", [".Axes.plot", "dot"]),
        ("For details see `dot()` and :ref:`the guide <guide>`.", ["dot"]),
        ("Nothing is marked up here.", []),
        (":ref:`guide`\n    Extended", []),
        ("", []),
    ],
)
def test_entries_of_see_also_in_every_spelling(section, expected):
    assert entries(section.splitlines()) == expected


def test_sections_in_google_style_and_as_rubrics():
    sections = [
        *("Give a summary.", "Args:\n    x: Something.", "Examples:\n    secretword(1)\n\n    secretword(2)"),
        *(
            "Returns:\n    Nothing much.",
            ".. rubric:: References",
            "secretword",
            "**Notes**",
            "A note remains.",
        ),
        *(".. note:: This one as well.", ".. plot::\n\n    secretword"),
    ]
    found = parse("\n\n".join(sections))
    assert found.summary == "Give a summary."
    body = ["Args: x: Something.", "Returns: Nothing much.", "Notes", "A note remains.", "This one as well."]
    assert found.body.splitlines() == body


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("f(x, y=(1, 2)) -> int\n\nDo it.", "Do it."),
        ("f(x,\n  y)\n\nDo it.", "Do it."),
        ("a.f()\n--\n\nDo it.", "Do it."),
        ("[y, t] = f(x)\n\nDo it.", "Do it."),
        ("f(x) - 1 for small x.", "f(x) - 1 for small x."),
        ("Do it (now)\nor never.", "Do it (now) or never."),
        ("f(x)", ""),
        ("Returns\n-------\nint\n    How many.", "int How many."),
        (".. deprecated:: 2.0\n   Use g.\n\nDo it.", "Do it."),
        ("", ""),
    ],
)
def test_summaries_are_no_signatures_titles_or_notices(docstring, summary):
    assert parse(docstring).summary == summary
