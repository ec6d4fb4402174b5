"""The house is in order: notebooks are clean, presets hold, stages say what they depend on."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lmtx import curriculum
from lmtx.config import GROUPS, Config, compose, load_config
from lmtx.study.records import HASHED

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(file for file in ROOT.glob("notebooks/**/*.ipynb") if not file.parent.name.startswith("."))
PRESETS = [(group, file.stem) for group in GROUPS for file in sorted((ROOT / "conf" / group).glob("*.yaml"))]
LIBRARY = sorted(ROOT.glob("lmtx/**/*.py"))
# A wing is a folder or a file at the top of the library.
WINGS = {p.stem: p for p in (ROOT / "lmtx").iterdir() if p.is_dir() or p.suffix == ".py"}

# In the order in which data flows; a module imports from those above it only.
ORDER = """
    config files devices processes provenance corpus datasets encoder index training llm teachers curriculum
    supervised baselines metrics study evaluation report browse tagger cli
""".split()  # noqa: SIM905 (a list literal would take a line a word)

# Where annotations may arrive: reading, statistics, metrics, the openly simulated teacher, and the openly
# supervised reference.
TRUTH = {
    *("corpus", "datasets", "metrics", "evaluation", "report", "browse"),
    *("teachers", "teachers.simulated", "supervised"),
}

# What encodes, trains or ranks takes nothing that could be annotations by its name.
BLIND = {"encoder", "index", "training", "curriculum", "baselines"}
ANNOTATIONS = re.compile(r"truth|annot|gold|relevan|target|^y($|_)|qrels")

# With a mark, so that this file does not match itself.
FORBIDDEN = "/wo|rk/ ../sha|red /ro|ot/ pypi|.org python|hosted.org download.|pytorch /opt/|wheels".split()  # noqa: SIM905
UNFINISHED = re.compile(rb"\b(TO" + rb"DO|FIX" + rb"ME|X" + rb"XX)\b")


@cache
def project_files():
    """Every file that is, or is about to be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def cells(notebook):
    return [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def name(path):
    return str(path.relative_to(ROOT))


def test_nothing_names_a_place_outside_the_project_or_is_left_unfinished():
    outside = [word.replace("|", "").encode() for word in FORBIDDEN]
    written = {".py", ".md", ".ipynb", ".yaml", ".toml"}
    for file in project_files():
        content = file.read_bytes()
        assert not [word for word in outside if word in content], name(file)
        assert file.suffix not in written or not UNFINISHED.search(content), name(file)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_clean(notebook):
    """Its outputs belong to the executed copies; `jupyter nbconvert --clear-output --inplace` removes them.

    It begins with its parameters, plain values, and holds no logic worth a test.
    """
    nbformat.validate(nbformat.read(notebook, as_version=4))
    for number, cell in enumerate(cells(notebook), 1):
        where = f"code cell {number}"
        assert not cell.outputs and cell.execution_count is None, f"{where} has traces of a run"
        assert not cell.metadata.keys() & {"execution", "papermill"}, f"{where} has traces of a run"
        assert len(cell.source.splitlines()) <= 40, f"{where} is longer than 40 lines; move logic to lmtx/"
        assert ("parameters" in cell.metadata.get("tags", [])) == (number == 1), where
    for statement in ast.parse(cells(notebook)[0].source).body:
        assert isinstance(statement, ast.Assign), ast.unparse(statement)
        ast.literal_eval(statement.value)
    assert not [n.name for n in ast.walk(ast.parse(code(notebook))) if isinstance(n, ast.ClassDef)]


@cache
def composed(*overrides):
    return compose(overrides, conf=ROOT / "conf")


def test_the_parameters_are_the_composed_presets():
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert written == composed(), "run make params after a change in conf/"


@pytest.mark.parametrize(("group", "preset"), PRESETS)
def test_every_preset_is_valid(group, preset):
    """Composed by Hydra, as `dvc exp run -S` does, and as an override of the default parameters."""
    override = f"{group}={preset}"
    assert load_config(ROOT / "params.yaml", [override]) == Config.model_validate(composed(override))


@cache
def dvc_stages():
    """Stages of `dvc.yaml` as DVC itself resolves them."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        return list(repo.index.stages)


def notebook_of(stage):
    return ROOT / re.search(r"notebooks/[\w./-]+\.ipynb", stage.cmd).group()


def code(notebook: Path) -> str:
    """The code of a notebook; lines of IPython's own are left out."""
    lines = (line for cell in cells(notebook) for line in cell.source.splitlines())
    return "\n".join(line for line in lines if not line.startswith(("%", "!")))


def imported(source: str) -> set[str]:
    """Dotted names that Python code imports from the library, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("lmtx.")}


@cache
def below(wing: str) -> frozenset[str]:
    """The wings that a wing imports."""
    path = WINGS[wing]
    sources = (file.read_text() for file in (path.rglob("*.py") if path.is_dir() else [path]))
    return frozenset(n.split(".")[1] for source in sources for n in imported(source)) & WINGS.keys() - {wing}


def wings(notebook: Path) -> set[str]:
    """All wings that a notebook imports, itself or through others."""
    reached, waiting = set(), {name.split(".")[1] for name in imported(code(notebook))} & WINGS.keys()
    while waiting:
        reached.add(wing := waiting.pop())
        waiting |= below(wing) - reached
    return reached


def sections(notebook: Path) -> set[str]:
    """The sections of the parameters that a notebook reads, itself or by a step of the curriculum."""
    source = code(notebook)
    if "curriculum.cycle(" in source:
        source += inspect.getsource(curriculum.cycle)
    if re.search(r"train_(student|supervised)\(", source):
        source += inspect.getsource(curriculum.train_student)
    hashed = " ".join(re.findall(r'run_record\(\s*[\w.]+,\s*"([^"]*)"', source)).split()
    if "write_system(" in source:
        family = {"04_train": "lmtx", "05_baselines": "baseline"}.get(notebook.stem, notebook.stem)
        hashed += HASHED[family].split()
    config = "(config|settings)" if "config.at(" in source else "config"
    read = {name for name in Config.model_fields if re.search(rf"{config}\.{name}\b", source)}
    return read | {name for name in Config.model_fields if name in hashed}


def test_numbered_notebooks_and_those_in_stages_are_stages():
    """Those with a number are for reading, in this order; those without are for exploring."""
    numbered = [notebook for notebook in NOTEBOOKS if notebook.stem[0].isdigit()]
    assert [int(notebook.stem[:2]) for notebook in numbered] == list(range(1, len(numbered) + 1))
    apart = [notebook for notebook in NOTEBOOKS if notebook.parent.name == "stages"]
    assert {notebook_of(stage) for stage in dvc_stages()} == {*numbered, *apart}


def test_stages_depend_on_what_their_notebooks_import_and_read():
    for stage in dvc_stages():
        notebook, files = notebook_of(stage), [ROOT / dependency.def_path for dependency in stage.deps]
        assert notebook in files, stage.addressing
        inside = {f.relative_to(ROOT / "lmtx").parts for f in files if f.is_relative_to(ROOT / "lmtx")}
        assert {parts[0] for parts in inside} == {WINGS[w].name for w in wings(notebook)}, stage.addressing
        if stage.addressing.startswith("baseline@"):  # another baseline's file is no reason to run again
            kinds = {parts[1] for parts in inside if parts[0] == "baselines"}
            assert len(kinds - {"__init__.py"}) == 1, stage.addressing
        declared = {key.split(".")[0] for d in stage.deps for key in getattr(d, "params", [])}
        assert declared >= sections(notebook), stage.addressing


def test_a_change_of_one_s_own_files_is_noticed():
    """`prepare` depends on the folder where the preset looks for them, and a fresh clone has it."""
    (prepare,) = [stage for stage in dvc_stages() if stage.addressing == "prepare"]
    folders = [ROOT / dependency.def_path for dependency in prepare.deps]
    own = composed("dataset=own")["dataset"]
    for key in ("documents", "labels"):
        (found,) = [folder for folder in folders if (ROOT / own[key]).is_relative_to(folder)]
        assert [file for file in project_files() if file.is_relative_to(found)]


def test_imports_run_downwards():
    for module in LIBRARY:
        unit = module.relative_to(ROOT / "lmtx").parts[0].removesuffix(".py")
        for wing in {dotted.split(".")[1] for dotted in imported(module.read_text())} & WINGS.keys():
            assert unit == "__init__" or ORDER.index(wing) <= ORDER.index(unit), f"{name(module)}: {wing}"


def taken(module: Path) -> set[str]:
    """Names that functions of a module take, and its classes hold."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    held = {n.target for n in nodes if isinstance(n, ast.AnnAssign)}
    return {n.arg for n in nodes if isinstance(n, ast.arg)} | {n.id for n in held if isinstance(n, ast.Name)}


def test_annotations_reach_only_who_may_see_them():
    """Zero-shot can be read off the signatures: no other function takes `truth`, or loads it."""
    assert "truth" in taken(ROOT / "lmtx" / "metrics.py")
    for module in LIBRARY:
        dotted = ".".join(module.relative_to(ROOT / "lmtx").with_suffix("").parts).removesuffix(".__init__")
        if dotted in TRUTH or dotted.split(".")[0] in TRUTH - {"teachers"}:
            continue
        words = ANNOTATIONS if dotted.split(".")[0] in BLIND else re.compile("truth")
        assert not [each for each in taken(module) if words.search(each)], name(module)
        for node in ast.walk(ast.parse(module.read_text())):
            loads = isinstance(node, ast.Name | ast.alias) and "load_truth" in ast.dump(node)
            assert not loads, f"{name(module)}: {ast.unparse(node)}"


@cache
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras):
    lines = [*project()["dependencies"], *(r for e in extras for r in project()["optional-dependencies"][e])]
    return [Requirement(line) for line in lines]


