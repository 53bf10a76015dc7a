"""What a converted config is made of, and how it is written."""

from __future__ import annotations

from typing import Any, NamedTuple

ORDER = ("name", "runs", "seed", "data", "model", "trainer", "pictures")


class OldConfigError(ValueError):
    """A config that cannot be converted; the message lists everything that is wrong."""


class Converted(NamedTuple):
    """A config in our words.

    Attributes:
        groups: the `defaults:`, each group's option.
        config: what is set besides, as YAML has it.
        became: for each old key that was carried over, where it stands now.
        left: for each that was not, why.
    """

    groups: dict[str, str]
    config: dict[str, Any]
    became: dict[str, str]
    left: dict[str, str]

    def put(self, old: str, ours: str, value: Any) -> None:
        """Set a key, given with dots."""
        self.add(ours, value)
        self.became[old] = ", ".join(filter(None, (self.became.get(old), ours)))

    def add(self, ours: str, value: Any) -> None:
        """Set a key that no old one stands for."""
        *parents, last = ours.split(".")
        place = self.config
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value

    def choose(self, old: str, group: str, option: str) -> None:
        """Choose the option of a group."""
        self.groups[group] = option
        self.became[old] = f"{group}={option}"

    def text(self, source: str) -> str:
        """The experiment file, saying what it was made of and what is not in it."""
        import yaml

        left = [f"#   {key}: {why}" for key, why in self.left.items()]
        head = [f"# Converted from {source}.", *(["# Not carried over:", *left] if left else [])]
        top = [f"/{name}" for name in self.groups if "/" not in name]
        below = [f"override /{name}" for name in self.groups if "/" in name]
        chosen = [f"  - {name}: {self.groups[name.rpartition(' ')[2][1:]]}" for name in top + below]
        ordered = {key: self.config[key] for key in ORDER if key in self.config}
        body = yaml.safe_dump(ordered, sort_keys=False, width=100)
        return "\n".join([*head, "defaults:", *chosen, "  - _self_", "", body])
