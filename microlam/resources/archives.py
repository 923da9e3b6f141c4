"""Zips of layers."""
from __future__ import annotations

import io
import secrets
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from microlam.errors import InvalidParameter

UNPACKED_LIMIT = 262_144_000


def check_archive(archive: bytes) -> int:
    try:
        size = sum(info.file_size for info in zipfile.ZipFile(io.BytesIO(archive)).infolist())
    except zipfile.BadZipFile:
        raise InvalidParameter(reason="Could not unzip uploaded file. Please check your file, then try to upload again.") from None
    if size > UNPACKED_LIMIT:
        raise InvalidParameter(reason=f"Unzipped size must be smaller than {UNPACKED_LIMIT} bytes")
    return size


def unpack_all(archives: Sequence[bytes], target: Path) -> None:
    making = target.with_name(f".making-{secrets.token_hex(8)}")
    for archive in archives:
        zipfile.ZipFile(io.BytesIO(archive)).extractall(making)
    making.mkdir(parents=True, exist_ok=True)
    try:
        making.rename(target)
    except OSError:
        shutil.rmtree(making)
