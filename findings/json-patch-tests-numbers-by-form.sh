#!/usr/bin/env bash
# json-patch 5.0.0 (crates.io) says of a `test` of 1.0 where there is 1 that the value did not match. RFC 6902, 4.6 has numbers equal
# when their values are numerically equal, and so have jsonpatch 1.33 (PyPI) and fast-json-patch 3.1.1 (npm).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
json-patch = "=5.0.0"
serde_json = "=1.0.154"
TOML
cat >"$folder/src/main.rs" <<'RUST'
use serde_json::json;

fn main() {
    let patch: json_patch::Patch = serde_json::from_value(json!([{"op": "test", "path": "/n", "value": 1.0}])).unwrap();
    let tested = json_patch::patch(&mut json!({"n": 1}), &patch);
    println!("{}", tested.map_or_else(|error| error.to_string(), |()| "equal".into()));
}
RUST
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsonpatch==1.33
npm install --silent --no-audit --no-fund --prefix "$folder" fast-json-patch@3.1.1

rust=$(cd "$folder" && cargo run --quiet)
python=$("$folder/venv/bin/python" -c '
import jsonpatch
jsonpatch.apply_patch({"n": 1}, [{"op": "test", "path": "/n", "value": 1.0}])
print("equal")')
# What a JavaScript program reads of 1.0 is 1: of these three it alone cannot tell them apart.
npm=$(cd "$folder" && node -e '
const patch = JSON.parse(`[{"op": "test", "path": "/n", "value": 1.0}]`);
require("fast-json-patch").applyPatch({ n: 1 }, patch, true);
console.log("equal")')
echo "test of 1.0 where there is 1, which RFC 6902 has equal:"
echo "  json-patch 5.0.0:      $rust"
echo "  jsonpatch 1.33:        $python"
echo "  fast-json-patch 3.1.1: $npm"
if [[ $rust == *"value did not match" && $python == equal && $npm == equal ]]; then
    echo "As described."
else
    echo "NOT as described any more."
    exit 1
fi
