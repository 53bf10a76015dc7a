"""`--config FILE group=option a.b=c` to one plain dictionary. Hydra's only appearance; no torch.

A file with a `defaults:` list is composed from config groups: those beside it, then the packaged
ones. Any other file is taken as it stands. `a.b=c` sets or adds a key in either.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

PACKAGED = Path(__file__).resolve().parent.parent / "configs"
MARK = ".microtome-configs"  # stands in the root folder of a tree of config groups
OVERRIDE = re.compile(r"^(\+\+?|~)?[A-Za-z_][\w/.@]*(=|$)")


class ComposeError(Exception):
    """A file, group, override or YAML that cannot be composed."""


def compose(config: str | Path, overrides: list[str]) -> dict[str, Any]:
    """Return the composed config as plain data.

    Args:
        config: a path, or the name of a packaged file (`demo`, `experiment/demo.yaml`, …).
        overrides: `group=option`, `a.b=value`, `~a.b`.

    Raises:
        ComposeError: nothing found, or not composable; the message says what there is.
    """
    path = find(config)
    raw = read(path)
    if "defaults" not in raw and not overrides:
        return raw
    hidden = [o for o in overrides if _is_hidden(o, path)]
    told = [_quoted(_addressed(o, path)) for o in overrides if o not in hidden]
    composed = _composed(path, told)
    set_here = (o.partition("=") for o in hidden)
    return composed | {key: _value(text) for key, _, text in set_here}


def find(config: str | Path) -> Path:
    """Return the file that a name means: a path first, then a packaged file."""
    given = Path(config)
    if given.is_file():
        return given.resolve()
    bare = str(given).removesuffix(".yaml").removeprefix("configs/").removeprefix("experiment/")
    packaged = PACKAGED / "experiment" / f"{bare}.yaml"
    if packaged.is_file():
        return packaged
    names = ", ".join(sorted(p.stem for p in (PACKAGED / "experiment").glob("*.yaml")))
    raise ComposeError(f"{config}: no such file, nor a packaged config; those are: {names}")


def is_override(word: str) -> bool:
    """Whether a word of the command line is an override rather than an option."""
    return (
        not word.startswith("-")
        and OVERRIDE.match(word) is not None
        and ("=" in word or word.startswith("~"))
    )


def read(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file; raises ComposeError for anything else."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ComposeError(_not_yaml(path, error)) from error
    if not isinstance(raw, dict):
        raise ComposeError(f"{path}: expected keys and values, got {type(raw).__name__}")
    return raw


def _composed(path: Path, overrides: list[str]) -> dict[str, Any]:
    from hydra import compose as compose_groups
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    root = _root(path)
    search = [] if root == PACKAGED else [f"hydra.searchpath=[file://{PACKAGED}]"]
    name = path.relative_to(root).with_suffix("").as_posix()
    try:
        with initialize_config_dir(str(root), version_base="1.3", job_name="microtome"):
            composed = compose_groups(name, overrides=[*search, *overrides])
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ComposeError(_in_words(path, error)) from error
    except YAMLError as error:  # of a group's file, or of one that is inherited
        raise ComposeError(_not_yaml(path, error)) from error
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}


def _not_yaml(path: Path, error: Exception) -> str:
    """What PyYAML says, and the way out of its commonest cause."""
    mark = getattr(error, "problem_mark", None)
    place = path if mark is None or not Path(mark.name).is_file() else mark.name
    told = f"{place}: not valid YAML: {error}"
    line = Path(place).read_text(errors="replace").splitlines()[mark.line] if mark else ""
    unquoted = re.search(r"""[^"']\?\?\?""", line)
    return told + ('\nwithin { } and [ ] it is written "???", with quotes' if unquoted else "")


def _in_words(path: Path, error: Exception) -> str:
    """Hydra's message without its search path, and the way out of a missing value."""
    from hydra.errors import OverrideParseException
    from omegaconf.errors import MissingMandatoryValue

    if isinstance(error, OverrideParseException):
        word = error.override.removeprefix("++")
        return f"{word}: expected a value as {{depth: 2, name: vit}} or [1, 2]: no quotes at keys"

    if isinstance(error, MissingMandatoryValue):
        key = str(getattr(error, "full_key", ""))
        return f"{path.name}: {key} has no value; give it: {key}=…"
    lines = str(error).splitlines()
    extra = ("Config search path", "Set the environment", "See https", "To append to your default")
    told = [line for line in itertools.takewhile(lambda s: not s.startswith(extra), lines) if line]
    if missing := re.match(r"Could not override '(.+)'\.\sNo match", str(error)):
        told = [f"its `defaults:` have no {missing[1]}; add `- /{missing[1]}: OPTION` to them"]
    if "Cannot merge" in str(error.__cause__):
        told.append("one of the two is a list, the other a mapping: write it as the file does")
    return f"{path.name}: " + "\n  ".join(told)


def _root(path: Path) -> Path:
    return next((p for p in path.parents if (p / MARK).exists()), path.parent)


def _addressed(override: str, path: Path) -> str:
    """Let `a.b=c` add a key that no file mentions; whether it exists is the checker's to say."""
    if override[0] in "+~":
        return override
    return override if _is_group(_key(override), path) else f"++{override}"


def _quoted(override: str) -> str:
    """Put quotes around a value that Hydra would refuse, or take for several, such as a path."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    key, _, value = override.partition("=")
    try:
        (parsed,) = OverridesParser.create().parse_overrides([override])
        plain = not parsed.is_sweep_override()
    except OverrideParseException:
        plain = value.startswith(("[", "{", "'", '"'))  # meant for Hydra, which tells of it
    inside = value.replace("'", "\\'")
    return override if plain else f"{key}='{inside}'"


def _key(override: str) -> str:
    return override.partition("=")[0].partition("@")[0].strip("/")


def _is_group(key: str, path: Path) -> bool:
    return any(any((root / key).glob("*.yaml")) for root in (_root(path), PACKAGED))


def _is_hidden(override: str, path: Path) -> bool:
    """Whether a folder beside the file, such as `runs`, has Hydra take a key for a group."""
    key = _key(override)
    return key.isidentifier() and (_root(path) / key).is_dir() and not _is_group(key, path)


def _value(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ComposeError(f"{text}: not valid YAML: {error}") from error
