#!/usr/bin/env python3
"""Hands what was set aside once more to its function; see docs/operations.md, Redrive. Needs boto3."""

import base64
import json
from typing import Any, Callable, NamedTuple

from stack import AWS_ERRORS, Parser, Stack, client, explain, run

EXAMPLE = """  python3 infra/redrive.py flow-repository-prod failed --dry-run
  python3 infra/redrive.py flow-repository-prod failed"""

# A run takes no more than this at once; the next run takes the rest.
MOST = 1000
# Nobody else gets a message while it waits for its turn. When this script is killed, they come back after that.
HIDDEN_SECONDS = 3600
# As the rules in template.yaml have it.
FUNCTIONS = {"flow.started": "OnFlowStatus", "flow.stopped": "OnFlowStatus", "flow.failed": "OnFlowStatus",
             "iam.user.deleted": "OnIdentityDeleted", "iam.tenant.deleted": "OnIdentityDeleted"}


class Entry(NamedTuple):
    id: str
    read: Callable[[], tuple[str, str, Any]]  # what it is, its function, what the function gets
    remove: Callable[[], Any]
    release: Callable[[], Any]


def names_no_run(event):
    """Whether an event is a report of the orchestrator's for whichever run there is: by now that may be another one."""
    if FUNCTIONS.get(event["detail-type"]) != "OnFlowStatus":
        return False
    detail = event["detail"]
    # As the function reads it: in the data of a CloudEvent, in upstream's payload, or in the detail itself.
    if "data_base64" in detail and "data" not in detail:
        detail = json.loads(base64.b64decode(detail["data_base64"]))
    elif detail.keys() & {"specversion", "data"}:
        detail = detail.get("data")
    else:
        detail = detail.get("payload", detail)
    # What has no data is refused by the function itself.
    return isinstance(detail, dict) and detail.get("runId") is None


def undelivered(stack, message):
    """The event itself, as EventBridge has it."""
    event, attributes = json.loads(message["Body"]), message.get("MessageAttributes", {})
    # The function of today: the rule's target of then may be the very thing that is gone.
    logical = FUNCTIONS.get(event["detail-type"])
    function = stack.function(logical) if logical else name_in(attributes["TARGET_ARN"]["StringValue"])
    code = attributes.get("ERROR_CODE", {}).get("StringValue", "no code")
    return f"{event['detail-type']} ({code})", function, event


def failed(_, message):
    """Lambda's record of an asynchronous call that failed."""
    record = json.loads(message["Body"])
    event = record["requestPayload"]
    return event["detail-type"], name_in(record["requestContext"]["functionArn"]), event


def unreadable(stack, message):
    """One record of the table's stream."""
    record = json.loads(message["Body"])
    if record.get("eventName") == "MODIFY" and "OldImage" not in record.get("dynamodb", {}):
        raise ValueError("it has no old image, see docs/operations.md, Redrive")
    flow = record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S", "nothing known")
    return f"change of {flow}", stack.function("PublishChanges"), {"Records": [record]}


def unpublished(stack, text):
    """Lambda's record of a batch it gave up."""
    record = json.loads(text)
    payload = record["payload"]
    batch = json.loads(payload) if isinstance(payload, str) else payload
    # The function of today: the record may be of a stack that is gone.
    given_up = record.get("requestContext", {}).get("functionArn", "")
    logical = "PurgeFlows" if "-PurgeFlows-" in given_up else "PublishChanges"
    return f"{len(batch['Records'])} changes", stack.function(logical), batch


def name_in(arn):
    return arn.split(":")[6]


def in_order(message):
    """Events by their own time: a stop must not overtake its start."""
    try:
        event = json.loads(message["Body"])
        time = event.get("requestPayload", event).get("time", "")
    except (ValueError, AttributeError):
        time = ""
    return str(time), int(message["Attributes"]["SentTimestamp"])


