"""One running Space for all tests of this folder: `python spaces_demo/app.py` in a process of its own, as a user starts it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

SPACE = Path(__file__).resolve().parents[2] / "spaces_demo"
START_SECONDS = 240  # on a busy machine
sys.path.insert(0, str(SPACE))


@pytest.fixture(scope="session", autouse=True)
def _ordinary_scheduling() -> None:
    """Server and browser inherit how this process is scheduled. In real time, a browser's spinning threads stop everything."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def space_url(tmp_path_factory) -> Iterator[str]:
    """Address of the page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("space") / "log.txt"
    with log.open("w") as sink:
        command = [sys.executable, str(SPACE / "app.py"), "--port", str(port)]
        server = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait_for(url, server, log)
        yield url
        assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, f"the Space stopped: {log.read_text()[-3000:]}"
        try:
            urllib.request.urlopen(url, timeout=5).read()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"the Space did not start: {log.read_text()[-3000:]}")
