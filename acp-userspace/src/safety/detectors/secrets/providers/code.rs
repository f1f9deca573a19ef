//! Keys to source code, its registries and its pipelines.

use super::super::Kind;
use super::super::chars::{ALNUM, ANY_HEX, BASE64, DIGIT, HEX, LOWER_ALNUM, UPPER_ALNUM, URL, URL_EQUALS};
use super::super::token::{
    Check,
    Part::{Is, Of},
    Token,
};
use super::{checked, other, other_checked, token};

pub(in super::super) const GITHUB_EXPRESSION: &str = r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9]{8}";

/// docs.github.com, "About authentication to GitHub", token formats, and "Behind GitHub's new authentication token
/// formats" (2021): 36 characters with a checksum, and that up to 255 in all are to be expected.
pub(in super::super) const GITHUB: &[Token] = &[
    checked(Kind::GithubToken, "ghp_", &[Of(ALNUM, 36, 251)], Check::Crc),
    checked(Kind::GithubToken, "gho_", &[Of(ALNUM, 36, 251)], Check::Crc),
    checked(Kind::GithubToken, "ghu_", &[Of(ALNUM, 36, 251)], Check::Crc),
    checked(Kind::GithubToken, "ghs_", &[Of(ALNUM, 36, 251)], Check::Crc),
    checked(Kind::GithubToken, "ghr_", &[Of(ALNUM, 36, 251)], Check::Crc),
    token(Kind::GithubToken, "github_pat_", &[Of(ALNUM, 22, 22), Is("_"), Of(ALNUM, 59, 59)]),
];

pub(in super::super) const GITLAB_EXPRESSION: &str = concat!(
    r"(?:gl(?:pat|dt|ft|rt|rtr|cbt|ptt|imt|wt|agent|oas|soat|ffct)-|GR1348941|_gitlab_session=)",
    r"[A-Za-z0-9_\-]{8}"
);

/// docs.gitlab.com/security/tokens, "Token prefixes"; the routable form has a payload, its length and a CRC-32.
pub(in super::super) const GITLAB: &[Token] = &[
    token(
        Kind::GitlabToken,
        "glpat-",
        &[Of(URL, 27, 300), Is("."), Of(LOWER_ALNUM, 2, 2), Is("."), Of(LOWER_ALNUM, 9, 9)],
    ),
    token(Kind::GitlabToken, "glpat-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "gldt-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "glft-", &[Of(URL, 20, 50)]),
    token(
        Kind::GitlabToken,
        "glrt-",
        &[Of(URL, 27, 300), Is("."), Of(LOWER_ALNUM, 2, 2), Is("."), Of(LOWER_ALNUM, 9, 9)],
    ),
    token(Kind::GitlabToken, "glrt-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "glrtr-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "glsoat-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "glffct-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "glwt-", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "glcbt-", &[Of(ANY_HEX, 1, 5), Is("_"), Of(URL, 20, 20)]),
    token(Kind::GitlabToken, "glcbt-", &[Of(URL, 20, 20)]),
    token(Kind::GitlabToken, "glptt-", &[Of(URL, 40, 40)]),
    token(Kind::GitlabToken, "glimt-", &[Of(URL, 25, 25)]),
    token(Kind::GitlabToken, "glagent-", &[Of(URL, 50, 1024)]),
    token(Kind::GitlabToken, "gloas-", &[Of(URL, 64, 64)]),
    token(Kind::GitlabToken, "GR1348941", &[Of(URL, 20, 50)]),
    token(Kind::GitlabToken, "_gitlab_session=", &[Of(HEX, 32, 32)]),
];

pub(in super::super) const OTHER_EXPRESSION: &str = concat!(
    r"(?:npm_|pypi-AgE|rubygems_|oy2|CLOJARS_|dckr_[po]at_|AKCp|cmVmdGtu|ATATT3|ATCTT3|ATBB|BBDC-|API-|PMAK-|",
    r"sq[uap]_|sgp_|slk_|sntr(?:ys_eyJ|yu_)|CCIPAT_|CCIPRJ_|bkua_|pnu_|rdme_|figd_|lin_(?:api|oauth)_|ntn_|[ps]at\.)",
    r"[A-Za-z0-9_\-]{8}"
);

