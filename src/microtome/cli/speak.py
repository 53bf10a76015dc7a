"""What verbs say on the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..evaluation import format_object_table, format_table
from ..structures import Classes


def speak() -> None:
    """Show the log on the terminal: what happens on stdout, warnings marked."""
    log = logging.getLogger("microtome")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not any(isinstance(h, _Stdout) for h in log.handlers):
        handler = _Stdout()
        handler.setFormatter(_Plain())
        log.addHandler(handler)


class _Stdout(logging.Handler):
    """Writes to the stdout of the moment: a progress bar puts its own there, to stay below."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        print(self.format(record), flush=True)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        mark = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return mark + record.getMessage()


def print_metrics(metrics: Mapping[str, float], classes: Classes) -> None:
    """Print the table of metrics, whatever prefix they were logged under."""
    bare = {k.removeprefix("val/"): v for k, v in metrics.items()}
    print(format_object_table(bare, classes) if "pq" in bare else format_table(bare, classes))
    if "loss" in bare:
        print(f"loss {bare['loss']:.4f}")


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A progress bar on a terminal; silence elsewhere."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield bar
