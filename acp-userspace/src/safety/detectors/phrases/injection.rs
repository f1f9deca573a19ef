//! Prompt injection: text that speaks to the model over the heads of those who set it up (OWASP LLM01:2025).
//!
//! | rule | parts and their weights |
//! |---|---|
//! | override | a verb (ignore, disregard, forget …) 30, whose or which (your, previous, all …) 25, instructions, rules, a prompt 35, or everything, the context 20 |
//! | reveal | a prompt or instructions that are the system's 35, a verb (show, repeat, print …) 40, how (verbatim, in full) 10 |
//! | conceal | not telling or asking 40, the user 35 |
//! | replace | new or real instructions 40, to be followed from now on 35 |
//! | marks of chat templates | 80; `[INST]` 75 |
//!
//! Override is there in English, Spanish, French, German, Italian, Portuguese, Dutch, Polish, Russian, Chinese, Japanese and
//! Korean, the others in English. The stems are those of the public collections of attacks named in OWASP's entry, read
//! for what they have in common.

use super::{Anchor, Detector, Rule, mark, part, rule};

const KIND: Detector = Detector::PromptInjection;

pub(super) const ANCHORS: &[Anchor] = &[
    rule(r"(?:[i1l!|]gn[o0]r|d[i1!]sr[e3]g[a4@]rd|f[o0]rg[e3]t|[o0]v[e3]rr[i1!]d|byp[a4@]s)", &ENGLISH),
    // With i and o of other alphabets.
    rule(r"(?:i|\xd1\x96)gn(?:o|\xd0\xbe|\xce\xbf)r", &ENGLISH),
    rule(
        r"(?:ignora|olvid|oubli|n.{1,2}glige|vergiss|ignorier|missachte|dimentica|esque|desconsider)",
        &ROMANCE_GERMAN,
    ),
    rule(r"(?:negeer|vergeet|zignoruj|zapomnij)", &DUTCH_POLISH),
    rule(r"(?:гнорируй|абудь|абудьте|ренебреги)", &RUSSIAN),
    rule(r"(?:忽略|忘记|忘掉|无视|忽視|無視|忘れ|무시)", &EAST_ASIAN),
    rule(
        r"(?:system|initial|hidden|secret|original|your|above|developer)[ _\-]{1,3}(?:prompt|instruct|message|guidel|directi)",
        &REVEAL,
    ),
    rule(r"(?:not|n't|never|without) (?:tell|inform|mention|alert|notify|ask|warn)", &CONCEAL),
    rule(r"(?:new|real|updated|actual|true) (?:instruct|system p|directi|objecti|orders)", &REPLACE),
    mark(KIND, r"<\|(?:im_start|im_end|system|endofprompt|begin_of_text|start_header_id)\|>", 80),
    mark(KIND, r"<</?SYS>>", 80),
    mark(KIND, r"\[/?INST\]", 75),
    mark(KIND, r"#{2,4} ?(?:system|instruction)s?:", 75),
];

const ENGLISH: Rule = Rule {
    detector: KIND,
    parts: &[
        part(30, &["ignor", "disregard", "forget", "overrid", "bypass"]),
        part(
            25,
            &[
                "previous",
                "prior",
                "above",
                "earlier",
                "preceding",
                "foregoing",
                "your",
                "all ",
                "any ",
                "every ",
                "these",
                "those",
                "original",
                "initial",
                "system",
                "existing",
                "you were",
                "you have",
            ],
        ),
        part(
            35,
            &[
                "instruction",
                "prompt",
                "direction",
                "directive",
                "guideline",
                "rule",
                "command",
                "order",
                "constraint",
                "programming",
                "training",
                "safeguard",
                "polic",
                "restriction",
            ],
        ),
        part(20, &["everything", "anything", "context", "conversation", "message", "text", "what you", "told"]),
    ],
};

const ROMANCE_GERMAN: Rule = Rule {
    detector: KIND,
    parts: &[
        part(
            30,
            &[
                "ignora",
                "ignore",
                "olvid",
                "oubli",
                "neglige",
                "vergiss",
                "ignorier",
                "missachte",
                "dimentica",
                "esquec",
                "desconsider",
            ],
        ),
        part(
            25,
            &[
                "anterior",
                "previ",
                "tod",
                "tus",
                "sus",
                "suas",
                "seu",
                "precedent",
                "ci dessus",
                "tout",
                "vos",
                "tes",
                "alle",
                "vorherig",
                "bisherig",
                "obig",
                "deine",
                "ihre",
                "tutt",
                "tue",
                "sopra",
                "acima",
                "arriba",
            ],
        ),
        part(
            35,
            &[
                "instruc",
                "instruk",
                "istruzion",
                "indicacion",
                "regla",
                "regle",
                "regra",
                "regol",
                "consigne",
                "anweisung",
                "regeln",
                "vorgaben",
                "ordenes",
                "prompt",
                "directiv",
                "directriz",
                "direttiv",
                "richtlinie",
            ],
        ),
    ],
};

