"""Foreign weights: read safely, matched strictly."""

import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from microtome.layers import resize_cubic
from microtome.weights import load_weights, read_state


def small():
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_safetensors_torch_files_and_folders_read_alike(tmp_path):
    state = small().state_dict()
    save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "weights.pth")
    for path in (tmp_path, tmp_path / "model.safetensors", str(tmp_path / "weights.pth")):
        read = read_state(path)
        assert read.keys() == state.keys()
        assert all(read[k].equal(v) for k, v in state.items())


@pytest.mark.parametrize("nest", ["state_dict", "model", "teacher"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_nests_and_prefixes_are_taken_off(tmp_path, nest, prefix):
    state = {prefix + k: v for k, v in small().state_dict().items()}
    torch.save({nest: state, "epoch": 3}, tmp_path / "x.pth")
    assert read_state(tmp_path / "x.pth").keys() == small().state_dict().keys()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(1), "x": Evil()}, "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth: refused.*could run code.*safetensors"):
        read_state("evil.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and then nothing",
        b"\xff" * 64,
        b"hello",
        b"version https://git-lfs",
        b"\x80\x02h\x05",
    ],
)
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_state(tmp_path / name)


def test_what_cannot_be_weights_says_so(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "plain.pth")
    with pytest.raises(ValueError, match="expected tensors by name, got list"):
        read_state(tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"no weights in it, only \['epoch'\]"):
        read_state(tmp_path / "plain.pth")
    with pytest.raises(ValueError, match="local files only"):
        read_state("https://example.org/x.pth")
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        read_state(tmp_path / "absent.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"none of model\.safetensors"):
        read_state(tmp_path / "empty")


def test_loading_reports_every_key():
    part, state = small(), {k: torch.ones_like(v) for k, v in small().state_dict().items()}
    state["1.weight"] = torch.ones(5, 3)
    state["head.bias"] = torch.ones(1)
    del state["1.bias"]
    report = load_weights(part, state, at_least=0.5)
    assert report.matched == ("0.weight", "0.bias") and report.share == 0.5
    assert report.mismatched == ("1.weight [5, 3] for [1, 3]",)
    assert report.missing == ("1.bias",) and report.unused == ("head.bias",)
    assert str(report) == (
        "2 matched; 1 mismatched: 1.weight [5, 3] for [1, 3]; 1 missing: 1.bias; "
        "1 unused: head.bias"
    )
    assert part[0].weight.eq(1).all() and not part[1].weight.eq(1).all()


def test_too_little_is_an_error_and_loads_nothing():
    part = small()
    before = part[0].weight.detach().clone()
    with pytest.raises(
        ValueError, match=r"only 25%.*95%.*3 missing: 0.bias, 1.weight.*1 unused: x"
    ):
        load_weights(part, {"0.weight": torch.ones(3, 2), "x": torch.ones(1)})
    assert part[0].weight.equal(before)


def test_key_maps_rename_and_the_first_match_wins():
    state = {f"encoder.layer{k}": v for k, v in small().state_dict().items()}
    key_map = [(r"^encoder\.layer(\d)\.", r"\1."), (r"^encoder", "wrong")]
    assert load_weights(small(), state, key_map, at_least=1.0).share == 1.0


def test_a_key_map_may_not_give_a_name_twice():
    with pytest.raises(ValueError, match="the name 'x' twice"):
        load_weights(small(), {"a": torch.ones(1), "b": torch.ones(1)}, [("a|b", "x")])


class Placed(nn.Module):
    """Positions on a grid and a table of places."""

    def __init__(self, *grid):
        super().__init__()
        self.grid = nn.Parameter(torch.zeros(1, 2, *grid))
        self.table = nn.Parameter(torch.zeros(2 * grid[-1] - 1, 2))


def adapted(part, **state):
    report = load_weights(part, state, at_least=1.0, adapt=True)
    assert len(report.adapted) == len(state)
    return part


def test_colours_become_any_number_of_channels():
    """Equal channels give what they gave before."""
    colour = nn.Conv2d(3, 4, 3, bias=False)
    grey = torch.randn(1, 1, 5, 5)
    for channels in (1, 2, 5):
        other = adapted(nn.Conv2d(channels, 4, 3, bias=False), weight=colour.weight.detach())
        expected = colour(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(other(grey.expand(-1, channels, -1, -1)), expected)


@pytest.mark.parametrize(
    "make, slices",
    [
        (lambda dims: (nn.Conv2d, nn.Conv3d)[dims - 2](2, 4, 5, padding=2, bias=False), 6),
        (lambda dims: (nn.Conv2d, nn.Conv3d)[dims - 2](2, 4, 4, stride=4, bias=False), 8),
        (lambda dims: (nn.Conv2d, nn.Conv3d)[dims - 2](4, 4, 3, 2, 1, groups=4), 4),
        (lambda dims: (nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 2](2, 4, 2, 2), 3),
    ],
    ids=["padded", "patches", "depthwise", "transposed"],
)
def test_kernels_get_a_new_axis(make, slices):
    """A volume constant along z gives, in every slice, what its image gives."""
    flat, deep = make(2), make(3)
    load_weights(deep, flat.state_dict(), at_least=1.0, adapt=True)
    image = torch.randn(1, flat.in_channels, 8, 8)
    volume = deep(image[:, :, None].expand(-1, -1, slices, -1, -1))
    torch.testing.assert_close(volume, flat(image)[:, :, None].expand_as(volume))


def test_positions_are_resampled_and_repeated_along_new_axes():
    grid, table = torch.randn(1, 2, 4, 4), torch.randn(7, 2)
    part = adapted(Placed(3, 8, 8), grid=grid, table=table)
    assert (part.grid[:, :, 0] == part.grid[:, :, 2]).all()
    torch.testing.assert_close(part.grid[:, :, 0].data, resize_cubic(grid, (8, 8)))
    ends = part.table.data[[0, -1]]
    torch.testing.assert_close(ends, table[[0, -1]])


def test_what_is_no_kernel_and_no_position_is_left_alone():
    state = {"weight": torch.ones(4, 2)}
    with pytest.raises(ValueError, match=r"1 mismatched: weight \[4, 2\] for \[3, 2\]"):
        load_weights(nn.Linear(2, 3, bias=False), state, adapt=True)
