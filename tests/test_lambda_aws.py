"""The `aws` command as people type it, against a real server: README's walk from a zip to a canary and its promotion."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import Serve, environment

README = Path(__file__).parent.parent / "README.md"


def test_readmes_walk_works_as_it_stands(serve: Serve, tmp_path: Path) -> None:
    server = serve({}, "--seed", "1")
    script = README.read_text().partition("<!-- walk -->")[2].partition("```sh\n")[2].partition("```")[0]
    assert "create-function" in script
    programs = Path(sys.executable).parent
    variables = environment(AWS_ENDPOINT_URL=server.url, AWS_ACCESS_KEY_ID="000000000000", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1")
    variables["PATH"] = f"{programs}:{variables['PATH']}"

    # Pasted as it is: the first line that fails ends it.
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    ran = [record["version"] for record in server.invocations(function="greet", limit="1000")]
    assert (len(ran), set(ran)) == (100, {"1", "2"})
    assert ran.count("1") > ran.count("2")
    client = server.client()
    invoked = client.invoke(FunctionName="greet:live")
    assert (invoked["ExecutedVersion"], json.load(invoked["Payload"])) == ("2", {"hello": "there", "version": "2"})
    assert [version["Version"] for version in client.list_versions_by_function(FunctionName="greet")["Versions"]] == ["$LATEST", "1", "2"]
    client.delete_function(FunctionName="greet")
    assert client.list_functions()["Functions"] == []
