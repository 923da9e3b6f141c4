"""`microlam.toml`, `.env` and `--env-vars`: what they may say, and what is said about the rest."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from microlam.aws.lambda_.configuration import RUNTIMES
from microlam.errors import BrokenToml
from microlam.functions.configuration import PYTHONS, read_configuration
from microlam.functions.environment import read_dotenv, read_env_vars
from microlam.functions.inputs import InputFiles


def test_everything_a_function_can_be_told() -> None:
    configuration = read_configuration("""
        [microlam]
        port = 8080
        [functions.shop]
        handler = "app.orders"
        timeout = 30
        memory = 512
        environment = { TABLE = "orders" }
        concurrency = 2
        runtime = "python3.12"
        executor = "inprocess"
        preload = ["boto3", "google.protobuf"]
        log_format = "JSON"
        http = ["GET /orders/{id}", "$default"]
        schedule = ["rate(5 minutes)", { expression = "cron(0 10 * * ? *)", timezone = "Europe/Berlin" }]
        files = ["uploads", "in/a/*.png", { bucket = "in", suffix = ".txt", events = "s3:ObjectRemoved:*" }]
    """)

    shop = configuration.functions["shop"]
    assert configuration.server == {"port": 8080}
    assert (shop.handler, shop.timeout, shop.memory, shop.environment, shop.concurrency) == ("app.orders", 30.0, 512, {"TABLE": "orders"}, 2)
    assert (shop.runtime, shop.executor, shop.preload, shop.log_format) == ("python3.12", "inprocess", ("boto3", "google.protobuf"), "JSON")
    assert [str(declared.when) for declared in shop.triggers] == [
        "GET /orders/{id}", "$default", "rate(5 minutes)", "cron(0 10 * * ? *) Europe/Berlin", "uploads/*", "in/a/*.png", "in/*.txt",
    ]


def test_the_defaults_are_those_of_aws() -> None:
    plain = read_configuration("[functions.hello]").functions["hello"]

    assert (plain.timeout, plain.memory, plain.environment, plain.triggers) == (3.0, 128, {}, ())


@pytest.mark.parametrize(("toml", "complaint"), [
    ("[functions", "end of a table declaration"),
    ("[function.hello]", 'function is not known here; write "functions"'),
    ("[functions.hello]\ntimout = 3", 'functions.hello.timout is not known here; write "timeout"'),
    ("[functions.hello]\nxyz = 3", "there are: handler, timeout"),
    ("functions = 3", "functions must be a table"),
    ('functions."a b" = {}', "letters, digits, hyphens and underscores"),
    ("[functions.hello]\ntimeout = 0", "functions.hello.timeout must be a number of seconds from 1 to 900, not 0"),
    ("[functions.hello]\ntimeout = 901", "from 1 to 900"),
    ('[functions.hello]\ntimeout = "3"', "not '3'"),
    ("[functions.hello]\ntimeout = true", "not True"),
    ("[functions.hello]\nmemory = 64", "from 128 to 10240, not 64"),
    ("[functions.hello]\nmemory = 128.5", "whole number of MB"),
    ("[functions.hello]\nconcurrency = 0", "from 1 to 1000"),
    *((f"[functions.hello]\nruntime = {runtime!r}", f'functions.hello.runtime must be a Python from "python3.8" to "python3.14", not {runtime!r}')
      for runtime in ("ruby3.2", "python2.7", "python3.6", "python3.7", "python3.15", "python3", "python3.12 ")),
    ("[functions.hello]\nruntime = ['python3.12']", "must be a Python"),
    ("[functions.hello]\nexecutor = 'docker'", "'processes' or 'inprocess'"),
    ("[functions.hello]\nlog_format = 'json'", "'Text' or 'JSON'"),
    ("[functions.hello]\npreload = 'boto3'", "list of module names"),
    ("[functions.hello]\nhandler = 'a b'", "a module and a name"),
    ("[functions.hello.environment]\nDEBUG = 1", 'must be a string: write "1"'),
    ("[functions.hello.environment]\nAWS_REGION = 'x'", "AWS_REGION is reserved"),
    ("[functions.hello.environment]\n1A = 'x'", "begins with a letter"),
    ("[functions.hello]\nhttp = ['GET orders']", "functions.hello.http"),
    ("[functions.hello]\nhttp = ['GET /_aws/x']", "belong to the server"),
    ("[functions.hello]\nhttp = 3", "must be a list"),
    ("[functions.hello]\nschedule = ['daily']", "functions.hello.schedule"),
    ("[functions.hello]\nschedule = [{ rate = 'x' }]", "rate is not known here"),
    ("[functions.hello]\nfiles = ['a/*/b/*.png']", "more than one *"),
    ("[functions.hello]\nfiles = [3]", "write the bucket's name"),
    ("[functions.hello]\nfiles = { prefix = 'x' }", "functions.hello.files: bucket is missing: write { bucket = … }"),
    ("[functions.hello]\nschedule = [{ timezone = 'UTC' }]", "functions.hello.schedule: expression is missing"),
    ("[functions.hello]\nhttp = [{ qualifier = 'live' }]", "functions.hello.http: route is missing"),
])
def test_what_cannot_be_used_is_named_with_its_remedy(toml: str, complaint: str) -> None:
    with pytest.raises(BrokenToml) as broken:
        read_configuration(toml)

    assert str(broken.value).startswith("microlam.toml: ")
    assert complaint in str(broken.value)


def test_the_pythons_of_the_folder_are_those_of_the_api_and_of_the_readme() -> None:
    assert set(PYTHONS) == {runtime for runtime in RUNTIMES if runtime.startswith("python")}
    first, last = (runtime.removeprefix("python") for runtime in (PYTHONS[0], PYTHONS[-1]))
    assert f"from {first} to {last}" in (Path(__file__).parent.parent / "README.md").read_text()


def test_dotenv() -> None:
    assert read_dotenv(
        "# a comment\n\n"
        "PLAIN=value # why\n"
        "export EXPORTED = spaced value \n"
        "EMPTY=\n"
        "URL=http://host/path#part\n"
        "SINGLE='a # \"b\" $HOME\\n'\n"
        'DOUBLE="line\\none \\"two\\"" # more\n'
        'MULTI="first\nsecond"\r\n'
        "JSON='{\"a\": 1}'\n"
        "LAST=end"
    ) == {
        "PLAIN": "value", "EXPORTED": "spaced value", "EMPTY": "", "URL": "http://host/path#part", "SINGLE": 'a # "b" $HOME\\n',
        "DOUBLE": 'line\none "two"', "MULTI": "first\nsecond", "JSON": '{"a": 1}', "LAST": "end",
    }


@pytest.mark.parametrize(("text", "complaint"), [
    ("A=1\nnonsense\n", "line 2 is not KEY=VALUE. A comment begins with #."),
    ("; a=comment\n", "line 1 is not KEY=VALUE. A comment begins with #."),
    ("A=1\n\nB='x' y\n", "line 3 is not KEY=VALUE. Put quotes around"),
    ("A='open\n", "line 1 opens a quote, ', that is never closed."),
    ('A=1\nB="open\nC="shut"\n', 'line 2 opens a quote, ", that is never closed.'),
    ("1A=x", 'line 1 sets "1A", which cannot be the name of a variable.'),
    ("export my-key=1", 'line 1 sets "my-key", which cannot be the name of a variable.'),
])
def test_a_broken_dotenv_names_its_line_and_what_is_wrong_with_it(text: str, complaint: str) -> None:
    with pytest.raises(BrokenToml, match=re.escape(complaint)):
        read_dotenv(text)


def test_env_vars_as_sam_writes_them() -> None:
    everybody, each = read_env_vars('{"Parameters": {"A": "1", "B": true, "C": 2.5, "D": null}, "hello": {"A": 3}}', "env.json")

    assert everybody == {"A": "1", "B": "true", "C": "2.5", "D": ""}
    assert each == {"hello": {"A": "3"}}
    for broken in ("[]", "{", '{"hello": 3}', '{"hello": {"A": []}}'):
        with pytest.raises(BrokenToml, match=r"env\.json"):
            read_env_vars(broken, "env.json")


def test_the_files_together(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=dotenv\nB=dotenv\nC=dotenv\nD=dotenv\nAWS_REGION=eu-west-1\n")
    env_vars = tmp_path / "env.json"
    env_vars.write_text('{"Parameters": {"C": "all", "D": "all"}, "hello": {"D": "hello", "_HANDLER": "x"}}')

    inputs = InputFiles(tmp_path, env_vars).read(strict=True)

    assert inputs.environment("hello", {"B": "toml", "C": "toml"}) == {"A": "dotenv", "B": "toml", "C": "all", "D": "hello"}
    assert inputs.environment("other", {}) == {"A": "dotenv", "B": "dotenv", "C": "all", "D": "all"}
    assert [warning.split(" is reserved")[0] for warning in inputs.warnings] == [".env: AWS_REGION", "env.json: _HANDLER"]


def test_a_broken_file_keeps_what_it_said_before(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    (tmp_path / "microlam.toml").write_text("[functions.hello]\ntimeout = 5")
    files = InputFiles(tmp_path, None)
    files.read(strict=True)

    (tmp_path / "microlam.toml").write_text("[functions.hello\n")
    (tmp_path / ".env").write_text("A=2")
    inputs = files.read()

    assert inputs.configuration.functions["hello"].timeout == 5
    assert inputs.environment("hello", {}) == {"A": "2"}
    assert "(at line 1, column 17). Until it is mended, what it said before stays in force." in inputs.warnings[0]
    with pytest.raises(BrokenToml):
        InputFiles(tmp_path, None).read(strict=True)
    with pytest.raises(BrokenToml, match="there is no such file"):
        InputFiles(tmp_path / "elsewhere", tmp_path / "nothing.json").read(strict=True)


@pytest.mark.parametrize(("line", "warning"), [
    ("port = 3000", ""),
    ("port = 5", "microlam.toml: [microlam] has changed. What it says now holds from the server's next start."),
    ("foo = 1", "[microlam] in microlam.toml sets foo, but there is no such setting."),
    ("port = 'high'", "port = 'high', from [microlam] in microlam.toml, cannot be used"),
])
def test_the_servers_own_settings_hold_from_its_next_start(tmp_path: Path, line: str, warning: str) -> None:
    (tmp_path / "microlam.toml").write_text("[microlam]\nport = 3000\n")
    files = InputFiles(tmp_path, None)
    files.read(strict=True)

    (tmp_path / "microlam.toml").write_text(f"[microlam]\n{line}\n[functions.hello]\ntimeout = 5")
    inputs = files.read()

    assert inputs.configuration.functions["hello"].timeout == 5
    assert [said[:len(warning)] for said in inputs.warnings] == ([warning] if warning else [])
