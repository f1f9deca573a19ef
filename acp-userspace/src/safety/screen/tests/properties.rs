//! What holds of any document: a value of every type, in every spelling, wherever a document holds text, under every
//! action and in both directions.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::safety::catalogue::ENTRIES;
use crate::safety::fuzz as fuzzed;
use crate::safety::screen::{fuzz, search};

const ACTIONS: [ContentAction; 6] = [
    ContentAction::Flag,
    ContentAction::Mask,
    ContentAction::Pseudonymize,
    ContentAction::Tokenize,
    ContentAction::Redact,
    ContentAction::Block,
];

/// A text of every type: those that the documentation shows, one of a type of one's own, and secrets, which are put
/// together here because scanners of source code would take them for leaks.
fn examples() -> &'static [(Detector, String)] {
    static EXAMPLES: LazyLock<Vec<(Detector, String)>> = LazyLock::new(|| {
        use Detector as D;
        let shown =
            ENTRIES.iter().flat_map(|entry| entry.examples.iter().map(|text| (entry.detector, (*text).to_owned())));
        let noise = "Zq7Xw2Rt9Lm4Kp8Vb3Nc6Yd1Hs5Gf0JaQeUiOoPzTxMnBvCk";
        let secrets = [
            (D::AwsKey, "AKIAIOSFODNN7EXAMPLQ".to_owned()),
            (D::GcpKey, format!("AIzaSyD{}", &noise[3..35])),
            (D::GithubToken, TOKEN.to_owned()),
            (D::GitlabToken, format!("glpat-{}", &noise[..20])),
            (D::StripeKey, format!("sk_live_{}", &noise[..24])),
            (D::AnthropicKey, format!("sk-ant-api03-{}{}-{}AA", noise, &noise[..44], &noise[..6])),
            (
                D::Jwt,
                format!(
                    "{}.{}.{noise}",
                    STANDARD.encode(r#"{"alg":"HS256","typ":"JWT"}"#).trim_end_matches('='),
                    STANDARD.encode(r#"{"sub":"1234"}"#).trim_end_matches('=')
                ),
            ),
            (D::ConnectionString, "postgres://app:tR5kq9Zw2v@db/x".to_owned()),
            (D::GenericSecret, "password = tR5!kq9Zw2#v".to_owned()),
            (D::Custom1, "EMP-123456".to_owned()),
        ];
        shown.chain(secrets).collect()
    });
    &EXAMPLES
}

/// How a text may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Plain,
    /// Every character as JSON escapes it.
    Escapes,
    Percent,
    Entities,
    Base64,
    Hex,
    /// Digits and letters of full width.
    Wide,
    /// A space of no width between any two characters.
    Hidden,
    /// Base64 of percent-encoding.
    Twice,
}

const SPELLINGS: [Spelling; 9] = [
    Spelling::Plain,
    Spelling::Escapes,
    Spelling::Percent,
    Spelling::Entities,
    Spelling::Base64,
    Spelling::Hex,
    Spelling::Wide,
    Spelling::Hidden,
    Spelling::Twice,
];

impl Spelling {
    /// `text` so written, as it stands between the quotes of a JSON string.
    fn write(self, text: &str) -> String {
        let percent = || text.bytes().fold(String::new(), |out, byte| out + &format!("%{byte:02X}"));
        match self {
            Self::Plain => quoted(text),
            Self::Escapes => text.encode_utf16().fold(String::new(), |out, unit| out + &format!("\\u{unit:04x}")),
            Self::Percent => percent(),
            Self::Entities => text.chars().fold(String::new(), |out, c| out + &format!("&#{};", c as u32)),
            Self::Base64 => STANDARD.encode(text),
            Self::Hex => text.bytes().fold(String::new(), |out, byte| out + &format!("{byte:02x}")),
            Self::Wide => text.chars().map(wide).collect(),
            Self::Hidden => text.chars().flat_map(|c| [c, '\u{200b}']).collect(),
            Self::Twice => STANDARD.encode(percent()),
        }
    }
}

fn quoted(text: &str) -> String {
    let text = Value::from(text).to_string();
    text[1..text.len() - 1].to_owned()
}

fn wide(c: char) -> char {
    match c {
        '0'..='9' | 'a'..='z' | 'A'..='Z' => char::from_u32(c as u32 + 0xfee0).expect("a character"),
        other => other,
    }
}

/// Where a document holds a text.
#[derive(Debug, Clone, Copy)]
enum Spot {
    Value,
    Key,
    Item,
    Number,
    Deep,
}

