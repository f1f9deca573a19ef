//! What has to hold of compressed bodies whatever the bytes: body of a fuzz target, run by `crate::fuzzing`.

use super::{Coding, InflateError, RATIO_FREE_BYTES, RATIO_MAX, inflate};

/// A body; its first byte says its coding. What it decodes to stays within both bounds, is the same when there is room for
/// no more, and with a byte behind it the body is refused.
pub fn inflated(data: &[u8]) {
    const BYTES_MAX: usize = 1 << 15;
    let Some((&kind, body)) = data.split_first() else { return };
    let coding = Coding::ALL[usize::from(kind) % Coding::ALL.len()];
    let Ok(decoded) = inflate(coding, body, BYTES_MAX) else { return };
    assert!(decoded.len() <= BYTES_MAX.min(RATIO_FREE_BYTES.max(body.len() * RATIO_MAX)));
    assert_eq!(inflate(coding, body, decoded.len()).as_ref(), Ok(&decoded));
    if let Some(less) = decoded.len().checked_sub(1) {
        assert_eq!(inflate(coding, body, less), Err(InflateError::TooLarge));
    }
    assert!(inflate(coding, &[body, b"\0"].concat(), BYTES_MAX).is_err());
}
