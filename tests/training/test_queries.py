"""A head with fewer queries than the data has objects is warned of, before it is trained."""

import logging
import re

import pytest
import yaml

from microtome.cli import main
from microtome.data.proposals import enough_queries
from microtome.data.report import Report
from microtome.data.split_report import SplitReport
from microtome.training.queries import too_few_queries
from microtome.training.run import run
from small_runs import tiny_config

MASKS = "microtome.heads.mask2former.Mask2Former"
SMALL = {"hidden": 32, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 4, "num_points": 64}


def config(class_path=MASKS, **options):
    head = {"class_path": class_path, "init_args": options}
    return {"model": {"segmenter": {"init_args": {"head": head}}}}


def report(*objects, crowd=None, names=("background", "gland")):
    split = SplitReport(len(objects), len(objects), None, None, (), (), (), (), objects, crowd)
    return Report((), (), {"train": split}, names, (), (), "")


@pytest.mark.parametrize(
    "options, found, said",
    [
        ({"task": "instance"}, report(7, 101), "101 objects .* 100 queries.*num_queries=150"),
        ({"task": "instance"}, report(7, 100), None),
        ({"task": "instance"}, report(7, 101, crowd=60), None),
        ({"task": "instance", "num_queries": 4}, report(2, 9, crowd=5), "5 objects .* 4 queries"),
        ({}, report(7, 101), None),
        ({"num_queries": 1}, report(7), None),
    ],
)
def test_queries_against_objects(options, found, said):
    told = too_few_queries(config(**options), found)
    assert re.search(said, told) if said else told == ""


@pytest.mark.parametrize(
    "other", [{}, {"model": None}, config("microtome.heads.dense.Dense"), config("no.such.Head")]
)
def test_other_heads_have_no_queries(other):
    assert too_few_queries(other, report(1000)) == ""


@pytest.mark.parametrize("objects, queries", [(1, 100), (80, 100), (81, 150), (1000, 1250)])
def test_a_quarter_more_are_proposed(objects, queries):
    assert enough_queries(objects) == queries


def test_fit_and_inspect_warn(tissue, tmp_path, caplog, capsys):
    settings = tiny_config(tissue, tmp_path / "runs", fast_dev_run=True)
    segmenter = settings["model"]["segmenter"]["init_args"]
    options = {"task": "instance", "num_queries": 1, **SMALL}
    segmenter["head"] = {"class_path": MASKS, "init_args": options}
    settings["data"]["init_args"]["crop"] = 64
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    assert main(["inspect", str(tmp_path / "mine.yaml")]) == 0
    told = capsys.readouterr().out
    assert "objects in one training crop: heads of queries want `num_queries: 100`" in told
    assert "warning: up to" in told and "the head has 1 queries" in told
    with caplog.at_level(logging.WARNING, logger="microtome"):
        run("fit", settings)
    assert any("the head has 1 queries" in r.message for r in caplog.records)
