"""Downloads from a server on this machine: resumed, checked, whole or absent."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from microtome.cli import main
from microtome.data import downloads
from microtome.data.ade20k import read_ade20k
from microtome.data.downloads import DownloadError, download
from microtome.data.public_sets import DATA_SETS, DataSet, Published
from real_layouts import write_ade20k

CONTENT = bytes(range(256)) * 40_000  # 10 MB
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves `files`; each quirk is a way in which servers are met."""

    files: dict[str, bytes]
    quirks: dict[str, object]
    asked: list[str | None]

    def do_GET(self):
        self.asked.append(self.headers.get("Range"))
        if "redirect" in self.quirks:
            self.send_response(302)
            self.send_header("Location", str(self.quirks["redirect"]))
            self.end_headers()
            return
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if self.headers.get("Range") and "no_range" not in self.quirks:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[start:]
        if "no_length" not in self.quirks:
            self.send_header("Content-Length", str(self.quirks.get("claims", len(rest))))
        self.end_headers()
        self.wfile.write(rest[: self.quirks.get("cut", len(rest))])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    class Fresh(Server):
        files, quirks, asked = {"/x.zip": CONTENT}, {}, []

    running = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    Fresh.url = f"http://127.0.0.1:{running.server_port}"
    yield Fresh
    running.shutdown()
    running.server_close()
    thread.join()


def file_on(server, **options):
    return Published(
        "x.zip", f"{server.url}/x.zip", {"md5": MD5} | options.pop("hashes", {}), **options
    )


def test_a_whole_download(server, tmp_path):
    told = []
    path = download(file_on(server), tmp_path / "new", lambda *n: told.append(n))
    assert path == tmp_path / "new" / "x.zip" and path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["x.zip"]
    assert told[-1] == (len(CONTENT), len(CONTENT)) and len(told) > 5
    download(file_on(server), tmp_path / "new")
    assert server.asked == [None], "what is there and whole is not fetched again"


def test_it_goes_on_where_it_was_cut_off(server, tmp_path):
    server.quirks["cut"] = 3_000_000
    with pytest.raises(DownloadError, match=r"ended after 3,000,000 of 10,240,000.*goes on there"):
        download(file_on(server), tmp_path)
    assert not (tmp_path / "x.zip").exists()
    server.quirks.clear()
    assert download(file_on(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=3000000-"]


@pytest.mark.parametrize("part", [CONTENT[:999], CONTENT, CONTENT + b"more"])
def test_it_starts_over_where_the_server_cannot_go_on(server, tmp_path, part):
    server.quirks["no_range"] = len(part) < 1000
    if len(part) >= 1000:
        server.quirks.clear()  # the server answers 416: nothing follows
    (tmp_path / ".part-x.zip").write_bytes(part)
    assert download(file_on(server), tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_file_is_found_out(server, tmp_path):
    (tmp_path / ".part-x.zip").write_bytes(b"?" * 1000)
    with pytest.raises(DownloadError, match=f"published is {MD5}; it was removed"):
        download(file_on(server), tmp_path)
    assert not list(tmp_path.iterdir())
    assert download(file_on(server), tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_not_as_published_is_not_taken(server, tmp_path):
    with pytest.raises(DownloadError, match="its sha1 is"):
        download(file_on(server, hashes={"sha1": "0" * 40}), tmp_path)
    with pytest.raises(DownloadError, match="has 10,240,000 bytes, published were 5"):
        download(file_on(server, size=5), tmp_path)
    assert not (tmp_path / "x.zip").exists()
    (tmp_path / "x.zip").write_bytes(b"older")
    with pytest.raises(DownloadError, match="remove it to fetch it again"):
        download(file_on(server), tmp_path)


def test_servers_that_cannot_be_trusted_are_refused(server, tmp_path, monkeypatch):
    server.quirks["no_length"] = True
    with pytest.raises(DownloadError, match="does not say how large"):
        download(file_on(server), tmp_path)
    server.quirks = {"claims": 10**18}
    with pytest.raises(DownloadError, match="no room for 1,000,000,000,000,000,000 bytes"):
        download(file_on(server), tmp_path)
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x.zip"):
        server.quirks = {"redirect": target}
        with pytest.raises(DownloadError):
            download(file_on(server), tmp_path)
        with pytest.raises(DownloadError, match="http:// or https://"):
            download(Published("x.zip", target), tmp_path)
    server.quirks = {}
    with pytest.raises(DownloadError, match="404"):
        download(Published("x.zip", f"{server.url}/nothing"), tmp_path)
    with pytest.raises(DownloadError, match=r"x\.zip: .*refused"):
        download(Published("x.zip", "http://127.0.0.1:9/"), tmp_path)
    assert not (tmp_path / "x.zip").exists()


def test_figshare_says_where_a_file_lies(server, tmp_path):
    entry = {"name": "x.zip", "download_url": f"{server.url}/x.zip", "computed_md5": MD5}
    described = {"files": [{"name": "other"}, entry | {"size": len(CONTENT)}]}
    server.files["/listing"] = json.dumps(described).encode()
    asked = Published("x.zip", listing=f"{server.url}/listing")
    assert download(asked, tmp_path).read_bytes() == CONTENT
    for wrong in (b"{", b"{}", b'{"files": [{"name": "other"}]}', b" " * (downloads.LISTING + 1)):
        server.files["/listing"] = wrong
        with pytest.raises(DownloadError):
            download(asked, tmp_path)


def test_the_verb_fetches_what_training_opens(server, tmp_path, monkeypatch, capsys):
    content = write_ade20k(tmp_path / "made", packed=True).read_bytes()
    server.files["/ade.zip"] = content
    sha1 = hashlib.sha1(content).hexdigest()
    name = DATA_SETS["ade20k"].file.name
    file = Published(name, f"{server.url}/ade.zip", {"sha1": sha1})
    monkeypatch.setitem(DATA_SETS, "ade20k", DATA_SETS["ade20k"]._replace(file=file))
    assert main(["download", "ade20k", "--output", str(tmp_path / "got")]) == 0
    told = capsys.readouterr().out
    assert "non-commercial" in told and "checked    13 files" in told
    assert f"data.init_args.root={tmp_path / 'got' / name}" in told
    assert len(read_ade20k(tmp_path / "got" / name).splits["train"]) == 4


def test_the_verb_refuses_an_archive_that_leads_out(server, tmp_path, monkeypatch, capsys):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    server.files["/evil.zip"] = (tmp_path / "evil.zip").read_bytes()
    file = Published("evil.zip", f"{server.url}/evil.zip")
    monkeypatch.setitem(DATA_SETS, "ade20k", DataSet(file, "none", "nothing"))
    assert main(["download", "ade20k", "--output", str(tmp_path / "got")]) == 2
    assert "leads out of the archive" in capsys.readouterr().err


def test_what_is_published_is_described_whole():
    for data_set in DATA_SETS.values():
        file = data_set.file
        assert file.listing or {"sha1", "md5"} <= file.hashes.keys()
        assert data_set.terms and "{}" in data_set.use
