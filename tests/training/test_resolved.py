"""One config, however it is written: groups, in full, by either name of the option."""

import re

import pytest
import yaml

from microtome.cli import main
from microtome.cli.compose import PACKAGED, ComposeError, compose
from microtome.training.parser import make_parser, parse, plain

NAMES = sorted(path.stem for path in (PACKAGED / "experiment").glob("*.yaml"))


def composed_with_any(name):
    """A packaged file; what it leaves to the user gets any value."""
    words = ["trainer.max_epochs=7"]
    while True:
        try:
            return compose(name, words)
        except ComposeError as error:
            missing = re.search(r"give it: (\S+)=", str(error))
            assert missing, error
            words.append(f"{missing[1]}=any")


def resolved(config):
    parser = make_parser()
    return plain(parser, parse(parser, config))


@pytest.mark.parametrize("name", NAMES)
def test_groups_and_the_plain_file_resolve_alike(name, tmp_path):
    """A file with `defaults:`, the same written in full, and what a run writes down."""
    composed = composed_with_any(name)
    file = tmp_path / "full.yaml"
    file.write_text(yaml.safe_dump(composed))
    ours = resolved(composed)
    assert "defaults" not in ours and ours["trainer"]["max_epochs"] == 7
    assert resolved(compose(file, [])) == ours
    assert resolved(ours) == ours


def test_both_names_of_the_option_print_the_same(capsys):
    printed = []
    for option in ("--config", "--config-name"):
        with pytest.raises(SystemExit) as ended:
            main(["fit", option, "demo", "trainer.max_epochs=7", "--print_config"])
        assert ended.value.code == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "max_epochs: 7" in printed[0]
