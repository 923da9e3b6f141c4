"""What README and `microlam compat` say is answered is what is answered."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from microlam.aws import ANSWERS
from microlam.aws.compat import compat_table, missing, supported
from microlam.aws.tables import MODELS, Table
from tests.conftest import environment

SERVICES = sorted(path.stem for path in MODELS.glob("*.json"))


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_of_a_table_is_answered_and_nothing_else(service: str) -> None:
    assert set(ANSWERS.get(service, {})) == set(Table.load(service).operations.raw)


def test_no_service_is_answered_without_a_table() -> None:
    assert set(ANSWERS) == set(SERVICES)


def test_readme_lists_what_is_answered() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert readme.partition("<!-- compat -->\n")[2].partition("<!-- /compat -->")[0] == compat_table()


def test_the_command_line_lists_what_is_answered_and_what_is_not() -> None:
    done = subprocess.run([sys.executable, "-m", "microlam", "compat"], capture_output=True, text=True, check=True, env=environment())
    said = done.stdout.split()
    for service in SERVICES:
        assert f"{service}:" in said
        assert set(supported()[service]) <= set(said)
    assert "CreateCapacityProvider" in missing("lambda")
    assert "CreateCapacityProvider" in said
