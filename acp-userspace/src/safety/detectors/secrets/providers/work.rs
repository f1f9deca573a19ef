//! Keys to messages, money, shops, mail and the rest.

use super::super::Kind;
use super::super::chars::{
    ALNUM, ANY_HEX, BASE64, DASH_X, DIGIT, HEX, LOWER_ALNUM, UPPER_ALNUM, UPPER_DASH, URL, URL_EQUALS, URL_PERCENT,
};
use super::super::token::{
    Check,
    Part::{self, Is, Maybe, Of},
    Token,
};
use super::{other, other_checked, token};

pub(in super::super) const SLACK_EXPRESSION: &str = concat!(
    r"(?:xox[abcoprs]-[0-9]{8}|(?:xoxe(?:\.xox[bp])?-[0-9]-|xapp-[0-9]-|xoxd-)[A-Za-z0-9%]{8}|",
    r"hooks\.slack\.com/(?:services|workflows)/T[A-Z0-9]{7})"
);

/// The id of a team or a bot, and at least one part more.
const SLACK_BODY: &[Part] = &[Of(DIGIT, 8, 14), Is("-"), Of(URL, 10, 160)];

/// docs.slack.dev/authentication/tokens, with those that are no longer issued ("legacy tokens") and configuration
/// tokens (`xoxe`); docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
pub(in super::super) const SLACK: &[Token] = &[
    token(Kind::SlackToken, "xoxa-", SLACK_BODY),
    token(Kind::SlackToken, "xoxb-", SLACK_BODY),
    token(Kind::SlackToken, "xoxc-", SLACK_BODY),
    token(Kind::SlackToken, "xoxo-", SLACK_BODY),
    token(Kind::SlackToken, "xoxp-", SLACK_BODY),
    token(Kind::SlackToken, "xoxr-", SLACK_BODY),
    token(Kind::SlackToken, "xoxs-", SLACK_BODY),
    token(Kind::SlackToken, "xoxd-", &[Of(URL_PERCENT, 60, 300)]),
    token(Kind::SlackToken, "xoxe-1-", &[Of(ALNUM, 100, 260)]),
    token(Kind::SlackToken, "xoxe.xoxp-1-", &[Of(ALNUM, 100, 260)]),
    token(Kind::SlackToken, "xoxe.xoxb-1-", &[Of(ALNUM, 100, 260)]),
    token(
        Kind::SlackToken,
        "xapp-1-",
        &[Is("A"), Of(UPPER_ALNUM, 8, 14), Is("-"), Of(DIGIT, 8, 16), Is("-"), Of(HEX, 64, 64)],
    ),
    token(Kind::SlackToken, "hooks.slack.com/services/", WEBHOOK),
    token(Kind::SlackToken, "hooks.slack.com/workflows/", WEBHOOK),
];

/// Team, app or workflow, and key.
const WEBHOOK: &[Part] =
    &[Is("T"), Of(UPPER_ALNUM, 7, 14), Is("/"), Of(UPPER_ALNUM, 8, 14), Is("/"), Of(ALNUM, 20, 48)];

pub(in super::super) const STRIPE_EXPRESSION: &str = r"(?:[sr]k_(?:live|test|prod)_|whsec_)[A-Za-z0-9]{8}";

/// docs.stripe.com/keys: secret and restricted keys; publishable ones (`pk_`) are none. docs.stripe.com/webhooks.
pub(in super::super) const STRIPE: &[Token] = &[
    token(Kind::StripeKey, "sk_live_", &[Of(ALNUM, 24, 247)]),
    token(Kind::StripeKey, "sk_test_", &[Of(ALNUM, 24, 247)]),
    token(Kind::StripeKey, "sk_prod_", &[Of(ALNUM, 24, 247)]),
    token(Kind::StripeKey, "rk_live_", &[Of(ALNUM, 24, 247)]),
    token(Kind::StripeKey, "rk_test_", &[Of(ALNUM, 24, 247)]),
    token(Kind::StripeKey, "rk_prod_", &[Of(ALNUM, 24, 247)]),
    token(Kind::StripeKey, "whsec_", &[Of(BASE64, 32, 64)]),
];

pub(in super::super) const OTHER_EXPRESSION: &str = concat!(
    r"(?:SG\.|xkeysib-|xsmtpsib-|shp(?:at|ca|pa|ss)_|sq0(?:atp|csp)-|duffel_(?:live|test)_|FLWSECK(?:_TEST)?-|",
    r"shippo_(?:live|test)_|EZ[AT]K|fio-u-|p8e-|tfp_|s-s4t2(?:ud|af)-|ops_eyJ|A3-|EAACEdEose0cBA|sm_aat_|",
    r"access-(?:production|sandbox|development)-|key-|secret_)[A-Za-z0-9_\-]{8}"
);

