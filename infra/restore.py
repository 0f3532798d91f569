"""Copies flows back from a table restored from a backup; see docs/operations.md, Restore. Needs boto3."""

import argparse
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# What the functions need to read a head.
HEAD = {"id", "document", "revision", "sequence", "status", "createdAt", "changedAt", "actor"}
# Consumers drop events with a lower sequence than they know. How far a flow had come whose head is
# lost nobody knows; gaps do no harm.
GAP = 1000
# What a head says of a run.
RUN = ("runId", "startedBy", "orphan", "statusReason", "statusSince", "unconfirmed", "announcedAt", "repeats")
# The listing rows of flows: by owner, of all, by the secrets they use; and those of deleted ones.
ROWS = ("OWNER#", "ALL#", "USERS#", "DELETED#", "DELETED-ALL#")


class Stored:
    """What a table has of one flow."""

    def __init__(self):
        self.head, self.rows, self.versions = None, {}, {}

    def is_flow(self):
        return self.head is not None and HEAD <= self.head.keys() and not self.is_deleted()

    def is_deleted(self):
        return self.head is not None and "deletedAt" in self.head

    def number(self, name):
        return int(self.head[name]["N"]) if self.head and name in self.head else 0

    def status(self):
        return self.head["status"]["S"]

    def content(self):
        """All but the run."""
        rows = {pk: {**row, "status": None} for pk, row in self.rows.items()}
        return self.head["document"], rows


def read(dynamodb, table):
    flows = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            pk, sk = item["pk"]["S"], item["sk"]["S"]
            if pk.startswith("FLOW#"):
                stored = flows.setdefault(pk.removeprefix("FLOW#"), Stored())
                if sk == "HEAD":
                    stored.head = item
                else:
                    stored.versions[sk] = item
            elif pk.startswith(ROWS):
                flows.setdefault(sk, Stored()).rows[pk] = item
    return flows


def unchanged(live):
    """The condition that the head is still as it was read."""
    if live.head is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    if "sequence" not in live.head:
        return {"ConditionExpression": "attribute_not_exists(#sequence)", "ExpressionAttributeNames": {"#sequence": "sequence"}}
    return {"ConditionExpression": "#sequence = :seen", "ExpressionAttributeNames": {"#sequence": "sequence"},
            "ExpressionAttributeValues": {":seen": live.head["sequence"]}}


def put_back(dynamodb, table, then, live):
    """Head and rows as they were then, all or nothing, but not running: that run is over."""
    head = {name: value for name, value in then.head.items() if name not in RUN}
    author, updated = head.pop("author", head["actor"]), head.pop("updatedAt", head["changedAt"])
    head["status"] = {"S": "inactive"}
    head["sequence"] = {"N": str(max(then.number("sequence"), live.number("sequence")) + GAP)}
    # Another revision is what makes it a change of the document.
    head["revision"] = {"N": str(max(then.number("revision"), live.number("revision")) + 1)}
    head["changedAt"] = {"N": str(max(time.time_ns() // 1_000_000, then.number("changedAt"), live.number("changedAt")))}
    # Without one it would pass for the first version.
    head["summary"] = {"S": "Put back from a backup"}
    # The platform itself.
    head["actor"] = {"M": {"user": {"S": ""}}}
    # A head says nothing twice.
    head |= {"author": author} if author != head["actor"] else {}
    head |= {"updatedAt": updated} if updated != head["changedAt"] else {}
    rows = [{**row, "status": {"S": "inactive"}} if "status" in row else row for row in then.rows.values()]
    gone = [{"pk": row["pk"], "sk": row["sk"]} for pk, row in live.rows.items() if pk not in then.rows]
    if live.head is not None and not live.is_flow() and not live.is_deleted():
        # From what cannot be read to a flow is no event; from nothing to a flow is one.
        dynamodb.delete_item(TableName=table, Key={"pk": head["pk"], "sk": head["sk"]}, **unchanged(live))
        live = Stored()
    writes = [{"Put": {"TableName": table, "Item": head, **unchanged(live)}}]
    writes += [{"Put": {"TableName": table, "Item": row}} for row in rows]
    writes += [{"Delete": {"TableName": table, "Key": key}} for key in gone]
    # At most 99 of the 100 items of a transaction: a flow has up to 20 owners and 16 secrets.
    dynamodb.transact_write_items(TransactItems=writes)
    # Only now: the versions of a flow that is gone are erased.
    for sk, version in then.versions.items():
        if sk not in live.versions:
            dynamodb.put_item(TableName=table, Item=version)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack")
    parser.add_argument("restored_table")
    parser.add_argument("--flow", nargs="+", metavar="ID", help="only these; otherwise every flow that is missing or differs")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be put back")
    options = parser.parse_args()
    outputs = boto3.client("cloudformation").describe_stacks(StackName=options.stack)["Stacks"][0]["Outputs"]
    table = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "TableName")
    if table == options.restored_table:
        sys.exit("that is the stack's own table")
    dynamodb = boto3.client("dynamodb")
    then_all, live_all = read(dynamodb, options.restored_table), read(dynamodb, table)
    wanted = options.flow or sorted(id for id, stored in then_all.items() if stored.is_flow())
    same = done = failures = 0
    for id in wanted:
        then, live = then_all.get(id, Stored()), live_all.get(id, Stored())
        was = "is not in the restored table" if not then.is_flow() else f"was {then.status()}"
        if live.head is None:
            kind = "is missing"
        elif live.is_flow():
            kind = "differs"
        else:
            kind = "is deleted" if live.is_deleted() else "cannot be read"
        if not then.is_flow():
            outcome = "FAILED"
        elif live.is_flow() and live.content() == then.content():
            same += 1
            continue
        elif live.is_flow() and live.status() != "inactive":
            outcome = f"FAILED, it is {live.status()}: stop it first"
        elif options.dry_run:
            outcome = "would be put back"
        else:
            try:
                put_back(dynamodb, table, then, live)
                outcome = "put back"
            except ClientError as error:
                # A cancelled transaction's text names codes, no items.
                outcome = f"FAILED, {error}"
        print(f"{id}  {kind}, {was}: {outcome}", flush=True)
        failures += "FAILED" in outcome
        done += "FAILED" not in outcome
    newer = 0 if options.flow else sum(stored.is_flow() and id not in then_all for id, stored in live_all.items())
    print(f"{done} {'to put' if options.dry_run else 'put'} back, {failures} failed, {same} the same, {newer} newer and left alone")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BotoCoreError, ClientError) as error:
        sys.exit(str(error))
