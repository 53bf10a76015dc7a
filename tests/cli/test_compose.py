"""Composing: files, groups, overrides; mistakes are answered in words and without torch."""

import subprocess
import sys

import pytest
import yaml

from microtome.cli.compose import ComposeError, compose, find
from microtome.cli.words import sort_words


def test_a_plain_file_is_taken_as_it_stands(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntrainer: {max_epochs: 3}\n")
    assert compose(file, []) == {"name": "mine", "trainer": {"max_epochs": 3}}


def test_an_override_sets_and_adds_keys(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntrainer: {max_epochs: 3}\n")
    got = compose(file, ["trainer.max_epochs=5", "model.tile=64"])
    assert got == {"name": "mine", "trainer": {"max_epochs": 5}, "model": {"tile": 64}}


def test_a_users_file_inherits_packaged_groups(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: [/trainer: default, _self_]\ntrainer: {max_epochs: 7}\n")
    got = compose(file, [])
    assert got["trainer"]["max_epochs"] == 7
    assert got["trainer"]["gradient_clip_val"] == 1.0


def test_a_users_own_group_stands_beside_the_packaged_ones(tmp_path):
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "short.yaml").write_text("defaults: [default, _self_]\nmax_epochs: 2\n")
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: [trainer: default, _self_]\n")
    assert compose(file, ["trainer=short"])["trainer"]["max_epochs"] == 2


def test_a_folder_beside_the_file_hides_no_key(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "config.yaml").write_text("name: mine\n")
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: [/trainer: default, _self_]\n")
    assert compose(file, ["runs=elsewhere"])["runs"] == "elsewhere"


def test_a_group_that_the_file_does_not_name_is_explained(tmp_path):
    assert compose("demo", ["strategy=ddp"])["trainer"]["strategy"] == "ddp"
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: [/trainer: default, _self_]\n")
    with pytest.raises(ComposeError, match="add `- /strategy: OPTION`"):
        compose(file, ["strategy=ddp"])


def test_a_missing_value_without_quotes_is_explained_wherever_it_stands(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("init_args:\n  database: {url: ???}\n")
    group, plain = tmp_path / "group.yaml", tmp_path / "plain.yaml"
    group.write_text("defaults: [/data: mine, _self_]\n")
    plain.write_text("data: {images: ???}\n")
    for file, at_fault in ((group, "mine.yaml"), (plain, "plain.yaml")):
        with pytest.raises(ComposeError, match=f"{at_fault}: not valid YAML") as caught:
            compose(file, [])
        assert 'it is written "???", with quotes' in str(caught.value)


def test_a_list_and_a_mapping_that_would_have_to_be_merged_are_told(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("split: {val: [1, 2]}\n")
    assert compose(file, ["split.val=[3]"]) == {"split": {"val": [3]}}
    with pytest.raises(ComposeError, match="one of the two is a list, the other a mapping"):
        compose(file, ["split={val: {groups: [3]}}"])


def test_composition_equals_the_plain_file(tmp_path):
    """The same run, written with groups or in full, resolves to the same config."""
    composed = compose("demo", ["trainer.max_epochs=2"])
    file = tmp_path / "full.yaml"
    file.write_text(yaml.safe_dump(composed))
    assert compose(file, []) == composed


@pytest.mark.parametrize(
    "name", ["demo", "demo.yaml", "experiment/demo", "configs/experiment/demo.yaml"]
)
def test_packaged_files_are_found_by_any_of_their_names(name):
    assert find(name).name == "demo.yaml"


@pytest.mark.parametrize(
    ("config", "overrides", "says"),
    [
        ("nothing_here", [], "packaged config; those are: "),
        ("demo", ["model=nope"], "nope"),
        ("demo", ["trainer.max_epochs=[1"], "trainer.max_epochs=[1: expected a value as"),
        ("demo", ["a.b={'depth': 2}"], "a.b={'depth': 2}: expected a value as {depth: 2"),
        ("demo", ["~foo"], "'foo' does not exist"),
    ],
)
def test_mistakes_are_told_in_words(config, overrides, says):
    with pytest.raises(ComposeError, match="(?s)" + says.replace("[", r"\[")):
        compose(config, overrides)


@pytest.mark.parametrize(
    "value", ["/my/slides (1).json", "/a/b, c.json", "/a=b/c.json", "it's here.json", "a{b}.json"]
)
def test_a_path_needs_no_quotes_of_hydras(value):
    assert compose("demo", [f"a.path={value}"])["a"] == {"path": value}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1\n", "keys and values"),
        ("defaults: [_self_]\na: ???\n", "a=…"),
    ],
)
def test_bad_files_are_told_in_words(tmp_path, content, says):
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(ComposeError, match=says):
        compose(file, [])


def test_words_are_sorted():
    words = sort_words(
        [
            "--config-name",
            "demo",
            "model=unet",
            "--trainer.max_epochs",
            "3",
            "a.b=c",
            "--fast_dev_run",
            "--device",
            "cuda:1",
            "--print_config",
            "--resume",
            "x.ckpt",
        ]
    )
    assert words.config == "demo"
    assert words.overrides == ["model=unet", "a.b=c"]
    assert words.flags == [
        "--trainer.max_epochs=3",
        "--trainer.fast_dev_run=true",
        "--trainer.accelerator=gpu",
        "--trainer.devices=[1]",
        "--print_config",
        "--ckpt_path=x.ckpt",
    ]


@pytest.mark.parametrize(
    "args", [["stray"], ["--device", "gpu7"], ["--config", "a", "--config", "b"]]
)
def test_words_that_mean_nothing_are_refused(args):
    with pytest.raises(ComposeError):
        sort_words(args)


LIGHT = """
import sys
from microtome.cli import main
assert main({args}) == {code}
heavy = [m for m in ("torch", "lightning", "monai", "numpy") if m in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["fit", "--help"], 0),
        (["nonsense"], 2),
        (["fit"], 2),
        (["fit", "--config", "nothing_here"], 2),
        (["fit", "--config", "demo", "model=nope"], 2),
    ],
)
def test_light_answers_never_load_torch(args, code):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(args=args, code=code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
