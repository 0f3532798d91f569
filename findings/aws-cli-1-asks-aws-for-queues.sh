#!/usr/bin/env bash
# AWS CLI 1.45.11 asks AWS for queues, at https://<region>.queue.amazonaws.com, whatever AWS_ENDPOINT_URL says. For topics, as for
# boto3 of that day, requests go where the variable says, which its documentation has for every service.
# Nothing here reaches AWS: a proxy on loopback notes where the requests are to go, and refuses them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for packages in awscli==1.45.11 boto3==1.43.11; do
    python3 -m venv "$folder/${packages%%=*}"
    "$folder/${packages%%=*}/bin/pip" install --quiet --disable-pip-version-check "$packages"
done
FOLDER=$folder python3 <<'PYTHON'
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = []


class Everything(BaseHTTPRequestHandler):
    """The endpoint that is named, and the proxy for all others."""

    def answer(self):
        asked.append("the endpoint that is named" if self.command == "POST" else self.path)
        self.send_error(403)

    do_POST = do_CONNECT = answer

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Everything)
threading.Thread(target=server.serve_forever, daemon=True).start()
address, folder = f"http://127.0.0.1:{server.server_port}", os.environ["FOLDER"]
environment = {"AWS_ENDPOINT_URL": address, "HTTPS_PROXY": address, "NO_PROXY": "127.0.0.1", "AWS_DEFAULT_REGION": "eu-central-1", "HOME": folder,
               "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true",
               "PATH": os.environ["PATH"]}
boto3 = "import boto3; boto3.client('sqs').list_queues()"
seen = {}
print("AWS_ENDPOINT_URL is set: every request should go to the endpoint that is named")
for what, command in {
    "aws sns list-topics (awscli 1.45.11)": [f"{folder}/awscli/bin/aws", "sns", "list-topics"],
    "aws sqs list-queues (awscli 1.45.11)": [f"{folder}/awscli/bin/aws", "sqs", "list-queues"],
    "sqs.list_queues() (boto3 1.43.11)": [f"{folder}/boto3/bin/python", "-c", boto3],
}.items():
    asked.clear()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    seen[what] = sorted(set(asked))
    print(f"  {what}: {', '.join(seen[what]) or 'nothing'}")
named = ["the endpoint that is named"]
is_as_expected = list(seen.values()) == [named, ["eu-central-1.queue.amazonaws.com:443"], named]
print("As described." if is_as_expected else "NOT as described any more.")
raise SystemExit(not is_as_expected)
PYTHON
