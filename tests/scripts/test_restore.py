"""What infra/restore.py puts back is what the functions read: a version like any other. It works on the table of a local server,
`target/debug/local`, which `cargo test` builds. Needs infra/requirements.txt."""

import json
import os
import pathlib
import re
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import boto3

import aws
from aws import ROOT

LOCAL = pathlib.Path(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "debug/local")
OPERATOR = "aws:assumed-role/Operators/olga"
GRAPH = {"nodes": [{"id": "a", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"}]}


class Restore(unittest.TestCase):
    def setUp(self):
        command = [LOCAL, "--data", ":memory:", "--port", "0", "--aws-port", "0", "--orchestrator", "off"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.server.communicate)
        self.addCleanup(self.server.terminate)
        said = ""
        for line in self.server.stdout:
            said += line
            if "export TOKEN=" in line:
                break
        self.url = re.search(r"listens on (\S+);", said)[1]
        self.endpoint = re.search(r"AWS_ENDPOINT_URL=(\S+)", said)[1]
        self.token = re.search(r"TOKEN=(\S+)", said)[1]
        self.dynamodb = boto3.client("dynamodb", endpoint_url=self.endpoint, region_name="local", aws_access_key_id="local",
                                     aws_secret_access_key="local")
        self.aws = aws.Aws()
        self.aws.outputs["TableName"] = "flow-repository"
        self.aws.parameters["VersionDays"] = "365"
        self.aws.__enter__()
        self.addCleanup(self.aws.__exit__)

    def api(self, method, path, body=None):
        """The status, and what is in `data`, or the whole answer."""
        request = urllib.request.Request(self.url + path, method=method, headers={
            "Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, json.dumps(body).encode() if body else None, timeout=30) as answer:
                text = answer.read()
                answered = json.loads(text) if text else {}
                return answer.status, answered.get("data", answered) if isinstance(answered, dict) else answered
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def head(self, id):
        key = {"pk": {"S": f"FLOW#{id}"}, "sk": {"S": "HEAD"}}
        return self.dynamodb.get_item(TableName="flow-repository", Key=key, ConsistentRead=True)["Item"]

    def items(self, id):
        of_flow = {":pk": {"S": f"FLOW#{id}"}}
        found = self.dynamodb.query(TableName="flow-repository", KeyConditionExpression="pk = :pk", ExpressionAttributeValues=of_flow,
                                    ConsistentRead=True)
        return {item["sk"]["S"]: item for item in found["Items"]}

    def copy(self):
        """The table as it is now, as a backup is restored."""
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        self.dynamodb.create_table(TableName="restored-table", BillingMode="PAY_PER_REQUEST",
                                   AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
                                   KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys])
        for page in self.dynamodb.get_paginator("scan").paginate(TableName="flow-repository"):
            for item in page["Items"]:
                self.dynamodb.put_item(TableName="restored-table", Item=item)

    def restore(self, *options):
        return aws.run("restore.py", aws.STACK, "restored-table", *options, url=self.aws.url, AWS_ENDPOINT_URL_DYNAMODB=self.endpoint,
                       AWS_DEFAULT_REGION="local", AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")

    def create(self):
        return self.api("POST", "/flows", {"name": "as it was", "graph": GRAPH})[1]["id"]

    def events(self, id):
        with urllib.request.urlopen(f"{self.url}/_local/events", timeout=30) as answer:
            events = json.load(answer)
        events = events.get("events", events) if isinstance(events, dict) else events
        details = [event["detail"] for event in events]
        return [detail for detail in details if detail.get("subject") == f"flows/{id}"]

    def check_history(self, id, numbers):
        """The versions are these; the last is the operator's, and can be compared and undone."""
        _, versions = self.api("GET", f"/flows/{id}/versions")
        self.assertEqual([version["number"] for version in versions], numbers)
        self.assertEqual((versions[0]["author"], versions[0]["summary"]), (OPERATOR, "Put back from a backup"))
        times = [version["time"] for version in versions]
        self.assertEqual(times, sorted(times, reverse=True))
        for number in numbers:
            self.assertEqual(self.api("GET", f"/flows/{id}/versions/{number}")[0], 200, number)
        status, difference = self.api("GET", f"/flows/{id}/diff")
        self.assertEqual((status, difference.get("from"), difference.get("to")), (200, numbers[1], numbers[0]), difference)
        return difference

    def test_a_flow_that_is_there_can_be_had_back_as_it_became(self):
        id = self.create()
        self.copy()
        self.api("PATCH", f"/flows/{id}", {"name": "as it became", "cron": "0 6 * * *"})
        before = self.head(id)
        code, seen = self.restore("--dry-run")
        self.assertEqual((code, seen), (0, f"{id}  differs, was inactive: would be put back\n1 to put back, 0 failed, 0 the same, 0 newer and left alone\n"))
        self.assertEqual(self.head(id), before)
        code, seen = self.restore()
        self.assertEqual((code, seen), (0, f"{id}  differs, was inactive: put back\n1 put back, 0 failed, 0 the same, 0 newer and left alone\n"))
        self.assertEqual(self.api("GET", f"/flows/{id}")[1]["name"], "as it was")
        self.assertEqual(self.restore()[1], "0 put back, 0 failed, 1 the same, 0 newer and left alone\n")
        _, listed = self.api("GET", "/flows")
        self.assertEqual([flow["name"] for flow in listed], ["as it was"])
        _, by_name = self.api("GET", "/flows?sort=-updatedAt&search=as")
        self.assertEqual([flow["id"] for flow in by_name], [id])

        difference = self.check_history(id, [3, 2, 1])
        self.assertEqual(difference["members"], ["/name", "/cron"])
        written = self.items(id)
        now = int(time.time() * 1000)
        self.assertLess(now - int(written["HEAD"]["changedAt"]["N"]), 60_000)
        # As a function writes it: the version that PATCH replaced is of the same form.
        self.assertEqual(written["REV#000000000002"].keys(), written["REV#000000000001"].keys() | {"summary"})
        self.assertEqual(written["REV#000000000002"]["author"], before.get("author", before["actor"]))
        self.assertEqual(written["REV#000000000002"]["createdAt"], before.get("updatedAt", before["changedAt"]))
        self.assertEqual(written["HEAD"].keys(), before.keys() - {"statusSince"})

        self.assertEqual(self.api("POST", f"/flows/{id}/versions/2/restore")[0], 200)
        _, flow = self.api("GET", f"/flows/{id}")
        self.assertEqual((flow["name"], flow["cron"]), ("as it became", "0 6 * * *"))
        after = self.items(id)
        self.assertEqual(self.head(id)["document"], before["document"])
        # Going back has replaced the version that was put back; a document has one name, whoever wrote it.
        self.assertEqual(after["REV#000000000003"]["hash"], after["REV#000000000001"]["hash"])
        self.assertEqual(len([sk for sk in after if sk.startswith("BODY#")]), 2)
        by_operator = [event for event in self.wait_for_events(id, 4) if event["type"] == "flowrepo.flow.modified" and event["data"]["user"] == OPERATOR]
        self.assertEqual(len(by_operator), 1)

    def wait_for_events(self, id, count):
        end = time.monotonic() + 30
        while len(self.events(id)) < count:
            self.assertLess(time.monotonic(), end, self.events(id))
            time.sleep(0.1)
        return self.events(id)

    def test_a_deleted_flow_and_one_that_is_lost_have_a_history(self):
        deleted, lost, damaged = self.create(), self.create(), self.create()
        for id in [deleted, lost, damaged]:
            self.api("PATCH", f"/flows/{id}", {"name": "later"})
        self.copy()
        for id in [deleted, damaged]:
            self.api("PATCH", f"/flows/{id}", {"name": "later still"})
        self.api("DELETE", f"/flows/{deleted}")
        for sk in self.items(lost):
            self.dynamodb.delete_item(TableName="flow-repository", Key={"pk": {"S": f"FLOW#{lost}"}, "sk": {"S": sk}})
        self.dynamodb.put_item(TableName="flow-repository", Item=self.head(damaged) | {"document": {"B": b"\x01damaged"}})
        code, seen = self.restore()
        self.assertEqual(code, 0, seen)
        for id, kind in [(deleted, "is deleted"), (lost, "is missing"), (damaged, "cannot be read")]:
            self.assertIn(f"{id}  {kind}, was inactive: put back\n", seen)
            self.assertEqual(self.api("GET", f"/flows/{id}")[1]["name"], "later")
        self.assertEqual(self.check_history(deleted, [4, 3, 2, 1])["members"], ["/name"])
        self.assertEqual(self.check_history(lost, [3, 2, 1])["members"], [])
        self.assertEqual(self.check_history(damaged, [3, 2, 1])["members"], [])
        self.assertEqual(self.restore()[1], "0 put back, 0 failed, 3 the same, 0 newer and left alone\n")
        _, found = self.api("GET", "/flows?filter%5Bdeleted%5D=true")
        self.assertEqual(found, [])

    def test_what_was_interrupted_is_done_by_the_next_run(self):
        id = self.create()
        self.api("PATCH", f"/flows/{id}", {"name": "later"})
        self.copy()
        self.dynamodb.delete_item(TableName="flow-repository", Key={"pk": {"S": f"FLOW#{id}"}, "sk": {"S": "REV#000000000001"}})
        self.assertEqual(self.api("GET", f"/flows/{id}/versions/1")[0], 404)
        self.assertEqual(self.restore("--dry-run"), (0, f"{id}  lacks versions, was inactive: would be put back\n1 to put back, 0 failed, 0 the same, 0 newer and left alone\n"))
        self.assertEqual(self.restore(), (0, f"{id}  lacks versions, was inactive: put back\n1 put back, 0 failed, 0 the same, 0 newer and left alone\n"))
        self.assertEqual(self.api("GET", f"/flows/{id}/versions/1")[0], 200)
        self.assertEqual(self.restore()[1], "0 put back, 0 failed, 1 the same, 0 newer and left alone\n")

    def test_what_is_no_copy_of_flows_is_said(self):
        keys = [{"AttributeName": "name", "KeyType": "HASH"}]
        self.dynamodb.create_table(TableName="restored-table", BillingMode="PAY_PER_REQUEST", KeySchema=keys,
                                   AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}])
        self.dynamodb.put_item(TableName="restored-table", Item={"name": {"S": "anna"}})
        code, seen = self.restore()
        self.assertEqual((code, seen), (1, "restored-table is no table of flows: name one that was restored from a backup\n"))
        self.dynamodb.delete_table(TableName="restored-table")
        code, seen = self.restore()
        self.assertEqual((code, seen), (1, "there is no table restored-table here: aws dynamodb list-tables\n"))


if __name__ == "__main__":
    unittest.main()
