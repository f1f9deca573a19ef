//! What has to hold of decoding whatever the bytes: the body of a fuzz target, run by `crate::fuzzing`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{BYTES_PER_BYTE, Budget, Decoder, Exhausted, Layer, suspect};

/// Any text: its layers keep the budget; the way back from each is monotone, covers, and lies in the text, on whole
/// characters; where nothing is suspect there is none. What shows in it comes back from other spellings.
pub fn decode(data: &[u8]) {
    check_spellings(data);
    let mut decoded = 0;
    let mut count = 0;
    let mut visit = |layer: &Layer<'_>| {
        decoded += layer.text.len();
        count += 1;
        check_way_back(layer, data);
        Ok::<_, Exhausted>(())
    };
    let result = Decoder::default().layers(data, &mut Budget::for_bytes(data.len()), &mut visit);
    assert!(decoded <= BYTES_PER_BYTE * data.len(), "{decoded} bytes of {}", data.len());
    assert!(count == 0 || suspect(data, 0).is_some(), "nothing was suspect");
    // Running out is told apart from being done: with room for everything there is at least as much, or what is too deep.
    if result == Err(Exhausted::Bytes) {
        let mut all = 0;
        let mut visit = |layer: &Layer<'_>| {
            all += layer.text.len();
            Ok::<_, Exhausted>(())
        };
        let unbounded = Decoder::default().layers(data, &mut Budget { left: usize::MAX }, &mut visit);
        let more = all > BYTES_PER_BYTE * data.len();
        assert!(unbounded != Err(Exhausted::Bytes) && (more || unbounded == Err(Exhausted::Depth)));
    }
}

fn check_way_back(layer: &Layer<'_>, data: &[u8]) {
    let text = std::str::from_utf8(data).ok();
    let mut before = 0..0;
    for at in 0..layer.text.len() {
        let one = layer.original(at..at + 1);
        assert!(one.start < one.end && one.end <= data.len(), "{at}: {one:?}");
        assert!(before.start <= one.start && before.end <= one.end, "{at}: {one:?} behind {before:?}");
        let pair = layer.original(at.saturating_sub(1)..at + 1);
        assert_eq!(pair, if at == 0 { one.clone() } else { before.start..one.end }, "{at}");
        // Inside a character that was taken over, its own bytes lie inside it.
        let whole = layer.text.get(at).is_none_or(u8::is_ascii) && text.is_some();
        assert!(!whole || text.is_some_and(|text| text.is_char_boundary(one.start) && text.is_char_boundary(one.end)));
        before = one;
    }
    if let Some((_, range)) = layer.nature() {
        assert!(range.start < range.end && range.end <= data.len());
    }
}

/// The printable ASCII at the beginning, as everybody encodes it, and twice.
fn check_spellings(data: &[u8]) {
    const BYTES: std::ops::RangeInclusive<usize> = 24..=256;
    let len = data.iter().take(*BYTES.end()).take_while(|byte| matches!(byte, b' '..=b'~')).count();
    let text = &data[..len];
    if !BYTES.contains(&len) {
        return;
    }
    let each = |form: fn(u8) -> String| text.iter().map(|byte| form(*byte)).collect::<String>();
    let percent = each(|byte| format!("%{byte:02X}"));
    let spellings = [
        STANDARD.encode(text),
        URL_SAFE_NO_PAD.encode(text),
        STANDARD.encode(&percent),
        each(|byte| format!("{byte:02x}")),
        each(|byte| format!("&#{byte};")),
        percent,
    ];
    for spelling in spellings {
        let spelled = format!("of \"{spelling}\".");
        let mut shown = false;
        let mut visit = |layer: &Layer<'_>| {
            shown |= memchr::memmem::find(layer.text, text).is_some();
            Ok::<_, Exhausted>(())
        };
        let result = Decoder::default().layers(spelled.as_bytes(), &mut Budget::for_bytes(spelled.len()), &mut visit);
        assert!(shown || result.is_err(), "{spelled}");
    }
}
