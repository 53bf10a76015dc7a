"""OME-Zarr that is written here, in the eyes of its validator and of its reference reader.

Both ask for an older pydantic than other packages of the test environment; where they are not
installed, these tests skip. `pip install ome-zarr` in an environment of its own runs them.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr

from microtome.data.stores import create_image, create_labels
from microtome.data.stores.zarr_chunks import overlapping
from microtome.geometry import window

models = pytest.importorskip("ome_zarr_models", reason="pip install ome-zarr")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    reader = pytest.importorskip("ome_zarr.reader", reason="pip install ome-zarr")
    from ome_zarr.io import parse_url

# Their own: unclosed sessions and deprecations of what they depend on.
pytestmark = pytest.mark.filterwarnings("ignore")
SHAPES = {2: (300, 530), 3: (40, 300, 530)}
SPACING = (2.0, 0.5, 0.5)


def fill(store, values):
    for place in overlapping(window(store.shape), store.chunk):
        region = tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, store.chunk, strict=True))
        store.write(region, values[region])
    store.finish()


@pytest.fixture(params=[("0.4", 2), ("0.4", 3), ("0.5", 2), ("0.5", 3)], ids=str)
def written(request, tmp_path):
    """An image with labels in it, and labels alone."""
    version, dims = request.param
    rng, shape, spacing = np.random.default_rng(0), SHAPES[dims], SPACING[-dims:]
    image = rng.integers(0, 4000, (2, *shape)).astype("uint16")
    ids = rng.integers(0, 2**31, shape).astype("uint32")
    made = {"spacing": spacing, "version": version}
    place, alone = tmp_path / "image.zarr", tmp_path / "labels.zarr"
    fill(create_image(place, shape, channels=("nuclei", "membrane"), **made), image)
    fill(create_labels(place, shape, name="cells", **made), ids)
    fill(create_labels(alone, shape, **made), ids)
    return version, dims, place, alone, image, ids


def test_the_validator_agrees(written):
    version, dims, place, alone, *_ = written
    kinds = models.v04 if version == "0.4" else models.v05
    found = kinds.Image.from_zarr(zarr.open_group(place, mode="r"))
    attributes = found.attributes if version == "0.4" else found.attributes.ome
    (pyramid,) = attributes.multiscales
    assert [axis.name for axis in pyramid.axes] == ["c", *"zyx"[-dims:]]
    assert {axis.unit for axis in pyramid.axes[1:]} == {"micrometer"}
    labels = kinds.Labels.from_zarr(zarr.open_group(place / "labels", mode="r"))
    listed = labels.attributes if version == "0.4" else labels.attributes.ome
    assert listed.labels == ["cells"]
    for group in (place / "labels/cells", alone):
        inner = kinds.ImageLabel.from_zarr(zarr.open_group(group, mode="r"))
        described = inner.attributes if version == "0.4" else inner.attributes.ome
        assert len(described.multiscales[0].datasets) == len(pyramid.datasets)


def test_the_reference_reader_sees_the_same_pixels_at_the_same_scale(written):
    _, dims, place, alone, image, ids = written
    nodes = {str(node.zarr): node for node in reader.Reader(parse_url(place))()}
    assert len(nodes) >= 2, "the image, and the labels it lists"
    by_kind = {"cells" in name: node for name, node in nodes.items() if node.data}
    for is_label, expected in ((False, image), (True, ids)):
        node = by_kind[is_label]
        assert (np.asarray(node.data[0]) == expected).all()
        steps = node.metadata["coordinateTransformations"][0][0]["scale"][-dims:]
        assert tuple(steps) == SPACING[-dims:]
    (one,) = [node for node in reader.Reader(parse_url(alone))() if node.data]
    assert (np.asarray(one.data[0]) == ids).all()
    assert [level.shape for level in one.data] == [
        zarr.open_array(alone / str(n), mode="r").shape for n in range(len(one.data))
    ]
