"""Starts tollgate on free ports of the loopback address, for the scripts in the folders beside this file."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent


def binary():
    """The program to test: $TOLLGATE, else the debug build of this checkout."""
    if os.environ.get("TOLLGATE"):
        return pathlib.Path(os.environ["TOLLGATE"])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "debug" / "tollgate"


def free_ports(count):
    """Ports that nobody listens on now, each another one."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(what, holds, seconds=10.0):
    """Asks `holds` until it answers something true, and gives that back."""
    end = time.monotonic() + seconds
    while True:
        answer = holds()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)


def status_of(url, timeout=5.0):
    """The HTTP status of a GET, or None where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


class Daemon:
    """`tollgate serve` on a file that begins with the ports; ends with the `with` block."""

    def __init__(self, routes, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="tollgate-")
        self.port, self.admin_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.file = pathlib.Path(self.folder.name) / "routes.yaml"
        self.log = pathlib.Path(self.folder.name) / "log"
        self.environment = {**os.environ, **(environment or {})}
        self.write(routes)

    def write(self, routes):
        listen = f"listen: 127.0.0.1:{self.port}, admin: 127.0.0.1:{self.admin_port}"
        self.file.write_text(f"version: 1\nserver: {{ {listen} }}\n{routes}")

    def __enter__(self):
        state = pathlib.Path(self.folder.name) / "state"
        command = [str(binary()), "serve", "--config", str(self.file), "--state", str(state)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"tollgate ended with {self.process.returncode}:\n{self.log.read_text()}")
            return status_of(f"{self.url}/readyz") == 200

        try:
            wait_until("tollgate is ready", ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.folder.cleanup()