def of_queue(stack, url, read):
    sqs, messages = client("sqs"), []
    while len(messages) < MOST:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2, AttributeNames=["SentTimestamp"],
                                     MessageAttributeNames=["All"], VisibilityTimeout=HIDDEN_SECONDS)
        if not answer.get("Messages"):
            break
        messages += answer["Messages"]
    for message in sorted(messages, key=in_order):
        handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        yield Entry(message["MessageId"], lambda m=message: read(stack, m), lambda h=handle: sqs.delete_message(**h),
                    lambda h=handle: sqs.change_message_visibility(**h, VisibilityTimeout=0))


def of_bucket(stack, bucket, read):
    s3 = client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    objects = sorted((item for page in pages for item in page.get("Contents", [])), key=lambda item: item["LastModified"])
    for item in objects[:MOST]:
        where = {"Bucket": bucket, "Key": item["Key"]}
        yield Entry(item["Key"], lambda w=where: read(stack, s3.get_object(**w)["Body"].read()),
                    lambda w=where: s3.delete_object(**w), lambda: None)


KINDS = {
    "undelivered": (of_queue, "UndeliveredEventsUrl", undelivered),
    "failed": (of_queue, "FailedEventsUrl", failed),
    "unreadable": (of_queue, "UnreadableChangesUrl", unreadable),
    "unpublished": (of_bucket, "UnpublishedChangesBucket", unpublished),
}


def invoke(functions, function, payload):
    """What came of it, and whether it may be removed where it was."""
    answer = functions.invoke(FunctionName=function, Qualifier="live", LogType="Tail", Payload=json.dumps(payload).encode())
    if "FunctionError" in answer:
        return f"FAILED, {answer['FunctionError']} error of request {answer['ResponseMetadata']['RequestId']}", False
    if (json.loads(answer["Payload"].read() or "null") or {}).get("batchItemFailures"):
        return "FAILED, to be delivered again", False
    # The function has put it into the queue again, as a new message.
    if b'"change.unreadable"' in base64.b64decode(answer.get("LogResult", "")):
        return "FAILED, set aside again", True
    return "done", True


def main():
    parser = Parser(__doc__, EXAMPLE)
    parser.add_argument("stack", help="its name")
    parser.add_argument("kind", choices=KINDS, help="what was set aside")
    parser.add_argument("--dry-run", action="store_true", help="only say what is there")
    parser.add_argument("--any-run", action="store_true", help="also reports that name no run, which go for the run of today")
    options = parser.parse_args()
    stack = Stack(options.stack)
    # A function may take 15 minutes.
    functions = client("lambda", read_timeout=910, tcp_keepalive=True)
    find, output, read = KINDS[options.kind]
    entries = list(find(stack, stack.outputs[output], read))
    waiting, failures, left_out = list(entries), 0, 0
    try:
        for entry in entries:
            remove = False
            try:
                what, function, payload = entry.read()
                if not options.any_run and "detail-type" in payload and names_no_run(payload):
                    outcome, left_out = "left out, it names no run; see docs/operations.md, Redrive", left_out + 1
                elif options.dry_run:
                    outcome = "would go"
                else:
                    outcome, remove = invoke(functions, function, payload)
                line = f"{what} to {function}: {outcome}"
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                # A JSON error's text may quote what it could not read.
                reason = error if type(error) is ValueError else type(error).__name__
                line = f"FAILED, cannot be read: {reason}"
            except AWS_ERRORS as error:
                line = f"FAILED, {explain(error)}"
            failures += "FAILED" in line
            print(f"{entry.id}  {line}", flush=True)
            if remove:
                entry.remove()
                waiting.remove(entry)
    finally:
        for entry in waiting:
            entry.release()
    verb = "found" if options.dry_run else "done"
    more = "; there may be more, run it again" if len(entries) >= MOST else ""
    left = f", {left_out} left out" if left_out else ""
    print(f"{len(entries) - failures - left_out} {verb}, {failures} failed{left}{more}")
    return 1 if failures else 0


if __name__ == "__main__":
    run(main)
