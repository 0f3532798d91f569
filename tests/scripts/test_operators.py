"""What an operator gets who makes a mistake: what is wrong and what to do, in one line and with another exit code than 0. And
what infra/roll-back and infra/change do. Needs infra/requirements.txt."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

from aws import ROOT, STACK, Aws, Refused, run

SCRIPTS = {"redrive.py": ["failed"], "restore.py": ["restored-table"], "roll-back": [], "change": ["LogLevel=debug"]}


class Releases(Aws):
    """A stack of functions with versions; version n of each is release r<n>, and kept unless it is among the replaced ones."""

    def __init__(self, live, deployed=None):
        super().__init__()
        self.live, self.deployed = dict(live), deployed or dict(live)
        self.weights, self.refusing, self.replaced, self.updates = {}, set(), {}, []
        self.first, self.events, self.fails = {}, [("Api", "UPDATE_FAILED", "long ago")], []
        self.parameters = {"Release": "r3", "LogLevel": "info", "ConfirmationMinutes": "5", "GradualDeployment": "false"}

    def list_stack_resources(self, _):
        members = [(f"{name}Version", "AWS::Lambda::Version", f"arn:aws:lambda:eu-central-1:1:function:{name}:{version}")
                   for name, version in self.deployed.items()]
        members += [(name, "AWS::Lambda::Function", name) for name in self.live]
        return "<StackResourceSummaries>" + "".join(
            f"<member><LogicalResourceId>{logical}</LogicalResourceId><ResourceType>{kind}</ResourceType>"
            f"<PhysicalResourceId>{physical}</PhysicalResourceId></member>" for logical, kind, physical in members) + "</StackResourceSummaries>"

    def describe_stack_events(self, _):
        return "<StackEvents>" + "".join(f"<member><EventId>{place}</EventId><LogicalResourceId>{logical}</LogicalResourceId><ResourceStatus>{status}"
                                        f"</ResourceStatus><ResourceStatusReason>{why}</ResourceStatusReason></member>"
                                        for place, (logical, status, why) in reversed(list(enumerate(self.events)))) + "</StackEvents>"

    def update_stack(self, asked):
        given = {}
        for name, value in asked.items():
            if name.startswith("Parameters.member."):
                _, _, number, what = name.split(".")
                given.setdefault(number, {})[what] = value
        if asked.get("UsePreviousTemplate") != "true":
            raise Refused("ValidationError", "no template")
        named = {of["ParameterKey"]: of.get("ParameterValue") for of in given.values()}
        if named["LogLevel"] == "loud":
            raise Refused("ValidationError", "Parameter LogLevel failed to satisfy constraint: must be error, warn, info or debug.")
        self.updates.append(named)
        if self.fails:
            self.events += self.fails
            self.status = "UPDATE_ROLLBACK_COMPLETE"
            return f"<StackId>{STACK}</StackId>"
        self.parameters |= {name: value for name, value in named.items() if value is not None}
        return f"<StackId>{STACK}</StackId>"

    def functions(self, method, path, body):
        _, _, _, name, *rest = urllib.parse.urlsplit(path).path.split("/")
        if rest == ["versions"]:
            return {"Versions": [{"Version": "$LATEST"}] + [{"Version": str(number), "Description": f"r{number}", "LastModified": f"2026-11-0{number}T00:00:00.000+0000"}
                                                          for number in range(self.first.get(name, 1), self.deployed[name] + 1)
                                                          if number not in self.replaced.get(name, [])]}
        if method == "PUT":
            if name in self.refusing:
                raise Refused("TooManyRequestsException", "Rate exceeded")
            self.live[name] = int(body["FunctionVersion"])
        return {"FunctionVersion": str(self.live[name]), "RoutingConfig": {"AdditionalVersionWeights": self.weights.get(name, {})}}


class Mistakes(unittest.TestCase):
    def check_refused(self, answered, *parts):
        code, seen = answered
        self.assertNotEqual(code, 0, seen)
        self.assertEqual(seen.count("\n"), 1, seen)
        self.assertNotIn("Traceback", seen)
        for part in parts:
            self.assertIn(part, seen)

    def test_every_script_says_what_is_wrong_in_one_line(self):
        class Expired(Aws):
            def describe_stacks(self, asked):
                raise Refused("ExpiredToken", "The security token included in the request is expired")

        class Denied(Aws):
            def describe_stacks(self, asked):
                raise Refused("AccessDenied", "User olga is not authorized to perform: cloudformation:DescribeStacks")

        for script, more in SCRIPTS.items():
            with self.subTest(script):
                self.check_refused(run(script), "the following arguments are required: stack", "--help")
                self.check_refused(run(script, STACK, *more, "--all"), "unrecognized arguments: --all")
                self.check_refused(run(script, STACK, *more, AWS_DEFAULT_REGION=None), "no region", "export AWS_REGION=")
                self.check_refused(run(script, STACK, *more, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None), "no credentials", "sign in")
                self.check_refused(run(script, STACK, *more, AWS_PROFILE="nobody"), "nobody", "could not be found")
                self.check_refused(run(script, STACK, *more), "AWS does not answer")
                with Aws() as stack:
                    self.check_refused(run(script, "flow", *more, url=stack.url), "there is no stack flow here", "infra/deploy --stack prod")
                    stack.outputs = {"TableName": "orders"}
                    self.check_refused(run(script, STACK, *more, url=stack.url), "is no flow repository")
                for kind, what in [(Expired, "have expired"), (Denied, "not authorized to perform: cloudformation:DescribeStacks")]:
                    with kind() as stack:
                        self.check_refused(run(script, STACK, *more, url=stack.url), what)
                code, seen = run(script, "--help")
                self.assertEqual((code, f"infra/{script} flow-repository-prod" in seen), (0, True), seen)

    def test_a_region_by_either_name_will_do(self):
        with Aws() as stack:
            code, seen = run("roll-back", "flow", url=stack.url, AWS_DEFAULT_REGION=None, AWS_REGION="eu-central-1")
            self.check_refused((code, seen), "there is no stack flow here")

    def test_python_without_what_a_script_needs(self):
        for script, more in SCRIPTS.items():
            with self.subTest(script), tempfile.TemporaryDirectory() as folder:
                pathlib.Path(folder, "boto3.py").write_text("raise ImportError")
                self.check_refused(run(script, STACK, *more, PYTHONPATH=folder), "no boto3", ".venv")
        with Aws() as stack, tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "zstandard.py").write_text("raise ImportError")
            self.check_refused(run("restore.py", STACK, "copy", url=stack.url, PYTHONPATH=folder), "no zstandard", "pip install zstandard")

    def test_settings_that_are_none(self):
        self.check_refused(run("change", STACK, "LogLevel"), "LogLevel: write NAME=VALUE")
        with Releases({"GetFlow": 3}) as stack:
            self.check_refused(run("change", STACK, "LogLevle=debug", url=stack.url), "has no setting LogLevle; it has", "LogLevel")
            code, seen = run("change", STACK, "LogLevel=loud", url=stack.url)
            self.check_refused((code, seen.splitlines()[-1] + "\n"), "must be error, warn, info or debug")

    def test_what_is_wrong_with_restore_and_redrive_alone(self):
        self.check_refused(run("redrive.py", STACK, "faild"), "invalid choice: 'faild'", "unpublished")
        with Aws() as stack:
            stack.outputs["TableName"] = "flows-table"
            self.check_refused(run("restore.py", STACK, "flows-table", url=stack.url), "the stack's own table")


class Deploy(unittest.TestCase):
    """A copy of what infra/deploy reads, with a sam that only says what it was called with."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "infra").mkdir()
        for name in ["infra/deploy", "infra/stack.py", "template.yaml", "samconfig.toml"]:
            shutil.copy(ROOT / name, self.folder / name)
        (self.folder / ".aws-sam/build").mkdir(parents=True)
        (self.folder / ".aws-sam/build/template.yaml").touch()
        sam = self.folder / "bin/sam"
        sam.parent.mkdir()
        sam.write_text('#!/bin/sh\necho "sam $*"\n')
        sam.chmod(0o755)
        self.aws = self.enterContext(Aws())

    def deploy(self, *arguments, path=None, **env):
        own = {"AWS_ENDPOINT_URL": self.aws.url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1",
               "AWS_EC2_METADATA_DISABLED": "true", "PATH": path or f"{self.folder}/bin:{os.environ['PATH']}"}
        env = {name: value for name, value in (own | env).items() if value is not None}
        done = subprocess.run([sys.executable, self.folder / "infra/deploy", *arguments], cwd="/", env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout

    def test_what_is_wrong_is_one_line(self):
        for arguments, env, what in [
            ([], {}, "name a stage: dev or prod"),
            (["staging"], {}, "no stage staging: dev or prod"),
            (["--stack", "staging"], {}, "no stage staging"),
            (["prod", "RateLimit"], {}, "RateLimit: write NAME=VALUE, as in RateLimit=50"),
            (["prod", "Rate=1"], {}, "no parameter Rate"),
            (["prod"], {}, "no checkout: name what is deployed"),
            (["prod", "Release=1"], {"path": "/nowhere"}, "there is no sam"),
            (["prod", "Release=1"], {"AWS_DEFAULT_REGION": None}, "no region"),
            (["prod", "Release=1"], {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials"),
        ]:
            with self.subTest(arguments=arguments, env=env):
                code, seen = self.deploy(*arguments, **env)
                self.assertEqual((code != 0, seen.count("\n")), (True, 1), seen)
                self.assertIn(what, seen)
        code, seen = self.deploy("dev", "Release=1", "--region=eu-central-1", AWS_DEFAULT_REGION=None)
        self.assertEqual((code, "sam deploy --config-env dev" in seen), (0, True), seen)
        self.aws.get_caller_identity = lambda _: (_ for _ in ()).throw(Refused("ExpiredToken", "expired"))
        code, seen = self.deploy("prod", "Release=1")
        self.assertEqual((code, seen), (1, "the credentials have expired: sign in again and run it again\n"))
        (self.folder / ".aws-sam/build/template.yaml").unlink()
        self.assertEqual(self.deploy("prod", "Release=1"), (1, "nothing is built: infra/build, and then again\n"))
        (self.folder / "samconfig.toml").write_text("[prod")
        code, seen = self.deploy("prod")
        self.assertEqual((code, seen.count("\n"), "samconfig.toml cannot be read" in seen), (1, 1, True), seen)

    def test_help_and_the_name_of_a_stages_stack(self):
        code, seen = self.deploy("--help")
        self.assertEqual((code, "infra/deploy prod RateLimit=50" in seen), (0, True))
        self.assertEqual(self.deploy("--stack", "prod"), (0, "flow-repository-prod\n"))

    def test_alarms_that_nobody_hears_are_said_of_every_stage_but_dev(self):
        warning = "prod: AlarmTarget is empty: nobody hears of its alarms; see docs/operations.md#who-is-told\n"
        code, seen = self.deploy("prod", "Release=1")
        self.assertEqual((code, seen.startswith(warning), "sam deploy --config-env prod" in seen), (0, True, True), seen)
        self.assertIn("prod: DocsUrl is no URL: ", seen)
        for arguments in [["dev"], ["prod", "AlarmTarget=arn:aws:sns:eu-central-1:1:alarms", "DocsUrl=https://docs.example.com"]]:
            code, seen = self.deploy(*arguments, "Release=1", "--no-confirm-changeset")
            self.assertEqual((code, "AlarmTarget" in seen or "DocsUrl" in seen, "--no-confirm-changeset" in seen), (0, False, True), seen)


class RollBack(unittest.TestCase):
    def test_every_function_goes_to_the_code_before_and_back(self):
        with Releases({"GetFlow": 3, "ListFlows": 3, "NewFunction": 3}) as stack:
            stack.first = {"NewFunction": 3}
            then = dict(stack.live)
            code, seen = run("roll-back", STACK, "--dry-run", url=stack.url)
            self.assertEqual((code, stack.live), (0, then), seen)
            self.assertIn("GetFlow  3 (r3) -> 2 (r2): would be done\n", seen)
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, stack.live), (0, {"GetFlow": 2, "ListFlows": 2, "NewFunction": 3}), seen)
            self.assertIn("2 pointed elsewhere, 0 failed, 1 run that code already\nto undo it: infra/roll-back flows --undo\n", seen)
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, stack.live["GetFlow"]), (0, 2), "again is no further")
            code, seen = run("roll-back", STACK, "--to", "r1", url=stack.url)
            self.assertEqual((code, stack.live), (0, {"GetFlow": 1, "ListFlows": 1, "NewFunction": 3}), seen)
            code, seen = run("roll-back", STACK, "--to", "r9", url=stack.url)
            self.assertEqual((code, seen), (1, "no function has a version of release r9; there are r1, r2, r3\n"))
            code, seen = run("roll-back", STACK, "--undo", url=stack.url)
            self.assertEqual((code, stack.live), (0, then), seen)

    def test_a_function_that_the_last_release_did_not_change_keeps_its_code(self):
        # ListFlows was changed by r2 and not by r3; GetFlow by r3 and not by r2.
        with Releases({"GetFlow": 3, "ListFlows": 3}) as stack:
            stack.replaced = {"GetFlow": [1], "ListFlows": [2]}
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, stack.live), (0, {"GetFlow": 2, "ListFlows": 3}), seen)
            code, seen = run("roll-back", STACK, "--to", "r1", url=stack.url)
            self.assertEqual((code, stack.live), (0, {"GetFlow": 2, "ListFlows": 1}), seen)

    def test_what_could_not_be_done_is_said_and_done_the_next_time(self):
        with Releases({"GetFlow": 3, "ListFlows": 3}) as stack:
            stack.refusing = {"ListFlows"}
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, stack.live), (1, {"GetFlow": 2, "ListFlows": 3}), seen)
            self.assertIn("ListFlows  3 (r3) -> 2 (r2): FAILED, ", seen)
            stack.refusing = set()
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, stack.live), (0, {"GetFlow": 2, "ListFlows": 2}), seen)

    def test_while_a_deployment_is_under_way_nothing_is_done(self):
        with Releases({"GetFlow": 2}, {"GetFlow": 3}) as stack:
            stack.weights = {"GetFlow": {"3": 0.1}}
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, seen.count("\n"), stack.live), (1, 1, {"GetFlow": 2}), seen)
            self.assertIn("GetFlow is shifting, 10% of the calls to version 3", seen)
            stack.status = "UPDATE_IN_PROGRESS"
            for script, more in [("roll-back", []), ("change", ["LogLevel=debug"])]:
                code, seen = run(script, STACK, *more, url=stack.url)
                self.assertEqual((code, seen.count("\n"), stack.live), (1, 1, {"GetFlow": 2}), seen)
                self.assertIn("UPDATE_IN_PROGRESS: wait for it, or put it back: aws cloudformation cancel-update-stack --stack-name flows", seen)

    def test_without_a_version_before_there_is_nothing_to_do(self):
        with Releases({"GetFlow": 1}) as stack:
            code, seen = run("roll-back", STACK, url=stack.url)
            self.assertEqual((code, stack.live, seen),
                             (1, {"GetFlow": 1}, "there is no version before with other code; a setting is changed back with infra/change\n"))


