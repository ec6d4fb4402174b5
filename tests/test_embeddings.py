"""Embeddings on disk: whole or not at all, and the same bytes however often a run was cut short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import encoder_config, random_texts

from lmtx.encoder import Encoder, on_disk
from lmtx.encoder.on_disk import embed, embed_share
from lmtx.encoder.tokens import Tokens

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 8


@pytest.fixture
def encoder(folder, monkeypatch):
    """Embeds 8 texts at a time; `made` holds how many texts each block had that was embedded."""
    monkeypatch.setattr(on_disk, "BLOCK", BLOCK)
    return counted(Encoder.load(encoder_config(folder)))


def counted(encoder, stop_after=None):
    encode_block, encoder.made = encoder.encode_block, []

    def counting(tokens, bar):
        if len(encoder.made) == stop_after:
            raise KeyboardInterrupt
        encoder.made.append(len(tokens))
        return encode_block(tokens, bar)

    encoder.encode_block = counting
    return encoder


@pytest.fixture
def texts(encoder):
    return {
        "train": encoder.tokenize(random_texts(20), 32),
        "dev": encoder.tokenize([], 32),
        "labels": encoder.tokenize(random_texts(9, longest=4, seed=1), 16),
    }


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_each_text_has_the_vector_that_the_encoder_gives_it(encoder, texts, tmp_path):
    assert embed(encoder, texts, tmp_path / "vectors") == 0.0
    assert encoder.made == [8, 8, 4, 8, 1]
    for name, tokens in texts.items():
        vectors = np.load(tmp_path / "vectors" / f"{name}.npy", mmap_mode="r")
        assert (vectors.shape, vectors.dtype) == ((len(tokens), 32), np.float32)
        np.testing.assert_allclose(vectors, encoder.encode_tokens(tokens), atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["vectors"]


@pytest.mark.parametrize("finished", [0, 3])
def test_an_interrupted_run_is_taken_up_where_it_broke_off(encoder, folder, texts, tmp_path, finished):
    embed(encoder, texts, tmp_path / "whole")
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "old.npy").touch()
    with pytest.raises(KeyboardInterrupt):
        embed(counted(Encoder.load(encoder_config(folder)), finished), texts, tmp_path / "vectors")
    assert list(files(tmp_path / "vectors")) == ["old.npy"]
    again = counted(Encoder.load(encoder_config(folder)))
    assert (embed(again, texts, tmp_path / "vectors") > 0) == bool(finished)
    assert again.made == [8, 8, 4, 8, 1][finished:]
    assert files(tmp_path / "vectors") == files(tmp_path / "whole")
    assert {file.name for file in tmp_path.iterdir()} == {"vectors", "whole"}


def other_weights(encoder, texts):
    with torch.no_grad():
        encoder.model.weights["embeddings/word_embeddings/weight"][5, 0] += 1


def other_pooling(encoder, texts):
    encoder.model.config["pooling"] = "cls"


def other_texts(encoder, texts):
    texts["train"] = Tokens.of([[2, 5, 3], *list(texts["train"])[1:]])


@pytest.mark.parametrize(
    ("change", "anew"), [(other_weights, [8, 8, 4]), (other_pooling, [8, 8, 4]), (other_texts, [8])]
)
def test_only_blocks_of_the_same_encoder_and_texts_are_taken_up(
    encoder, folder, texts, tmp_path, change, anew
):
    texts = {"train": texts["train"]}
    embed_share(encoder, texts, tmp_path / "vectors", 0, 1)
    change(encoder, texts)
    encoder.made.clear()
    embed(encoder, texts, tmp_path / "vectors")
    assert encoder.made == anew
    embed(encoder, texts, tmp_path / "whole")
    assert files(tmp_path / "vectors") == files(tmp_path / "whole")
    for changes in ({"precision": "bf16"}, {"batch_tokens": 64}):
        other = counted(Encoder.load(encoder_config(folder, **changes)))
        embed(other, texts, tmp_path / "vectors")
        assert other.made == [8, 8, 4]


def test_several_processes_share_the_blocks(encoder, texts, tmp_path):
    embed(encoder, texts, tmp_path / "whole")
    for rank, its_own in enumerate([[8, 8], [8, 1], [4]]):
        encoder.made.clear()
        embed_share(encoder, texts, tmp_path / "vectors", rank, 3)
        assert encoder.made == its_own
        assert not (tmp_path / "vectors").exists()
    encoder.made.clear()
    assert embed(encoder, texts, tmp_path / "vectors") > 0
    assert encoder.made == []
    assert files(tmp_path / "vectors") == files(tmp_path / "whole")
    # The one that joins makes what a broken process has left out.
    embed_share(encoder, texts, tmp_path / "broken", 1, 3)
    encoder.made.clear()
    embed(encoder, texts, tmp_path / "broken")
    assert encoder.made == [8, 4, 8]


# Forks itself, so that the libraries are loaded once. Each fork is killed before another operation on
# files, the first one before its first, until one has fewer operations left than that.
KILLED = """
import itertools, json, os, signal, sys
from lmtx.config import EncoderConfig
from lmtx.encoder import Encoder, on_disk

OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "mmap.__new__", "shutil.rmtree"}

def kill_at(moment):
    count = itertools.count(1)
    def watch(event, _):
        if event in OPERATIONS and next(count) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

on_disk.BLOCK = 8
settings, texts = json.load(sys.stdin)
encoder = Encoder.load(EncoderConfig(**settings))
texts = {"train": encoder.tokenize(texts, 32)}
on_disk.embed(encoder, texts, sys.argv[2])  # here, as other threads would add in another order
for moment in itertools.count(1):
    child = os.fork()
    if not child:
        kill_at(moment)
        on_disk.embed(encoder, texts, sys.argv[1])
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        break
print(moment)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_run_killed_at_any_moment_ends_in_the_same_bytes(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "vectors"), str(tmp_path / "whole")],
        cwd=ROOT,
        input=json.dumps([encoder_config(folder).model_dump(mode="json"), random_texts(12)]),
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    assert files(tmp_path / "vectors") == files(tmp_path / "whole")
    assert not (tmp_path / ".vectors.unfinished").exists()
