"""Find, identify and load a causal language model: a folder or a GGUF file here, or a name on the hub.

Of folders only safetensors are loaded, and no code of a model's repository is run. The weights of a GGUF
file are unpacked to the precision that computes: packed, every product unpacks them anew.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.nn import functional

from lmtx.devices import multiplies_bf16, resolve_device
from lmtx.encoder.pretrained import looks_local
from lmtx.files import read_json
from lmtx.llm import models
from lmtx.llm.faults import TeacherError, first_line

_SAMPLES, _SAMPLE_BYTES = 16, 2**20
_MANY_ROWS = 16  # from which on it pays to convert the weights of a layer
_in_use: WeakValueDictionary = WeakValueDictionary()  # models, as long as a teacher has them


@dataclass(frozen=True)
class Checkpoint:
    """The files of a model, and its identity.

    `identity` is the hub's commit; of a GGUF file "sha256:…"; of another folder a hash of its configuration,
    tokenizer and weights.
    """

    name: str  # as the parameters name it
    folder: Path  # its files; the weights may be missing until `load_model`
    identity: str
    on_hub: bool  # whether `folder` is the hub's cache
    gguf: str | None = None  # the file in `folder` that holds everything; None: safetensors

    @cached_property
    def source(self) -> dict[str, Any]:
        """The arguments of transformers' `from_pretrained` that name this model."""
        options = {"trust_remote_code": False, "local_files_only": True}
        if self.gguf is not None:
            options["gguf_file"] = self.gguf
        return {"pretrained_model_name_or_path": self.folder, **options}


def find(name: str, sha256: str | None = None) -> Checkpoint:
    """Find a model by the path of its folder or GGUF file, or its name on the hub; fetch its small files.

    `name` is a folder, a path that ends in .gguf, a name on the hub, or REPOSITORY:FILE.gguf there, which is
    looked for in `lmtx.llm.models.model_folder` first. `sha256` is that of a GGUF file; None: any file will
    do. Raises `TeacherError` at once when the model is neither here nor to be reached, or is another file.
    """
    if name.endswith(".gguf"):
        return _gguf(name, sha256)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TeacherError(
                f"no config.json in {folder}; set teacher.model to the folder of a causal language model"
            )
        if not list(folder.glob("*.safetensors")):
            raise TeacherError(
                f"no *.safetensors in {folder}; weights in another format are not loaded. Save the model "
                "anew with save_pretrained of transformers"
            )
        return Checkpoint(name, folder, _fingerprint(folder), on_hub=False)
    if looks_local(name):
        raise TeacherError(f"no folder {folder}; check teacher.model")
    folder = models.find_snapshot(name)
    return Checkpoint(name, folder, folder.name, on_hub=True)


