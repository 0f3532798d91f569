#!/usr/bin/env bash
# DynamoDB Local 1.25.1 (of the npm package amplify-dynamodb-simulator 2.9.30) refuses an item with more than 1,024 bytes in the
# attribute that is the sort key of a global secondary index, also when the item lacks the index's partition key and so is not in the
# index. The message names neither the attribute nor the index. Whether DynamoDB does the same, its documentation does not say.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server"; rm -rf "$folder"' EXIT
(cd "$folder" && tar --extract --gzip --file "$(npm pack --silent amplify-dynamodb-simulator@2.9.30)")
python3 -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check boto3==1.44.8
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
(cd "$folder/package" && exec java -Djava.library.path=emulator/DynamoDBLocal_lib -jar emulator/DynamoDBLocal.jar \
    -inMemory -port "$port" >"$folder/log" 2>&1) &
server=$!
until (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server" || { cat "$folder/log" >&2; exit 2; }
    sleep 0.2
done
until grep '^Version' "$folder/log"; do sleep 0.2; done
"$python" - "$url" <<'PY'
import sys
import boto3

dynamodb = boto3.client(
    "dynamodb", endpoint_url=sys.argv[1], region_name="eu-central-1",
    aws_access_key_id="any", aws_secret_access_key="any")
dynamodb.create_table(
    TableName="table", BillingMode="PAY_PER_REQUEST",
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ["pk", "owner", "place"]],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    GlobalSecondaryIndexes=[{
        "IndexName": "by-owner", "Projection": {"ProjectionType": "KEYS_ONLY"},
        "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}, {"AttributeName": "place", "KeyType": "RANGE"}]}])

def put(length, **others):
    item = {"pk": {"S": "1"}, "place": {"S": "x" * length}, **others}
    try:
        dynamodb.put_item(TableName="table", Item=item)
    except dynamodb.exceptions.ClientError as refused:
        return refused.response["Error"]["Message"]
    return "stored"

print("An index has the partition key `owner` and the sort key `place`. An item without `owner` is not in it.")
seen = [put(1024), put(1025)]
in_index = dynamodb.scan(TableName="table", IndexName="by-owner")["Count"]
print(f"  `place` of 1,024 bytes, no `owner`: {seen[0]}; items in the index: {in_index}")
print(f"  `place` of 1,025 bytes, no `owner`: one would expect the same; {seen[1]}")
is_so = seen == ["stored", "One or more parameter values were invalid: Size limit exceeded"] and in_index == 0
print("As described." if is_so else "NOT as described any more.")
sys.exit(0 if is_so else 1)
PY
