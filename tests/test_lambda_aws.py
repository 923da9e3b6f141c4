"""The `aws` command as people type it, against a real server: README's walk from a zip to a canary and its promotion."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import Serve, environment

README = Path(__file__).parent.parent / "README.md"


def test_readmes_walk_works_as_it_stands(serve: Serve, tmp_path: Path) -> None:
    server = serve({}, "--seed", "1")
    script = README.read_text().partition("<!-- walk -->")[2].partition("```sh\n")[2].partition("```")[0]
    assert "create-function" in script
    programs = Path(sys.executable).parent
    variables = environment(AWS_ENDPOINT_URL=server.url, AWS_ACCESS_KEY_ID="000000000000", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1")
    variables["PATH"] = f"{programs}:{variables['PATH']}"

    def aws(*words: str) -> Any:
        done = subprocess.run([str(programs / "aws"), "lambda", *words], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    # Pasted as it is: the first line that fails ends it.
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    ran = [record["version"] for record in server.invocations(function="greet", limit="1000")]
    assert (len(ran), set(ran)) == (100, {"1", "2"})
    assert ran.count("1") > ran.count("2")
    invoked = aws("invoke", "--function-name", "greet:live", "reply.json")
    assert (invoked["StatusCode"], invoked["ExecutedVersion"]) == (200, "2")
    assert json.loads((tmp_path / "reply.json").read_text()) == {"hello": "there", "version": "2"}
    assert [version["Version"] for version in aws("list-versions-by-function", "--function-name", "greet")["Versions"]] == ["$LATEST", "1", "2"]
    aws("delete-function", "--function-name", "greet")
    assert aws("list-functions") == {"Functions": []}
