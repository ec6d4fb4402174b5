"""The public functions, classes and methods of installed libraries, found by importing them.

A public name is one that a user can write: no part of it is private. An object often has several (its
package re-exports it, a class inherits it); they are aliases of one object, shown under the shortest.
"""

import functools
import heapq
import importlib
import inspect
import pkgutil
import sys
import types
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Parts of dotted names, and modules, that hold no public objects although nothing in their spelling says so.
INTERNAL = {"conftest", "external", "externals", "setup", "test", "tests", "vendor"}
INTERNAL_MODULES = {
    "matplotlib.backends",
    "matplotlib.pylab",
    "matplotlib.sphinxext",
    "matplotlib.testing",
    "numpy.core",
    "numpy.distutils",
    "numpy.f2py",
    "pandas.compat",
    "pandas.core",
    "scipy.misc",
}


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
        As written; "" where there is none of its own.
    names
        Every public name, with its rank before it; the lowest is the one to show.
    owners
        The classes it was found in, in order of discovery; none for an object of a module.
    """

    value: Any
    library: str
    docstring: str
    names: set[tuple] = field(default_factory=set)
    owners: list[type] = field(default_factory=list)

    @property
    def name(self) -> str:
        return min(self.names)[-1]


class Catalogue:
    """The public objects of several libraries, and a look-up of names as docstrings write them.

    Attributes
    ----------
    items
        id of the object (of the function behind a bound method) -> Item; aliases share one.
    failed
        Public modules that could not be imported: name -> reason.
    """

    def __init__(self, libraries: list[str]):
        self.libraries = libraries
        self.items: dict[int, Item] = {}
        self.failed: dict[str, str] = {}
        for library in libraries:
            modules = list(self._modules(library))
            for name, module in modules:
                self._add_module(library, name, module)
            self._add_members(library)

    def _modules(self, library: str) -> Iterator[tuple[str, types.ModuleType]]:
        """Every public module, once, under its shortest name."""
        heap = [(1, library, library)]
        seen = set()
        while heap:
            depth, name, path = heapq.heappop(heap)
            try:
                module = importlib.import_module(path)
            except (Exception, SystemExit) as error:
                self.failed[path] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            if module.__name__ in seen:
                continue
            seen.add(module.__name__)
            yield name, module
            inside = {m.name: f"{module.__name__}.{m.name}" for m in pkgutil.iter_modules(_path(module))}
            for attribute, value in list(vars(module).items()):
                if isinstance(value, types.ModuleType) and _root(value.__name__) == library:
                    inside.setdefault(attribute, value.__name__)
            for leaf, path in inside.items():
                if is_public(leaf) and not any(_within(path, m) for m in INTERNAL_MODULES):
                    heapq.heappush(heap, (depth + 1, f"{name}.{leaf}", path))

    def _add_module(self, library: str, prefix: str, module: types.ModuleType) -> None:
        listed = getattr(module, "__all__", None)
        for leaf in sorted(set(listed if listed is not None else dir(module))):
            if not is_public(leaf):
                continue
            try:
                value = getattr(module, leaf)
            except Exception:  # deprecated names raise whatever they like
                continue
            if isinstance(value, types.ModuleType):
                continue
            origin = getattr(value, "__module__", None)
            if not isinstance(origin, str) or origin == "builtins":
                belongs = listed is not None
            else:
                belongs = _root(origin) == library and (
                    listed is not None
                    or hasattr(module, "__path__")
                    or origin == module.__name__
                    or not all(map(is_public, origin.split(".")))
                )
            if belongs:
                self._add(library, f"{prefix}.{leaf}", value, None)

    def _add_members(self, library: str) -> None:
        """Methods, properties and nested classes of the classes found so far."""
        queue = [
            item for item in self.items.values() if item.library == library and inspect.isclass(item.value)
        ]
        done = set()
        while queue:
            item = queue.pop(0)
            if id(item.value) in done:
                continue
            done.add(id(item.value))
            for leaf in dir(item.value):
                if not is_public(leaf):
                    continue
                definer, raw = _raw(item.value, leaf)
                if definer is None or _root(definer.__module__) != library:
                    continue
                name = f"{item.name}.{leaf}"
                nested = _nested_class(item.value, leaf, library)
                if nested is not None:
                    if id(nested) not in self.items:
                        queue.append(self._add(library, name, nested, item.value))
                else:
                    self._add(library, name, raw, item.value, inherited=definer is not item.value)

    def _add(
        self, library: str, name: str, value: Any, owner: type | None, inherited: bool = False
    ) -> Item | None:
        value, docstring = _documented(value, owner, name, library)
        if docstring is None:
            return None
        item = self.items.setdefault(id(value), Item(value, library, docstring))
        leaf = name.rpartition(".")[2]
        own = getattr(value, "__qualname__", getattr(value, "__name__", leaf))
        elsewhere = name != f"{getattr(value, '__module__', None)}.{own}"
        bases = len(owner.__mro__) if inherited else 0
        item.names.add((inherited, bases, name.count("."), leaf != own.rpartition(".")[2], elsewhere, name))
        if owner is not None and owner not in item.owners:
            item.owners.append(owner)
        return item

    def merge_identical(self) -> int:
        """Make one item of those of a library that share their last name and their whole docstring.

        A wrapper that copies the docstring of what it wraps is the same page a second time. Returns how
        many items went into another.
        """
        groups: dict[tuple, list[Item]] = defaultdict(list)
        for item in {id(i): i for i in self.items.values()}.values():
            if item.docstring:
                groups[item.library, item.name.rpartition(".")[2], item.docstring].append(item)
        into = {}
        for group in groups.values():
            first = min(group, key=lambda item: min(item.names))
            for item in group:
                if item is not first:
                    first.names |= item.names
                    first.owners += [owner for owner in item.owners if owner not in first.owners]
                    into[id(item)] = first
        self.items = {key: into.get(id(item), item) for key, item in self.items.items()}
        return len(into)

    def resolve(self, item: Item, written: str) -> Item | None:
        """The item that `written` means in the docstring of `item`; itself if nothing else; or None.

        Tried in turn: the full name; a member of the item's class; a name where the item is defined, in
        the modules above, and where it is public; the only object of the library whose name ends so.
        """
        path = written.strip(".").split(".")
        places: list[Any] = []
        if path[0] in self.libraries:
            places.append(None)
        places += item.owners
        names = [getattr(item.value, "__module__", None)]
        names += [getattr(owner, "__module__", None) for owner in item.owners]
        names += [rank[-1].rpartition(".")[0] for rank in sorted(item.names)]
        for name in dict.fromkeys(n for n in names if isinstance(n, str)):
            while name:
                places.append(sys.modules.get(name))
                name = name.rpartition(".")[0]
        if inspect.isclass(item.value):
            places.append(item.value)
        itself = None
        for place in places:
            found = self._look_up(place, path)
            if found is not None and found is not item:
                return found
            itself = itself or found
        ending = {id(i): i for i in self._endings.get((item.library, ".".join(path)), ())}
        ending.pop(id(item), None)
        return next(iter(ending.values())) if len(ending) == 1 else itself

    def _look_up(self, place: Any, path: list[str]) -> Item | None:
        if place is None:
            place, path = sys.modules.get(path[0]), path[1:]
        for i, leaf in enumerate(path):
            if place is None:
                return None
            if inspect.isclass(place):
                found = [c.__dict__[leaf] for c in place.__mro__ if leaf in c.__dict__]
                if i == len(path) - 1:
                    known = [self._item(value) for value in found]
                    documented = [k for k in known if k is not None and k.docstring]
                    if documented:
                        return documented[0]
            try:
                place = getattr(place, leaf)
            except Exception:  # properties and lazy modules raise whatever they like
                return None
        return self._item(place)

    def _item(self, value: Any) -> Item | None:
        value = getattr(value, "__func__", value)
        return self.items.get(id(value)) or self.items.get(id(type(value)))

    @functools.cached_property
    def _endings(self) -> dict[tuple[str, str], list[Item]]:
        """(library, end of a name) -> the items with such a name."""
        endings = defaultdict(list)
        for item in {id(i): i for i in self.items.values()}.values():
            for rank in item.names:
                parts = rank[-1].split(".")
                for start in range(1, len(parts)):
                    endings[item.library, ".".join(parts[start:])].append(item)
        return endings


def is_public(name: str) -> bool:
    """Whether one part of a dotted name is one that users write."""
    return not name.startswith("_") and name not in INTERNAL


def _documented(value: Any, owner: type | None, name: str, library: str) -> tuple[Any, str | None]:
    """What stands for the value, and its own docstring: "" if it lacks one, None if it cannot have one."""
    value = getattr(value, "__func__", value)
    docstring = getattr(value, "__doc__", None)
    if inspect.isclass(value) or inspect.isroutine(value):
        return value, docstring if isinstance(docstring, str) else ""
    if docstring != type(value).__doc__:
        return value, docstring if isinstance(docstring, str) else ""
    kind = type(value)
    if owner is None:  # such as numpy.r_: the docstring is that of a private class made for it
        private = not all(map(is_public, (*kind.__module__.split("."), kind.__name__)))
        return (kind, docstring) if private and _root(kind.__module__) == library else (value, None)
    if not hasattr(kind, "__get__"):
        return value, None
    made = getattr(owner, name.rpartition(".")[2], None)
    return value, made.__doc__ or "" if inspect.isroutine(made) else None


def _raw(cls: type, leaf: str) -> tuple[type | None, Any]:
    """The class in the MRO of `cls` that defines an attribute, and what it holds there."""
    for definer in cls.__mro__:
        if leaf in definer.__dict__:
            return definer, definer.__dict__[leaf]
    return None, None


def _nested_class(cls: type, leaf: str, library: str) -> type | None:
    """The class of the library that is an attribute of `cls`, such as the accessor `pandas.Series.str`."""
    try:
        value = getattr(cls, leaf)
    except Exception:  # descriptors that work on instances only
        return None
    return value if inspect.isclass(value) and _root(value.__module__) == library else None


def _root(name: str) -> str:
    return name.partition(".")[0]


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _path(module: types.ModuleType) -> list[str]:
    return list(getattr(module, "__path__", ()))
