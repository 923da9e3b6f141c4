"""Which files are functions, by their text alone, and what leads to them."""
from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from microlam.functions.configuration import read_configuration
from microlam.functions.declared import settle_routes, triggers_of
from microlam.functions.discovery import Discovery, Found, discover, named_files
from microlam.functions.listing import FolderReader
from microlam.model import function_arn

HANDLER = "def handler(event, context): ...\n"


def found_in(folder: Path, files: Mapping[str, str], toml: str = "", known: Mapping[str, Found] | None = None) -> Discovery:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text))
    configuration = read_configuration(toml)
    return discover(FolderReader(folder, [folder / "state"]).read(named_files(configuration)), configuration, known)


def handlers(discovery: Discovery) -> dict[str, str]:
    return {name: found.handler for name, found in discovery.functions.items()}


def ways(discovery: Discovery, name: str) -> list[str]:
    return [str(declared.when) for declared in discovery.functions[name].declared]


# ---- root files ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "def handler(event, context): ...",
    "async def handler(event, context): ...",
    "class handler: ...",
    "handler = Mangum(app)",
    "handler: Handler = Mangum(app)",
    "app, handler = make()",
    "[first, *handler] = make()",
    "one = handler = make()",
    "from app import handler",
    "from app import main as handler",
    "try:\n    from fast import handler\nexcept ImportError:\n    from slow import handler",
    "if True:\n    def handler(event, context): ...",
    "if __name__ == '__main__':\n    print()\nelse:\n    handler = make()",
    "with open('x') as handler_file:\n    handler = make(handler_file)",
    "handler = logging.StreamHandler()\ndef handler(event, context): ...",
])
def test_a_root_file_with_a_handler_is_a_function(text: str, tmp_path: Path) -> None:
    assert handlers(found_in(tmp_path, {"hello.py": text})) == {"hello": "hello.handler"}


@pytest.mark.parametrize("text", [
    "",
    "x = 1",
    "handler: Handler",
    "import handler",
    "def other():\n    def handler(event, context): ...",
    "class Other:\n    def handler(self): ...",
    "if __name__ == '__main__':\n    handler = make()",
    "if TYPE_CHECKING:\n    from app import handler",
    "import logging\nhandler = logging.StreamHandler()",
    "from logging.handlers import RotatingFileHandler as R\nhandler = R('x')",
    "'''def handler(event, context): ...'''",
])
def test_other_files_are_none(text: str, tmp_path: Path) -> None:
    assert handlers(found_in(tmp_path, {"hello.py": text})) == {}


def test_lambda_handler_is_second_to_handler(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "one.py": "def lambda_handler(event, context): ...",
        "both.py": "def lambda_handler(event, context): ...\n" + HANDLER,
        "logs.py": "import logging\nhandler = logging.StreamHandler()\ndef lambda_handler(event, context): ...",
    })

    assert handlers(discovery) == {"both": "both.handler", "logs": "logs.lambda_handler", "one": "one.lambda_handler"}


