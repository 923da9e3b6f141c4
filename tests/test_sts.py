"""STS over the wire: who one is, and keys of a role."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from microlam.resources.sessions import Sessions
from microlam.store import Store
from tests.conftest import Serve, Server, environment, refused
from tests.lambdas import create, running

ROLE = "arn:aws:iam::111122223333:role/team/worker"
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
LOCKED = ("--access-key", "AKIDADMIN", "--secret-key", "secret")
ADMIN = {"aws_access_key_id": "AKIDADMIN", "aws_secret_access_key": "secret"}
WHOAMI = """
    import boto3, os
    def handler(event, context):
        me = boto3.client("sts").get_caller_identity()
        return [os.environ["AWS_ACCESS_KEY_ID"], me["Account"], me["Arn"]]
"""


def keys_of(credentials: dict[str, Any]) -> dict[str, str]:
    return {
        "aws_access_key_id": credentials["AccessKeyId"], "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("open") / "functions", {})


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that checks signatures."""
    yield from running(tmp_path_factory.mktemp("locked") / "functions", {"whoami.py": WHOAMI}, *LOCKED)


def test_an_access_key_of_twelve_digits_is_the_account(server: Server) -> None:
    for key, account in (("444455556666", "444455556666"), ("AKIDANY", "000000000000")):
        me = server.client("sts", aws_access_key_id=key).get_caller_identity()
        assert (me["Account"], me["UserId"], me["Arn"]) == (account, account, f"arn:aws:iam::{account}:root")


