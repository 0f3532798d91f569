"""The template as SAM expands it: what is only made by the expansion, and so cannot be read off template.yaml. Needs
infra/requirements.txt."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def expanded():
    command = [sys.executable, ROOT / "infra/expand-template.py", ROOT / "template.yaml"]
    region = {"AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "eu-central-1")}
    return json.loads(subprocess.check_output(command, env=os.environ | region, text=True))["Resources"]


def as_list(value):
    return value if isinstance(value, list) else [value]


class Expanded(unittest.TestCase):
    def test_every_rule_may_set_aside_what_it_cannot_deliver(self):
        resources = expanded()
        allowed = {}
        for resource in resources.values():
            if resource["Type"] == "AWS::SQS::QueuePolicy":
                for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                    self.assertEqual((statement["Effect"], as_list(statement["Action"])), ("Allow", ["sqs:SendMessage"]))
                    queue = json.dumps(statement["Resource"])
                    rules = as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
                    allowed.setdefault(queue, set()).update(json.dumps(rule) for rule in rules)
        rules = {name: rule for name, rule in resources.items() if rule["Type"] == "AWS::Events::Rule"}
        named = set()
        for name, rule in rules.items():
            for target in rule["Properties"]["Targets"]:
                self.assertIn("DeadLetterConfig", target, name)
                arn = json.dumps({"Fn::GetAtt": [name, "Arn"]})
                named.add(arn)
                self.assertIn(arn, allowed.get(json.dumps(target["DeadLetterConfig"]["Arn"]), set()), name)
        self.assertEqual(set().union(*allowed.values()), named, "and nobody else may")


if __name__ == "__main__":
    unittest.main()