def test_a_test_that_imports_a_handler_is_no_second_function(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": HANDLER, "test_hello.py": "from hello import handler", "conftest.py": "from hello import handler"})

    assert handlers(discovery) == {"hello": "hello.handler"}


def test_a_broken_file_that_looks_like_a_function_is_one(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": HANDLER + "def broken(:\n", "helper.py": "def broken(:\n", "null.py": HANDLER + "\0"})

    assert set(discovery.functions) == {"hello", "null"}
    problem = discovery.functions["hello"].reading.problem
    assert problem is not None
    assert (problem.line, problem.message) == (2, "invalid syntax (hello.py, line 2)")


# ---- sub-folders -----------------------------------------------------------------------------------------------------

def test_a_sub_folder_is_a_function_by_the_first_of_its_entry_files(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "a/lambda_function.py": "def lambda_handler(event, context): ...", "a/app.py": HANDLER,
        "b/app.py": HANDLER, "b/main.py": HANDLER,
        "c/main.py": "x = 1", "c/index.py": HANDLER,
        "d/handler.py": HANDLER,
        "package/__init__.py": "", "package/main.py": "x = 1",
        "e/other.py": HANDLER,
    })

    assert handlers(discovery) == {"a": "lambda_function.lambda_handler", "b": "app.handler", "c": "index.handler", "d": "handler.handler"}
    assert {found.folder for found in discovery.functions.values()} == {"a", "b", "c", "d"}


def test_some_folders_are_never_functions(tmp_path: Path) -> None:
    never = [".hidden", "__pycache__", ".venv", "node_modules", "events", "tests", "state"]
    discovery = found_in(tmp_path, {**{f"{name}/app.py": HANDLER for name in never}, "venv/app.py": HANDLER, "venv/pyvenv.cfg": ""})

    assert handlers(discovery) == {}
    assert discovery.shared == ()


def test_what_is_dropped_into_a_bucket_is_no_code(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "thumb.py": "from microlam import on_file\n@on_file('uploads')\n" + HANDLER,
        "uploads/app.py": HANDLER, "inbox/app.py": HANDLER,
    }, toml='[functions.thumb]\nfiles = ["inbox"]')

    assert set(discovery.functions) == {"thumb"}
    assert discovery.shared == ()
    assert any("uploads/ is a bucket" in warning for warning in discovery.warnings)


# ---- microlam.toml ---------------------------------------------------------------------------------------------------

def test_microlam_toml_names_functions(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "shop.py": "def orders(event, context): ...\ndef refunds(event, context): ...",
        "broken.py": "def (:", "nothing.py": "x = 1", "empty/readme.txt": "",
        "src/api/main.py": HANDLER, "deep/code/run.py": "def go(event, context): ...",
    }, toml="""
        [functions.orders]
        handler = "shop.orders"
        [functions.refunds]
        handler = "shop.refunds"
        [functions.broken]
        [functions.nothing]
        [functions.empty]
        [functions.api]
        handler = "src.api.main.handler"
        [functions.deep]
        handler = "code.run.go"
        [functions.gone]
        [functions.alias]
        handler = "lost.go"
    """)

    assert handlers(discovery) == {
        "api": "src.api.main.handler", "broken": "broken.lambda_handler", "deep": "code.run.go", "empty": "lambda_function.lambda_handler",
        "nothing": "nothing.lambda_handler", "orders": "shop.orders", "refunds": "shop.refunds",
    }
    assert {name: found.folder for name, found in discovery.functions.items() if found.folder} == {"deep": "deep", "empty": "empty"}
    assert [warning.partition("microlam.toml: ")[2] for warning in discovery.warnings] == [
        "there is no gone.py and no gone/. Create one, or remove the entry.",
        "its handler is lost.go, but there is no lost.py and no alias/lost.py. Create one, or correct the handler.",
    ]


@pytest.mark.parametrize(("file", "text", "handler", "remedy"), [
    ("hello.py", HANDLER, "handler", "hello.handler"),
    ("hello.py", HANDLER, "hello", "hello.handler"),
    ("hello.py", "def hello(event, context): ...", "hello", "hello.hello"),
    ("hello.py", "def lambda_handler(event, context): ...", "hello", "hello.lambda_handler"),
    ("hello/app.py", HANDLER, "hello", "app.handler"),
    ("hello.py", "", "hello", "hello.handler"),
    ("hello.py", HANDLER, ".handler", "hello.handler"),
])
def test_a_handler_without_a_module_is_warned_about_with_one_that_is_there(file: str, text: str, handler: str, remedy: str, tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {file: text}, toml=f'[functions.hello]\nhandler = "{handler}"')

    assert handlers(discovery) == {"hello": handler}
    assert discovery.functions["hello"].warnings == (f'functions.hello.handler = "{handler}" names no module; write "{remedy}".',)
    mended = found_in(tmp_path, {}, toml=f'[functions.hello]\nhandler = "{remedy}"')
    assert (handlers(mended), mended.functions["hello"].warnings) == ({"hello": remedy}, ())


# ---- warnings --------------------------------------------------------------------------------------------------------

def test_names_that_aws_would_refuse(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"héllo.py": HANDLER, "a.b.py": HANDLER, f"{'x' * 65}.py": HANDLER, "my-function_2.py": HANDLER})

    assert set(discovery.functions) == {"my-function_2"}
    assert len(discovery.warnings) == 3
    assert all("Rename it" in warning for warning in discovery.warnings)


def test_two_functions_of_one_name(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": HANDLER, "hello/app.py": HANDLER})

    assert discovery.functions["hello"].file == "hello.py"
    assert discovery.warnings == ("hello.py and hello/app.py are both function hello; hello.py is it. Rename one.",)


def test_files_that_hide_pythons_own_modules(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"json.py": HANDLER, "random.py": "x = 1", "email/app.py": HANDLER})

    assert "hides Python's own module json" in discovery.functions["json"].warnings[0]
    assert discovery.functions["email"].warnings == ()
    assert [warning for warning in discovery.warnings if "random.py hides" in warning]


