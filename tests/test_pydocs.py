"""The reader of documentation, on a small package that the tests write, and on an installed one."""

import hashlib
import os
import re
import sys
from pathlib import Path

import pytest

from lmtx.config import PydocsConfig
from lmtx.corpus import SPLITS, CorpusError
from lmtx.datasets import Reading, read
from lmtx.datasets.pydocs.docstrings import entries, parse

TOP = '''
"""A package whose parts are private, and shown here."""

from boxes import _core
from boxes._core import Box, Crate, alpha, alpha as first_letter, beta, empty, gamma, knob, moody, _hidden

__version__ = "1.2.3"
print("noise on standard output")


def __getattr__(name):
    if name == "old_alpha":
        import warnings

        warnings.warn("use alpha", DeprecationWarning, stacklevel=2)
        return alpha
    raise AttributeError(name)


def __dir__():
    return [*globals(), "old_alpha"]
'''

CORE = '''
import functools


def alpha(x):
    """Compute the first letter
    of an alphabet.

    It works for *every* alphabet, unlike `beta`.

    Parameters
    ----------
    x : int
        Which alphabet, see [1]_.

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

    Examples
    --------
    >>> alpha(1)
    'secretword'
    """


def beta(x):
    """Compute the second letter of an alphabet.

    .. seealso:: `.alpha`

    .. versionadded:: 1.1

        With noise and secretword.
    """


def empty():
    """Too short."""


def _hidden():
    """A private function that nobody is shown in the list."""


def gamma():
    pass


gamma.__doc__ = "gamma(x, /, *, out=None)\\ngamma(x) -> letter\\n\\nCompute the third letter."


class _Lid:
    def close(self):
        """Close whatever it is that has this lid."""


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
    def size(self):
        """How many letters the box can hold."""

    @classmethod
    def of(cls, letters):
        """Make a box of some given letters."""


class Crate(Box):
    """A crate is a box made of wood.

    See Also
    --------
    Box.size, Crate.size
    shapes.open_crate : Takes the lid off.
    """

    def size(self):
        pass


class _Knob:
    """A knob that is one of a kind here."""


knob = _Knob()


class _Moody:
    """An object that computes its attributes, and cannot here."""

    def __getattr__(self, name):
        raise RuntimeError("no such device")


moody = _Moody()
'''