pub(in super::super) const OTHER: &[Token] = &[
    // docs.sendgrid.com/ui/account-and-settings/api-keys: id and secret.
    other("SG.", &[Of(URL, 22, 22), Is("."), Of(URL, 43, 43)]),
    // developers.brevo.com.
    other("xkeysib-", &[Of(HEX, 64, 64), Is("-"), Of(ALNUM, 16, 16)]),
    other("xsmtpsib-", &[Of(HEX, 64, 64), Is("-"), Of(ALNUM, 16, 16)]),
    // shopify.dev/changelog, "Length of the Shopify access token is increasing".
    other("shpat_", &[Of(ALNUM, 32, 38)]),
    other("shpca_", &[Of(ALNUM, 32, 38)]),
    other("shppa_", &[Of(ALNUM, 32, 38)]),
    other("shpss_", &[Of(ALNUM, 32, 38)]),
    // developer.squareup.com/docs/build-basics/access-tokens.
    other("sq0atp-", &[Of(URL, 22, 22)]),
    other("sq0csp-", &[Of(URL, 43, 43)]),
    // duffel.com/docs; developer.flutterwave.com; docs.goshippo.com; docs.easypost.com.
    other("duffel_live_", &[Of(URL_EQUALS, 43, 43)]),
    other("duffel_test_", &[Of(URL_EQUALS, 43, 43)]),
    other("FLWSECK-", &[Of(LOWER_ALNUM, 32, 32), Maybe(DASH_X, 2)]),
    other("FLWSECK_TEST-", &[Of(LOWER_ALNUM, 12, 32), Maybe(DASH_X, 2)]),
    other("shippo_live_", &[Of(HEX, 40, 40)]),
    other("shippo_test_", &[Of(HEX, 40, 40)]),
    other("EZAK", &[Of(ALNUM, 54, 54)]),
    other("EZTK", &[Of(ALNUM, 54, 54)]),
    // developer.frame.io; developer.adobe.com (client secrets); typeform.com/developers.
    other("fio-u-", &[Of(URL, 64, 64)]),
    other("p8e-", &[Of(URL, 32, 32)]),
    other("tfp_", &[Of(URL, 59, 59)]),
    // api.intra.42.fr: application and user secrets.
    other("s-s4t2ud-", &[Of(HEX, 64, 64)]),
    other("s-s4t2af-", &[Of(HEX, 64, 64)]),
    // developer.1password.com/docs/service-accounts, and the secret key of an account ("A3-" and six groups).
    other("ops_eyJ", &[Of(BASE64, 247, 2048)]),
    other(
        "A3-",
        &[
            Of(UPPER_ALNUM, 6, 6),
            Is("-"),
            Of(UPPER_ALNUM, 6, 6),
            Is("-"),
            Of(UPPER_ALNUM, 5, 5),
            Is("-"),
            Of(UPPER_ALNUM, 5, 5),
            Is("-"),
            Of(UPPER_ALNUM, 5, 5),
            Is("-"),
            Of(UPPER_ALNUM, 5, 5),
        ],
    ),
    other("A3-", &[Of(UPPER_ALNUM, 6, 6), Is("-"), Of(UPPER_ALNUM, 11, 11), Is("-"), Of(UPPER_DASH, 17, 17)]),
    // developers.facebook.com: page access tokens of the early Graph API.
    other("EAACEdEose0cBA", &[Of(ALNUM, 40, 300)]),
    // settlemint.com; plaid.com/docs (a UUID).
    other("sm_aat_", &[Of(ALNUM, 16, 16)]),
    other("access-production-", UUID),
    other("access-sandbox-", UUID),
    other("access-development-", UUID),
    // documentation.mailgun.com; developers.notion.com (older): forms that others have too.
    other_checked("key-", &[Of(ANY_HEX, 32, 32)], Check::Named),
    other_checked("secret_", &[Of(ALNUM, 43, 43)], Check::Mixed),
];

const UUID: &[Part] =
    &[Of(HEX, 8, 8), Is("-"), Of(HEX, 4, 4), Is("-"), Of(HEX, 4, 4), Is("-"), Of(HEX, 4, 4), Is("-"), Of(HEX, 12, 12)];
