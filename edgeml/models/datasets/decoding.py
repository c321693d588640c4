"""Decodes image files from outside with Pillow, within limits."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UntrustedFileError, UsageError, needs_extra

# suffix -> Pillow format; only these decoders are offered a file, whatever its content claims to be.
FORMATS = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
PIXEL_LIMIT = 64_000_000


def decode_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Pixels of an image file as uint8 (height, width, 3); grey and palette images become RGB, transparency is dropped.

    The orientation that cameras note in EXIF is ignored, as torchvision's ImageFolder does.

    Raises:
        UsageError: the file is not an image of a known format, or is damaged.
        UntrustedFileError: it has more than 64 million pixels.
        MissingError: Pillow is not installed.
    """
    with needs_extra("train"):
        from PIL import Image
    try:
        with warnings.catch_warnings():
            # Pillow warns of huge images and of odd metadata; the first is refused below, the second does not matter.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:
                if image.width * image.height > PIXEL_LIMIT:
                    raise UntrustedFileError(
                        f"the image {path} has {image.width}x{image.height} pixels, the limit is {PIXEL_LIMIT}"
                    )
                return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise UntrustedFileError(f"the image {path} has more than {PIXEL_LIMIT} pixels, the limit") from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, OverflowError, struct.error) as error:
        # Pillow's decoders raise any of these for damaged files.
        raise UsageError(f"cannot read the image {path}: {error}; mend or remove it") from error
