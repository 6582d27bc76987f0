"""Decodes and resizes images and masks, in the same way for all datasets.

Every image becomes RGB uint8, upright (EXIF orientation applied), and is resized by Pillow's antialiased
bilinear filter on uint8 to exactly ``size x size``: the aspect ratio is not kept and nothing is cropped,
because a crop may cut defects away. The protocol of UniAD (You et al. 2022) resizes in the same way. Detectors that
follow a released code may ask for its filter instead (``Resize``).

Masks are binarised at the resolution of the file: any value above a threshold is defect. It is zero by default (VisA
numbers its regions 1..n, other datasets write 0/1 or 0/255). They are resized afterwards by nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps

from datasets.errors import DatasetError
from datasets.samples.array_rows import array_row, split_row
from datasets.samples.image_file import UnknownScaleError, opened
from datasets.samples.sample import Sample
from datasets.samples.value_range import deep_values, in_eight_bits, integers, is_deep

IMAGE_SUFFIXES = frozenset({".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Suffixes, in lower case, of the files that count as images."""

Resize = Literal["antialiased", "bilinear", "nearest"]
"""How an image is resized.

``antialiased`` is Pillow's bilinear filter, to which all pixels contribute when an image shrinks. ``bilinear``
interpolates between the four nearest pixels whatever the factor, as OpenCV does by default. ``nearest`` takes pixel
floor(i * old / new), as torch's interpolation does by default.
"""

_TURNED = {5, 6, 7, 8}  # EXIF orientations that swap height and width


def decode(root: Path, path: str, bits: int | None = None) -> Image.Image:
    """Decode one image to upright RGB.

    Greyscale, palette, CMYK and images with an alpha channel are converted (alpha is dropped). Files of 16 bits are
    scaled so that the largest value of the range that is in use becomes 255.

    Args:
        root: Directory that ``path`` is relative to.
        path: As in ``Sample.path``: an image file, or ``name.npy#17``.
        bits: The range of a 16-bit file, as ``DatasetIndex.value_bits`` gives it; None for all 16 bits.

    Returns:
        The image, mode ``RGB``.

    Raises:
        DatasetError: If the file is missing, empty, truncated, not an image, or implausibly large.
    """
    file, row = split_row(path)
    if row is not None:
        pixels = array_row(root, file, row)
        if pixels.ndim != 3 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
            raise DatasetError(
                f"{root / file}: holds {pixels.dtype} rows of the shape {pixels.shape}, but images are rows "
                "of uint8 of the shape (H, W, 3). Write the array in that form."
            )
        return Image.fromarray(pixels)
    with opened(root / path) as image:
        if bits is not None and bits < 16 and is_deep(image):
            return _narrowed(root / path, image, bits)
        return _to_rgb(_upright(image))


def load_image(
    root: Path, path: str, size: int, bits: int | None = None, resize: Resize = "antialiased"
) -> NDArray[np.uint8]:
    """Decode and resize one image.

    Args:
        root: Directory that ``path`` is relative to.
        path: As in ``Sample.path``.
        size: Height and width wanted, in pixels.
        bits: As in ``decode``.
        resize: The filter.

    Returns:
        ``(size, size, 3)`` uint8, RGB.

    Raises:
        DatasetError: As ``decode``.
    """
    image = decode(root, path, bits)
    if resize == "antialiased":
        return np.array(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)
    pixels = np.asarray(image)
    if resize == "nearest":
        # In float32, as torch computes it: where i * old / new is an integer, rounding decides.
        rows, columns = (
            (np.arange(size, dtype=np.float32) * np.float32(old / size)).astype(np.int64).clip(max=old - 1)
            for old in pixels.shape[:2]
        )
        return pixels[rows[:, None], columns]
    if resize == "bilinear":
        return _interpolated(pixels, size)
    assert_never(resize)


