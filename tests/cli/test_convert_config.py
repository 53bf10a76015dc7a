"""Configs of PFM_Segmentation: every key carried over, and all mistakes told at once."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from microtome.catalogue import entries
from microtome.cli import main
from microtome.cli.compose import PACKAGED, compose
from microtome.cli.conversion.made import OldConfigError
from microtome.cli.conversion.old_keys import OldKeys
from microtome.cli.conversion.pfm import GROUPS, KNOWN, convert
from microtome.cli.conversion.pfm_model import MODES
from microtome.cli.conversion.pfm_schedule import RULES
from microtome.cli.conversion.pfm_training import LOSSES

EXAMPLE = Path(__file__).with_name("pfm_config.yaml")
BACKBONE = "model.segmenter.init_args.backbone.init_args"


@pytest.fixture
def old():
    return yaml.safe_load(EXAMPLE.read_text())


def place(config, path):
    for key in path.split("."):
        config = config[key]
    return config


def changed(config, **values):
    """The config with other values, `__` for dots; None takes a key out."""
    config = copy.deepcopy(config)
    for path, value in values.items():
        *parents, last = path.split("__")
        section = config
        for key in parents:
            section = section.setdefault(key, {})
        section[last] = value
        if value is None:
            del section[last]
    return config


def composed(made, folder):
    (folder / "new.yaml").write_text(made.text("old.yaml"))
    return compose(folder / "new.yaml", [])


def test_the_example_of_its_documents_is_converted_and_composes(old, tmp_path, capsys):
    out = tmp_path / "new.yaml"
    assert main(["convert-config", "pfm", str(EXAMPLE), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    config = compose(out, [])
    for path, value in {
        "name": "pfm_segmentation",
        "runs": "/path/to/logs",
        "seed": 42,
        "data.init_args.manifest": "/path/to/dataset.json",
        "data.init_args.workers": 4,
        "data.init_args.batch_size": 8,
        "data.init_args.resize": 512,
        "model.tile": 512,
        "model.mode": "resize",
        "model.optimizer.class_path": "torch.optim.SGD",
        "model.optimizer.init_args": {
            "lr": 0.001,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 0.0001,
        },
        "model.scheduler.class_path": "microtome.training.schedules.Cosine",
        "model.scheduler.init_args.warmup": 0.02,  # 2 of 100 epochs
        "model.segmenter.init_args.head.class_path": "microtome.heads.upsampling.Upsampling",
        "model.segmenter.init_args.head.init_args.num_classes": 3,
        "model.segmenter.init_args.head.init_args.weights.dice": 1.0,
        f"{BACKBONE}.mode": "lora",
        f"{BACKBONE}.low_rank.rank": 16,
        f"{BACKBONE}.low_rank.alpha": 1.0,
        f"{BACKBONE}.low_rank.scale": "alpha",
        f"{BACKBONE}.vit.init_args": {"name": "uni_v1", "weights": "/path/to/pytorch_model.bin"},
        "trainer.max_epochs": 100,
        "trainer.accumulate_grad_batches": 1,
        "trainer.gradient_clip_val": 5.0,
        "trainer.precision": "bf16-mixed",
        "trainer.check_val_every_n_epoch": 1,
        "trainer.accelerator": "gpu",
        "trainer.devices": [0],
        "pictures": {"save_every": 2, "num_samples": 8},
    }.items():
        assert place(config, path) == value, path
    keys = OldKeys(old, KNOWN).values
    assert len(keys) == 35
    assert all(key in told for key in keys)  # carried over, or not and why
    window = config["data"]["init_args"]["transforms"][0]
    assert window["class_path"].endswith("RandomResizedCrop")
    assert window["init_args"]["share"] == [0.5, 1.0]  # of what was resized
    assert "system.pin_memory" in out.read_text()


def test_without_out_it_is_printed(capsys):
    assert main(["convert-config", "pfm", str(EXAMPLE)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == "pfm_segmentation"


def test_all_problems_are_told_at_once(old):
    wrong = changed(
        old,
        dataset__json_file=None,
        dataset__num_classes=4,
        dataset__ignore_index=0,
        system__device="tpu",
        system__num_worker=4,
        model__emb_dim=768,
        model__finetune_mode__type="lore",
        training__batch_size="eight",
        training__learning_rate=-1,
        training__optimizer__type="LBFGS",
        training__scheduler__warmup_epochs=100,
        training__augmentaion={"RandomResizedCropSize": 4},
        validation=5,
    )
    with pytest.raises(OldConfigError) as refused:
        convert(wrong)
    told = str(refused.value)
    for words in (
        "dataset.json_file: it is missing",
        "dataset.num_classes: 4 and model.num_classes: 3 differ",
        "system.device: expected cpu, cuda, cuda:0 or mps, got 'tpu'",
        "key 'system.num_worker' is not known; did you mean 'system.num_workers'?",
        "model.finetune_mode.type: expected one of full, frozen, lora, dora",
        "training.batch_size: expected a whole number from 1 on, got 'eight'",
        "training.learning_rate: expected a number from 0 on, got -1",
        "training.optimizer.type: expected one of sgd, adam, adamw, got 'LBFGS'",
        "training.scheduler.warmup_epochs: expected fewer epochs than training.epochs, 100",
        "key 'training.augmentaion' is not known",
        "validation: expected keys below it, got 5",
    ):
        assert words in told, told


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model__emb_dim": 768}, "model.emb_dim: 768 given, uni_v1 has 1024"),
        ({"model__pfm_name": "uni_v9"}, "no foundation model 'uni_v9'; did you mean"),
        ({"model__pfm_weights_path": None}, "`hub` fetches the published one"),
        ({"model__finetune_mode__type": None}, "model.finetune_mode.type: it is missing"),
        ({"dataset__ignore_index": 0}, '"ignore_index": 0 into /path/to/dataset.json first'),
    ],
)
def test_a_mistake_is_told_with_the_way_out(old, values, says):
    with pytest.raises(OldConfigError, match="cannot be converted") as refused:
        convert(changed(old, **values))
    assert says in str(refused.value)


def test_what_is_not_judged_may_stand_in_the_json_file(old, tmp_path):
    (tmp_path / "set.json").write_text(json.dumps({"num_classes": 3, "ignore_index": 0}))
    values = {"dataset__ignore_index": 0, "dataset__json_file": str(tmp_path / "set.json")}
    assert "dataset.ignore_index" in convert(changed(old, **values)).left


NAMES = """uni_v1 uni_v2 conch_v1 conch_v1_5 virchow_v1 virchow_v2 phikon phikon_v2 hoptimus_0
hoptimus_1 gigapath midnight12k kaiko-vitl14 lunit_vits8 musk patho3dmatrix-vision pathorchestra
PathOrchestra hibou_l"""


@pytest.mark.parametrize("name", NAMES.split())
def test_every_model_of_its_list_is_known(old, name):
    made = convert(changed(old, model__pfm_name=name, model__emb_dim=None))
    assert place(made.config, f"{BACKBONE}.vit.init_args.name") in entries()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_names_the_encoder_where_it_stands(old, mode, tmp_path):
    made = convert(changed(old, model__finetune_mode__type=mode))
    config = composed(made, tmp_path)
    depth = {"full": "", "cnn_adapter": ".vit.init_args.vit.init_args"}
    depth["transformer_adapter"] = depth["cnn_adapter"]
    vit = place(config, BACKBONE + depth.get(mode, ".vit.init_args"))
    assert vit["name"] == "uni_v1"
    if mode in ("lora", "dora", "frozen"):
        assert place(config, f"{BACKBONE}.mode") == mode
    assert ("model.finetune_mode.rank" in made.left) == (mode not in ("lora", "dora"))


def test_the_settings_of_the_transformer_adapter_are_carried_over(old, tmp_path):
    values = {"depth": 2, "mlp_ratio": 4.0, "drop_path_rate": 0.1, "init_values": 1e-5}
    given = changed(
        old, model__finetune_mode__type="transformer_adapter", model__transformer_adapter=values
    )
    told = place(composed(convert(given), tmp_path), BACKBONE)
    assert (told["depth"], told["drop_path"], told["layer_scale"]) == (2, 0.1, 1e-5)


def test_a_u_net_needs_nothing_of_a_foundation_model(old, tmp_path):
    given = changed(old, model={"pfm_name": "unet", "n_channels": 3, "num_classes": 3})
    config = composed(convert(given), tmp_path)
    assert "unet" in place(config, "model.segmenter.init_args.backbone.class_path")
    assert place(config, "model.segmenter.init_args.head.init_args.num_classes") == 3


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_has_a_file(old, kind):
    made = convert(changed(old, training__loss__type=kind))
    assert (PACKAGED / "loss" / f"{made.groups['loss']}.yaml").is_file()


def test_the_step_schedule_and_numbers_that_yaml_takes_for_words(old, tmp_path):
    scheduler = {"type": "step", "warmup_epochs": 0, "step_size": 30, "gamma": 0.5}
    values = {"training__scheduler": scheduler, "training__learning_rate": "1e-3"}
    config = composed(convert(changed(old, **values)), tmp_path)
    told = config["model"]["scheduler"]["init_args"]
    assert told == {"warmup": 0.0, "every": 0.3, "gamma": 0.5}
    assert config["model"]["optimizer"]["init_args"]["lr"] == 0.001


SCHEDULES = {  # what the old code takes, 100 epochs from 0.001 on
    "polynomial": ({"power": 0.8, "warmup_epochs": 5}, {"power": 0.8, "warmup": 0.05}),
    "multistep": ({"milestones": [60, 80, 120], "gamma": 0.5}, {"at": [0.6, 0.8], "gamma": 0.5}),
    "exponential": ({"gamma": 0.95}, {"final": pytest.approx(0.95**100)}),
    "reduce_on_plateau": ({"factor": 0.5, "patience": 10}, {"gamma": 0.5, "patience": 10}),
    "one_cycle": (
        {"max_lr": 0.1, "pct_start": 0.2, "div_factor": 25.0, "final_div_factor": 1e4},
        {"warmup": 0.2, "start": 0.04, "final": 1e-4},
    ),
    "cyclic": (
        {"base_lr": 0.001, "max_lr": 0.005, "step_size_up": 10, "mode": "triangular2"},
        {"low": pytest.approx(0.2), "period": 0.2, "shrink": 0.5},
    ),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_that_its_code_has_are_carried_over(old, tmp_path, kind):
    given, wanted = SCHEDULES[kind]
    made = convert(changed(old, training__scheduler={"type": kind, **given}))
    config = composed(made, tmp_path)
    told = config["model"]["scheduler"]["init_args"]
    assert {key: told[key] for key in wanted} == wanted
    assert made.groups["scheduler"] == RULES[kind][0]
    assert config["model"]["optimizer"]["init_args"]["lr"] == given.get("max_lr", 0.001)
    assert (PACKAGED / "scheduler" / f"{made.groups['scheduler']}.yaml").is_file()


def test_keys_of_other_schedules_are_listed_and_impossible_ones_refused(old):
    scheduler = {"type": "cyclic", "mode": "exp_range", "step_size_up": 50, "T_max": 9, "power": 1}
    with pytest.raises(OldConfigError, match="cannot be converted") as refused:
        convert(changed(old, training__scheduler=scheduler))
    assert "mode: expected one of triangular, triangular2, got 'exp_range'" in str(refused.value)
    assert "step_size_up: expected fewer epochs than training.epochs, 100" in str(refused.value)
    scheduler |= {"mode": "triangular", "step_size_up": 5}
    left = convert(changed(old, training__scheduler=scheduler)).left
    assert left["training.scheduler.power"] == "cyclic has no such thing"
    assert "where the run does" in left["training.scheduler.T_max"]


def test_settings_of_losses_and_optimisers_are_carried_over(old, tmp_path):
    given = changed(
        old,
        training__loss={"type": "ohem", "ohem_thresh": 0.5, "ohem_min_kept": 9, "dice_smooth": 1},
        training__optimizer={"type": "Adam", "betas": [0.8, 0.99], "eps": 1e-6, "nesterov": True},
    )
    made = convert(given)
    config = composed(made, tmp_path)
    head = config["model"]["segmenter"]["init_args"]["head"]["init_args"]
    assert head["options"] == {"ohem": {"fraction": 0.5, "least": 9}}
    steps = config["model"]["optimizer"]["init_args"]
    assert (steps["betas"], steps["eps"], steps["weight_decay"]) == ([0.8, 0.99], 1e-6, 1e-4)
    assert made.left["training.optimizer.nesterov"] == "only SGD has it"
    assert made.left["training.loss.dice_smooth"] == "of dice only, not of ohem"
    weighed = changed(old, training__loss={"type": "ce", "class_weights": [1, 2, 3]})
    head = composed(convert(weighed), tmp_path)["model"]["segmenter"]["init_args"]["head"]
    assert head["init_args"]["class_weights"] == [1, 2, 3]
    with pytest.raises(OldConfigError, match=r"weight_decay: 0.0001 and .*weight_decay: 0.01 diff"):
        convert(changed(old, training__optimizer__weight_decay=0.01))


def test_what_an_old_file_does_not_say_is_as_microtome_has_it(old, tmp_path):
    short = {k: old[k] for k in ("dataset", "model")} | {"training": {"epochs": 3}}
    made = convert(short)
    assert made.groups | {"model/backbone": ""} == {**GROUPS, "model/backbone": ""}
    assert composed(made, tmp_path)["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.yaml"], "nowhere.yaml"),
        ([str(EXAMPLE), "--out", "new.yml"], "ends with .yaml"),
        ([str(EXAMPLE), "--out", str(EXAMPLE)], "it is there already"),
    ],
)
def test_it_refuses_before_anything_is_written(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert-config", "pfm", *words]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
