"""Downloads against a local server: cut off, resumed, altered, and archives that mean harm."""

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nibabel
import numpy as np
import pytest

from ssinfnet.data.sources import download, volumes
from ssinfnet.data.sources.download import Dataset, Remote
from ssinfnet.storage import artifacts


class Server(ThreadingHTTPServer):
    """Serves `files`; notes what was asked; cuts each of the next `cuts` answers in the middle."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.cuts, self.status = {}, [], 0, None

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked, server = self.headers.get("Range"), self.server
        server.asked.append(asked)
        content = server.files.get(self.path.removeprefix("/"))
        if content is None or server.status:
            self.send_error(server.status or 404)
            return
        tag = hashlib.md5(content).hexdigest()
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if self.headers.get("If-Range") != tag:
            first = 0
        if first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        rest = content[first:]
        if server.cuts:
            server.cuts -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def one(server, name, content, into="images", sha256=None):
    server.files[name] = content
    return {"set": Dataset("volumes", "", (Remote(server.url(name), name, into, sha256),))}


@pytest.fixture
def content(rng, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 1000)
    return rng.bytes(300_000)


def test_a_download_arrives_whole_and_its_hash_is_recorded(server, tmp_path, content):
    download.download("set", tmp_path, one(server, "a.nii.gz", content))
    assert (tmp_path / "images" / "a.nii.gz").read_bytes() == content
    record = artifacts.read_json(tmp_path / "downloads.json")
    assert record["a.nii.gz"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_download_that_is_there_is_not_fetched_again(server, tmp_path, content):
    sets = one(server, "a.nii.gz", content)
    download.download("set", tmp_path, sets)
    download.download("set", tmp_path, sets)
    assert len(server.asked) == 1


def test_a_download_cut_off_goes_on_where_it_stopped(server, tmp_path, content):
    server.cuts = 2
    download.download("set", tmp_path, one(server, "a.nii.gz", content))
    assert (tmp_path / "images" / "a.nii.gz").read_bytes() == content
    assert server.asked == [None, "bytes=150000-", "bytes=225000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, tmp_path, content):
    sets = one(server, "a.nii.gz", content)
    server.cuts = download.TRIES
    with pytest.raises(OSError, match="what has come is kept"):
        download.download("set", tmp_path, sets)
    assert not (tmp_path / "images").exists()
    download.download("set", tmp_path, sets)
    assert (tmp_path / "images" / "a.nii.gz").read_bytes() == content
    assert int(server.asked[-1].removeprefix("bytes=").removesuffix("-")) >= 290_000


def test_a_part_of_another_version_is_not_gone_on_with(server, tmp_path, content):
    sets = one(server, "a.nii.gz", content)
    server.cuts = download.TRIES
    with pytest.raises(OSError, match="could not be fetched"):
        download.download("set", tmp_path, sets)
    server.files["a.nii.gz"] = content[::-1]
    download.download("set", tmp_path, sets)
    assert (tmp_path / "images" / "a.nii.gz").read_bytes() == content[::-1]


def test_a_part_that_is_whole_needs_nothing_more(server, tmp_path, content):
    part = tmp_path / "archives" / "a.nii.gz.part"
    part.parent.mkdir()
    part.write_bytes(content)
    artifacts.write_json(tmp_path / "downloads.json", {"a.nii.gz": {"url": "as before"}})
    part.with_name("a.nii.gz.part.etag").write_text(hashlib.md5(content).hexdigest())
    download.download("set", tmp_path, one(server, "a.nii.gz", content))
    assert (tmp_path / "images" / "a.nii.gz").read_bytes() == content


def test_a_published_hash_that_differs_stops_before_anything_is_unpacked(server, tmp_path, content):
    sets = one(server, "a.nii.gz", content, sha256="0" * 64)
    with pytest.raises(ValueError, match=r"a\.nii\.gz"):
        download.download("set", tmp_path, sets)
    assert not (tmp_path / "images").exists()


def test_an_altered_archive_is_refused_and_fetched_again_once_it_is_away(server, tmp_path, content):
    sets = one(server, "a.nii.gz", content)
    download.download("set", tmp_path, sets)
    (tmp_path / "archives" / "a.nii.gz").write_bytes(content[:-1] + b"!")
    with pytest.raises(FileExistsError, match=r"a\.nii\.gz has another SHA-256"):
        download.download("set", tmp_path, sets)
    assert (tmp_path / "archives" / "a.nii.gz").read_bytes() == content[:-1] + b"!"
    (tmp_path / "archives" / "a.nii.gz").unlink()
    download.download("set", tmp_path, sets)
    assert (tmp_path / "archives" / "a.nii.gz").read_bytes() == content
    server.files["a.nii.gz"] = content[::-1]
    (tmp_path / "archives" / "a.nii.gz").unlink()
    with pytest.raises(ValueError, match="hash"):
        download.download("set", tmp_path, sets)


@pytest.mark.parametrize(
    ("name", "asked"),
    [("downloads.json", 0), ("archives/a.zip.part", 0), ("archives/a.zip", 0), ("images/2.nii", 1)],
)
def test_a_file_that_was_not_downloaded_is_not_replaced(server, tmp_path, name, asked):
    archive = zipped([("1.nii", b"1"), ("2.nii", b"2")])
    sha256 = hashlib.sha256(archive).hexdigest()
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text('{"my": "own"}')
    with pytest.raises(FileExistsError, match=mine.name):
        download.download("set", tmp_path, one(server, "a.zip", archive, sha256=sha256))
    assert mine.read_text() == '{"my": "own"}'
    assert len(server.asked) == asked
    assert not (tmp_path / "images" / "1.nii").exists()


@pytest.mark.parametrize("status", [403, 503])
def test_a_refusal_names_the_address(server, tmp_path, content, status):
    sets = one(server, "a.nii.gz", content)
    server.status = status
    with pytest.raises(OSError, match=rf"a\.nii\.gz could not be fetched .*{status}"):
        download.download("set", tmp_path, sets)
    assert len(server.asked) == (1 if status == 403 else download.TRIES)


def test_archives_of_a_data_set_become_the_layout_of_its_source(server, tmp_path):
    hu = nibabel.Nifti1Image(np.full((4, 5, 2), -700, np.int16), np.eye(4)).to_bytes()
    lesion = np.zeros((4, 5, 2), np.uint8)
    lesion[1, 1, 1] = 1
    mask = nibabel.Nifti1Image(lesion, np.eye(4)).to_bytes()
    sets = {
        "set": Dataset(
            "volumes",
            "",
            (
                Remote(server.url("im.zip"), "im.zip", "images"),
                Remote(server.url("msk.zip"), "msk.zip", "lesions"),
            ),
        )
    }
    server.files["im.zip"] = zipped([("cases/", b""), ("cases/c 1.nii", hu)])
    server.files["msk.zip"] = zipped([("c 1.nii", mask)])
    slices = volumes.list_slices(download.download("set", tmp_path, sets)).slices
    assert slices["lesion_pixels"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "name", ["../outside.nii", "/etc/outside.nii", "a/../../outside.nii", "..\\outside.nii"]
)
def test_a_member_outside_the_archive_is_refused_and_nothing_written(server, tmp_path, name):
    sets = one(server, "x.zip", zipped([("good.nii", b"1"), (name, b"2")]))
    with pytest.raises(ValueError, match=r"x\.zip holds .*outside\.nii"):
        download.download("set", tmp_path / "data", sets)
    assert not list(tmp_path.rglob("*.nii"))


def test_links_and_repeated_names_and_bombs_are_refused(tmp_path, monkeypatch):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    path = tmp_path / "x.zip"
    for members, message in (
        ([(link, "/etc/passwd")], "a link or a place outside"),
        ([("a/1.nii", b"1"), ("b/1.nii", b"2")], r"several files of the names \['1.nii'\]"),
        ([("1.nii", b"12345")], "would unpack to 5 bytes"),
    ):
        path.write_bytes(zipped(members))
        monkeypatch.setattr(download, "MOST_BYTES", 4)
        with pytest.raises(ValueError, match=message):
            download.unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_member_without_a_name_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped([("Q", b"1")]).replace(b"Q", b"\0"))
    with pytest.raises(ValueError, match=r"x\.zip is no whole ZIP"):
        download.unpack(path, tmp_path / "out")


def test_an_archive_cut_short_says_what_to_do(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped([("1.nii", b"1" * 1000)])[:-40])
    with pytest.raises(ValueError, match=r"x\.zip is no whole ZIP .*delete it"):
        download.unpack(path, tmp_path / "out")


def test_an_unknown_data_set_names_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"expected one of \['medseg', 'covid19_ct_seg'\]"):
        download.download("ictcf", tmp_path)


def test_every_data_set_is_read_by_a_source():
    from ssinfnet.data import sources

    assert {one.source for one in download.DATASETS.values()} <= sources.ADAPTERS.keys()
