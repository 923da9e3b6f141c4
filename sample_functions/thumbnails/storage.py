"""Reads and writes objects: in S3 on AWS, in the bucket's folder under microlam, which tells where that is."""
import json
import os
from pathlib import Path


def read(bucket, key):
    folder = folder_of(bucket)
    if folder:
        return (folder / key).read_bytes()
    return s3().get_object(Bucket=bucket, Key=key)["Body"].read()


def write(bucket, key, content):
    folder = folder_of(bucket)
    if folder:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)
    else:
        s3().put_object(Bucket=bucket, Key=key, Body=content)
    return key


def folder_of(bucket):
    folder = json.loads(os.environ.get("MICROLAM_BUCKETS", "{}")).get(bucket)
    return Path(folder) if folder else None


def s3():
    import boto3

    return boto3.client("s3")
