//! What has to hold of event streams whatever the bytes: body of a fuzz target, run by `crate::fuzzing`.

use super::{BYTE_ORDER_MARK, Events};

/// A stream; its first byte says how it is cut into reads. The events are the stream, the same however it was read, and
/// hold the data that the standard's own words find in them.
pub fn sse(input: &[u8]) {
    const EVENT_BYTES_MAX: usize = 1 << 12;
    let Some((&seed, stream)) = input.split_first() else { return };
    let step = 1 + usize::from(seed & 15);
    let whole = read(std::iter::once(stream), EVENT_BYTES_MAX);
    assert_eq!(whole, read(stream.chunks(step), EVENT_BYTES_MAX), "cut every {step} bytes");
    if let Ok(events) = whole {
        assert_eq!(events.iter().flat_map(|(bytes, _)| bytes).copied().collect::<Vec<_>>(), stream);
        let mut data: Vec<_> = events.into_iter().filter_map(|(_, data)| data).collect();
        // The standard's reader drops an event that was not finished.
        let expected = by_the_standard(stream);
        data.truncate(expected.len());
        assert_eq!(data, expected);
    }
}

type Read = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Bytes and data of every event; false when one was too long.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, event_bytes_max: usize) -> Result<Read, Read> {
    let (mut events, mut got) = (Events::new(event_bytes_max), Vec::new());
    for piece in pieces {
        events.push(piece);
        loop {
            match events.next_event() {
                Ok(Some(event)) => got.push((event.bytes.to_vec(), event.data().map(|data| data.text.into_owned()))),
                Ok(None) => break,
                Err(_) => return Err(got),
            }
        }
        assert!(events.held() <= event_bytes_max);
    }
    got.extend(events.rest().map(|event| (event.bytes.to_vec(), event.data().map(|data| data.text.into_owned()))));
    Ok(got)
}

/// WHATWG HTML §9.2.6, step by step, over the whole stream: the data of every event that is finished and has any.
fn by_the_standard(stream: &[u8]) -> Vec<Vec<u8>> {
    let stream = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if *byte == b'\r' {
                    bytes.next_if_eq(&&b'\n');
                }
                lines.push(Vec::new());
            }
            byte => lines.last_mut().expect("there is one").push(*byte),
        }
    }
    lines.pop();
    let (mut found, mut data, mut some) = (Vec::new(), Vec::new(), false);
    for line in lines {
        if line.is_empty() {
            if std::mem::take(&mut some) {
                found.push(data.strip_suffix(b"\n").unwrap_or(&data).to_vec());
            }
            data.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
            some = true;
        }
    }
    found
}
