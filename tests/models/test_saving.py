"""A model as a folder and as a checkpoint: whole, checked, and never a program."""

import json
import os
from functools import partial

import pytest
import timm
import torch
from safetensors.torch import save_file

from microtome.backbones.pretrained import PretrainedPyramid
from microtome.files import CorruptFileError, sealed
from microtome.heads.dense import Dense
from microtome.models import Segmenter, Usage, checkpoint_in, load_segmenter, saving


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edit(path, change):
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def assert_same(ours, theirs):
    image = torch.rand(theirs.backbone.in_channels, *[9] * theirs.spec.spatial_dims)
    assert ours.predict(image).classes.equal(theirs.predict(image).classes)
    assert all(v.equal(theirs.state_dict()[k]) for k, v in ours.state_dict().items())
    assert ours.classes == theirs.classes and ours.blueprint == theirs.blueprint


def test_a_folder_brings_everything_back(segmenter, tmp_path):
    segmenter.usage = Usage("as_is", (0, 4095), tile=64, spacing=(2.0, 0.5))
    segmenter.save_pretrained(tmp_path / "model")
    twin = Segmenter.from_pretrained(tmp_path / "model")
    assert_same(twin, segmenter)
    assert not twin.training and twin.usage._replace(levels=(0, 4095), spacing=(2.0, 0.5)) == (
        segmenter.usage
    )
    names = sorted(p.name for p in (tmp_path / "model").iterdir())
    assert names == ["MANIFEST.json", "README.md", "config.json", "model.safetensors"]


def test_statistics_of_the_data_set_travel_with_the_weights(tmp_path, small_segmenter):
    segmenter = small_segmenter(normalisation="dataset")
    segmenter.set_statistics([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
    segmenter.save_pretrained(tmp_path)
    assert_same(Segmenter.from_pretrained(tmp_path), segmenter)


def test_the_card_tells_what_a_person_must_know(tmp_path, small_segmenter):
    segmenter = small_segmenter(normalisation="zscore")
    segmenter.usage = Usage(spacing=(0.5, 0.5), tile=256)
    segmenter.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    for told in (
        "| 1 | gland | #ff0000 |",
        "`zscore`",
        "3 channels (`rgb`), axes y, x",
        "[0.5, 0.5] µm per pixel",
        "tiles of 256 pixels",
        "none: trained from random weights",
    ):
        assert told in card


def test_a_card_may_be_completed_by_hand(tmp_path, small_segmenter):
    segmenter = small_segmenter()
    segmenter.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("# Glands")
    assert_same(Segmenter.from_pretrained(tmp_path), segmenter)
    segmenter.save_pretrained(tmp_path)


def test_the_encoders_file_is_not_needed_again(tmp_path, classes):
    theirs = timm.create_model("test_resnet")
    save_file(theirs.state_dict(), tmp_path / "encoder.safetensors")
    backbone = PretrainedPyramid("test_resnet", str(tmp_path / "encoder.safetensors"))
    segmenter = Segmenter(backbone, partial(Dense, channels=8), classes).eval()
    segmenter.save_pretrained(tmp_path / "model")
    (tmp_path / "encoder.safetensors").unlink()
    twin = Segmenter.from_pretrained(tmp_path / "model")
    assert_same(twin, segmenter)
    twin.save_pretrained(tmp_path / "again")
    told = "test_resnet (encoder.safetensors), licence: see its source"
    assert told in (tmp_path / "again" / "README.md").read_text()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damage_is_noticed(tmp_path, name, small_segmenter):
    small_segmenter().save_pretrained(tmp_path)
    flip_a_byte(tmp_path / name)
    with pytest.raises(CorruptFileError, match=name):
        Segmenter.from_pretrained(tmp_path)


def test_only_safetensors_are_read(tmp_path, small_segmenter):
    small_segmenter().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors missing.*safetensors only"):
        Segmenter.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda c: c.update(format=2), ValueError, "format 2, this version reads 1"),
        (lambda c: c.pop("blueprint"), ValueError, "no `blueprint`"),
        (lambda c: c["blueprint"].update(class_path="os.system"), PermissionError, "os.system is"),
        (lambda c: c.update(blueprint=3), ValueError, "of a int, not of a Segmenter"),
        (
            lambda c: c["blueprint"]["init_args"]["head"].update(make="builtins.exec"),
            PermissionError,
            "outside the trusted packages",
        ),
        (
            lambda c: c["blueprint"]["init_args"]["backbone"]["init_args"].update(out_channels=4),
            ValueError,
            "do not fit each other",
        ),
    ],
)
def test_other_configs_are_refused(tmp_path, change, error, message, small_segmenter):
    small_segmenter().save_pretrained(tmp_path)
    (tmp_path / "MANIFEST.json").unlink()
    edit(tmp_path / "config.json", change)
    with pytest.raises(error, match=message):
        Segmenter.from_pretrained(tmp_path)