pub(in super::super) const OTHER: &[Token] = &[
    // docs.npmjs.com/about-access-tokens; GitHub's form.
    other_checked("npm_", &[Of(ALNUM, 36, 36)], Check::Crc),
    // pypi.org/help: macaroons that begin with the host, and warehouse's test instance.
    other("pypi-AgE", &[Of(URL, 50, 1024)]),
    // guides.rubygems.org/api-key-scopes.
    other("rubygems_", &[Of(HEX, 48, 48)]),
    // learn.microsoft.com/nuget.
    other("oy2", &[Of(LOWER_ALNUM, 43, 43)]),
    // github.com/clojars/clojars-web, deploy tokens.
    other("CLOJARS_", &[Of(LOWER_ALNUM, 60, 60)]),
    // docs.docker.com/security/for-developers/access-tokens.
    other("dckr_pat_", &[Of(URL, 27, 27)]),
    other("dckr_oat_", &[Of(URL, 32, 32)]),
    // jfrog.com/help: API key, reference token (the base64 of "reftkn").
    other("AKCp", &[Of(ALNUM, 69, 69)]),
    other("cmVmdGtu", &[Of(ALNUM, 56, 56)]),
    // support.atlassian.com, API tokens, Bitbucket app passwords and HTTP access tokens.
    other("ATATT3", &[Of(URL_EQUALS, 180, 256)]),
    other("ATCTT3", &[Of(URL_EQUALS, 180, 256)]),
    other("ATBB", &[Of(ALNUM, 32, 32)]),
    other("BBDC-", &[Of(BASE64, 44, 44)]),
    // octopus.com/docs/octopus-rest-api.
    other_checked("API-", &[Of(UPPER_ALNUM, 25, 27)], Check::Mixed),
    // learning.postman.com.
    other("PMAK-", &[Of(HEX, 24, 24), Is("-"), Of(HEX, 34, 34)]),
    // docs.sonarsource.com: user, project analysis and global analysis tokens.
    other("squ_", &[Of(ALNUM, 40, 40)]),
    other("sqp_", &[Of(ALNUM, 40, 40)]),
    other("sqa_", &[Of(ALNUM, 40, 40)]),
    // sourcegraph.com/docs/cli/how-tos/creating_an_access_token.
    other("sgp_", &[Is("local_"), Of(ANY_HEX, 40, 40)]),
    other("sgp_", &[Of(ANY_HEX, 16, 16), Is("_"), Of(ANY_HEX, 40, 40)]),
    other("sgp_", &[Of(ANY_HEX, 40, 40)]),
    other("slk_", &[Of(HEX, 64, 64)]),
    // docs.sentry.io/account/auth-tokens.
    other("sntrys_eyJ", &[Of(BASE64, 40, 512), Is("_"), Of(BASE64, 43, 43)]),
    other("sntryu_", &[Of(HEX, 64, 64)]),
    // circleci.com/docs/managing-api-tokens.
    other("CCIPAT_", &[Of(ALNUM, 22, 22), Is("_"), Of(HEX, 40, 40)]),
    other("CCIPRJ_", &[Of(ALNUM, 22, 22), Is("_"), Of(HEX, 40, 40)]),
    // buildkite.com/docs/apis/managing-api-tokens.
    other("bkua_", &[Of(HEX, 40, 40)]),
    // docs.prefect.io.
    other("pnu_", &[Of(ALNUM, 36, 36)]),
    // docs.readme.com.
    other("rdme_", &[Of(LOWER_ALNUM, 70, 70)]),
    // figma.com/developers/api.
    other("figd_", &[Of(URL, 40, 48)]),
    // linear.app/developers.
    other("lin_api_", &[Of(ALNUM, 40, 40)]),
    other("lin_oauth_", &[Of(HEX, 64, 64)]),
    // developers.notion.com: 11 digits, 35 letters and digits.
    other("ntn_", &[Of(DIGIT, 11, 11), Of(ALNUM, 35, 35)]),
    // developer.harness.io: account, 24 hexadecimal digits, 20 characters.
    other("pat.", &[Of(URL, 22, 22), Is("."), Of(ANY_HEX, 24, 24), Is("."), Of(ALNUM, 20, 20)]),
    other("sat.", &[Of(URL, 22, 22), Is("."), Of(ANY_HEX, 24, 24), Is("."), Of(ALNUM, 20, 20)]),
];
