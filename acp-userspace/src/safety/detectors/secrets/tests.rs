use hyperscan::{BlockDatabase, Builder as _, Matching, Pattern, PatternFlags, Patterns};
use proptest::prelude::*;

use super::token::{Check, Part, Token};
use super::*;

/// The engine over [`ANCHORS`], as the scanner compiles its own.
pub(super) struct Engine {
    database: BlockDatabase,
    scratch: hyperscan::Scratch,
}

impl Engine {
    pub(super) fn compile() -> Self {
        let patterns: Patterns = ANCHORS
            .iter()
            .enumerate()
            .map(|(index, anchor)| {
                let flags = if anchor.caseless { PatternFlags::CASELESS } else { PatternFlags::empty() };
                let mut pattern = Pattern::with_flags(anchor.expression, flags).expect("parses");
                pattern.id = Some(index);
                pattern
            })
            .collect();
        let database: BlockDatabase = patterns.build().expect("compiles");
        let scratch = database.alloc_scratch().expect("scratch");
        Self { database, scratch }
    }

    /// Every anchor and where it ends, by rising end.
    pub(super) fn anchors(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        if !text.is_empty() {
            let on_match = |index: u32, _from: u64, to: u64, _flags: u32| {
                found.push((index as usize, to as usize));
                Matching::Continue
            };
            self.database.scan(text, &self.scratch, on_match).expect("scans");
        }
        found.sort_unstable_by_key(|(_, end)| *end);
        found
    }

    /// Every secret, once; of those that overlap, the surest.
    pub(super) fn find(&self, text: &[u8], key: Option<&str>) -> Vec<Secret> {
        let mut kept: Vec<Secret> = Vec::new();
        let mut found: Vec<Secret> =
            self.anchors(text).into_iter().filter_map(|(anchor, end)| find(text, key, anchor, end)).collect();
        found.sort_by_key(|secret| std::cmp::Reverse(secret.confidence));
        for secret in found {
            if kept.iter().all(|k| k.range.end <= secret.range.start || secret.range.end <= k.range.start) {
                kept.push(secret);
            }
        }
        kept.sort_by_key(|secret| secret.range.start);
        kept
    }
}

thread_local!(static ENGINE: Engine = Engine::compile());

fn found(text: &str) -> Vec<(Kind, String)> {
    let secrets = ENGINE.with(|engine| engine.find(text.as_bytes(), None));
    secrets.into_iter().map(|secret| (secret.kind, text[secret.range].to_owned())).collect()
}

/// `text` holds one secret, of `kind`, which is `secret`.
#[track_caller]
fn check(text: &str, kind: Kind, secret: &str) {
    assert_eq!(found(text), [(kind, secret.to_owned())], "{text}");
}

/// `text` holds no secret.
#[track_caller]
fn check_none(text: &str) {
    assert_eq!(found(text), [], "{text}");
}

/// `len` characters as a generator makes them: of every class, none twice in a row.
fn random(len: usize) -> String {
    const CHARACTERS: &[u8] = b"q7Rb2LzX9cVn4KpT8wMd3HsG6fYj5Ae1QtBu0ZoWxNhIvCyPkDgElUrSiJmFaO";
    (0..len).map(|at| char::from(CHARACTERS[at * 23 % CHARACTERS.len()])).collect()
}

fn random_hex(len: usize) -> String {
    (0..len).map(|at| char::from(b"3f8a1c6e0b9d2745"[(at * 7 + at / 16) % 16])).collect()
}

/// The shortest token of a row.
fn sample(token: &Token) -> String {
    let part = |part: &Part| match *part {
        Part::Is(bytes) => bytes.to_owned(),
        Part::Of(set, least, _) => {
            let of_set: Vec<u8> = (0..=127).filter(|byte| set.has(*byte) && byte.is_ascii_alphanumeric()).collect();
            (0..usize::from(least)).map(|at| char::from(of_set[(at * 7 + at / 5 + 3) % of_set.len()])).collect()
        }
        Part::Maybe(..) => String::new(),
    };
    let mut text = token.prefix.to_owned() + &token.body.iter().map(part).collect::<String>();
    if let Check::Ends(last) = token.check {
        text.truncate(text.len() - last.len());
        text.push_str(last);
    }
    text
}

fn tokens() -> impl Iterator<Item = (usize, &'static Token)> {
    ANCHORS.iter().enumerate().flat_map(|(index, anchor)| {
        let tokens = if let Look::Prefix(tokens) = anchor.look { tokens } else { &[] };
        tokens.iter().map(move |token| (index, token))
    })
}

