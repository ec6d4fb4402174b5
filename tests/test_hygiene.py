"""The house is in order: notebooks are clean, presets hold, stages say what they depend on."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
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
NOTEBOOKS = sorted(ROOT.glob("notebooks/**/*.ipynb"))
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

# Split, so that this file does not match itself.
FORBIDDEN = [
    "/wo" + "rk/",
    "../sha" + "red",
    "/ro" + "ot/",
    "pypi" + ".org",
    "python" + "hosted.org",
    "download." + "pytorch",
    "/opt/" + "wheels",
]
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")


@cache
def project_files():
    """Every file that is, or is about to be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def cells(notebook):
    return [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def name(path):
    return str(path.relative_to(ROOT))


def test_nothing_names_a_place_outside_the_project():
    found = [
        f"{name(file)}: {word}"
        for file in project_files()
        for word in FORBIDDEN
        if word.encode() in file.read_bytes()
    ]
    assert not found


def test_nothing_is_left_unfinished():
    found = [
        f"{name(file)}:{number}: {line.strip()}"
        for file in project_files()
        if file.suffix in {".py", ".md", ".ipynb", ".yaml", ".toml"}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_clean(notebook):
    """Outputs belong to the executed copies; `jupyter nbconvert --clear-output --inplace` removes them."""
    nbformat.validate(nbformat.read(notebook, as_version=4))
    for number, cell in enumerate(cells(notebook), 1):
        where = f"{name(notebook)}, code cell {number}"
        assert not cell.outputs, f"{where} has outputs"
        assert cell.execution_count is None, f"{where} has an execution count"
        assert not cell.metadata.keys() & {"execution", "papermill"}, f"{where} has traces of a run"
        assert len(cell.source.splitlines()) <= 40, f"{where} is longer than 40 lines; move logic to lmtx/"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_parameters(notebook):
    tagged = [n for n, cell in enumerate(cells(notebook)) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == [0]
    for statement in ast.parse(cells(notebook)[0].source).body:
        assert isinstance(statement, ast.Assign), ast.unparse(statement)
        ast.literal_eval(statement.value)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_logic_worth_a_test(notebook):
    defined = [n.name for n in ast.walk(ast.parse(code(notebook))) if isinstance(n, ast.ClassDef)]
    assert not defined, f"classes belong in lmtx/: {defined}"


def test_the_parameters_are_the_composed_presets():
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == compose(conf=ROOT / "conf")


@pytest.mark.parametrize(("group", "preset"), PRESETS)
def test_every_preset_is_valid(group, preset, tmp_path):
    """Composed by Hydra, as `dvc exp run -S` does, and as an override of the default parameters."""
    override = [f"{group}={preset}"]
    composed = Config.model_validate(compose(override, conf=ROOT / "conf"))
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(compose(conf=ROOT / "conf")))
    assert load_config(tmp_path / "params.yaml", override) == composed


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
    cells = [c.source for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    return "\n".join(line for cell in cells for line in cell.splitlines() if not line.startswith(("%", "!")))


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
    apart = {notebook for notebook in NOTEBOOKS if notebook.parent.name == "stages"}
    assert {notebook_of(stage) for stage in dvc_stages()} == {*numbered} | apart
    for stage in dvc_stages():
        assert notebook_of(stage) in [ROOT / d.def_path for d in stage.deps], stage.addressing


def test_stages_depend_on_the_wings_that_their_notebooks_import():
    for stage in dvc_stages():
        files = [ROOT / dependency.def_path for dependency in stage.deps]
        inside = {f.relative_to(ROOT / "lmtx").parts for f in files if f.is_relative_to(ROOT / "lmtx")}
        expected = {WINGS[wing].name for wing in wings(notebook_of(stage))}
        if stage.addressing.startswith("baseline@"):  # another baseline's file is no reason to run again
            kinds = {parts[1] for parts in inside if parts[0] == "baselines"}
            assert len(kinds - {"__init__.py"}) == 1, stage.addressing
        assert {parts[0] for parts in inside} == expected, stage.addressing


def test_stages_depend_on_the_parameters_that_their_notebooks_read():
    for stage in dvc_stages():
        declared = {key.split(".")[0] for d in stage.deps for key in getattr(d, "params", [])}
        assert declared >= sections(notebook_of(stage)), stage.addressing


def test_a_change_of_one_s_own_files_is_noticed():
    """`prepare` depends on the folder where the preset looks for them, and a fresh clone has it."""
    (prepare,) = [stage for stage in dvc_stages() if stage.addressing == "prepare"]
    folders = [ROOT / dependency.def_path for dependency in prepare.deps]
    own = compose(["dataset=own"], conf=ROOT / "conf")["dataset"]
    for key in ("documents", "labels"):
        (found,) = [folder for folder in folders if (ROOT / own[key]).is_relative_to(folder)]
        assert [file for file in project_files() if file.is_relative_to(found)]


def unit(path):
    """The entry of ORDER that a module belongs to."""
    return path.relative_to(ROOT / "lmtx").parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", LIBRARY, ids=name)
def test_imports_run_downwards(module):
    if module == ROOT / "lmtx" / "__init__.py":
        return
    for wing in {dotted.split(".")[1] for dotted in imported(module.read_text())} & WINGS.keys():
        assert ORDER.index(wing) <= ORDER.index(unit(module)), f"{name(module)} imports {wing}"


@pytest.mark.parametrize("module", LIBRARY, ids=name)
def test_annotations_reach_only_who_may_see_them(module):
    """Zero-shot can be read off the signatures: no other function takes `truth`, or loads it."""
    dotted = ".".join(module.relative_to(ROOT / "lmtx").with_suffix("").parts).removesuffix(".__init__")
    if dotted in TRUTH or dotted.split(".")[0] in TRUTH - {"teachers"}:
        return
    tree = ast.parse(module.read_text())
    takes = [n.arg for n in ast.walk(tree) if isinstance(n, ast.arg) and "truth" in n.arg]
    loads = [n for n in ast.walk(tree) if isinstance(n, ast.Name | ast.alias) and "load_truth" in ast.dump(n)]
    assert not takes
    assert not loads


@cache
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras):
    lines = [*project()["dependencies"], *(r for e in extras for r in project()["optional-dependencies"][e])]
    return [Requirement(line) for line in lines]


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
