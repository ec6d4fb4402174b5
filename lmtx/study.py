"""Where each result of a study lies. The only module that knows a path."""

from dataclasses import dataclass
from pathlib import Path

from lmtx.config import Config, find_upwards, load_config


@dataclass(frozen=True)
class Study:
    """A configuration and the folder its results live in.

    `root` is the repository for `dvc repro`, and a scratch folder for a notebook run by hand,
    so that exploring never touches the study's results.
    """

    config: Config
    root: Path

    @classmethod
    def open(
        cls, config: str = "params.yaml", overrides: list[str] | tuple[str, ...] = (), workspace: str = "."
    ) -> "Study":
        """Load `config` with `overrides`; results live in `workspace`, relative to the config's folder."""
        return cls(load_config(config, overrides), find_upwards(config).parent / workspace)

    @property
    def name(self) -> str:
        return self.config.dataset.name

    @property
    def processed(self) -> Path:
        return self.root / "data" / "processed" / self.name

    @property
    def corpus(self) -> Path:
        """Folder of the `Corpus`."""
        return self.processed / "corpus"

    @property
    def truth(self) -> Path:
        """Folder of the annotations, which only metrics, statistics and simulations read."""
        return self.processed / "truth"

    @property
    def embeddings(self) -> Path:
        """Folder of E0's embeddings: train.npy, dev.npy, test.npy, labels.npy."""
        return self.processed / "embeddings"

    @property
    def store(self) -> Path:
        """The verdict store, shared by all data sets and runs, outside DVC's outputs."""
        return self.root / "data" / "verdicts.sqlite"

    def labelled(self, cycle: str) -> Path:
        """Folder of a cycle's shortlist and verdicts."""
        return self.processed / "labelled" / cycle

    def ranking(self, system: str) -> Path:
        """Folder of a system's ranking of the test documents."""
        return self.processed / "rankings" / system

    def model(self, system: str) -> Path:
        """Folder of a trained encoder, loadable by sentence-transformers."""
        return self.root / "models" / self.name / system

    @property
    def results(self) -> Path:
        """Folder of the result files, one JSON a system."""
        return self.root / "reports" / "metrics" / self.name

    @property
    def reports(self) -> Path:
        return self.root / "reports"
