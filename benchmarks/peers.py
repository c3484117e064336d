"""Environments for what ours is compared with: installed by the bench itself, away from our own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment(*packages: str) -> Path:
    """The folder of programs of an environment that holds just these packages, each pinned; made once.

    Raises:
        subprocess.CalledProcessError: a package can't be installed; what the installer said was printed.
    """
    name = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:12]
    folder = ROOT / ".lastgood" / "peers" / name
    if not (folder / "ready").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder / "bin" / "python")]
        subprocess.run([*install, *packages], check=True)
        (folder / "ready").touch()
    return folder / "bin"
