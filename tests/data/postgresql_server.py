"""A PostgreSQL of its own on the loopback device, for as long as tests run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "secret"


@contextmanager
def running():
    """Yield the URL of an empty server, its password in $PGPASSWORD; skip where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="microtome-pg-", dir="/tmp"))
    who = _someone(folder)
    (folder / "password").write_text(PASSWORD)
    data, port = folder / "data", _free_port()
    initialise = [programs / "initdb", "-D", data, "-U", "tester", "--encoding=UTF8"]
    initialise += ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--locale=C.UTF-8"]
    settings = {"listen_addresses": "127.0.0.1", "port": port, "fsync": "off"}
    settings |= {"unix_socket_directories": "", "timezone": "America/Los_Angeles"}
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    subprocess.run(initialise, check=True, capture_output=True, cwd=folder, **who)
    command = [programs / "postgres", "-D", data, *options]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
    try:
        _wait(server, folder / "log")
        yield f"postgresql://tester:$PGPASSWORD@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """The newest installation: on the path, or where Debian has it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: len(p.parts))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _someone(folder: Path) -> dict:
    """PostgreSQL refuses root, so the folder is handed to another user."""
    if os.getuid() != 0:
        return {}
    shutil.chown(folder, "postgres", "postgres")
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(server, log: Path) -> None:
    """Its own words: pg8000 leaves sockets open when it is refused while a server starts."""
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        if "database system is ready to accept connections" in log.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text())