def _interpolated(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) at ``size``, each interpolated between the four nearest ones."""
    found = pixels.astype(np.float32)
    for axis in (0, 1):
        old = pixels.shape[axis]
        place = ((np.arange(size) + 0.5) * (old / size) - 0.5).clip(0, old - 1)  # the border is repeated
        low = place.astype(np.int64)
        share = (place - low).astype(np.float32)[:, None, None]
        found = np.moveaxis(found, axis, 0)
        found = found[low] * (1 - share) + found[(low + 1).clip(max=old - 1)] * share
        found = np.moveaxis(found, 0, axis)
    return np.asarray(found + 0.5).astype(np.uint8)


def load_images(
    root: Path,
    samples: Sequence[Sample],
    size: int,
    threads: int = 1,
    bits: int | None = None,
    resize: Resize = "antialiased",
) -> NDArray[np.uint8]:
    """Decode and resize a batch of images.

    Args:
        root: Directory that the samples' paths are relative to.
        samples: The images, B of them.
        size: Height and width wanted, in pixels.
        threads: Number of images decoded at a time; Pillow lets other threads run while it decodes.
        bits: As in ``decode``. Images of categories with different ranges are loaded by separate calls.
        resize: The filter.

    Returns:
        ``(B, size, size, 3)`` uint8, RGB, in the order of ``samples``.

    Raises:
        DatasetError: As ``decode``, for the first image that can't be read.
    """
    batch = np.empty((len(samples), size, size, 3), dtype=np.uint8)

    def load(position: int) -> None:
        batch[position] = load_image(root, samples[position].path, size, bits, resize)

    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(load, range(len(samples))))
    else:
        for position in range(len(samples)):
            load(position)
    return batch


def image_size(root: Path, path: str) -> tuple[int, int]:
    """(height, width) of the upright image, in pixels, from the file's header alone.

    Raises:
        DatasetError: If the header can't be read.
    """
    file, row = split_row(path)
    if row is not None:
        height, width = array_row(root, file, row).shape[:2]
        return int(height), int(width)
    with opened(root / path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in _TURNED else (height, width)


def load_mask(root: Path, sample: Sample, threshold: int = 0) -> NDArray[np.bool_]:
    """The defective pixels of one sample, at the resolution of its mask files.

    Args:
        root: Directory that the sample's paths are relative to.
        sample: The sample. Several masks are united. Without masks, no pixel is defective.
        threshold: Values above it are defect.

    Returns:
        ``(H, W)`` bool. Without masks, H and W are those of the upright image.

    Raises:
        DatasetError: If a mask can't be read, masks of one image differ in size, or a mask has another aspect ratio
            than its image, so that resizing it would move the defect.
    """
    height, width = image_size(root, sample.path)
    if not sample.masks:
        return np.zeros((height, width), dtype=np.bool_)
    masks = [decode_mask(root, path, threshold) for path in sample.masks]
    if len({mask.shape for mask in masks}) > 1:
        sizes = ", ".join(
            f"{path} {mask.shape[1]}x{mask.shape[0]}" for path, mask in zip(sample.masks, masks, strict=True)
        )
        raise DatasetError(
            f"{root / sample.path}: its masks differ in size ({sizes}). Masks of one image are united, so "
            "write them all in the size of the image."
        )
    united: NDArray[np.bool_] = np.logical_or.reduce(masks)
    if not same_shape_up_to_scale(united.shape, (height, width)):
        raise DatasetError(
            f"{root / sample.masks[0]}: the mask is {united.shape[1]}x{united.shape[0]}, but its image "
            f"{sample.path} is {width}x{height}, which is another aspect ratio. Write the mask in the size "
            "of the upright image (EXIF orientation applied)."
        )
    return united


def same_shape_up_to_scale(mask: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether two (H, W) shapes show the same view, one being a scaled version of the other.

    A side of the smaller one may differ by one pixel, because of rounding.
    """
    (small_height, small_width), (height, width) = sorted((mask, image))
    return (
        abs(small_height - height * small_width / width) <= 1 or abs(small_width - width * small_height / height) <= 1
    )


