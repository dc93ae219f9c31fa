"""The real clients, with packages on this machine; nothing here needs a network."""

import base64
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data import clients, inert_build, origins
from adaptive_lr.tasks.data.formats.files import Files
from adaptive_lr.tasks.data.origins import Debian, Npm, PyPI
from adaptive_lr.tasks.data.resolver import is_here, read
from tests.tasks.data.made import ORIGINALS, Server, serving, tarball, toy, write, zipped
from tests.tasks.data.test_resolver import Forked, is_right, left, wait_for

pytestmark = pytest.mark.usefixtures("no_proxy")

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
needs_apt = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="apt-get or dpkg-deb is not installed"
)

SETUP = """
import pathlib
pathlib.Path({path!r}).touch()
raise SystemExit("setup.py was run")
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which pip looks for packages."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(packages: Path) -> PyPI:
    about = "Metadata-Version: 2.1\nName: toyset\nVersion: 1.0\n"
    files = {f"toyset/data/{name}": content for name, content in ORIGINALS.items()} | {
        "toyset-1.0.dist-info/METADATA": about.encode(),
        "toyset-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "toyset-1.0.dist-info/RECORD": b"",
    }
    content = zipped(files)
    write(packages, {"toyset-1.0-py3-none-any.whl": content})
    return PyPI("toyset", "1.0", sha256(content), len(content))


def sdist(packages: Path, ran: Path) -> PyPI:
    files = {f"toyset-1.0/data/{name}": content for name, content in ORIGINALS.items()} | {
        "toyset-1.0/PKG-INFO": b"Metadata-Version: 1.0\nName: toyset\nVersion: 1.0\nSummary: no\xc3\xbcn\n",
        "toyset-1.0/setup.py": SETUP.format(path=str(ran)).encode(),
    }
    content = tarball(files)
    write(packages, {"toyset-1.0.tar.gz": content})
    return PyPI("toyset", "1.0", sha256(content), len(content))


@pytest.mark.slow
def test_pip_brings_a_wheel(cache: Path, packages: Path) -> None:
    assert is_right(read(toy(wheel(packages))))
    assert left(cache) == ["toy"]


def test_pip_brings_an_sdist_and_runs_nothing_of_it(cache: Path, packages: Path, tmp_path: Path) -> None:
    assert is_right(read(toy(sdist(packages, tmp_path / "ran"))))
    assert not (tmp_path / "ran").exists()
    assert left(cache) == ["toy"]


@pytest.mark.slow
def test_a_file_with_another_checksum_is_not_opened(cache: Path, packages: Path, tmp_path: Path) -> None:
    right = sdist(packages, tmp_path / "ran")
    wrong = PyPI("toyset", "1.0", "0" * 64, 1)
    message = rf"PyPI package toyset 1\.0: pip was sent a file with SHA-256 {right.sha256}, expected 0{{64}}\)"
    with pytest.raises(DataError, match=message):
        read(toy(wrong))
    assert not (tmp_path / "ran").exists()
    assert left(cache) == []


@pytest.mark.slow
def test_pip_without_the_package_says_so(cache: Path, packages: Path) -> None:
    with pytest.raises(DataError, match=r"toyset 1\.0: pip does not know the package\)"):
        read(toy(PyPI("toyset", "1.0", "0" * 64, 1)))


@pytest.mark.slow
def test_pip_without_a_network_says_so(cache: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # where nobody listens
    with pytest.raises(DataError, match=r"toyset 1\.0: pip has no network\)"):
        read(toy(PyPI("toyset", "1.0", "0" * 64, 1)))


def test_pip_that_is_not_installed_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"pip is not installed here \(it comes with Python: python -m ensurepip\)"):
        read(toy(PyPI("toyset", "1.0", "0" * 64, 1)))


def test_setuptools_can_be_imported_after_pip_was_looked_for() -> None:
    code = "from adaptive_lr.tasks.data.origins import has_pip; print(has_pip()); import setuptools"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_inert_back_end_says_what_the_sdist_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(
        write(tmp_path / "sdist", {"PKG-INFO": b"Metadata-Version: 1.0\nName: x\nVersion: 2\n\nName: y\n"})
    )
    assert inert_build.get_requires_for_build_wheel() == []
    assert inert_build.prepare_metadata_for_build_wheel(str(tmp_path / "about")) == "x-2.dist-info"
    assert (tmp_path / "about/x-2.dist-info/METADATA").read_text() == "Metadata-Version: 2.1\nName: x\nVersion: 2\n"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A registry of npm with one package."""
    script = json.dumps({"prepack": "touch ran", "prepare": "touch ran", "postinstall": "touch ran"})
    about = f'{{"name": "@toy/set", "version": "1.0.0", "scripts": {script}}}'
    files = {f"package/data/{name}": content for name, content in ORIGINALS.items()}
    content = tarball(files | {"package/package.json": about.encode()})
    with serving({"set-1.0.0.tgz": content}) as server:
        integrity = f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
        version = {"name": "@toy/set", "version": "1.0.0"}
        version |= {"dist": {"tarball": f"{server.address}/set-1.0.0.tgz", "integrity": integrity}}  # type: ignore[dict-item]
        listed = {"name": "@toy/set", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        server.files["@toy%2fset"] = json.dumps(listed).encode()
        monkeypatch.setenv("npm_config_registry", server.address)
        monkeypatch.setenv("npm_config_userconfig", os.devnull)
        yield server


@needs_npm
def test_npm_brings_an_archive(cache: Path, registry: Server) -> None:
    assert is_right(read(toy(Npm("@toy/set", "1.0.0", 1))))
    assert set(registry.asked) == {"@toy%2fset", "set-1.0.0.tgz"}
    assert left(cache) == ["toy"]
    with pytest.raises(DataError, match=r"npm package @toy/set 2\.0\.0: npm does not know the package\)"):
        read(toy(Npm("@toy/set", "2.0.0", 1), name="other"))


@needs_npm
@pytest.mark.slow
def test_npm_without_a_network_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setattr(origins, "RETRIES", 0)
    with pytest.raises(DataError, match=r"npm package @toy/set 1\.0\.0: npm has no network\)"):
        read(toy(Npm("@toy/set", "1.0.0", 1)))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of Debian with one package, which apt-get knows of and has no list of."""
    write(tmp_path / "deb/usr/share/toyset", ORIGINALS)
    control = (
        "Package: toyset\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: toy\n"
    )
    write(tmp_path / "deb/DEBIAN", {"control": control.encode()})
    folder = tmp_path / "repository"
    folder.mkdir()
    subprocess.run(["dpkg-deb", "-b", tmp_path / "deb", folder / "toyset_1.0_all.deb"], check=True, capture_output=True)
    content = (folder / "toyset_1.0_all.deb").read_bytes()
    listed = f"{control}Filename: ./toyset_1.0_all.deb\nSize: {len(content)}\nSHA256: {sha256(content)}\n"
    write(folder, {"Packages": listed.encode()})
    (tmp_path / "lists/partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::SourceList": str(
            write(tmp_path, {"sources.list": f"deb [trusted=yes] file:{folder} ./\n".encode()}) / "sources.list"
        ),
        "Dir::Etc::SourceParts": str(tmp_path / "none"),
        "Dir::State::Lists": str(tmp_path / "lists"),
    }
    lines = "".join(f'{name} "{value}";\n' for name, value in settings.items())
    monkeypatch.setenv("APT_CONFIG", str(write(tmp_path, {"apt.conf": lines.encode()}) / "apt.conf"))
    return folder


@needs_apt
def test_apt_brings_a_package_though_the_system_has_no_lists(cache: Path, repository: Path, tmp_path: Path) -> None:
    assert is_right(read(toy(Debian("toyset", 1))))
    assert left(cache) == ["toy"]
    assert [path.name for path in (tmp_path / "lists").rglob("*") if path.is_file()] == []  # it used lists of its own


@needs_apt
def test_apt_that_does_not_know_a_package_says_so(cache: Path, repository: Path) -> None:
    with pytest.raises(DataError, match=r"Debian package lost: apt-get does not know the package\)"):
        read(toy(Debian("lost", 1)))
    assert left(cache) == []


@needs_apt
def test_apt_without_a_network_says_so(
    cache: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"sources.list": b"deb [trusted=yes] http://127.0.0.1:9/debian ./\n"})
    monkeypatch.setattr(origins, "RETRIES", 0)
    with pytest.raises(DataError, match=r"Debian package toyset: apt-get has no network\)"):
        read(toy(Debian("toyset", 1)))


def test_a_debian_package_that_is_installed_is_not_fetched(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = write(tmp_path / "usr/share/toyset", ORIGINALS)
    assert is_right(read(toy(Debian("toyset", 1, installed=str(folder)))))
    single = write(tmp_path / "usr/lib", {"bible.data": b"1"}) / "bible.data"
    (tmp_path / "got").mkdir()
    Debian("bible", 1, installed=str(single)).fetch(tmp_path / "got", lambda count: None)
    assert Files(tmp_path / "got").read("bible.data") == b"1"


@pytest.mark.parametrize("origin", [Debian("toyset", 1), Npm("@toy/set", "1.0.0", 1)])
def test_a_missing_client_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Debian | Npm
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    name = "apt-get" if isinstance(origin, Debian) else "npm"
    with pytest.raises(DataError, match=rf"{origin.label}: {name} is not installed here \(it comes with "):
        read(toy(origin))
    assert left(cache) == []


def a_client(folder: Path, script: str, name: str = "npm") -> Path:
    path = write(folder, {name: f"#!/bin/sh\n{script}\n".encode()}) / name
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error nospc ENOSPC: no space left on device' >&2; exit 1", "npm failed: the disk is full"),
        (
            "echo fine; echo 'npm error  something   new'; echo see the log; exit 7",
            "npm failed with exit code 7: npm error something new",
        ),
        ("exit 3", "npm failed with exit code 3: without a word"),
        ("kill -9 $$", "npm failed with exit code -9: without a word"),
    ],
)
def test_what_a_client_complains_of_is_one_clause(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    a_client(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(DataError, match=rf"^toy cannot be fetched \(npm package @toy/set 1\.0\.0: {reason}\); or put "):
        read(toy(Npm("@toy/set", "1.0.0", 1)))
    assert left(cache) == []


def test_a_client_that_is_no_program_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_client(tmp_path / "bin", "").write_bytes(b"\x7fELF nonsense")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DataError, match=r"npm cannot be run: Exec format error"):
        read(toy(Npm("@toy/set", "1.0.0", 1)))


def test_the_progress_is_what_has_come_into_the_folder(tmp_path: Path) -> None:
    seen: list[int] = []
    clients.run(["sh", "-c", "head -c 5000 /dev/zero > x; sleep 0.3; rm x; exit 0"], tmp_path, progress=seen.append)
    assert 5000 in seen
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LIMIT_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"^sleep is not done after 0 s$"):
        clients.run(["sleep", "60"], tmp_path, progress=lambda count: None)
    assert time.monotonic() - start < 5.0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_ctrl_c_ends_the_client_too_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_client(tmp_path / "bin", f"echo $$ > {tmp_path}/number; exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    info = toy(Npm("@toy/set", "1.0.0", 1))

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            read(info)
        except KeyboardInterrupt:
            os._exit(130)

    process = Forked(target=work)
    process.start()
    wait_for(lambda: (tmp_path / "number").exists() and (tmp_path / "number").read_text().strip())
    time.sleep(0.3)  # whoever starts it learns that it runs
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "number").read_text()), 0)
    assert not is_here(info)
    assert left(cache) == []
