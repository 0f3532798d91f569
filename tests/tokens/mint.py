"""Makes tokens with npm's jose, joserfc, Authlib and PyJWT in the shapes of docs/identity.md, serves their keys as a careful
provider would, and runs a command with what must become of each token in the file $ISSUED_TOKENS."""

import base64
import datetime
import http.server
import ipaddress
import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import jwt as pyjwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

with warnings.catch_warnings(record=True):
    # It says that it goes with its next major version, whatever the filter.
    from authlib.jose import JsonWebKey, JsonWebToken

HERE = pathlib.Path(__file__).parent
# Where tests/tokens/run installs.
HOME = HERE / "../../target/tokens"
PAGE = (HERE / "../../docs/identity.md").read_text()
ALGORITHMS = ["RS256", "PS384", "ES256", "ES384", "EdDSA"]


class PyJwt:
    algorithms = ALGORITHMS

    def __init__(self):
        self.keys = {
            "RS256": rsa.generate_private_key(65537, 2048),
            "PS384": rsa.generate_private_key(65537, 3072),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "ES384": ec.generate_private_key(ec.SECP384R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def public(self, alg):
        return pyjwt.get_algorithm_by_name(alg).to_jwk(self.keys[alg].public_key(), as_dict=True)

    def sign(self, alg, kid, claims):
        return pyjwt.encode(claims, self.keys[alg], alg, headers={"kid": kid})


class Joserfc:
    algorithms = [*ALGORITHMS, "Ed25519"]

    def __init__(self):
        rsa_key, ec_key, okp_key = joserfc_jwk.RSAKey, joserfc_jwk.ECKey, joserfc_jwk.OKPKey
        self.keys = {
            "RS256": rsa_key.generate_key(2048),
            "PS384": rsa_key.generate_key(3072),
            "ES256": ec_key.generate_key("P-256"),
            "ES384": ec_key.generate_key("P-384"),
            "EdDSA": okp_key.generate_key("Ed25519"),
            "Ed25519": okp_key.generate_key("Ed25519"),
        }

    def public(self, alg):
        return self.keys[alg].as_dict(private=False)

    def sign(self, alg, kid, claims):
        with warnings.catch_warnings(record=True):
            return joserfc_jwt.encode({"alg": alg, "kid": kid}, claims, self.keys[alg], algorithms=[alg])


class Authlib:
    algorithms = ALGORITHMS

    def __init__(self):
        kinds = {"RS256": ("RSA", 2048), "PS384": ("RSA", 3072), "ES256": ("EC", "P-256")}
        kinds |= {"ES384": ("EC", "P-384"), "EdDSA": ("OKP", "Ed25519")}
        self.keys = {alg: JsonWebKey.generate_key(*kind, is_private=True) for alg, kind in kinds.items()}

    def public(self, alg):
        return self.keys[alg].as_dict(is_private=False)

    def sign(self, alg, kid, claims):
        return JsonWebToken([alg]).encode({"alg": alg, "kid": kid}, claims, self.keys[alg]).decode()


def providers():
    """Each set-up of the page with its tokens and what they are said to be; shared/src/identity/providers.rs reads it too."""
    for section in PAGE.split("\n## ")[1:]:
        if "infra/deploy prod" not in section:
            continue
        words = [line.strip().removesuffix("\\").strip().strip("'") for line in section.splitlines()]
        pairs = [word.split("=", 1) for word in words if re.match(r"Auth\w+=", word)]
        settings = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper(): value for name, value in pairs}
        tokens = []
        for claims, line in re.findall(r"```json\n(.*?)```\n\n(It is user [^\n]*)", section, re.S):
            sub, *rest = re.findall(r"`([^`]*)`", line)
            tenant = rest.pop(0) if " of tenant " in line else None
            tokens.append((json.loads(claims), {"sub": sub, "tenant": tenant, "permissions": rest}))
        yield section.splitlines()[0], settings, tokens


def issued_now(claims):
    now = int(time.time())
    times = {"iat": now, "nbf": now, "auth_time": now, "exp": now + 600}
    return claims | {name: value for name, value in times.items() if name in claims}


def wrong(claims):
    """The same token with one thing that must not be."""
    now = int(time.time())
    yield "of another issuer", claims | {"iss": "https://evil.example"}
    yield "for another audience", claims | {"aud": "other"}
    yield "for two others", claims | {"aud": ["other", "another"]}
    yield "expired", claims | {"exp": now - 3600}
    yield "not begun", claims | {"nbf": now + 3600}
    for name in ["iss", "sub", "exp"]:
        yield f"without {name}", {other: value for other, value in claims.items() if other != name}
    yield "for nobody", {name: value for name, value in claims.items() if name not in ("aud", "client_id")}


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(token):
    """The same token with a signature that is none."""
    header, claims, signature = token.split(".")
    other = base64url(json.dumps({"sub": "root"}).encode())
    yield "with other claims", f"{header}.{other}.{signature}"
    yield "cut", f"{header}.{claims}.{signature[:-8]}"
    yield "unsigned", f"{header}.{claims}."
    yield "alg none", pyjwt.encode({"sub": "root"}, None, "none", headers={"kid": "pyjwt-RS256"})


def mint():
    """The cases of each set-up, and the keys of all libraries."""
    libraries = {"pyjwt": PyJwt(), "joserfc": Joserfc(), "authlib": Authlib()}
    keys = []
    for name, library in libraries.items():
        for alg in library.algorithms:
            keys.append(library.public(alg) | {"kid": f"{name}-{alg}", "alg": alg, "use": "sig"})
    setups, by_jose = [], []
    for name, settings, tokens in providers():
        cases = []
        setups.append({"name": name, "settings": settings, "cases": cases})

        def add(library, alg, what, claims, caller):
            case = {"what": f"{library} {alg} {what}", "caller": caller}
            cases.append(case)
            if library == "jose":
                by_jose.append((case, {"alg": alg, "claims": claims}))
            else:
                case["token"] = libraries[library].sign(alg, f"{library}-{alg}", claims)

        for at, (claims, caller) in enumerate(tokens):
            claims = issued_now(claims)
            for library in [*libraries, "jose"]:
                add(library, "RS256", f"token {at}", claims, caller)
                for what, other in wrong(claims):
                    add(library, "RS256", f"token {at} {what}", other, None)
        for library, algorithms in [*((name, of.algorithms) for name, of in libraries.items()), ("jose", JOSE)]:
            for alg in algorithms[1:]:
                add(library, alg, "token 0", issued_now(tokens[0][0]), tokens[0][1])
        signed = libraries["pyjwt"].sign("RS256", "pyjwt-RS256", issued_now(tokens[0][0]))
        cases.extend({"what": what, "caller": None, "token": token} for what, token in forged(signed))
        foreign = libraries["authlib"].sign("RS256", "pyjwt-RS256", issued_now(tokens[0][0]))
        cases.append({"what": "under the id of another key", "caller": None, "token": foreign})
    order = json.dumps({"algorithms": JOSE, "tokens": [token for _, token in by_jose]})
    node = subprocess.run(["node", HOME / "mint.mjs"], input=order, capture_output=True, text=True, check=True)
    made = json.loads(node.stdout)
    for (case, _), token in zip(by_jose, made["tokens"], strict=True):
        case["token"] = token
    # What no function can use does not hide what it can.
    unusable = [{"kty": "RSA", "kid": "pyjwt-RS256", "use": "enc", "n": "AQAB", "e": "AQAB"}, {"kty": "future"}]
    return setups, {"keys": [*unusable, *keys, *made["keys"]]}


JOSE = ["RS256", "PS384", "ES256", "ES384", "EdDSA", "Ed25519"]


def authority(folder):
    """A private authority, and a certificate of it for this machine."""

    def certificate(name, key, issuer, issuer_key, extensions):
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(issuer or subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("Authority", ca_key, None, ca_key, [x509.BasicConstraints(ca=True, path_length=None)])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = certificate("Provider", key, ca.subject, ca_key, [here])
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + own.public_bytes(pem))


def serve(keys, folder):
    """The keys over TLS, for who says who asks."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_welcome = self.headers["User-Agent"] and self.headers["Accept"] == "application/json"
            body = json.dumps(keys).encode() if is_welcome else b""
            self.send_response(200 if is_welcome else 403)
            # Else it would end with the connection, which Python closes without a word of TLS.
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://127.0.0.1:{server.server_port}/jwks.json"


def main(command):
    setups, keys = mint()
    assert len(setups) == 5, "the page has five set-ups"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        url = serve(keys, folder)
        pem = (folder / "ca.pem").read_text()
        for at, setup in enumerate(setups):
            # A file, or the text with blanks for line breaks, as it is in a parameter.
            ca = str(folder / "ca.pem") if at % 2 else " ".join(pem.split("\n"))
            setup["settings"] |= {"AUTH_JWKS_URL": url, "AUTH_JWKS_CA": ca}
        file = folder / "tokens.json"
        file.write_text(json.dumps(setups))
        print(f"{sum(len(setup['cases']) for setup in setups)} tokens for {len(setups)} set-ups")
        return subprocess.run(command, env=os.environ | {"ISSUED_TOKENS": str(file)}).returncode


sys.exit(main(sys.argv[1:]))
