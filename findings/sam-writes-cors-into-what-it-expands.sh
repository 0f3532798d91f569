#!/usr/bin/env bash
# aws-sam-translator 1.115.0 writes the value that a parameter has when the template is expanded into the origins of an HTTP API
# (`CorsConfiguration`). Elsewhere a parameter stays a `Ref`, as CloudFormation would resolve it: a template that was expanded once
# can be given other values everywhere but there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aws-sam-translator==1.115.0
AWS_DEFAULT_REGION=eu-central-1 "$folder/venv/bin/python" <<'PYTHON'
import logging

from samtranslator.translator.transform import transform

logging.disable(logging.WARNING)
template = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {"Origin": {"Type": "String", "Default": "https://one.example"}, "Stage": {"Type": "String", "Default": "one"}},
    "Resources": {
        "Api": {"Type": "AWS::Serverless::HttpApi", "Properties": {
            "CorsConfiguration": {"AllowOrigins": [{"Ref": "Origin"}]}, "StageName": {"Ref": "Stage"}}},
        "Function": {"Type": "AWS::Serverless::Function", "Properties": {
            "CodeUri": "s3://bucket/key", "Handler": "h", "Runtime": "provided.al2023", "Role": "arn:aws:iam::111122223333:role/r",
            "Events": {"Get": {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Path": "/", "Method": "GET"}}}}},
    },
}
loader = type("NoManagedPolicies", (), {"load": staticmethod(dict)})()
resources = transform(template, {}, loader)["Resources"].values()
origins = next(of["Properties"]["Body"]["x-amazon-apigateway-cors"]["allowOrigins"] for of in resources if of["Type"] == "AWS::ApiGatewayV2::Api")
stage = next(of["Properties"]["StageName"] for of in resources if of["Type"] == "AWS::ApiGatewayV2::Stage")
print("both are given by a parameter; expanded by aws-sam-translator 1.115.0 both should be a Ref:")
print(f"  StageName:                      {stage}")
print(f"  CorsConfiguration.AllowOrigins: {origins}")
is_as_expected = stage == {"Ref": "Stage"} and origins == ["https://one.example"]
print("As described." if is_as_expected else "NOT as described any more.")
raise SystemExit(not is_as_expected)
PYTHON
