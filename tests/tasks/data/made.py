"""Tiny files in the real formats, a tiny data set made of them, and a server for it."""

import gzip
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from adaptive_lr.tasks.data.declaration import FetchedDataset, Origin, Part, checksum
from adaptive_lr.tasks.data.formats import images

ARRAYS = {
    "train_images.npy": np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8),
    "train_labels.npy": np.arange(20, dtype=np.uint8) % 10,
    "test_images.npy": np.random.default_rng(1).integers(0, 256, (10, 4, 4), dtype=np.uint8),
    "test_labels.npy": np.arange(10, dtype=np.uint8)[::-1],
}
"""Images of 4x4 pixels, which are published in the files of Fashion-MNIST."""


def as_idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.tobytes()


ORIGINALS = {
    f"{name}.gz": gzip.compress(as_idx(values), mtime=0)
    for name, values in zip(images.IDX_FILES, ARRAYS.values(), strict=True)
}
"""The files that the set is published in."""


def toy(*origins: Origin, name: str = "toy", damaged: bool = False) -> FetchedDataset:
    """A declaration of the tiny set; ``damaged`` if its checksums are those of something else."""
    return FetchedDataset(
        name=name,
        title="Toy",
        summary="30 images",
        licence="MIT",
        reference="nobody",
        splits="none",
        origins=origins,
        originals=images.IDX_FILES,
        decode=images.fashion_mnist,
        parts=tuple(
            Part(part, "uint8", values.shape, checksum(values[::-1] if damaged else values))
            for part, values in ARRAYS.items()
        ),
    )


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def tarball(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def compressed(text: bytes, widest: int = 16, clear_after: Sequence[int] = ()) -> bytes:
    """As the Unix program ``compress`` does it, byte by byte; the table is forgotten after so many bytes."""
    output, width, in_run = bytearray(), 9, 0
    group: list[int] = []
    table, known = {bytes((value,)): value for value in range(256)}, b""

    def flush() -> None:
        bits = sum(code << (width * place) for place, code in enumerate(group))
        output.extend(bits.to_bytes(-(-len(group) * width // 8), "little"))
        group.clear()

    def put(code: int) -> None:
        nonlocal width, in_run
        group.append(code)
        in_run += 1
        if len(group) == 8:
            flush()
        if in_run == 1 << (width - 1) and width < widest:  # the table is as full as codes of this width can say
            width, in_run = width + 1, 0

    for place, value in enumerate(text):
        longer = known + bytes((value,))
        if longer in table:
            known = longer
            continue
        put(table[known])
        if len(table) + 1 < 1 << widest:
            table[longer] = len(table) + 1  # 256 is no text
        known = bytes((value,))
        if place in clear_after:
            put(256)
            group.extend([0] * (-len(group) % 8))  # the rest of a group of eight means nothing
            flush()
            table, width, in_run = {bytes((value,)): value for value in range(256)}, 9, 0
    if known:
        put(table[known])
    flush()
    return bytes(output)


def bible(text: bytes, block: int) -> bytes:
    """A text in the format of the Bible: a head, where each block begins, and the blocks."""
    blocks = [compressed(text[start : start + block]) for start in range(0, len(text), block)]
    first = 0x54 + 8 + 4 * (len(blocks) + 1) + 3
    starts = first + np.cumsum([0, *map(len, blocks)])
    head = b"EC02Compressed Data File".ljust(0x54, b"\0") + struct.pack(">II", block, len(blocks))
    return head + struct.pack(f">{len(starts)}I", *starts.tolist()) + b"\x1f\x9d\x90" + b"".join(blocks)


class Server:
    """What is served, by path; what was asked for; and whether answers wait."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.address = ""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """A server on this machine."""
    state = Server()
    state.files.update(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            state.asked.append(path)
            if path not in state.files:
                self.send_error(404)
                return
            content = state.files[path]
            self.send_response(200)
            self.send_header("Content-Length", str(state.announced.get(path, len(content))))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            state.go_on.wait(30)
            try:
                self.wfile.write(content[len(content) // 2 :])
            except OSError:  # whoever asked is gone
                self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.go_on.set()
            server.shutdown()
            thread.join()
