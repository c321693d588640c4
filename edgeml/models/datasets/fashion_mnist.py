"""Fashion-MNIST: 70,000 grey pictures of clothing, 28x28 pixels, ten classes (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError
from edgeml.models.datasets.data_directory import data_directory
from edgeml.models.datasets.dataset import Dataset
from edgeml.models.datasets.download import download
from edgeml.models.datasets.idx import parse_idx, read_bounded
from edgeml.models.datasets.spec import DatasetSpec, Split

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
HOME = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
DEBIAN_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
_DOWNLOAD_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True)
class _File:
    """One published file: its name, the MD5 its authors give for the .gz, the SHA-256 of what it unpacks to."""

    name: str
    dimensions: int
    md5: str
    sha256: str


# Recompressing changes the .gz (Debian's differ from the authors'), so identity is the SHA-256 of the unpacked content.
_FILES: dict[Split, tuple[_File, _File]] = {
    "train": (
        _File(
            "train-images-idx3-ubyte",
            3,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        _File(
            "train-labels-idx1-ubyte",
            1,
            "25c81989df183df01b3e8a0aad5dffbe",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
    ),
    "test": (
        _File(
            "t10k-images-idx3-ubyte",
            3,
            "bef4ecab320f06d8554ea6380940ec79",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        _File(
            "t10k-labels-idx1-ubyte",
            1,
            "bb300cfdad3c16e7a12a480ee83cd310",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


def read(spec: DatasetSpec, split: Split) -> Dataset:
    """Fashion-MNIST's `split`: images uint8 (60000 or 10000, 28, 28, 1).

    Files are looked for in the data directory, then where Debian's package puts them, then downloaded.

    Raises:
        MissingError: the files are not here and could not be downloaded.
        CheckFailedError: a file has other content than published.
    """
    images_file, labels_file = _FILES[split]
    images, labels = _load(images_file), _load(labels_file)
    return Dataset(
        spec=str(spec),
        split=split,
        images=images[..., np.newaxis],
        labels=labels.astype(np.int64),
        classes=CLASSES,
        channels=1,
        digest=lambda: hashlib.sha256(f"{images_file.sha256} {labels_file.sha256}".encode()).hexdigest(),
    )


def _load(file: _File) -> npt.NDArray[np.uint8]:
    path = _find(file) or _fetch(file)
    content = read_bounded(path)
    actual = hashlib.sha256(content).hexdigest()
    if actual != file.sha256:
        raise CheckFailedError(
            f"{path} is not Fashion-MNIST's {file.name}: the SHA-256 of its content is {actual[:12]}..., "
            f"published is {file.sha256[:12]}...; delete it to have it fetched again"
        )
    return parse_idx(content, file.dimensions)


def _find(file: _File) -> Path | None:
    for directory in (_own_directory(), DEBIAN_DIRECTORY):
        for name in (f"{file.name}.gz", file.name):
            if (directory / name).is_file():
                return directory / name
    return None


def _fetch(file: _File) -> Path:
    path = _own_directory() / f"{file.name}.gz"
    try:
        download(f"{HOME}/{file.name}.gz", path, md5=file.md5, limit_bytes=_DOWNLOAD_LIMIT_BYTES)
    except EdgeMLError as error:
        raise MissingError(
            f"Fashion-MNIST is not on this machine ({error}); install it with: apt-get install dataset-fashion-mnist, "
            f"or put {file.name}.gz and its three companions into {path.parent}, or use the data set digits"
        ) from error
    return path


def _own_directory() -> Path:
    return data_directory() / "fashion-mnist"
