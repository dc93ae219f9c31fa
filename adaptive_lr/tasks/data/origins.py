"""Where original files come from: packages, by their ordinary clients, and official downloads."""

from __future__ import annotations

import http.client
import importlib.machinery
import os
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data import clients, inert_build
from adaptive_lr.tasks.data.declaration import Progress

SECONDS = 15
"""A connection on which nothing comes for so long is given up."""

RETRIES = 1
"""How often a client asks again; with none, pip does not say that it reached nobody."""

_CHUNK = 1 << 18


@dataclass(frozen=True)
class Debian:
    """A package of Debian and of what is made from it; no version, since each release has one, and the content is checked.

    Attributes:
        package: its name.
        bytes: the size of the package, in Debian 12.
        installed: where its files are if it is installed.
    """

    package: str
    bytes: int
    installed: str | None = None

    @property
    def label(self) -> str:
        """See the protocol."""
        return f"Debian package {self.package}"

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download it as any user may, and unpack it there; nothing is installed. If it is installed already, copy its files."""
        if self.installed is not None and (path := Path(self.installed)).exists():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
            return
        apt, unpack = (clients.installed(program, "Debian and Ubuntu") for program in ("apt-get", "dpkg-deb"))
        options = [
            "-q",
            "-o",
            f"Acquire::Retries={RETRIES}",
            *(f"-oAcquire::{scheme}::Timeout={SECONDS}" for scheme in ("http", "https")),
        ]
        if os.geteuid() == 0:
            options.append("-oAPT::Sandbox::User=root")  # else apt's own user, who may not write here
        try:
            clients.run([apt, *options, "download", self.package], folder, progress=progress)
        except clients.UnknownPackageError:
            self._with_own_lists([apt, *options], folder, progress)
        for package in folder.glob("*.deb"):
            clients.run([unpack, "-x", package.name, "."], folder, progress=_nobody)
            package.unlink()

    def _with_own_lists(self, apt: list[str], folder: Path, progress: Progress) -> None:
        """Once more with lists of packages in the folder: the system's are old, or were deleted to make an image smaller.

        Raises:
            DataError: there is no network.
            UnknownPackageError: this system has no such package.
        """
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / "apt" / name).mkdir(parents=True)
        apt = [*apt, f"-oDir::State::Lists={folder}/apt/lists", f"-oDir::Cache={folder}/apt/cache"]
        said = clients.run([*apt, "update"], folder, progress=_nobody)  # succeeds whatever it could not reach
        try:
            clients.run([*apt, "download", self.package], folder, progress=progress)
        except clients.UnknownPackageError:
            if clients.has_no_network(said):
                raise DataError("apt-get has no network") from None
            raise
        shutil.rmtree(folder / "apt")


@dataclass(frozen=True)
class Npm:
    """A package of npm: it is packed into one archive, no script in it is run.

    Attributes:
        package: its name.
        version: pinned.
        bytes: the size of the archive.
    """

    package: str
    version: str
    bytes: int

    @property
    def label(self) -> str:
        """See the protocol."""
        return f"npm package {self.package} {self.version}"

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download the archive."""
        npm = clients.installed("npm", "Node.js")
        cache = folder / ".npm"
        options = [
            "--ignore-scripts",
            "--no-update-notifier",
            "--loglevel=error",
            f"--cache={cache}",
            f"--fetch-retries={RETRIES}",
            "--fetch-retry-mintimeout=1000",
            "--fetch-timeout=60000",
        ]
        clients.run([npm, "pack", f"{self.package}@{self.version}", *options], folder, progress=progress)
        shutil.rmtree(cache, ignore_errors=True)


def has_pip() -> bool:
    """Whether this Python has pip.

    Not by `importlib.util.find_spec`: setuptools watches for whoever looks for pip, and could not be imported afterwards, as compilers need it.
    """
    return importlib.machinery.PathFinder.find_spec("pip") is not None


@dataclass(frozen=True)
class PyPI:
    """A wheel or an sdist, which is read and never installed; no code in it is run.

    Attributes:
        package: its name.
        version: pinned.
        sha256: of the file, checked by pip before it is opened.
        bytes: the size of the file.
    """

    package: str
    version: str
    sha256: str
    bytes: int

    @property
    def label(self) -> str:
        """See the protocol."""
        return f"PyPI package {self.package} {self.version}"

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download the file."""
        pip = [sys.executable, "-m", "pip"] if has_pip() else [clients.installed("pip", "Python: python -m ensurepip")]
        (folder / "build/setuptools").mkdir(parents=True)
        (folder / "build/setuptools/__init__.py").touch()
        shutil.copyfile(inert_build.__file__, folder / "build/setuptools/build_meta.py")
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n")
        options = [
            "--no-deps",
            "--require-hashes",
            "--no-build-isolation",
            "--use-pep517",
            "--no-cache-dir",
            "--progress-bar=off",
        ]
        options += [
            "--disable-pip-version-check",
            "--no-input",
            f"--retries={RETRIES}",
            f"--timeout={SECONDS}",
            "--dest=.",
            "-r",
            wanted.name,
        ]
        path = os.pathsep.join(filter(None, [str(folder / "build"), os.environ.get("PYTHONPATH")]))
        clients.run([*pip, "download", *options], folder, progress=progress, environment={"PYTHONPATH": path})
        shutil.rmtree(folder / "build")
        wanted.unlink()


@dataclass(frozen=True)
class Download:
    """Files from where their author has put them.

    Attributes:
        address: of the folder that they are in.
        names: the files.
        bytes: the size of all.
    """

    address: str
    names: tuple[str, ...]
    bytes: int

    @property
    def label(self) -> str:
        """See the protocol."""
        return self.address

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download the files one after the other; that they are the right ones is seen when they are decoded."""
        before = 0
        for name in self.names:
            before += _download(f"{self.address}/{name}", folder / name, before, progress)


def _download(address: str, path: Path, before: int, progress: Progress) -> int:
    """The number of bytes that came.

    Raises:
        DataError: there is no network, or no such file, or it came to an end too early.
    """
    count = 0
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as response, path.open("wb") as file:
            announced = response.headers.get("Content-Length")
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                count += len(chunk)
                progress(before + count)
    except urllib.error.HTTPError as error:
        raise DataError(f"it answers {error.code} {error.reason} for {path.name}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(f"no network ({getattr(error, 'reason', None) or error})") from None
    if announced is not None and count != int(announced):
        raise DataError(f"{path.name} was cut: {count} bytes came, {announced} were announced")
    return count


def _nobody(count: int) -> None:
    """Progress that nobody wants to know."""
