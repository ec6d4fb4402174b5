"""What a notebook depends on, read from its code: modules of the library, and parameters.

`dvc.yaml` must say the same, or a changed module or parameter would leave a stale result behind.
Run as a script, it prints what each notebook's stage has to declare.
"""

import ast
import sys
from functools import cache
from pathlib import Path
from typing import get_origin

import nbformat

import lmtx
from lmtx.config import Config, sections_of

ROOT = Path(lmtx.__file__).parents[1]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def _shared(annotation: object) -> set[str]:
    """The parameters that a section surely has: those of all kinds where there is a choice of them."""
    kinds = sections_of(annotation)
    return set.intersection(*(set(kind.model_fields) for kind in kinds)) if kinds else set()


# Section -> its parameters. None are listed for a section of named entries such as `cycles`, which is
# read whole.
SECTIONS = {
    name: set() if get_origin(field.annotation) is dict else _shared(field.annotation)
    for name, field in Config.model_fields.items()
}


def notebook_tree(path: Path) -> ast.Module:
    """The code of a notebook as one syntax tree; lines of IPython's own are left out."""
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    lines = [line for cell in cells for line in cell.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return ast.parse("\n".join(lines))


@cache
def module_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_file(name: str) -> Path | None:
    """The file of a module of the library, or None when `name` is no module of it."""
    base = ROOT.joinpath(*name.split("."))
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


def imported(tree: ast.AST) -> set[str]:
    """The library's modules that a tree imports: at its top, inside a function, or by name in a string."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {_origin(f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lmtx":
            names.add(_origin(f"lmtx.{node.attr}"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= _named(node.value)
    with_parents = {".".join(name.split(".")[: i + 1]) for name in names for i in range(name.count(".") + 1)}
    return {name for name in with_parents if name.split(".")[0] == "lmtx" and module_file(name)}


def _named(text: str) -> set[str]:
    """The modules that a string means: one, or after "lmtx.package." any of that package."""
    if not text.startswith("lmtx."):
        return set()
    package = ROOT.joinpath(*text.split("."))
    if text.endswith(".") and package.is_dir():
        return {f"{text}{file.stem}" for file in package.glob("[!_]*.py")}
    return {text}


def _origin(name: str) -> str:
    """`lmtx.X` may stand for a name that the package takes from one of its modules."""
    return lmtx._EXPORTS.get(name.removeprefix("lmtx."), name)


def modules(tree: ast.AST) -> set[Path]:
    """Files of the library that a tree depends on, over any number of imports.

    Left out are files without code, and `lmtx/__init__.py`, which only says where names come from.
    """
    found, waiting = set(), imported(tree)
    while waiting:
        name = waiting.pop()
        file = module_file(name)
        if file in found:
            continue
        found.add(file)
        if name != "lmtx":
            waiting |= imported(module_tree(file))
    return {f for f in found if f != ROOT / "lmtx" / "__init__.py" and module_tree(f).body}


def parameters(tree: ast.AST) -> set[str]:
    """What a tree reads of the parameters, itself or in a function it hands them to: see `whole`.

    Followed are a `Study`, its `config`, and what `load_config` returns: through assignments,
    attributes, the properties of `Study`, and calls of the library's functions.
    """
    definitions: dict[str, list[ast.AST]] = {}
    for file in sorted(modules(tree)):
        for node in ast.walk(module_tree(file)):
            if isinstance(node, (*FUNCTION, ast.ClassDef)):
                definitions.setdefault(node.name, []).append(node)
    return whole(_Reader(definitions).read(tree, {}))


def whole(keys: set[str]) -> set[str]:
    """The shortest list of the same parameters: `section` where all of it is meant, else `section.name`."""
    parts = {tuple(key.split(".")[:2]) for key in keys}
    short = set()
    for name in {part[0] for part in parts}:
        named = {part[1] for part in parts if part[0] == name and len(part) == 2}
        listed = (name,) not in parts and named < SECTIONS[name]
        short |= {f"{name}.{key}" for key in named} if listed else {name}
    return short


class _Reader:
    """Follows values of the kinds "study" and "config" through code."""

    def __init__(self, definitions: dict[str, list[ast.AST]]):
        self.definitions = definitions
        self.seen: set[tuple[int, tuple[tuple[str, str], ...]]] = set()

    def read(self, body: ast.AST, kinds: dict[str, str]) -> set[str]:
        """Parameters read in `body`, where `kinds` says which names hold a study or a config."""
        visit = (id(body), tuple(sorted(kinds.items())))
        if visit in self.seen:
            return set()
        self.seen.add(visit)
        kinds = dict(kinds)
        for node in ast.walk(body):
            if isinstance(node, ast.Assign) and (kind := self.kind(node.value, kinds)):
                kinds |= {target.id: kind for target in node.targets if isinstance(target, ast.Name)}
        found: set[str] = set()
        within = set()  # attributes that are only the way to a single parameter
        for node in ast.walk(body):
            if isinstance(node, ast.Attribute) and node not in within:
                if isinstance(node.value, ast.Attribute) and self.kind(node.value.value, kinds) == "config":
                    if node.attr in SECTIONS[node.value.attr]:
                        within.add(node.value)
                        found.add(f"{node.value.attr}.{node.attr}")
                else:
                    found |= self.attribute(node, kinds)
            elif isinstance(node, ast.Call):
                found |= self.call(node, kinds)
        return found

    def kind(self, node: ast.AST, kinds: dict[str, str]) -> str | None:
        """Whether an expression is a study, a config, or neither."""
        if isinstance(node, ast.Name):
            return kinds.get(node.id)
        if isinstance(node, ast.IfExp):
            return self.kind(node.body, kinds) or self.kind(node.orelse, kinds)
        if isinstance(node, ast.Attribute) and node.attr == "config":
            return "config" if self.kind(node.value, kinds) == "study" else None
        if isinstance(node, ast.Call):
            if self.is_point(node, kinds):
                return "config"
            called = ast.unparse(node.func).removeprefix("lmtx.")
            return {"Study": "study", "Study.open": "study", "load_config": "config"}.get(called)
        return None

    def is_point(self, node: ast.Call, kinds: dict[str, str]) -> bool:
        """Whether a call is `config.at(point)`: a config with what the ablations change."""
        return getattr(node.func, "attr", "") == "at" and self.kind(node.func.value, kinds) == "config"

    def attribute(self, node: ast.Attribute, kinds: dict[str, str]) -> set[str]:
        kind = self.kind(node.value, kinds)
        if kind == "config":
            return set(SECTIONS) if node.attr == "model_dump" else {node.attr} & set(SECTIONS)
        if kind == "study":
            (study,) = self.definitions["Study"]
            members = [n for n in study.body if isinstance(n, FUNCTION) and n.name == node.attr]
            return set().union(*(self.read(member, {"self": "study"}) for member in members))
        return set()

    def call(self, node: ast.Call, kinds: dict[str, str]) -> set[str]:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name == "digest" and self.kind(node.func.value, kinds) == "config":
            return {argument.value for argument in node.args} or set(SECTIONS)
        if self.is_point(node, kinds):
            return {"ablation", "ablations"}
        given = {i: self.kind(argument, kinds) for i, argument in enumerate(node.args)}
        given |= {keyword.arg: self.kind(keyword.value, kinds) for keyword in node.keywords}
        given = {place: kind for place, kind in given.items() if kind}
        found: set[str] = set()
        for definition in self.definitions.get(name, []) if given else []:
            function = _constructor(definition) if isinstance(definition, ast.ClassDef) else definition
            if function is None:
                continue
            names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
            if names[:1] in (["self"], ["cls"]):
                names = names[1:]
            bound = {
                place if isinstance(place, str) else names[place]: kind
                for place, kind in given.items()
                if isinstance(place, str) or place < len(names)
            }
            found |= self.read(function, bound)
        return found


def _constructor(definition: ast.ClassDef) -> ast.AST | None:
    return next((n for n in definition.body if isinstance(n, FUNCTION) and n.name == "__init__"), None)


if __name__ == "__main__":
    for notebook in sorted((ROOT / "notebooks").glob(sys.argv[1] if len(sys.argv) > 1 else "*.ipynb")):
        tree = notebook_tree(notebook)
        print(notebook.relative_to(ROOT))
        print("  deps:   ", *sorted(str(f.relative_to(ROOT)) for f in modules(tree)), sep="\n    - ")
        print("  params: ", *sorted(parameters(tree)))
