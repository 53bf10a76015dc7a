"""How sure a model was: the numbers, the files, and what happens when it is asked for later."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from microtome.data.image_dataset import ImageDataset
from microtome.data.records import Record
from microtome.data.stores.ome_zarr_images import ImageStore
from microtome.geometry import window
from microtome.inference import Tiling, predict, predict_resized, predict_scores
from microtome.inference.batch import predict_files
from microtome.inference.confidence import Confidence, ConfidenceStore, of_objects
from microtome.inference.inputs import Inputs
from microtome.inference.into_stores import predict_into_stores
from microtome.structures import Boxes, Classes, Instances, LabelLayers, Segmentation

CLASSES = Classes(("back", "front"))
TILING = Tiling(tile=16, overlap=0.5, batch_size=2)


@pytest.mark.parametrize("shape", [(40, 33), (9, 20, 17)])
def test_it_is_the_highest_of_the_blended_scores(memory, network, shape):
    torch.manual_seed(0)
    source, model = memory(torch.rand(2, *shape)), network(len(shape))
    sure = Confidence(shape)
    result = predict(source, model, tile=8, overlap=0.5, sure=sure.add)
    scores = predict_scores(source, model, tile=8, overlap=0.5)
    assert torch.equal(sure.of(result), scores.amax(0))
    assert torch.equal(result.classes.long(), scores.argmax(0))
    assert 1 / 3 <= sure.scores.min() < sure.scores.max() <= 1


def test_a_resized_image_has_one_too(memory, network):
    source, sure = memory(torch.rand(2, 24, 30)), Confidence((24, 30))
    result = predict_resized(source, network(2), size=16, sure=sure.add)
    assert sure.of(result).shape == (24, 30)
    assert sure.scores.min() > 0.3


def test_of_objects_it_is_the_score_of_the_object_that_lies_there():
    maps = torch.tensor([[[0, 1, 1], [2, 2, 0]], [[0, 0, 3], [0, 3, 0]]], dtype=torch.int32)
    masks = LabelLayers(maps, torch.arange(1, 4))
    scores = torch.tensor([0.9, 0.5, 0.75])
    objects = Instances(torch.ones(3, dtype=torch.long), Boxes(masks.boxes()), scores, masks)
    told = [[0, 0.9, 0.9], [0.5, 0.75, 0]]
    assert torch.equal(of_objects(objects), torch.tensor(told))
    with pytest.raises(ValueError, match="no scores"):
        of_objects(Instances(objects.labels, objects.boxes, None, masks))


class Ramp:
    """Class 1 to the degree that a pixel is bright; counts what it saw."""

    def __init__(self):
        self.tiles = 0

    def predict_samples(self, samples):
        self.tiles += len(samples)
        bright = [s.image.mean(0) for s in samples]
        return [Segmentation(scores=torch.stack((1 - b, b))) for b in bright]


@pytest.fixture
def ramp(tmp_path):
    """An image that becomes brighter from left to right."""
    pixels = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 64, 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "ramp.png")
    records = [Record(tmp_path / "ramp.png")]
    return Inputs(ImageDataset(records, CLASSES), ("ramp",))


def test_files_of_it_open_with_the_numbers_they_should_have(ramp, tmp_path):
    predict_files(ramp, Ramp(), tmp_path / "out", TILING, confidence=True)
    folder = tmp_path / "out" / "confidence"
    assert sorted(p.name for p in folder.iterdir()) == ["ramp.png", "ramp.tif"]
    found = tifffile.imread(folder / "ramp.tif")
    bright = np.linspace(0, 255, 64).astype(np.uint8) / 255
    assert found.dtype == np.float32 and found.shape == (48, 64)
    assert found[5] == pytest.approx(np.maximum(bright, 1 - bright), abs=1e-5)
    picture = np.asarray(Image.open(folder / "ramp.png"))
    assert (picture == (253, 231, 36)).all(-1).sum() > 300  # yellow: as good as 1


def test_asked_for_later_it_is_predicted_again_and_only_then(ramp, tmp_path):
    model = Ramp()
    predict_files(ramp, model, tmp_path / "out", TILING)
    first = model.tiles
    assert not (tmp_path / "out" / "confidence").exists()
    assert predict_files(ramp, model, tmp_path / "out", TILING, confidence=True).predicted == 1
    assert model.tiles == 2 * first
    assert predict_files(ramp, model, tmp_path / "out", TILING, confidence=True).kept == 1
    assert predict_files(ramp, model, tmp_path / "out", TILING).kept == 1
    assert model.tiles == 2 * first


def test_into_a_store_it_is_the_same_and_goes_on(ramp, tmp_path):
    predict_files(ramp, Ramp(), tmp_path / "plain", TILING, confidence=True)
    model = Ramp()
    predict_into_stores(ramp, model, tmp_path / "stored", TILING, confidence=True)
    plain, stored = (tmp_path / kind / "confidence" for kind in ("plain", "stored"))
    store = ConfidenceStore(ImageStore(stored / "ramp.ome.zarr"))
    assert np.array_equal(store.read(window((48, 64))), tifffile.imread(plain / "ramp.tif"))
    pictures = [np.asarray(Image.open(folder / "ramp.png")) for folder in (plain, stored)]
    assert np.array_equal(*pictures)
    seen = model.tiles
    again = predict_into_stores(ramp, model, tmp_path / "stored", TILING, confidence=True)
    assert (again.kept, model.tiles) == (1, seen)
    predict_into_stores(ramp, model, tmp_path / "stored", TILING, confidence=True, overwrite=True)
    assert model.tiles > seen