def test_benchmarks_and_scripts_import_names_that_exist():
    for path in [*ROOT.glob("tests/benchmarks/*.py"), *ROOT.glob("scripts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "lmtx":
                for alias in node.names:
                    at_hand = hasattr(import_module(node.module), alias.name)
                    assert at_hand or find_spec(f"{node.module}.{alias.name}"), (path.name, alias.name)


def test_the_lock_pins_what_the_project_requires():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    versions = {canonicalize_name(n): v for n, v in (pin.split("==") for pin in pins)}
    assert len(versions) == len(pins)
    for required in requirements("dev"):
        assert versions[canonicalize_name(required.name)] in required.specifier, required
    assert not [pin for pin in versions if pin.startswith(("nvidia", "cuda", "triton"))]


@pytest.mark.parametrize(
    ("pattern", "extras"),
    [("lmtx/**/*.py", ()), ("scripts/*.py", ()), ("tests/**/*.py", ("dev", "bench"))],
)
def test_what_is_imported_is_required(pattern, extras):
    required = {canonicalize_name(r.name) for r in requirements(*extras)} | {"lmtx"}
    known = packages_distributions()
    own = {file.stem for folder in ("scripts", "tests") for file in ROOT.glob(f"{folder}/**/*.py")}
    missing = set()
    for file in ROOT.glob(pattern):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {n.split(".")[0] for n in names} - set(sys.stdlib_module_names) - own:
                if not {canonicalize_name(d) for d in known.get(top, [top])} & required:
                    missing.add(f"{name(file)}: {top}")
    assert not missing
