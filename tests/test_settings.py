"""One table of settings: who beats whom, what is refused and in what words, and what follows from the table."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from microlam.errors import SettingsError, UnsafeAddress
from microlam.settings import GROUPS, SETTINGS, TOML, Named, Settings, read_settings, settings_table, url_of

FOLDER = Path("/srv/functions")


def read(*, flags: Mapping[str, object] | None = None, variables: Mapping[str, str] | None = None, toml: Mapping[str, object] | None = None) -> Settings:
    return read_settings(FOLDER, flags=flags or {}, variables=variables or {}, toml=toml or {})


# ---- who beats whom --------------------------------------------------------------------------------------------------

def test_without_a_word_every_setting_has_its_default() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.drain, settings.poll, settings.allowed_host) == ("127.0.0.1", 3000, 10.0, False, ())
    assert settings.data == FOLDER / ".microlam"
    assert settings.env_vars is None
    assert set(settings.origins.values()) == {"default"}


@pytest.mark.parametrize(("flags", "variables", "toml", "port", "origin"), [
    ({"port": "1"}, {"MICROLAM_PORT": "2"}, {"port": 3}, 1, "--port"),
    ({"port": None}, {"MICROLAM_PORT": "2"}, {"port": 3}, 2, "MICROLAM_PORT"),
    ({}, {"MICROLAM_PORT": ""}, {"port": 3}, 3, TOML),
    ({}, {}, {}, 3000, "default"),
])
def test_a_flag_beats_a_variable_beats_toml_beats_the_default(
    flags: dict[str, object], variables: dict[str, str], toml: dict[str, object], port: int, origin: str,
) -> None:
    settings = read(flags=flags, variables=variables, toml=toml)
    assert (settings.port, settings.origins["port"]) == (port, origin)


@pytest.mark.parametrize(("variables", "toml", "region", "origin"), [
    ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, {}, "eu-west-1", "AWS_REGION"),
    ({"AWS_DEFAULT_REGION": "eu-west-2"}, {}, "eu-west-2", "AWS_DEFAULT_REGION"),
    ({"AWS_REGION": "eu-west-1"}, {"region": "eu-north-1"}, "eu-north-1", TOML),
    ({"AWS_REGION": "eu-west-1", "MICROLAM_REGION": "us-gov-west-1"}, {"region": "eu-north-1"}, "us-gov-west-1", "MICROLAM_REGION"),
    ({"AWS_REGION": "eusc-de-east-1"}, {}, "eusc-de-east-1", "AWS_REGION"),
    ({}, {}, "us-east-1", "default"),
])
def test_the_region_of_the_aws_tools_is_the_default_one(variables: dict[str, str], toml: dict[str, object], region: str, origin: str) -> None:
    settings = read(variables=variables, toml=toml)
    assert (settings.region, settings.origins["region"]) == (region, origin)


def test_a_path_in_toml_starts_at_its_folder_and_a_typed_one_at_the_working_directory() -> None:
    assert read(toml={"data": "state"}).data == FOLDER / "state"
    assert read(flags={"data": "state"}).data == Path.cwd() / "state"
    assert read(variables={"MICROLAM_DATA": "~/state"}).data == Path.home() / "state"
    assert read(toml={"env_vars": "env.json"}).env_vars == FOLDER / "env.json"


@pytest.mark.parametrize("said", [{"flags": {"allowed_host": ["a.test", "b.test"]}}, {"variables": {"MICROLAM_ALLOWED_HOST": "a.test, b.test"}},
                                  {"toml": {"allowed_host": ["a.test", "b.test"]}}])
def test_a_list_may_be_repeated_or_have_commas(said: Any) -> None:
    assert read(**said).allowed_host == ("a.test", "b.test")


def test_a_host_is_a_name_or_an_address_with_or_without_a_port() -> None:
    hosts = ("a.test:8080", "My_Box", "192.168.1.5", "[fe80::1]:80", "FE80::1")
    assert read(flags={"allowed_host": list(hosts)}).allowed_host == hosts


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("On", True), ("0", False), ("false", False), ("no", False)])
def test_a_switch_takes_the_usual_words(text: str, value: bool) -> None:
    assert read(variables={"MICROLAM_POLL": text}, toml={"poll": not value}).poll is value


def test_durations_are_floats_wherever_they_come_from() -> None:
    assert read(toml={"drain": 3}).drain == 3.0
    assert isinstance(read(toml={"drain": 3}).drain, float)
    assert read(flags={"drain": "0.5"}).drain == 0.5


# ---- what is refused -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("said", "words"), [
    ({"flags": {"port": "abc"}}, ["port = 'abc'", "--port", "a whole number from 0 to 65535", "such as 3000"]),
    ({"variables": {"MICROLAM_PORT": "65536"}}, ["MICROLAM_PORT", "'65536'"]),
    ({"toml": {"port": -1}}, ["port = -1", TOML]),
    ({"toml": {"port": True}}, ["port = True"]),
    ({"toml": {"port": 3000.5}}, ["port = 3000.5"]),
    ({"flags": {"drain": "-1"}}, ["drain", "a number of seconds, 0 or more"]),
    ({"flags": {"drain": "nan"}}, ["drain = 'nan'"]),
    ({"toml": {"drain": float("inf")}}, ["drain = inf"]),
    ({"toml": {"drain": 10 ** 400}}, ["drain"]),
    ({"flags": {"concurrency": "0"}}, ["concurrency", "1 or more"]),
    ({"flags": {"account": "12"}}, ["account", "twelve digits"]),
    ({"variables": {"AWS_REGION": "mars"}}, ["region = 'mars'", "AWS_REGION"]),
    ({"variables": {"MICROLAM_POLL": "maybe"}}, ["poll", "true or false"]),
    ({"toml": {"poll": [True]}}, ["poll"]),
    ({"toml": {"data": ""}}, ["data", "a path"]),
    ({"toml": {"allowed_host": [1]}}, ["allowed_host", "a list"]),
    ({"flags": {"allowed_host": ["a.test", "*"]}}, ["allowed_host", "--allowed-host", "'*'", "without wildcards"]),
    ({"variables": {"MICROLAM_ALLOWED_HOST": "bad host"}}, ["MICROLAM_ALLOWED_HOST", "'bad host'"]),
    ({"flags": {"allowed_host": ["https://a.test"]}}, ["--allowed-host"]),
    ({"toml": {"host": "a b"}}, ["host", "an address"]),
    ({"toml": {"prot": 1}}, [TOML, "prot", "Did you mean port?"]),
    ({"toml": {"zzz": 1}}, ["zzz", "There are: host, port"]),
    ({"flags": {"allowed_host": [""]}}, ["--allowed-host", "''", "none empty"]),
    ({"variables": {"MICROLAM_ALLOWED_HOST": ","}}, ["MICROLAM_ALLOWED_HOST", "none empty"]),
    ({"variables": {"MICROLAM_POLL": "maybe"}}, ["it must be true or false."]),
    ({"flags": {"executor": "foo"}}, ["executor = 'foo'", "it must be processes or inprocess."]),
    ({"flags": {"admin_token": "é"}}, ["--admin-token", "ASCII text without spaces"]),
    ({"flags": {"admin_token": "x", "read_only_token": "x"}}, ["read_only_token", "--read-only-token", "the admin token too"]),
    ({"flags": {"debug_function": "hello"}}, ["--debug-function", "--debug-port"]),
    ({"variables": {"MICROLAM_WAIT": "1"}}, ["wait, from MICROLAM_WAIT", "--debug-port"]),
    ({"flags": {"access_key": "K"}}, ["access_key", "--access-key", "--secret-key"]),
])
def test_a_value_that_cannot_be_used_is_refused_by_name_origin_and_remedy(said: Any, words: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**said)
    assert [word for word in words if word not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


def test_what_is_for_debugging_may_lie_ready_in_microlam_toml() -> None:
    assert read(toml={"wait": True, "debug_function": "hello"}).wait


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        read(flags={"admin_token": "two words"})
    assert "two words" not in str(refused.value)
    shown = repr(read(flags={"admin_token": "t0ken", "access_key": "K", "secret_key": "s3cret"}))
    assert "t0ken" not in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_an_address_others_can_reach_needs_a_token_and_keys(host: str) -> None:
    with pytest.raises(UnsafeAddress) as refused:
        read(flags={"host": host})
    assert all(flag in str(refused.value) for flag in ("--admin-token", "--access-key", "--secret-key", host))
    assert read(flags={"host": host, "admin_token": "t", "access_key": "k", "secret_key": "s"}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_neither(host: str) -> None:
    assert read(flags={"host": host}).host == host


# ---- what follows from the table -------------------------------------------------------------------------------------

def test_every_row_is_a_setting_and_every_setting_a_row() -> None:
    assert {row.name for row in SETTINGS} == {field.name for field in fields(Settings)} - {"origins"} == Named.__optional_keys__
    assert len({row.name for row in SETTINGS}) == len(SETTINGS) == sum(map(len, GROUPS.values()))


def test_every_default_passes_its_own_check() -> None:
    for row in SETTINGS:
        if row.default is not None:
            value = list(row.default) if isinstance(row.default, tuple) else row.default
            assert row.kind.read(value) == row.default, row.name


def test_the_readme_table_has_a_line_a_setting() -> None:
    lines = settings_table().splitlines()
    assert len(lines) == 2 + len(SETTINGS)
    assert "| `--port` | `MICROLAM_PORT` | `port` | `3000` | Port to listen on; 0 takes any free one |" in lines
    assert any("`AWS_REGION` or `AWS_DEFAULT_REGION` or `us-east-1`" in line for line in lines)


@pytest.mark.parametrize(("host", "url"), [
    ("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80"), ("::1", "http://[::1]:80"), ("box", "http://box:80"),
])
def test_the_address_to_open(host: str, url: str) -> None:
    assert url_of(host, 80) == url
