//! Jailbreaks: text that gives a model a part to play in which its restrictions do not hold.
//!
//! | rule | parts and their weights |
//! |---|---|
//! | names of known ones | "do anything now", "developer mode", "DAN", "jailbroken" 45; a part to play, or a mode that is on 35 |
//! | lifted | without or free of restrictions, filters, rules, ethics 45; somebody who is to be so 35 |
//! | persona | an AI that is unfiltered, uncensored, amoral 45; a part to play 35 |
//!
//! "Without restrictions" is there in English, Spanish, French, German, Italian, Portuguese, Russian and Chinese. "Do anything
//! now" alone is 80.

use super::{Anchor, Detector, Rule, mark, part, rule};

const KIND: Detector = Detector::Jailbreak;

pub(super) const ANCHORS: &[Anchor] = &[
    rule(r"(?:do anything now|developer mode|[ \x22'(]DAN[ \x22',.):!]|DAN mode|god mode|jailbr[eo])", &KNOWN),
    mark(KIND, r"\[(?:JAILBREAK|DAN|DEVELOPER MODE)(?:\]| ENABLED\])", 80),
    rule(
        r"(?:no|without|without any|zero|free of|free from|bound by|not have|have no|have no more|any) (?:ethical |moral |content |safety |usual )?(?:restrict|limitat|filter|guidel|censor|moral|ethic|constraint)",
        &LIFTED,
    ),
    rule(r"un(?:filter|censor|restrict)ed |amoral |evil (?:ai|bot|assist|twin|version)", &PERSONA),
    rule(
        r"(?:sin|sans|ohne|senza|sem) (?:[a-z]{5,9} )?(?:restri|limit|filt|censur|zensur|einschr|beschr|regeln)",
        &LIFTED_EUROPEAN,
    ),
    rule(r"без (?:[\x80-\xff\-]{4,24} )?(?:огранич|цензур|фильтр)", &LIFTED_RUSSIAN),
    rule(r"(?:没有|不受)(?:任何)?(?:限制|约束|审查)", &LIFTED_CHINESE),
];

/// Who is to play a part.
const PARTS: &[&str] = &[
    "act as",
    "pretend",
    "you are now",
    "you re now",
    "you will be",
    "roleplay",
    "role play",
    "simulate",
    "from now on",
    "respond as",
    "answer as",
    "become",
    "stay in",
    "imagine you",
    "behave as",
    "be an ",
    "you are an",
    "you are a ",
    "enabled",
    "enable ",
    "activate",
    "switch to",
    "enter ",
];

const KNOWN: Rule = Rule {
    detector: KIND,
    parts: &[
        part(45, &["do anything now", "developer mode", "dan ", "dan", "god mode", "jailbr"]),
        part(35, PARTS),
        part(35, &["do anything now"]),
    ],
};

const LIFTED: Rule = Rule {
    detector: KIND,
    parts: &[
        part(45, &["restrict", "limitat", "filter", "guidel", "censor", "moral", "ethic", "constraint"]),
        part(35, PARTS),
    ],
};

const PERSONA: Rule = Rule {
    detector: KIND,
    parts: &[part(45, &["unfiltered", "uncensored", "unrestricted", "amoral", "evil"]), part(35, PARTS)],
};

const LIFTED_EUROPEAN: Rule = Rule {
    detector: KIND,
    parts: &[
        part(45, &["restri", "limit", "filt", "censur", "zensur", "einschr", "beschr", "regeln"]),
        part(
            35,
            &[
                "actua",
                "finge",
                "eres",
                "responde",
                "hazte pasar",
                "imagina",
                "agis",
                "fais semblant",
                "tu es",
                "vous etes",
                "reponds",
                "tu so",
                "du bist",
                "verhalte",
                "antworte",
                "stell dir",
                "fingi",
                "agisci",
                "sei ",
                "rispondi",
                "immagina",
                "finja",
                "aja ",
                "voce",
                "responda",
                "imagine",
            ],
        ),
    ],
};

const LIFTED_RUSSIAN: Rule = Rule {
    detector: KIND,
    parts: &[
        part(45, &["огранич", "цензур", "фильтр"]),
        part(35, &["притвор", "ты теперь", "представь", "отвечай", "веди себя", "действуй"]),
    ],
};

const LIFTED_CHINESE: Rule = Rule {
    detector: KIND,
    parts: &[part(45, &["限制", "约束", "审查"]), part(35, &["扮演", "假装", "你现在", "你是", "回答", "充当"])],
};
