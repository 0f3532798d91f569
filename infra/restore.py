#!/usr/bin/env python3
"""Copies flows back from a table restored from a backup; see docs/operations.md, Restore. Needs boto3."""

import base64
import functools
import hashlib
import json
import sys
import time
from pathlib import Path

from stack import AWS_ERRORS, Parser, Stack, client, explain, run

try:
    import zstandard
except ImportError:
    zstandard = None

EXAMPLE = """  python3 infra/restore.py flow-repository-prod flow-repository-prod-restored --dry-run
  python3 infra/restore.py flow-repository-prod flow-repository-prod-restored --flow 6b059cf9570303bd4a95f822"""
# What the functions need to read a head.
HEAD = {"id", "document", "tag", "revision", "sequence", "status", "createdAt", "changedAt", "actor"}
# Consumers drop events with a lower sequence than they know. How far a flow had come whose head is
# lost nobody knows; gaps do no harm.
GAP = 1000
# What is gone takes along what was replaced before; it is told in whole seconds, and by another clock than this one's.
LATER = 60_000
# What a head says of a run.
RUN = ("runId", "startedBy", "orphan", "statusReason", "statusSince", "unconfirmed", "announcedAt", "repeats")
# The listing rows of flows: by owner, of all, by the secrets they use; and those of deleted ones.
ROWS = ("OWNER#", "ALL#", "USERS#", "DELETED#", "DELETED-ALL#")
# As shared/src/store/packing.rs compresses documents.
DICTIONARY = [Path(__file__).parent.parent / "shared/src/store" / name for name in ("dictionary-2.tables", "dictionary-2.txt")]


@functools.cache
def decompressor():
    return zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(b"".join(part.read_bytes() for part in DICTIONARY)))


def document_of(head):
    """The JSON of a head's document, if it can be read."""
    try:
        text = decompressor().decompress(head["document"]["B"])
        json.loads(text)
        return text
    except (KeyError, TypeError, ValueError, MemoryError, zstandard.ZstdError):
        return None


