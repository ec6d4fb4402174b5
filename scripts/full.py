"""Run the study of a data set with every point of its ablations and three seeds, into `reports/full`.

`make full` runs this file on semanlink, `make full DATASET=pydocs` on another data set. The stages run in a
copy of the project within `.dvc/tmp`, so the results of the working tree stay as they are. The copy shares
the project's cache and verdict store, so nothing is computed twice. A complete run removes the copy; an
interrupted one continues in it.
"""

import os
import shutil
import subprocess
import sys

import yaml
from smoke import ROOT, copy_study, run

from lmtx import report
from lmtx.files import replacing

COPY = ROOT / ".dvc" / "tmp" / "full"
SEEDS = (109, 110)
"""Of the repetitions; the preset itself has the seed 108."""


def with_seeds(points: dict[str, dict], seeds: tuple[int, ...]) -> dict[str, dict]:
    """Add each point once more for every seed, as NAME-s2, NAME-s3, …, with the predecessor of that seed."""
    repeated = dict(points)
    for number, seed in enumerate(seeds, 2):
        for name, point in points.items():
            previous, changes = point["previous"], point.get("set", {})
            repeated[f"{name}-s{number}"] = point | {
                "previous": previous if previous == "zero-shot" else f"{previous}-s{number}",
                "set": changes | {"training": changes.get("training", {}) | {"seed": seed}},
            }
    return repeated


def chains_of_points() -> list[list[list[str]]]:
    """Return the points in groups of two chains: those that start from E0, then those that continue one."""
    previous = {
        f"ablate@{name}": point["previous"]
        for name, point in yaml.safe_load((COPY / "params.yaml").read_text())["ablations"].items()
    }
    from_e0 = [stage for stage in previous if previous[stage] == "zero-shot"]
    later = [stage for stage in previous if stage not in from_e0]
    return [
        [["--single-item", *stages[half::2]] for half in (0, 1) if stages[half:]]
        for stages in (from_e0, later)
    ]


def main(dataset: str) -> int:
    begun = COPY.exists()
    COPY.mkdir(parents=True, exist_ok=True)
    environment = copy_study(COPY, [f"dataset={dataset}", "size=full"], results=not begun)
    parameters = yaml.safe_load((COPY / "params.yaml").read_text())
    parameters["ablations"] = with_seeds(parameters["ablations"], SEEDS)
    (COPY / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    # Points are small: two of them side by side, each on half of the cores, take less time.
    halved = environment | {"OMP_NUM_THREADS": str(max(1, os.cpu_count() // 2))}
    store = COPY / "data" / "verdicts.sqlite"
    if not store.is_symlink():
        store.symlink_to(ROOT / "data" / "verdicts.sqlite")
    for command in (
        ["config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")],
        *([] if begun else [["checkout", "--quiet", "--allow-missing"]]),
        ["repro", "evaluate"],
    ):
        finished = subprocess.run([sys.executable, "-m", "dvc", *command], cwd=COPY, env=environment)
        if finished.returncode:
            return finished.returncode
    if status := run(COPY, halved, [*chains_of_points(), [["ablations"]]]):
        return status
    # The page holds every figure and table, so only the result files are kept beside it.
    written = COPY / "reports"
    report.write(report.load(written, parameters["dataset"]["name"]), written, alone=True)
    with replacing(ROOT / "reports" / "full") as full:
        for kind in ("ablations", "metrics"):
            shutil.copytree(written / kind / dataset, full / kind / dataset)
        shutil.copy2(written / "index.html", full)
    shutil.rmtree(COPY)
    print("open reports/full/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
