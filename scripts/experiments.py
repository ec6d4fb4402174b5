"""List DVC's experiments, a row each: LMTX's headline figures, and the parameters that differ among them.

`make experiments` runs this file: `dvc exp show` has a column for each figure of each system.
"""

import json
import subprocess
import sys

import pandas as pd


def table(shown: list[dict]) -> pd.DataFrame:
    """The rows of `dvc exp show --json`: the working tree, the last commit, and its experiments."""
    rows = {}
    for commit in shown:
        experiments = [revision for e in commit["experiments"] or [] for revision in e["revs"]]
        for entry in [commit, *experiments]:
            files = {kind: entry["data"][kind] for kind in ("metrics", "params")}
            figures = files["metrics"].get("reports/summary/lmtx.json", {}).get("data", {})
            parameters = files["params"].get("params.yaml", {}).get("data", {})
            flat = pd.json_normalize(parameters).iloc[0].astype(str).to_dict()
            rows[entry["name"] or entry["rev"][:9]] = {**figures, **flat}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame[[name for name in frame if "@" in name or len({*frame[name].astype(str)}) > 1]]


if __name__ == "__main__":
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    print(table(json.loads(done.stdout)).to_string())
