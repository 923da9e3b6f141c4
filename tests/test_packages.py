"""Copies hold exactly the bytes there were, whatever happens to the files, and zips are the same for the same content."""
from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from microlam import packages
from microlam.packages import Copy, Packages, Stamp, code_in, code_sha256, files_under, zip_of


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def keep(kept: Packages, folder: Path) -> Copy:
    return kept.keep(folder, lambda: files_under(folder, code_in(folder)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "code", {"app.py": "one", "lib/__init__.py": "", "lib/data/a.txt": "data"})
    return tmp_path / "code"


@pytest.fixture
def kept(tmp_path: Path) -> Packages:
    return Packages(tmp_path / "packages")


def test_a_copy_keeps_its_bytes_when_the_file_is_written_in_place(folder: Path, kept: Packages) -> None:
    first = keep(kept, folder)
    with (folder / "app.py").open("r+") as file:
        file.write("two")
    second = keep(kept, folder)

    assert contents(first.root) == {"app.py": "one", "lib/__init__.py": "", "lib/data/a.txt": "data"}
    assert (second.root / "app.py").read_text() == "two"
    assert first.sha256 != second.sha256


def test_the_same_content_is_one_copy(folder: Path, kept: Packages) -> None:
    first = keep(kept, folder)
    write(folder, {"app.py": "other"})
    keep(kept, folder)
    write(folder, {"app.py": "one"})

    again = keep(kept, folder)

    assert (again.root, again.sha256) == (first.root, first.sha256)


def test_a_second_change_in_the_same_tick_is_seen(folder: Path, kept: Packages) -> None:
    # Same size, same inode, and on a coarse clock the same times: only reading again can tell.
    for number in range(50):
        write(folder, {"app.py": f"{number:03d}"})
        assert (keep(kept, folder).root / "app.py").read_text() == f"{number:03d}"


def test_executable_bits_come_along_and_count(folder: Path, kept: Packages) -> None:
    first = keep(kept, folder)
    (folder / "app.py").chmod(0o755)

    second = keep(kept, folder)

    assert second.root != first.root
    assert os.access(second.root / "app.py", os.X_OK)
    assert second.root.joinpath("app.py").stat().st_mode & 0o222 == 0


def test_hidden_files_caches_and_virtual_environments_stay_behind(folder: Path, kept: Packages) -> None:
    write(folder, {".env": "SECRET=1", "__pycache__/app.pyc": "", "lib/.git/HEAD": "", "node_modules/x/index.js": "", "env/pyvenv.cfg": "", "env/lib/y.py": ""})

    assert set(contents(keep(kept, folder).root)) == {"app.py", "lib/__init__.py", "lib/data/a.txt"}


def test_links_are_followed_and_a_circle_ends(folder: Path, kept: Packages, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"shared.py": "shared"})
    (folder / "shared.py").symlink_to(tmp_path / "elsewhere" / "shared.py")
    (folder / "lib" / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "lib" / "up").symlink_to(folder / "lib")
    (folder / "gone.py").symlink_to(tmp_path / "nothing")

    copy = keep(kept, folder)

    assert set(contents(copy.root)) == {"app.py", "shared.py", "lib/__init__.py", "lib/data/a.txt", "lib/more/shared.py"}
    assert not any(path.is_symlink() for path in copy.root.rglob("*"))


def test_many_may_ask_for_the_same_copy_at_once(folder: Path, kept: Packages) -> None:
    with ThreadPoolExecutor(8) as threads:
        roots = set(threads.map(lambda _: keep(kept, folder).root, range(32)))

    assert len(roots) == 1
    assert contents(roots.pop()) == contents(folder)
    assert len(list(kept._folder.iterdir())) == 1


def test_a_file_that_changes_while_it_is_copied_is_copied_anew(folder: Path, kept: Packages) -> None:
    changes = iter(["two", "three"])

    def listed() -> dict[str, Stamp]:
        files = files_under(folder, code_in(folder))
        # Between the listing and the copy: the file is gone, or another.
        match next(changes, None):
            case "two":
                (folder / "lib/data/a.txt").rename(folder / "lib/data/b.txt")
            case "three":
                write(folder, {"app.py": "three"})
        return files

    copy = kept.keep(folder, listed)

    assert contents(copy.root) == {"app.py": "three", "lib/__init__.py": "", "lib/data/b.txt": "data"}


