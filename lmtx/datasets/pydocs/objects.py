"""The public functions, classes, methods and properties of installed libraries.

A public name has no private part. An object often has several names (its package re-exports it, a class
inherits it); they are aliases of one item, which is shown under the best of them.
"""

import functools
import heapq
import importlib
import inspect
import pkgutil
import re
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Parts of names that are not public, and modules that look public but are not.
INTERNAL = {"conftest", "external", "externals", "setup", "test", "tests", "vendor"}
INTERNAL_MODULES = frozenset(
    """
    matplotlib.backends matplotlib.pylab matplotlib.sphinxext matplotlib.testing numpy.core numpy.distutils
    numpy.f2py numpy.ma.core numpy.ma.extras numpy.ma.testutils numpy.testing.print_coercion_tables
    pandas.compat pandas.core pandas.io scipy.special.cython_special
    """.split()  # noqa: SIM905 (a list would take a line a word)
)
# Public modules inside internal ones.
MORE_MODULES = {"pandas": ["pandas.io.formats.style", "pandas.io.json"]}


@dataclass(frozen=True)
class Name:
    """A public name of an object."""

    text: str
    owner: type | None  # the class that it goes through; None: it is a module's name
    inherited: bool  # by that class from another public class


@dataclass
class Item:
    """One public object."""

    value: Any  # a method's function, or the descriptor of a property
    library: str  # the top-level package
    docstring: str  # as written; "" where it has none of its own
    names: list[Name] = field(default_factory=list)  # every public name, in order of discovery


class Catalogue:
    """The public objects of several libraries."""

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

    def name(self, item: Item) -> str:
        """Choose the name under which an item is shown.

        Names through the class that defines it come first, or, if that class is not public, through the most
        general heirs. Of these the order is: fewest parts, the object's own name, the class that the
        library's docstrings mention most, the alphabet.
        """
        names = [n for n in item.names if not n.inherited] or item.names
        owners = {n.owner for n in names if n.owner is not None}
        names = [n for n in names if n.owner is None or owners.isdisjoint(n.owner.__mro__[1:])]
        own = getattr(item.value, "__qualname__", getattr(item.value, "__name__", None)) or ""
        path = f"{getattr(item.value, '__module__', None)}.{own}"
        mentions = self._mentions[item.library]

        def rank(name: Name) -> tuple:
            is_own = name.text.rpartition(".")[2] == own.rpartition(".")[2]
            mentioned = mentions[name.owner.__name__] if name.owner else 0
            return name.text.count("."), not is_own, name.text != path, -mentioned, name.text

        return min(names, key=rank).text

    def items(self) -> list[Item]:
        """Return the items, each once, in order of discovery."""
        return list({id(item): item for item in self.by_id.values()}.values())

    def merge_identical(self) -> int:
        """Merge items of a library with the same last name and the same docstring, as of a wrapper.

        Returns the number of items that were merged into another.
        """
        groups: dict[tuple, list[Item]] = defaultdict(list)
        for item in self.items():
            if item.docstring.strip():
                words = " ".join(item.docstring.split())
                groups[item.library, self.name(item).rpartition(".")[2], words].append(item)
        into = {}
        for group in groups.values():
            for other in group[1:]:
                group[0].names += other.names
                into[id(other)] = group[0]
        self.by_id = {key: into.get(id(item), item) for key, item in self.by_id.items()}
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
            if isinstance(value, types.ModuleType) or (has_origin and root(origin) != library):
                continue
            unlisted = hasattr(module, "__path__") or origin == module.__name__
            if listed:  # a list may forget what a module claims as its own
                unlisted = origin == module.__name__ == prefix
            if leaf in listed or (has_origin and unlisted):
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
                name = Name(f"{self.name(item)}.{leaf}", item.value, inherited)
                nested = _nested_class(item.value, leaf, library)
                if nested is None:
                    self._add(library, name, vars(definer)[leaf])
                else:
                    is_new = id(nested) not in self.by_id
                    added = self._add(library, name, nested)
                    if is_new and added is not None:
                        queue.append(added)

    def _add(self, library: str, name: Name, value: Any) -> Item | None:
        try:
            value, docstring = _documented(value, name, library)
        except Exception:  # an object that computes its attributes, and cannot here
            return None
        if docstring is None:
            return None
        item = self.by_id.setdefault(id(value), Item(value, library, docstring))
        item.names.append(name)
        return item


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
    if isinstance(value, types.GenericAlias):
        return False
    held = next(vars(cls)["__doc__"] for cls in type(value).__mro__ if "__doc__" in vars(cls))
    return "__doc__" in getattr(value, "__dict__", ()) or not isinstance(held, str | None)


def _nested_class(cls: type, leaf: str, library: str) -> type | None:
    """Return the class of the library that is an attribute of `cls`, such as `pandas.Series.str`."""
    try:
        value = getattr(cls, leaf)
    except Exception:  # descriptors that work on instances only
        return None
    return value if inspect.isclass(value) and root(value.__module__) == library else None
