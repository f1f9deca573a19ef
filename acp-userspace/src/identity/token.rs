//! A bearer token as a document: a JWS in compact form (RFC 7515 §3.1) with JWT claims (RFC 7519), read strictly and
//! trusted for nothing.
//!
//! What is read here is unauthenticated: it may refuse a token, choose the key to verify it with, and nothing else.
//! - At most [`TOKEN_BYTES_MAX`] bytes, three segments of canonical unpadded base64url.
//! - Header and payload are JSON objects that repeat no member (RFC 8725 §2.4).
//! - `alg` is RS256 (RFC 8725 §3.1); the key is bound to RSA as well, so the header alone decides nothing.
//! - `crit`, `b64`, `zip`, `cty` ask for processing that is not done here: refused (RFC 7515 §4.1.11, RFC 7797).
//! - `typ` is `at+jwt` (RFC 9068 §2.1), `JWT` or absent; other kinds of token, such as `dpop+jwt` or `logout+jwt`,
//!   are refused (RFC 8725 §3.11).
//! - `jku`, `x5u`, `jwk`, `x5c` are never looked at: keys come from the configured issuer only (RFC 8725 §3.10).
//! - `kid` is required, because keys are found by (issuer, kid) and by nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::error::TokenFault;
use super::json;

/// Longest token read, in bytes: half of the default head bound, eight times a usual access token. DATAPATH B4.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest `kid`, `sub`, `jti`, tenant, role or client id, in bytes (OpenID Connect Core §2 sets it for `sub`).
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Largest NumericDate read: 9999-12-31T23:59:59Z, the last that RFC 3339 can print.
const NUMERIC_DATE_MAX: u64 = 253_402_300_799;

/// The three segments of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    /// `header.payload`: what the signature covers.
    pub(super) signed: &'a str,
    header: &'a str,
    payload: &'a str,
    /// The signature, base64url.
    pub(super) signature: &'a str,
}

/// The claims every token needs or may have; the rest stays in `others`.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: Vec<String>,
    pub(super) expires: u64,
    pub(super) not_before: Option<u64>,
    pub(super) issued_at: Option<u64>,
    pub(super) token_id: Option<String>,
    /// Every claim as the token has it.
    pub(super) all: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Splits `bytes` into its segments without decoding them.
    pub(super) fn split(bytes: &'a [u8]) -> Result<Self, TokenFault> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TokenFault::NotBase64Url)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::NotCompactJws)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::NotCompactJws)?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() || payload.contains('.') {
            return Err(TokenFault::NotCompactJws);
        }
        Ok(Self { signed, header, payload, signature })
    }

    /// Checks the header and returns its `kid`.
    pub(super) fn key_id(&self) -> Result<String, TokenFault> {
        let header = json::object(&decode(self.header)?).map_err(|_| TokenFault::HeaderNotJson)?;
        if header.get("alg").and_then(Value::as_str) != Some("RS256") {
            return Err(TokenFault::AlgorithmNotAllowed);
        }
        if ["crit", "b64", "zip", "cty"].iter().any(|name| header.contains_key(*name)) {
            return Err(TokenFault::ExtensionNotUnderstood);
        }
        if !header.get("typ").is_none_or(is_access_token_type) {
            return Err(TokenFault::TypeNotAllowed);
        }
        match header.get("kid") {
            Some(Value::String(kid)) if is_name(kid) => Ok(kid.clone()),
            _ => Err(TokenFault::KeyIdMalformed),
        }
    }

    /// Reads the claims (RFC 7519 §4.1): iss, sub, aud and exp are required, every one present has its type.
    pub(super) fn claims(&self) -> Result<Claims, TokenFault> {
        let all = json::object(&decode(self.payload)?).map_err(|_| TokenFault::ClaimsNotJson)?;
        if all.contains_key("cnf") {
            return Err(TokenFault::SenderConstrained);
        }
        Ok(Claims {
            issuer: text(&all, "iss")?.ok_or(TokenFault::ClaimMalformed("iss"))?,
            subject: text(&all, "sub")?.ok_or(TokenFault::ClaimMalformed("sub"))?,
            audience: audience(&all)?,
            // A fraction shortens the token's life, never lengthens it.
            expires: date(&all, "exp", f64::floor)?.ok_or(TokenFault::ClaimMalformed("exp"))?,
            not_before: date(&all, "nbf", f64::ceil)?,
            issued_at: date(&all, "iat", f64::floor)?,
            token_id: text(&all, "jti")?,
            all,
        })
    }
}

