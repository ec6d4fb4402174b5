"""Where each result of a study lies. The only module that knows a path."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from lmtx.config import Config, find_upwards, load_config
from lmtx.files import replacing


class StudyError(RuntimeError):
    """A missing result; the message says how to make it."""


def _path(below: str, meaning: str) -> property:
    """A property: the path `below` the root of a study, where {name} is its data set's."""
    return property(lambda study: study.root / below.format(name=study.name), doc=meaning)


def _path_of(below: str, meaning: str) -> Callable[["Study", str], Path]:
    """A method: the path `below` the root of a study, where {of} is its argument."""

    def path(study: "Study", of: str) -> Path:
        return study.root / below.format(name=study.name, of=of)

    path.__doc__ = meaning
    return path


@dataclass(frozen=True)
class Study:
    """A configuration, and the paths of its results.

    `root` is the repository for `dvc repro`, and a scratch folder for a notebook that is run by hand, so
    exploring never changes the study's results.
    """

    config: Config
    root: Path  # the folder of all results
    opened: dict[str, str]  # the arguments of `open`, for the notebooks that `need` runs
    source: Path | None = None  # the study whose results `need` copies into `root`

    @classmethod
    def open(
        cls, config: str = "params.yaml", workspace: str = ".", size: str = "", overrides: str = ""
    ) -> "Study":
        """Load a study's parameters.

        Parameters
        ----------
        config
            The parameter file, in this folder or one above it.
        workspace
            The folder of results, relative to that of `config`. "" is a scratch folder: of the study where it
            has run and nothing differs from its parameters, and otherwise of a sample.
        size
            A preset of `conf/size`; "" for none, or for "sample" in the workspace of that name.
        overrides
            Single values, separated by spaces: "shortlist.size=5 training.seed=7".
        """
        project = find_upwards(config).parent.resolve()
        opened = {"config": config, "workspace": workspace, "size": size, "overrides": overrides}
        study = cls(load_config(config), project, opened)
        if not (workspace or size or overrides) and study.model("lmtx").is_dir():
            return cls(study.config, project / "scratch" / "study", opened, source=project)
        size = size or ("" if workspace else "sample")
        presets = [f"size={size}"] if size else []
        root = (project / (workspace or f"scratch/{size}")).resolve()
        return cls(load_config(config, [*presets, *overrides.split()]), root, opened)

    def need(self, *paths: Path) -> None:
        """Copy results of the study that are there, and run the notebooks that make the missing ones.

        Notebooks run with the same parameters, in a scratch workspace only. In the study itself DVC runs
        them, and a missing result raises `StudyError`.
        """
        from lmtx.study.notebooks import maker, run

        for path in paths:
            own = self.source and self.source / path.relative_to(self.root)
            if own and own.exists():
                with replacing(path) as copy:
                    (shutil.copytree if own.is_dir() else shutil.copy2)(own, copy)
            elif not path.exists():
                notebook, parameters = maker(self, path)
                if self.root == find_upwards(self.opened["config"]).parent.resolve():
                    raise StudyError(f"{path} is missing; `dvc repro` makes it with {notebook}")
                run(self, notebook, parameters)

    def load_embeddings(self) -> dict[str, np.ndarray]:
        """E0's unit vectors, float32 (n, d), under "train", "dev", "test" and "labels"; memory-mapped."""
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(self.embeddings.glob("*.npy"))}

    @property
    def name(self) -> str:
        return self.config.dataset.name

    reports = _path("reports", "Folder of the tables, figures and the page.")
    results = _path("reports/metrics/{name}", "Folder of the result files, one JSON a system.")
    ablations = _path("reports/ablations/{name}", "Folder of the ablations' result files, one JSON a point.")
    statistics = _path("reports/corpus/{name}.json", "The data set in numbers.")
    summary = _path("reports/summary", "Folder of the headline figures, for `dvc metrics show`.")
    processed = _path("data/processed/{name}", "Folder of what the stages pass on.")
    corpus = _path("data/processed/{name}/corpus", "Folder of the `Corpus`.")
    truth = _path("data/processed/{name}/truth", "Folder of the annotations, for metrics and statistics.")
    embeddings = _path("data/processed/{name}/embeddings", "Folder of E0's embeddings, an npy file a split.")
    labelled = _path_of("data/processed/{name}/labelled/{of}", "Folder of a cycle's verdicts.")
    ranking = _path_of("data/processed/{name}/rankings/{of}", "Folder of a system's test ranking.")
    point = _path_of("data/processed/{name}/ablations/{of}", "Folder of a point: ranking, verdicts, record.")
    record = _path_of("data/processed/{name}/records/{of}.json", "A stage's record (`lmtx.study.records`).")
    scores = _path_of("data/processed/{name}/scores/{of}.json", 'All results of "systems" or "points".')
    model = _path_of("models/{name}/{of}", "Folder of a trained encoder, for sentence-transformers.")
    losses = _path_of("reports/training/{name}/{of}.csv", "The loss of each training step of a cycle.")

    @property
    def store(self) -> Path:
        """The verdict store, shared by all data sets and runs, outside DVC's outputs."""
        return (self.source or self.root) / "data" / "verdicts.sqlite"

    @property
    def records(self) -> Path:
        """Folder of the verdicts that ship with the study, one Parquet file a teacher."""
        return find_upwards(self.opened["config"]).parent / "verdicts" / self.name

    @property
    def judging(self) -> dict[str, Path]:
        """The options of `lmtx.teachers.build` that are paths."""
        return {"store": self.store, "truth": self.truth, "records": self.records}

    def measured(self, record: Path) -> Path:
        """The time, cost and machine of a record as it stands, a JSON file that is no output of DVC."""
        content = sha256(record.read_bytes()).hexdigest()[:16]
        return self.processed / "measured" / record.relative_to(self.processed) / f"{content}.json"


def skip_rest(reason: str) -> None:
    """Print the reason, and skip the remaining cells of the notebook until the kernel restarts."""
    from IPython import get_ipython

    print(f"{reason}; the rest of this notebook is skipped")
    get_ipython().input_transformers_cleanup.append(lambda lines: ["pass\n"])
