"""What the scripts that run one client by itself share: its packages, and servers that end with the script."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

CACHE = pathlib.Path(os.environ.get("EPITOME_CLIENTS", pathlib.Path.home() / ".cache" / "epitome-clients"))
# A proxy of the environment is not for the loopback.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def packages(folder: str, *names: str) -> None:
    """Goes on in a virtual environment of the cache that has these packages."""
    root = CACHE / folder
    python = root / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == root.resolve():
        return
    stamp = root / "installed.txt"
    have = set(stamp.read_text().split()) if stamp.exists() else set()
    if not set(names) <= have:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", root], check=True)
        wanted = sorted(have | set(names))
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    os.execv(python, [str(python), *sys.argv])


def port() -> int:
    """A free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def server(words, probe: str, log: pathlib.Path, env=None, patience: float = 300):
    """Runs a server until the block ends; enters it once `probe` answers, other than that it is not ready (503)."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in words], stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env
        )
        try:
            until = time.monotonic() + patience
            while True:
                try:
                    with urllib.request.urlopen(probe, timeout=5):
                        break
                except urllib.error.HTTPError as error:
                    if error.code != 503:
                        break
                except OSError:
                    pass
                if process.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{words[0]} did not start:\n{log.read_text(errors='replace')[-4000:]}")
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
