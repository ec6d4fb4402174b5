"""Several processes: they train as one does, from a shell and from a notebook; and what fails says so."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import sharing
import stalling
import torch
from nbclient import NotebookClient
from safetensors.numpy import load_file
from tiny_encoders import encoder_config, save_tiny_encoder

from lmtx.encoder import Encoder
from lmtx.processes import ProcessError, launch, wanted
from lmtx.training import join

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """One thread a process, modules found as they are here, and no setting of the user's."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    monkeypatch.delenv("LMTX_PROCESSES", raising=False)


def assert_same_training(one, other):
    assert one.keys() == other.keys()
    np.testing.assert_allclose(one["losses"], other["losses"], atol=1e-5)
    for name in one:
        # Softmax does not see a key's bias: its gradient is rounding, which AdamW makes steps of.
        if not name.endswith("key/bias"):
            np.testing.assert_allclose(one[name], other[name], atol=1e-5, err_msg=name)


# --- shared batches ----------------------------------------------------------------------------


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_two_machines_train_as_one_process_does_with_the_whole_batch(model, tmp_path):
    """A script of one's own, started by `accelerate launch` on each machine; both stand here for one."""
    options = ["--multi_gpu", "--num_machines=2", "--num_processes=2", "--main_process_ip=127.0.0.1"]
    options += [f"--main_process_port={free_port()}", "--mixed_precision=no", "--dynamo_backend=no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options]
    script = [sharing.__file__, str(model), str(tmp_path)]
    machines = [subprocess.Popen([*command, f"--machine_rank={rank}", *script]) for rank in (0, 1)]
    assert [machine.wait(timeout=600) for machine in machines] == [0, 0]
    for number, case in enumerate(sharing.CASES):
        first, second = (load_file(tmp_path / f"{number}-{rank}.safetensors") for rank in (0, 1))
        assert len(first["losses"]) >= 5
        assert all(np.array_equal(first[name], second[name]) for name in first), case
        assert_same_training(first, sharing.results(str(model), case))


NOTEBOOK = """
import os

import numpy as np
import sharing
from safetensors.numpy import save_file
from tiny_encoders import encoder_config, random_texts

from lmtx.config import TrainingConfig
from lmtx.encoder.on_disk import embed
from lmtx.encoder import Encoder
from lmtx.training import train

changes = {"rejected_negatives": 3, "soft_targets": True, "e0_share": 0.25}
config = TrainingConfig(**sharing.SETTINGS | changes)
for processes in ("1", "2"):
    os.environ["LMTX_PROCESSES"] = processes
    encoder = Encoder.load(encoder_config(MODEL))
    log = train(encoder, sharing.source(encoder, soft_targets=True), config)
    weights = {name: tensor.numpy() for name, tensor in encoder.model.state_dict().items()}
    save_file({"losses": np.array(log.losses), **weights}, f"{FOLDER}/{processes}.safetensors")

    # The same student for both, which the kernel itself embeds with one process alone.
    student = Encoder.load(encoder_config(MODEL))
    if processes == "2":
        student.encode_block = None
    texts = {"train": student.tokenize(random_texts(50), 32), "labels": student.tokenize(random_texts(9), 16)}
    assert embed(student, texts, f"{FOLDER}/vectors-{processes}") == 0.0
"""


def test_a_notebook_trains_and_encodes_in_two_processes_as_in_one(model, tmp_path):
    places = f"MODEL, FOLDER = {str(model)!r}, {str(tmp_path)!r}"
    cells = [nbformat.v4.new_code_cell(source) for source in (places, NOTEBOOK)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    one, two = (load_file(tmp_path / f"{processes}.safetensors") for processes in (1, 2))
    assert len(one["losses"]) == 7
    assert not np.array_equal(one["losses"], two["losses"])  # two processes do round otherwise
    assert_same_training(one, two)
    for name in ("train", "labels"):
        vectors = [np.load(tmp_path / f"vectors-{processes}" / f"{name}.npy") for processes in (1, 2)]
        np.testing.assert_array_equal(*vectors)


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "expected"), [(None, 1), ("", 1), ("1", 1), (" 3 ", 3), ("16", 16)])
def test_the_number_of_processes_is_read_from_the_environment(monkeypatch, value, expected):
    if value is not None:
        monkeypatch.setenv("LMTX_PROCESSES", value)
    assert wanted() == expected
    monkeypatch.setenv("LOCAL_RANK", "0")  # set by whatever started several
    assert wanted() == 1


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", "²"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("LMTX_PROCESSES", value)
    with pytest.raises(ProcessError, match=f"LMTX_PROCESSES is '{value}'; set it to a whole number"):
        wanted()


def test_what_cannot_run_in_several_processes_is_not_started(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(ProcessError, match="4 processes need as many GPUs, and there are 3"):
        launch(stalling.die, processes=4, device=torch.device("cuda", 0))
    with pytest.raises(ProcessError, match="not mps"):
        launch(stalling.die, processes=2, device=torch.device("mps"))
    with pytest.raises(ProcessError, match="put it at the top of a module"):
        launch(lambda: None, processes=2, device=CPU)


def test_processes_that_cannot_exchange_anything_do_not_train_each_for_itself(model, monkeypatch):
    encoder = Encoder.load(encoder_config(model))
    encoder.device = torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **_: None)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ProcessError, match="processes on mps cannot share a batch"):
        join(encoder)


def test_one_that_fails_ends_the_others_and_says_why(tmp_path, capsys):
    with pytest.raises(ProcessError) as caught:
        launch(stalling.fail_in_the_second, str(tmp_path), "no room", processes=2, device=CPU)
    message = str(caught.value)
    assert message.startswith("fail_in_the_second in 2 processes ended with status 1:\nprocess 1: Traceback")
    assert message.endswith("ValueError: no room")


def test_one_that_is_killed_leaves_its_last_words(capsys):
    with pytest.raises(ProcessError, match="die in 2 processes ended with status 1") as caught:
        launch(stalling.die, processes=2, device=CPU)
    assert "exitcode" in str(caught.value)
    assert "the last words before it" in capsys.readouterr().err


def free(path):
    with open(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_processes_end_with_the_one_that_launched_them(tmp_path):
    program = (
        "import stalling, torch, lmtx.processes\n"
        f"lmtx.processes.launch(stalling.wait, {str(tmp_path)!r}, processes=2, device=torch.device('cpu'))"
    )
    # What it leaves behind, killed, are temporary files.
    running = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"TMPDIR": str(tmp_path)})
    ready = [Path(tmp_path) / f"{rank}.ready" for rank in (0, 1)]
    wait_for(lambda: all(file.exists() for file in ready))
    assert not free(tmp_path / "0.lock")
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: free(tmp_path / "0.lock") and free(tmp_path / "1.lock"), 30)
