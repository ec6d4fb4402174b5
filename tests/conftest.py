"""Every test runs as on a machine without a network, anybody's keys and language models.

`make test` runs files side by side: what one file's tests share is made once.
"""

import errno
import os
import socket

import pytest

LONGEST = ["test_stages", "test_learning", "test_notebooks", "test_processes"]
LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "", None}


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory):
    """Let connections reach this machine only; any other ends as it does where there is no network."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def local_connect(self, address):
        if isinstance(address, tuple) and address[0] not in LOCAL:
            raise OSError(errno.ENETUNREACH, f"tests have no network, not even to {address[0]}")
        return connect(self, address)

    def local_look_up(host, *args, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in LOCAL:
            raise socket.gaierror(socket.EAI_NONAME, f"tests have no network, not even to {name}")
        return look_up(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_connect)
        patch.setattr(socket, "getaddrinfo", local_look_up)
        for name in [name for name in os.environ if name.startswith(("OPENAI_", "HF_TOKEN"))]:
            patch.delenv(name)
        patch.setenv("LMTX_MODELS", str(tmp_path_factory.getbasetemp() / "no-models"))
        yield


@pytest.fixture(scope="module")
def one_thread():
    """For models so small that several threads only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sentence encoder small enough for a test, in a folder that no test changes."""
    from tiny_encoders import save_tiny_encoder

    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """One that reads 32 tokens: 30 words between [CLS] and [SEP]."""
    from tiny_encoders import encoder_config, save_tiny_encoder

    from lmtx.encoder import Encoder

    return Encoder.load(encoder_config(save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")))


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """`ask(server, pairs, **config)` judges by a scripted server; see `judging.asking`."""
    from judging import asking

    yield from asking(tmp_path, monkeypatch)


@pytest.fixture
def prices(tmp_path, monkeypatch):
    """`prices(text)` writes the table of prices that is in force."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    return lambda text: (tmp_path / "conf" / "prices.yaml").write_text(text)


def pytest_collection_modifyitems(items):
    """The longest files are first: side by side with the others they end with them."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
