//! Bodies that come compressed: undone before anything reads them, where the route takes their coding, else refused.

use super::Carrier;
use super::trail::Stop;
use crate::audit::record::Layer;
use crate::config::resolved::{ContentCoding, Route};
use crate::http::head::RequestHead;
use crate::ids::Key128;
use crate::reason::Reason;
use crate::safety::inflate::inflate;

/// What Content-Encoding says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coded {
    /// It is as it is.
    Plain,
    /// It came in this coding, which the route takes.
    In(ContentCoding),
    /// It came in one that the route does not take, or in several.
    Unknown,
}

impl Coded {
    /// By the values of Content-Encoding.
    pub(super) fn of<'h>(values: impl Iterator<Item = &'h [u8]>, route: &Route) -> Self {
        let mut found = Self::Plain;
        for value in values.filter(|value| !value.eq_ignore_ascii_case(b"identity")) {
            let named = |coding: &&ContentCoding| value.eq_ignore_ascii_case(coding.name().as_bytes());
            found = match (found, route.content_codings.iter().find(named)) {
                (Self::Plain, Some(coding)) => Self::In(*coding),
                _ => return Self::Unknown,
            };
        }
        found
    }
}

/// Decodes a request's body, if it is encoded. One at a time of a worker is on nobody's account, while it is decoded.
pub(super) fn undo<C: Carrier>(
    head: &RequestHead<'_>,
    route: &Route,
    tenant: Key128,
    carrier: &mut C,
) -> Result<(), Stop> {
    let refuse = |reason| Stop::new(Layer::Safety, reason);
    let coding = match Coded::of(head.all("content-encoding"), route) {
        Coded::Plain => return Ok(()),
        Coded::In(coding) => coding,
        Coded::Unknown => {
            let detail = "the body is encoded in a way that the route does not take; send it plain";
            return Err(refuse(Reason::UnsupportedMediaType).detail(detail));
        }
    };
    let decoded = inflate(coding, carrier.parts().0, route.body_bytes_max).map_err(|error| {
        let reason = if error.is_size() { Reason::BodyTooLarge } else { Reason::UnsupportedMediaType };
        refuse(reason).detail(error.to_string())
    })?;
    if carrier.replace_body(tenant, decoded) { Ok(()) } else { Err(refuse(Reason::Overloaded)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixtures::route;

    #[test]
    fn one_coding_that_the_route_takes_is_undone_and_no_other() {
        let mut route = route(0, "/r", &[], Vec::new());
        route.content_codings = vec![ContentCoding::Gzip, ContentCoding::Br];
        let of = |values: &[&'static str]| Coded::of(values.iter().map(|value| value.as_bytes()), &route);
        assert_eq!(of(&[]), Coded::Plain);
        assert_eq!(of(&["identity"]), Coded::Plain);
        assert_eq!(of(&["GZIP"]), Coded::In(ContentCoding::Gzip));
        assert_eq!(of(&["identity", "br"]), Coded::In(ContentCoding::Br));
        for other in [&["deflate"][..], &["gzip", "gzip"], &["gzip, br"], &["gzip;q=1"], &[""]] {
            assert_eq!(of(other), Coded::Unknown, "{other:?}");
        }
    }
}
