"""The house is in order: notebooks are clean, presets hold, stages say what they depend on."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
import stages
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lmtx.config import GROUPS, Config, compose, load_config

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
PRESETS = [(group, file.stem) for group in GROUPS for file in sorted((ROOT / "conf" / group).glob("*.yaml"))]
LIBRARY = sorted(ROOT.glob("lmtx/**/*.py"))

# In the order in which data flows; a module imports from those above it only.
ORDER = """
    config files processes tokens study provenance progress corpus datasets pretrained encoder group
    embeddings index training llm teachers fitting curriculum ablation baselines supervised metrics evaluation
    report browse tagger cli
""".split()  # noqa: SIM905 (a list literal would take a line a word)

# Folders whose modules are chosen by the parameters.
WHOLE = ("llm", "teachers")

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
    defined = [n.name for n in ast.walk(stages.notebook_tree(notebook)) if isinstance(n, ast.ClassDef)]
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
    return ROOT / re.search(r"notebooks/[\w.-]+\.ipynb", stage.cmd).group()


def declared(stage):
    """Files of the library, and parameters, that a stage says it depends on."""
    files, keys = set(), set()
    for dependency in stage.deps:
        path = ROOT / dependency.def_path
        keys |= set(getattr(dependency, "params", []))
        files |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return {file for file in files if file.is_relative_to(ROOT / "lmtx")}, stages.whole(keys)


def test_every_numbered_notebook_is_a_stage_and_every_stage_a_notebook():
    """The others are for exploring."""
    numbered = {notebook for notebook in NOTEBOOKS if notebook.stem[0].isdigit()}
    assert numbered
    assert {notebook_of(stage) for stage in dvc_stages()} == numbered
    for stage in dvc_stages():
        assert notebook_of(stage) in [ROOT / d.def_path for d in stage.deps], stage.addressing


def test_stages_depend_on_the_modules_their_notebooks_import():
    """And on no others, but for those of a folder of `WHOLE`: a stage that uses a part names all of it."""
    whole = [set((ROOT / "lmtx" / folder).rglob("*.py")) for folder in WHOLE]
    for stage in dvc_stages():
        files, _ = declared(stage)
        expected = stages.modules(stages.notebook_tree(notebook_of(stage)))
        if stage.addressing.startswith("baseline@"):  # another baseline's file is no reason to run again
            kinds = set((ROOT / "lmtx" / "baselines").glob("[!_]*.py"))
            expected -= kinds - files
            assert len(files & kinds) == 1, stage.addressing
        expected |= {file for files in whole if files & expected for file in files}
        assert sorted(map(name, files)) == sorted(map(name, expected)), stage.addressing


def test_stages_depend_on_the_parameters_their_notebooks_read():
    for stage in dvc_stages():
        _, keys = declared(stage)
        assert keys == stages.parameters(stages.notebook_tree(notebook_of(stage))), stage.addressing


def test_a_change_of_one_s_own_files_is_noticed():
    """`prepare` depends on the folder where the preset looks for them, and a fresh clone has it."""
    (prepare,) = [stage for stage in dvc_stages() if stage.addressing == "prepare"]
    folders = [ROOT / dependency.def_path for dependency in prepare.deps]
    own = compose(["dataset=own"], conf=ROOT / "conf")["dataset"]
    for key in ("documents", "labels"):
        (found,) = [folder for folder in folders if (ROOT / own[key]).is_relative_to(folder)]
        assert [file for file in project_files() if file.is_relative_to(found)]


def test_what_a_notebook_reads_is_found(tmp_path):
    """The check of the checks above, on code whose answer is plain."""
    tree = ast.parse(
        "import lmtx\n"
        "from lmtx.files import write_json\n"
        "study = lmtx.Study.open(config, overrides, workspace)\n"
        "settings = study.config\n"
        "write_json(study.results / 'x.json', settings.training.seed)\n"
        "settings.digest('encoder', 'check')\n"
    )
    config = [name(file) for file in (ROOT / "lmtx" / "config").glob("*.py")]
    assert set(map(name, stages.modules(tree))) == {
        *config,
        "lmtx/files.py",
        "lmtx/study.py",
        "lmtx/tokens.py",
    }
    assert stages.parameters(tree) == {"dataset.name", "training.seed", "encoder", "check"}
    shortlist = {"shortlist.size", "shortlist.search", "shortlist.lexical_weight"}
    assert stages.whole({*shortlist, "cycles.c1", "training", "training.seed"}) == {
        "shortlist",
        "cycles",
        "training",
    }
    assert stages.whole({"shortlist.size", "shortlist.search"}) == {"shortlist.size", "shortlist.search"}


def unit(path):
    """The entry of ORDER that a module belongs to."""
    return path.relative_to(ROOT / "lmtx").parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", LIBRARY, ids=name)
def test_imports_run_downwards(module):
    if module == ROOT / "lmtx" / "__init__.py":
        return
    for found in stages.imported(stages.module_tree(module)) - {"lmtx"}:
        used = found.split(".")[1]
        assert ORDER.index(used) <= ORDER.index(unit(module)), f"{name(module)} imports {found}"


@pytest.mark.parametrize("module", LIBRARY, ids=name)
def test_annotations_reach_only_who_may_see_them(module):
    """Zero-shot can be read off the signatures: no other function takes `truth`, or loads it."""
    dotted = ".".join(module.relative_to(ROOT / "lmtx").with_suffix("").parts).removesuffix(".__init__")
    if dotted in TRUTH or dotted.split(".")[0] in TRUTH - {"teachers"}:
        return
    tree = stages.module_tree(module)
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


@pytest.mark.parametrize(("pattern", "extras"), [("lmtx/**/*.py", ()), ("tests/**/*.py", ("dev", "bench"))])
def test_what_is_imported_is_required(pattern, extras):
    required = {canonicalize_name(r.name) for r in requirements(*extras)} | {"lmtx"}
    known, own = packages_distributions(), {file.stem for file in ROOT.glob("tests/**/*.py")}
    missing = set()
    for file in ROOT.glob(pattern):
        for node in ast.walk(stages.module_tree(file)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {n.split(".")[0] for n in names} - set(sys.stdlib_module_names) - own:
                if not {canonicalize_name(d) for d in known.get(top, [top])} & required:
                    missing.add(f"{name(file)}: {top}")
    assert not missing
