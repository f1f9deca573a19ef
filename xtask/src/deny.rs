//! Licences, bans and sources of the dependencies, against `deny.toml`.
//!
//! cargo-deny is the authority, and is run where it is installed, with its advisories if the network has the database.
//! Building it takes longer than the rest of CI's checks together, so a check of our own stands in everywhere: it reads
//! the same file and knows SPDX expressions, but not licence texts.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{paths, run};

/// Checks every dependency on the platforms the gateway runs on.
pub(crate) fn run() -> Result<()> {
    let policy = Policy::parse(&fs::read_to_string(paths::root().join("deny.toml"))?);
    let mut problems = BTreeSet::new();
    for platform in &policy.targets {
        problems.extend(problems_on(platform, &policy)?);
    }
    if !problems.is_empty() {
        bail!("deny.toml is not met:\n{}", problems.into_iter().collect::<Vec<_>>().join("\n"));
    }
    if run::succeeds(Command::new("cargo-deny").arg("--version")) {
        run::run(run::cargo().args(["deny", "check", "licenses", "bans", "sources"]))?;
        if run::run(run::cargo().args(["deny", "check", "advisories"])).is_err() {
            eprintln!("xtask: advisories: found some, or could not fetch the database: see above");
        }
    }
    Ok(())
}

/// The parts of `deny.toml` that are checked here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Policy {
    targets: Vec<String>,
    licences: BTreeSet<String>,
    banned: BTreeSet<String>,
}

impl Policy {
    /// Reads the three lists. A TOML parser would be one more dependency to build before anything can be set up; the
    /// file is ours and written so that this is enough: one quoted string per element, comments on `#`.
    fn parse(text: &str) -> Self {
        let mut policy = Self::default();
        let (mut section, mut key) = (String::new(), String::new());
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'))
                && key.is_empty()
            {
                name.clone_into(&mut section);
            } else if let Some((name, _)) = line.split_once(" = [") {
                name.clone_into(&mut key);
            }
            let quoted = line.split('"').nth(1).map(str::to_owned);
            match (section.as_str(), key.as_str()) {
                ("graph", "targets") => policy.targets.extend(quoted),
                ("licenses", "allow") => policy.licences.extend(quoted),
                ("bans", "deny") => policy.banned.extend(quoted),
                _ => {}
            }
            if line.ends_with(']') {
                key.clear();
            }
        }
        policy
    }
}

/// Checks what is built on a platform. `cargo metadata` knows the packages but resolves weak dependencies that no feature
/// turns on; `cargo tree` resolves as a build does.
fn problems_on(platform: &str, policy: &Policy) -> Result<Vec<String>> {
    let tree =
        cargo(&["tree", "--locked", "--workspace", "--prefix", "none", "--format", "{p}", "--target", platform])?;
    let built: BTreeSet<_> = tree.lines().filter_map(name_and_version).collect();
    let metadata = cargo(&["metadata", "--locked", "--format-version", "1", "--filter-platform", platform])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has another form")?;
    let is_built = |package: &&Value| {
        let (name, version) = (package["name"].as_str(), package["version"].as_str());
        name.zip(version).is_some_and(|key| built.contains(&key))
    };
    Ok(packages.iter().filter(is_built).flat_map(|package| problems_of(package, policy)).collect())
}

fn cargo(arguments: &[&str]) -> Result<String> {
    run::output(run::cargo().args(arguments)).with_context(|| format!("cargo {} failed", arguments[0]))
}

/// `ryu v1.0.20 (*)` → (ryu, 1.0.20).
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

/// What is wrong with one package.
fn problems_of(package: &Value, policy: &Policy) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or("?");
    let mut problems = Vec::new();
    match package["license"].as_str() {
        None => problems.push(format!("{name}: no licence expression")),
        Some(licence) if !is_allowed(licence, &policy.licences) => {
            problems.push(format!("{name}: licence {licence} is not allowed"));
        }
        Some(_) => {}
    }
    // `null` is a member of the workspace.
    if let Some(source) = package["source"].as_str()
        && source != "registry+https://github.com/rust-lang/crates.io-index"
    {
        problems.push(format!("{name}: source {source} is not allowed"));
    }
    if policy.banned.contains(name) {
        problems.push(format!("{name}: banned"));
    }
    problems
}

