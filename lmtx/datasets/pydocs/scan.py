"""Describe the public objects of libraries as JSON, and resolve the names in their See Also sections.

    python -m lmtx.datasets.pydocs.scan RESULT.json LIBRARY…

Importing whole libraries has side effects, so `lmtx.datasets.pydocs.read` runs this in another process.
"""

import importlib
import inspect
import json
import sys
import warnings
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

from lmtx.datasets.pydocs.docstrings import parse
from lmtx.datasets.pydocs.objects import Catalogue, Item

# What docstrings call a library whose module does not import it under that name.
ABBREVIATIONS = {"mpl": "matplotlib", "np": "numpy", "nx": "networkx", "pd": "pandas", "sp": "scipy"}


def scan(libraries: list[str]) -> dict[str, Any]:
    """Import libraries and describe their public objects, as plain data."""
    catalogue = Catalogue(libraries)
    identical = catalogue.merge_identical()
    references = References(catalogue)
    pages = []
    for name, item in sorted({catalogue.name(item): item for item in catalogue.items()}.items()):
        docstring = parse(item.docstring)
        targets = {written: references.resolve(item, written) for written in docstring.see_also}
        pages.append(
            {
                "uid": name,
                "library": item.library,
                "summary": docstring.summary,
                "body": docstring.body,
                "words": docstring.words,
                "callable": callable(item.value),
                "see_also": {
                    written: target and catalogue.name(target) for written, target in targets.items()
                },
            }
        )
    return {
        "libraries": {library: _version(library) for library in libraries if library not in catalogue.failed},
        "names": sum(len({name.text for name in item.names}) for item in catalogue.items()),
        "identical": identical,
        "failed": catalogue.failed,
        "pages": pages,
    }


def _version(library: str) -> str:
    """Return the package's `__version__`, or the version of its distribution."""
    version = getattr(importlib.import_module(library), "__version__", None)
    if version is None:
        distributions = metadata.packages_distributions().get(library)
        version = metadata.version(distributions[0]) if distributions else "unknown"
    return str(version)


class References:
    """Finds the items of a catalogue by the names in docstrings, with the help of the live objects."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue
        self.endings: dict[tuple[str, str], dict[int, Item]] = defaultdict(dict)
        for item in catalogue.items():
            for name in item.names:
                parts = name.text.split(".")
                for start in range(1, len(parts)):
                    self.endings[item.library, ".".join(parts[start:])][id(item)] = item

    def resolve(self, item: Item, written: str) -> Item | None:
        """Return the item that `written` means in the docstring of `item`; None if there is none.

        The search goes through the libraries, the item's classes, the modules that define it and their
        parents, its public modules, and the item itself if it is a class. At last comes the only object of
        the library whose name ends in `written`. In a method, its own name means the function of that name,
        if there is one.
        """
        path = written.strip(".").split(".")
        itself = None
        for namespace in self._namespaces(item):
            target = self._look_up(namespace, path)
            if target is item and inspect.isclass(namespace):
                itself = item
            elif target is not None:
                return target
        if itself is not None:
            return itself
        ending = self.endings.get((item.library, ".".join(path)), {})
        others = [other for other in ending.values() if other is not item]
        return others[0] if len(others) == 1 else None

    def _namespaces(self, item: Item) -> list[Any]:
        """Return the modules and classes to search; None stands for the libraries themselves."""
        owners = list(dict.fromkeys(name.owner for name in item.names if name.owner is not None))
        namespaces = [None, *owners]
        modules = [getattr(value, "__module__", None) for value in (item.value, *owners)]
        modules += [name.text.rpartition(".")[0] for name in item.names]
        for module in dict.fromkeys(m for m in modules if isinstance(m, str)):
            while module:
                namespaces.append(sys.modules.get(module))
                module = module.rpartition(".")[0]
        if inspect.isclass(item.value):
            namespaces.append(item.value)
        return namespaces

    def _look_up(self, namespace: Any, path: list[str]) -> Item | None:
        if namespace is None:
            library = ABBREVIATIONS.get(path[0], path[0])
            namespace, path = (
                sys.modules.get(library) if library in self.catalogue.libraries else None,
                path[1:],
            )
        for i, leaf in enumerate(path):
            if inspect.isclass(namespace) and i == len(path) - 1:
                # An override without a docstring of its own shows the one it inherits.
                for cls in namespace.__mro__:
                    inherited = self._item(vars(cls)[leaf]) if leaf in vars(cls) else None
                    if inherited is not None and inherited.docstring:
                        return inherited
            try:
                namespace = getattr(namespace, leaf)
                namespace = getattr(namespace, "__func__", namespace)
            except Exception:  # properties and lazy modules raise whatever they like
                return None
        return self._item(namespace)

    def _item(self, value: Any) -> Item | None:
        value = getattr(value, "__func__", value)
        return self.catalogue.by_id.get(id(value)) or self.catalogue.by_id.get(id(type(value)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Path(sys.argv[1]).write_text(json.dumps(scan(sys.argv[2:])), encoding="utf-8")