def test_keys_of_a_role_act_as_its_account_and_outlive_a_crash(serve: Serve) -> None:
    before, first = datetime.now(UTC), serve({}, *LOCKED)
    reply = first.client("sts", **ADMIN).assume_role(RoleArn=ROLE, RoleSessionName="me-there", DurationSeconds=900, SourceIdentity="Ada")
    assert reply["AssumedRoleUser"]["Arn"] == "arn:aws:sts::111122223333:assumed-role/worker/me-there"
    assert reply["AssumedRoleUser"]["AssumedRoleId"].endswith(":me-there")
    assert reply["AssumedRoleUser"]["AssumedRoleId"].startswith("AROA")
    assert (reply["SourceIdentity"], "PackedPolicySize" in reply) == ("Ada", False)
    assert timedelta(seconds=898) < reply["Credentials"]["Expiration"] - before < timedelta(seconds=930)
    first.stop(signal.SIGKILL)

    again = serve({}, *LOCKED)
    me = again.client("sts", **keys_of(reply["Credentials"])).get_caller_identity()
    assert (me["Account"], me["Arn"], me["UserId"]) == (
        "111122223333", reply["AssumedRoleUser"]["Arn"], reply["AssumedRoleUser"]["AssumedRoleId"],
    )
    # The account's own things, and no other's.
    role = again.client("iam", **keys_of(reply["Credentials"])).create_role(RoleName="theirs", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    assert role["Arn"] == "arn:aws:iam::111122223333:role/theirs"
    assert refused(again.client("iam", **ADMIN).get_role, RoleName="theirs")[1] == "NoSuchEntity"


def test_the_same_role_has_the_same_id_and_sessions_their_own_keys(server: Server) -> None:
    sts = server.client("sts")
    one, two = (sts.assume_role(RoleArn=ROLE, RoleSessionName=name) for name in ("one", "two"))
    assert one["AssumedRoleUser"]["AssumedRoleId"].partition(":")[0] == two["AssumedRoleUser"]["AssumedRoleId"].partition(":")[0]
    assert one["Credentials"]["AccessKeyId"] != two["Credentials"]["AccessKeyId"]


def test_where_signatures_are_checked_a_sessions_secret_and_token_must_be_right(locked: Server) -> None:
    keys = keys_of(locked.client("sts", **ADMIN).assume_role(RoleArn=ROLE, RoleSessionName="me")["Credentials"])
    wrong_secret, wrong_token = keys | {"aws_secret_access_key": "wrong"}, keys | {"aws_session_token": "wrong"}
    assert refused(locked.client("sts", **wrong_secret).get_caller_identity)[:2] == (403, "SignatureDoesNotMatch")
    assert refused(locked.client("sts", **wrong_token).get_caller_identity)[:2] == (403, "InvalidClientTokenId")


def test_a_handler_signs_with_its_own_account(locked: Server) -> None:
    reply = locked.client(**ADMIN).invoke(FunctionName="whoami")
    assert json.load(reply["Payload"]) == ["000000000000", "000000000000", "arn:aws:iam::000000000000:root"]


async def test_expired_keys_are_refused_and_say_why(serve: Serve, tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "functions" / ".microlam")
    session = await Sessions(store).open(ROLE, "AROA", "me", 900, datetime.now(UTC) - timedelta(seconds=901))
    await store.close()

    server = serve({})
    keys = {"aws_access_key_id": session.access_key, "aws_secret_access_key": session.secret_key, "aws_session_token": session.token}
    said = "The security token included in the request is expired"
    assert refused(server.client("sts", **keys).get_caller_identity) == (403, "ExpiredToken", said)
    assert refused(server.client("logs", **keys).describe_log_groups) == (403, "ExpiredTokenException", said)


def test_the_aws_command_assumes_a_role(server: Server) -> None:
    variables = environment(AWS_ENDPOINT_URL=server.url, AWS_ACCESS_KEY_ID="444455556666", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1")

    def aws(*words: str) -> Any:
        return json.loads(subprocess.run([sys.executable, "-m", "awscli", *words], env=variables, capture_output=True, text=True, check=True).stdout)

    role = aws("iam", "create-role", "--role-name", "worker", "--assume-role-policy-document", json.dumps(TRUST), "--tags", "Key=a,Value=b", "Key=c,Value=d")["Role"]
    assert role["Tags"] == [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]
    keys = aws("sts", "assume-role", "--role-arn", role["Arn"], "--role-session-name", "me")["Credentials"]
    me = server.client("sts", **keys_of(keys)).get_caller_identity()
    assert (me["UserId"], me["Account"], me["Arn"]) == (f"{role['RoleId']}:me", "444455556666", "arn:aws:sts::444455556666:assumed-role/worker/me")


def test_what_is_no_role_is_refused(server: Server) -> None:
    sts = server.client("sts")
    assert refused(sts.assume_role, RoleArn="no-arn-but-twenty-letters", RoleSessionName="me") == (400, "ValidationError", "no-arn-but-twenty-letters is invalid")
    assert refused(sts.assume_role, RoleArn="arn:aws:iam::111122223333:user/Ada", RoleSessionName="me") == (400, "ValidationError", "Request ARN is invalid")
    _, code, text = refused(sts.assume_role, RoleArn=ROLE, RoleSessionName="a b")
    assert (code, text) == ("ValidationError", "1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: "
                                               "Member must satisfy regular expression pattern: [\\w+=,.@-]*")
    assert refused(sts.assume_role, RoleArn=ROLE, RoleSessionName="me", Policy="{}") == (400, "MalformedPolicyDocument", "Syntax errors in policy.")
    server.client("iam").create_role(RoleName="short", AssumeRolePolicyDocument=json.dumps(TRUST))
    _, code, text = refused(sts.assume_role, RoleArn="arn:aws:iam::000000000000:role/short", RoleSessionName="me", DurationSeconds=7200)
    assert (code, text) == ("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")


def test_a_function_of_another_account_acts_and_logs_as_that_account(locked: Server) -> None:
    keys = keys_of(locked.client("sts", **ADMIN).assume_role(RoleArn=ROLE, RoleSessionName="me")["Credentials"])
    theirs = {**keys, "region_name": "eu-west-1"}
    code = textwrap.dedent("""
        import boto3
        def handler(event, context):
            print("said there")
            return boto3.client("sts").get_caller_identity()["Arn"]
    """)
    client = locked.client(**theirs)
    create(client, "there", code, Role=ROLE, Timeout=20)
    assert json.load(client.invoke(FunctionName="there")["Payload"]) == "arn:aws:iam::111122223333:root"
    found = locked.client("logs", **theirs).filter_log_events(logGroupName="/aws/lambda/there", filterPattern="said")["events"]
    assert [event["message"] for event in found] == ["said there\n"]
    for other in (keys, {**ADMIN, "region_name": "eu-west-1"}):
        assert locked.client("logs", **other).describe_log_groups()["logGroups"] == []