#[test]
fn every_prefix_is_anchored() {
    ENGINE.with(|engine| {
        for (anchor, token) in tokens() {
            let sample = sample(token);
            let text = format!("use \"{sample}\" now");
            let secret = engine
                .anchors(text.as_bytes())
                .into_iter()
                .filter(|(index, _)| *index == anchor)
                .find_map(|(index, end)| find(text.as_bytes(), Some("api_key"), index, end))
                .unwrap_or_else(|| panic!("{text}"));
            assert_eq!((secret.kind, &text[secret.range]), (token.kind, &sample[..]), "{text}");
        }
    });
}

#[test]
fn a_token_of_another_length_is_none() {
    ENGINE.with(|engine| {
        for (anchor, token) in tokens() {
            let sample = sample(token);
            let shorter = &sample[..sample.len() - 1];
            let within = format!("x{sample}");
            let last = &sample[sample.len() - 1..];
            let exact = matches!(token.body.last(), Some(Part::Of(_, least, most)) if least == most);
            let longer = if exact { format!("{sample}{last}") } else { within.clone() };
            for text in [shorter, &within, &longer] {
                let same = |secret: &Secret| secret.range.len() >= sample.len() - 1;
                let any = engine.anchors(text.as_bytes()).into_iter().filter(|(index, _)| *index == anchor);
                let secret = any.filter_map(|(index, end)| find(text.as_bytes(), None, index, end)).find(same);
                // A row for shorter tokens of the prefix may take it.
                let other_row = tokens()
                    .any(|(_, other)| other.prefix == token.prefix && !std::ptr::eq(other, token) && text != within);
                assert!(secret.is_none() || other_row, "{text} {secret:?}");
            }
        }
    });
}

#[test]
fn anchors_are_bounded() {
    for anchor in ANCHORS {
        let info = Pattern::new(anchor.expression).expect("parses").info().expect("compiles");
        assert!(info.min_width >= 3 && info.max_width as usize <= BACK_BYTES_MAX, "{} {info:?}", anchor.expression);
    }
}

#[test]
fn escapes_before_a_token_do_not_hide_it() {
    let token = format!("ghp_{}", random(36));
    for before in ["", " ", "=", "\"", "\\n", "%3D", "(", "token_", "\u{e9}"] {
        let text = format!("{before}{token}");
        check(&text, Kind::GithubToken, &token);
    }
    for before in ["a", "7"] {
        check_none(&format!("{before}{token}"));
    }
}

#[test]
fn what_stands_for_a_token_is_none() {
    for text in [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "glpat-your-token-goes-here",
        "hvs.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-proj-0000000000000000000000T3BlbkFJ0000000000000000000000",
        "postgres://app:${DB_PASSWORD}@db/app",
        "postgres://user:password@localhost/app",
        "https://<user>:<token>@host/",
        "password = \"changeme!1\"",
        "api_key: your-api-key-123",
        "token=$(cat /run/secrets/token1)",
    ] {
        check_none(text);
    }
}

#[test]
fn keys_without_a_prefix_are_known_by_their_marks() {
    let half = random(20);
    let openai = format!("sk-{half}T3BlbkFJ{half}");
    check(&format!("key {openai}."), Kind::OpenaiKey, &openai);
    check_none(&format!("task-{half}T3Blbk-J{half}"));
    let azure = format!("abc8Q~{}", random(34));
    check(&format!("({azure})"), Kind::AzureKey, &azure);
    check_none(&format!("({azure}0000)"));
    let account = format!("{}==", random(86));
    check(&format!("AccountName=x;AccountKey={account};"), Kind::AzureKey, &account);
    let service = format!("{}JQQJ99BC{}", random(52), random(24));
    check(&service, Kind::AzureKey, &service);
    let signature = format!("{}%3D", random(43));
    check(&format!("https://x/y?sv=2024-11-04&sig={signature}&se=2026"), Kind::AzureKey, &signature);
    check_none(&format!("https://x/y?sig={signature}"));
    let session = format!("IQoJb3JpZ2lu{}", random(400));
    check(&format!("aws_session_token = {session}"), Kind::AwsKey, &session);
    let telegram = format!("110201543:AA{}", random(33));
    check(&format!("https://api.telegram.org/bot{telegram}/getMe"), Kind::OtherToken, &telegram);
}

#[test]
fn private_keys_are_found_whole_in_every_spelling() {
    let body = random(64);
    for newline in ["\n", "\r\n", "\\n", "\\\\n", " ", "\\n\"\n\""] {
        let key = ["-----BEGIN RSA PRIVATE KEY-----", &body, &body, "-----END RSA PRIVATE KEY-----"].join(newline);
        check(&format!("key: {key} end"), Kind::PrivateKey, &key);
    }
    let encrypted = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n{body}\n-----END RSA PRIVATE KEY-----"
    );
    check(&encrypted, Kind::PrivateKey, &encrypted);
    let cut = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}");
    check(&cut, Kind::PrivateKey, &cut);
}

