"""Whether a head of queries has enough of them for what the data holds."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from ..data.proposals import enough_queries
from ..data.report import Report

_HEAD = "model.segmenter.init_args.head"


def too_few_queries(config: Mapping[str, Any], report: Report) -> str:
    """Say that a config's head has fewer queries than one crop can hold objects; else "".

    In a semantic task a query is for a class of the image, of which there are few.
    """
    options = _options(config)
    count, most = options.get("num_queries"), report.most_objects
    if count is None or count >= most or options.get("task") == "semantic":
        return ""
    return (
        f"up to {most} objects are seen at once, but the head has {count} queries, so that the "
        f"others are never found: {_HEAD}.init_args.num_queries={enough_queries(most)}"
    )


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The head's arguments, those that are not given by their defaults."""
    head: Any = config
    for key in _HEAD.split("."):
        head = head.get(key) if isinstance(head, Mapping) else None
    if not isinstance(head, Mapping) or "class_path" not in head:
        return {}
    module, _, name = str(head["class_path"]).rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):  # what builds the model tells it better
        return {}
    defaults = {n: p.default for n, p in inspect.signature(made).parameters.items()}
    return {**defaults, **(head.get("init_args") or {})}