def test_imports_of_other_functions(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": HANDLER, "other.py": "import hello\n" + HANDLER, "third/app.py": "import hello\n" + HANDLER})

    assert "other.py line 1 imports hello, but hello.py is a function" in discovery.functions["other"].warnings[0]
    assert discovery.functions["third"].warnings == ()


# ---- marks -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "from microlam import http\n@http('GET /x')\n" + HANDLER,
    "from microlam import http as h\n@h('GET /x')\n" + HANDLER,
    "from microlam.declare import http\n@http('GET /x')\n" + HANDLER,
    "from microlam import *\n@http('GET /x')\n" + HANDLER,
    "from microlam import declare as d\n@d.http('GET /x')\n" + HANDLER,
    "import microlam\n@microlam.http('GET /x')\n" + HANDLER,
    "import microlam as m\n@m.http(route='GET /x')\n" + HANDLER,
    "import microlam.declare\n@microlam.declare.http('GET ' '/x')\n" + HANDLER,
    "try:\n    from microlam import http\nexcept ImportError:\n    pass\n@http('GET /x')\nasync " + HANDLER,
    "from microlam import http\nhandler = http('GET /x')(Mangum(app))",
    "from microlam import http\n@http('GET /x')\ndef main(event, context): ...\nhandler = wrapped(main)",
    "from microlam import http\n@log\n@http('GET /x')\n@trace('y')\ndef lambda_handler(event, context): ...",
])
def test_a_mark_is_read_under_whatever_name(text: str, tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": text})

    assert ways(discovery, "hello") == ["GET /x"]
    assert discovery.functions["hello"].warnings == ()


def test_somebody_elses_decorators_are_none(tmp_path: Path) -> None:
    assert ways(found_in(tmp_path, {"hello.py": "from flask import http\n@http('GET /x')\n" + HANDLER}), "hello") == []


def test_several_marks_stack(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": """
        from microlam import http, on_file, schedule

        @http("GET /orders/{id}")
        @http("post /orders", qualifier="live")
        @schedule("rate(5 minutes)")
        @schedule("cron(0 10 * * ? *)", timezone="Europe/Berlin")
        @on_file("uploads", prefix="in/", suffix=".png", events=["s3:ObjectCreated:*"])
        def handler(event, context): ...
    """}, toml="""
        [functions.hello]
        http = ["PUT /orders/{id}"]
        schedule = [{ expression = "rate(1 day)", timezone = "Europe/Berlin" }]
        files = "uploads/out/*.txt"
    """)

    assert ways(discovery, "hello") == [
        "GET /orders/{id}", "POST /orders", "rate(5 minutes)", "cron(0 10 * * ? *) Europe/Berlin", "uploads/in/*.png",
        "PUT /orders/{id}", "rate(1 day) Europe/Berlin", "uploads/out/*.txt",
    ]
    triggers = triggers_of(function_arn("hello"), discovery.functions["hello"].declared)
    assert triggers[1].target == function_arn("hello") + ":live"
    assert [trigger.origin for trigger in triggers[-4:]] == ["decorator", "toml", "toml", "toml"]


@pytest.mark.parametrize(("mark", "complaint"), [
    ("http(ROUTE)", "written out as literals"),
    ("http(*ROUTES)", "written out as literals"),
    ("http(**WHAT)", "written out as literals"),
    ("http", "in parentheses"),
    ("http()", "missing a required argument: 'route'"),
    ("http('GET /x', methods=['GET'])", "unexpected keyword argument 'methods'"),
    ("http('/x')", 'write "ANY /x"'),
    ("http(5)", "must be a string"),
    ("http('GET /_microlam/x')", "belong to the server"),
    ("http('ANY /_aws')", "belong to the server"),
    ("http('POST /2015-03-31/functions/{name}')", "belong to the server"),
    ("http('GET /x', qualifier=7)", "qualifier must be"),
    ("schedule('5 minutes')", "it is none of"),
    ("schedule('rate(1 day)', timezone='Mars/Olympus')", "is no time zone"),
    ("on_file('../up')", "is not a bucket name"),
    ("on_file('up', events='created')", "is not an event of files"),
])
def test_a_mark_that_says_nothing_gets_a_warning_with_its_line(mark: str, complaint: str, tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": f"from microlam import *\n\n@{mark}\n{HANDLER}"})

    assert ways(discovery, "hello") == []
    warning, = discovery.functions["hello"].warnings
    assert warning.startswith("hello.py line 3: ")
    assert complaint in warning
    assert warning.endswith(". Until it is mended, the decorator is ignored.")


def test_warnings_come_in_the_order_of_lines(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {"hello.py": f"from microlam import http\n@http('one')\n@http('GET /x')\n@http('two')\n{HANDLER}"})

    assert [warning.partition(": ")[0] for warning in discovery.functions["hello"].warnings] == ["hello.py line 2", "hello.py line 4"]
    assert ways(discovery, "hello") == ["GET /x"]


def test_marks_on_what_is_no_handler(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "hello.py": "from microlam import http\n@http('GET /x')\ndef other(event, context): ...\n" + HANDLER,
        "helper.py": "from microlam import http\n@http('GET /x')\ndef orders(event, context): ...\n",
    })

    assert "marks other, but the handler is handler" in discovery.functions["hello"].warnings[0]
    assert 'handler = "helper.orders"' in discovery.warnings[0]


# ---- known functions -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", ["", "# nothing\n", '"""Soon."""\n', "def handler(:\n", "from microlam import http\n@http('GET"])
def test_a_known_function_stays_while_its_file_is_empty_or_broken(text: str, tmp_path: Path) -> None:
    good = found_in(tmp_path, {"hello.py": "from microlam import http\n@http('GET /x')\ndef lambda_handler(event, context): ..."})

    kept = found_in(tmp_path, {"hello.py": text}, known=good.functions)

    assert handlers(kept) == {"hello": "hello.lambda_handler"}
    assert ways(kept, "hello") == ["GET /x"]


def test_a_function_whose_file_lost_its_handler_goes_when_the_file_has_settled(tmp_path: Path) -> None:
    good = found_in(tmp_path, {"hello.py": HANDLER})
    (tmp_path / "hello.py").write_text("import os\n")
    listing = FolderReader(tmp_path, []).read()
    written = listing.sources["hello.py"].stamp.modified_ns

    young = discover(type(listing)(sources=listing.sources, taken_ns=written + 1_000_000), read_configuration(""), good.functions)
    old = discover(type(listing)(sources=listing.sources, taken_ns=written + 1_000_000_000), read_configuration(""), good.functions)

    assert set(young.functions) == {"hello"}
    assert young.unsettled
    assert set(old.functions) == set()


# ---- packages --------------------------------------------------------------------------------------------------------

def test_what_root_files_share(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "hello.py": HANDLER, "other.py": HANDLER, "helper.py": "x = 1", "lib/__init__.py": "", "names/space.py": "", "fn/app.py": HANDLER,
        "docs/readme.txt": "", "events/a.py": "", "tests/test_a.py": "", ".env": "A=1", "microlam.toml": "", "requirements.txt": "",
        "greetings.json": "{}", "big.csv": "x" * (1 << 20) + "x", "run.log": "", "state/x.py": "",
    })

    assert discovery.shared == ("helper.py", "lib", "names", "greetings.json")


# ---- routes ----------------------------------------------------------------------------------------------------------

def test_a_function_with_no_trigger_answers_under_its_name() -> None:
    assert [str(trigger.when) for trigger in triggers_of(function_arn("hello"), [])] == ["ANY /hello", "ANY /hello/{proxy+}"]


@pytest.mark.parametrize("name", ["_microlam", "_aws", "2015-03-31"])
def test_a_function_is_not_led_to_by_what_belongs_to_the_server(name: str, tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {f"{name}.py": HANDLER})

    assert triggers_of(function_arn(name), discovery.functions[name].declared) == ()
    assert f"paths under /{name} belong to the server" in discovery.functions[name].warnings[0]


def test_of_two_functions_with_one_route_the_first_by_name_keeps_it(tmp_path: Path) -> None:
    discovery = found_in(tmp_path, {
        "b.py": "from microlam import http\n@http('GET /x/{id}')\n" + HANDLER,
        "a.py": "from microlam import http\n@http('GET /x/{name}')\n@http('GET /y')\n" + HANDLER,
        "c.py": "from microlam import http\n@http('ANY /d')\n" + HANDLER,
        "d.py": HANDLER,
    })
    declared = {function_arn(name): triggers_of(function_arn(name), found.declared) for name, found in discovery.functions.items()}

    standing, warnings = settle_routes(declared)

    assert [str(trigger.when) for trigger in standing[function_arn("a")]] == ["GET /x/{name}", "GET /y"]
    assert standing[function_arn("b")] == ()
    assert list(warnings) == [function_arn("b")]
    assert "a keeps it" in warnings[function_arn("b")][0]
