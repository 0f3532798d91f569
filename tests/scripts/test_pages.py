"""What stands in the pages can be pasted: every `sh` block of README.md, CONTRIBUTING.md and docs/ into bash and zsh, as a
person does it, and what is printed is what the page says.

The local server is built for it, unless LOCAL_SERVER names one. Shells that are not installed are left out."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md"] + sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "--noediting", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
INSTALLED = [shell for shell in SHELLS if shutil.which(shell)]

# Blocks that are not run, by what they begin with; "" are all of a page. Their commands are only read.
EXCUSED = [
    ("README.md", "cargo run\n", "compiles, and runs until Ctrl-C; infra/local/tests/cli.rs pastes what it prints"),
    ("README.md", "python3 -m venv", "deploys to AWS"),
    ("CONTRIBUTING.md", "cargo fmt", "compiles, and runs all tests"),
    ("CONTRIBUTING.md", "python3 -m venv", "installs SAM"),
    ("CONTRIBUTING.md", "tests/e2e/local", "is a test itself, and needs Docker"),
    ("CONTRIBUTING.md", "tests/with-dynamodb-local", "is a test itself, and needs Java"),
    ("docs/account.md", "sam deploy", "deploys to AWS; tests/e2e/deploy deploys the example"),
    ("docs/delivery.md", "", "GitHub and AWS"),
    ("docs/identity.md", "infra/deploy", "deploys to AWS; the tests of shared/src/identity/providers.rs read it"),
    ("docs/local.md", "TOKEN=", "asks containers or cargo-lambda"),
    ("docs/local.md", "aws ", "needs the AWS CLI"),
    ("docs/local.md", "cargo run -- --aws-port", "runs until Ctrl-C, at an address that Docker has"),
    ("docs/local.md", "cargo run -q -- jwks", "needs cargo-lambda, and runs until Ctrl-C"),
    ("docs/local.md", "export AWS_ENDPOINT_URL", "is what a server prints that has another port"),
    ("docs/local.md", "infra/build", "builds for minutes"),
    ("docs/local.md", "infra/local/sam-local", "needs SAM and Docker; tests/e2e/local does it"),
    ("docs/local.md", "python3 -m venv", "installs SAM"),
    ("docs/operations.md", "", "a stack on AWS"),
    ("docs/secrets.md", "for S in $(aws", "Secrets Manager of AWS"),
    ("docs/testing.md", "python3 -m venv", "builds for minutes, and is a test itself"),
    ("docs/validation.md", "RULE_LEVELS=", "runs until Ctrl-C"),
]


class Block:
    """A block of commands, and what the page says that it prints."""

    def __init__(self, page, line, text, printed):
        self.page, self.line, self.text, self.printed = page, line, text, printed

    def __str__(self):
        return f"{self.page}:{self.line}"

    def excuse(self):
        """Its place in EXCUSED, if it has one."""
        fits = (i for i, (page, start, _) in enumerate(EXCUSED) if page == self.page and self.text.startswith(start))
        return next(fits, None)


def fences(page):
    """The fenced blocks of a page: line, language, text, and whether nothing stands between it and the one before."""
    lines, fence, found, end = (ROOT / page).read_text().splitlines(), None, [], None
    for number, line in enumerate(lines, 1):
        if fence is None and (start := re.fullmatch(r"( *)(`{3,})(\w*)", line)):
            fence, language, first, text = start, start[3], number, []
        elif fence and line == fence[1] + fence[2]:
            follows = end is not None and not "".join(lines[end : first - 1]).strip()
            found.append((first, language, "\n".join(text) + "\n", follows))
            fence, end = None, number
        elif fence:
            text.append(line.removeprefix(fence[1]))
    return found


def blocks(page):
    all_of_it = fences(page)
    for i, (line, language, text, _) in enumerate(all_of_it):
        if language == "sh":
            then = all_of_it[i + 1] if i + 1 < len(all_of_it) else None
            printed = then[2] if then and then[1] == "" and then[3] else None
            yield Block(page, line, text, printed)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def strange(text):
    """What of commands is not the same in every interactive shell, or is to be replaced before it is pasted."""
    # The text of a here-document is no command.
    text = re.sub(r"(<<-?'?(\w+)'?[^\n]*\n).*?^\2$", r"\1", text, flags=re.S | re.M)
    faults, stack, word, i = [], [], "", 0
    while i < len(text):
        letter, top = text[i], stack[-1] if stack else None
        rest = text[i:]
        if top == "'":
            if letter == "'":
                stack.pop()
        elif letter == "\\":
            i += 1
        elif letter == '"':
            stack.pop() if top == '"' else stack.append('"')
        elif rest.startswith("${"):
            # Patterns in there are of the shell's own.
            i += rest.index("}")
        elif rest.startswith("$(("):
            i += rest.index("))") + 1
        elif rest.startswith("$("):
            stack.append(")")
            word, i = "", i + 2
            continue
        elif top == '"':
            if letter == "!" and not re.match(r"![ \n\"=(]", rest):
                faults.append(f"`!` in double quotes is the history: {rest[:20]!r}")
        elif letter == "'":
            stack.append("'")
        elif letter == ")" and top == ")":
            stack.pop()
        elif letter == "#" and word == "":
            faults.append(f"a comment is no comment in an interactive zsh: {rest.splitlines()[0]!r}")
            i += rest.index("\n") if "\n" in rest else len(rest)
            word = ""
            continue
        elif letter == "=" and word == "" and re.match(r"=[^\s]", rest):
            faults.append(f"zsh takes a word that begins with `=` for a command: {rest.split()[0]!r}")
        elif letter == "<" and re.match(r"<[A-Za-z][\w -]*>", rest):
            faults.append(f"to be replaced: {rest.split('>')[0]}>")
        elif letter in "?*" and text[i - 1] != "$" or letter == "[" and not re.match(r"\[\[? ", rest):
            faults.append(f"`{letter}` outside quotes is a pattern: {(word + rest).split()[0]!r}")
        word = "" if letter in " \t\n;&|(" and top != "'" and top != '"' else word + letter
        i += 1
    return faults


WORDS = [
    # Those that the pages choose themselves stay as they are.
    (re.compile(r"\b(?!5ca5c44c187c)[0-9a-f]{24}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\beyJ[\w.-]+"), "TOKEN"),
    (re.compile(r"(?<=\")(\d+)-[\w-]{8}(?=[.\\\"])"), r"\1-HASH"),
]


def normal(text):
    for pattern, name in WORDS:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip("\r") for line in text.strip().split("\n"))


def agrees(printed, output):
    """Whether this is what the page says: `…` stands for anything of one line, and answers that curl has left without a
    line break may stand on lines of their own."""
    parts = [re.escape(part) for part in normal(printed).split("…")]
    pattern = "[^\n]*".join(parts).replace("\\\n", "\n?").replace("\n\n?", "\n?")
    if not re.fullmatch(pattern, normal(output)):
        return False
    # What is one and the same on the page is one and the same here.
    if "…" in printed:
        return True
    names = [WORDS[0][0].findall(text) for text in (printed, output)]
    return len(set(zip(*names))) == len(set(names[0])) == len(set(names[1]))


class Server:
    """A local server with nothing in it."""

    def __init__(self, program):
        self.program = program
        self.log = tempfile.TemporaryFile("w+")
        command = [program, "--data", ":memory:", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        first = self.process.stdout.readline()
        self.address = re.search(r"http://(127\.0\.0\.1:\d+)", first)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def paste(shell, program, page):
    """Pastes the blocks of a page into a shell, and returns what is not as the page says."""
    mark = "-- end of a block --"
    with Server(program) as server, tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "PS1": "", "PS2": "", "TERM": "dumb"}
        commands = ["PS1= PS2= PROMPT= PROMPT2=", "unsetopt prompt_cr prompt_sp 2>/dev/null"]
        run = [block for block in BLOCKS if block.page == page and block.excuse() is None]
        for block in run:
            text = block.text.replace("cargo run -q --", program).replace("127.0.0.1:3000", server.address)
            commands += [f"echo; echo '{mark}'; echo '{mark}' >&2", text.rstrip("\n")]
        done = subprocess.run(
            SHELLS[shell], input="\n".join(commands) + "\n", capture_output=True, text=True, env=environment, cwd=home, timeout=100
        )
        outputs, errors = (stream.split(mark + "\n")[1:] for stream in (done.stdout, done.stderr))
    faults = []
    if len(outputs) != len(run):
        return [f"{page} in {shell}: {len(outputs)} of {len(run)} blocks came to an end:\n{done.stderr}"]
    for block, output, error in zip(run, outputs, errors):
        error = error.replace("exit\n", "").strip()
        if error:
            faults.append(f"{block} in {shell} complains:\n{error}")
        if block.printed is not None and not agrees(block.printed, output):
            faults.append(f"{block} in {shell} prints\n{normal(output)}\nand not\n{normal(block.printed)}")
    return faults


class Pages(unittest.TestCase):
    def test_commands_are_the_same_in_every_interactive_shell(self):
        faults = [f"{block}: {fault}" for block in BLOCKS for fault in strange(block.text)]
        for block in BLOCKS:
            for shell in INSTALLED:
                done = subprocess.run([shell, "-n"], input=block.text, capture_output=True, text=True)
                if done.returncode or done.stderr:
                    faults.append(f"{block}: {shell} cannot read it: {done.stderr}")
        self.assertFalse(faults, "\n".join(["", *faults]))

    def test_what_is_strange_is_seen(self):
        for text in [
            "cargo run   # the server",
            "# the server\ncargo run",
            "curl http://localhost/flows?a=b",
            "curl http://localhost/flows/*",
            "echo a[1]",
            "echo =ls",
            'echo "hello!world"',
            "git checkout <commit>",
            'echo "$(ls *)"',
        ]:
            self.assertTrue(strange(text + "\n"), text)
        for text in [
            "[ $A = '$LATEST' ] || echo \"$?\" '#' a#b \"a?b\" 'x*' ${A#*=} $((2 * 3))",
            "cat <<'END'\n# text *\nEND",
            "echo 'a!b' >file 2>&1 </dev/null",
            "a=b c",
        ]:
            self.assertFalse(strange(text + "\n"), text)

    def test_every_excuse_is_needed(self):
        used = {block.excuse() for block in BLOCKS}
        self.assertEqual([EXCUSED[i] for i in range(len(EXCUSED)) if i not in used], [])

    def test_what_is_pasted_does_what_is_printed(self):
        program = os.environ.get("LOCAL_SERVER")
        if not program:
            subprocess.run(["cargo", "build", "--quiet", "--locked", "--workspace", "--bin", "local"], cwd=ROOT, check=True)
            target = os.environ.get("CARGO_TARGET_DIR", "target")
            program = str(ROOT / target / "debug" / "local")
        pages = {block.page for block in BLOCKS if block.excuse() is None}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            runs = [pool.submit(paste, shell, program, page) for page in sorted(pages) for shell in INSTALLED]
            faults = [fault for run in runs for fault in run.result()]
        self.assertFalse(faults, "\n\n".join(["", *faults]))


if __name__ == "__main__":
    unittest.main()