def load_model(checkpoint: Checkpoint, device: str, precision: str):
    """The model in `precision` ("bf16" or "fp32"), for inference; one that is still in use is shared.

    `device` "auto" spreads it over the GPUs, and over the memory of the CPU where these are too
    small; without a GPU it is the CPU.
    """
    from transformers import AutoModelForCausalLM, GgufConfig

    key = (checkpoint.folder, checkpoint.gguf, checkpoint.identity, device, precision)
    if (shared := _in_use.get(key)) is not None:
        return shared
    if checkpoint.on_hub and not _has_weights(checkpoint.folder):
        models.fetch_snapshot(checkpoint.name, checkpoint.identity, "*.safetensors")
    spread = device == "auto" and torch.cuda.is_available()
    options: dict[str, Any] = {"use_safetensors": True}
    if checkpoint.gguf is not None:
        options = {"quantization_config": GgufConfig(dequantize=True)}
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            **checkpoint.source,
            **options,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            device_map="auto" if spread else {"": resolve_device(device)},
            output_loading_info=True,
        )
    except torch.OutOfMemoryError as error:
        raise TeacherError(
            f"{checkpoint.name} does not fit into the memory of {device}; set teacher.device=auto to use "
            "all GPUs, take a smaller model, or serve it with vLLM and use teacher=openai"
        ) from error
    except Exception as error:  # SafetensorError is a plain Exception
        raise TeacherError(
            f"{checkpoint.name} cannot be loaded as a causal language model ({first_line(error)}); "
            f"check teacher.model and the files in {checkpoint.folder}"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise TeacherError(
            f"the weights of {checkpoint.name} lack {len(missing)} of a causal language model's parts, first "
            f"{missing[0]}; set teacher.model to a model that was trained to continue text"
        )
    head = model.get_output_embeddings()  # large, and applied to few tokens
    # Of a slice, as the last tokens of several texts are, torch multiplies each row by a copy of the weights.
    head.register_forward_pre_hook(lambda _, states: (states[0].contiguous(),))
    if precision == "bf16" and model.device.type == "cpu" and not multiplies_bf16(model.device):
        for module in model.modules():
            if type(module) is torch.nn.Linear and module is not head:
                module.__class__ = LinearInFp32
    _in_use[key] = model.eval()
    return model


class LinearInFp32(torch.nn.Linear):
    """A linear layer in bf16 for a CPU that does not multiply bf16; made of one by a change of its class.

    It multiplies in fp32 and rounds the result, as hardware for bf16 does up to the order of the sums. Torch
    alone takes four times as long there for many rows. All layers share the memory of the weights in fp32,
    because new memory takes longer than the conversion.
    """

    _shared = torch.empty(0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.numel() < _MANY_ROWS * inputs.shape[-1]:
            return super().forward(inputs)
        size = self.weight.numel()
        if self._shared.numel() < size:
            self._shared.resize_(size)
        weight = self._shared[:size].view_as(self.weight).copy_(self.weight.detach())
        bias = None if self.bias is None else self.bias.float()
        return functional.linear(inputs.float(), weight, bias).to(inputs.dtype)


def _gguf(name: str, sha256: str | None) -> Checkpoint:
    """A GGUF file, with its hash checked."""
    repository, _, file = name.rpartition(":")
    path = models.model_folder() / file if repository else Path(file).expanduser()
    if not path.is_file() and repository:
        try:
            path = models.fetch_file(repository, file)
        except Exception as error:  # whatever the hub's client raises
            folder = models.model_folder()
            raise TeacherError(
                f"the model {file} is not in {folder}, and the hub cannot be reached or does not have it "
                f"in {repository} ({first_line(error)}). Fetch it where there is a network, and put it into "
                f"{folder}: hf download {repository} {file}"
            ) from None
    if not path.is_file():
        raise TeacherError(f"no file {path}; check teacher.model")
    with path.open("rb") as content:
        if content.read(4) != b"GGUF":
            raise TeacherError(f"{path} is no GGUF file; check teacher.model")
    digest = models.sha256(path)
    if sha256 is not None and digest != sha256:
        raise TeacherError(
            f"{path} ({path.stat().st_size:,} bytes) is not the model that teacher.sha256 names: its SHA-256 "
            f"is {digest}, not {sha256}. It may be incomplete: delete it and fetch it again; for another "
            "model set teacher.sha256 to null"
        )
    return Checkpoint(name, path.parent, f"sha256:{digest}", on_hub=False, gguf=path.name)


def _has_weights(folder: Path) -> bool:
    """Whether all parts of the weights are there; a download may have been interrupted."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    return all((folder / file).is_file() for file in set(read_json(index)["weight_map"].values()))


def _fingerprint(folder: Path) -> str:
    """A hash of the files that decide a model's answers, quick enough for any size.

    Of each weights file it takes the size and parts spread over it (all of a small one): training
    changes every part of a file, so another model does not pass for this one.
    """
    digest = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            size = path.stat().st_size
            digest.update(f"{path.name} {size}".encode())
            with path.open("rb") as file:
                for start in range(0, size, max(_SAMPLE_BYTES, size // _SAMPLES)):
                    file.seek(start)
                    digest.update(file.read(_SAMPLE_BYTES))
        elif path.name == "config.json" or path.name.startswith("tokenizer") or path.suffix == ".jinja":
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