def test_a_damaged_copy_of_an_earlier_server_is_made_again(folder: Path, tmp_path: Path) -> None:
    copy = keep(Packages(tmp_path / "packages"), folder)
    (copy.root / "app.py").chmod(0o644)
    (copy.root / "app.py").write_text("cut sh")
    (copy.root / "written.txt").write_text("by a handler")

    again = keep(Packages(tmp_path / "packages"), folder)

    assert again.root == copy.root
    assert contents(again.root) == contents(folder)


def test_a_copy_is_mended_where_workers_run(folder: Path, kept: Packages) -> None:
    copy = keep(kept, folder)
    stays = copy.root.stat().st_ino
    (copy.root / "app.py").unlink()
    write(copy.root, {"app.py/within.txt": "a folder in place of a file", "added.txt": "added"})
    shutil.rmtree(copy.root / "lib/data")
    (copy.root / "lib/data").write_text("a file in place of a folder")

    kept.mend(str(copy.root), folder, lambda: files_under(folder, code_in(folder)))

    assert contents(copy.root) == contents(folder) | {"added.txt": "added"}
    assert copy.root.stat().st_ino == stays
    assert kept.is_sound(str(copy.root))


def test_whoever_asks_for_a_copy_that_is_being_mended_has_it_whole(folder: Path, kept: Packages) -> None:
    write(folder, {f"lib/module{number}.py": str(number) for number in range(60)})
    copy = keep(kept, folder)
    whole = contents(folder)

    def mended(_: int) -> dict[str, str]:
        kept.mend(str(copy.root), folder, lambda: files_under(folder, code_in(folder)))
        return contents(copy.root)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(10):
            shutil.rmtree(copy.root / "lib")
            (copy.root / "lib").write_text("a file in place of a folder")
            assert all(found == whole for found in threads.map(mended, range(4)))


def test_a_save_while_a_copy_is_mended_does_not_get_into_it(folder: Path, kept: Packages) -> None:
    while not (copy := keep(kept, folder)).settled:     # from then on its files are not read to know what they hold
        pass
    (copy.root / "app.py").unlink()

    def listed() -> dict[str, Stamp]:
        files = files_under(folder, code_in(folder))
        write(folder, {"app.py": "two, half a save"})
        return files

    kept.mend(str(copy.root), folder, listed)

    assert contents(copy.root) == {"lib/__init__.py": "", "lib/data/a.txt": "data"}
    assert not kept.is_sound(str(copy.root))
    write(folder, {"app.py": "one"})
    assert keep(kept, folder).root == copy.root
    assert contents(copy.root) == contents(folder)


def test_copies_go_when_nobody_needs_them(folder: Path, kept: Packages, tmp_path: Path) -> None:
    old = keep(kept, folder)
    write(folder, {"app.py": "two"})
    new = keep(kept, folder)

    kept.remove_all_but([new.root])
    assert old.root.exists(), "somebody may still wait to run it"

    later = Packages(tmp_path / "packages")     # as after a restart
    later.remove_all_but([new.root])
    assert not old.root.exists()
    assert contents(new.root) == contents(folder)


def test_a_zip_is_the_same_for_the_same_content(folder: Path, tmp_path: Path) -> None:
    (folder / "tool").write_text("#!/bin/sh")
    (folder / "tool").chmod(0o755)
    first = zip_of(folder)
    write(tmp_path / "again", contents(folder))
    (tmp_path / "again" / "tool").chmod(0o755)

    assert zip_of(tmp_path / "again") == first
    assert code_sha256(first) == base64.b64encode(hashlib.sha256(first).digest()).decode()
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == sorted(contents(folder))
        assert archive.getinfo("tool").external_attr >> 16 == 0o100755


def test_reflinks_are_tried_only_where_they_can_be(folder: Path, kept: Packages) -> None:
    # Whether the file system can share blocks or not, a copy never shares its inode: editors write in place.
    copy = keep(kept, folder)

    assert (copy.root / "app.py").stat().st_ino != (folder / "app.py").stat().st_ino
    assert (copy.root / "app.py").stat().st_nlink == 1
    assert packages.stamp_of(folder / "nothing") is None
