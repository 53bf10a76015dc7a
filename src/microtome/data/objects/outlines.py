"""Objects as outlines in a JSON file: of COCO, for many images, or of QuPath, for one."""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from ...geometry import Shape
from ..stores import ImageReadError
from ..stores.archives import opened, size_of
from .coco import Coco
from .geojson import features
from .parts import Part

SUFFIXES = (".geojson", ".geojson.gz", ".json", ".json.gz")
_GEOJSON = SUFFIXES[:2]
_once = Lock()  # threads that want the same file wait for one that reads it


def is_outlines(file: Path) -> bool:
    """Whether a file is one of outlines, by its name."""
    return file.name.lower().endswith(SUFFIXES)


def outlined(file: Path, image: Path, shape: Shape) -> list[Part]:
    """The objects of an image [H, W].

    Raises ImageReadError for what cannot be read or is not as COCO and QuPath write it.
    """
    if len(shape) != 2:
        raise ImageReadError(file, f"outlines are of images with two axes, not with {len(shape)}")
    coco = None if file.name.lower().endswith(_GEOJSON) else _kept(file)
    return features(file, _content(file), shape) if coco is None else coco.parts(image, shape)


def read_coco(file: Path) -> Coco:
    """Open a file of COCO's; opening it again costs nothing while it is not changed.

    Raises ImageReadError for what cannot be read or is not as COCO's.
    """
    coco = _kept(file)
    if coco is None:
        raise ImageReadError(file, "expected the lists images, annotations and categories of COCO")
    return coco


def read_detections(file: Path, truth: Coco) -> Coco:
    """Open what a program found in the images of a file of truth.

    It is a list of annotations as COCO's tools take it, or a whole file of COCO's.

    Raises ImageReadError for what cannot be read or is not as COCO's.
    """
    content = _content(file)
    if not isinstance(content, list):
        return read_coco(file)
    images = [
        {"id": i.id, "file_name": i.file_name, "height": i.shape[0], "width": i.shape[1]}
        for i in truth.images
    ]
    categories = [{"id": key, "name": name} for key, name in truth.categories.items()]
    listed = {"images": images, "categories": categories, "annotations": content}
    return Coco.of(file, listed)


def _kept(file: Path) -> Coco | None:
    size = size_of(file)
    if size is None:
        raise ImageReadError(file, "no such file")
    with _once:
        return _read_once(file, size, file.stat().st_mtime_ns if file.is_file() else 0)


@cache
def _read_once(file: Path, size: int, changed: int) -> Coco | None:
    """None for a file that is not COCO's; then nothing of it is kept."""
    content = _content(file)
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        return Coco.of(file, content)
    return None


def _content(file: Path) -> Any:
    try:
        with opened(file) as stream:
            packed = stream.read()
        text = gzip.decompress(packed) if file.suffix.lower() == ".gz" else packed
        return json.loads(text)
    except FileNotFoundError:
        raise ImageReadError(file, "no such file") from None
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ImageReadError(file, f"cannot be read ({error})") from None
    except (ValueError, RecursionError) as error:
        raise ImageReadError(file, f"is no JSON ({error})") from None
