//! The reference of all keys, rendered from their declarations: docs/configuration.md holds it, `acp check --keys`
//! prints it, and a test keeps the two equal.

use super::raw::File;
use super::read::{Fallback, FromToml, KeyInfo};

/// All keys as Markdown, one table per section.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for section in File::KEYS {
        table(&mut out, section.name(), section);
    }
    out
}

/// The table of one section, then those of the sections in it.
fn table(out: &mut String, path: &str, section: &KeyInfo) {
    let repeated = (section.type_name)().starts_with("list");
    let header = if repeated { format!("[[{path}]]") } else { format!("[{path}]") };
    out.push_str(&format!("## `{header}`\n\n{}\n\n", one_line(section.meaning)));
    let keys: Vec<_> = section.keys.iter().filter(|key| key.keys.is_empty()).collect();
    if !keys.is_empty() {
        out.push_str("| key | type | default | meaning | why |\n|---|---|---|---|---|\n");
    }
    for key in &keys {
        let (default, why) = match key.default {
            Fallback::Required => ("required".to_owned(), key.why),
            // Without a value of its own, the reason says what stands in for it.
            Fallback::Absent => (if key.why.is_empty() { "none" } else { key.why }.to_owned(), ""),
            Fallback::Toml(text) => (format!("`{text}`"), key.why),
        };
        let (name, ty, meaning) = (key.name(), (key.type_name)(), one_line(key.meaning));
        out.push_str(&format!("| `{name}` | {ty} | {default} | {meaning} | {why} |\n"));
    }
    if !keys.is_empty() {
        out.push('\n');
    }
    for below in section.keys.iter().filter(|key| !key.keys.is_empty()) {
        table(out, &format!("{path}.{}", below.name()), below);
    }
}

/// The text of a doc comment: its lines come with a leading space each.
fn one_line(meaning: &str) -> String {
    meaning.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::mistake::{At, Collector};
    use super::super::raw;
    use super::*;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    const BEGIN: &str = "<!-- reference: begin -->\n";
    const END: &str = "<!-- reference: end -->\n";

    #[test]
    fn the_documentation_holds_every_key() {
        let docs = std::fs::read_to_string(DOCS).unwrap();
        let (before, rest) = docs.split_once(BEGIN).expect("the begin mark");
        let (now, after) = rest.split_once(END).expect("the end mark");
        if std::env::var_os("ACP_BLESS").is_some() {
            std::fs::write(DOCS, format!("{before}{BEGIN}{}{END}{after}", reference())).unwrap();
        } else {
            assert!(now == reference(), "docs/configuration.md is out of date; run this test with ACP_BLESS=1");
        }
    }

    /// Every key's default is TOML that its own type accepts; [`super::super::read::key`] relies on it.
    #[test]
    fn every_default_can_be_read() {
        fn visit(keys: &[KeyInfo]) {
            for key in keys {
                if let Fallback::Toml(text) = key.default {
                    assert!(toml::de::DeValue::parse(text).is_ok(), "{}: {text}", key.name());
                }
                visit(key.keys);
            }
        }
        visit(File::KEYS);
        let minimal = "[listen]\naddress = \"127.0.0.1:0\"\npublic_url = \"http://h\"\n\
            [[identity.issuer]]\nissuer = \"i\"\naudience = []\n\
            [[safety.rule]]\ndetect = []\naction = \"flag\"\n\
            [[usage.rate_limit]]\nper = \"user\"\nrequests = 1\nwindow = \"1m\"\n\
            [[usage.budget]]\nper = \"user\"\nmax_spend = \"1 USD\"\n\
            [usage.loop_guard]\nidentical_calls = 2\nwindow = \"1m\"\n\
            [[upstream]]\nname = \"u\"\nurl = \"http://h\"\n\
            [[route]]\npath = \"/\"\nupstream = \"u\"\n[[route.tool]]\nname = \"t\"\nverb = \"v\"\n\
            [[kernel.source]]\ncidr = \"::1\"\ntenant = \"t\"\n";
        let table = toml::de::DeValue::Table(toml::de::DeTable::parse(minimal).unwrap().into_inner());
        let mut found = Collector::default();
        let file = raw::File::read(&table, &At::default(), &mut found);
        assert!(file.is_some(), "{}", found.finish("minimal", minimal));
    }
}