class Change(unittest.TestCase):
    def test_a_changed_setting_is_another_release(self):
        with Releases({"GetFlow": 3}) as stack:
            code, seen = run("change", STACK, "ConfirmationMinutes=10", "--dry-run", url=stack.url)
            self.assertEqual((code, stack.updates), (0, []), seen)
            code, seen = run("change", STACK, "ConfirmationMinutes=10", url=stack.url)
            self.assertEqual(code, 0, seen)
            first = stack.updates[0]
            self.assertRegex(first["Release"], "^r3-[0-9a-f]{8}$")
            self.assertEqual(first | {"Release": ""}, {"Release": "", "LogLevel": None, "ConfirmationMinutes": "10", "GradualDeployment": None})
            self.assertIn("ConfirmationMinutes: 5 -> 10\n", seen)
            code, seen = run("change", STACK, "ConfirmationMinutes=10", url=stack.url)
            self.assertEqual((code, len(stack.updates), seen), (0, 1, "flows is so already: nothing is changed\n"))
            run("change", STACK, "ConfirmationMinutes=5", url=stack.url)
            self.assertRegex(stack.parameters["Release"], "^r3-[0-9a-f]{8}$")
            self.assertNotEqual(stack.parameters["Release"], first["Release"])
            run("change", STACK, "LogLevel=debug", "Release=mine", url=stack.url)
            self.assertEqual(stack.parameters["Release"], "mine")

    def test_a_change_that_is_put_back_says_why(self):
        with Releases({"GetFlow": 3}) as stack:
            stack.fails = [("ListFlows", "UPDATE_IN_PROGRESS", ""), ("GetFlow", "UPDATE_FAILED", "no sandboxes left"), ("Api", "UPDATE_FAILED", "cancelled")]
            code, seen = run("change", STACK, "LogLevel=debug", url=stack.url)
            self.assertEqual((code, seen.splitlines()[-1]), (1, "flows was put back (UPDATE_ROLLBACK_COMPLETE), GetFlow: no sandboxes left"), seen)

    def test_what_was_rolled_back_does_not_come_back_with_a_setting(self):
        with Releases({"GetFlow": 2}, {"GetFlow": 3}) as stack:
            code, seen = run("change", STACK, "LogLevel=debug", url=stack.url)
            self.assertEqual((code, seen.count("\n"), stack.updates), (1, 1, []), seen)
            self.assertIn("is rolled back", seen)


if __name__ == "__main__":
    unittest.main()
