"""Zips of code: what is refused, what survives, and that nothing lands outside."""
from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from microlam.archives import Archives, folder_around
from microlam.errors import BadArchive


def packed(*entries: tuple[str | zipfile.ZipInfo, str | bytes]) -> bytes:
    """A zip with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    return Archives(tmp_path / "code")


def test_a_zip_is_kept_by_its_hash_and_unpacked(archives: Archives) -> None:
    content = packed(("index.py", "x = 1"), ("lib/deep/data.txt", "data"), (entry("empty/", stat.S_IFDIR | 0o755), ""))

    kept = archives.keep(content)

    assert (kept.sha256, kept.size) == (base64.b64encode(hashlib.sha256(content).digest()).decode(), len(content))
    root = archives.root(kept.sha256)
    assert (root / "index.py").read_text() == "x = 1"
    assert (root / "lib/deep/data.txt").read_text() == "data"
    assert (root / "empty").is_dir()
    found = archives.zip(kept.sha256)
    assert found is not None
    assert found.read_bytes() == content


def test_executable_bits_survive_and_nothing_can_be_written(archives: Archives) -> None:
    root = archives.root(archives.keep(packed((entry("bin/tool", stat.S_IFREG | 0o755), "#!/bin/sh\n"), (entry("secret.py", stat.S_IFREG | 0o600), ""))).sha256)

    assert stat.S_IMODE((root / "bin/tool").stat().st_mode) == 0o555
    assert stat.S_IMODE((root / "secret.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((root / "bin").stat().st_mode) == stat.S_IMODE(root.stat().st_mode) == 0o555


def test_links_within_are_kept(archives: Archives) -> None:
    root = archives.root(archives.keep(packed(("lib/real.py", "x = 1"), (entry("lib/alias.py", stat.S_IFLNK | 0o777), "real.py"), (entry("a/up", stat.S_IFLNK | 0o777), "../lib"))).sha256)

    assert os.readlink(root / "lib/alias.py") == "real.py"
    assert (root / "a/up/alias.py").read_text() == "x = 1"


@pytest.mark.parametrize(("content", "says"), [
    (b"no zip", "Could not unzip uploaded file. Please check your file, then try to upload again."),
    (b"", "Could not unzip uploaded file. Please check your file, then try to upload again."),
    (packed(), "Uploaded file must be a non-empty zip"),
    (packed(("../evil.py", "")), "outside its folder"),
    (packed(("lib/../../evil.py", "")), "outside its folder"),
    (packed(("/etc/evil", "")), "outside its folder"),
    (packed(("C:/evil", "")), "outside its folder"),
    (packed(("lib\\evil.py", "")), "slashes"),
    (packed((entry("out", stat.S_IFLNK | 0o777), "/etc")), "leads out"),
    (packed((entry("out", stat.S_IFLNK | 0o777), "../x")), "leads out"),
    (packed((entry("a/b/out", stat.S_IFLNK | 0o777), "../../../x")), "leads out"),
    (packed((entry("a/out", stat.S_IFLNK | 0o777), "b/../../../x")), "leads out"),
    (packed((entry("here", stat.S_IFLNK | 0o777), "."), (entry("here/out", stat.S_IFLNK | 0o777), "../x")), "is no folder"),
    (packed((entry("lib", stat.S_IFLNK | 0o777), "."), ("lib/index.py", "")), "is no folder"),
    (packed(("lib", ""), ("lib/index.py", "")), "is no folder"),
    (packed((entry("pipe", stat.S_IFIFO | 0o644), "")), "neither a file nor a folder"),
    (packed((entry("disk", stat.S_IFBLK | 0o644), "")), "neither a file nor a folder"),
])
def test_what_would_do_harm_is_refused(archives: Archives, tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(BadArchive, match=says):
        archives.keep(content)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]


def test_a_bomb_is_refused_by_what_it_would_become(archives: Archives) -> None:
    bomb = packed(*((f"{number}.bin", b"\0" * 27_000_000) for number in range(10)))
    assert len(bomb) < 1_000_000

    with pytest.raises(BadArchive, match="Unzipped size must be smaller than 262144000 bytes"):
        archives.keep(bomb)


def test_a_bomb_that_lies_about_its_size_is_refused(archives: Archives, tmp_path: Path) -> None:
    honest = packed(("bomb.bin", b"\0" * 10_000_000))
    lying = honest.replace((10_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))

    with pytest.raises(BadArchive, match="Could not unzip"):
        archives.keep(lying)
    assert not list((tmp_path / "code").iterdir())


def test_a_damaged_zip_is_refused(archives: Archives) -> None:
    content = bytearray(packed(("index.py", os.urandom(5000))))
    content[2000] ^= 0xFF

    with pytest.raises(BadArchive, match="Could not unzip"):
        archives.keep(bytes(content))


def test_what_was_changed_on_disk_is_restored_by_the_next_server(archives: Archives, tmp_path: Path) -> None:
    kept = archives.keep(packed(("index.py", "x = 1"), ("data.txt", "old")))
    root = archives.root(kept.sha256)
    os.chmod(root, 0o755)
    os.chmod(root / "data.txt", 0o644)
    (root / "data.txt").write_text("new")
    (root / "more.txt").write_text("more")

    again = Archives(tmp_path / "code").root(kept.sha256)

    assert sorted(path.name for path in again.iterdir()) == ["data.txt", "index.py"]
    assert (again / "data.txt").read_text() == "old"


def test_what_a_handler_did_to_its_own_files_is_undone_where_it_runs(archives: Archives) -> None:
    kept = archives.keep(packed(("index.py", "x = 1"), ("lib/deep/data.txt", "old"), ("lib/more.txt", "more"), ("empty/", "")))
    root = archives.root(kept.sha256)
    working_directory = os.open(root, os.O_RDONLY)
    for folder in (root, root / "lib", root / "lib/deep"):
        folder.chmod(0o755)
    (root / "index.py").unlink()
    (root / "index.py").mkdir()
    (root / "index.py" / "within.txt").write_text("within")
    shutil.rmtree(root / "lib/deep")
    (root / "lib/deep").write_text("a file in place of a folder")
    (root / "lib/more.txt").chmod(0o644)
    (root / "lib/more.txt").write_text("less")
    (root / "empty").rmdir()
    (root / "added.txt").write_text("added")

    archives.mend(str(root))

    found = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}
    assert found == {"index.py": "x = 1", "lib/deep/data.txt": "old", "lib/more.txt": "more"}
    assert (root / "empty").is_dir()
    assert os.path.samestat(os.fstat(working_directory), root.stat())       # who runs there has not lost it
    assert all(path.stat().st_mode & 0o222 == 0 for path in (root, *root.rglob("*")))
    os.close(working_directory)


def test_what_nobody_needs_is_removed(archives: Archives, tmp_path: Path) -> None:
    old, new = archives.keep(packed(("index.py", "old"))), archives.keep(packed(("index.py", "new")))

    archives.remove_all_but({new.sha256})

    assert archives.zip(old.sha256) is None
    assert (archives.root(new.sha256) / "index.py").read_text() == "new"
    assert len(list((tmp_path / "code").iterdir())) == 2


@pytest.mark.parametrize(("names", "handler", "folder"), [
    (("package/index.py", "package/lib.py"), "index.handler", "package"),
    (("package/index.py", "__MACOSX/package/._index.py"), "index.handler", "package"),
    (("package/index.py",), "package.index.handler", None),
    (("package/index.py",), "package/index.handler", None),
    (("package/index.py", "README"), "index.handler", None),
    (("a/index.py", "b/index.py"), "index.handler", None),
    (("index.py",), "index.handler", None),
    (("../index.py",), "index.handler", None),
])
def test_a_zip_whose_files_all_sit_in_one_folder_is_told(names: tuple[str, ...], handler: str, folder: str | None) -> None:
    assert folder_around(packed(*((name, "") for name in names)), handler) == folder
