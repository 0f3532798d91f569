"""Deploys the built stack to an emulator with IAM enforced, and shows that it works there: see docs/testing.md."""

import base64
import contextlib
import fnmatch
import http.server
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import boto3

STACK = "flows"
ORIGIN = "http://localhost:3001"
REGION = "eu-central-1"
ARCHITECTURE = platform.machine().replace("aarch64", "arm64")
TEMPLATE = Path(".aws-sam/build/template.yaml")
WORK = Path("target/e2e")
DECISIONS = WORK / "iam-decisions.jsonl"

# What AWS itself does in a function's name, by its statement, or asks for beyond the call. The emulator
# does not ask its IAM for it, so these are compared with what AWS documents.
BY_THE_PLATFORM = {
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
    "WriteItsOwnLog": {"logs:CreateLogStream", "logs:PutLogEvents"},
    # https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    "FollowTheTable": {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
    "LetTheMappingFindTheStream": {"dynamodb:ListStreams"},
    # https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    "KeepChangesItCouldNotPublish": {"s3:PutObject"},
    "KeepChangesItCouldNotPurge": {"s3:PutObject"},
    "LetTheMappingCheckTheBucket": {"s3:ListBucket"},
    # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    "SetAsideEventsThatFailed": {"sqs:SendMessage"},
    # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
    "TagItWhenItIsCreated": {"secretsmanager:TagResource"},
}

# Commands of docs/operations.md that are not run here, by what is in them.
NOT_RUN = {
    "curl ": "not every machine resolves the API's host below localhost",
    "gh ": "there is no GitHub",
    "git checkout": "it is another commit, and half an hour's build",
    "sqs purge-queue": "version 1 of the AWS CLI asks AWS itself, whatever AWS_ENDPOINT_URL says",
    "cancel-update-stack": "no update is under way",
    "continue-update-rollback": "no rollback has failed",
    "jwks.json": "the stack has a URL of keys",
    "copy_secrets $OLD": "the function comes further down the page, and is run there",
    "$OLD_BUCKET": "no stack was deleted",
    "restore-table-from-backup": "no table was deleted",
    "delete-function --function-name": "the emulator deletes the version that runs, too",
    "sam delete": "the stack is still needed",
    "sns ": "nobody is to hear of it",
    "AlarmTarget=$TOPIC": "there is no topic, and another setting is changed",
    "delete-table --table-name $TABLE": "the table is still needed",
}
# What shells and commands say when what was pasted is not right.
COMPLAINTS = re.compile(r"command not found|no matches found|bad pattern|parse error|syntax error|unknown file attribute|event not found"
                        r"|Traceback|usage:|aws: error|An error occurred|FAILED|No such file")

passed, failed = [], []


def check(what, holds, seen=""):
    (passed if holds else failed).append(what)
    print(f"{'ok  ' if holds else 'FAIL'} {what}" + ("" if holds else f"\n     seen: {seen}"), flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, env=None, timeout=900):
    """Runs a command; gives its exit code and what it printed."""
    done = subprocess.run(command, env=env, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def until(what, ask, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    sys.exit(f"it never came: {what}")


class Emulator:
    """MiniStack as a process of its own, with the credentials of its root account."""

    def __enter__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
        }
        own = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_REGION": REGION,
               # An account's own limit is 1,000; the emulator's is 10.
               "LAMBDA_ACCOUNT_CONCURRENCY": "1000",
               "IAM_DECISIONS": str(DECISIONS.absolute())}
        self.log = open(WORK / "emulator.log", "w")
        command = [sys.executable, "tests/e2e/emulator.py"]
        self.process = subprocess.Popen(command, env=self.env | own, stdout=self.log, stderr=subprocess.STDOUT)
        until("the emulator", self.answers)
        return self

    def answers(self):
        if self.process.poll() is not None:
            sys.exit(f"the emulator ended; see {self.log.name}")
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1).status == 200

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def client(self, service, **credentials):
        credentials = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **credentials)


def build_tests():
    code, seen = run("cargo", "test", "--quiet", "--locked", "--workspace", "--no-run")
    if code:
        sys.exit(f"the tests cannot be built: {seen}")


def local(*arguments):
    """What `cargo run -- …` prints; as built with the tests, so that nothing is compiled again with other features."""
    program = Path(os.environ.get("CARGO_TARGET_DIR", "target"), "debug/local")
    return subprocess.check_output([program, *arguments], text=True)