SHAPES = '''
"""Shapes, with a list of what is public."""

from boxes._core import beta

__all__ = ["circle", "open_crate", "square", "beta"]


def circle(radius):
    """Draw a circle of the given radius.

    See Also: square, alpha
    """


def square(side):
    """Draw a square of the given side.

    Memory at 0x7f00deadbeef is not for reading.
    """


def open_crate():
    """Draw a square of the given side twice."""


def helper():
    """A helper that the list of public names leaves out."""


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
    return PydocsConfig(
        reader="pydocs",
        name="pydocs",
        libraries=list(libraries),
        min_words=min_words,
        test_documents=test,
        dev_documents=dev,
        train_documents=train,
        wording="api-page",
        propensity="other",
    )


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """The folder of the package, on the import path."""
    folder = tmp_path_factory.mktemp("packages")
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def reading(boxes) -> Reading:
    return read(config("boxes"))


def texts(reading: Reading) -> dict[str, str]:
    return {
        row["uid"]: row["text"] for split in SPLITS for row in reading.corpus.documents(split).to_pylist()
    }


def truth(reading: Reading) -> dict[str, list[str]]:
    labels = reading.corpus.labels["uid"].to_pylist()
    found = {}
    for split in SPLITS:
        rows = reading.truth[split].tolil().rows
        for uid, row in zip(reading.corpus.documents(split)["uid"].to_pylist(), rows, strict=True):
            found[uid] = [labels[label] for label in row]
    return found


def split_of(reading: Reading) -> dict[str, str]:
    return {uid: split for split in SPLITS for uid in reading.corpus.documents(split)["uid"].to_pylist()}


def lowest(uids, salt: str) -> list[str]:
    return sorted(uids, key=lambda uid: hashlib.sha256(f"{salt}\0{uid}".encode()).hexdigest())


def test_documents_have_the_names_that_users_write(reading):
    assert texts(reading).keys() == {
        "boxes.alpha",
        "boxes.beta",
        "boxes.gamma",
        "boxes.knob",
        "boxes.Box",
        "boxes.Box.close",
        "boxes.Box.open",
        "boxes.Box.of",
        "boxes.Crate",
        "boxes.shapes.circle",
        "boxes.shapes.square",
        "boxes.shapes.open_crate",
    }
    for split in SPLITS:
        table = reading.corpus.documents(split)
        assert table["title"].to_pylist() == table["uid"].to_pylist()


def test_texts_keep_the_prose_and_lose_see_also_examples_and_references(reading):
    found = texts(reading)
    assert found["boxes.alpha"].splitlines() == [
        "Compute the first letter of an alphabet.",
        "It works for every alphabet, unlike beta.",
        "Parameters",
        "x : int Which alphabet, see.",
    ]
    assert found["boxes.beta"] == "Compute the second letter of an alphabet."
    assert found["boxes.gamma"] == "Compute the third letter."
    assert found["boxes.Box"] == "A box to put letters of alphabets into."
    assert found["boxes.shapes.circle"] == "Draw a circle of the given radius."
    assert found["boxes.shapes.square"].endswith("\nMemory is not for reading.")
    assert not any("secretword" in text or "See Also" in text for text in found.values())


def test_labels_are_all_documents_as_name_and_summary(reading):
    labels = dict(
        zip(*(reading.corpus.labels[column].to_pylist() for column in ("uid", "text")), strict=True)
    )
    assert labels.keys() == texts(reading).keys()
    assert labels["boxes.alpha"] == "boxes.alpha: Compute the first letter of an alphabet."
    assert labels["boxes.Box.of"] == "boxes.Box.of: Make a box of some given letters."


def test_truth_is_what_see_also_resolves_to(reading):
    expected = {uid: [] for uid in texts(reading)} | {
        "boxes.alpha": ["boxes.Box.open", "boxes.beta", "boxes.shapes.circle"],
        "boxes.beta": ["boxes.alpha"],
        "boxes.Box": ["boxes.Crate"],
        "boxes.Box.open": ["boxes.Box.close"],
        # Box.size is a property, and Crate.size has no docstring: neither is a document
        "boxes.Crate": ["boxes.shapes.open_crate"],
        "boxes.shapes.circle": ["boxes.alpha", "boxes.shapes.square"],
    }
    assert truth(reading) == expected


def test_a_documents_own_label_is_excluded_and_never_true(reading):
    labels = reading.corpus.labels["uid"].to_pylist()
    for split in SPLITS:
        own = [labels.index(uid) for uid in reading.corpus.documents(split)["uid"].to_pylist()]
        excluded = reading.corpus.excluded[split]
        assert excluded.tolil().rows.tolist() == [[label] for label in own]
        assert excluded.multiply(reading.truth[split]).nnz == 0


def test_manifest_counts_what_was_found(reading):
    manifest = reading.manifest
    assert manifest["libraries"] == {"boxes": "1.2.3"}
    assert sorted(manifest["modules_not_imported"]) == ["boxes.broken", "boxes.leaving"]
    assert "a_package_that_nobody_has" in manifest["modules_not_imported"]["boxes.broken"]
    # the twelve documents, the property Box.size, `empty`, and Crate's undocumented `size`
    assert manifest["objects"] == 15
    assert manifest["attributes_left_out"] == 1
    assert manifest["near_empty_dropped"] == 2
    assert manifest["documents"] == manifest["labels"] == 12
    assert manifest["splits"] == {"train": 10, "dev": 1, "test": 1}
    # first_letter, boxes.shapes.beta, and what Crate inherits: close, open, of
    assert manifest["aliases"] == 5
    assert manifest["identical_docstrings_merged"] == 0
    assert manifest["with_truth"] == 6
    assert manifest["truth_pairs"] == 9
    assert manifest["truth_labels"] == 8
    assert manifest["mean_labels_per_document"] == round(9 / 6, 3)
    # alpha 6, beta 1, Box 1, Box.open 2, Crate 3, circle 2
    assert manifest["see_also_entries"] == 15
    assert manifest["see_also_to_itself"] == 2
    assert manifest["see_also_to_no_document"] == 3
    assert manifest["see_also_unresolved"] == 1
    assert manifest["see_also_resolved"] == 9
    assert manifest["unresolved_examples"] == ["boxes.alpha: missing_thing"]


def test_splits_follow_the_hashes_of_the_names(reading):
    annotated = [uid for uid, labels in truth(reading).items() if labels]
    test = lowest(annotated, "test")[:1]
    rest = lowest(texts(reading).keys() - set(test), "dev")
    assert reading.corpus.test["uid"].to_pylist() == test
    assert reading.corpus.dev["uid"].to_pylist() == rest[:1]
    assert reading.corpus.train["uid"].to_pylist() == lowest(rest[1:], "train")


def test_the_same_documentation_gives_the_same_content_hash(reading, boxes, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.chdir(tmp_path)
    Path("boxes.py").write_text("raise ImportError('the wrong one')", encoding="utf-8")
    assert read(config("boxes", "boxes")).manifest == reading.manifest


def test_a_new_object_moves_only_what_stands_at_the_border(reading, boxes, tmp_path, monkeypatch):
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    more = CORE[CORE.index("def beta") : CORE.index("def empty")].replace("beta", "delta")
    (tmp_path / "boxes/more.py").write_text(more.replace("second", "fourth"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    grown = read(config("boxes"))
    assert truth(grown) == {**truth(reading), "boxes.more.delta": ["boxes.alpha"]}
    before, after = split_of(reading), split_of(grown)
    moved = {uid for uid in before if before[uid] != after[uid]}
    assert len(moved) == (after["boxes.more.delta"] != "train")
    assert grown.manifest["content_sha256"] != reading.manifest["content_sha256"]


def test_train_documents_limits_the_documents_but_not_the_labels(reading, boxes):
    small = read(config("boxes", test=2, train=4))
    everything = lowest(set(texts(small)) - set(small.corpus.test["uid"].to_pylist()), "train")
    assert small.corpus.train.num_rows == 4
    assert small.corpus.labels.equals(reading.corpus.labels)
    assert [uid for uid in everything if split_of(small)[uid] == "train"] == small.corpus.train[
        "uid"
    ].to_pylist()


def test_min_words_drops_short_pages_from_documents_and_labels(boxes):
    assert "boxes.empty" in texts(read(config("boxes", min_words=2)))
    long = read(config("boxes", min_words=8))
    assert all(len(text.split()) >= 8 for text in texts(long).values())
    assert set(long.corpus.labels["uid"].to_pylist()) == texts(long).keys()


@pytest.mark.parametrize("name", ["boxess", "no_such_package"])
def test_a_library_that_is_not_installed_is_named_with_the_remedy(boxes, name):
    with pytest.raises(CorpusError, match=rf"library '{name}' is not installed.*dataset\.libraries"):
        read(config("boxes", name))


@pytest.mark.parametrize("name", ["boxes.shapes", ""])
def test_a_library_is_a_top_level_package(boxes, name):
    with pytest.raises(CorpusError, match=f"'{name}' in dataset.libraries is not the name of a top-level"):
        read(config(name))


def test_a_library_that_cannot_be_imported_is_named_with_its_reason(boxes):
    (boxes / "brittle.py").write_text("raise RuntimeError('no such device')", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"'brittle' cannot be imported \(RuntimeError: no such device\)"):
        read(config("boxes", "brittle"))


def test_a_library_that_ends_the_process_is_an_error(boxes):
    (boxes / "fatal.py").write_text("import os\nos._exit(9)", encoding="utf-8")
    with pytest.raises(CorpusError, match="documentation of fatal cannot be read: exit status 9"):
        read(config("fatal"))


@pytest.mark.parametrize(("test", "dev"), [(7, 1), (6, 7)])
def test_too_few_documents_are_counted_in_the_error(boxes, test, dev):
    counts = rf"12 documents, 6 with a See Also; not enough for {test} test .* {dev} dev"
    with pytest.raises(CorpusError, match=counts):
        read(config("boxes", test=test, dev=dev))


def test_importing_the_libraries_leaves_this_process_alone(reading, capfd):
    assert "boxes" not in sys.modules
    assert capfd.readouterr() == ("", "")


def test_numpy_as_it_is_installed():
    found = read(config("numpy", test=100, dev=100, min_words=5))
    uids = set(texts(found))
    assert uids >= {
        "numpy.add",
        "numpy.concatenate",
        "numpy.linalg.norm",
        "numpy.ndarray.sort",
        "numpy.random.Generator.normal",
        "numpy.random.rand",
        "numpy.r_",
        "numpy.polynomial.Polynomial",
    }
    assert not [uid for uid in uids if re.search(r"\._|\.(tests|f2py|core)\.", uid)]
    labels = {label.partition(": ")[0]: label for label in found.corpus.labels["text"].to_pylist()}
    assert labels["numpy.add"] == "numpy.add: Add arguments element-wise."
    related = {"numpy.einsum", "numpy.linalg.multi_dot", "numpy.matmul", "numpy.tensordot", "numpy.vdot"}
    assert set(truth(found)["numpy.dot"]) >= related
    assert found.manifest["see_also_unresolved"] < 0.1 * found.manifest["see_also_entries"]
    prefix = os.path.realpath(os.__file__).partition("lib")[0]
    for text in texts(found).values():
        assert not re.search(r"^See Also\b| at 0x|>>>|\.\. \w+::|`\w+`", text, re.MULTILINE)
        assert prefix not in text


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
    found = parse(
        """Give a summary.

        Args:
            x: Something.

        Examples:
            secretword(1)

            secretword(2)

        Returns:
            Nothing much.

        .. rubric:: References

        secretword

        **Notes**

        A note remains.

        .. note:: This one as well.

        .. plot::

            secretword
        """
    )
    assert found.summary == "Give a summary."
    assert found.body.splitlines() == [
        "Args: x: Something.",
        "Returns: Nothing much.",
        "Notes",
        "A note remains.",
        "This one as well.",
    ]


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
