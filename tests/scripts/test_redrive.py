"""What infra/redrive.py hands on: reports of a run that may be over go only when they say which run they are of."""

import base64
import contextlib
import io
import json
import sys
import unittest
from unittest import mock

import aws

sys.path.insert(0, str(aws.ROOT / "infra"))
import redrive as script


def services(messages):
    """As much of AWS as the script calls, with these messages in each queue; and what it did."""
    calls = []
    sqs = mock.Mock()
    sqs.receive_message.side_effect = [{"Messages": messages}, {}]
    sqs.delete_message.side_effect = lambda **handle: calls.append(("removed", handle["ReceiptHandle"]))
    sqs.change_message_visibility.side_effect = lambda **handle: calls.append(("released", handle["ReceiptHandle"]))
    functions = mock.Mock()

    def invoke(**call):
        calls.append(("invoked", json.loads(call["Payload"])["detail"]))
        return {"Payload": io.BytesIO(b"null")}

    functions.invoke.side_effect = invoke
    cloudformation = mock.Mock()
    names = [*aws.OUTPUTS, "UndeliveredEventsUrl", "FailedEventsUrl"]
    outputs = [{"OutputKey": name, "OutputValue": "url"} for name in names]
    cloudformation.describe_stacks.return_value = {"Stacks": [{"Outputs": outputs}]}
    cloudformation.describe_stack_resource.side_effect = lambda **call: {
        "StackResourceDetail": {"PhysicalResourceId": call["LogicalResourceId"]}}
    return {"sqs": sqs, "lambda": functions, "cloudformation": cloudformation}, calls


def redrive(kind, details, *options, detail_type="flow.failed"):
    """Gives the exit code, what was printed and what was done."""
    messages = []
    for place, detail in enumerate(details):
        event = {"detail-type": detail_type, "detail": detail}
        if kind == "failed":
            event = {"requestPayload": event, "requestContext": {"functionArn": "arn:aws:lambda:r:1:function:OnFlowStatus:live"}}
        messages.append({"MessageId": f"m{place}", "Body": json.dumps(event), "ReceiptHandle": place,
                         "Attributes": {"SentTimestamp": str(place)}})
    clients, calls = services(messages)
    printed = io.StringIO()
    with mock.patch("boto3.client", lambda name, **_: clients[name]), contextlib.redirect_stdout(printed), \
            mock.patch.object(sys, "argv", ["redrive.py", "stack", kind, *options]):
        code = script.main()
    return code, printed.getvalue(), calls


def encoded(detail):
    return base64.b64encode(json.dumps(detail).encode()).decode()


WITHOUT = [{"id": "f"}, {"id": "f", "runId": None}, {"payload": {"id": "f"}, "runId": "r"},
           {"specversion": "1.0", "id": "e", "runId": "r", "data": {"id": "f"}},
           {"specversion": "1.0", "data_base64": encoded({"id": "f"})}]
WITH = [{"id": "f", "runId": "r"}, {"payload": {"id": "f", "runId": "r"}},
        {"specversion": "1.0", "id": "e", "data": {"id": "f", "runId": "r"}},
        {"specversion": "1.0", "data_base64": encoded({"id": "f", "runId": "r"})},
        # Nothing can be said of it: the function refuses it.
        {"specversion": "1.0", "id": "e"}]


class Redrive(unittest.TestCase):
    def test_a_report_that_names_no_run_is_left_out_unless_told(self):
        for kind in ["undelivered", "failed"]:
            for detail in WITHOUT:
                code, printed, calls = redrive(kind, [detail])
                self.assertEqual((code, calls), (0, [("released", 0)]), (kind, detail))
                self.assertIn("0 done, 0 failed, 1 left out", printed)
                code, printed, calls = redrive(kind, [detail], "--any-run")
                self.assertEqual((code, calls), (0, [("invoked", detail), ("removed", 0)]), (kind, detail))
                self.assertIn("1 done, 0 failed\n", printed)

    def test_one_that_names_its_run_goes(self):
        for detail in WITH:
            code, printed, calls = redrive("undelivered", [detail])
            self.assertEqual((code, calls), (0, [("invoked", detail), ("removed", 0)]), detail)
            self.assertIn("1 done, 0 failed\n", printed)

    def test_what_is_no_report_goes_without_a_run(self):
        for detail_type in ["iam.user.deleted", "iam.tenant.deleted"]:
            _, _, calls = redrive("undelivered", [{"id": "anna"}], detail_type=detail_type)
            self.assertEqual(calls, [("invoked", {"id": "anna"}), ("removed", 0)])

    def test_one_that_is_left_out_holds_up_no_other(self):
        code, printed, calls = redrive("undelivered", [WITHOUT[0], WITH[0]])
        self.assertEqual((code, calls), (0, [("invoked", WITH[0]), ("removed", 1), ("released", 0)]))
        self.assertIn("1 done, 0 failed, 1 left out", printed)


if __name__ == "__main__":
    unittest.main()
