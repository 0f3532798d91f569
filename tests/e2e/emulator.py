"""MiniStack with IAM enforced, and every decision of its IAM in a file: who did what to which resource."""

import json
import os
import sys
import threading

from ministack import app
from ministack.core import iam_evaluator
from ministack.services import lambda_svc, secretsmanager

decide, evaluate = iam_evaluator.enforce, iam_evaluator.evaluate
request = threading.local()


def recorded_enforce(access_key, action, service, region, resource_arn="*", service_context=None):
    # The emulator takes the bus's name for a rule's:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    if action == "events:DescribeEventBus":
        resource_arn = resource_arn.replace(":rule/default/", ":event-bus/")
    request.principal = None
    denied = decide(access_key, action, service, region, resource_arn, service_context)
    # The root account and the unknown are not looked up in policies.
    if request.principal:
        decision = {"principal": request.principal, "action": action, "resource": resource_arn, "allowed": denied is None}
        with open(os.environ["IAM_DECISIONS"], "a") as file:
            file.write(json.dumps(decision) + "\n")
    return denied


def remembered_evaluate(context, *policies):
    request.principal = context.principal_arn
    return evaluate(context, *policies)


create_secret = secretsmanager._create_secret


def create_secret_in_the_version_asked_for(data):
    # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html, ClientRequestToken
    answer = create_secret(data)
    if answer[0] == 200 and "ClientRequestToken" in data:
        secret = secretsmanager._secrets[data["Name"]]
        secret["Versions"] = {data["ClientRequestToken"]: version for version in secret["Versions"].values()}
    return answer


match_filter = lambda_svc._match_esm_filter


def match_filter_on_leaves(record, pattern):
    # What is not there has no leaves, which `exists` asks for:
    # https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html
    missing = {name: {} for name, inner in pattern.items() if isinstance(inner, dict) and name not in record}
    return match_filter({**record, **missing}, pattern)


pin_request_origin = app.pin_request_origin


def pin_encrypted_origin(source_ip, _):
    """It listens without TLS, which the policies of queues and bucket ask for."""
    pin_request_origin(source_ip, True)


app.pin_request_origin = pin_encrypted_origin
lambda_svc._match_esm_filter = match_filter_on_leaves
secretsmanager._create_secret = create_secret_in_the_version_asked_for
iam_evaluator.enforce, iam_evaluator.evaluate = recorded_enforce, remembered_evaluate
sys.exit(app.main())
