//! Keys to clouds, hosting, networks and databases. Azure's have no prefix: `super::super::marked`.

use super::super::Kind;
use super::super::chars::{
    ALNUM, ANY_BASE64, ANY_HEX, BASE32, BASE64, DASH_DIGIT, HEX, UPPER_ALNUM, URL, URL_DOT, URL_EQUALS,
};
use super::super::token::{
    Check,
    Part::{Is, Maybe, Of},
    Token,
};
use super::{checked, other, other_checked, token};

pub(in super::super) const AWS_EXPRESSION: &str = concat!(
    r"(?:A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{8}|A3T[A-Z0-9][A-Z2-7]{7}|",
    r"(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[A-Za-z0-9+/]{8}|ABSKQmVkcm9ja0FQSUtleS1|",
    r"bedrock-api-key-YmVkcm9jay5hbWF6b25h)"
);

/// AWS IAM user guide, "IAM identifiers", unique id prefixes: an access key id is twenty characters of base32.
/// AWS STS API reference, `SessionToken`, whose base64 begins with what wrote it (`origin`, `er/aws`).
/// Bedrock user guide, "API keys": the base64 of `BedrockAPIKey-` and of `bedrock.amazonaws.com`.
pub(in super::super) const AWS: &[Token] = &[
    checked(Kind::AwsKey, "AKIA", &[Of(BASE32, 16, 16)], Check::Form),
    checked(Kind::AwsKey, "ASIA", &[Of(BASE32, 16, 16)], Check::Form),
    checked(Kind::AwsKey, "ABIA", &[Of(BASE32, 16, 16)], Check::Form),
    checked(Kind::AwsKey, "ACCA", &[Of(BASE32, 16, 16)], Check::Form),
    checked(Kind::AwsKey, "A3T", &[Of(UPPER_ALNUM, 1, 1), Of(BASE32, 16, 16)], Check::Form),
    token(Kind::AwsKey, "IQoJb3JpZ2lu", &[Of(BASE64, 200, 2048)]),
    token(Kind::AwsKey, "FwoGZXIvYXdz", &[Of(BASE64, 200, 2048)]),
    token(Kind::AwsKey, "FQoGZXIvYXdz", &[Of(BASE64, 200, 2048)]),
    checked(Kind::AwsKey, "ABSKQmVkcm9ja0F", &[Is("QSUtleS1"), Of(BASE64, 108, 268)], Check::Exact),
    token(Kind::AwsKey, "bedrock-api-key-YmVkcm9jay5h", &[Is("bWF6b25hd3MuY29t"), Of(ANY_BASE64, 0, 2048)]),
];

pub(in super::super) const GCP_EXPRESSION: &str = r"(?:AIzaSy|GOCSPX-|ya29\.|1//0|AQ\.Ab)[A-Za-z0-9_\-]{8}";

/// Google Cloud, "API keys" and "Using OAuth 2.0" (client secrets, access and refresh tokens); the forms are those of
/// the keys issued.
pub(in super::super) const GCP: &[Token] = &[
    checked(Kind::GcpKey, "AIzaSy", &[Of(URL, 33, 33)], Check::Unpublished(PUBLISHED_GOOGLE)),
    token(Kind::GcpKey, "GOCSPX-", &[Of(URL, 28, 28)]),
    checked(Kind::GcpKey, "ya29.", &[Of(URL_DOT, 30, 2048)], Check::Mixed),
    checked(Kind::GcpKey, "1//0", &[Of(URL, 60, 256)], Check::Mixed),
    token(Kind::GcpKey, "AQ.Ab", &[Of(URL, 40, 128)]),
];

/// Keys of samples and published apps, so widely copied that the labelled corpora call them none.
const PUBLISHED_GOOGLE: &[&str] = &[
    "AIzaSyAnLA7NfeLquW1tJFpx_eQCxoX-oo6YyIs",
    "AIzaSyCkEhVjf3pduRDt6d1yKOMitrUEke8agEM",
    "AIzaSyDMAScliyLx7F0NPDEJi1QmyCgHIAODrlU",
    "AIzaSyAdOS2zB6NCsk1pCdZ4-P6GBdi_UUPwX7c",
    "AIzaSyA5_iVawFQ8ABuTZNUdcwERLJv_a_p4wtM",
    "AIzaSyBcE-OOIbhjyR83gm4r2MFCu4MJmprNXsw",
    "AIzaSyA8vmApnrHNFE0bApF4hoZ11srVL_n0nvY",
];

