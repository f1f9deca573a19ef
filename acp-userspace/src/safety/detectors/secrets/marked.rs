//! Tokens that are known by a mark within or behind them, not by a prefix.

use super::chars::{ALNUM, BASE64, DIGIT, HEX, Set, UNRESERVED, URL, Words, begins, contains_any, ends};
use super::{Kind, Secret, placeholder};

/// `OpenAI` in base64: every key of theirs holds it.
pub(super) const OPENAI_EXPRESSION: &str = "T3BlbkFJ";

/// platform.openai.com, "API keys": `sk-`, for whom, random characters, the mark, and as many again.
pub(super) fn openai(text: &[u8], end: usize) -> Option<Secret> {
    const HALF_MIN: usize = 20;
    const HALF_MAX: usize = 128;
    let mark = end.checked_sub(OPENAI_EXPRESSION.len())?;
    let back = URL.run_back(&text[..mark], HALF_MAX);
    let half = &text[mark - back..mark];
    let start = mark - back + half.windows(3).position(|window| window == b"sk-")?;
    let len = URL.run(&text[end..], HALF_MAX + 1);
    let fits = mark - start >= HALF_MIN + 3 && (HALF_MIN..=HALF_MAX).contains(&len);
    (fits && begins(text, start) && !placeholder::is_token(&text[start..mark])).then(|| Secret {
        kind: Kind::OpenaiKey,
        range: start..end + len,
        confidence: 98,
    })
}

/// Three characters, a digit, `Q~`, and 31 to 34 more.
pub(super) const AZURE_CLIENT_EXPRESSION: &str = r"[0-9]Q~[A-Za-z0-9_.~\-]{8}";

/// Microsoft Entra client secrets, as the portal issues them.
pub(super) fn azure_client(text: &[u8], end: usize) -> Option<Secret> {
    let mark = end.checked_sub(8)?;
    let start = mark.checked_sub(6)?;
    let len = UNRESERVED.run(&text[mark..], 36);
    let (before, after) = (&text[..start], &text[mark..mark + len]);
    let fits = UNRESERVED.run(&text[start..mark], 6) == 6
        && (31..=34).contains(&len)
        && !before.last().is_some_and(|byte| UNRESERVED.has(*byte));
    (fits && !placeholder::is_token(after)).then(|| secret(Kind::AzureKey, start, mark + len, 95))
}

/// The fixed signature of Microsoft's common annotated security keys, the year and the month.
pub(super) const AZURE_SERVICE_EXPRESSION: &str = r"JQQJ9[9DH][A-Za-z0-9][A-L]";

/// github.com/microsoft/security-utilities, "Common Annotated Security Keys": 84 characters, or 86 and padding; the
/// signature begins at the 53rd. Azure `OpenAI`, Storage, Search, Functions, `DevOps` and others issue them.
pub(super) fn azure_service(text: &[u8], end: usize) -> Option<Secret> {
    let start = end.checked_sub(8 + 52)?;
    let end = match ALNUM.run(&text[start..], 87) {
        84 => start + 84,
        86 if text[start + 86..].starts_with(b"==") => start + 88,
        _ => return None,
    };
    (begins(text, start) && ends(text, end)).then(|| secret(Kind::AzureKey, start, end, 98))
}

/// The names of keys in Azure's connection strings.
pub(super) const AZURE_ACCOUNT_EXPRESSION: &str = r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{8}";

/// learn.microsoft.com, storage and Service Bus connection strings: 64 or 32 bytes in base64.
pub(super) fn azure_account(text: &[u8], end: usize) -> Option<Secret> {
    let start = end.checked_sub(8)?;
    let len = BASE64.run(&text[start..], 90);
    let found = &text[start..start + len];
    let fits = (len == 88 && found.ends_with(b"==")) || (len == 44 && found.ends_with(b"="));
    (fits && !placeholder::is_token(found)).then(|| secret(Kind::AzureKey, start, start + len, 98))
}

/// The signature of a shared access signature, and its neighbours' sign.
pub(super) const AZURE_SIGNATURE_EXPRESSION: &str = r"[?&;]sig=[A-Za-z0-9%/+]{8}";

/// learn.microsoft.com, "Create a service SAS": 32 bytes in base64, mostly percent-encoded, beside a version or expiry.
pub(super) fn azure_signature(text: &[u8], end: usize) -> Option<Secret> {
    const ENCODED: Set = BASE64.and_percent();
    let start = end.checked_sub(8)?;
    let len = ENCODED.run(&text[start..], 128);
    let found = &text[start..start + len];
    let escapes = found.iter().filter(|byte| **byte == b'%').count();
    let padded = found.ends_with(b"=") || found.ends_with(b"%3D") || found.ends_with(b"%3d");
    let near = &text[start.saturating_sub(NEAR_BYTES)..text.len().min(start + len + NEAR_BYTES)];
    (len.checked_sub(2 * escapes) == Some(44) && padded && contains_any(near, &SIGNED))
        .then(|| secret(Kind::AzureKey, start, start + len, 95))
}

