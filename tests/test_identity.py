"""No verdict is lost: whoever asks the same finds what was stored by any earlier version.

A stored verdict is found by a hash of its teacher's identity and of both texts; a written text by a hash of
the writer's identity and the prompt. A digest below that changes makes every verdict of such a teacher
be asked and paid for anew.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from judging import make_config, make_pairs

from lmtx.config import CombinedConfig, EnsembleConfig, HuggingFaceConfig, SimulatedConfig, load_presets
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


OPENAI = {
    "{}": ("038aabbac3ba3701834f323307eb19b6", "e2e4010cf73b14df7df3b1be204f58ec"),
    '{"wording": "tag", "prompt": "strict"}': (
        "6fa947a3c40dec1646d93fb166011b11",
        "41dff1ac4aa71e4e743e2d96f77e0241",
    ),
    '{"wording": "product-category", "prompt": "question"}': (
        "6cb277fb229beb7bdc8a664033fe480b",
        "ea639ee944f8dd1c1ef68a96574197e8",
    ),
    '{"wording": "product-category", "prompt": "strict"}': (
        "6dc6b04ef0c470c77739a23d617e9888",
        "c5e795e6c1b74e8ba2c4d33b13f16ebe",
    ),
    '{"wording": "encyclopedia-category", "prompt": "question"}': (
        "3202b5b15ea6ae3ae7f1ee5469e0a02e",
        "ef4d0cd5ed2ed684b60307da8362b4f5",
    ),
    '{"wording": "encyclopedia-category", "prompt": "strict"}': (
        "030be63fd1c2030a3deef95440072d7e",
        "013741eaf374e1e4889c40db6e5465a3",
    ),
    '{"wording": "related-page", "prompt": "question"}': (
        "78d48080f28405a4ff4fb1ff4b83f196",
        "05e8b6da68021a8135be7635fd2de563",
    ),
    '{"wording": "related-page", "prompt": "strict"}': (
        "6247fe1be7b02822467a0c11ec2ca272",
        "408b5559d318e7c26cdf906197f7fcf5",
    ),
    '{"wording": "api-page", "prompt": "question"}': (
        "9708870395856f042e4205ceb1899115",
        "6f9fb8e9e6bdf92be2ac90ab7f934cd2",
    ),
    '{"wording": "api-page", "prompt": "strict"}': (
        "89640753d0cdd1b51ffa97acc1641a4f",
        "211bb0453b008a2b95a886b5c603a1dd",
    ),
    '{"mode": "listwise"}': ("2af41efda1748fb7491fad5ab7a66227", "842e5b8ddf5d8ccce802375069869f4a"),
    '{"question": "Is {label} a topic?"}': (
        "f27ff09d37a094d109c08bf7bcfab696",
        "a0aa8c9d228bd45d9913ed8d2ddb56b4",
    ),
    '{"question": "Is {label} a topic?", "prompt": "strict"}': (
        "f3fda0bf0eeb8fcc73a9d3bce07db79d",
        "d74dfa61e10b33d3ff5aedac5f62f6af",
    ),
    '{"question": "Is {label} a topic?", "mode": "listwise"}': (
        "d18daeb0782cca1fc86c229be62d2597",
        "159af52031f3922d8f7434856278f287",
    ),
    '{"model": "other", "extra": {"seed": 1}, "logprobs": false, "document_tokens": 64}': (
        "98c76d6e5d77f50d348d7b150f749c41",
        "18864fe28224bfe7ad62194d4b2bec83",
    ),
}


@pytest.mark.parametrize("changes", OPENAI, ids=str)
def test_verdicts_of_a_served_model_are_found(judges, changes):
    assert judges(make_config(**json.loads(changes))) == OPENAI[changes]


@pytest.mark.parametrize(
    "changes",
    [
        {
            "name": "other",
            "batch": True,
            "max_tokens": 900,
            "concurrency": 1,
            "timeout": 1.0,
            "patience": 1.0,
        },
        {"max_requests": 3, "max_missing": 0.5, "retry_none": True, "threshold": 0.9, "centred": True},
    ],
)
def test_how_a_served_model_is_asked_is_no_part_of_its_verdicts(judges, changes):
    assert judges(make_config(**changes)) == OPENAI["{}"]


HUGGINGFACE = {
    "{}": ("db0f10ed3387e7d501b2b9a7a71d876e", "7a3c9c766c4306f28951a9c2faee07b2"),
    '{"prompt": "strict"}': ("da235beffc72cf6bc0248c6635708ffd", "0a6916a28778ab469fb3628c03789798"),
    '{"wording": "api-page", "precision": "fp32", "document_tokens": 430}': (
        "60671733257de0bc75ab494d8323015d",
        "6a91eae3b4699bf0c131287ef6809be6",
    ),
    '{"question": "Is {label} a topic?"}': (
        "5b4d0f3700b4c712c9b69210060f7e84",
        "d1a91b0945786e4ab5d8e63a06b74319",
    ),
}


@pytest.mark.parametrize("changes", HUGGINGFACE, ids=str)
def test_verdicts_of_a_model_in_this_process_are_found(judges, folder, changes):
    config = LOCAL | {"model": str(folder)} | json.loads(changes)
    assert judges(HuggingFaceConfig(**config)) == HUGGINGFACE[changes]


def test_verdicts_of_a_gguf_file_are_found(judges):
    assert judges(HuggingFaceConfig(**GGUF)) == (
        "21178853b2549b4bb671a3d5f73b2dd1",
        "713c38312d12816bb1f403de4e2da823",
    )
    assert judges(HuggingFaceConfig(**GGUF | {"prompt": "question"})) == (
        "d758ed475dd600279244183aa8ce63d8",
        "2dfbd1126fa39a9068f4d450a07e0003",
    )


def test_verdicts_of_free_teachers_are_found(judges):
    assert judges(EnsembleConfig(**ENSEMBLE)) == (
        "f5d0fcf21f57087949b47b3eb42f945d",
        "1e2d66ccf0e1742a1c4164e3cfc32982",
    )
    simulated = {"kind": "simulated", "name": "s", "true_yes": 0.9, "false_yes": 0.05, "seed": 108}
    assert judges(SimulatedConfig(**simulated)) == (
        "36a19351577fc98dcb502ff3dc9e411a",
        "213bdb0de1afcfc8c1aef6447bb29160",
    )


def test_verdicts_of_teachers_together_are_found(judges):
    weights = {"model": 1.0, "ensemble": 0.3}
    config = {"kind": "combined", "name": "both", "of": {"model": GGUF, "ensemble": ENSEMBLE}}
    assert judges(CombinedConfig(**config, weights=weights)) == (
        "effcf4db34824220f1c418e59b888bf1",
        "49248e9f047523816101d7335a5a88f5",
    )
    config["of"] = {"model": make_config().model_dump(), "ensemble": ENSEMBLE}
    assert judges(CombinedConfig(**config, weights=weights)) == (
        "82a243b30c42f7baadab819385a036da",
        "0f2ef3795e6505e68d630a1563822c4d",
    )


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
    model = MODELS["qwen-1.5b"]
    assert (alone.model, alone.sha256) == (f"{model.repository}:{model.file}", model.sha256)
