//! What has to hold of the codec whatever the bytes: bodies of fuzz targets, run by `crate::fuzzing`.

use super::chunked::{ChunkError, Decoder};
use super::head::{Framing, HeadError, HeadLimits, Header, is_field_name, parse_request, parse_response};
use super::{oracle, write};

/// Small, so that inputs reach them.
const LIMITS: HeadLimits = HeadLimits { bytes_max: 4096, headers_max: 64 };

/// What two readings of a head are compared by.
type Outcome = Result<Option<(usize, Framing)>, HeadError>;

/// A connection's bytes: its first head is found whole as in pieces, holds what a slow reader sees in it, and survives
/// being written again; the requests in it are the first ones that hyper reads.
pub fn request_head(data: &[u8]) {
    let mut again = Vec::new();
    let parsed = parse_request(data, &LIMITS, &mut 0);
    let whole = parsed.as_ref().map(|head| head.as_ref().map(|head| (head.len, head.framing))).map_err(|error| *error);
    check_pieces(data, whole, |bytes, scanned| {
        parse_request(bytes, &LIMITS, scanned).map(|head| head.map(|head| (head.len, head.framing)))
    });
    if let Ok(Some(head)) = &parsed {
        check_fields(&head.headers);
        check_framing(&data[..head.len], head.framing);
        assert!(head.path.starts_with('/') && !head.host.is_empty());
        write::request_line(&mut again, head.method, head.path, head.query);
        write_fields(&mut again, &head.headers);
        let more = HeadLimits { bytes_max: 2 * LIMITS.bytes_max, ..LIMITS };
        let read = parse_request(&again, &more, &mut 0);
        let read = read.expect("what was read can be read again").expect("it is complete");
        assert_eq!((read.method, read.path, read.query), (head.method, head.path, head.query));
        assert_eq!((read.host, read.framing, read.len), (head.host, head.framing, again.len()));
        assert_eq!(read.headers, head.headers);
    }
    check_with_hyper(data);
}

/// The requests we read are the first ones that hyper reads. It takes 100 fields and trailers at most, and none of the
/// three marks in a query that hand-written clients leave unencoded: those it refuses, and reads in no other way.
#[track_caller]
fn check_with_hyper(data: &[u8]) {
    if memchr::memchr_iter(b'\n', data).count() > 100 {
        return;
    }
    let (ours, theirs) = (oracle::ours(data), oracle::theirs(data));
    if ours.iter().any(|seen| seen.query.as_ref().is_some_and(|query| query.contains(['"', '<', '>']))) {
        return;
    }
    assert!(ours.len() <= theirs.len(), "more requests than hyper reads: {ours:?} {theirs:?}");
    assert_eq!(ours[..], theirs[..ours.len()], "other requests than hyper reads");
}

/// An upstream's bytes; the first says whether they answer HEAD.
pub fn response_head(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let is_head = kind & 1 == 1;
    let mut again = Vec::new();
    let parsed = parse_response(data, is_head, &LIMITS, &mut 0);
    let whole = parsed.as_ref().map(|head| head.as_ref().map(|head| (head.len, head.framing))).map_err(|error| *error);
    check_pieces(data, whole, |bytes, scanned| {
        parse_response(bytes, is_head, &LIMITS, scanned).map(|head| head.map(|head| (head.len, head.framing)))
    });
    let Ok(Some(head)) = &parsed else { return };
    assert!((100..600).contains(&head.status) && head.status != 101);
    check_fields(&head.headers);
    let bodyless = is_head || matches!(head.status, 100..200 | 204 | 304);
    assert_eq!(bodyless, head.framing == Framing::None);
    if !bodyless {
        check_framing(&data[..head.len], head.framing);
    }
    assert!(!head.keep_alive || head.framing != Framing::UntilClose);
    write::status_line(&mut again, head.status);
    write_fields(&mut again, &head.headers);
    let more = HeadLimits { bytes_max: 2 * LIMITS.bytes_max, ..LIMITS };
    // A length that HTTP/1.0 may have with a coding it may not is refused before: the same fields frame alike.
    let read = parse_response(&again, is_head, &more, &mut 0).expect("readable again").expect("complete");
    assert_eq!((read.status, read.framing, read.headers), (head.status, head.framing, head.headers.clone()));
}