def serve_keys():
    """The development issuer's public keys at a URL, as an identity provider has them."""
    keys = local("jwks")

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(keys.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/jwks.json"


class Stack:
    """The deployed stack."""

    def __init__(self, emulator, keys):
        self.emulator, self.keys = emulator, keys
        self.cloudformation = emulator.client("cloudformation")
        self.iam = emulator.client("iam")

    def deploy(self, *overrides, stack=STACK, env=None, template=TEMPLATE):
        parameters = [f"Architecture={ARCHITECTURE}", "AuthIssuer=flow-repository-local", f"AuthJwksUrl={self.keys}",
                      f"CorsOrigins={ORIGIN}", *overrides]
        return run("sam", "deploy", "--template", str(template), "--stack-name", stack, "--resolve-s3",
                   "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset",
                   "--no-progressbar", "--parameter-overrides", *parameters, env=env or self.emulator.env)

    def outputs(self, stack=STACK):
        outputs = self.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def physical(self):
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"]
                for page in pages for resource in page["StackResourceSummaries"]}

    def exists(self):
        stacks = self.cloudformation.list_stacks()["StackSummaries"]
        return any(stack["StackName"] == STACK and not stack["StackStatus"].startswith("DELETE") for stack in stacks)

    def make_routes(self):
        """The emulator does not read the API's `Body`: what is in there is made call by call."""
        physical = self.physical()
        template = self.cloudformation.get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
        if isinstance(template, str):
            template = json.loads(template)
        body = template["Resources"]["Api"]["Properties"]["Body"]
        gateway, api = self.emulator.client("apigatewayv2"), physical["Api"]
        _, cors, _ = body["x-amazon-apigateway-cors"]["Fn::If"]
        check("the origins of pages are not written into what is expanded", cors.pop("allowOrigins") == {"Fn::Split": [",", {"Ref": "CorsOrigins"}]})
        cors = {name[0].upper() + name[1:]: value for name, value in cors.items()}
        gateway.update_api(ApiId=api, CorsConfiguration={"AllowOrigins": [ORIGIN], **cors})
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
                alias = re.search(r"functions/\$\{(\w+)\}/invocations", uri)[1]
                integration = gateway.create_integration(ApiId=api, IntegrationType="AWS_PROXY",
                                                         IntegrationUri=physical[alias], PayloadFormatVersion="2.0")
                key = path if path == "$default" else f"{method.upper()} {path}"
                gateway.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration['IntegrationId']}")

    def observe(self):
        """A queue of everything on the bus, for the tests."""
        code, seen = run("sam", "deploy", "--template", "tests/e2e/observer.yaml", "--stack-name", f"{STACK}-observer",
                         "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides",
                         f"EventBusName={self.outputs()['EventBusName']}", env=self.emulator.env)
        if code:
            sys.exit(f"no observer: {seen}")
        self.queue = self.outputs(f"{STACK}-observer")["EventQueueUrl"]

    def suite(self, *filters, **settings):
        """The black-box tests against the deployed API; gives their exit code and what they printed."""
        outputs = self.outputs()
        env = self.emulator.env | settings | {"API_URL": outputs["ApiUrl"], "API_EVENT_BUS": outputs["EventBusName"],
                                              "API_EVENT_QUEUE": self.queue}
        return run("cargo", "test", "--quiet", "--locked", "--workspace", "--test", "black_box", "--", *filters, env=env)

    def items(self):
        table = self.emulator.client("dynamodb")
        pages = table.get_paginator("scan").paginate(TableName=self.outputs()["TableName"], Select="COUNT")
        return sum(page["Count"] for page in pages)

    def roles(self):
        """The roles of the functions, by the names of their packages, with their statements."""
        roles = {}
        for name, role in self.physical().items():
            if name.endswith("Role"):
                package = re.sub(r"(?<=.)([A-Z])", r"-\1", name.removesuffix("Role")).lower()
                document = self.iam.get_role_policy(RoleName=role, PolicyName=package)["PolicyDocument"]
                roles[package] = (role, document)
        return roles

    def invoke_later(self, function):
        """Invokes a function that runs from time to time, as if it were an hour later."""
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        event = {"version": "0", "id": "e", "source": "aws.events", "detail-type": "Scheduled Event", "account": "000000000000",
                 "region": REGION, "time": later, "resources": [], "detail": {}}
        name = self.physical()[function]
        answer = self.emulator.client("lambda").invoke(FunctionName=f"{name}:live", Payload=json.dumps(event))
        return "FunctionError" not in answer

    def set_aside_unreadable(self, seconds=60):
        """Puts an item into the table that is no flow; tells whether the change arrives in its queue."""
        outputs, queues = self.outputs(), self.emulator.client("sqs")
        key = {"pk": {"S": f"FLOW#{time.time_ns()}"}, "sk": {"S": "HEAD"}}
        self.emulator.client("dynamodb").put_item(TableName=outputs["TableName"], Item=key)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = queues.receive_message(QueueUrl=outputs["UnreadableChangesUrl"], WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                queues.delete_message(QueueUrl=outputs["UnreadableChangesUrl"], ReceiptHandle=message["ReceiptHandle"])
                if key["pk"]["S"] in message["Body"]:
                    return True
        return False


def decisions():
    return [json.loads(line) for line in DECISIONS.read_text().splitlines()] if DECISIONS.exists() else []


def as_list(value):
    return value if isinstance(value, list) else [value]


def refuse_what_is_wrong(stack):
    """Deployments that must not happen say why, and leave nothing."""
    for what, overrides, message in [
        ("a parameter of the wrong form", ["AuthJwksUrl=http://id.example/jwks"], "must be an https URL"),
        ("a number that is none", ["RateLimit=many"], "must be a number from 1 to 99999"),
        ("no identity provider", ["AuthIssuer=https://issuer.invalid"], "AuthIssuer must be set"),
        ("two sources of keys", ['AuthJwks={}'], "Exactly one of AuthJwksUrl and AuthJwks"),
        ("a domain without a certificate", ["DomainName=flows.example.com"], "DomainName needs CertificateArn"),
    ]:
        code, seen = stack.deploy(*overrides)
        check(f"{what} is refused with its reason", code != 0 and message in seen, seen)
    check("nothing was made of them", not stack.exists())
    user = stack.iam.create_user(UserName="nobody") and stack.iam.create_access_key(UserName="nobody")["AccessKey"]
    env = stack.emulator.env | {"AWS_ACCESS_KEY_ID": user["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": user["SecretAccessKey"]}
    code, seen = stack.deploy(env=env)
    check("a deployer without permission is told which one", code != 0 and "not authorized to perform" in seen, seen)


class Without:
    """A function that may not do what these statements allow, for a while."""

    # Decisions in which denials were meant, by their places.
    meant = set()

    def __init__(self, stack, package, *sids):
        self.stack, self.package, self.sids = stack, package, sids
        self.role, self.document = stack.roles()[package]

    def put(self, statements):
        document = json.dumps(self.document | {"Statement": statements})
        self.stack.iam.put_role_policy(RoleName=self.role, PolicyName=self.package, PolicyDocument=document)

    def __enter__(self):
        self.before = len(decisions())
        self.put([statement for statement in self.document["Statement"] if statement["Sid"] not in self.sids])
        return self

    def __exit__(self, *_):
        self.put(self.document["Statement"])
        self.meant |= set(range(self.before, len(decisions())))

    def denied(self):
        return [line for line in decisions()[self.before:] if not line["allowed"] and f"/{self.role}/" in line["principal"]]


class Values:
    """The API, what is in Secrets Manager, and what the table says of it."""

    def __init__(self, stack):
        self.stack = stack
        self.vault, self.dynamodb = stack.emulator.client("secretsmanager"), stack.emulator.client("dynamodb")
        self.token = local("token", "--sub", "secrets-e2e").strip()

    def __call__(self, method, path, body=None):
        """Gives the status, and the answer's data."""
        host = urllib.parse.urlsplit(self.stack.outputs()["ApiUrl"]).netloc
        # Not every machine resolves names below localhost.
        request = urllib.request.Request(f"{self.stack.emulator.url}{path}", method=method, headers={
            "Host": host, "Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, json.dumps(body).encode() if body else None, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text).get("data", {}) if text else {}
        except urllib.error.HTTPError as error:
            return error.code, {}

    def store(self):
        value = {"username": "u", "passphrase": "p"}
        return self("POST", "/secrets", {"name": "n", "type": "SIMPLE", "value": value})

    def change(self, id):
        return self("PATCH", f"/secrets/{id}", {"value": {"username": "u", "passphrase": str(time.time_ns())}})[0]

    def notes(self):
        """What is noted as half done; not what is due in days."""
        return self.dynamodb.query(TableName=self.stack.outputs()["TableName"], KeyConditionExpression="pk = :pk AND sk < :later",
                                   ExpressionAttributeValues={":pk": {"S": "UNSETTLED"}, ":later": {"S": f"{int(time.time()) + 3600:08x}"}})["Items"]

    def kept(self):
        """The ids of secrets whose values can be had."""
        pages = self.vault.get_paginator("list_secrets").paginate()
        return {secret["Name"].rsplit("/", 1)[1] for page in pages for secret in page["SecretList"] if "DeletedDate" not in secret}

    def is_current(self, id):
        """Whether Secrets Manager's current version is the one that counts."""
        key = {"pk": {"S": f"SECRET#{id}"}, "sk": {"S": "HEAD"}}
        head = self.dynamodb.get_item(TableName=self.stack.outputs()["TableName"], Key=key)["Item"]
        current = self.vault.get_secret_value(SecretId=f"{STACK}/secrets/{id}")["VersionId"]
        return current == f"{id}-{head['version']['S']}"

    def sweep(self):
        """The sweep as if it were an hour later."""
        return self.stack.invoke_later("SweepSecrets")

    def start_is_repeated(self):
        """A start that nobody confirms is announced again."""
        node = {"id": "a", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"}
        id = self("POST", "/flows", {"graph": {"nodes": [node]}})[1]["id"]
        self("POST", f"/flows/{id}/start")
        self.stack.invoke_later("ReconcileFlows")
        key = {"pk": {"S": f"FLOW#{id}"}, "sk": {"S": "HEAD"}}
        head = self.dynamodb.get_item(TableName=self.stack.outputs()["TableName"], Key=key)["Item"]
        return "repeats" in head

    def partition(self, id):
        """All items of a flow."""
        return self.dynamodb.query(TableName=self.stack.outputs()["TableName"], KeyConditionExpression="pk = :pk",
                                   ExpressionAttributeValues={":pk": {"S": f"FLOW#{id}"}}, ConsistentRead=True)["Items"]

    def store_versions(self):
        """Makes a flow with two versions; gives its id."""
        node = {"id": "a", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"}
        id = self("POST", "/flows", {"name": "first", "graph": {"nodes": [node]}})[1]["id"]
        self("PATCH", f"/flows/{id}", {"name": "second"})
        return id

    def lose_head(self):
        """Makes a flow with versions that is gone for good, as TTL does it; gives its id and whether there were any."""
        id = self.store_versions()
        self("DELETE", f"/flows/{id}")
        more = len(self.partition(id)) > 1
        self.dynamodb.delete_item(TableName=self.stack.outputs()["TableName"], Key={"pk": {"S": f"FLOW#{id}"}, "sk": {"S": "HEAD"}})
        return id, more

    def purges(self, seconds=60):
        """What belongs to a flow goes with its head."""
        id, had_versions = self.lose_head()
        return had_versions and self.keeps(id, 0, seconds)

    def erases(self, seconds=60):
        """What an administrator erases goes at once, but for the trace of it."""
        id = self.store_versions()
        had_versions = len(self.partition(id)) > 1
        self.token, own = local("token", "--sub", "root-e2e", "--permissions", "all").strip(), self.token
        status, _ = self("DELETE", f"/flows/{id}?purge=true")
        self.token = own
        return had_versions and status == 200 and self.keeps(id, 1, seconds)

    def keeps(self, id, items, seconds):
        """Whether no more than so many items of a flow are left soon."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(self.partition(id)) <= items:
                return True
            time.sleep(0.2)
        return False

    def takes_back(self):
        """A value that cannot be stored with the rest does not stay."""
        before = self.kept()
        with Without(self.stack, "create-secret", "ForgetTheNoteOfWhatWasBegun"):
            status, _ = self.store()
        return status == 500 and self.kept() == before

    def sweep_settles(self):
        """What a function could not end is ended by the sweep."""
        changed, deleted = self.store()[1]["id"], self.store()[1]["id"]
        with Without(self.stack, "update-secret", "MakeItTheCurrentOne"):
            code = self.change(changed)
        with Without(self.stack, "delete-secret", "DeleteTheValue"):
            code_then, _ = self("DELETE", f"/secrets/{deleted}")
        is_half_done = code == 200 and code_then == 204 and not self.is_current(changed) and deleted in self.kept()
        self.sweep()
        return is_half_done and self.is_current(changed) and deleted not in self.kept() and not self.notes()


def reconcile_runs(stack):
    """A start that nobody confirms is announced again for the same run, and given up in the end."""
    call = Values(stack)
    queue, sqs = stack.queue, stack.emulator.client("sqs")
    node = {"id": "a", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"}
    id = call("POST", "/flows", {"name": "unheard", "graph": {"nodes": [node]}})[1]["id"]
    call("POST", f"/flows/{id}/start")
    seen = []

    def collect():
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            event = json.loads(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            if event["detail"].get("subject") == f"flows/{id}":
                seen.append(event["detail"])
        return seen

    def kinds():
        return [event["type"] for event in sorted(collect(), key=lambda event: event["sequence"])]

    for _ in range(4):
        stack.invoke_later("ReconcileFlows")
    flow = call("GET", f"/flows/{id}")[1]
    check("a start that nobody confirms is given up with a reason", flow["status"] == "inactive"
          and "did not confirm the start" in flow["statusReason"] and flow["statusSince"], flow)
    expected = ["flowrepo.flow.created", *["flow.starting"] * 4, "flow.failed"]
    with contextlib.suppress(SystemExit):
        until("its events", lambda: len(kinds()) >= len(expected), seconds=30)
    runs = {event["data"]["runId"] for event in seen if event["type"] in ("flow.starting", "flow.failed")}
    check("each time it was announced for the same run", kinds() == expected and len(runs) == 1, kinds())


def settle_secrets(stack):
    """What is left half done of secrets is settled, with the roles that the functions have."""
    values = Values(stack)
    check("the suite left nothing of its secrets half done", not values.notes(), values.notes())
    check("a value that cannot be stored with the rest is taken back", values.takes_back())
    check("and its note is swept away", values.sweep() and not values.notes(), values.notes())
    check("what could not be ended is ended by the sweep", values.sweep_settles())


def compare_with_used(stack):
    """For every function: what it may do is what it did, and nothing else."""
    used = {}
    for place, line in enumerate(decisions()):
        role = re.search(r"assumed-role/([^/]+)/", line["principal"])
        if role:
            is_right = line["allowed"] or place in Without.meant
            used.setdefault(role[1], set()).add((line["action"], line["resource"], is_right))
    for package, (role, document) in stack.roles().items():
        mine = used.get(role, set())
        refused = [call for call in mine if not call[2]]
        check(f"{package} was refused nothing", not refused, refused)
        for statement in document["Statement"]:
            sid, actions, resources = statement["Sid"], set(statement["Action"]), as_list(statement["Resource"])
            named = not any("*" in action for action in actions) and "*" not in resources
            check(f"{package} {sid}: exact actions, named resources", named, statement)
            if sid in BY_THE_PLATFORM:
                check(f"{package} {sid}: as AWS documents", actions == BY_THE_PLATFORM[sid], actions)
                continue
            did = {(action, pattern) for action, resource, _ in mine for pattern in resources
                   if action in actions and fnmatch.fnmatchcase(resource, pattern)}
            may = {(action, pattern) for action in actions for pattern in resources}
            check(f"{package} {sid}: allowed == used", did == may, f"never used: {sorted(may - did)}")


def expand_gradually():
    """The emulator has no CodeDeploy: looks at what SAM makes of a gradual deployment."""
    expand = [sys.executable, "infra/expand-template.py", "template.yaml", "GradualDeployment=true"]
    template = subprocess.check_output(expand, env=os.environ | {"AWS_DEFAULT_REGION": REGION}, text=True)
    resources = json.loads(template)["Resources"]
    alarms = {json.dumps(alarm["Properties"]["AlarmName"]) for alarm in resources.values()
              if alarm["Type"] == "AWS::CloudWatch::Alarm"}
    aliases = {name: alias for name, alias in resources.items() if alias["Type"] == "AWS::Lambda::Alias"}
    functions = [name for name, function in resources.items() if function["Type"] == "AWS::Lambda::Function"]
    check("every function has its alias", len(aliases) == len(functions) > 0, (list(aliases), functions))
    for name, alias in aliases.items():
        shift = alias.get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
        group = resources[shift["DeploymentGroupName"]["Ref"]]["Properties"]
        watched = {json.dumps(alarm["Name"]) for alarm in group["AlarmConfiguration"]["Alarms"]}
        check(f"{name} shifts gradually, and back when one of its alarms goes off",
              "Canary10Percent5Minutes" in json.dumps(group["DeploymentConfigName"]) and watched and watched <= alarms
              and "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"], group)


def remove_each_statement(stack):
    """Without any one statement the suite fails, and for that reason."""
    values = Values(stack)
    for package, (role, document) in stack.roles().items():
        for statement in document["Statement"]:
            sid = statement["Sid"]
            if sid in BY_THE_PLATFORM:
                continue
            with Without(stack, package, sid) as without:
                if sid == "SetAsideChangesItCannotRead":
                    passes = stack.set_aside_unreadable(seconds=5)
                elif sid == "TakeBackAValueThatIsNobodys":
                    passes = values.takes_back()
                elif package == "reconcile-flows":
                    passes = values.start_is_repeated()
                elif package == "purge-flows":
                    passes = values.purges(seconds=5)
                elif package == "sweep-secrets":
                    passes = values.sweep_settles()
                else:
                    # A secret that could not be deleted whole is deleted for clients.
                    passes = stack.suite("tour")[0] == 0 and not values.notes()
                denied = without.denied()
            values.sweep()
            check(f"{package} without {statement['Sid']} fails, denied {statement['Action'][0]} or the like",
                  not passes and any(line["action"] in statement["Action"] for line in denied), (passes, denied))


def script(stack, name, *options):
    return run(sys.executable, f"infra/{name}.py", STACK, *options, env=stack.emulator.env)


def stand_beside(stack):
    """The example of an orchestrator imports what the stack exports, and hears of a start: docs/account.md."""
    name = f"{STACK}-orchestrator"
    code, seen = run("sam", "deploy", "--template", "docs/examples/orchestrator.yaml", "--stack-name", name, "--capabilities",
                     "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", f"FlowStack={STACK}",
                     env=stack.emulator.env)
    check("an orchestrator is deployed beside the stack", code == 0, seen)
    queue, sqs, call = stack.outputs(name)["CommandsUrl"], stack.emulator.client("sqs"), Values(stack)
    node = {"id": "a", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"}
    id = call("POST", "/flows", {"graph": {"nodes": [node]}})[1]["id"]
    call("POST", f"/flows/{id}/start")
    messages = []

    def hear():
        messages.extend(sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []))
        return messages

    with contextlib.suppress(SystemExit):
        until("its command", hear, seconds=30)
    heard = [(event["detail-type"], event["detail"]["subject"]) for event in (json.loads(message["Body"]) for message in messages)]
    check("its queue gets the start, and nothing else", heard == [("flow.starting", f"flows/{id}")], heard)
    stack.cloudformation.delete_stack(StackName=name)
    stack.cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def redrive_and_restore(stack):
    """What was set aside goes to its function again, and flows come back from a copy of the table: docs/operations.md."""
    outputs = stack.outputs()
    sqs, s3, dynamodb = (stack.emulator.client(service) for service in ("sqs", "s3", "dynamodb"))
    arn = stack.emulator.client("lambda").get_function(FunctionName=stack.physical()["OnFlowStatus"])["Configuration"]["FunctionArn"]
    token = local("token", "--sub", "olga", "--tenant", "operators").strip()
    url = urllib.parse.urlsplit(outputs["ApiUrl"])

    def api(method, path, body=None):
        # Not every machine resolves names below localhost.
        request = urllib.request.Request(f"{stack.emulator.url}{path}", method=method, headers={
            "Host": url.netloc, "Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        with contextlib.suppress(urllib.error.HTTPError):
            answer = urllib.request.urlopen(request, json.dumps(body).encode() if body else None, timeout=30).read()
            return json.loads(answer).get("data") if answer else None

    def create():
        node = {"id": "a", "componentId": "5ca5c44c187c040010a9bb8b", "function": "f"}
        return api("POST", "/flows", {"name": "as it was", "graph": {"nodes": [node]}})["id"]

    def flow(id):
        return api("GET", f"/flows/{id}") or {}

    def listed(id):
        return next((flow for flow in api("GET", "/flows?page%5Bsize%5D=1000") if flow["id"] == id), {})

    def head(id):
        key = {"pk": {"S": f"FLOW#{id}"}, "sk": {"S": "HEAD"}}
        return dynamodb.get_item(TableName=outputs["TableName"], Key=key, ConsistentRead=True)["Item"]

    def send(queue, body, **attributes):
        values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sqs.send_message(QueueUrl=outputs[queue], MessageBody=json.dumps(body), MessageAttributes=values)

    def waiting(queue):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, sqs.get_queue_attributes(QueueUrl=outputs[queue], AttributeNames=names)["Attributes"].values()))

    def report(kind, id):
        return {"version": "0", "id": "e", "source": "component-orchestrator", "detail-type": kind, "account": "000000000000", "region": REGION,
                "time": "2026-11-22T08:05:48Z", "resources": [], "detail": {"id": id, "runId": head(id)["runId"]["S"]}}

    def announced(kind, id, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for message in sqs.receive_message(QueueUrl=stack.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
                event = json.loads(message["Body"])
                sqs.delete_message(QueueUrl=stack.queue, ReceiptHandle=message["ReceiptHandle"])
                if event["detail-type"] == kind and event["detail"].get("subject") == f"flows/{id}":
                    return event["detail"]

    for queue in ["UndeliveredEventsUrl", "FailedEventsUrl", "UnreadableChangesUrl", f"{STACK}-observer"]:
        sqs.purge_queue(QueueUrl=outputs.get(queue, stack.queue))
    kept, deleted, damaged, running = create(), create(), create(), create()
    until("the event of the last flow", lambda: announced("flowrepo.flow.created", running))
    dynamodb.update_continuous_backups(TableName=outputs["TableName"], PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    copy = f"{STACK}-restored"
    dynamodb.restore_table_to_point_in_time(SourceTableName=outputs["TableName"], TargetTableName=copy, UseLatestRestorableTime=True)
    dynamodb.get_waiter("table_exists").wait(TableName=copy)
    api("DELETE", f"/flows/{deleted}")
    for id in [damaged, running]:
        api("PATCH", f"/flows/{id}", {"name": "damaged"})
    api("POST", f"/flows/{running}/start")
    until("its start", lambda: announced("flow.starting", running))

    send("UndeliveredEventsUrl", report("flow.started", running), ERROR_CODE="NO_PERMISSIONS")
    code, seen = script(stack, "redrive", "undelivered", "--dry-run")
    check("a dry run of a redrive does nothing", code == 0 and "NO_PERMISSIONS" in seen
          and flow(running)["status"] == "starting" and waiting("UndeliveredEventsUrl") == 1, seen)
    code, seen = script(stack, "redrive", "undelivered")
    check("an undelivered event reaches its function", code == 0 and flow(running)["status"] == "active", seen)
    check("and leaves its queue", waiting("UndeliveredEventsUrl") == 0)
    unnamed = report("flow.failed", running) | {"detail": {"id": running}}
    send("UndeliveredEventsUrl", unnamed)
    code, seen = script(stack, "redrive", "undelivered")
    check("a report that names no run is left out", code == 0 and "1 left out" in seen and flow(running)["status"] == "active"
          and waiting("UndeliveredEventsUrl") == 1, seen)
    sqs.purge_queue(QueueUrl=outputs["UndeliveredEventsUrl"])
    send("UndeliveredEventsUrl", report("flow.started", running) | {"detail": {"specversion": "1.0"}})
    code, seen = script(stack, "redrive", "undelivered")
    check("an event that fails again stays, and can be seen", code == 1 and "FAILED" in seen and waiting("UndeliveredEventsUrl") == 1
          and sqs.receive_message(QueueUrl=outputs["UndeliveredEventsUrl"]).get("Messages"), seen)

    options = [copy, "--flow", deleted, damaged, running]
    code, seen = script(stack, "restore", *options, "--dry-run")
    check("a dry run of a restore does nothing", code == 1 and "2 to put back" in seen and not flow(deleted), seen)
    code, seen = script(stack, "restore", *options)
    check("a deleted flow is back, in lists too", flow(deleted).get("name") == listed(deleted).get("name") == "as it was", seen)
    check("and is announced as created", announced("flowrepo.flow.created", deleted))
    check("a damaged flow is as it was, in lists too", flow(damaged).get("name") == listed(damaged).get("name") == "as it was", seen)
    event = announced("flowrepo.flow.modified", damaged)
    check("one that runs is left alone and named", code == 1 and flow(running)["name"] == "damaged" and "stop it first" in seen, seen)
    operator = f"aws:{stack.emulator.client('sts').get_caller_identity()['Arn'].split(':', 5)[5]}"
    check("and is announced as modified, by the operator", event and event["data"]["user"] == operator and int(event["sequence"]) > 1000, event)
    versions = api("GET", f"/flows/{damaged}/versions")
    check("it is a version of the operator's, after what it replaced", [version["number"] for version in versions] == [3, 2, 1]
          and versions[0]["author"] == operator and versions[1]["author"] == "olga", versions)
    check("it can be compared with that", api("GET", f"/flows/{damaged}/diff")["members"] == ["/name"])
    api("POST", f"/flows/{damaged}/versions/2/restore")
    check("and undone", flow(damaged)["name"] == "damaged")
    code, seen = script(stack, "restore", copy, "--flow", damaged)
    check("and put back once more", code == 0 and flow(damaged)["name"] == "as it was", seen)
    check("a deleted flow has a history too", len(api("GET", f"/flows/{deleted}/versions")) == 2 and api("GET", f"/flows/{deleted}/diff") is not None)

    send("FailedEventsUrl", {"requestContext": {"functionArn": f"{arn}:1"}, "requestPayload": report("flow.stopped", running)})
    code, seen = script(stack, "redrive", "failed")
    check("a failed event reaches its function", code == 0 and flow(running)["status"] == "inactive" and waiting("FailedEventsUrl") == 0, seen)
    code, seen = script(stack, "restore", copy, "--flow", running)
    check("stopped, the flow is put back", code == 0 and flow(running)["name"] == "as it was", seen)
    code, seen = script(stack, "restore", *options)
    check("put back twice, nothing happens", code == 0 and "0 put back, 0 failed, 3 the same" in seen, seen)
    api("PATCH", f"/flows/{damaged}", {"name": "as it became"})
    api("POST", f"/flows/{damaged}/start")
    check("what was put back can be changed and started", listed(damaged).get("status") == "starting" and flow(damaged)["name"] == "as it became")

    image = {name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else value for name, value in head(kept).items()}
    record = {"eventID": "1", "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": REGION,
              "dynamodb": {"ApproximateCreationDateTime": 1, "Keys": {name: image[name] for name in ("pk", "sk")}, "NewImage": image,
                           "SequenceNumber": "1", "SizeBytes": 1, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
    key = "aws/lambda/mapping/shard/2026/11/22/2026-11-22T08.05.48-e"
    s3.put_object(Bucket=outputs["UnpublishedChangesBucket"], Key=key, Body=json.dumps({"payload": json.dumps({"Records": [record]})}))
    code, seen = script(stack, "redrive", "unpublished")
    check("an unpublished change is published", code == 0 and announced("flowrepo.flow.created", kept), seen)
    check("and leaves its bucket", "Contents" not in s3.list_objects_v2(Bucket=outputs["UnpublishedChangesBucket"]))
    values = Values(stack)
    with Without(stack, "purge-flows", "EraseWhatBelongsToTheFlow") as without:
        gone, _ = values.lose_head()
        until("its purge", without.denied)
    purge = stack.emulator.client("lambda").get_function(FunctionName=stack.physical()["PurgeFlows"])["Configuration"]["FunctionArn"]
    keys = {"pk": {"S": f"FLOW#{gone}"}, "sk": {"S": "HEAD"}}
    removed = {**record, "eventName": "REMOVE",
               "dynamodb": {**record["dynamodb"], "ApproximateCreationDateTime": int(time.time()), "Keys": keys, "OldImage": keys}}
    del removed["dynamodb"]["NewImage"]
    s3.put_object(Bucket=outputs["UnpublishedChangesBucket"], Key=key, Body=json.dumps(
        {"requestContext": {"functionArn": f"{purge}:live"}, "payload": json.dumps({"Records": [removed]})}))
    code, seen = script(stack, "redrive", "unpublished")
    check("a change that was not purged is purged", code == 0 and not values.partition(gone), seen)
    for image, what, code_then in [(image, "published", 0), ({"pk": image["pk"], "sk": image["sk"]}, "set aside again", 1)]:
        send("UnreadableChangesUrl", record | {"dynamodb": record["dynamodb"] | {"NewImage": image}})
        code, seen = script(stack, "redrive", "unreadable")
        check(f"an unreadable change is {what}", code == code_then and waiting("UnreadableChangesUrl") == code_then, seen)
    sqs.purge_queue(QueueUrl=outputs["UnreadableChangesUrl"])
    sqs.purge_queue(QueueUrl=outputs["UndeliveredEventsUrl"])
    dynamodb.delete_table(TableName=copy)


def paste(shell, blocks, env):
    """Pastes blocks into an interactive shell, one after the other; gives what each printed, and its exit code."""
    text = "".join(f"{block}\necho @@ {place} $?\n" for place, block in enumerate(blocks))
    # No prompts, and none of the machine's own settings.
    quiet = {"PS1": "", "PS2": "", "RPS1": "", "PROMPT_EOL_MARK": "", "HISTFILE": "/dev/null"}
    done = subprocess.run(shell, input=text, env=env | quiet, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    answers = re.split(r"^@@ (\d+) (\d+)\n", done.stdout, flags=re.M)
    return {int(place): (int(code), seen) for seen, place, code in zip(answers[::3], answers[1::3], answers[2::3])}


def paste_operations(stack):
    """The commands of docs/operations.md, as they are printed, in both shells."""
    page = Path("docs/operations.md").read_text()
    blocks = [textwrap.dedent(block) for block in re.findall(r"^ *```sh\n(.*?)^ *```", page, re.M | re.S)]
    values, dynamodb = Values(stack), stack.emulator.client("dynamodb")
    for reason in NOT_RUN:
        check(f"operations.md has `{reason}`, which is not run", any(reason in block for block in blocks))
    for shell in [["bash", "--norc", "--noprofile", "--noediting", "-i"], ["zsh", "-f", "-i"]]:
        flow, lost = values.store_versions(), values.store_versions()
        secret = values.store()[1]["id"]
        values("DELETE", f"/secrets/{secret}")
        # What the page has examples of.
        examples = {"6b059cf9570303bd4a95f822": flow, "6b059cf93d0c921e77d4eb22": lost, "6b05cf43198db37def113e64": secret,
                    "flows-FlowTable-D46675C5AB960": f"{STACK}-restored", "2026-11-24T08:00:00Z": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        pasted = []
        for block in blocks:
            if not any(reason in block for reason in NOT_RUN):
                for example, value in examples.items():
                    block = block.replace(example, value)
                pasted.append(block)
                if "STACK=" in block:
                    pasted.append(f"STACK={STACK}")
        # Ten at the least: that the page was found at all.
        answers = paste(shell, pasted, stack.emulator.env)
        check(f"{shell[0]} has run {len(pasted)} blocks of operations.md", len(answers) == len(pasted) > 10, answers)
        for place, block in enumerate(pasted):
            code, seen = answers.get(place, (None, "nothing"))
            check(f"{shell[0]}: {block.splitlines()[-1][:100]}", code == 0 and not COMPLAINTS.search(seen), f"{code}: {block}\n{seen}")
        dynamodb.delete_table(TableName=f"{STACK}-restored")
        # The page has protected the stack, which is deleted in the end.
        stack.cloudformation.update_termination_protection(StackName=STACK, EnableTerminationProtection=False)
        # It has rolled back, and the next shell changes settings.
        code, seen = run(sys.executable, "infra/roll-back", STACK, "--undo", env=stack.emulator.env)
        check(f"what {shell[0]} has rolled back is undone", code == 0, seen)


def change_and_roll_back(stack):
    """A setting reaches the functions; and all of them go to the version before, and to the one deployed."""
    functions = stack.emulator.client("lambda")

    def live():
        return {name: int(functions.get_alias(FunctionName=physical, Name="live")["FunctionVersion"])
                for name, physical in stack.physical().items() if f"{name}Aliaslive" in stack.physical()}

    def operate(script, *options):
        return run(sys.executable, f"infra/{script}", STACK, *options, env=stack.emulator.env)

    def minutes():
        name = stack.physical()["ReconcileFlows"]
        return functions.get_function_configuration(FunctionName=name, Qualifier="live")["Environment"]["Variables"]["CONFIRMATION_MINUTES"]

    first = live()
    code, seen = operate("change", "ConfirmationMinutes=7")
    check("a setting is changed where it is read", code == 0 and minutes() == "7", (minutes(), seen))
    before = live()
    check("every function has another version", before.keys() == first.keys() and all(before[name] > first[name] for name in first), (first, before))
    code, seen = operate("roll-back")
    check("where no code was changed there is nothing to roll back", code == 1 and "infra/change" in seen and live() == before, seen)

    shutil.copytree(TEMPLATE.parent, WORK / "next")
    for function in (WORK / "next").glob("*/bootstrap"):
        (function.parent / "other").touch()
    code, seen = stack.deploy("Release=next", "ConfirmationMinutes=7", template=WORK / "next/template.yaml")
    after = live()
    check("other code is deployed", code == 0 and all(after[name] > before[name] for name in before), seen)
    code, seen = operate("roll-back", "--dry-run")
    check("a dry run of rolling back does nothing", code == 0 and live() == after, seen)
    code, seen = operate("roll-back")
    check("every function is at the version before", code == 0 and live() == before, (before, live(), seen))
    check("and answers", stack.suite("tour")[0] == 0)
    code, seen = operate("change", "LogLevel=debug")
    check("what was rolled back does not come back with a setting", code == 1 and "is rolled back" in seen and live() == before, seen)
    code, seen = operate("roll-back", "--undo")
    check("rolling back is undone", code == 0 and live() == after, (after, live(), seen))


def main():
    if not TEMPLATE.exists():
        sys.exit("there is nothing to deploy: run `sam build` first")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    build_tests()
    with Emulator() as emulator:
        stack = Stack(emulator, serve_keys())
        refuse_what_is_wrong(stack)
        expand_gradually()

        code, seen = stack.deploy()
        check("the stack is deployed", code == 0, seen)
        check("that nobody hears of alarms is said", "AlarmTarget is empty" in stack.outputs()["Alarms"])
        stack.make_routes()
        stack.observe()
        code, seen = stack.suite("--skip", "at_save", "--skip", "local::")
        check("the black-box suite passes there", code == 0, seen)
        check("a change that cannot be read is set aside whole", stack.set_aside_unreadable())
        settle_secrets(stack)
        reconcile_runs(stack)
        check("what belongs to a flow goes with its head", Values(stack).purges())
        check("what is erased goes with its versions", Values(stack).erases())
        compare_with_used(stack)
        stand_beside(stack)
        redrive_and_restore(stack)
        remove_each_statement(stack)
        check("with all statements it passes again", stack.suite("tour")[0] == 0)
        change_and_roll_back(stack)
        paste_operations(stack)
        code, seen = stack.deploy()
        check("what was deployed first is deployed again", code == 0, seen)

        items = stack.items()
        code, seen = stack.deploy()
        check("deployed again, nothing changes", code == 0 and "No changes to deploy" in seen, seen)
        changed = ["ComponentCheck=at-save", "Release=2", "Tracing=Active", "DeletionProtection=true", "LogRetentionDays=7",
                   f"AlarmTarget=arn:aws:sns:{REGION}:000000000000:alarms"]
        code, seen = stack.deploy(*changed)
        check("a changed parameter is an update", code == 0 and "updated stack" in seen, seen)
        check("the update kept the table's data", stack.items() == items and items > 0, items)
        code, seen = stack.suite("at_save", API_COMPONENT_CHECK="at-save", API_EXCLUSIVE="1")
        check("the functions have the changed parameter, and answer as upstream's exchanges say", code == 0, seen)

        certificate = emulator.client("acm").request_certificate(DomainName="flows.example.com")["CertificateArn"]
        zone = emulator.client("route53").create_hosted_zone(Name="example.com", CallerReference="e2e")["HostedZone"]["Id"]
        code, seen = stack.deploy(*changed, "DomainName=flows.example.com", f"CertificateArn={certificate}",
                                  f"HostedZoneId={zone.removeprefix('/hostedzone/')}")
        check("a domain of one's own is an update", code == 0 and stack.outputs()["ApiUrl"] == "https://flows.example.com", seen)

        items, outputs = stack.items(), stack.outputs()
        code, seen = run("sam", "delete", "--stack-name", STACK, "--no-prompts", env=emulator.env)
        check("the stack is deleted", code == 0 and not stack.exists(), seen)
        pages = emulator.client("dynamodb").get_paginator("scan").paginate(TableName=outputs["TableName"], Select="COUNT")
        count = sum(page["Count"] for page in pages)
        check("the table and its data are kept", count == items and items > 0, (count, items))
        buckets = [bucket["Name"] for bucket in emulator.client("s3").list_buckets()["Buckets"]]
        check("the bucket of unpublished changes is kept", outputs["UnpublishedChangesBucket"] in buckets, buckets)
        functions = emulator.client("lambda").list_functions()["Functions"]
        check("no function is left", not functions, [function["FunctionName"] for function in functions])
    print(f"\n{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
