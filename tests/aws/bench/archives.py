"""Builds the archives that are moved and scanned. They are written to a folder of the run, never kept."""

from __future__ import annotations

import base64
import hashlib
import random
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PIECE = 1 << 20
WHEN = (2024, 1, 1, 0, 0, 0)


def wheel(folder: Path, name: str, members: Iterable[tuple[str, Iterable[bytes]]], method: int) -> Path:
    """A wheel of version 1.0 with a right RECORD; members are given in pieces, so that none lies in memory whole."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info, lines = f"{name}-1.0.dist-info", []
    text = {
        f"{name}/__init__.py": b'"""An example."""\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    whole = [*((where, [content]) for where, content in text.items()), *members]
    with zipfile.ZipFile(path, "w", method, allowZip64=True, compresslevel=1) as archive:
        for where, pieces in whole:
            digest, size = hashlib.sha256(), 0
            entry = zipfile.ZipInfo(where, WHEN)
            entry.compress_type = method
            with archive.open(entry, "w", force_zip64=where not in text) as member:
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    member.write(piece)
            shown = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            lines.append(f"{where},sha256={shown},{size}\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", WHEN), "".join([*lines, f"{info}/RECORD,,\n"]))
    return path


def noise(size: int, seed: int) -> Iterator[bytes]:
    """Bytes that do not compress, and hold nothing that begins as the parts of a zip do."""
    source = random.Random(seed)
    while size > 0:
        piece = source.randbytes(min(size, PIECE)).replace(b"PK", b"pk")
        size -= len(piece)
        yield piece


def large(folder: Path, name: str, size: int) -> Path:
    """A wheel of about `size` bytes whose data lies in members of at most 16 MiB."""
    left, members, number = size - (64 << 10), [], 0
    while left > 0:
        members.append((f"{name}/data/{number:04}.dat", noise(min(left, 16 << 20), number)))
        left -= 16 << 20
        number += 1
    return wheel(folder, name, members, zipfile.ZIP_STORED)


def repeated(size: int, line: str) -> Iterator[bytes]:
    """Numbered lines."""
    number = 0
    while size > 0:
        piece = "".join(line.format(number=number + at) for at in range(10_000)).encode()[:size]
        number += 10_000
        size -= len(piece)
        yield piece


def shapes(size: int) -> dict[str, tuple[str, Iterable[bytes]]]:
    """One member of `size` bytes, as a scanner meets it: a native library, text, and source over every limit."""

    def library() -> Iterator[bytes]:
        yield b"\x7fELF\x02\x01\x01" + bytes(57)
        yield from noise(size - 64, 1)

    return {
        "native library": ("core.so", library()),
        "text": ("table.json", repeated(size, '{{"row": {number}, "name": "value {number}", "weight": 0.5}},\n')),
        "Python source": ("table.py", repeated(size, "ROW_{number} = ('value {number}', {number}, 0.5)\n")),
    }