/// A chunked body: how it is cut changes nothing, what is encoded is decoded, and hyper reads the same.
pub fn chunked(data: &[u8]) {
    let Some((&seed, body)) = data.split_first() else { return };
    let step = 1 + usize::from(seed & 7);
    let whole = decode([body].into_iter());
    assert_eq!(whole, decode(body.chunks(step)), "cut every {step} bytes");
    if let Ok((_, consumed, _)) = &whole {
        assert!(*consumed <= body.len());
    }
    let mut encoded = Vec::new();
    body.chunks(13 * step).for_each(|part| write::chunk(&mut encoded, part));
    encoded.extend_from_slice(write::LAST_CHUNK);
    let end = encoded.len();
    encoded.extend_from_slice(body);
    assert_eq!(decode([&*encoded].into_iter()), Ok((body.to_vec(), end, true)));
    let mut request = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    request.extend_from_slice(body);
    check_with_hyper(&request);
}

/// Data, bytes used, and whether the end was seen.
fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let (mut decoder, mut content, mut used, mut done) = (Decoder::new(), Vec::new(), 0, false);
    for part in parts {
        let decoded = decoder.decode(part, &mut |data| content.extend_from_slice(data))?;
        assert!(decoder.announced() >= content.len() as u64);
        used += decoded.consumed;
        done |= decoded.done;
        assert!(decoded.done || decoded.consumed == part.len(), "bytes are left only behind the end");
    }
    Ok((content, used, done))
}

/// Bytes that come in pieces are read as the same head; a fault may be found later, never another head.
#[track_caller]
fn check_pieces(data: &[u8], whole: Outcome, parse: impl Fn(&[u8], &mut usize) -> Outcome) {
    let step = 1 + data.len() / 128;
    let mut scanned = 0;
    let cuts = (0..data.len()).step_by(step).chain([data.len()]);
    let pieces = cuts.map(|cut| parse(&data[..cut], &mut scanned)).find(|outcome| !matches!(outcome, Ok(None)));
    let pieces = pieces.unwrap_or(Ok(None));
    let later = whole.is_err() && !matches!(pieces, Ok(Some(_)));
    assert!(pieces == whole || later, "in pieces {pieces:?}, whole {whole:?}");
}

#[track_caller]
fn check_fields(headers: &[Header<'_>]) {
    assert!(headers.len() <= LIMITS.headers_max);
    for header in headers {
        assert!(is_field_name(header.name));
        assert!(!header.value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'), "{header:?}");
        assert_eq!(header.value.trim_ascii(), header.value);
    }
}

/// A slow reader sees the same framing: lines cut at CRLF, names cut at the first colon and compared as a careless
/// server would, which takes every mark for `-`.
#[track_caller]
fn check_framing(head: &[u8], framing: Framing) {
    assert!(head.len() <= LIMITS.bytes_max && head.ends_with(b"\r\n\r\n"));
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let named = |wanted: &str| -> Vec<String> {
        let fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
        let mapped = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
        fields.filter(|(name, _)| mapped(name) == wanted).map(|(_, value)| value.trim().to_owned()).collect()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    match framing {
        Framing::Length(length) => assert_eq!((lengths, codings.len()), (vec![length.to_string()], 0)),
        Framing::Chunked => {
            assert!(lengths.is_empty() && codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked"));
        }
        Framing::None | Framing::UntilClose => assert!(lengths.is_empty() && codings.is_empty()),
    }
}

fn write_fields(out: &mut Vec<u8>, headers: &[Header<'_>]) {
    for header in headers {
        write::header(out, header.name, header.value);
    }
    out.extend_from_slice(write::END_OF_HEAD);
}
