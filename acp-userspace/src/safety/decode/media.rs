//! Media in base64: what a scanner cannot read, told by the bytes that files of its kind begin with (THREATS A14).
//!
//! Only what nobody takes for text by accident counts: four bytes that are fixed, or more. Kinds that begin with fewer
//! (BMP, MP3 without a tag) are not told.

/// Characters of the shortest run that is looked at: thirty bytes, which no picture, sound or document is shorter than.
const RUN_MIN: usize = 40;
/// Bytes that are decoded of it.
const HEAD_BYTES: usize = 12;

/// What files begin with, and where that stands.
const MAGIC: &[(usize, &[u8])] = &[
    // PNG (ISO/IEC 15948 §5.2), JPEG (ISO/IEC 10918-1 B.1.1.3, with the kinds of first segment below), GIF87a and GIF89a.
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff\xe0"),
    (0, b"\xff\xd8\xff\xe1"),
    (0, b"\xff\xd8\xff\xe2"),
    (0, b"\xff\xd8\xff\xdb"),
    (0, b"\xff\xd8\xff\xee"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    // TIFF, either way round; JPEG 2000; JPEG XL in its box.
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n"),
    // RIFF (WebP, WAV, AVI), Ogg, FLAC, MP3 with a tag (ID3v2 versions 2 to 4), Matroska and WebM.
    (0, b"RIFF"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3\x02"),
    (0, b"ID3\x03"),
    (0, b"ID3\x04"),
    (0, b"\x1a\x45\xdf\xa3"),
    // MP4, MOV, HEIC and AVIF (ISO/IEC 14496-12 §4.3): a length first.
    (4, b"ftyp"),
    // PDF, ZIP (and with it the formats of offices), OLE compound files.
    (0, b"%PDF-"),
    (0, b"PK\x03\x04"),
    (0, b"\xd0\xcf\x11\xe0"),
    // Compressed: gzip (RFC 1952 §2.3.1, deflate), bzip2, xz, Zstandard (RFC 8878 §3.1.1), 7z, RAR.
    (0, b"\x1f\x8b\x08\x00"),
    (0, b"\x1f\x8b\x08\x08"),
    (0, b"BZh91AY&SY"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\x07"),
    // Programs: ELF.
    (0, b"\x7fELF"),
];

/// Whether the run of base64 begins as a file that no detector reads; `sextet` gives the value of a character, 64 or more
/// for what is of no alphabet.
pub(super) fn begins(run: &[u8], sextet: impl Fn(u8) -> u8) -> bool {
    if run.len() < RUN_MIN {
        return false;
    }
    let mut head = [0; HEAD_BYTES];
    for (four, three) in run.as_chunks::<4>().0.iter().zip(head.as_chunks_mut::<3>().0) {
        let bits = four.iter().fold(0, |bits, byte| bits << 6 | u32::from(sextet(*byte) & 63));
        let [_, bytes @ ..] = bits.to_be_bytes();
        *three = bytes;
    }
    MAGIC.iter().any(|(at, magic)| head[*at] == magic[0] && head[*at..].starts_with(magic))
}
