"""As much of AWS as the scripts in infra/ ask for, over HTTP; and the scripts as an operator runs them."""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = "flows"
OUTPUTS = {name: f"the-{name}" for name in ("TableName", "EventBusName", "UnreadableChangesUrl", "UnpublishedChangesBucket")}


class Refused(Exception):
    """An answer of AWS that is none: its code, and its text."""


class Aws:
    """Answers what it has a method for: `describe_stacks` is DescribeStacks, and gets what was asked for."""

    def __init__(self):
        self.outputs, self.parameters, self.status = dict(OUTPUTS), {}, "UPDATE_COMPLETE"

    def __enter__(self):
        aws = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                code, text = aws.answer(self.command, self.path, body)
                self.send_response(code)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, path, body):
        try:
            if method != "POST":
                return 200, json.dumps(self.functions(method, path, json.loads(body or "{}")))
            asked = dict(urllib.parse.parse_qsl(body))
            action = asked["Action"]
            name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in action).lstrip("_")
            result = getattr(self, name)(asked)
            return 200, f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
        except Refused as refused:
            code, text = map(escape, refused.args)
            return 400, f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"

    def describe_stacks(self, asked):
        if asked["StackName"] != STACK:
            raise Refused("ValidationError", f"Stack with id {asked['StackName']} does not exist")

        def members(kind, of):
            pairs = (f"<member><{kind}Key>{name}</{kind}Key><{kind}Value>{escape(value)}</{kind}Value></member>" for name, value in of.items())
            return f"<{kind}s>{''.join(pairs)}</{kind}s>"

        return (f"<Stacks><member><StackName>{STACK}</StackName><StackStatus>{self.status}</StackStatus>"
                f"{members('Output', self.outputs)}{members('Parameter', self.parameters)}</member></Stacks>")

    def get_caller_identity(self, _):
        return "<Arn>arn:aws:sts::123456789012:assumed-role/Operators/olga</Arn><Account>123456789012</Account><UserId>AROA:olga</UserId>"


def run(script, *arguments, url="http://127.0.0.1:1", python=None, **env):
    """Runs a script from a folder that is none of the checkout's; gives its exit code and what it printed."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1",
           "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/dev/null",
           "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    env = {name: value for name, value in (base | own | env).items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([python or sys.executable, ROOT / "infra" / script, *arguments], cwd=folder, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    return done.returncode, done.stdout
