import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage.measure import regionprops

from microtome.data.stores import open_source, read_labels
from microtome.data.synthetic import (
    SyntheticNuclei,
    SyntheticTissue,
    write_nuclei,
    write_tissue,
)
from microtome.data.synthetic.fields import neighbourhood, smooth_noise
from microtome.geometry import window

BACKGROUND, STROMA, GLAND, LUMEN, NUCLEI = range(5)


@pytest.fixture(scope="module")
def sections():
    data = SyntheticTissue(16)
    return [data.load(i) for i in range(16)]


@pytest.fixture(scope="module")
def volumes():
    data = SyntheticNuclei(4)
    return [data.load(i) for i in range(4)]


def iou_of_nearest_mean(train, test, count):
    """Mean IoU of giving every pixel the class whose mean colour in `train` is nearest."""
    pixels = np.concatenate([s.image.flatten(1).T.numpy() for s in train])
    truth = np.concatenate([s.truth.classes.flatten().numpy() for s in train])
    means = np.stack([pixels[truth == k].mean(0) for k in range(count)])
    pixels = np.concatenate([s.image.flatten(1).T.numpy() for s in test])
    truth = np.concatenate([s.truth.classes.flatten().numpy() for s in test])
    guess = ((pixels[:, None] - means) ** 2).sum(-1).argmin(1)
    both = [((guess == k) & (truth == k)).sum() for k in range(count)]
    either = [((guess == k) | (truth == k)).sum() for k in range(count)]
    return np.divide(both, either).mean()


def test_colour_alone_does_not_solve_tissue(sections):
    assert 0.2 < iou_of_nearest_mean(sections[:10], sections[10:], 5) < 0.5


def test_brightness_alone_does_not_solve_nuclei(volumes):
    assert 0.5 < iou_of_nearest_mean(volumes[:2], volumes[2:], 2) < 0.75


def test_glass_and_lumen_are_equally_white_stroma_and_gland_equally_stained(sections):
    def mean(sample, kind):
        return sample.image[:, sample.truth.classes == kind].mean(1)

    usable = [s for s in sections if all((s.truth.classes == k).any() for k in range(5))]
    apart = torch.stack([mean(s, BACKGROUND) - mean(s, LUMEN) for s in usable])
    assert apart.abs().max() < 0.1
    apart = torch.stack([mean(s, STROMA) - mean(s, GLAND) for s in usable])
    assert (apart > 0).any()
    assert (apart < 0).any()  # now one is darker, now the other


def test_every_class_is_common(sections):
    total = torch.stack([s.truth.classes for s in sections])
    shares = [(total == k).float().mean().item() for k in range(5)]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0.04
    assert SyntheticTissue.classes.checked().num_classes == 5


def test_lumen_lies_in_glands_and_nuclei_in_tissue(sections):
    for sample in sections[:4]:
        classes = sample.truth.classes
        beside = torch.cat([classes[1:], classes[:, 1:].T])
        here = torch.cat([classes[:-1], classes[:, :-1].T])
        for kind, stranger in ((LUMEN, STROMA), (LUMEN, BACKGROUND)):
            meet = ((here == kind) & (beside == stranger)) | ((here == stranger) & (beside == kind))
            assert meet.sum() == 0


@pytest.mark.parametrize("make", [SyntheticTissue, SyntheticNuclei])
def test_objects_are_the_pixels_of_their_class(make):
    sample = make(1).load(0)
    objects, thing = sample.truth.instances, make.classes.things.index(True)
    assert torch.equal(objects.masks.maps[0] > 0, sample.truth.classes == thing)
    assert len(objects) > 50
    assert (objects.labels == thing).all()
    assert sample.truth.classes.dtype == torch.int64
    assert sample.image.dtype == torch.float32
    assert 0 <= sample.image.min() < sample.image.max() <= 1


def test_tissue_is_quantised_to_8_bit(sections):
    values = sections[0].image * 255
    assert torch.equal(values.round() / 255, sections[0].image)
    assert sections[0].intensity.levels == ((0.0, 255.0),) * 3
    assert sections[0].intensity.stated
    assert sections[0].spacing == (0.8, 0.8)


def test_nuclei_are_round_in_micrometres_not_in_voxels(volumes):
    extents = []
    for sample in volumes:
        for region in regionprops(sample.truth.instances.masks.maps[0].numpy()):
            low, high = np.array(region.bbox[:3]), np.array(region.bbox[3:])
            if (low > 0).all() and (high < sample.shape).all():
                extents.append(high - low)
    voxels = np.mean(extents, 0)
    assert voxels[1] / voxels[0] > 2.5
    micrometres = voxels * sample.spacing
    assert micrometres == pytest.approx(np.full(3, micrometres[1]), rel=0.25)


def test_some_nuclei_touch(volumes):
    ids = volumes[0].truth.instances.masks.maps[0]
    here, right = ids[..., :-1], ids[..., 1:]
    assert ((here != right) & (here > 0) & (right > 0)).any()


