"""A function in Python up to its first `GET /invocation/next`: `boto3_start.py [--secret NAME] SERVICE...`."""

import http.client
import os
import sys

import boto3

names = sys.argv[1:]
secret = names[1] if names[:1] == ["--secret"] else None
clients = {name: boto3.client(name) for name in (names[2:] if secret else names)}
if secret:
    clients["secretsmanager"].get_secret_value(SecretId=secret)
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("GET", "/2018-06-01/runtime/invocation/next")
connection.getresponse().read()