/// Evaluates an SPDX expression (SPDX 2.3, annex D): AND binds tighter than OR; `/` is cargo's old way to write OR. A
/// licence with an exception is its own entry in the list.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any_of(&mut words, allowed);
    verdict == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Option<bool> {
    let mut verdict = all_of(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all_of(words, allowed)?;
    }
    Some(verdict)
}

fn all_of(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Option<bool> {
    let mut verdict = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, allowed)?;
    }
    Some(verdict)
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let verdict = any_of(words, allowed)?;
        return (words.next() == Some(")")).then_some(verdict);
    }
    let mut licence = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next()?);
    }
    Some(allowed.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        let allowed = set(&["MIT", "ISC", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]);
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }

    /// What CI checks of every build: no other library for hashes, MACs, signatures or TLS comes in by any way.
    #[test]
    fn need_b19_all_cryptography_is_aws_lc() {
        let policy = Policy::parse(&fs::read_to_string(paths::root().join("deny.toml")).unwrap());
        for other in ["ring", "openssl-sys", "native-tls", "sha1", "sha2", "md-5", "hmac", "aes-gcm", "rsa"] {
            assert!(policy.banned.contains(other), "{other} is not banned");
        }
        let tree =
            cargo(&["tree", "--locked", "--offline", "--workspace", "--prefix", "none", "--format", "{p}"]).unwrap();
        let built: BTreeSet<_> = tree.lines().filter_map(name_and_version).map(|(name, _)| name).collect();
        assert!(built.contains("aws-lc-rs"));
        let found: Vec<_> = built.iter().filter(|name| policy.banned.contains(**name)).collect();
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_licence_is_allowed_if_one_of_the_choices_is() {
        check("MIT", true);
        check("GPL-3.0", false);
        check("GPL-3.0 OR MIT", true);
        check("GPL-3.0/MIT", true);
        check("Apache-2.0 / MIT", true);
        check("Apache-2.0", false);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("MIT WITH LLVM-exception", false);
    }

    #[test]
    fn all_that_apply_together_must_be_allowed() {
        check("MIT AND ISC", true);
        check("MIT AND GPL-3.0", false);
        check("(GPL-3.0 OR MIT) AND Unicode-3.0", true);
        check("GPL-3.0 OR MIT AND GPL-3.0", false);
        check("MIT OR GPL-3.0 AND GPL-3.0", true);
    }

    #[test]
    fn what_is_no_expression_is_not_allowed() {
        for expression in ["", "(MIT", "MIT)", "MIT MIT", "MIT AND", "OR MIT", "MIT WITH"] {
            check(expression, false);
        }
    }

    #[test]
    fn reads_the_three_lists_of_the_policy() {
        let text = r#"
[graph]
targets = ["x86_64-unknown-linux-gnu"]
[licenses]
# comment with "quotes"
allow = [
    "MIT", # why
    "ISC",
]
confidence-threshold = 0.9
[bans]
wildcards = "deny"
deny = [
    { crate = "ring", reason = "one crypto library" },
]
"#;
        let policy = Policy::parse(text);
        assert_eq!(policy.targets, ["x86_64-unknown-linux-gnu"]);
        assert_eq!((policy.licences, policy.banned), (set(&["MIT", "ISC"]), set(&["ring"])));
    }

    #[test]
    fn names_what_is_wrong_with_a_package() {
        let policy = Policy { licences: set(&["MIT"]), banned: set(&["bad"]), ..Policy::default() };
        let package = serde_json::json!({"name": "bad", "license": "GPL-3.0", "source": "git+https://example.com/x"});
        let problems = problems_of(&package, &policy).join("\n");
        for part in ["licence GPL-3.0", "source git+", "banned"] {
            assert!(problems.contains(part), "{problems}");
        }
        let own = serde_json::json!({"name": "acp", "license": "MIT", "source": null});
        assert!(problems_of(&own, &policy).is_empty());
    }
}
