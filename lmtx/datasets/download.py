"""Get a published data set: resumed where it broke off, checked against its hash, unpacked with care.

    python -m lmtx.datasets.download eurlex-4k

takes the address from `conf/dataset/eurlex-4k.yaml` (`source`) and unpacks into the folder above that of
`folder`. The archives of PECOS and of MACLR lie on archive.org, which publishes the hash of every file of
an item (archive.org/developers, Item Metadata API); a file from elsewhere needs `--sha1`.
"""

import argparse
import hashlib
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
from tqdm.auto import tqdm

from lmtx.config import ConfigError, FolderConfig, find_upwards, load_config
from lmtx.corpus import CorpusError

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
TIMEOUT = 60.0  # seconds without a byte
TRIES = 5


class DownloadError(RuntimeError):
    """A download that failed; the message gives the remedy."""


def find(config: FolderConfig, root: Path, names: tuple[str, ...]) -> Path:
    """Find the first of these files that is in a data set's folder, as it is or with `.gz` added.

    Raises `CorpusError` that says where to get them.
    """
    folder = root / config.folder
    for file in (folder / f"{name}{ending}" for name in names for ending in ("", ".gz")):
        if file.is_file():
            return file
    fault = f"there is no folder {folder} with the files of {config.name}"
    if folder.is_dir():
        fault = f"{folder} has none of the files {', '.join(names)} (or .gz)"
    command = f"`python -m lmtx.datasets.download {config.name}` gets them"
    how = command if config.source.endswith(ARCHIVES) else "get them"
    raise CorpusError(f"{fault}; {how} from {config.source} (see data/README.md)")


def fetch(address: str, target: str | Path, sha1: str) -> Path:
    """Download `address` (http or https) to the file `target`, going on where an earlier attempt broke off.

    The bytes so far are kept in `target` with `.part` added. A file of the right `sha1`, hexadecimal, is not
    fetched again. Raises `DownloadError` when the server refuses, the connection breaks again and again, or
    the hash is another; then nothing stays at `target`.
    """
    target = Path(target)
    if target.is_file() and _sha1(target) == sha1.lower():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    for attempt in range(1, TRIES + 1):
        try:
            _go_on(address, partial)
            break
        except httpx.HTTPStatusError as error:
            raise DownloadError(f"{address}: the server answers {error.response.status_code}") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if attempt == TRIES:
                raise DownloadError(
                    f"{address}: {error or type(error).__name__}; run it again, it goes on from there"
                ) from None
    digest = _sha1(partial)
    if digest != sha1.lower():
        partial.unlink()
        raise DownloadError(f"{address}: the SHA-1 is {digest}, not {sha1}; the file was removed, try again")
    partial.replace(target)
    return target


def published_sha1(address: str) -> str:
    """Ask for the SHA-1 that archive.org publishes for a file of one of its items.

    Raises `DownloadError` for another address, or where it cannot be had.
    """
    parts = urlsplit(address)
    kind, _, rest = parts.path.lstrip("/").partition("/")
    item, _, name = rest.partition("/")
    if kind != "download" or not name:
        raise DownloadError(f"{address} is not archive.org/download/ITEM/FILE; give its hash with --sha1")
    index = f"{parts.scheme}://{parts.netloc}/metadata/{item}"
    try:
        answer = httpx.get(index, timeout=TIMEOUT, follow_redirects=True).raise_for_status()
        files = answer.json().get("files", [])
    except (httpx.HTTPError, ValueError) as error:
        raise DownloadError(f"{index} gives no hashes: {error}") from None
    sha1 = next((file.get("sha1") for file in files if file.get("name") == name), None)
    if sha1 is None:
        raise DownloadError(f"{index} knows no file {name} with a hash; it may have moved")
    return sha1


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a tar or zip archive into `folder`. Returns the files written.

    Python's data filter keeps every file of a tar archive within the folder (PEP 706); zip archives are
    unpacked without links, and without files whose path leads out. Raises `DownloadError` when the archive
    is damaged, or holds a link or a path that leads out of `folder`, or a device; then nothing is written.
    """
    archive, folder = Path(archive), Path(folder)
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError(f"Python 3.11.4 or newer is needed to unpack {archive} safely; use one")
    folder.mkdir(parents=True, exist_ok=True)
    safe = {} if archive.suffix == ".zip" else {"filter": "data"}
    with TemporaryDirectory(prefix=".unpacking-", dir=folder) as scratch:
        try:
            shutil.unpack_archive(archive, scratch, **safe)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise DownloadError(f"{archive} cannot be unpacked: {error}; nothing is kept") from None
        names = [path.relative_to(scratch) for path in Path(scratch).rglob("*") if not path.is_dir()]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / name).replace(folder / name)
    return [folder / name for name in names]


def _go_on(address: str, partial: Path) -> None:
    """Append the missing bytes of the file at `address` to `partial`."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    # A server that compresses on the way would answer with ranges of something else.
    headers["Accept-Encoding"] = "identity"
    with httpx.stream("GET", address, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it is whole already, or of another version: the hash will tell
        answer.raise_for_status()
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            have = 0  # a server without ranges sends the whole file
        total = have + int(answer.headers.get("Content-Length", 0)) or None
        name = partial.name.removesuffix(".part")
        with (
            partial.open("ab" if have else "wb") as out,
            tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True) as bar,
        ):
            # Chunks as they come: collecting them to a size would lose the last ones when the line breaks.
            for chunk in answer.iter_raw():
                out.write(chunk)
                bar.update(len(chunk))


def _sha1(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def main() -> None:
    """The command: a data set's preset -> its files under data/raw/."""
    parser = argparse.ArgumentParser(prog="python -m lmtx.datasets.download")
    parser.add_argument("dataset", help="a preset of conf/dataset/, such as eurlex-4k")
    parser.add_argument("--sha1", help="of the archive; without it, archive.org is asked")
    options = parser.parse_args()
    root = find_upwards("params.yaml").parent
    try:
        config = load_config(root / "params.yaml", [f"dataset={options.dataset}"]).dataset
        source = getattr(config, "source", "")
        if not source.startswith("https://") or not source.endswith(ARCHIVES):
            raise DownloadError(f"{options.dataset} has no archive to fetch; see data/README.md")
        folder = root / config.folder
        name = PurePosixPath(urlsplit(source).path).name
        sha1 = options.sha1 or published_sha1(source)
        archive = fetch(source, folder.parent / name, sha1)
        files = unpack(archive, folder.parent)
    except (ConfigError, DownloadError) as error:
        raise SystemExit(str(error)) from None
    where = "" if folder.is_dir() else f"; {folder} is not among them, see data/README.md"
    print(f"{name}: SHA-1 {sha1}, {len(files)} files unpacked into {folder.parent}{where}")


if __name__ == "__main__":
    main()
