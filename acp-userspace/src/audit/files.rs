//! Names of the files under `audit.dir`, shared by the writer and the readers.
//!
//! | file | what it is |
//! |---|---|
//! | `segment-00000001.jsonl` | the log, in the order of the numbers |
//! | `segment-00000001.torn` | what a killed writer left behind the last block, cut off at the next start |
//! | `subject.keys` | keys of the sealed fields (0600); without it nobody can be named |
//! | `signing.key`, `signing.pub` | Ed25519 key of the heads: PKCS#8 (0600), and its public half in base64 |
//! | `head.json` | the newest signed head: copy it elsewhere, to be able to prove that no tail was cut off |
//! | `*.ring` | one mapped ring per worker |
//! | `instance`, `lock` | name of this installation; held while a gateway writes |

/// Subject keys.
pub const KEYS: &str = "subject.keys";
/// Private signing key, PKCS#8.
pub const SIGNING: &str = "signing.key";
/// Public signing key, base64.
pub const PUBLIC: &str = "signing.pub";
/// Newest signed head.
pub const HEAD: &str = "head.json";
/// Name of the installation.
pub const INSTANCE: &str = "instance";
/// Held while a gateway writes.
pub const LOCK: &str = "lock";
/// Extension of ring files.
pub const RING: &str = "ring";

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".jsonl";

/// File name of a segment.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{PREFIX}{number:08}{SUFFIX}")
}

/// File name of what was cut off a segment.
#[must_use]
pub fn torn(number: u64) -> String {
    format!("{PREFIX}{number:08}.torn")
}

/// The number in a segment's file name; `None` for other files.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    digits.parse().ok().filter(|number| segment(*number) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_found_again_and_others_are_not() {
        assert_eq!(segment_number(&segment(1)), Some(1));
        assert_eq!(segment_number(&segment(123_456_789)), Some(123_456_789));
        for other in ["segment-1.jsonl", "segment-00000001.torn", "segment-.jsonl", "segment-+0000001.jsonl", "lock"] {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }
}
