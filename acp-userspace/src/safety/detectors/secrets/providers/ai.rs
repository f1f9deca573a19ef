//! Keys to models. OpenAI's are found by the mark in their middle (`super::super::marked`).

use super::super::Kind;
use super::super::chars::{ALNUM, HEX, LETTER, LOWER_ALNUM, URL};
use super::super::token::{Check, Part::Is, Part::Of, Token};
use super::{checked, other, other_checked};

pub(in super::super) const ANTHROPIC_EXPRESSION: &str = r"sk-ant-[A-Za-z0-9_\-]{8}";

/// docs.anthropic.com, "API and Admin keys": `sk-ant-`, what it is for, its version, and 95 characters that end in `AA`.
/// Longer ones (OAuth tokens) are taken by form.
pub(in super::super) const ANTHROPIC: &[Token] = &[
    checked(Kind::AnthropicKey, "sk-ant-", &[Of(LOWER_ALNUM, 5, 8), Is("-"), Of(URL, 95, 95)], Check::Ends("AA")),
    checked(Kind::AnthropicKey, "sk-ant-", &[Of(LOWER_ALNUM, 5, 8), Is("-"), Of(URL, 96, 160)], Check::Form),
];

pub(in super::super) const OTHER_EXPRESSION: &str = concat!(
    r"(?:hf_|api_org_|gsk_|pplx-|xai-|r8_|nvapi-|sk-or-v1-|lsv2_[ps][tk]_|tvly-|jina_|pcsk_|sk-lf-)",
    r"[A-Za-z0-9_\-]{8}"
);

pub(in super::super) const OTHER: &[Token] = &[
    // huggingface.co/docs/hub/security-tokens.
    other("hf_", &[Of(ALNUM, 34, 37)]),
    other("api_org_", &[Of(LETTER, 34, 34)]),
    // console.groq.com/docs.
    other("gsk_", &[Of(ALNUM, 52, 52)]),
    // docs.perplexity.ai.
    other("pplx-", &[Of(ALNUM, 48, 48)]),
    // docs.x.ai.
    other("xai-", &[Of(ALNUM, 80, 80)]),
    // replicate.com/docs/topics/security/api-tokens.
    other("r8_", &[Of(ALNUM, 37, 37)]),
    // docs.nvidia.com/nim.
    other("nvapi-", &[Of(URL, 60, 70)]),
    // openrouter.ai/docs.
    other("sk-or-v1-", &[Of(HEX, 64, 64)]),
    // docs.smith.langchain.com: personal and service keys.
    other("lsv2_pt_", &[Of(HEX, 32, 32), Is("_"), Of(HEX, 10, 10)]),
    other("lsv2_sk_", &[Of(HEX, 32, 32), Is("_"), Of(HEX, 10, 10)]),
    // docs.tavily.com.
    other_checked("tvly-", &[Of(URL, 32, 64)], Check::Mixed),
    // jina.ai: 32 hexadecimal digits and 28 more characters.
    other("jina_", &[Of(HEX, 32, 32), Of(URL, 28, 28)]),
    // docs.pinecone.io.
    other_checked("pcsk_", &[Of(ALNUM, 5, 6), Is("_"), Of(ALNUM, 60, 64)], Check::Form),
    // langfuse.com/docs: a UUID.
    other(
        "sk-lf-",
        &[
            Of(HEX, 8, 8),
            Is("-"),
            Of(HEX, 4, 4),
            Is("-"),
            Of(HEX, 4, 4),
            Is("-"),
            Of(HEX, 4, 4),
            Is("-"),
            Of(LOWER_ALNUM, 12, 12),
        ],
    ),
];