#[test]
fn the_line_of_a_private_key_alone_is_none() {
    check_none("-----BEGIN PRIVATE KEY-----");
    check_none("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----");
    check_none(&format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", "x".repeat(64)));
    check_none(&format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", random(64)));
}

#[test]
fn a_longer_private_key_is_reported_as_far_as_it_was_read() {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}", random(2 * FORWARD_BYTES_MAX));
    let secrets = ENGINE.with(|engine| engine.find(key.as_bytes(), None));
    assert_eq!(secrets.len(), 1);
    assert!(secrets[0].range.len() > FORWARD_BYTES_MAX && secrets[0].range.len() < FORWARD_BYTES_MAX + 64);
}

/// RFC 7515 appendix A.1.
const JWS: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

#[test]
fn a_token_of_three_parts_is_found_whole() {
    check(&format!("Authorization: Bearer {JWS}"), Kind::Jwt, JWS);
    check(&format!("?id_token={JWS}&x=1"), Kind::Jwt, JWS);
    let unsigned = &JWS[..=JWS.rfind('.').expect("dots")];
    check(unsigned, Kind::Jwt, unsigned);
}

#[test]
fn what_only_begins_like_a_token_is_none() {
    let (header, rest) = JWS.split_once('.').expect("dots");
    check_none(header);
    check_none(&format!("eyJmb28iOiJiYXIifQ.{rest}"));
    check_none(&format!("{header}.bm90IGpzb24gYXQgYWxs.c2lnbmF0dXJl"));
    check_none(&format!("x{JWS}"));
}

#[test]
fn a_password_is_found_beside_its_host() {
    check("postgres://app:s3cr3tP4ss@db:5432/x", Kind::ConnectionString, "s3cr3tP4ss");
    check("https://u:p@ssw0rd9@host.example/", Kind::ConnectionString, "p@ssw0rd9");
    check("curl -u \"app:d2LkV78zLx!t\" https://x", Kind::ConnectionString, "d2LkV78zLx!t");
    check("Authorization: Basic QWxhZGRpbjpvcGVuc2VzYW1l", Kind::ConnectionString, "QWxhZGRpbjpvcGVuc2VzYW1l");
    check("Server=db;User Id=app;Password=m42ploz2wd;", Kind::ConnectionString, "m42ploz2wd");
    check_none("http://localhost:8080/a@b");
    check_none("see https://host/path:with@sign");
    check_none("chmod -u app:d2LkV78zLx!t x");
}

#[test]
fn a_providers_key_without_a_prefix_is_found_by_its_name() {
    let uuid = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
    check(&format!("HEROKU_API_KEY={uuid}"), Kind::OtherToken, uuid);
    check(&format!("the \"snyk-token\": \"{uuid}\""), Kind::OtherToken, uuid);
    let twilio = format!("SK{}", random_hex(32));
    check(&format!("twilio_key := '{twilio}'."), Kind::OtherToken, &twilio);
    let airtable = format!("pat{}.{}", random(14), random_hex(64));
    check(&format!("airtable.token: {airtable}."), Kind::OtherToken, &airtable);
    check_none(&format!("heroku_app_id={uuid}"));
    check_none(&format!("heroku: see {uuid}"));
}

#[test]
fn a_value_is_found_by_its_name() {
    let key = random_hex(32);
    for text in [
        format!("api_key = \"{key}\""),
        format!("\"apiKey\": \"{key}\","),
        format!("{{\\\"client_secret\\\": \\\"{key}\\\"}}"),
        format!("API_KEY={key}\n"),
        format!("secret: {key}"),
        format!(":secret => '{key}'"),
        format!("secret := `{key}`"),
        format!("<Secret>{key}</Secret>"),
        format!("run --api-key {key} now"),
        format!("/x?access_token={key}&y=1"),
        format!("config[\"auth_token\"] = '{key}'"),
        format!("set(\"api_key\", \"{key}\")"),
        format!("the access token is {key}."),
    ] {
        check(&text, Kind::GenericSecret, &key);
    }
    let long = random(900);
    check(&format!("refresh_token: {long}\n"), Kind::GenericSecret, &long);
    check(&format!("refresh_token: \"{long}\"\n"), Kind::GenericSecret, &long);
    let aws = "q7Rb2LzX9cVn4KpT8wMd3HsG6fYj/Ae1QtBu0+oW";
    check(&format!("AWS_SECRET_ACCESS_KEY={aws}"), Kind::AwsKey, aws);
}

#[test]
fn what_a_secrets_name_does_not_promise_is_left() {
    for text in [
        "token = getToken(ctx1, 22)",
        "token: Option<Token12>",
        "password: ERROR_WRONG_PASSWORD_1",
        "secret = env::var(\"S3CR3T\")",
        "csrf_token=q7Rb2LzX9cVn4KpT8wMd3HsG6fYj",
        "\"nextPageToken\": \"q7Rb2LzX9cVn4KpT8wMd3HsG6fYj\"",
        "token_type = q7Rb2LzX9cVn4KpT8wMd3HsG6fYj",
        "token: 12345678-abcd-abcd-abcd-1234567890ab",
        "private_key: /etc/ssl/private/a1b2c3d4.pem",
        "secret = X25519.secret_length",
        "password is required at 10:30",
        "max_tokens: 40961234567",
        "api_key=q7Rb2LzX9cVn4KpT8wMd...",
    ] {
        check_none(text);
    }
}

/// What `assigned` finds.
fn member(key: &str, value: &str) -> Option<(Kind, String)> {
    assigned(key, value.as_bytes()).map(|secret| (secret.kind, value[secret.range].to_owned()))
}

#[test]
fn a_members_value_is_judged_by_its_name() {
    let key = random_hex(40);
    for name in ["api_key", "apiKey", "x-api-key", "clientSecret", "GITHUB_TOKEN", "db.password", "credentials"] {
        assert_eq!(member(name, &key), Some((Kind::GenericSecret, key.clone())), "{name}");
    }
    assert_eq!(member("password", " Tr0ub4dor&3 "), Some((Kind::GenericSecret, "Tr0ub4dor&3".to_owned())));
    assert_eq!(member("Authorization", &format!("Bearer {key}")), Some((Kind::GenericSecret, key.clone())));
    let uuid = "12345678-abcd-abcd-abcd-1234567890ab";
    assert_eq!(member("snyk_token", uuid), Some((Kind::OtherToken, uuid.to_owned())));
    for name in ["name", "api_key_id", "tokens", "passwordHint", "csrfToken", "nextPageToken", ""] {
        assert_eq!(member(name, &key), None, "{name}");
    }
    for value in ["", "string", "true", "********", "<password>", "correct horse battery", "short1!"] {
        assert_eq!(member("password", value), None, "{value}");
    }
}

/// Pieces that make detectors look.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let samples: Vec<String> = tokens().map(|(_, token)| sample(token)).collect();
    prop_oneof![
        prop::sample::select(samples).prop_map(String::into_bytes),
        prop::sample::select(vec![
            "-----BEGIN PRIVATE KEY-----",
            "-----END",
            "eyJhbGciOiJIUzI1NiJ9",
            ".",
            "://u:",
            "@h",
            "password",
            "=\"",
            "token: ",
            "Basic ",
            "curl -u ",
            "T3BlbkFJ",
            "8Q~",
            "sk-",
            "\\n",
            "%3D",
            " is ",
            "--secret ",
            "<secret>",
            "AccountKey=",
            "JQQJ99",
            "snyk_token=",
            ":AA",
            "-us12",
            ".atlasv1.",
            "facebook ",
            "MTAyOTQ4",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        "[A-Za-z0-9_\\-]{1,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

#[test]
fn any_bytes_are_judged_within_the_bounds_of_a_look() {
    let engine = Engine::compile();
    proptest!(|(pieces in prop::collection::vec(pieces(), 0..24), everywhere in any::<prop::sample::Index>())| {
        let text = pieces.concat();
        let anywhere = (0..ANCHORS.len()).map(|anchor| (anchor, everywhere.index(text.len() + 2)));
        for (anchor, end) in engine.anchors(&text).into_iter().chain(anywhere) {
            let secret = find(&text, None, anchor, end);
            let Some(Secret { range, confidence, .. }) = secret.clone() else { continue };
            prop_assert!(range.start < range.end && range.end <= text.len() && confidence <= 100);
            prop_assert!(range.start + BACK_BYTES_MAX >= end && range.end <= end + FORWARD_BYTES_MAX + 64);
            // Nothing beyond the bounds is read, so nothing beyond them matters.
            let from = end.saturating_sub(BACK_BYTES_MAX);
            let to = text.len().min(end + FORWARD_BYTES_MAX + 64);
            let near = find(&text[from..to], None, anchor, end - from);
            prop_assert_eq!(near.map(|s| s.range.start + from..s.range.end + from), Some(range));
        }
        let key = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        if let Some(secret) = assigned(&key, &text).or_else(|| assigned("password", &text)) {
            prop_assert!(secret.range.end <= text.len());
        }
    });
}
