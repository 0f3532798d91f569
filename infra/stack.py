"""What the scripts for operators share: the stack that they work on, and what is wrong, said in one line."""

import argparse
import hashlib
import json
import os
import re
import sys
from typing import NamedTuple

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
except ImportError:
    boto3 = None

AWS_ERRORS = (BotoCoreError, ClientError) if boto3 else ()
ANSWERS_OF_OTHERS = (ResponseParserError,) if boto3 else ()
# What a stack of template.yaml has, and no other.
OUTPUTS = {"TableName", "EventBusName", "UnreadableChangesUrl", "UnpublishedChangesBucket"}
ADVICE = {
    ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        "there are no credentials for AWS: sign in (aws sso login, aws configure, or AWS_PROFILE) and run it again",
    ("NoRegionError",):
        "no region is set: export AWS_REGION=eu-central-1, or where the stack is, and run it again",
    ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"):
        "the credentials have expired: sign in again and run it again",
    ("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure"):
        "AWS does not take the credentials: look at AWS_PROFILE and AWS_ACCESS_KEY_ID, sign in and run it again",
    ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"):
        "AWS does not answer: look at the network and AWS_REGION, and run it again",
}


def explain(error):
    """What is wrong, and what to do where that is known."""
    names = type(error).__name__, getattr(error, "response", {}).get("Error", {}).get("Code")
    advice = next((advice for of, advice in ADVICE.items() if not set(names).isdisjoint(of)), None)
    return advice or " ".join(str(error).split())


def run(main):
    """Runs a script: whatever is wrong is one line."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; it can be run again")
    except AWS_ERRORS as error:
        sys.exit(explain(error))
    except ANSWERS_OF_OTHERS:
        sys.exit("what answers is not AWS: look at AWS_ENDPOINT_URL, and whether a proxy wants you to sign in")


class Parser(argparse.ArgumentParser):
    """Says what is wrong without repeating the usage."""

    def __init__(self, description, example):
        super().__init__(description=description, epilog=f"for example:\n{example}", formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; --help has an example\n")


def client(service, **config):
    if boto3 is None:
        sys.exit("this Python has no boto3: take that of .venv, which CONTRIBUTING.md makes: PATH=$PWD/.venv/bin:$PATH")
    # The AWS CLI takes either name, boto3 this one.
    if "AWS_REGION" in os.environ:
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    try:
        return boto3.client(service, config=Config(**config))
    except ValueError as error:
        sys.exit(f"a variable AWS_… of the environment makes no sense: {error}")


def settings(arguments):
    """What NAME=VALUE says."""
    for argument in arguments:
        if not re.match(r"\w+=", argument):
            sys.exit(f"{argument}: write NAME=VALUE, as in RateLimit=50")
    return dict(argument.split("=", 1) for argument in arguments)


def mark(parameters):
    """Names the settings of a release: functions take on others only under another release."""
    of_functions = {name: value for name, value in parameters.items() if name != "Release"}
    return hashlib.sha256(json.dumps(of_functions, sort_keys=True).encode()).hexdigest()[:8]


def check_name(name):
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        sys.exit(f"{name!r} is no name of a stack, which comes first: infra/deploy --stack prod says that of a stage's")


class Function(NamedTuple):
    logical: str
    name: str
    live: int  # the version that its alias leads to
    deployed: int  # the one that CloudFormation knows
    shifting: dict  # the versions that get a part of the calls
    unchanged: dict  # the condition that the alias is as it was


class Stack:
    def __init__(self, name):
        check_name(name)
        self.name, self.cloudformation = name, client("cloudformation")
        try:
            described = self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except AWS_ERRORS as error:
            if "does not exist" in str(error):
                sys.exit(f"there is no stack {name} here: look at AWS_REGION and AWS_PROFILE; infra/deploy --stack prod says the name of a stage's")
            raise
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
        self.parameters = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described.get("Parameters", [])}
        self.status = described.get("StackStatus", "")
        if missing := sorted(OUTPUTS - self.outputs.keys()):
            sys.exit(f"the stack {name} is no flow repository: it has no output {missing[0]}; infra/deploy --stack prod says the name of a stage's")

    def must_be_at_rest(self):
        # Cleaning up, too: it deletes versions that were replaced.
        if self.status.endswith("_IN_PROGRESS"):
            sys.exit(f"{self.name} is {self.status}: wait for it, or put it back: aws cloudformation cancel-update-stack --stack-name {self.name}")

    def function(self, logical):
        answer = self.cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical)
        return answer["StackResourceDetail"]["PhysicalResourceId"]

    def functions(self):
        """All of them, and which versions run."""
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.name)
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        deployed = {}
        for resource in resources:
            if resource["ResourceType"] == "AWS::Lambda::Version":
                *_, function, version = resource["PhysicalResourceId"].split(":")
                deployed[function] = max(int(version), deployed.get(function, 0))
        functions = client("lambda")
        for resource in resources:
            if resource["ResourceType"] == "AWS::Lambda::Function":
                name = resource["PhysicalResourceId"]
                alias = functions.get_alias(FunctionName=name, Name="live")
                live = int(alias["FunctionVersion"])
                shifting = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
                yield Function(resource["LogicalResourceId"], name, live, deployed.get(name, live), shifting, {name: alias[name] for name in ["RevisionId"] if name in alias})