def expiry(now, days):
    return str(now // 1000 + days * 24 * 60 * 60)


def version_of(head, now, days):
    """What a flow was until now, as shared/src/store/versions.rs writes it."""
    digest = hashlib.sha256(document_of(head)).digest()
    name = base64.urlsafe_b64encode(digest).decode()[:24]
    kept = {"pk": head["pk"], "replacedAt": {"N": str(now + LATER)}}
    if days:
        kept["expiresAt"] = {"N": expiry(now, days)}
    version = {"sk": {"S": f"REV#{int(head['revision']['N']):012}"}, "revision": head["revision"], "author": head.get("author", head["actor"]),
               "createdAt": head.get("updatedAt", head["changedAt"]), "hash": {"S": name}, **{key: head[key] for key in ("summary",) if key in head}}
    return [{**kept, **version}, {**kept, "sk": {"S": f"BODY#{name}"}, "document": head["document"]}]


class Stored:
    """What a table has of one flow."""

    def __init__(self):
        self.head, self.rows, self.versions = None, {}, {}

    @functools.cached_property
    def can_be_read(self):
        """Whether it is a flow, deleted or not."""
        return self.head is not None and HEAD <= self.head.keys() and document_of(self.head) is not None

    def is_flow(self):
        return self.can_be_read and not self.is_deleted()

    def is_deleted(self):
        return self.head is not None and "deletedAt" in self.head and (self.can_be_read or "document" not in self.head)

    def number(self, name):
        return int(self.head[name]["N"]) if self.head and name in self.head else 0

    def revision(self):
        """The last that can be read."""
        of_head = self.number("revision") if self.can_be_read else 0
        return max([of_head, *(int(version["revision"]["N"]) for sk, version in self.versions.items() if sk.startswith("REV#"))])

    def status(self):
        return self.head["status"]["S"]

    def lasting_versions(self):
        """Those that have not expired."""
        now = int(time.time())
        return {sk: version for sk, version in self.versions.items() if "expiresAt" not in version or int(version["expiresAt"]["N"]) > now}

    def content(self):
        """All but the run, and when it was changed."""
        rows = {pk: {**row, "status": None, "updatedAt": None} for pk, row in self.rows.items()}
        return [self.head.get(name) for name in ("document", "tag", "owners")], rows


def read(dynamodb, table):
    flows = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            if not {"pk", "sk"} <= item.keys():
                sys.exit(f"{table} is no table of flows: name one that was restored from a backup")
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


def put_back(dynamodb, table, then, live, operator, days):
    """Head and rows as they were then, all or nothing, but not running: that run is over. It is a change like any other,
    of the operator: what the flow was is a version."""
    versions, kept, seen = then.versions | live.versions, live.versions, live
    if live.head is not None and not live.can_be_read and not live.is_deleted():
        # From what cannot be read to a flow is no event; from nothing to a flow is one. Its versions go with it.
        dynamodb.delete_item(TableName=table, Key={"pk": live.head["pk"], "sk": live.head["sk"]}, **unchanged(live))
        seen, kept = Stored(), {}
    now = max(time.time_ns() // 1_000_000, then.number("changedAt"), live.number("changedAt"))
    # Where nothing is replaced that can be read, the version before is what it was then.
    version = version_of(live.head if live.can_be_read else then.head, now, days)
    if version[0]["sk"]["S"] in live.versions:
        version = []
    head = {name: value for name, value in then.head.items() if name not in RUN}
    # A head says nothing twice.
    for name in ("author", "updatedAt"):
        head.pop(name, None)
    head["status"] = {"S": "inactive"}
    head["sequence"] = {"N": str(max(then.number("sequence"), live.number("sequence")) + GAP)}
    head["revision"] = {"N": str(max(then.revision(), live.revision()) + 1)}
    head["changedAt"] = {"N": str(now)}
    head["actor"] = {"M": {"user": {"S": operator}}}
    head["summary"] = {"S": "Put back from a backup"}
    changed = {"status": head["status"], "updatedAt": head["changedAt"]}
    rows = [row | {name: value for name, value in changed.items() if name in row} for row in then.rows.values()]
    gone = [{"pk": row["pk"], "sk": row["sk"]} for pk, row in live.rows.items() if pk not in then.rows]
    writes = [{"Put": {"TableName": table, "Item": head, **unchanged(seen)}}]
    writes += [{"Put": {"TableName": table, "Item": item}} for item in [*rows, *version]]
    writes += [{"Delete": {"TableName": table, "Key": key}} for key in gone]
    # At most 76 of the 100 items of a transaction: a flow has up to 20 owners and 16 secrets.
    dynamodb.transact_write_items(TransactItems=writes)
    # Only now: the versions of a flow that is gone are erased.
    put_versions(dynamodb, table, [versions[sk] for sk in versions.keys() - kept.keys() - {item["sk"]["S"] for item in version}], now, days)


def put_versions(dynamodb, table, versions, now, days):
    """As if they had been replaced now."""
    replaced = {"replacedAt": {"N": str(now + LATER)}, **({"expiresAt": {"N": expiry(now, days)}} if days else {})}
    for version in versions:
        dynamodb.put_item(TableName=table, Item=version | replaced)


def operator_name():
    """Who runs this, as AWS knows it: for example aws:assumed-role/Operators/anna. No user of the API has such an id."""
    return "aws:" + client("sts").get_caller_identity()["Arn"].split(":", 5)[5]


def main():
    parser = Parser(__doc__, EXAMPLE)
    parser.add_argument("stack", help="its name")
    parser.add_argument("restored_table", help="the table to copy from")
    parser.add_argument("--flow", nargs="+", metavar="ID", help="only these; otherwise every flow that is missing or differs")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be put back")
    options = parser.parse_args()
    stack = Stack(options.stack)
    if zstandard is None:
        sys.exit("this Python has no zstandard, to read documents with: python3 -m pip install zstandard")
    table, days = stack.outputs["TableName"], int(stack.parameters.get("VersionDays", 0))
    if table == options.restored_table:
        sys.exit(f"{table} is the stack's own table: name the one to copy from")
    dynamodb, operator = client("dynamodb"), operator_name()
    try:
        then_all = read(dynamodb, options.restored_table)
    except AWS_ERRORS as error:
        if "ResourceNotFound" in str(error):
            sys.exit(f"there is no table {options.restored_table} here: aws dynamodb list-tables")
        raise
    # Rows go with the head that was there before they were read: when that has changed, nothing of it is put back.
    heads = {id: stored.head for id, stored in read(dynamodb, table).items()}
    live_all = read(dynamodb, table)
    for id, stored in live_all.items():
        stored.head = heads.get(id)
    wanted = options.flow or sorted(id for id, stored in then_all.items() if stored.is_flow())
    same = done = failures = 0
    for id in wanted:
        then, live = then_all.get(id, Stored()), live_all.get(id, Stored())
        if then.is_flow():
            was = f"was {then.status()}"
        else:
            was = "is not in the restored table" if then.head is None else "is deleted or damaged in the restored table"
        if live.head is None:
            kind = "is missing"
        elif live.is_flow():
            kind = "differs"
        else:
            kind = "is deleted" if live.is_deleted() else "cannot be read"
        if not then.is_flow():
            outcome = "FAILED"
        elif live.is_flow() and live.content() == then.content():
            lost = then.lasting_versions().keys() - live.versions.keys()
            if not lost:
                same += 1
                continue
            kind, outcome = "lacks versions", "would be put back"
            if not options.dry_run:
                put_versions(dynamodb, table, [then.versions[sk] for sk in lost], time.time_ns() // 1_000_000, days)
                outcome = "put back"
        elif live.is_flow() and live.status() != "inactive":
            outcome = f"FAILED, it is {live.status()}: stop it first"
        elif options.dry_run:
            outcome = "would be put back"
        else:
            try:
                put_back(dynamodb, table, then, live, operator, days)
                outcome = "put back"
            except AWS_ERRORS as error:
                # A cancelled transaction's text names codes, no items.
                outcome = f"FAILED, {explain(error)}"
        print(f"{id}  {kind}, {was}: {outcome}", flush=True)
        failures += "FAILED" in outcome
        done += "FAILED" not in outcome
    newer = 0 if options.flow else sum(stored.is_flow() and id not in then_all for id, stored in live_all.items())
    print(f"{done} {'to put' if options.dry_run else 'put'} back, {failures} failed, {same} the same, {newer} newer and left alone")
    return 1 if failures else 0


if __name__ == "__main__":
    run(main)