/// A non-empty string of at most [`NAME_BYTES_MAX`] bytes without control characters.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Strict base64url: no padding, no trailing bits, no other alphabet.
fn decode(segment: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenFault::NotBase64Url)
}

/// Media types compare without case, and may leave out `application/` (RFC 7515 §4.1.9).
fn is_access_token_type(typ: &Value) -> bool {
    let Some(typ) = typ.as_str() else { return false };
    ["at+jwt", "application/at+jwt", "JWT"].iter().any(|known| typ.eq_ignore_ascii_case(known))
}

fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(value)) if !value.is_empty() => Ok(Some(value.clone())),
        Some(_) => Err(TokenFault::ClaimMalformed(name)),
    }
}

/// `aud`: one string or an array of strings (RFC 7519 §4.1.3), at least one.
fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, TokenFault> {
    let list = match claims.get("aud") {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(many)) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    list.filter(|list| !list.is_empty()).ok_or(TokenFault::ClaimMalformed("aud"))
}

/// A NumericDate (RFC 7519 §2) in whole seconds; `round` says which way a fraction goes.
fn date(claims: &Map<String, Value>, name: &'static str, round: fn(f64) -> f64) -> Result<Option<u64>, TokenFault> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => Some(whole),
            (None, Some(fraction)) if fraction >= 0.0 => Some(round(fraction) as u64),
            _ => None,
        },
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds <= NUMERIC_DATE_MAX => Ok(Some(seconds)),
        _ => Err(TokenFault::ClaimMalformed(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[track_caller]
    fn check_header(header: &str, expected: Result<&str, TokenFault>) {
        let token = token(header, "{}");
        let found = Token::split(token.as_bytes()).unwrap().key_id();
        assert_eq!(found, expected.map(str::to_owned), "{header}");
    }

    #[track_caller]
    fn check_claims(change: Value, expected: Option<TokenFault>) {
        let mut claims = json!({"iss": "i", "sub": "s", "aud": "a", "exp": 10});
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        let token = token("{}", &claims.to_string());
        assert_eq!(Token::split(token.as_bytes()).unwrap().claims().err(), expected, "{change}");
    }

    #[test]
    fn splits_three_segments_and_nothing_else() {
        for bad in ["", ".", "..", "a.b", "a..c", ".b.c", "a.b.", "a.b.c.d", "a.b.c.", "a.b.c.d.e"] {
            assert_eq!(Token::split(bad.as_bytes()).unwrap_err(), TokenFault::NotCompactJws, "{bad}");
        }
        let longest = format!("a.b.{}", "c".repeat(TOKEN_BYTES_MAX - 4));
        assert!(Token::split(longest.as_bytes()).is_ok());
        assert_eq!(Token::split(format!("{longest}c").as_bytes()).unwrap_err(), TokenFault::TooLong);
        assert_eq!(Token::split(b"a.b.\xff").unwrap_err(), TokenFault::NotBase64Url);
    }

    #[test]
    fn accepts_rs256_access_tokens_with_a_key_id() {
        check_header(r#"{"alg":"RS256","kid":"k"}"#, Ok("k"));
        check_header(r#"{"alg":"RS256","kid":"k","typ":"at+jwt"}"#, Ok("k"));
        check_header(r#"{"alg":"RS256","kid":"k","typ":"application/AT+JWT"}"#, Ok("k"));
        check_header(r#"{"alg":"RS256","kid":"k","typ":"JWT","foo":{"bar":1}}"#, Ok("k"));
    }

    #[test]
    fn refuses_headers_that_ask_for_anything_else() {
        for alg in [r#""none""#, r#""None""#, r#""HS256""#, r#""rs256""#, r#""PS256""#, r#""""#, "null", "1"] {
            check_header(&format!(r#"{{"alg":{alg},"kid":"k"}}"#), Err(TokenFault::AlgorithmNotAllowed));
        }
        check_header(r#"{"kid":"k"}"#, Err(TokenFault::AlgorithmNotAllowed));
        check_header(r#"{"alg":"none","alg":"RS256","kid":"k"}"#, Err(TokenFault::HeaderNotJson));
        check_header("[]", Err(TokenFault::HeaderNotJson));
        for extension in [r#""crit":[]"#, r#""crit":["exp"]"#, r#""b64":false"#, r#""zip":"DEF""#, r#""cty":"JWT""#] {
            let header = format!(r#"{{"alg":"RS256","kid":"k",{extension}}}"#);
            check_header(&header, Err(TokenFault::ExtensionNotUnderstood));
        }
        for typ in [r#""dpop+jwt""#, r#""logout+jwt""#, r#""secevent+jwt""#, r#""JOSE""#, r#""""#, "1", "null"] {
            check_header(&format!(r#"{{"alg":"RS256","kid":"k","typ":{typ}}}"#), Err(TokenFault::TypeNotAllowed));
        }
        let long = format!(r#""{}""#, "k".repeat(256));
        for kid in ["1", "null", r#""""#, r#""k\n""#, r#""k\u0000""#, &long] {
            check_header(&format!(r#"{{"alg":"RS256","kid":{kid}}}"#), Err(TokenFault::KeyIdMalformed));
        }
        check_header(r#"{"alg":"RS256"}"#, Err(TokenFault::KeyIdMalformed));
    }

    #[test]
    fn requires_the_registered_claims_in_their_types() {
        check_claims(json!({}), None);
        check_claims(json!({"aud": ["x", "a"], "nbf": 1, "iat": 0, "jti": "j", "exp": 10.5}), None);
        for (name, fault) in [("iss", "iss"), ("sub", "sub"), ("aud", "aud"), ("exp", "exp")] {
            check_claims(json!({name: null}), Some(TokenFault::ClaimMalformed(fault)));
            for wrong in [json!(true), json!({"a": 1}), json!([["a"]]), json!([]), json!([1])] {
                check_claims(json!({name: wrong}), Some(TokenFault::ClaimMalformed(fault)));
            }
        }
        for wrong in [json!("10"), json!(-1), json!(-0.5), json!(1e300), json!(u64::MAX), json!(253_402_300_800_u64)] {
            check_claims(json!({"exp": wrong}), Some(TokenFault::ClaimMalformed("exp")));
            check_claims(json!({"nbf": wrong}), Some(TokenFault::ClaimMalformed("nbf")));
            check_claims(json!({"iat": wrong}), Some(TokenFault::ClaimMalformed("iat")));
        }
        check_claims(json!({"sub": ""}), Some(TokenFault::ClaimMalformed("sub")));
        check_claims(json!({"jti": 7}), Some(TokenFault::ClaimMalformed("jti")));
        check_claims(json!({"cnf": {"jkt": "x"}}), Some(TokenFault::SenderConstrained));
    }

    #[test]
    fn a_fraction_of_a_second_never_lengthens_a_tokens_life() {
        let token = token("{}", r#"{"iss":"i","sub":"s","aud":"a","exp":10.9,"nbf":5.1}"#);
        let claims = Token::split(token.as_bytes()).unwrap().claims().unwrap();
        assert_eq!((claims.expires, claims.not_before), (10, Some(6)));
    }

    #[test]
    fn base64url_is_canonical() {
        let payload = URL_SAFE_NO_PAD.encode("{}");
        for header in ["e30=", "e31", "e3+", "e 0", "e"] {
            let text = format!("{header}.{payload}.AA");
            assert_eq!(Token::split(text.as_bytes()).unwrap().key_id(), Err(TokenFault::NotBase64Url), "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_value_or_a_fault(bytes: Vec<u8>, header in "\\PC{0,60}", payload in "\\PC{0,60}") {
            for input in [bytes, token(&header, &payload).into_bytes()] {
                if let Ok(token) = Token::split(&input) {
                    let _ = (token.key_id(), token.claims());
                }
            }
        }
    }
}
