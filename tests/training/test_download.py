from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from ablate.errors import DataError
from ablate.training import download
from ablate.training.download import Remote, fetch, through_torchvision

torchvision_datasets = pytest.importorskip("torchvision.datasets")


class Mirror(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.asked.append(name)
        if self.path.startswith("/silent/"):
            time.sleep(3)
            return
        if name not in self.files:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.files[name])))
        self.end_headers()
        content = self.files[name]
        self.wfile.write(content[: len(content) // 2] if self.path.startswith("/broken/") else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.files, Mirror.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def digits() -> dict[str, np.ndarray]:
    return {
        "train-images-idx3-ubyte": np.arange(6 * 784).astype(np.uint8).reshape(6, 28, 28),
        "train-labels-idx1-ubyte": np.arange(6, dtype=np.uint8) % 2,
        "t10k-images-idx3-ubyte": np.full((4, 28, 28), 9, np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8) % 2,
    }


def serve_digits(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Mirror.files = {f"{name}.gz": gzip.compress(idx(array), mtime=0) for name, array in digits().items()}
    mnist = torchvision_datasets.MNIST
    monkeypatch.setattr(mnist, "mirrors", ["http://127.0.0.1:9/", f"{mirror}/"])
    monkeypatch.setattr(mnist, "resources", [(name, md5(content)) for name, content in Mirror.files.items()])


def test_a_missing_set_is_downloaded_from_the_first_mirror_that_answers(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_digits(mirror, monkeypatch)
    said: list[str] = []
    found = through_torchvision("mnist", tmp_path, report=said.append)
    assert np.array_equal(found.train.images[..., 0], digits()["train-images-idx3-ubyte"])
    assert found.test.labels.tolist() == [0, 1, 0, 1]
    assert len(Mirror.asked) == 4
    assert any("train-images" in line and "done" in line for line in said)


def test_torchvisions_own_layout_is_read_without_a_download(tmp_path: Path, mirror: str) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name, array in digits().items():
        (tmp_path / "MNIST" / "raw" / name).write_bytes(idx(array))
    found = through_torchvision("mnist", tmp_path, download=False)
    assert np.array_equal(found.train.images[..., 0], digits()["train-images-idx3-ubyte"])
    assert Mirror.asked == []


def test_a_damaged_file_of_torchvisions_layout_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name, array in digits().items():
        (tmp_path / "MNIST" / "raw" / name).write_bytes(idx(array)[:-100])
    with pytest.raises(DataError, match="damaged"):
        through_torchvision("mnist", tmp_path)


def test_cifars_archive_is_downloaded_and_read(tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar = torchvision_datasets.CIFAR100
    pixels = np.arange(4 * 3072).astype(np.uint8).reshape(4, 3072)
    packed = io.BytesIO()
    members = {}
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in (
            ("train", {"data": pixels, "fine_labels": [3, 1, 2, 0]}),
            ("test", {"data": pixels[:2], "fine_labels": [1, 0]}),
            ("meta", {"fine_label_names": ["a", "b", "c", "d"]}),
        ):
            raw = pickle.dumps(content)
            members[name] = md5(raw)
            entry = tarfile.TarInfo(f"{cifar.base_folder}/{name}")
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    Mirror.files = {cifar.filename: packed.getvalue()}
    monkeypatch.setattr(cifar, "url", f"{mirror}/{cifar.filename}")
    monkeypatch.setattr(cifar, "tgz_md5", md5(packed.getvalue()))
    monkeypatch.setattr(cifar, "train_list", [["train", members["train"]]])
    monkeypatch.setattr(cifar, "test_list", [["test", members["test"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": members["meta"]})
    found = through_torchvision("cifar100", tmp_path)
    assert found.train.labels.tolist() == [3, 1, 2, 0]
    assert found.train.images[1, 4, 5, 2] == pixels[1].reshape(3, 32, 32)[2, 4, 5]


def remote(url: str, folder: Path, content: bytes = b"content") -> Remote:
    return Remote((url,), folder / "file", md5(content))


def quietly(remote: Remote, folder: Path, timeout_s: float = 2.0) -> None:
    fetch(remote, name="mnist", root=folder, report=lambda _: None, timeout_s=timeout_s)


def test_a_dead_port_ends_at_once_with_the_two_ways_out(tmp_path: Path) -> None:
    before = time.monotonic()
    with pytest.raises(DataError) as fault:
        quietly(remote("http://127.0.0.1:9/file", tmp_path), tmp_path)
    assert time.monotonic() - before < 20
    assert "--data mnist5k" in str(fault.value)
    assert str(tmp_path / "mnist.npz") in str(fault.value)


def test_a_mirror_that_never_answers_ends_in_time(tmp_path: Path, mirror: str) -> None:
    before = time.monotonic()
    with pytest.raises(DataError, match="cannot be downloaded"):
        quietly(remote(f"{mirror}/silent/file", tmp_path), tmp_path, timeout_s=0.3)
    assert time.monotonic() - before < 20


def test_the_default_limit_is_below_thirty_seconds() -> None:
    assert download.TIMEOUT_S < 30


def test_a_transfer_that_breaks_off_leaves_nothing_behind(tmp_path: Path, mirror: str) -> None:
    Mirror.files = {"file": b"content" * 100_000}
    with pytest.raises(DataError, match="cannot be downloaded"):
        quietly(remote(f"{mirror}/broken/file", tmp_path, Mirror.files["file"]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_md5_is_refused_and_leaves_nothing_behind(tmp_path: Path, mirror: str) -> None:
    Mirror.files = {"file": b"another content"}
    with pytest.raises(DataError, match="does not match the known hash"):
        quietly(remote(f"{mirror}/file", tmp_path), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_torchvision_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match="torchvision, which would get it, cannot be imported"):
        through_torchvision("cifar10", tmp_path)


def test_a_torchvision_made_for_another_torch_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = "operator torchvision::nms does not exist"
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise RuntimeError({fault!r})")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DataError, match=rf"cannot be imported \({fault}\); install the torchvision made for this torch"
    ):
        through_torchvision("cifar10", tmp_path)