/// One member of a document, named so that no two are alike.
fn member(index: usize, (example, spelling, spot): &(usize, Spelling, Spot)) -> String {
    let text = &examples()[*example].1;
    let written = spelling.write(text);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let mut out = String::new();
    match spot {
        Spot::Value => write!(out, r#""m{index}" : "{written}""#),
        Spot::Key => write!(out, r#""{index} {written}": [ ]"#),
        Spot::Item => write!(out, r#""m{index}":["-","so {written}.",null]"#),
        Spot::Number if !digits.is_empty() && !digits.starts_with('0') => write!(out, r#""m{index}":{digits}"#),
        Spot::Number | Spot::Deep => write!(out, r#""m{index}":{{"a":[[{{"b":"a é😀 {written}"}}]]}}"#),
    }
    .expect("a string");
    out
}

fn document() -> impl Strategy<Value = String> {
    let spot = prop::sample::select(vec![Spot::Value, Spot::Key, Spot::Item, Spot::Number, Spot::Deep]);
    let one = (0..examples().len(), prop::sample::select(SPELLINGS.to_vec()), spot);
    prop::collection::vec(one, 0..5).prop_map(|all| {
        let members: Vec<_> = all.iter().enumerate().map(|(index, one)| member(index, one)).collect();
        format!("{{ {} }}", members.join(" ,\n"))
    })
}

fn rules_of(action: ContentAction) -> &'static RouteRules {
    static COMPILED: LazyLock<Vec<(ContentAction, RouteRules)>> =
        LazyLock::new(|| ACTIONS.into_iter().map(|action| (action, fuzzed::rules(action, 1))).collect());
    COMPILED.iter().find(|(known, _)| *known == action).map(|(_, rules)| rules).expect("one of six")
}

/// What is found in a body, and what becomes of it; each in an hour of its own, so that no budget is used up.
fn decided(body: &str, action: ContentAction, hour: u64) -> (Vec<Hit>, Result<ResponseScreened, ContentRefused>) {
    let (mut walker, mut scan) = (Walker::new(), Scan::default());
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
    let content = Content::body(Body::Json(document));
    fuzzed::as_caller("acme", hour, |caller| {
        look(&content, 0, rules_of(action), &[], &mut scan).expect("is searched");
        let hits = scan.hits.clone();
        (hits, super::super::screen_response(caller, &content, rules_of(action), &[], &mut scan))
    })
}

/// The same of a request.
fn asked(body: &str, action: ContentAction, hour: u64) -> Result<ResponseScreened, ContentRefused> {
    let (mut walker, mut scan) = (Walker::new(), Scan::default());
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
    let content = Content::body(Body::Json(document));
    let auth = Authenticated::for_test(identity_of("idp", "alice", &[], &[], json!({})));
    fuzzed::as_caller("acme", hour, |caller| {
        super::super::screen(auth, caller, &content, rules_of(action), &mut scan).map(|screened| ResponseScreened {
            findings: screened.findings().to_vec(),
            evidence: screened.evidence().clone(),
            edits: screened.edits().to_vec(),
        })
    })
}

/// `after` is `before` but for these places.
#[track_caller]
fn check_outside(ranges: &[Range<usize>], before: &str, after: &str) {
    let (mut at, mut rest) = (0, after);
    for range in ranges {
        let kept = before.get(at..range.start).unwrap_or_else(|| panic!("{range:?} cuts {before:?}"));
        let found = if at == 0 { rest.starts_with(kept).then_some(0) } else { rest.find(kept) };
        rest = &rest[found.unwrap_or_else(|| panic!("{kept:?} is gone: {before:?} became {after:?}")) + kept.len()..];
        at = range.end;
    }
    assert!(rest.ends_with(&before[at..]) && (at > 0 || rest == before), "{before:?} became {after:?}");
}

/// The places found in one node, joined where they meet.
fn places(hits: &[Hit], node: usize) -> Vec<Range<usize>> {
    let mut places: Vec<Range<usize>> = Vec::new();
    for hit in hits.iter().filter(|hit| hit.place == Place::Node(node)) {
        match places.last_mut().filter(|last| hit.range.start < last.end) {
            Some(last) => last.end = last.end.max(hit.range.end),
            None => places.push(hit.range.clone()),
        }
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Nothing is reported twice; what leaves is JSON of the same shape, and differs only where something was reported;
    /// everything that was reported is counted; either direction does the same.
    #[test]
    fn documents_change_where_something_is_reported_and_nowhere_else(
        body in document(), action in prop::sample::select(ACTIONS.to_vec()), hour in any::<u32>(),
    ) {
        let (hits, screened) = decided(&body, action, hour.into());
        fuzz::check_once(&hits);
        prop_assert_eq!(&asked(&body, action, hour.into()), &screened);
        let screened = match screened {
            Ok(screened) => screened,
            Err(refused) => {
                prop_assert_eq!((refused.reason, action), (Reason::ContentBlocked, Block));
                prop_assert_eq!(refused.findings.iter().map(|one| one.count as usize).sum::<usize>(), hits.len());
                return Ok(());
            }
        };
        prop_assert_eq!(screened.findings.iter().map(|one| one.count as usize).sum::<usize>(), hits.len());
        prop_assert!(action != Block || hits.iter().all(|hit| hit.detector == Detector::UnscannableMedia));
        prop_assert_eq!(screened.edits.is_empty(), hits.is_empty() || action == Flag);
        let mut out = Vec::new();
        splice(body.as_bytes(), &screened.edits, &mut out).expect("edits fit");
        let (mut one, mut other) = (Walker::new(), Walker::new());
        let before = one.walk(body.as_bytes(), &Limits::default()).expect("JSON");
        let after = other.walk(&out, &Limits::default()).expect("still JSON");
        prop_assert_eq!(before.nodes().count(), after.nodes().count());
        for (node, sent) in before.nodes().zip(after.nodes()) {
            let places = places(&hits, node.index());
            match (node.text(), sent.text()) {
                (Some(_), Some(_)) if places.is_empty() => prop_assert_eq!(node.token(), sent.token()),
                (Some(text), Some(said)) => check_outside(&places, text, said),
                (said, unsaid) => prop_assert_eq!(said, unsaid),
            }
        }
    }

    /// What a rule redacted is gone: whoever looks again finds nothing of what is looked for.
    #[test]
    fn nothing_is_found_in_documents_once_they_were_redacted(body in document()) {
        let (_, screened) = decided(&body, Redact, 1);
        let mut out = Vec::new();
        splice(body.as_bytes(), &screened.expect("passes").edits, &mut out).expect("edits fit");
        let out = String::from_utf8(out).expect("UTF-8");
        let (left, _) = decided(&out, Redact, 1);
        prop_assert!(left.is_empty(), "{:?} in {}", left, out);
    }

    /// Tokens of every type come back to their own tenant, and to no other; so do those of whole documents.
    #[test]
    fn threat_a26_tokens_of_every_type_and_of_documents_come_back_to_their_tenant_alone(
        body in document(), kind in 0..Detector::ALL.len(), value in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        fuzz::tokens(&[&[kind as u8], body.as_bytes()].concat());
        fuzz::tokens(&[&[kind as u8], value.as_slice()].concat());
    }
}

/// Every type, in every spelling: what the plain text tells, the others tell. Eight bytes in base64 are no run.
#[test]
fn threat_a24_every_type_is_found_in_every_spelling() {
    let mut missed = Vec::new();
    for (detector, text) in examples() {
        for spelling in SPELLINGS {
            let (hits, _) = decided(&format!(r#"["{}"]"#, spelling.write(text)), Flag, 1);
            let has_room = spelling != Spelling::Base64 || text.len() > 8;
            if has_room && !hits.iter().any(|hit| hit.detector == *detector) {
                missed.push(format!("{} as {spelling:?} in {text:?}", detector.name()));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// Paths that are not searched hold nothing that would be found.
#[test]
fn nothing_is_found_in_a_short_name_of_small_letters() {
    const PARTS: &str = "bic swift deutdeff mbi dea icd dob pwd token secret passwd key sk ghp_ xox hf_ ab-cd-ef \
                         abcd.abcd. road apt mrn acct is may born a e f - . / _";
    static STRONG: LazyLock<RuleSet> = LazyLock::new(|| {
        let strong: Vec<Detector> = Detector::ALL.into_iter().filter(|one| !Detector::WEAK.contains(one)).collect();
        let rules = vec![SafetyRule::new("rule", &strong, Redact)];
        compiled(SafetyConfig { rules, ..SafetyConfig::default() })
    });
    let part = prop::sample::select(PARTS.split_whitespace().collect::<Vec<_>>());
    let rules = STRONG.request(0).expect("a route");
    proptest!(ProptestConfig::with_cases(2_000), |(parts in prop::collection::vec(part, 1..8))| {
        let mut text = parts.concat();
        text.truncate(11);
        prop_assert!(search::is_plain_name(text.as_bytes()));
        prop_assert_eq!(find(text.as_bytes(), rules, &mut Scan::default()).expect("is searched"), []);
    });
}