const DUTCH_POLISH: Rule = Rule {
    detector: KIND,
    parts: &[
        part(30, &["negeer", "vergeet", "zignoruj", "zapomnij"]),
        part(
            25,
            &["alle", "vorige", "eerdere", "bovenstaande", "je ", "uw ", "wszystk", "poprzedni", "swoje", "powyzsz"],
        ),
        part(35, &["instructie", "regels", "opdracht", "prompt", "instrukcj", "polecen", "zasad"]),
    ],
};

const RUSSIAN: Rule = Rule {
    detector: KIND,
    parts: &[
        part(30, &["игнорируй", "проигнорируй", "забудь", "пренебреги"]),
        part(25, &["все ", "всё", "предыдущ", "прошлы", "свои", "твои", "ваши", "выше"]),
        part(35, &["инструкци", "указани", "правил", "промпт", "команд", "ограничени"]),
    ],
};

const EAST_ASIAN: Rule = Rule {
    detector: KIND,
    parts: &[
        part(30, &["忽略", "忘记", "忘掉", "无视", "忽視", "無視", "忘れ", "무시"]),
        part(
            25,
            &[
                "之前",
                "以前",
                "上面",
                "上述",
                "所有",
                "你的",
                "先前",
                "全て",
                "すべて",
                "これまで",
                "上記",
                "이전",
                "모든",
                "위의",
            ],
        ),
        part(
            35,
            &[
                "指令",
                "指示",
                "提示",
                "规则",
                "規則",
                "要求",
                "命令",
                "プロンプト",
                "ルール",
                "지시",
                "명령",
                "규칙",
                "프롬프트",
            ],
        ),
    ],
};

const REVEAL: Rule = Rule {
    detector: KIND,
    parts: &[
        part(
            35,
            &[
                "system prompt",
                "system message",
                "system instruct",
                "initial prompt",
                "initial instruct",
                "hidden prompt",
                "hidden instruct",
                "secret prompt",
                "secret instruct",
                "original prompt",
                "original instruct",
                "your prompt",
                "your instruct",
                "your guidel",
                "your directi",
                "above instruct",
                "above prompt",
                "developer message",
                "developer prompt",
                "developer instruct",
                "your initial",
                "your system",
            ],
        ),
        part(
            40,
            &[
                "reveal",
                "show",
                "print",
                "repeat",
                "output",
                "display",
                "tell",
                "give",
                "leak",
                "dump",
                "expose",
                "disclose",
                "write",
                "copy",
                "paste",
                "translate",
                "summar",
                "what is",
                "what are",
                "what was",
                "what were",
                "recite",
            ],
        ),
        part(
            10,
            &["verbatim", "word for word", "exact", "full", "entire", "complete", "everything", "in a code block"],
        ),
    ],
};

const CONCEAL: Rule = Rule {
    detector: KIND,
    parts: &[
        part(
            40,
            &[
                "not tell",
                "not inform",
                "not mention",
                "not alert",
                "not notify",
                "not ask",
                "not warn",
                "t tell",
                "t inform",
                "t mention",
                "t alert",
                "t notify",
                "t ask",
                "t warn",
                "never tell",
                "never inform",
                "never mention",
                "without tell",
                "without inform",
                "without mention",
                "without alert",
                "without notify",
                "without ask",
                "without warn",
            ],
        ),
        part(35, &["the user", "your user", "the human", "the operator", "the customer", "the owner"]),
    ],
};

const REPLACE: Rule = Rule {
    detector: KIND,
    parts: &[
        part(
            40,
            &[
                "new instruct",
                "real instruct",
                "updated instruct",
                "actual instruct",
                "true instruct",
                "new system p",
                "new directi",
                "new objecti",
                "real objecti",
                "new orders",
                "true objecti",
                "actual objecti",
            ],
        ),
        part(35, &["follow", "obey", "from now on", "instead", "execute", "you must", "are as follows", "your new"]),
    ],
};
