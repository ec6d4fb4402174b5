"""What a name in a docstring's See Also section refers to."""

import inspect
import sys
from collections import defaultdict
from typing import Any

from lmtx.datasets.objects import Catalogue, Item

# What docstrings call a library whose module does not import it under that name.
ABBREVIATIONS = {"mpl": "matplotlib", "np": "numpy", "nx": "networkx", "pd": "pandas", "sp": "scipy"}


class References:
    """Finds the items of a catalogue by the names that docstrings write, looking at the live objects."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue
        self.endings: dict[tuple[str, str], dict[int, Item]] = defaultdict(dict)
        for item in catalogue.items():
            for name in item.names:
                parts = name.text.split(".")
                for start in range(1, len(parts)):
                    self.endings[item.library, ".".join(parts[start:])][id(item)] = item

    def resolve(self, item: Item, written: str) -> Item | None:
        """The item that `written` means in the docstring of `item`; None if there is none.

        Looked for in turn: among the libraries; in the item's classes; in the modules that define it,
        and those above; where it is public; in the item itself, if a class; at last, the only object of
        the library whose name ends like this. In a method, a name that is its own means the function of
        that name, if there is one.
        """
        path = written.strip(".").split(".")
        itself = None
        for place in self._places(item):
            found = self._look_up(place, path)
            if found is item and inspect.isclass(place):
                itself = item
            elif found is not None:
                return found
        if itself is not None:
            return itself
        ending = self.endings.get((item.library, ".".join(path)), {})
        others = [other for other in ending.values() if other is not item]
        return others[0] if len(others) == 1 else None

    def _places(self, item: Item) -> list[Any]:
        """The modules and classes to look in; None stands for the libraries themselves."""
        owners = list(dict.fromkeys(name.owner for name in item.names if name.owner is not None))
        places = [None, *owners]
        modules = [getattr(value, "__module__", None) for value in (item.value, *owners)]
        modules += [name.text.rpartition(".")[0] for name in item.names]
        for module in dict.fromkeys(m for m in modules if isinstance(m, str)):
            while module:
                places.append(sys.modules.get(module))
                module = module.rpartition(".")[0]
        if inspect.isclass(item.value):
            places.append(item.value)
        return places

    def _look_up(self, place: Any, path: list[str]) -> Item | None:
        if place is None:
            library = ABBREVIATIONS.get(path[0], path[0])
            place, path = sys.modules.get(library) if library in self.catalogue.libraries else None, path[1:]
        for i, leaf in enumerate(path):
            if inspect.isclass(place) and i == len(path) - 1:
                # An override without a docstring of its own shows the one it inherits.
                for cls in place.__mro__:
                    found = self._item(vars(cls)[leaf]) if leaf in vars(cls) else None
                    if found is not None and found.docstring:
                        return found
            try:
                place = getattr(place, leaf)
                place = getattr(place, "__func__", place)
            except Exception:  # properties and lazy modules raise whatever they like
                return None
        return self._item(place)

    def _item(self, value: Any) -> Item | None:
        value = getattr(value, "__func__", value)
        return self.catalogue.by_id.get(id(value)) or self.catalogue.by_id.get(id(type(value)))
