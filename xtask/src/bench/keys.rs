//! The issuer of the benchmark: one RSA key, its public half as JWKS and PEM, and a token per user.
//!
//! `acp dev mint` makes them, because xtask itself links no cryptography; or `--keys` names a directory that has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// `iss` of every token.
pub(super) const ISSUER: &str = "https://issuer.bench.acp.test/";
/// `aud` of every token.
pub(super) const AUDIENCE: &str = "https://api.bench.acp.test";
/// `scope` of every token: what the one tool asks for.
pub(super) const SCOPE: &str = "tool:crm:read";
/// How many users there are.
pub(super) const USERS: usize = 1_000;
/// Over how many tenants they are spread.
pub(super) const TENANTS: usize = 8;
/// Lifetime of the tokens; the gateway's default bound on it is met.
const LIFETIME: &str = "24h";

/// Where keys and tokens are.
pub(super) struct Keys {
    directory: PathBuf,
}

impl Keys {
    /// Takes a directory that holds `jwks.json`, `public.pem` and `tokens.txt`.
    ///
    /// # Errors
    /// When a file is missing, or a token is not one of [`ISSUER`] for [`AUDIENCE`].
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let directory = fs::canonicalize(directory).with_context(|| format!("{}", directory.display()))?;
        let keys = Self { directory };
        for file in [keys.jwks(), keys.public_pem()] {
            fs::metadata(&file).with_context(|| format!("{}", file.display()))?;
        }
        let tokens = keys.read_tokens()?;
        if tokens.len() != USERS {
            bail!("{} holds {} tokens; the benchmark is defined for {USERS}", keys.tokens().display(), tokens.len());
        }
        for token in tokens {
            let claims = claims(&token)?;
            if claims["iss"] != ISSUER || claims["aud"] != AUDIENCE || claims["scope"] != SCOPE {
                bail!("a token of {} is not from {ISSUER} for {AUDIENCE} with {SCOPE}", keys.tokens().display());
            }
        }
        Ok(keys)
    }

    /// Has `acp` make a key and the tokens of [`USERS`] users of so many tenants in `directory`.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn mint(acp: &Path, directory: &Path, tenants: usize) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let mut command = Command::new(acp);
        command.args(["dev", "mint", "--issuer", ISSUER, "--audience", AUDIENCE, "--scope", SCOPE]);
        command.args(["--users", &USERS.to_string(), "--tenants", &tenants.to_string(), "--lifetime", LIFETIME]);
        command.arg("--key-out").arg(directory);
        let output = command.output().with_context(|| format!("running {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Self::open(directory)
    }

    /// The public key as JWKS.
    pub(super) fn jwks(&self) -> PathBuf {
        self.directory.join("jwks.json")
    }

    /// The public key as PEM.
    pub(super) fn public_pem(&self) -> PathBuf {
        self.directory.join("public.pem")
    }

    /// A token a line, one of each user.
    pub(super) fn tokens(&self) -> PathBuf {
        self.directory.join("tokens.txt")
    }

    /// The tokens.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read_tokens(&self) -> Result<Vec<String>> {
        let file = self.tokens();
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }
}

/// The tenant a token asserts.
///
/// # Errors
/// When it is no token, or asserts none.
pub(super) fn tenant(token: &str) -> Result<String> {
    claims(token)?["org_id"].as_str().map(str::to_owned).context("a token without org_id")
}

/// The claims of a token, unverified: whoever is benchmarked verifies them.
fn claims(token: &str) -> Result<Value> {
    let payload = token.split('.').nth(1).context("a token has three parts")?;
    let bytes = decode_base64url(payload).context("a token's payload is base64url")?;
    serde_json::from_slice(&bytes).context("a token's payload is JSON")
}

/// Unpadded base64url (RFC 4648 §5); `None` on any other character.
fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The upper bits were taken before.
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[u8]>) {
        assert_eq!(decode_base64url(text).as_deref(), expected);
    }

    #[test]
    fn decodes_base64url_without_padding() {
        check("", Some(b""));
        check("Zg", Some(b"f"));
        check("Zm8", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("-_-_", Some(&[0xfb, 0xff, 0xbf]));
        check("Zg==", None);
        check("Zm+v", None);
    }

    #[test]
    fn reads_the_tenant_of_a_token() {
        // {"alg":"none"} . {"sub":"u","org_id":"org_03"} . nothing
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1Iiwib3JnX2lkIjoib3JnXzAzIn0.";
        assert_eq!(tenant(token).expect("a tenant"), "org_03");
        assert!(tenant("opaque").is_err());
    }
}