def test_a_mistyped_folder_is_not_looked_for_on_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "snapshot_download", None)
    with pytest.raises(FileNotFoundError, match=r"no such folder; .*hf-hub:OWNER/NAME"):
        Segmenter.from_pretrained("runs/glands")


def test_the_hub_is_asked_for_the_four_files_only(tmp_path, monkeypatch, small_segmenter):
    segmenter = small_segmenter()
    segmenter.save_pretrained(tmp_path)
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options["revision"], sorted(options["allow_patterns"])))
        return str(tmp_path)

    monkeypatch.setattr(saving, "snapshot_download", snapshot_download)
    assert_same(Segmenter.from_pretrained("hf-hub:lab/glands@v2"), segmenter)
    wanted = ["MANIFEST.json", "README.md", "config.json", "model.safetensors"]
    assert asked == [("lab/glands", "v2", wanted)]


def checkpoint(segmenter, path, **more):
    content = {
        "state_dict": {f"model.{k}": v for k, v in segmenter.state_dict().items()},
        "microtome": {
            "blueprint": segmenter.blueprint,
            "tiling": {"mode": "resize", "tile": 64, "overlap": 0.25, "batch_size": 4},
        },
        "epoch": 3,
    }
    with sealed(path) as part:
        torch.save({**content, **more}, part)
    return path


def test_a_checkpoint_is_enough(segmenter, tmp_path):
    twin = load_segmenter(checkpoint(segmenter, tmp_path / "best.ckpt"))
    assert_same(twin, twin)
    assert all(v.equal(segmenter.state_dict()[k]) for k, v in twin.state_dict().items())
    assert (twin.usage.mode, twin.usage.tile, twin.usage.overlap) == ("resize", 64, 0.25)


def test_a_saved_folder_is_as_good_as_a_checkpoint(tmp_path, small_segmenter):
    segmenter = small_segmenter()
    segmenter.save_pretrained(tmp_path)
    assert_same(load_segmenter(tmp_path), segmenter)


def test_a_damaged_checkpoint_is_noticed(tmp_path, small_segmenter):
    path = checkpoint(small_segmenter(), tmp_path / "best.ckpt")
    flip_a_byte(path)
    with pytest.raises(CorruptFileError, match=r"best\.ckpt"):
        load_segmenter(path)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch, small_segmenter):
    monkeypatch.chdir(tmp_path)
    path = checkpoint(small_segmenter(), tmp_path / "evil.ckpt", extra=Evil())
    with pytest.raises(ValueError, match="could run code"):
        load_segmenter(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "place, error, message",
    [
        ("https://example.org/best.ckpt", ValueError, "local files only"),
        ("absent.ckpt", FileNotFoundError, "no such checkpoint"),
        ("other.ckpt", ValueError, "not a checkpoint of microtome"),
    ],
)
def test_what_is_no_checkpoint_says_so(tmp_path, monkeypatch, place, error, message):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}}, "other.ckpt")
    with pytest.raises(error, match=message):
        load_segmenter(place)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml"],
            "checkpoints/best.ckpt",
        ),
        (["checkpoints/last.ckpt", "checkpoints/.best.ckpt.part-1"], "checkpoints/last.ckpt"),
        (["best.ckpt", "last.ckpt", "other.ckpt"], "best.ckpt"),
        (["epoch_3.ckpt", "epoch_3.ckpt.sha256"], "epoch_3.ckpt"),
        (["config.json", "model.safetensors", "old.ckpt"], "."),
    ],
)
def test_a_folder_stands_for_the_checkpoint_in_it(tmp_path, files, found):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert checkpoint_in(tmp_path) == tmp_path / found
    assert checkpoint_in(tmp_path / files[0]) == tmp_path / files[0]


def test_a_folder_without_a_checkpoint_or_with_several_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="and no exported model in it"):
        checkpoint_in(tmp_path)
    for epoch in (1, 2):
        (tmp_path / f"epoch_{epoch}.ckpt").touch()
    with pytest.raises(ValueError, match=r"epoch_1\.ckpt, epoch_2\.ckpt: name one of them"):
        load_segmenter(tmp_path)
