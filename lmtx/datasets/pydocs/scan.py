"""Describe the public objects of libraries as JSON, and resolve the names in their See Also sections.

    python -m lmtx.datasets.pydocs.scan RESULT.json LIBRARY…

Importing whole libraries has side effects, so `lmtx.datasets.pydocs.read` runs this in another process.
"""

import functools
import heapq
import importlib
import inspect
import json
import pkgutil
import re
import sys
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmtx.datasets.pydocs.docstrings import parse

# Docstrings call a library so, also where its module does not import it under that name.
ABBREVIATIONS = {"mpl": "matplotlib", "np": "numpy", "nx": "networkx", "pd": "pandas", "sp": "scipy"}
# Parts of names that are not public, and modules that look public but are not.
INTERNAL = {"conftest", "external", "externals", "setup", "test", "tests", "vendor"}
INTERNAL_MODULES = frozenset(
    """
    matplotlib.backends matplotlib.pylab matplotlib.sphinxext matplotlib.testing numpy.core numpy.distutils
    numpy.f2py numpy.ma.core numpy.ma.extras numpy.ma.testutils numpy.testing.print_coercion_tables
    pandas.compat pandas.core pandas.io scipy.special.cython_special
    """.split()  # noqa: SIM905 (a list would take a line a word)
)
MORE_MODULES = {"pandas": ["pandas.io.formats.style", "pandas.io.json"]}  # public, inside internal ones


def scan(libraries: list[str]) -> dict[str, Any]:
    """Import libraries and describe their public objects, as plain data."""
    catalogue = Catalogue(libraries)
    pages = []
    for name, item in sorted({catalogue.name(item): item for item in catalogue.items()}.items()):
        docstring = parse(item.docstring)
        page = {"uid": name, "library": item.library, "callable": callable(item.value)}
        page |= {"summary": docstring.summary, "body": docstring.body, "words": docstring.words}
        targets = {written: catalogue.resolve(item, written) for written in docstring.see_also}
        page["see_also"] = {written: target and catalogue.name(target) for written, target in targets.items()}
        pages.append(page)
    versions = {name: getattr(sys.modules.get(name), "__version__", "unknown") for name in libraries}
    return {
        "libraries": {name: str(versions[name]) for name in libraries if name not in catalogue.failed},
        "names": sum(len({name.text for name in item.names}) for item in catalogue.items()),
        "identical": catalogue.identical,
        "failed": catalogue.failed,
        "pages": pages,
    }


@dataclass(frozen=True)
class Name:
    """A public name of an object."""

    text: str
    owner: type | None  # the class that it goes through; None: it is a module's name
    inherited: bool  # by that class from another public class


@dataclass(eq=False)  # each is itself alone, in sets and as a key
class Item:
    """One public object, shown under the best of its names: packages re-export it, and classes inherit it."""

    value: Any  # a method's function, or the descriptor of a property
    library: str  # the top-level package
    docstring: str  # as written; "" where it has none of its own
    names: list[Name] = field(default_factory=list)  # every public name, in order of discovery