def resize_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Resize a binary mask by nearest neighbour (the centre of each target pixel decides).

    Args:
        mask: ``(H, W)`` bool.
        size: Height and width wanted, in pixels.

    Returns:
        ``(size, size)`` bool. A region thinner than a target pixel may vanish, so count regions before and after.
    """
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(np.asarray(image.resize((size, size), Image.Resampling.NEAREST)) > 0)


def decode_mask(root: Path, path: str, threshold: int = 0) -> NDArray[np.bool_]:
    """One mask file as ``(H, W)`` bool: every value above the threshold is defect; see ``mask_values``.

    Raises:
        DatasetError: If the file can't be read.
    """
    return np.asarray(mask_values(root, path) > threshold)


def mask_values(root: Path, path: str) -> NDArray[Any]:
    """The values of one mask file, ``(H, W)`` numbers.

    White is 255 in files of 1 bit. Of colours, the largest channel counts. Palette colours are looked up, as image
    viewers do. If all colours of the palette are black, the stored indices are used instead. Transparent pixels are 0,
    whatever their colour.

    Args:
        root: Directory that ``path`` is relative to.
        path: As in ``Sample.masks``: an image file, or ``name.npy#17`` with rows ``(H, W)``.

    Raises:
        DatasetError: If the file can't be read.
    """
    file, row = split_row(path)
    if row is not None:
        values = array_row(root, file, row)
        if values.ndim != 2:
            raise DatasetError(f"{root / file}: rows of masks have the shape (H, W), not {values.shape}.")
        return _white_is_255(values)
    with opened(root / path) as image:
        if is_deep(image) and not image.mode.startswith("I"):  # Pillow would read the first byte of each value only
            values = _one_channel(deep_values(root / path, image), image.mode == "RGBA")
            return np.asarray(_turned(Image.fromarray(values), _orientation(image)))
        return _mask_values(_upright(image))


def _mask_values(image: Image.Image) -> NDArray[Any]:
    if image.mode in {"P", "PA"}:
        coloured = _mask_values(image.convert("RGBA"))
        indices = np.asarray(image)
        return coloured if coloured.any() or indices.ndim > 2 else indices
    if image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:  # black is not zero in these
        image = image.convert("RGB")
    values = np.asarray(image)
    if values.ndim == 2:
        return _white_is_255(values)
    return _one_channel(values, image.mode in {"RGBA", "LA", "RGBa", "La"})


def _one_channel(values: NDArray[Any], alpha: bool) -> NDArray[Any]:
    """The largest of the colours of each pixel; 0 where it is transparent."""
    if alpha:
        return np.where(values[..., -1] > 0, values[..., :-1].max(axis=-1), values.dtype.type(0))
    return np.asarray(values.max(axis=-1))


def _white_is_255(values: NDArray[Any]) -> NDArray[Any]:
    return values * np.uint8(255) if values.dtype == np.bool_ else values


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # I;16 and its byte orders, or I where the format has no 16-bit type
        return Image.fromarray(in_eight_bits(integers(image), 16)).convert("RGB")
    if image.mode == "F":
        raise UnknownScaleError("floating-point pixels")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns if this step is left out
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    # Called before the pixels are decoded. For a PNG without EXIF before its pixels, Pillow would decode all pixels to
    # search after them. Decoding and `image_size` share this rule, so image and mask agree.
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, including their size
    if image.format == "PNG" and not {"exif", "Raw profile type exif", "xmp"} & image.info.keys():
        return 1
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _upright(image: Image.Image) -> Image.Image:
    turned = _orientation(image) != 1
    image.load()
    return ImageOps.exif_transpose(image) if turned else image


def _narrowed(file: Path, image: ImageFile.ImageFile, bits: int) -> Image.Image:
    """A 16-bit image as upright RGB, scaled from a smaller range."""
    orientation = _orientation(image)
    return _turned(Image.fromarray(in_eight_bits(deep_values(file, image), bits)).convert("RGB"), orientation)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(image)
