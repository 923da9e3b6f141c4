"""IAM over the wire: roles and policies, as far as clients of Lambda need them."""
from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, refused, start

BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
WRITE = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": ["s3:Put*", "s3:Delete*"], "Resource": ["arn:aws:s3:::mine/*"]}}

_account = iter(range(100_000_000_000, 999_999_999_999))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all; each test has an account of its own."""
    server = start(tmp_path_factory.mktemp("functions"))
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def account() -> str:
    return str(next(_account))


@pytest.fixture
def iam(server: Server, account: str) -> Any:
    return server.client("iam", aws_access_key_id=account)


def create_role(iam: Any, name: str = "worker", **more: Any) -> Any:
    return iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST), **more)["Role"]


# ---- roles -----------------------------------------------------------------------------------------------------------

def test_a_role_lives_from_its_creation_to_its_end(iam: Any, account: str) -> None:
    created = create_role(iam, Path="/team/", Description="Works", MaxSessionDuration=7200, Tags=[{"Key": "stage", "Value": "dev"}])
    assert created["Arn"] == f"arn:aws:iam::{account}:role/team/worker"
    assert (created["AssumeRolePolicyDocument"], created["Path"], created["RoleId"][:4], len(created["RoleId"])) == (TRUST, "/team/", "AROA", 21)
    iam.get_waiter("role_exists").wait(RoleName="worker", WaiterConfig={"MaxAttempts": 1})

    role = iam.get_role(RoleName="worker")["Role"]
    assert {name: role[name] for name in ("Description", "MaxSessionDuration", "Tags", "RoleLastUsed", "CreateDate")} == {
        "Description": "Works", "MaxSessionDuration": 7200, "Tags": [{"Key": "stage", "Value": "dev"}], "RoleLastUsed": {}, "CreateDate": created["CreateDate"],
    }
    iam.update_role(RoleName="worker", Description="Rests")
    iam.update_assume_role_policy(RoleName="worker", PolicyDocument=json.dumps({**TRUST, "Version": "2008-10-17"}))
    iam.tag_role(RoleName="worker", Tags=[{"Key": "stage", "Value": "prod"}, {"Key": "team", "Value": "a"}])
    iam.untag_role(RoleName="worker", TagKeys=["team", "never"])
    role = iam.get_role(RoleName="worker")["Role"]
    assert (role["Description"], role["MaxSessionDuration"], role["AssumeRolePolicyDocument"]["Version"]) == ("Rests", 3600, "2008-10-17")
    assert iam.list_role_tags(RoleName="worker")["Tags"] == [{"Key": "stage", "Value": "prod"}]
    assert iam.list_instance_profiles_for_role(RoleName="worker")["InstanceProfiles"] == []

    iam.delete_role(RoleName="worker")
    assert refused(iam.get_role, RoleName="worker") == (404, "NoSuchEntity", "The role with name worker cannot be found.")


def test_a_role_without_extras_has_no_empty_members(iam: Any) -> None:
    create_role(iam)
    assert set(iam.get_role(RoleName="worker")["Role"]) == {
        "Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument", "MaxSessionDuration", "RoleLastUsed",
    }


def test_names_differ_in_more_than_their_case(iam: Any) -> None:
    create_role(iam)
    assert refused(create_role, iam=iam, name="Worker") == (409, "EntityAlreadyExists", "Role with name Worker already exists.")


def test_accounts_never_see_each_others_roles(server: Server, iam: Any) -> None:
    create_role(iam)
    other = server.client("iam", aws_access_key_id=str(next(_account)))
    assert other.list_roles()["Roles"] == []
    assert refused(other.get_role, RoleName="worker")[1] == "NoSuchEntity"
    create_role(other)


def test_roles_are_listed_a_page_at_a_time(iam: Any) -> None:
    for number in range(7):
        create_role(iam, f"role-{number}", Path="/odd/" if number % 2 else "/even/")
    pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 3}))
    assert [[role["RoleName"][-1] for role in page["Roles"]] for page in pages] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert "Marker" not in pages[-1]
    assert [role["RoleName"] for role in iam.list_roles(PathPrefix="/odd/")["Roles"]] == ["role-1", "role-3", "role-5"]
    assert refused(iam.list_roles, Marker="no marker")[1] == "ValidationError"


# ---- what hangs on a role --------------------------------------------------------------------------------------------

def test_managed_policies_are_attached_and_detached(server: Server, iam: Any) -> None:
    create_role(iam)
    mine = iam.create_policy(PolicyName="read", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
    for arn in (BASIC, mine, mine):
        iam.attach_role_policy(RoleName="worker", PolicyArn=arn)
    attached = [policy for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName="worker", PaginationConfig={"PageSize": 1})
                for policy in page["AttachedPolicies"]]
    assert attached == [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}, {"PolicyName": "read", "PolicyArn": mine}]
    assert iam.get_policy(PolicyArn=mine)["Policy"]["AttachmentCount"] == 1
    [role] = iam.list_entities_for_policy(PolicyArn=mine)["PolicyRoles"]
    assert role["RoleName"] == "worker"

    assert refused(iam.delete_policy, PolicyArn=mine) == (409, "DeleteConflict", "Cannot delete a policy attached to entities.")
    assert refused(iam.delete_role, RoleName="worker") == (409, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
    iam.detach_role_policy(RoleName="worker", PolicyArn=mine)
    assert refused(iam.detach_role_policy, RoleName="worker", PolicyArn=mine) == (404, "NoSuchEntity", f"Policy {mine} was not found.")
    iam.delete_policy(PolicyArn=mine)
    missing = "arn:aws:iam::aws:policy/AWSLambdaFullAccess"
    assert refused(iam.attach_role_policy, RoleName="worker", PolicyArn=missing) == (
        404, "NoSuchEntity", f"Policy {missing} does not exist or is not attachable.",
    )
    assert server.printed(f"{missing} is none of the AWS-managed policies that are kept here")
    assert refused(iam.attach_role_policy, RoleName="worker", PolicyArn="twenty letters and no more")[1:] == (
        "InvalidInput", "ARN twenty letters and no more is not valid.",
    )


def test_a_role_has_policies_of_its_own(iam: Any) -> None:
    create_role(iam)
    iam.put_role_policy(RoleName="worker", PolicyName="b", PolicyDocument=json.dumps(READ))
    iam.put_role_policy(RoleName="worker", PolicyName="a", PolicyDocument=json.dumps(READ))
    iam.put_role_policy(RoleName="worker", PolicyName="a", PolicyDocument=json.dumps(WRITE))
    names = [name for page in iam.get_paginator("list_role_policies").paginate(RoleName="worker", PaginationConfig={"PageSize": 1}) for name in page["PolicyNames"]]
    assert names == ["a", "b"]
    reply = iam.get_role_policy(RoleName="worker", PolicyName="a")
    assert (reply["RoleName"], reply["PolicyName"], reply["PolicyDocument"]) == ("worker", "a", WRITE)
    assert refused(iam.get_role_policy, RoleName="worker", PolicyName="c") == (404, "NoSuchEntity", "The role policy with name c cannot be found.")
    assert refused(iam.delete_role, RoleName="worker") == (409, "DeleteConflict", "Cannot delete entity, must delete policies first.")
    for name in names:
        iam.delete_role_policy(RoleName="worker", PolicyName=name)
    iam.delete_role(RoleName="worker")


# ---- policies --------------------------------------------------------------------------------------------------------

def test_a_policy_has_up_to_five_versions(iam: Any, account: str) -> None:
    created = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(READ), Path="/x/", Description="d", Tags=[{"Key": "a", "Value": "b"}])["Policy"]
    arn = created["Arn"]
    assert (arn, created["DefaultVersionId"], created["AttachmentCount"]) == (f"arn:aws:iam::{account}:policy/x/p", "v1", 0)
    iam.get_waiter("policy_exists").wait(PolicyArn=arn, WaiterConfig={"MaxAttempts": 1})
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(WRITE))["PolicyVersion"]["IsDefaultVersion"] is False
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(WRITE), SetAsDefault=True)
    status, code, text = refused(iam.create_policy_version, PolicyArn=arn, PolicyDocument=json.dumps(READ))
    assert (code, status, text[:45]) == ("LimitExceeded", 409, "A managed policy can have up to 5 versions. B")
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [(version["VersionId"], version["IsDefaultVersion"], "Document" in version) for version in versions] == [
        ("v5", True, False), ("v4", False, False), ("v3", False, False), ("v2", False, False), ("v1", False, False),
    ]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == READ
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (policy["DefaultVersionId"], policy["Description"], policy["Tags"]) == ("v1", "d", [{"Key": "a", "Value": "b"}])
    assert refused(iam.delete_policy_version, PolicyArn=arn, VersionId="v1")[1:] == ("DeleteConflict", "Cannot delete the default version of a policy.")
    assert refused(iam.delete_policy, PolicyArn=arn)[2].startswith("This policy has more than one version.")
    for number in range(2, 6):
        iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
    # A number is never given again.
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(READ))["PolicyVersion"]["VersionId"] == "v6"
    iam.delete_policy_version(PolicyArn=arn, VersionId="v6")
    iam.delete_policy(PolicyArn=arn)
    assert refused(iam.get_policy, PolicyArn=arn) == (404, "NoSuchEntity", f"Policy {arn} was not found.")


def test_a_policys_name_is_taken_whatever_its_path(iam: Any) -> None:
    iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(READ))
    assert refused(iam.create_policy, PolicyName="p", Path="/x/", PolicyDocument=json.dumps(READ)) == (
        409, "EntityAlreadyExists", "A policy called p already exists. Duplicate names are not allowed.",
    )


def test_awss_own_policies_are_there_and_stay_as_they_are(iam: Any) -> None:
    policy = iam.get_policy(PolicyArn=BASIC)["Policy"]
    assert (policy["PolicyName"], policy["Path"], policy["IsAttachable"]) == ("AWSLambdaBasicExecutionRole", "/service-role/", True)
    document = iam.get_policy_version(PolicyArn=BASIC, VersionId=policy["DefaultVersionId"])["PolicyVersion"]["Document"]
    assert document["Statement"][0]["Action"] == ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    assert refused(iam.delete_policy, PolicyArn=BASIC)[:2] == (403, "AccessDenied")

    mine = iam.create_policy(PolicyName="mine", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
    arns = {policy["Arn"] for page in iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 5}) for policy in page["Policies"]}
    assert {BASIC, mine} <= arns
    assert [policy["Arn"] for policy in iam.list_policies(Scope="Local")["Policies"]] == [mine]
    assert mine not in {policy["Arn"] for policy in iam.list_policies(Scope="AWS")["Policies"]}
    assert iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"] == []


# ---- documents -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("document", "said"), [
    ("{", "The policy is not in the valid JSON format."),
    ("[]", "Syntax errors in policy."),
    ('{"Version": "2012-10-17", "Statement": null}', "Syntax errors in policy."),
    ('{"Version": "2013-01-01", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}', "Syntax errors in policy."),
    ('{"Statement": [{"Effect": "Maybe", "Action": "s3:*", "Resource": "*"}]}', "Syntax errors in policy."),
    ('{"Statement": [{"Effect": "Allow", "Action": "s3:*"}]}', "Policy statement must contain resources."),
    ('{"Statement": [{"Effect": "Allow", "Resource": "*"}]}', "Policy statement must contain actions."),
    ('{"Statement": [{"Effect": "Allow", "Action": "GetObject", "Resource": "*"}]}',
     "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
    ('{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "mine"}]}', 'Resource mine must be in ARN format or "*".'),
    ('{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}', "Policy document should not specify a principal."),
])
def test_a_malformed_policy_is_refused_in_iams_words(iam: Any, document: str, said: str) -> None:
    assert refused(iam.create_policy, PolicyName="p", PolicyDocument=document) == (400, "MalformedPolicyDocument", said)


@pytest.mark.parametrize(("document", "said"), [
    ("file://trust.json", "This policy contains invalid Json"),
    (json.dumps(READ), "Has prohibited field Resource"),
    ('{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}', "Missing required field Principal"),
    ('{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}]}', "AssumeRole policy may only specify STS AssumeRole actions."),
])
def test_a_malformed_trust_is_refused_in_iams_words(iam: Any, document: str, said: str) -> None:
    assert refused(iam.create_role, RoleName="r", AssumeRolePolicyDocument=document) == (400, "MalformedPolicyDocument", said)


def test_a_broken_constraint_is_said_in_awss_words(iam: Any) -> None:
    status, code, text = refused(iam.get_role, RoleName="a b")
    assert (code, status) == ("ValidationError", 400)
    assert text == ("1 validation error detected: Value 'a b' at 'roleName' failed to satisfy constraint: "
                    "Member must satisfy regular expression pattern: [\\w+=,.@-]+")


# ---- over a crash ----------------------------------------------------------------------------------------------------

def test_roles_and_policies_outlive_a_crash(tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        iam = server.client("iam")
        role = create_role(iam, Description="Works")
        policy = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(READ))["Policy"]
        iam.attach_role_policy(RoleName="worker", PolicyArn=policy["Arn"])
        iam.put_role_policy(RoleName="worker", PolicyName="own", PolicyDocument=json.dumps(WRITE))
        server.stop(signal.SIGKILL)
        server = start(tmp_path)
        iam = server.client("iam")
        assert {name: iam.get_role(RoleName="worker")["Role"][name] for name in role} == role
        assert iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"] == [{"PolicyName": "p", "PolicyArn": policy["Arn"]}]
        assert iam.get_role_policy(RoleName="worker", PolicyName="own")["PolicyDocument"] == WRITE
        assert iam.get_policy_version(PolicyArn=policy["Arn"], VersionId="v1")["PolicyVersion"]["Document"] == READ
    finally:
        server.stop(signal.SIGKILL)
