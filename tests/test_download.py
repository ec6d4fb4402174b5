"""Downloads from a server on this machine: resumed, checked, and unpacked where they belong."""

import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmtx.datasets import download
from lmtx.datasets.download import DownloadError, fetch, published_sha1, unpack

CONTENT = bytes(range(256)) * 5000
SHA1 = hashlib.sha1(CONTENT).hexdigest()
INDEX = {"files": [{"name": "base/data.tar.gz", "sha1": SHA1}, {"name": "other"}]}


@pytest.fixture
def server(monkeypatch):
    """A file server that notes the ranges asked for; `breaks` answers are cut after 1,000 bytes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            kind = self.path.split("/")[1]
            if kind not in ("download", "metadata"):
                self.send_error(404)
                return
            content = json.dumps(INDEX).encode() if kind == "metadata" else CONTENT
            asked = self.headers.get("Range")
            start = 0
            if kind == "download":
                served.asked.append(asked)
                if asked and served.ranges:
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content)
            if kind == "download" and served.breaks > 0:
                served.breaks -= 1
                end = start + 1000
                self.close_connection = True
            self.wfile.write(content[start:end])

        def log_message(self, *arguments):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.asked, served.breaks, served.ranges = [], 0, True
    served.address = f"http://127.0.0.1:{served.server_address[1]}/download/item/base/data.tar.gz"
    monkeypatch.setattr(download, "TIMEOUT", 10.0)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    target = fetch(server.address, tmp_path / "new" / "data.tar.gz", SHA1)
    assert target.read_bytes() == CONTENT
    assert [file.name for file in target.parent.iterdir()] == ["data.tar.gz"]
    fetch(server.address, target, SHA1.upper())
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_broke(server, tmp_path, ranges):
    server.breaks, server.ranges = 2, ranges
    assert fetch(server.address, tmp_path / "data", SHA1).read_bytes() == CONTENT
    assert server.asked[0] is None
    assert len(server.asked) == 3
    if ranges:
        assert server.asked[1:] == ["bytes=1000-", "bytes=2000-"]


def test_a_later_run_goes_on_too(server, tmp_path):
    server.breaks = download.TRIES
    with pytest.raises(DownloadError, match="run it again"):
        fetch(server.address, tmp_path / "data", SHA1)
    assert not (tmp_path / "data").exists()
    assert fetch(server.address, tmp_path / "data", SHA1).read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={1000 * download.TRIES}-"


def test_what_had_arrived_whole_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "data.part").write_bytes(CONTENT)
    assert fetch(server.address, tmp_path / "data", SHA1).read_bytes() == CONTENT


def test_a_file_of_another_hash_does_not_stay(server, tmp_path):
    with pytest.raises(DownloadError, match=f"the SHA-1 is {SHA1}, not {'0' * 40}"):
        fetch(server.address, tmp_path / "data", "0" * 40)
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_named(server, tmp_path):
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch(server.address.replace("download", "gone"), tmp_path / "data", SHA1)


def test_the_archive_s_own_hash(server):
    assert published_sha1(server.address) == SHA1
    with pytest.raises(DownloadError, match=r"knows no file base/data\.zip with a hash"):
        published_sha1(server.address.replace("tar.gz", "zip"))
    with pytest.raises(DownloadError, match="give its hash with --sha1"):
        published_sha1("https://example.org/data.tar.gz")


def packed(path, members):
    """A tar or zip archive of (name, content), or (name, None) for a link to /etc/passwd."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members:
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK if content is None else stat.S_IFREG) << 16
                archive.writestr(info, content or "/etc/passwd")
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_archives_are_unpacked(tmp_path, name):
    archive = packed(tmp_path / name, [("./base/x.txt", b"new"), ("base/deep/y.txt", b"y")])
    folder = tmp_path / "raw"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "x.txt").write_text("old")
    (folder / "base" / "mine.txt").write_text("stays")
    assert sorted(unpack(archive, folder)) == [folder / "base/deep/y.txt", folder / "base/x.txt"]
    assert (folder / "base" / "x.txt").read_text() == "new"
    assert (folder / "base" / "mine.txt").read_text() == "stays"
    assert [path.name for path in folder.iterdir()] == ["base"]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize(
    "member",
    [("../out.txt", b"x"), ("base/../../out.txt", b"x"), ("/out.txt", b"x"), ("link", None)],
    ids=lambda member: member[0],
)
def test_no_archive_writes_outside_the_folder(tmp_path, name, member):
    archive = packed(tmp_path / name, [("fine.txt", b"fine"), member])
    if name == "a.tar.gz" and member[0] != "/out.txt":
        with pytest.raises(DownloadError, match="nothing is kept"):
            unpack(archive, tmp_path / "raw")
        assert not list((tmp_path / "raw").iterdir())
    else:
        unpack(archive, tmp_path / "raw")
        assert not any(path.is_symlink() for path in (tmp_path / "raw").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "raw"]
    assert not Path("/out.txt").exists()


def test_a_damaged_archive_is_named(tmp_path):
    archive = packed(tmp_path / "a.tar.gz", [("x", b"content" * 10_000)])
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(DownloadError, match=r"a\.tar\.gz cannot be unpacked"):
        unpack(archive, tmp_path / "raw")
    (tmp_path / "b.tar").write_text("no archive")
    with pytest.raises(DownloadError, match=r"b\.tar cannot be unpacked"):
        unpack(tmp_path / "b.tar", tmp_path / "raw")