class Catalogue:
    """The public objects of several libraries; docstrings refer to them by name."""

    def __init__(self, libraries: list[str]):
        self.libraries = libraries
        self.by_id: dict[int, Item] = {}  # by id of the object, or of a method's function; merged ones share
        self.failed: dict[str, str] = {}  # public modules that cannot be imported here: name -> reason
        self._mentions: dict[str, Counter[str]] = {}
        for library in libraries:
            for name, module in list(self._modules(library)):
                self._add_module(library, name, module)
            texts = (i.docstring.partition("See Also")[0] for i in self.items() if i.library == library)
            self._mentions[library] = Counter(word for text in texts for word in re.findall(r"\w+", text))
            self._add_members(library)
        self.identical = self._merge_identical()
        self._endings = defaultdict(set)  # library and ending of a name -> the items that have it
        for item in self.items():
            for name in item.names:
                parts = name.text.split(".")
                for start in range(1, len(parts)):
                    self._endings[item.library, ".".join(parts[start:])].add(item)

    def name(self, item: Item) -> str:
        """Choose the name under which an item is shown."""
        # Names through the class that defines it, or, if that is not public, through the most general heirs.
        names = [n for n in item.names if not n.inherited] or item.names
        owners = {n.owner for n in names if n.owner is not None}
        names = [n for n in names if n.owner is None or owners.isdisjoint(n.owner.__mro__[1:])]
        own = getattr(item.value, "__qualname__", getattr(item.value, "__name__", None)) or ""
        path = f"{getattr(item.value, '__module__', None)}.{own}"

        # Fewest parts, the object's own name, the class that docstrings mention most, the alphabet.
        def rank(name: Name) -> tuple:
            is_own = name.text.rpartition(".")[2] == own.rpartition(".")[2]
            mentioned = self._mentions[item.library][name.owner.__name__] if name.owner else 0
            return name.text.count("."), not is_own, name.text != path, -mentioned, name.text

        return min(names, key=rank).text

    def items(self) -> list[Item]:
        """Return the items, each once, in order of discovery."""
        return list(dict.fromkeys(self.by_id.values()))

    def resolve(self, item: Item, written: str) -> Item | None:
        """Return the item that `written` means in the docstring of `item`; None if there is none."""
        path, itself = written.strip(".").split("."), None
        for namespace in self._namespaces(item):
            target = self._look_up(namespace, path)
            if target is item and inspect.isclass(namespace):
                itself = item  # in a method, its own name means the function of that name, if there is one
            elif target is not None:
                return target
        # At last, the only object of the library whose name ends so.
        others = self._endings.get((item.library, ".".join(path)), set()) - {item}
        return itself or (others.pop() if len(others) == 1 else None)

    def _namespaces(self, item: Item) -> list[Any]:
        """Return where to search: the libraries (None), the item's classes, the modules that define it and
        their parents, its public modules, and the item itself if it is a class."""
        owners = list(dict.fromkeys(name.owner for name in item.names if name.owner is not None))
        namespaces = [None, *owners]
        modules = [getattr(value, "__module__", None) for value in (item.value, *owners)]
        modules += [name.text.rpartition(".")[0] for name in item.names]
        for module in dict.fromkeys(m for m in modules if isinstance(m, str)):
            while module:
                namespaces.append(sys.modules.get(module))
                module = module.rpartition(".")[0]
        return [*namespaces, item.value] if inspect.isclass(item.value) else namespaces

    def _look_up(self, namespace: Any, path: list[str]) -> Item | None:
        if namespace is None:
            library, *path = ABBREVIATIONS.get(path[0], path[0]), *path[1:]
            namespace = sys.modules.get(library) if library in self.libraries else None
        for i, leaf in enumerate(path):
            if inspect.isclass(namespace) and i == len(path) - 1:
                # An override without a docstring of its own shows the one it inherits.
                items = (self._item(vars(cls)[leaf]) for cls in namespace.__mro__ if leaf in vars(cls))
                if inherited := next((item for item in items if item and item.docstring), None):
                    return inherited
            try:
                namespace = getattr(namespace, leaf)
            except Exception:  # properties and lazy modules raise whatever they like
                return None
        return self._item(namespace)

    def _item(self, value: Any) -> Item | None:
        value = getattr(value, "__func__", value)
        return self.by_id.get(id(value)) or self.by_id.get(id(type(value)))

    def _merge_identical(self) -> int:
        """Merge items of a library that share last name and docstring, as of a wrapper; return how many."""
        first: dict[tuple, Item] = {}
        into: dict[Item, Item] = {}
        for item in filter(lambda item: item.docstring.strip(), self.items()):
            words = " ".join(item.docstring.split())
            equal = first.setdefault((item.library, self.name(item).rpartition(".")[2], words), item)
            if equal is not item:
                equal.names += item.names
                into[item] = equal
        self.by_id = {key: into.get(item, item) for key, item in self.by_id.items()}
        return len(into)

    def _modules(self, library: str) -> Iterator[tuple[str, types.ModuleType]]:
        """Yield every public module, once, under its shortest name."""
        heap = [(path.count("."), path, path) for path in (library, *MORE_MODULES.get(library, ()))]
        seen = set()
        while heap:
            depth, name, path = heapq.heappop(heap)
            try:
                module = importlib.import_module(path)
            except (Exception, SystemExit) as error:  # deprecated, or in want of an optional package
                self.failed[path] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            if module.__name__ in seen:
                continue
            seen.add(module.__name__)
            yield name, module
            folders = getattr(module, "__path__", ())
            inside = {m.name: f"{module.__name__}.{m.name}" for m in pkgutil.iter_modules(folders)}
            for leaf in getattr(module, "__all__", vars(module) if folders else ()):
                value = vars(module).get(leaf)
                if isinstance(value, types.ModuleType) and root(value.__name__) == library:
                    inside.setdefault(leaf, value.__name__)
            for leaf, path in inside.items():
                if is_public(leaf) and not any(f"{path}.".startswith(f"{m}.") for m in INTERNAL_MODULES):
                    heapq.heappush(heap, (depth + 1, f"{name}.{leaf}", path))

    def _add_module(self, library: str, prefix: str, module: types.ModuleType) -> None:
        listed = set(getattr(module, "__all__", ()))
        for leaf in filter(is_public, sorted(listed | set(dir(module)))):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", DeprecationWarning)
                    value = getattr(module, leaf)
                maker = value.func if isinstance(value, functools.partial) else value
                origin = getattr(maker, "__module__", None)
            except Exception:  # deprecated, or lazy and in want of something
                continue
            has_origin = isinstance(origin, str) and origin != "builtins"
            if inspect.ismodule(value) or (has_origin and root(origin) != library):
                continue
            # A list may forget an object that the module claims as its own.
            own = origin == module.__name__ and (prefix == origin or not listed)
            if leaf in listed or (has_origin and (own or (not listed and hasattr(module, "__path__")))):
                self._add(library, Name(f"{prefix}.{leaf}", None, False), value)

    def _add_members(self, library: str) -> None:
        """Add methods, properties and nested classes of the classes in the catalogue."""
        queue = [i for i in self.items() if i.library == library and inspect.isclass(i.value)]
        for item in queue:  # grows
            for leaf in filter(is_public, dir(item.value)):
                definer = next((c for c in item.value.__mro__ if leaf in vars(c)), None)
                if definer is None or root(definer.__module__) != library:
                    continue
                inherited = definer is not item.value and id(definer) in self.by_id
                name, value = Name(f"{self.name(item)}.{leaf}", item.value, inherited), None
                with suppress(Exception):  # descriptors that work on instances only
                    value = getattr(item.value, leaf)
                if not (inspect.isclass(value) and root(value.__module__) == library):  # no nested class
                    value = vars(definer)[leaf]
                added = self._add(library, name, value)
                if added and len(added.names) == 1 and inspect.isclass(added.value):  # a new class
                    queue.append(added)

    def _add(self, library: str, name: Name, value: Any) -> Item | None:
        """Add a name of an object that has a docstring of its own, which may be empty."""
        with suppress(Exception):  # an object that computes its attributes, and cannot here
            value, docstring = _documented(value, name, library)
            if docstring is not None:
                item = self.by_id.setdefault(id(value), Item(value, library, docstring))
                item.names.append(name)
                return item
        return None