/// How far from a signature its other parameters stand.
const NEAR_BYTES: usize = 200;
/// The parameters of what is signed: version, and expiry.
const SIGNED: Words = Words::of(&["sv=20", "se=20", "se=1", "sr=http"]);

/// A bot's number, a colon, and 35 characters that begin with two As.
pub(super) const TELEGRAM_EXPRESSION: &str = r"[0-9]:AA[A-Za-z0-9_\-]{8}";

/// core.telegram.org/bots/api#authorizing-your-bot.
pub(super) fn telegram(text: &[u8], end: usize) -> Option<Secret> {
    let colon = end.checked_sub(11)?;
    let digits = DIGIT.run_back(&text[..colon], 17);
    let start = colon - digits;
    let len = URL.run(&text[colon + 1..], 36);
    // URLs write the token behind the word "bot".
    let begins = begins(text, start) || text[..start].ends_with(b"/bot");
    ((8..=16).contains(&digits) && len == 35 && begins).then(|| secret(Kind::OtherToken, start, colon + 1 + len, 95))
}

/// The data centre of a key.
pub(super) const MAILCHIMP_EXPRESSION: &str = r"[0-9a-f]-us[0-9]";

/// mailchimp.com/developer/marketing/docs/fundamentals: 32 hexadecimal digits and the data centre.
pub(super) fn mailchimp(text: &[u8], end: usize) -> Option<Secret> {
    let dash = end.checked_sub(4)?;
    let digits = HEX.run_back(&text[..dash], 33);
    let end = end + DIGIT.run(&text[end..], 1);
    let start = dash - digits;
    let assigned = super::assignment::names(text, start) || near(text, start);
    (digits == 32 && begins(text, start) && ends(text, end) && assigned)
        .then(|| secret(Kind::OtherToken, start, end, 90))
}

const MAILCHIMP: Words = Words::of(&["mailchimp"]);

/// Whether the provider is named within 64 bytes before `at`.
fn near(text: &[u8], at: usize) -> bool {
    contains_any(&text[at.saturating_sub(64)..at], &MAILCHIMP)
}

/// Between the two halves of a token of Terraform Cloud.
pub(super) const TERRAFORM_EXPRESSION: &str = r"\.atlasv1\.";

/// developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens.
pub(super) fn terraform(text: &[u8], end: usize) -> Option<Secret> {
    let dot = end.checked_sub(".atlasv1.".len())?;
    let start = dot - ALNUM.run_back(&text[..dot], 15);
    let len = URL.run(&text[end..], 71);
    let fits = dot - start == 14 && (60..=70).contains(&len) && begins(text, start);
    (fits && !placeholder::is_token(&text[start..end + len])).then(|| secret(Kind::OtherToken, start, end + len, 98))
}

/// The word, and fifteen digits and a bar soon after.
pub(super) const FACEBOOK_EXPRESSION: &str = r"facebook[^0-9\n|]{1,32}[0-9]{15,16}\|";

/// developers.facebook.com/docs/facebook-login/guides/access-tokens: app access tokens are id, bar and secret.
pub(super) fn facebook(text: &[u8], end: usize) -> Option<Secret> {
    let bar = end.checked_sub(1)?;
    let start = bar - DIGIT.run_back(&text[..bar], 16);
    let len = URL.run(&text[end..], 33);
    (27..=32).contains(&len).then(|| secret(Kind::OtherToken, start, end + len, 90))
}

/// The one anchor without three literal bytes; it takes an eighth of the engine's speed, since nothing else marks these
/// tokens. The first digits of an id in base64 ("1…" to "9…"), and the two dots where a token has them.
pub(super) const DISCORD_EXPRESSION: &str =
    r"(?:M[TjzD]|N[TDjz]|O[TD])[AEIMQUYcgk][w-z0-5][A-Za-z0-9_\-]{19,22}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27}";

/// discord.com/developers/docs/reference#authentication: the bot's id in base64, the time and a MAC.
pub(super) fn discord(text: &[u8], end: usize) -> Option<Secret> {
    const MAC_MIN: usize = 27;
    let mac = end.checked_sub(MAC_MIN)?;
    let dot = mac.checked_sub(8)?;
    let start = dot - URL.run_back(&text[..dot], 27);
    let len = URL.run(&text[mac..], 39);
    let fits = (23..=26).contains(&(dot - start)) && (27..=38).contains(&len) && begins(text, start);
    let mixed = |part: &[u8]| {
        part.iter().any(u8::is_ascii_digit)
            && part.iter().any(u8::is_ascii_lowercase)
            && part.iter().any(u8::is_ascii_uppercase)
    };
    (fits && mixed(&text[start..dot]) && mixed(&text[mac..mac + len]))
        .then(|| secret(Kind::OtherToken, start, mac + len, 90))
}

fn secret(kind: Kind, start: usize, end: usize, confidence: u8) -> Secret {
    Secret { kind, range: start..end, confidence }
}
