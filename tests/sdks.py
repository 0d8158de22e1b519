"""Packages in pinned versions, the official SDKs among them, installed below the user's cache folder."""

import os
import pathlib
import shutil
import subprocess
import venv

PINS = pathlib.Path(__file__).resolve().parent / "sdk"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tollgate-ci"


def environment(name, requirements):
    """A virtual environment with exactly the packages of a requirements file."""
    wanted, folder = requirements.read_text(), CACHE / name
    mark = folder / "installed.txt"
    if not mark.exists() or mark.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        command = [folder / "bin" / "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*command, "-r", requirements], check=True)
        mark.write_text(wanted)
    return folder


def python_with_sdk():
    return environment("sdk-python", PINS / "requirements.txt") / "bin" / "python"


def python_with_anthropic():
    return environment("sdk-anthropic", PINS / "requirements-anthropic.txt") / "bin" / "python"


def python_with_clients():
    return environment("sdk-clients", PINS / "requirements-clients.txt") / "bin" / "python"


def node_with_sdk(program):
    return node_with(PINS, program)


def node_with(pins, program):
    """A copy of a Node program beside the packages of a folder's lock file, where its imports are found."""
    return pathlib.Path(shutil.copy(program, node_packages(pins).parent / program.name))


def node_packages(pins):
    """The `node_modules` of a folder's lock file."""
    folder = CACHE / f"{pins.name}-node"
    folder.mkdir(parents=True, exist_ok=True)
    lock, installed = pins / "package-lock.json", folder / "node_modules" / "installed.json"
    if not installed.exists() or installed.read_text() != lock.read_text():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(pins / name, folder / name)
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
        installed.write_text(lock.read_text())
    return installed.parent
