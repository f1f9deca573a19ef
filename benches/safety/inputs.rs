//! What screening is measured on: clean content, dense content, and the worst that is known of each detector.
//!
//! Everything is made here, the same every time. Hostile content is mostly a unit that is repeated: whatever makes a
//! detector look, and hardly anything that it reports, because content with thousands of findings is refused, and what
//! is refused early costs little.

use Class::{Clean, Dense, Hostile};
use Form::{Events, Json, Text};

mod streams;

pub(crate) use streams::STREAMS;

/// What most streams come in.
const READ_BYTES: usize = 1 << 10;

/// How content is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Walked as JSON, then screened.
    Json,
    /// Screened as it is.
    Text,
    /// A stream of events.
    Events,
    /// A stream of plain text.
    Stream,
}

/// What content shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing is found in it, as in most calls.
    Clean,
    /// Personal data and secrets, one in forty bytes.
    Dense,
    /// Made to be slow.
    Hostile,
}

/// Content of any size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) form: Form,
    /// Bytes of each read, of streams.
    pub(crate) read: usize,
    make: Make,
}

#[derive(Debug, Clone, Copy)]
enum Make {
    Repeat(&'static str),
    /// A JSON string that repeats this, which stands in it as it is written.
    String(&'static str),
    With(fn(usize) -> String),
}

impl Input {
    /// About `len` bytes of it.
    pub(crate) fn of_len(&self, len: usize) -> Vec<u8> {
        let text = match self.make {
            Make::Repeat(unit) => unit.repeat(len.div_ceil(unit.len())),
            Make::String(unit) => format!(r#"{{"text":"{}"}}"#, unit.repeat(len.div_ceil(unit.len()))),
            Make::With(make) => make(len),
        };
        text.into_bytes()
    }
}

const fn with(name: &'static str, class: Class, form: Form, make: fn(usize) -> String) -> Input {
    Input { name, class, form, read: READ_BYTES, make: Make::With(make) }
}

/// A hostile text that repeats `unit`.
const fn text(name: &'static str, unit: &'static str) -> Input {
    Input { name, class: Hostile, form: Text, read: READ_BYTES, make: Make::Repeat(unit) }
}

/// A hostile JSON string that repeats `unit`.
const fn string(name: &'static str, unit: &'static str) -> Input {
    Input { name, class: Hostile, form: Json, read: READ_BYTES, make: Make::String(unit) }
}

/// Everything that is measured, but [`STREAMS`].
pub(crate) const INPUTS: &[Input] = &[
    with("tool calls", Clean, Json, tool_calls),
    with("tool results", Clean, Json, tool_results),
    with("chat", Clean, Json, chat),
    with("log lines", Clean, Text, log_lines),
    with("chat deltas", Clean, Events, chat_deltas),
    with("records", Dense, Json, dense_records),
    with("sentences", Dense, Text, dense_sentences),
    with("deltas", Dense, Events, dense_deltas),
    // Network addresses.
    text("ab:", "ab:"),
    text(":", ":"),
    text("a:", "a:"),
    text("1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:"),
    text("ab-", "ab-"),
    text("ab-cd-ef-", "ab-cd-ef-g"),
    text(".", "."),
    text("1.", "1."),
    text("1.2.3.", "1.2.3.400 "),
    text("abcd.", "abcd."),
    // E-mail.
    text("@", "@"),
    text("a@", "a@"),
    text("a@b", "a@b "),
    text("a.b@c.d@", "a.b@c.d@"),
    text("a long local part", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@-"),
    // Numbers: cards, telephones, identifiers.
    text("1", "1"),
    text("0", "0"),
    text("1 ", "1 "),
    text("digits of a card, apart", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2 "),
    text("cards with a wrong digit", "4111 1111 1111 1112,"),
    text("sixteen digits in a row", "4111111111111112 "),
    text("nine digits", "123-45-678 "),
    text("nine digits of no area", "900-00-0000x"),
    text("telephones of no plan", "(015) 055-0132 "),
    text("+1", "+1"),
    text("+", "+"),
    text("-1", "-1"),
    text("12/", "12/"),
    text("1.1-", "1.1-1 1("),
    text("dates", "2026-03-01 12:00:00 "),
    text("ten digits in pairs", "12 34 56 78 90 "),
    text("a number in words", "phone ssn card 1 "),
    text("spaces between digits", "1                                                                "),
    // Codes.
    text("AB12", "AB12 "),
    text("GB82 WEST", "GB82 WEST 1234 5698 7654 33 "),
    text("AB 12 34 56", "AB 12 34 56 E "),
    text("ABCDE1234F", "ABCDE1234F "),
    text("sixteen letters", "RSSMRA85T10A562 RSSMRA85T10A562R "),
    text("deadbeef", "deadbeef"),
    text("a word without end", "aB3"),
    text("wallets with a wrong end", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyY "),
    text("bech32 with a wrong end", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp "),
    text("Ethereum with a wrong case", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD "),
    // Words that announce values.
    with("every word", Hostile, Text, every_word),
    text("passport", "passport number is "),
    text("passport X", "passport X12 "),
    text("passp", "passp"),
    text("account", "account no. "),
    text("birth", "date of birth: on the day of "),
    text("street", "12 street "),
    text(" st ", " st "),
    text("address", "address: 1 road, "),
    text("suite", "apt 1 suite "),
    text("swift", "swift code of the bank "),
    text("bic", "bic"),
    text("icd", "diagnosis icd "),
    text("mrn", "mrn: the patient "),
    text("insurance", "health insurance member "),
    text("licence", "driver license no "),
    text("zip code", "zip code "),
    // Secrets.
    text("PEM, begun", "-----BEGIN PRIVATE KEY-----"),
    text("PEM, begun on lines", "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"),
    text("PEM, one without end", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"),
    text("-----", "-"),
    text("JWT, begun", "eyJhbGciOiJIUzI1NiJ9"),
    text("JWT, headers", "eyJhbGciOiJIUzI1NiJ9."),
    text("AKIA", "AKIAIOSFODNN7EXAMPL"),
    text("ghp_", "ghp_ABCDEFGHIJ "),
    text("sk-", "sk-proj-abcdefgh "),
    text("xoxb-", "xoxb-123456789012-"),
    text("sk_live_", "sk_live_abcdefgh_"),
    text("T3BlbkFJ", "T3BlbkFJ"),
    text("glpat-", "glpat-abcdefgh-"),
    text("AIza", "AIzaabcdefgh"),
    text("0Q~", "0Q~abcdefgh"),
    text("JQQJ99", "JQQJ99BB"),
    text("0:AA", "0:AAabcdefgh"),
    text("a-us1", "a-us1"),
    text("sig=", "&sig=abcdefgh"),
    text(".atlasv1.", ".atlasv1."),
    text("facebook", "facebook 123456789012345|"),
    text("AccountKey=", "AccountKey=abcdefgh;"),
    text("://", "://"),
    text("URLs with a password", "x://u:password@"),
    text(
        "URLs with a long password",
        "://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    ),
    text(":aaaaa@", ":aaaaa@"),
    text("bearer", "bearer aaaaaaaaaaaa "),
    text("bearer without end", "bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    text("basic", "basic dXNlcjpwYXNz"),
    text("curl -u", "curl -u a:b "),
    text("-u", " -u "),
    text("password=", "password="),
    text("password:", "password: x, "),
    text("token: \"", "token: \""),
    text("secret is", "my secret is "),
    text("api_key", "api_key=abc1234 "),
    text("keys with dots", "key.key.key.key.key.key="),
    text("placeholders", "password=${PASSWORD}; "),
    text("server=", "server=a;uid=b;password=c;"),
    // Text behind text.
    text("%", "%"),
    text("%31", "%31"),
    text("%25", "%25"),
    text("%2525", "%252525"),
    text("&amp;", "&amp;"),
    text("&#49;", "&#49;"),
    text("&", "&"),
    text("full-width digits", "\u{ff11}"),
    text("zero width", "1\u{200b}"),
    text("marks", "1\u{301}"),
    text("dashes", "1\u{2013}"),
    text("accents", "\u{e9}"),
    text("ideographs", "\u{65e5}\u{672c}"),
    text("emoji", "\u{1f600}"),
    text("tags", "\u{e0041}"),
    text("tags, apart", "\u{e0041}a"),
    text("selectors", "\u{fe01}\u{fe02}a"),
    text("base64", "QUJDREVGR0hJSktM"),
    text("base64, apart", "QUJDREVGR0hJSktM "),
    text("base64, signs", "QUJDREVGR0hJ-"),
    text("base64 of noise", "qrvM3e7/ABEiM0RV"),
    text("base64 on lines", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUZHSElKS0xNTk9QUVJTVFVW\n"),
    with("base64 in base64", Hostile, Text, |len| nested(len, 2)),
    with("base64 four deep", Hostile, Text, |len| nested(len, 4)),
    with("base64 in base64, apart", Hostile, Text, |len| format!("{} ", nested(60, 2)).repeat(len / 90)),
    text("hex of text", "4142434445464748"),
    text("hex of text, apart", "4142434445464748 "),
    text("signs", "-_"),
    text("words with signs", "aaaaaaaaaaaa-"),
    // JSON.
    string("escaped quotes", r#"\""#),
    string("escaped backslashes", r"\\"),
    string("escaped digits", r"\u0031"),
    string("escaped lines", r"ab\n"),
    string("surrogates", r"\ud83d\ude00"),
    string("escaped JSON", r#"{\"a\":\"1\"},"#),
    string("escaped twice", r#"\\\"1\\\",\\u0031"#),
    with("short strings with escapes", Hostile, Json, |len| items(len, r#""\n1""#)),
    with("escapes beside marks", Hostile, Json, |len| items(len, r#""%31\n""#)),
    with("numbers", Hostile, Json, |len| items(len, "1234567890")),
    with("fractions", Hostile, Json, |len| items(len, "0.1234567")),
    with("short strings", Hostile, Json, |len| items(len, "\"@\"")),
    with("strings of marks", Hostile, Json, |len| items(len, "\"%31\"")),
    with("strings of base64", Hostile, Json, |len| items(len, "\"QUJDREVGR0hJSktM\"")),
    with("arrays in arrays", Hostile, Json, |len| items(len, "[[[[[[[[]]]]]]]]")),
    with("secrets' names", Hostile, Json, |len| items(len, r#"{"password":"x"}"#)),
    with("values of secrets", Hostile, Json, |len| items(len, r#"{"token":"abcdefgh-12-ijklmnop"}"#)),
    with("words' names", Hostile, Json, |len| items(len, r#"{"ssn_passport_account":"x1"}"#)),
    with("a list behind a word", Hostile, Json, |len| format!(r#"{{"passport":{}}}"#, items(len, "123"))),
    with("a list behind many words", Hostile, Json, list_behind_words),
    with("a text behind many words", Hostile, Json, text_behind_words),
    with("different keys", Hostile, Json, different_keys),
    with("events without a seam", Hostile, Events, |len| deltas(len, || "x1".chars())),
    with("events of hostile text", Hostile, Events, |len| deltas(len, || "passport 1-2-3 ab:cd:@x ".chars())),
];

/// Items until `len` bytes are full, between brackets.
fn list(len: usize, mut item: impl FnMut(usize) -> String) -> String {
    let mut list = String::from("[");
    for i in 0.. {
        if i > 0 {
            list.push(',');
        }
        list += &item(i);
        if list.len() >= len {
            break;
        }
    }
    list + "]"
}

fn items(len: usize, item: &str) -> String {
    list(len, |_| item.to_owned())
}

/// Calls as agents make them, with identifiers, dates, paths and a sentence.
fn tool_calls(len: usize) -> String {
    let call = |i: usize| match i % 4 {
        0 => format!(
            r#"{{"jsonrpc":"2.0","id":{i},"method":"tools/call","params":{{"name":"search_issues","arguments":{{"query":"open pull requests that touch the parser","repository":"compiler","state":"open","labels":["bug","parser"],"updated_after":"2026-03-01T00:00:00Z","limit":25}}}}}}"#
        ),
        1 => format!(
            r#"{{"jsonrpc":"2.0","id":{i},"method":"tools/call","params":{{"name":"read_file","arguments":{{"path":"src/main/java/org/example/orders/OrderService.java","from_line":120,"to_line":{}}}}}}}"#,
            180 + i % 90
        ),
        2 => format!(
            r#"{{"jsonrpc":"2.0","id":{i},"method":"tools/call","params":{{"name":"create_ticket","arguments":{{"title":"Export stops after the first page","body":"Choosing all regions and then CSV ends with an empty second page. It worked last week; nobody changed the filters.","priority":"high","component":"reports"}}}}}}"#
        ),
        _ => format!(
            r#"{{"jsonrpc":"2.0","id":{i},"method":"tools/call","params":{{"name":"run_query","arguments":{{"sql":"SELECT region, SUM(total) FROM orders WHERE placed >= '2026-01-01' GROUP BY region ORDER BY 2 DESC","warehouse":"analytics","timeout_s":30,"dry_run":false}}}}}}"#
        ),
    };
    list(len, call)
}

/// Records as tools return them: short members, many numbers.
fn tool_results(len: usize) -> String {
    let record = |i: usize| {
        let (id, plan, score, day) = (10_000 + i * 37, i % 7, i % 97, 1 + i % 28);
        format!(
            r#"{{"id":{id},"name":"Order {i}","note":"Asked about plan {plan}","tags":["gold","new"],"score":1.{score},"placed":"2026-02-{day:02}T09:30:00Z","open":true}}"#
        )
    };
    list(len, record)
}

/// A conversation: long strings.
fn chat(len: usize) -> String {
    let sentence = "The team asked about the renewal of the northern plan, and whether the discount agreed in spring still \
                    holds. Summarise what was said, and list three open questions.\\n";
    let message = |i: usize| {
        let role = if i.is_multiple_of(2) { "user" } else { "assistant" };
        format!(r#"{{"role":"{role}","content":"{}"}}"#, sentence.repeat(3))
    };
    format!(r#"{{"model":"m","stream":false,"messages":{}}}"#, list(len, message))
}

fn log_lines(len: usize) -> String {
    let line = |i: usize| {
        let (second, ms) = (i % 60, i % 997);
        format!(
            "2026-03-01T10:42:{second:02}Z INFO scheduler: run finished in {ms} ms, queue is empty, {} left\n",
            i % 13
        )
    };
    (0..len.div_ceil(70)).map(line).collect()
}

/// Personal data and secrets, with the words around them.
const PERSONAL: [&str; 12] = [
    "Please write to jane.doe@example.org about it.",
    "My SSN is 536-22-8731, thanks.",
    "Charge 4012 8888 8888 1881 for the order.",
    "Call me at (415) 555-2671 after nine.",
    "Reach the office on +44 20 7946 0958 today.",
    "Pay to GB82 WEST 1234 5698 7654 32 by noon.",
    "It came from 203.0.113.77 last night.",
    "The adapter is 00:1b:44:11:3a:b7 here.",
    "Use ghp_x7Kq2LmZ9vRt4BnW8sYc3JfH6dPaT10oXEuG now.",
    "password = hV7!kq2Lm9#x and go.",
    "Her date of birth is 12 March 1984, they say.",
    "Send it to 742 Evergreen Avenue, Springfield, IL 62704.",
];

fn dense_sentences(len: usize) -> String {
    let mut text = String::new();
    for sentence in PERSONAL.iter().cycle() {
        if text.len() >= len {
            break;
        }
        text += sentence;
        text.push('\n');
    }
    text
}

fn dense_records(len: usize) -> String {
    list(len, |i| format!(r#"{{"id":{i},"note":"{}"}}"#, PERSONAL[i % PERSONAL.len()]))
}

fn chat_deltas(len: usize) -> String {
    deltas(len, || "The team asked about the renewal, and whether the discount still holds. ".chars())
}

fn dense_deltas(len: usize) -> String {
    deltas(len, || PERSONAL.iter().flat_map(|sentence| sentence.chars().chain([' '])))
}

/// Events that carry four characters each of a text that comes again and again.
fn deltas<I: Iterator<Item = char>>(len: usize, text: impl Fn() -> I) -> String {
    let mut events = String::new();
    let mut rest = std::iter::repeat_with(text).flatten();
    while events.len() < len {
        let piece: String = rest.by_ref().take(4).collect();
        events += &format!(
            "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n"
        );
    }
    events + "data: [DONE]\n\n"
}

/// Words that announce something, one behind the other.
fn every_word(len: usize) -> String {
    const WORDS: &str = "birth born dob passport pass-no license patente account acct mrn medical record patient health \
                         insurance member subscriber beneficiary mbi dea icd diagnosis street avenue boulevard road drive \
                         lane court parkway highway st ave rd apt suite po box address zip code postal lives swift bic ";
    WORDS.repeat(len.div_ceil(WORDS.len()))
}

/// Base64 of base64 of text, so deep.
fn nested(len: usize, depth: u32) -> String {
    let mut text = "The text behind. ".repeat((len * 3usize.pow(depth) / 4usize.pow(depth)).div_ceil(17));
    for _ in 0..depth {
        text = base64(text.as_bytes());
    }
    text
}

/// RFC 4648 §4, without padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |three: &[u8]| {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).map(move |i| char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63])).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(four).collect()
}

/// A long list that is the value of a name full of words, each of which has every item looked at.
fn list_behind_words(len: usize) -> String {
    format!(r#"{{"{}":{}}}"#, "bic dob mrn dea icd apt ".repeat(5), items(len, "123"))
}

fn text_behind_words(len: usize) -> String {
    let name = "bic dob mrn dea icd apt ".repeat(5);
    list(len, |_| format!(r#"{{"{name}":"1234567890 the 12 of 34"}}"#))
}

/// An object with as many members as fit.
fn different_keys(len: usize) -> String {
    let members: String = (0..len / 10).map(|i| format!(r#""{i:x}":1,"#)).collect();
    format!(r#"{{{members}"z":1}}"#)
}
