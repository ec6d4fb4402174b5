"""No verdict is lost: whoever asks the same finds what was stored by any earlier version.

A stored verdict is found by a hash of its teacher's identity and of both texts; a written text by a hash of
the writer's identity and the prompt. A digest below that changes makes every verdict of such a teacher
be asked and paid for anew.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from judging import make_config, make_pairs
from pydantic import TypeAdapter

from lmtx.config import HuggingFaceConfig, TeacherConfig, load_presets
from lmtx.corpus import Corpus
from lmtx.llm.chat import Question
from lmtx.llm.models import MODELS
from lmtx.teachers import build
from lmtx.teachers.store import identity_digest
from lmtx.teachers.writer import build_writer

ROOT = Path(__file__).resolve().parents[1]
ENSEMBLE = {"kind": "ensemble", "name": "e", "acceptance": 0.4, "lexical_weight": 0.5, "naming": 0.2}
LOCAL = {
    "kind": "huggingface",
    "name": "local",
    "wording": "tag",
    "question": None,
    "document_tokens": 128,
    "precision": "bf16",
    "device": "cpu",
    "batch_tokens": 2048,
}
GGUF = LOCAL | {"model": "some-org/models:any.gguf", "sha256": "ab" * 32, "prompt": "strict"}


@pytest.fixture
def judges(tmp_path):
    """`judges(config)`: the digest of a teacher's identity, and the key of its first pair."""
    pairs = make_pairs(documents=4)
    parts = {"train": pairs.documents[:2], "dev": pairs.documents[2:3], "test": pairs.documents[3:]}
    excluded = {split: sp.csr_array((table.num_rows, 4), dtype=bool) for split, table in parts.items()}
    corpus = Corpus(**parts, labels=pairs.labels, excluded=excluded)
    vectors = np.eye(4, dtype=np.float32)
    embeddings = {"train": vectors[:2], "dev": vectors[2:3], "test": vectors[3:], "labels": vectors}
    truth = {"train": sp.csr_array(np.array([[1, 0, 0, 0], [0, 1, 1, 0]], dtype=bool))}

    def digests(config):
        annotations = {"truth": truth} if config.kind == "simulated" else {}
        options = {"store": tmp_path / "v.sqlite", "corpus": corpus, "embeddings": embeddings}
        with build(config, **options, **annotations) as teacher:
            return identity_digest(teacher.identity).hex(), teacher.keys(pairs)[0].tobytes().hex()

    return digests


@pytest.fixture
def folder(tmp_path):
    """A model of which every byte is written here; its weights are never loaded."""
    words = ["<unk>", "<bos>", "yes", "no", "a"]
    files = {
        "config.json": {
            "model_type": "llama",
            "vocab_size": 5,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}",
        },
        "tokenizer.json": {
            "version": "1.0",
            "added_tokens": [],
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {
                "type": "WordLevel",
                "vocab": {word: i for i, word in enumerate(words)},
                "unk_token": "<unk>",
            },
        },
    }
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5)
    return folder


with Path(__file__).with_name("identities.tsv").open() as table:
    IDENTITIES = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("row", IDENTITIES, ids=lambda row: f"{row['teacher']} {row['changes']}")
def test_verdicts_are_found(judges, folder, row):
    """Of each kind of teacher with changes to its section; how a server is asked makes no difference."""
    sections = {
        "openai": make_config().model_dump(),
        "huggingface": LOCAL | {"model": str(folder)},
        "gguf": GGUF,
        "ensemble": ENSEMBLE,
        "simulated": {"kind": "simulated", "name": "s", "true_yes": 0.9, "false_yes": 0.05, "seed": 108},
        "combined": {"kind": "combined", "name": "both", "weights": {"model": 1.0, "ensemble": 0.3}},
    }
    section = sections[row["teacher"]] | json.loads(row["changes"])
    if of := section.get("of"):
        section["of"] = {"model": sections[of[0]], "ensemble": sections[of[1]]}
    assert judges(TypeAdapter(TeacherConfig).validate_python(section)) == (row["identity"], row["key"])


def test_written_texts_are_found(tmp_path, folder):
    """By the identity's digest in the store, and the prompt with the longest answer that it may have."""
    questions = [Question("Name a colour.", 20)]
    found = []
    for config in (make_config(), HuggingFaceConfig(**LOCAL | {"model": str(folder)})):
        with build_writer(config, store=tmp_path / "v.sqlite") as writer:
            (stored,) = next(writer.store.query("SELECT hex(digest) FROM teachers ORDER BY id DESC"))[0]
            found.append((stored.lower(), writer._keys(questions)[0].hex()))
    assert found == [
        ("b205e6240e14debc44060c732a35441e", "30251ce80de530e1b4c0b3533907fd86"),
        ("e1c3eb1668d8cd24403bf60faec28b51", "908779bef16a8ad9fc451fcbef596f50"),
    ]


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("verdicts/*/*.parquet")), ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_the_recorded_verdicts_are_those_of_the_preset(file, tmp_path):
    """Or those of the teacher of that name in an ablation of semanlink."""
    recorded = json.loads(pq.read_schema(file).metadata[b"lmtx"])["identity"]
    if recorded.get("task") == "write":
        config = load_presets(["dataset=semanlink", "teacher=qwen"]).teacher
        with build_writer(config, store=tmp_path / "v.sqlite") as writer:
            assert writer.identity == recorded
        return
    prompt = "question" if file.stem.endswith("-question") else "strict"
    config = load_presets(["dataset=semanlink", "teacher=qwen"], [f"teacher.prompt={prompt}"])
    sections = [config.teacher, *(config.at(point).teacher for point in config.ablations)]
    section = next((s for s in sections if s.name == file.stem), config.teacher)
    with build(section, store=tmp_path / "v.sqlite", corpus=None) as teacher:
        assert teacher.identity == recorded


def test_the_presets_that_name_the_open_model_name_the_same_one():
    alone = load_presets(["dataset=semanlink", "teacher=qwen"]).teacher
    member = load_presets(["dataset=semanlink", "teacher=combined"]).teacher.of["qwen"]
    deciding = {"acceptance"}  # that of the sum decides
    assert member.model_dump(exclude=deciding) == alone.model_dump(exclude=deciding)
    model = MODELS["qwen-1.5b"]()
    assert (alone.model, alone.sha256) == (f"{model.repository}:{model.file}", model.sha256)
