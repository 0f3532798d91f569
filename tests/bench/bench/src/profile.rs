//! Where a warm request's instructions are, and whose a function's code is, by crate.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::http::Error;
use crate::measure::WARM;
use crate::world::World;
use crate::{Places, prepare};

const FILE: &str = "tests/bench/profiles.json";
/// So many crates are told apart.
const CRATES: usize = 10;

/// What the name of AWS-LC's function ends with that verifies a signature, with all that it calls.
const VERIFICATION: &str = "_EVP_DigestVerify";

/// By function.
pub(crate) type Profiles = BTreeMap<String, Profiled>;

/// What is known of a function's crates.
#[derive(Serialize, Deserialize)]
pub(crate) struct Profiled {
    /// The instructions of a warm request by the crate that executes them; the largest.
    pub(crate) crates: BTreeMap<String, u64>,
    /// Bytes of machine code; the largest.
    #[serde(default)]
    pub(crate) code: BTreeMap<String, u64>,
    /// Of all of them those that verify the token's signature.
    pub(crate) verification: u64,
}

/// A function that was built with its symbols.
#[derive(Args)]
pub(crate) struct Profile {
    /// Which function
    #[arg(long)]
    function: String,
    /// Its binary
    #[arg(long)]
    binary: PathBuf,
}

impl Profile {
    pub(crate) async fn measure(self, places: &Places, world: &World) -> Result<(), Error> {
        let mut function = prepare(places, world, &[&self.function]).await?.pop().ok_or("no function")?;
        function.binary = self.binary.clone();
        let folder = places.profiles()?;
        let mut crates = BTreeMap::new();
        function.instructions(world, &folder).await?;
        let read = |phase| {
            let file = folder.join(format!("{}-{phase}.callgrind", self.function));
            Ok::<_, Error>(Counts::read(&std::fs::read_to_string(file)?))
        };
        let (one, many) = (read("first")?, read("warm")?);
        let each = |one: u64, many: u64| many.saturating_sub(one) / WARM as u64;
        for (name, count) in many.crates {
            let before = one.crates.get(&name).copied().unwrap_or_default();
            crates.insert(name, each(before, count));
        }
        let verification = each(one.verification, many.verification);
        let symbols = Command::new("nm").args(["--print-size", "--demangle"]).arg(&self.binary).output()?;
        if !symbols.status.success() {
            return Err(String::from_utf8_lossy(&symbols.stderr).into());
        }
        let code = largest(code(&String::from_utf8_lossy(&symbols.stdout)));
        let mut profiles = read_all(&places.root)?;
        profiles.insert(self.function, Profiled { crates: largest(crates), code, verification });
        Ok(std::fs::write(places.root.join(FILE), serde_json::to_string_pretty(&profiles)? + "\n")?)
    }
}

fn largest(mut crates: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut counts: Vec<_> = crates.values().copied().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let least = counts.get(CRATES).copied().unwrap_or_default();
    crates.retain(|_, count| *count > least);
    crates
}

/// Bytes of code by crate, out of lines such as `0000000000208ab5 000000000000ec1c t create_flow::handle`.
fn code(symbols: &str) -> BTreeMap<String, u64> {
    let mut code = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in symbols.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(address), Some(size), Some("t" | "T"), Some(name)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        // Some have two names.
        if let (true, Ok(size)) = (seen.insert(address), u64::from_str_radix(size, 16)) {
            *code.entry(crate_of(name)).or_default() += size;
        }
    }
    code
}

/// None when none have been measured.
pub(crate) fn read_all(root: &Path) -> Result<Profiles, Error> {
    let file = root.join(FILE);
    if !file.exists() {
        return Ok(Profiles::new());
    }
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

/// What callgrind has written.
#[derive(Default)]
struct Counts {
    crates: BTreeMap<String, u64>,
    verification: u64,
}

impl Counts {
    /// Names are given once and are numbers afterwards. The line after `calls=` is what the called function
    /// takes with all that it calls, every other one is what the function takes by itself.
    fn read(profile: &str) -> Self {
        let mut names: HashMap<&str, (String, bool)> = HashMap::new();
        let (mut current, mut called, mut is_call) = (String::new(), false, false);
        let mut counts = Self::default();
        for line in profile.lines() {
            if let Some(name) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
                let (number, name) = name.split_once(' ').unwrap_or((name, ""));
                let (of, verifies) =
                    names.entry(number).or_insert_with(|| (crate_of(name), name.ends_with(VERIFICATION)));
                if line.starts_with("fn=") {
                    current.clone_from(of);
                } else {
                    called = *verifies;
                }
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|start: char| start.is_ascii_digit() || "+-*".contains(start)) {
                let count = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
                if !std::mem::take(&mut is_call) {
                    *counts.crates.entry(current.clone()).or_default() += count;
                } else if called {
                    counts.verification += count;
                }
            }
        }
        counts
    }
}

/// The first part of a path, such as of `<alloc::string::String as core::fmt::Write>::write_str`.
fn crate_of(function: &str) -> String {
    let path = function.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path.trim_start_matches("mut ").trim_start_matches("dyn ");
    let name: String = path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if path.starts_with(&format!("{name}::")) {
        return name;
    }
    let c = [("aws_lc", "aws-lc"), ("ZSTD", "zstd"), ("HUF", "zstd"), ("FSE", "zstd"), ("XXH", "zstd")];
    let known = c.into_iter().find(|(prefix, _)| name.starts_with(prefix));
    known.map_or("C library and what has no crate", |(_, library)| library).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_belong_to_the_crate_that_executes_them() {
        let profile = "fn=(1) core::str::from_utf8\n0 5\ncfn=(2) <&aws_lc_rs::digest::Digest as x>::y\ncalls=1 0\n0 70\n0 1\nfn=(2)\n0 70\nfn=(3) ZSTD_decompress\n+3 2\ncfn=(4) aws_lc_0_47_0_EVP_DigestVerify\ncalls=1 0\n0 9\n";
        let counts = Counts::read(profile);
        let expected = [("aws_lc_rs", 70), ("core", 6), ("zstd", 2)];
        assert_eq!(counts.crates, expected.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(counts.verification, 9);
    }

    #[test]
    fn code_counts_once_for_the_crate_that_it_is_of() {
        let symbols = "00a0 000f t h2::codec::decode\n00a0 000f T h2::alias\n00b0 0001 T aws_lc_0_47_0_x\n00c0 r KEYS\n00d0 0008 r h2::DATA\n00e0 0010 t <h2::A as B>::c\n";
        assert_eq!(code(symbols), [("aws-lc".to_owned(), 1), ("h2".to_owned(), 31)].into());
    }
}
