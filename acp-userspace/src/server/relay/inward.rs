//! An answer's body as the upstream frames it: where it ends, and not further.

use crate::http::chunked::Decoder;
use crate::http::head::Framing;
use crate::reason::Reason;

/// An answer's body as the upstream frames it.
pub(super) struct Inward {
    pub(super) framing: Framing,
    left: u64,
    decoder: Decoder,
}

/// What one piece of a body did.
pub(super) struct Progress {
    pub(super) consumed: usize,
    pub(super) done: bool,
}

impl Inward {
    pub(super) fn new(framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Self { framing, left, decoder: Decoder::new() }
    }

    /// Hands the content in `raw` to `sink`.
    pub(super) fn advance(&mut self, raw: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<Progress, Reason> {
        match self.framing {
            Framing::None => Ok(Progress { consumed: 0, done: true }),
            Framing::Length(_) => {
                let take = usize::try_from(self.left).map_or(raw.len(), |left| left.min(raw.len()));
                if take > 0 {
                    sink(&raw[..take]);
                }
                self.left -= take as u64;
                Ok(Progress { consumed: take, done: self.left == 0 })
            }
            Framing::Chunked => {
                let decoded = self.decoder.decode(raw, sink).map_err(|_| Reason::UpstreamFraming)?;
                Ok(Progress { consumed: decoded.consumed, done: decoded.done })
            }
            Framing::UntilClose => {
                sink(raw);
                Ok(Progress { consumed: raw.len(), done: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(framing: Framing, raw: &[u8], content: &[u8], consumed: usize, done: bool) {
        let mut got = Vec::new();
        let progress = Inward::new(framing).advance(raw, &mut |data| got.extend_from_slice(data)).unwrap();
        assert_eq!((got.as_slice(), progress.consumed, progress.done), (content, consumed, done));
    }

    #[test]
    fn an_answer_ends_where_its_framing_says_and_not_later() {
        check(Framing::None, b"extra", b"", 0, true);
        check(Framing::Length(0), b"extra", b"", 0, true);
        check(Framing::Length(3), b"abcextra", b"abc", 3, true);
        check(Framing::Length(9), b"abc", b"abc", 3, false);
        check(Framing::Chunked, b"3\r\nabc\r\n0\r\n\r\nextra", b"abc", 13, true);
        check(Framing::UntilClose, b"abc", b"abc", 3, false);
        assert!(Inward::new(Framing::Chunked).advance(b"zz\r\n", &mut |_| ()).is_err());
    }
}
