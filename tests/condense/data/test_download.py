"""Downloads, from a stand-in server on this machine that has tiny files in the real formats."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import pickle
import socket
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torchvision.datasets as tv
from scipy.io import savemat

from condense.data.loading import available, load
from condense.data.registry import DATASETS
from condense.errors import UserError

Array = npt.NDArray[Any]
Split = tuple[Array, Array]
Patch = pytest.MonkeyPatch


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which its files are had."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def images(name: str, train: bool) -> Split:
    """Images [n, h, w, c] and labels: two of each class to learn from, one of each to test."""
    known = DATASETS[name]
    channels, height, width = known.shape
    labels = np.arange(len(known.class_names) * (1 + train)) % len(known.class_names)
    rng = np.random.default_rng(train)
    return rng.integers(0, 256, (len(labels), height, width, channels)).astype(np.uint8), labels


def put(folder: Path, name: str, content: bytes) -> str:
    """Serve a file; its MD5, which torchvision asks for."""
    (folder / name).write_bytes(content)
    return hashlib.md5(content).hexdigest()


def serve_mnist(folder: Path, url: str, patch: Patch, name: str) -> None:
    kind = {"mnist": tv.MNIST, "fashionmnist": tv.FashionMNIST}[name]
    resources = []
    for prefix, train in (("train", True), ("t10k", False)):
        pixels, labels = images(name, train)
        for part, array in (("images-idx3", pixels[..., 0]), ("labels-idx1", labels)):
            header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            file = f"{prefix}-{part}-ubyte.gz"
            packed = gzip.compress(header + array.astype(np.uint8).tobytes())
            resources.append((file, put(folder, file, packed)))
    patch.setattr(kind, "mirrors", [url])
    patch.setattr(kind, "resources", resources)


def serve_svhn(folder: Path, url: str, patch: Patch, name: str) -> None:
    listing = {}
    for split in ("train", "test"):
        pixels, labels = images(name, split == "train")
        file = folder / f"{split}.mat"
        tens = np.where(labels == 0, 10, labels)[:, None]  # its digit 0 is labelled 10
        savemat(file, {"X": pixels.transpose(1, 2, 3, 0), "y": tens})
        md5 = put(folder, f"{split}.mat", file.read_bytes())
        listing[split] = [f"{url}{split}.mat", f"{split}.mat", md5]
    patch.setattr(tv.SVHN, "split_list", listing)


def serve_usps(folder: Path, url: str, patch: Patch, name: str) -> None:
    listing = {}
    for split in ("train", "test"):
        pixels, labels = images(name, split == "train")
        lines = []
        for image, label in zip(pixels.reshape(len(labels), -1), labels, strict=True):
            # A hair more than the value: torchvision cuts off what is behind the point.
            values = " ".join(f"{i}:{(v + 0.1) / 127.5 - 1:.6f}" for i, v in enumerate(image, 1))
            lines.append(f"{label + 1} {values}\n")
        md5 = put(folder, f"{split}.bz2", bz2.compress("".join(lines).encode()))
        listing[split] = [f"{url}{split}.bz2", f"{split}.bz2", md5]
    patch.setattr(tv.USPS, "split_list", listing)


def serve_cifar(folder: Path, url: str, patch: Patch, name: str) -> None:
    kind = {"cifar10": tv.CIFAR10, "cifar100": tv.CIFAR100}[name]
    key = {"cifar10": "label_names", "cifar100": "fine_label_names"}[name]
    names = [f"name {label}" for label in range(len(DATASETS[name].class_names))]
    files: dict[str, dict[str, Any]] = {"meta": {key: names}}
    for split in ("train", "test"):
        pixels, labels = images(name, split == "train")
        flat = pixels.transpose(0, 3, 1, 2).reshape(len(labels), -1)
        files[split] = {"data": flat, "labels": labels.tolist()}
    packed, md5 = io.BytesIO(), {}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, content in files.items():
            data = pickle.dumps(content)
            md5[file] = hashlib.md5(data).hexdigest()
            member = tarfile.TarInfo(f"batches/{file}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    settings = {
        "base_folder": "batches",
        "filename": "cifar.tar.gz",
        "url": f"{url}cifar.tar.gz",
        "tgz_md5": put(folder, "cifar.tar.gz", packed.getvalue()),
        "train_list": [["train", md5["train"]]],
        "test_list": [["test", md5["test"]]],
        "meta": {"filename": "meta", "key": key, "md5": md5["meta"]},
    }
    for attribute, value in settings.items():
        patch.setattr(kind, attribute, value)


SERVE: dict[str, Callable[[Path, str, Patch, str], None]] = {
    "mnist": serve_mnist,
    "fashionmnist": serve_mnist,
    "svhn": serve_svhn,
    "usps": serve_usps,
    "cifar10": serve_cifar,
    "cifar100": serve_cifar,
}


@pytest.mark.parametrize("name", SERVE)
def test_downloaded_once_and_kept(
    name: str, served: tuple[Path, str], tmp_path: Path, monkeypatch: Patch
) -> None:
    folder, url = served
    SERVE[name](folder, url, monkeypatch, name)
    root = tmp_path / "new" / "root"
    data = load(name, root)
    for split in ("train", "test"):
        pixels, labels = images(name, split == "train")
        assert np.array_equal(getattr(data, f"x_{split}").permute(0, 2, 3, 1).numpy(), pixels)
        assert getattr(data, f"y_{split}").tolist() == labels.tolist()
    assert [file.name for file in root.iterdir()] == [f"{name}.npz"]
    assert available(name, root)
    for file in folder.iterdir():
        file.unlink()
    again = load(name, root)
    assert again.describe() == data.describe()
    assert again.class_names == data.class_names


def test_names_of_cifar100_are_kept(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: Patch
) -> None:
    serve_cifar(*served, monkeypatch, "cifar100")
    load("cifar100", tmp_path)
    assert load("cifar100", tmp_path).class_names[42] == "name 42"


def refused(name: str, root: Path) -> str:
    """What a failed download says; one line, and nothing is left of it."""
    with pytest.raises(UserError) as caught:
        load(name, root)
    message = str(caught.value)
    assert "\n" not in message
    assert f"put it there yourself as {root / name}.npz with the keys x_train y_train" in message
    assert not list(root.iterdir())
    return message


@pytest.mark.parametrize("name", ["mnist", "svhn", "cifar10"])
def test_what_is_not_there_is_asked_of_the_user(
    name: str, served: tuple[Path, str], tmp_path: Path, monkeypatch: Patch
) -> None:
    folder, url = served
    SERVE[name](folder, url, monkeypatch, name)
    for file in folder.iterdir():
        file.unlink()
    assert "404" in refused(name, tmp_path / "root")


def test_what_arrives_damaged_is_not_kept(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: Patch
) -> None:
    folder, url = served
    serve_svhn(folder, url, monkeypatch, "svhn")
    (folder / "test.mat").write_bytes(b"something else")
    assert "corrupted" in refused("svhn", tmp_path / "root")


def test_a_server_that_does_not_respond_is_an_error(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("condense.data.download.SECONDS_WITHOUT_AN_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/usps.bz2"
        monkeypatch.setattr(tv.USPS, "split_list", {"train": [url, "usps.bz2", "0"]})
        assert "timed out" in refused("usps", tmp_path / "root")
    assert socket.getdefaulttimeout() is None


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not be downloaded"):
        load("usps", tmp_path / "file")
