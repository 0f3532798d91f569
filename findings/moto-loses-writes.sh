#!/usr/bin/env bash
# moto 5.2.5 (PyPI) begins a TransactWriteItems with a copy of all its tables, and puts the copy back when a condition fails. What other
# clients have written in between, and was acknowledged, is gone. DynamoDB's cancelled transactions change nothing.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.8 'moto[dynamodb,server]==5.2.5'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/venv/bin/moto_server" --port "$port" >"$folder/log" 2>&1 &
server=$!
until (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server" || { cat "$folder/log" >&2; exit 2; }
    sleep 0.2
done
"$folder/venv/bin/python" - "http://127.0.0.1:$port" <<'PY'
import sys, threading, time
from importlib.metadata import version
import boto3

def client():
    return boto3.session.Session().client(
        "dynamodb", endpoint_url=sys.argv[1], region_name="eu-central-1",
        aws_access_key_id="any", aws_secret_access_key="any")

dynamodb = client()
dynamodb.create_table(
    TableName="table", BillingMode="PAY_PER_REQUEST",
    AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}])
for batch in range(20):
    items = [{"pk": {"S": f"other-{batch}-{item}"}, "text": {"S": "x" * 100}} for item in range(25)]
    dynamodb.batch_write_item(RequestItems={"table": [{"PutRequest": {"Item": item}} for item in items]})
for name in range(4):
    dynamodb.put_item(TableName="table", Item={"pk": {"S": str(name)}, "n": {"N": "0"}})
end = time.monotonic() + 60
acknowledged, cancelled, is_over = [0] * 4, 0, threading.Event()

def count(name):
    dynamodb = client()
    for _ in range(400):
        if time.monotonic() > end:
            return
        dynamodb.update_item(
            TableName="table", Key={"pk": {"S": str(name)}}, UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}})
        acknowledged[name] += 1

def cancel():
    global cancelled
    dynamodb = client()
    while not is_over.is_set():
        try:
            dynamodb.transact_write_items(TransactItems=[{"ConditionCheck": {
                "TableName": "table", "Key": {"pk": {"S": "nobody"}}, "ConditionExpression": "attribute_exists(pk)"}}])
        except dynamodb.exceptions.TransactionCanceledException:
            cancelled += 1

canceller = threading.Thread(target=cancel)
counters = [threading.Thread(target=count, args=(name,)) for name in range(4)]
for thread in [canceller, *counters]:
    thread.start()
for thread in counters:
    thread.join()
is_over.set()
canceller.join()
stored = [int(dynamodb.get_item(TableName="table", Key={"pk": {"S": str(name)}})["Item"]["n"]["N"]) for name in range(4)]
print(f"moto {version('moto')}: {sum(acknowledged)} additions acknowledged, {cancelled} transactions of one check cancelled")
print(f"  should be stored: {acknowledged}")
print(f"  is stored:        {stored}")
is_so = sum(stored) < sum(acknowledged)
print("As described." if is_so else "NOT as described any more.")
sys.exit(0 if is_so else 1)
PY
