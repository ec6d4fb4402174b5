"""The public functions, classes, methods and properties of installed libraries, found by importing them.

A public name is one that users write: no part of it is private. An object often has several (its
package re-exports it, a class inherits it); they are aliases of one object, shown under the best of them.
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

# Parts of dotted names that stand for nothing public, and modules that are not although they look it.
INTERNAL = {"conftest", "external", "externals", "setup", "test", "tests", "vendor"}
INTERNAL_MODULES = {
    "matplotlib.backends",
    "matplotlib.pylab",
    "matplotlib.sphinxext",
    "matplotlib.testing",
    "numpy.core",
    "numpy.distutils",
    "numpy.f2py",
    "numpy.ma.core",
    "numpy.ma.extras",
    "numpy.ma.testutils",
    "numpy.testing.print_coercion_tables",
    "pandas.compat",
    "pandas.core",
    "pandas.io",
    "scipy.special.cython_special",
}
# Public modules inside internal ones.
MORE_MODULES = {"pandas": ["pandas.io.formats.style", "pandas.io.json"]}


@dataclass(frozen=True)
class Name:
    """A public name, the class it goes through (None: a module's), and whether that class has the object
    from another public class."""

    text: str
    owner: type | None
    inherited: bool


@dataclass
class Item:
    """One public object.

    Attributes
    ----------
    value
        The object; a method's function, or the descriptor of a property.
    library
        The top-level package it belongs to.
    docstring
        As written; "" where it has none of its own.
    names
        Every public name, in order of discovery.
    """

    value: Any
    library: str
    docstring: str
    names: list[Name] = field(default_factory=list)


class Catalogue:
    """The public objects of several libraries.

    Attributes
    ----------
    by_id
        id of the object (of the function, for a method) -> Item. Merged items share one.
    failed
        Public modules that cannot be imported here: name -> reason.
    """

    def __init__(self, libraries: list[str]):
        self.libraries = libraries
        self.by_id: dict[int, Item] = {}
        self.failed: dict[str, str] = {}
        self._mentions: dict[str, Counter[str]] = {}
        for library in libraries:
            for name, module in list(self._modules(library)):
                self._add_module(library, name, module)
            texts = (i.docstring.partition("See Also")[0] for i in self.items() if i.library == library)
            self._mentions[library] = Counter(word for text in texts for word in re.findall(r"\w+", text))
            self._add_members(library)

    def name(self, item: Item) -> str:
        """The name to show of those that an item has.

        That of the class that defines it, or, if that one is not public, of the most general ones that
        inherit it; then the fewest parts; then the name the object gives itself; then the class that
        the library's docstrings mention most, as the one users know; then the alphabet.
        """
        names = [n for n in item.names if not n.inherited] or item.names
        owners = {n.owner for n in names if n.owner is not None}
        names = [n for n in names if n.owner is None or owners.isdisjoint(n.owner.__mro__[1:])]
        own = getattr(item.value, "__qualname__", getattr(item.value, "__name__", None)) or ""
        path = f"{getattr(item.value, '__module__', None)}.{own}"
        mentions = self._mentions[item.library]

        def rank(name: Name) -> tuple:
            leaf = name.text.rpartition(".")[2]
            known = mentions[name.owner.__name__] if name.owner else 0
            return (
                name.text.count("."),
                leaf != own.rpartition(".")[2],
                name.text != path,
                -known,
                name.text,
            )

        return min(names, key=rank).text

    def items(self) -> list[Item]:
        """The items, each once, in order of discovery."""
        return list({id(item): item for item in self.by_id.values()}.values())

    def merge_identical(self) -> int:
        """Make one item of those of a library that share their last name and their whole docstring.

        Where a wrapper or a subclass copies a docstring word for word, it is the same page a second
        time. Returns how many items went into another.
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
        """Every public module, once, under its shortest name."""
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
            known = isinstance(origin, str) and origin != "builtins"
            if isinstance(value, types.ModuleType) or (known and root(origin) != library):
                continue
            unlisted = hasattr(module, "__path__") or origin == module.__name__
            if listed:  # a list may forget what a module claims as its own
                unlisted = origin == module.__name__ == prefix
            if leaf in listed or (known and unlisted):
                self._add(library, Name(f"{prefix}.{leaf}", None, False), value)

    def _add_members(self, library: str) -> None:
        """Methods, properties and nested classes of the classes found so far."""
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
    """The top-level package of a dotted name."""
    return name.partition(".")[0]


def _documented(value: Any, name: Name, library: str) -> tuple[Any, str | None]:
    """What stands for a value, and its own docstring: "" if it lacks one, None if nothing to document."""
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
        made = getattr(name.owner, name.text.rpartition(".")[2], None)
        return value, _text(made) if inspect.isroutine(made) else None
    # Such as numpy.r_: an object whose class is private stands for that class.
    private = not all(map(is_public, (*kind.__module__.split("."), kind.__name__)))
    return (kind, _text(kind)) if private and root(kind.__module__) == library else (value, None)


def _text(value: Any) -> str:
    docstring = getattr(value, "__doc__", None)
    return docstring if isinstance(docstring, str) else ""


def _has_own_docstring(value: Any) -> bool:
    """Whether an object can say something else than its class."""
    if isinstance(value, types.GenericAlias):
        return False
    held = next(vars(cls)["__doc__"] for cls in type(value).__mro__ if "__doc__" in vars(cls))
    return "__doc__" in getattr(value, "__dict__", ()) or not isinstance(held, str | None)


def _nested_class(cls: type, leaf: str, library: str) -> type | None:
    """The class of the library that is an attribute of `cls`, such as the accessor `pandas.Series.str`."""
    try:
        value = getattr(cls, leaf)
    except Exception:  # descriptors that work on instances only
        return None
    return value if inspect.isclass(value) and root(value.__module__) == library else None


@functools.cache
def _member_count(cls: type) -> int:
    return len(dir(cls))
