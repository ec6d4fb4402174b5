"""The rows of the benchmarks, how they are compared, and the report made of them."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import report
import rows
from bench_gpu import operations
from bench_scaling import draw, slope
from rows import Row, apart, options, peak, read_rows, take_turns
from tiny_encoders import encoder_config, save_tiny_encoder
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lmtx.encoder import Encoder

BENCHMARKS = Path(report.__file__).parent
MACHINE = {"processor": "one, 2 cores", "GPU": "none, so no rows"}


@pytest.fixture(autouse=True)
def called(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bench_x.py", "--texts", "10", "--rows", "a file"])


def row(**changes):
    values = {"part": "Encoding", "case": "10 texts", "names": ("lmtx", "theirs")}
    return Row.of(**(values | {"ours": [1.0, 2.0, 4.0], "other": [3.0, 3.0, 4.0]} | changes))


def test_a_row_compares_round_by_round():
    found = row()
    assert found.figures == (2, 3)
    assert (found.ratio, found.spread) == (1.5, (1, 3))
    assert row(other=[4.0, 3.0, 3.0]).spread == (0.75, 4)
    assert found.command == "python tests/benchmarks/bench_x.py --texts 10"


def test_a_rate_is_better_when_it_is_larger_and_the_ratio_stays():
    found = row(count=10, unit="texts/s")
    assert found.figures == (5, 10 / 3)
    assert found.ratio == 1.5


def test_a_row_of_nothing_to_compare_with_has_no_ratio():
    found = row(names=("lmtx", None), ours=[2.0], other=None, unit="MiB")
    assert (found.figures, found.ratio, found.spread) == ((2, None), None, None)
    assert str(found) == "10 texts: lmtx 2 MiB"


def test_measurements_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        row(other=[3.0, 3.0])


def test_ways_take_turns_in_alternating_order():
    calls = []
    seconds = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert "".join(calls) == "ab" + "ab" + "ba"
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2}


def test_rows_are_read_as_they_were_handed_over(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.jsonl"
    monkeypatch.setattr(sys, "argv", ["bench_x.py", f"--rows={file}", "--share=0.5"])
    chosen = options("What it does.\n\nMore.", texts=3, share=0.1)
    assert (chosen.texts, chosen.share, chosen.rounds) == (3, 0.5, 3)
    given = [row(), row(names=("lmtx", None), other=None, note="a note")]
    rows.report(chosen, given[0])
    rows.report(chosen, given[1])
    assert read_rows(file) == given
    assert read_rows(tmp_path / "none") == []
    assert "1.5× (1 to 3)" in capsys.readouterr().out


def test_memory_is_that_of_the_process_alone():
    held = bytearray(200 << 20)
    value, memory = apart(len, "four")
    assert value == 4
    assert memory < peak() - len(held) / 2**20 / 2


def test_a_process_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="failed in a process of its own"):
        apart(len, 4)


def write_script(folder, name, ending):
    (folder / f"bench_{name}.py").write_text(
        f"import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from rows import Row, options, report\n"
        "chosen = options('Nothing.')\n"
        f"report(chosen, Row.of('Part', '{name}', ('lmtx', 'theirs'), [1.0], [1.0 + chosen.rounds]))\n"
        f"{ending}\n"
    )


def test_a_script_that_fails_leaves_its_rows_and_a_gap(tmp_path):
    write_script(tmp_path, "good", "")
    write_script(tmp_path, "bad", "raise SystemExit('theirs is not installed')")
    runs = [report.run(name, 2, MACHINE, tmp_path) for name in ("good", "bad")]
    assert [run.failure for run in runs] == [None, "theirs is not installed"]
    assert [run.rows[0].ratio for run in runs] == [3, 3]
    text = report.page(runs)
    assert "| good | lmtx: **1** s | theirs: **3** s | 3× | `python tests/benchmarks/bench_good.py" in text
    assert "`bench_bad.py` failed, so rows are missing: theirs is not installed" in text
    assert "GPU | none, so no rows" in text


def test_a_page_names_each_machine_and_leaves_empty_columns_out():
    alone = row(part="Memory", names=("lmtx", None), other=None, unit="MiB")
    runs = [
        report.Run("one", [row()], 60, None, MACHINE),
        report.Run("two", [alone], 60, None, MACHINE | {"GPU": "a card"}),
    ]
    text = report.page(runs)
    encoding, memory = text.split("## Memory")
    assert "Measured by `bench_one.py`:" in encoding
    assert "Measured by `bench_two.py`:" in encoding
    assert "| measured | ours | instead | times | repeat with |" in encoding
    assert "| measured | ours | repeat with |" in memory
    assert "## Gaps" not in text
    assert "All took 2 minutes" in text


def test_the_last_runs_are_read_again(tmp_path):
    file = tmp_path / "rows.json"
    runs = [report.Run("one", [row()], 60, "why", MACHINE)]
    file.write_text(json.dumps([report.asdict(run) for run in runs]))
    assert report.last_runs(file) == {"one": runs[0]}
    assert report.last_runs(tmp_path / "none") == {}


def test_every_script_is_run():
    assert {file.stem.removeprefix("bench_") for file in BENCHMARKS.glob("bench_*.py")} <= set(report.SCRIPTS)


def test_the_figure_of_growth_names_the_fitted_slopes(tmp_path):
    linear, flat, steep = ({n: 0.01 * n**power for n in (10, 20, 40, 80)} for power in (1, 0, 2))
    assert [slope(each) for each in (linear, flat, steep)] == pytest.approx([1, 0, 2], abs=1e-9)
    drawn = draw({("reading", "documents"): linear, ("search", "labels"): steep})
    assert "faster than linearly" in drawn.message
    assert "Cost grows linearly or slower" in draw({("reading", "documents"): linear}).message
    drawn.save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".png", ".svg", ".pdf", ".csv"}
    text = (tmp_path / "scaling.svg").read_text()
    assert "reading: 1.00" in text
    assert "search: 2.00" in text
    assert "search,labels,80,64,2" in (tmp_path / "scaling.csv").read_text()


def test_operations_of_an_encoder_are_those_that_torch_counts(tmp_path):
    encoder = Encoder.load(encoder_config(save_tiny_encoder(tmp_path / "tiny")))
    same_length = [[2, *range(4, 10), 3]] * 3  # so nothing is padded
    # Attention as plain products, which are counted.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        encoder.forward(same_length)
    assert operations(encoder, [8, 8, 8]) == counter.get_total_flops()