@pytest.mark.parametrize("make", [SyntheticTissue, SyntheticNuclei])
def test_an_image_depends_on_seed_and_number_only(make):
    first, later = make(3, seed=1), make(1, start=2, seed=1)
    later.seed = 99  # the transforms' seed
    assert torch.equal(first.load(2).image, later.load(0).image)
    assert first.load(2).meta == later.load(0).meta == {"name": f"{make.name}_0002"}
    images = {s.load(i).image.numpy().tobytes() for s in (first, make(3, seed=2)) for i in range(3)}
    assert len(images) == 6
    with pytest.raises(IndexError, match="3 is not among the 3"):
        first.load(3)


def test_size_shape_and_spacing_are_free():
    assert SyntheticTissue(1, size=97).load(0).image.shape == (3, 97, 97)
    volume = SyntheticNuclei(1, shape=(9, 33, 40), spacing=(3.0, 1.0, 1.0)).load(0)
    assert volume.image.shape == (1, 9, 33, 40)
    assert volume.spacing == (3.0, 1.0, 1.0)


def test_written_tissue_is_read_back_as_drawn(tmp_path):
    path = write_tissue(tmp_path, {"train": 2, "test": 1}, size=64, seed=5)
    manifest = json.loads(path.read_text())
    assert manifest["num_classes"] == 5
    assert manifest["class_names"] == ["background", "stroma", "gland", "lumen", "nuclei"]
    assert manifest["spacing_um"] == [0.8, 0.8]
    assert [len(v) for v in manifest["data"].values()] == [2, 1]
    entry = manifest["data"]["test"][0]
    assert entry["image_path"] == "images/tissue_0002.png"
    drawn = SyntheticTissue(3, size=64, seed=5).load(2)
    source = open_source(tmp_path / entry["image_path"])
    assert np.array_equal(source.read(window(source.info.shape)), drawn.image.numpy())
    assert np.allclose(source.intensity.mean, drawn.intensity.mean)
    assert source.info.channels == drawn.channels
    mask, labels = (read_labels(tmp_path / entry[k]) for k in ("mask_path", "labels_path"))
    assert np.array_equal(mask, drawn.truth.classes.numpy())
    assert np.array_equal(np.unique(labels)[1:], drawn.truth.instances.masks.ids.numpy())
    assert np.array_equal(labels > 0, drawn.truth.instances.masks.maps[0].numpy() > 0)
    with Image.open(tmp_path / entry["mask_path"]) as shown:  # in the colours of the classes
        colours = {tuple(c) for c in np.asarray(shown.convert("RGB")).reshape(-1, 3).tolist()}
    assert colours <= set(SyntheticTissue.classes.palette)
    everything = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    listed = {v for split in manifest["data"].values() for e in split for v in e.values()}
    assert everything == listed | {"manifest.json"}


def test_written_nuclei_are_read_back_as_drawn(tmp_path):
    path = write_nuclei(tmp_path, {"train": 1, "val": 1}, shape=(8, 32, 40))
    entry = json.loads(path.read_text())["data"]["val"][0]
    drawn = SyntheticNuclei(1, shape=(8, 32, 40), start=1).load(0)
    source = open_source(tmp_path / entry["image_path"], channels="as_is")
    assert source.info.spacing == drawn.spacing == (2.0, 0.5, 0.5)
    assert np.array_equal(source.read(window(source.info.shape)), drawn.image.numpy())
    assert source.intensity == drawn.intensity
    assert not source.intensity.stated  # 16 bits do not say what white is
    assert np.array_equal(read_labels(tmp_path / entry["mask_path"]), drawn.truth.classes.numpy())
    labels = read_labels(tmp_path / entry["labels_path"])
    assert np.array_equal(np.unique(labels)[1:], drawn.truth.instances.masks.ids.numpy())
    with tifffile.TiffFile(tmp_path / entry["image_path"]) as file:
        assert file.imagej_metadata["unit"] == "um"
    with pytest.raises(ValueError, match="equal spacings of y and x"):
        write_nuclei(tmp_path, {"train": 1}, spacing=(2.0, 0.5, 0.6))


@pytest.mark.parametrize("shape", [(50,), (40, 50), (8, 20, 30)])
def test_smooth_noise_is_standard_and_smooth(shape):
    noise = smooth_noise(np.random.default_rng(0), shape, (6,) * len(shape))
    assert noise.shape == shape
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(np.diff(noise, axis=-1)).mean() < 0.4  # white noise: 1.13


def test_neighbourhood_is_cut_at_the_border():
    region, (dy, dx) = neighbourhood((1.5, 5.0), (2, 1), (10, 6))
    assert region == (slice(0, 5), slice(4, 6))
    assert dy.ravel().tolist() == [-1.5, -0.5, 0.5, 1.5, 2.5]
    assert dx.ravel().tolist() == [-1, 0]
    outside, _ = neighbourhood((-9, 5), (2, 1), (10, 6))
    assert outside[0] == slice(0, 0)