def is_public(name: str) -> bool:
    """Whether one part of a dotted name is one that users write."""
    return not name.startswith("_") and name not in INTERNAL


def root(name: str) -> str:
    """Return the top-level package of a dotted name."""
    return name.partition(".")[0]


def _documented(value: Any, name: Name, library: str) -> tuple[Any, str | None]:
    """Return the object to document for a value, and its docstring: "" if empty, None if not documented."""
    value = getattr(value, "__func__", value)
    kind = type(value)
    if inspect.isclass(value):
        foreign = root(value.__module__) != library and name.owner is not None
        return value, None if foreign else _text(value)
    if name.owner is not None and not hasattr(kind, "__get__"):
        return value, None  # a plain class attribute
    if _has_own_docstring(value):
        return value, _text(value)
    if name.owner is not None:
        bound = getattr(name.owner, name.text.rpartition(".")[2], None)
        return value, _text(bound) if inspect.isroutine(bound) else None
    # Such as numpy.r_: an object whose class is private stands for that class.
    private = not all(map(is_public, (*kind.__module__.split("."), kind.__name__)))
    return (kind, _text(kind)) if private and root(kind.__module__) == library else (value, None)


def _text(value: Any) -> str:
    docstring = getattr(value, "__doc__", None)
    return docstring if isinstance(docstring, str) else ""


def _has_own_docstring(value: Any) -> bool:
    """Whether an object can have a docstring other than its class's."""
    held = next(vars(cls)["__doc__"] for cls in type(value).__mro__ if "__doc__" in vars(cls))
    own = "__doc__" in getattr(value, "__dict__", ()) or not isinstance(held, str | None)
    return own and not isinstance(value, types.GenericAlias)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Path(sys.argv[1]).write_text(json.dumps(scan(sys.argv[2:])), encoding="utf-8")
