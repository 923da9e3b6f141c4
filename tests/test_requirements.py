"""Requirements are installed once, by a real installer, from wheels made here: no index is asked."""
from __future__ import annotations

import asyncio
import sys
import zipfile
from pathlib import Path

import pytest

from microlam.requirements import Requirements, RequirementsFailed


def wheel(folder: Path, name: str, source: str = "") -> str:
    """Write a wheel and tell the requirement that installs it."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    facts = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", source)
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", f"{name}.py,,\n{facts}/METADATA,,\n{facts}/WHEEL,,\n{facts}/RECORD,,\n")
    return f"./{file.name}"


async def test_a_file_is_installed_once_with_progress(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"# what we need\n--no-index\n{wheel(tmp_path, 'tiny', 'SIZE = 1')}\n")
    said: list[str] = []
    requirements = Requirements(tmp_path / "installed", said.append)

    await asyncio.gather(*(requirements.install(file) for _ in range(4)))
    file.write_text("# another comment\n" + file.read_text())
    await requirements.install(file)

    place = requirements.place(file)
    assert place is not None
    assert (place / "tiny.py").read_text() == "SIZE = 1"
    assert [line for line in said if line.startswith("Installing ")] == [f"Installing {file}, once …"]
    assert said[-1] == f"Installed {file}."
    assert [path.name for path in place.parent.iterdir()] == [place.name]


async def test_a_runtime_that_was_missing_has_its_packages_made_anew_once_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n{wheel(tmp_path, 'tiny', 'SIZE = 1')}\n")
    also_python = tmp_path / "python"
    also_python.symlink_to(sys.executable)
    pythons = [sys.executable, sys.executable, str(also_python), str(also_python)]
    said: list[str] = []

    async def python_of(runtime: str) -> str:
        return pythons.pop(0)

    requirements = Requirements(tmp_path / "installed", said.append, python_of)
    for _ in range(4):
        await requirements.install(file, "python3.9")
    assert len([line for line in said if line.startswith("Installing ")]) == 2
    place = requirements.place(file, "python3.9")
    assert place is not None
    assert (place / "tiny.py").is_file()
    assert place != requirements.place(file) != requirements.place(file, "python3.10")


async def test_what_asks_for_nothing_needs_no_folder(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# nothing yet\n\n")

    assert Requirements(tmp_path, print).place(tmp_path / "requirements.txt") is None
    assert Requirements(tmp_path, print).place(tmp_path / "none.txt") is None


async def test_another_text_is_another_folder(tmp_path: Path) -> None:
    file, base = tmp_path / "requirements.txt", tmp_path / "base.txt"
    requirements = Requirements(tmp_path / "installed", print)
    base.write_text("a==1")
    file.write_text("-r base.txt")
    first = requirements.place(file)

    base.write_text("a==2")

    assert requirements.place(file) != first


async def test_a_failure_names_the_line_and_is_not_tried_again_until_the_file_is_saved(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--no-index\n# comment\nno-such-package==1.0  # why\n")
    said: list[str] = []
    requirements = Requirements(tmp_path / "installed", said.append)

    for _ in range(2):
        with pytest.raises(RequirementsFailed, match=r'requirements.txt line 3, "no-such-package==1.0  # why": .*[Nn]o'):
            await requirements.install(file)
    assert len([line for line in said if line.startswith("Installing ")]) == 1

    file.write_text(f"--no-index\n{wheel(tmp_path, 'tiny')}\n")
    await requirements.install(file)
    assert (tmp_path / "installed").is_dir()
    assert not [path for path in (tmp_path / "installed").iterdir() if path.name.startswith(".")]
