"""What a client of AWS sees, as JSON: PORT VERB ARGUMENTS."""

import base64
import json
import sys

import boto3


def client(service):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def bucket(name):
    client("s3").create_bucket(Bucket=name)


def objects(name):
    s3 = client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    read = lambda key: s3.get_object(Bucket=name, Key=key)["Body"].read()
    return {key: base64.b64encode(read(key)).decode() for key in keys}


def events(group):
    logs = client("logs")
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    streams = [found["logStreamName"] for page in pages for found in page["logStreams"]]
    return {stream: list(of_stream(logs, group, stream)) for stream in streams}


def of_stream(logs, group, stream):
    last, token = None, {}
    while last != token:
        last = token
        page = logs.get_log_events(
            logGroupName=group, logStreamName=stream, startFromHead=True, **token
        )
        for event in page["events"]:
            yield [event["timestamp"], event["message"]]
        token = {"nextToken": page["nextForwardToken"]}


def user(name, policy):
    """Makes the bucket `private` and a user with a policy: six requests."""
    bucket("private")
    iam = client("iam")
    iam.create_user(UserName=name)
    if policy:
        iam.put_user_policy(UserName=name, PolicyName="it", PolicyDocument=policy)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return [made["AccessKeyId"], made["SecretAccessKey"]]


verbs = {"bucket": bucket, "objects": objects, "events": events, "user": user}
print(json.dumps(verbs[sys.argv[2]](*sys.argv[3:])))
