"""The template as SAM expands it: what is only made by the expansion, and so cannot be read off template.yaml. Needs
infra/requirements.txt."""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import unittest

from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]

# How many characters AWS allows in the names that CloudFormation makes of the stack's, the resource's and up to 13 of
# its own. Other types of the template are named by it, or go by ids.
LONGEST_NAMES = {
    "AWS::CodeDeploy::Application": 100,
    "AWS::CodeDeploy::DeploymentGroup": 100,
    "AWS::DynamoDB::Table": 255,
    "AWS::IAM::ManagedPolicy": 128,
    "AWS::IAM::Role": 64,
    "AWS::Lambda::Function": 64,
    "AWS::S3::Bucket": 63,
    "AWS::SQS::Queue": 80,
}


@functools.cache
def expanded(*parameters):
    command = [sys.executable, ROOT / "infra/expand-template.py", ROOT / "template.yaml", *parameters]
    region = {"AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "eu-central-1")}
    return json.loads(subprocess.check_output(command, env=os.environ | region, text=True))["Resources"]


def template(path):
    return yaml_parse((ROOT / path).read_text())


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements(resources):
    """The statements of the queues' policies."""
    for resource in resources.values():
        if resource["Type"] == "AWS::SQS::QueuePolicy":
            yield from resource["Properties"]["PolicyDocument"]["Statement"]


class Expanded(unittest.TestCase):
    def test_every_rule_may_set_aside_what_it_cannot_deliver(self):
        resources = expanded()
        allowed = {}
        for statement in statements(resources):
            if statement["Effect"] == "Allow":
                self.assertEqual(as_list(statement["Action"]), ["sqs:SendMessage"])
                queue = json.dumps(statement["Resource"])
                rules = as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
                allowed.setdefault(queue, set()).update(rule["Fn::Sub"] for rule in rules)
        named = set()
        for name, rule in resources.items():
            if rule["Type"] != "AWS::Events::Rule":
                continue
            # A name that CloudFormation makes is not known here, and other tools know no resource that SAM makes.
            bus = "${FlowBus}/" if rule["Properties"].get("EventBusName") == {"Ref": "FlowBus"} else ""
            arn = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/" + bus + rule["Properties"]["Name"]["Fn::Sub"]
            named.add(arn)
            for target in rule["Properties"]["Targets"]:
                self.assertIn("DeadLetterConfig", target, name)
                self.assertIn(arn, allowed.get(json.dumps(target["DeadLetterConfig"]["Arn"]), set()), name)
        self.assertEqual(set().union(*allowed.values()), named, "and nobody else may")

    def test_queues_and_buckets_take_nothing_that_is_not_encrypted_on_the_way(self):
        for path in ["template.yaml", "tests/e2e/observer.yaml", "docs/examples/orchestrator.yaml"]:
            resources = expanded() if path == "template.yaml" else template(path)["Resources"]
            refused, policies = set(), []
            for resource in resources.values():
                if resource["Type"] not in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"):
                    continue
                owners = resource["Properties"].get("Queues") or [resource["Properties"]["Bucket"]]
                policies += map(json.dumps, owners)
                for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                    if (statement["Effect"], statement.get("Condition")) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}}):
                        self.assertEqual(statement["Principal"], "*")
                        self.assertIn(statement["Action"], ["sqs:*", "s3:*"])
                        self.assertIn({"Fn::GetAtt": [owners[0]["Ref"], "Arn"]}, as_list(statement["Resource"]))
                        refused.add(owners[0]["Ref"])
            self.assertEqual(len(policies), len(set(policies)), f"{path}: the later policy of a queue replaces the earlier")
            theirs = {name for name, resource in resources.items() if resource["Type"] in ("AWS::SQS::Queue", "AWS::S3::Bucket")}
            self.assertEqual(refused, theirs, path)

    def test_what_is_expanded_once_can_be_given_other_parameters(self):
        # SAM itself asks for GradualDeployment, to know what to make.
        others = [f"{name}=another-{name}" for name in template("template.yaml")["Parameters"] if name != "GradualDeployment"]
        self.assertEqual(expanded(), expanded(*others))
        cors = json.dumps(expanded()["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"])
        self.assertIn('{"Ref": "CorsOrigins"}', cors)

    def test_there_is_room_in_the_stack(self):
        # CloudFormation's limit is 500: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
        for parameters in [[], ["GradualDeployment=true"]]:
            self.assertLess(len(expanded(*parameters)), 400, "time to think of a second stack")

    def test_generated_names_begin_with_the_whole_name_of_the_stack(self):
        # What may be delivered goes by that; CloudFormation cuts the stack's name where there is no room.
        pattern = template("infra/delivery-role.yaml")["Parameters"]["StackName"]["AllowedPattern"]
        longest = int(re.search(r"\{0,(\d+)\}", pattern)[1]) + 1
        rooms = [LONGEST_NAMES[resource["Type"]] - len(f"-{name}-") - 13
                 for name, resource in expanded("GradualDeployment=true").items() if resource["Type"] in LONGEST_NAMES]
        self.assertEqual(longest, min(rooms))
        for name, rule in expanded().items():
            if rule["Type"] == "AWS::Events::Rule":
                own = rule["Properties"]["Name"]["Fn::Sub"]
                self.assertLessEqual(len(own.replace("${AWS::StackName}", "s" * longest)), 64, name)
        for stage in tomllib.loads((ROOT / "samconfig.toml").read_text()).values():
            if isinstance(stage, dict) and "stack_name" in stage["deploy"]["parameters"]:
                self.assertRegex(stage["deploy"]["parameters"]["stack_name"], pattern)
        self.assertEqual(template("docs/examples/orchestrator.yaml")["Parameters"]["FlowStack"]["AllowedPattern"], pattern)

    def test_the_access_log_takes_nothing_of_the_accounts_policy(self):
        group = "/aws/vendedlogs/apigateway/"
        self.assertEqual(expanded()["ApiLogs"]["Properties"]["LogGroupName"], {"Fn::Sub": group + "${AWS::StackName}"})
        for path, theirs in [("infra/delivery-role.yaml", f"log-group:{group}${{StackName}}"), ("docs/operations.md", f"logs {group}$STACK ")]:
            text = (ROOT / path).read_text()
            self.assertTrue(theirs in text and "/aws/apigateway/" not in text, path)

    def test_the_example_asks_for_what_is_exported(self):
        outputs = template("template.yaml")["Outputs"]
        exported = {output["Export"]["Name"]["Fn::Sub"] for output in outputs.values() if "Export" in output}
        example = (ROOT / "docs/examples/orchestrator.yaml").read_text()
        asked = {f"${{AWS::StackName}}-{name}" for name in re.findall(r'ImportValue": !Sub "\$\{FlowStack\}-(\w+)"', example)}
        self.assertTrue(asked and asked <= exported, (asked, exported))
        page = (ROOT / "docs/account.md").read_text()
        for name in exported:
            self.assertTrue(f"`{name.replace('${AWS::StackName}', '<stack>')}`" in page, name)


if __name__ == "__main__":
    unittest.main()