pub(in super::super) const OTHER_EXPRESSION: &str = concat!(
    r"(?:do[opr]_v1_|HRKU-AA|fo1_|fm[12][ar]?_|LTAI|v1\.0-|pscale_(?:tkn|pw|oauth)_|sbp_|sb_secret_|vcp_|",
    r"nfp_|tskey-[a-z]{3,8}-|dnkey-|hv[sbr]\.|dt0[a-z][0-9]{2}\.|NR(?:AK|II|JS|AA|RA|SP)-|glc_|glsa_|",
    r"pul-|tk-us-|sha256~|AGE-SECRET-KEY-1|AQVN|dp\.(?:pt|ct|sa|scim|audit)\.|rnd_|EAAA|ico-|",
    r"CFPAT-|cfut_|cfat_)[A-Za-z0-9_\-]{8}|dapi[0-9a-f]{8}|dp\.st\.[A-Za-z0-9_.\-]{8}"
);

pub(in super::super) const OTHER: &[Token] = &[
    // docs.digitalocean.com/reference/api/create-personal-access-token.
    other("dop_v1_", &[Of(HEX, 64, 64)]),
    other("doo_v1_", &[Of(HEX, 64, 64)]),
    other("dor_v1_", &[Of(HEX, 64, 64)]),
    // docs.databricks.com/dev-tools/auth/pat.
    other("dapi", &[Of(HEX, 32, 32), Maybe(DASH_DIGIT, 2)]),
    // devcenter.heroku.com/articles/authentication.
    other("HRKU-AA", &[Of(URL, 58, 58)]),
    // fly.io/docs/security/tokens: macaroons.
    other("fo1_", &[Of(URL, 43, 43)]),
    other("fm1r_", &[Of(ANY_BASE64, 100, 2048)]),
    other("fm1a_", &[Of(ANY_BASE64, 100, 2048)]),
    other("fm2_", &[Of(ANY_BASE64, 100, 2048)]),
    // alibabacloud.com/help/ram: AccessKey id.
    other_checked("LTAI", &[Of(ALNUM, 16, 20)], Check::Mixed),
    // developers.cloudflare.com: Origin CA key; the new user and account tokens.
    other("v1.0-", &[Of(HEX, 24, 24), Is("-"), Of(HEX, 146, 146)]),
    other("cfut_", &[Of(ALNUM, 40, 48)]),
    other("cfat_", &[Of(ALNUM, 40, 48)]),
    // planetscale.com/docs/concepts/service-tokens.
    other("pscale_tkn_", &[Of(URL_DOT, 32, 64)]),
    other("pscale_pw_", &[Of(URL_DOT, 32, 64)]),
    other("pscale_oauth_", &[Of(URL_DOT, 32, 64)]),
    // supabase.com/docs/guides/api/api-keys.
    other("sbp_", &[Of(HEX, 40, 40)]),
    other("sb_secret_", &[Of(URL, 22, 22), Is("_"), Of(ALNUM, 8, 8)]),
    // vercel.com/docs.
    other_checked("vcp_", &[Of(ALNUM, 24, 80)], Check::Mixed),
    // docs.netlify.com/api/get-started.
    other("nfp_", &[Of(ALNUM, 36, 36)]),
    // tailscale.com/kb/1085/auth-keys: what it is for, its id, and the key.
    other_checked("tskey-auth-", &[Of(ALNUM, 10, 20), Is("-"), Of(ALNUM, 20, 40)], Check::Exact),
    other_checked("tskey-api-", &[Of(ALNUM, 10, 20), Is("-"), Of(ALNUM, 20, 40)], Check::Exact),
    other_checked("tskey-client-", &[Of(ALNUM, 10, 20), Is("-"), Of(ALNUM, 20, 40)], Check::Exact),
    other_checked("tskey-scim-", &[Of(ALNUM, 10, 20), Is("-"), Of(ALNUM, 20, 40)], Check::Exact),
    other_checked("tskey-webhook-", &[Of(ALNUM, 10, 20), Is("-"), Of(ALNUM, 20, 40)], Check::Exact),
    // docs.defined.net.
    other("dnkey-", &[Of(URL_EQUALS, 26, 26), Is("-"), Of(URL_EQUALS, 52, 52)]),
    // developer.hashicorp.com/vault/docs/concepts/tokens: service, batch, recovery.
    other("hvs.", &[Of(URL, 90, 160)]),
    other("hvb.", &[Of(URL, 138, 300)]),
    other("hvr.", &[Of(URL, 90, 160)]),
    // docs.dynatrace.com/manage/access-control/access-tokens: public and secret part.
    other("dt0c01.", &[Of(UPPER_ALNUM, 24, 24), Is("."), Of(UPPER_ALNUM, 64, 64)]),
    other("dt0s01.", &[Of(UPPER_ALNUM, 24, 24), Is("."), Of(UPPER_ALNUM, 64, 64)]),
    other("dt0s02.", &[Of(UPPER_ALNUM, 8, 24), Is("."), Of(UPPER_ALNUM, 64, 64)]),
    other("dt0s16.", &[Of(UPPER_ALNUM, 8, 24), Is("."), Of(UPPER_ALNUM, 64, 64)]),
    // docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys.
    other("NRAK-", &[Of(UPPER_ALNUM, 27, 27)]),
    other("NRII-", &[Of(URL, 32, 32)]),
    other("NRJS-", &[Of(HEX, 19, 19)]),
    other("NRAA-", &[Of(HEX, 27, 27)]),
    other("NRRA-", &[Of(HEX, 42, 42)]),
    other("NRSP-", &[Of(ALNUM, 30, 40)]),
    // grafana.com/docs: cloud access policy and service account tokens (the latter with a CRC-32).
    other("glc_", &[Is("eyJ"), Of(BASE64, 29, 512)]),
    other("glsa_", &[Of(ALNUM, 32, 32), Is("_"), Of(ANY_HEX, 8, 8)]),
    // pulumi.com/docs/pulumi-cloud/access-management/access-tokens.
    other("pul-", &[Of(HEX, 40, 40)]),
    // scalingo.com.
    other("tk-us-", &[Of(URL, 48, 48)]),
    // OpenShift: oauth tokens by their hash's name.
    other("sha256~", &[Of(URL, 43, 43)]),
    // age-encryption.org/v1: Bech32, in capitals.
    token(Kind::PrivateKey, "AGE-SECRET-KEY-1", &[Of(UPPER_ALNUM, 58, 58)]),
    // yandex.cloud/docs: API keys.
    other("AQVN", &[Of(URL, 35, 38)]),
    // docs.doppler.com/docs/service-tokens; the service token names its config.
    other("dp.pt.", &[Of(ALNUM, 40, 44)]),
    other("dp.ct.", &[Of(ALNUM, 40, 44)]),
    other("dp.sa.", &[Of(ALNUM, 40, 44)]),
    other("dp.scim.", &[Of(ALNUM, 40, 44)]),
    other("dp.audit.", &[Of(ALNUM, 40, 44)]),
    other("dp.st.", &[Of(URL, 2, 35), Is("."), Of(ALNUM, 40, 44)]),
    other("dp.st.", &[Of(ALNUM, 40, 44)]),
    // render.com/docs/api.
    other("rnd_", &[Of(ALNUM, 28, 32)]),
    // developer.squareup.com: access tokens. Base64 of numbers begins like them.
    other_checked("EAAA", &[Of(URL, 60, 60)], Check::Named),
    // infracost.io/docs.
    other("ico-", &[Of(ALNUM, 32, 32)]),
    // contentful.com/developers/docs: personal access token.
    other("CFPAT-", &[Of(URL, 43, 43)]),
];
