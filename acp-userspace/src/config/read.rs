//! From TOML values to Rust values, noting every mistake and going on.
//!
//! Serde stops at the first thing it cannot read; an operator wants all of them. So the file is parsed into a tree
//! with spans and this module walks it: each type says how it is read ([`FromToml`]), and [`section!`] declares a
//! table's keys once, with meaning, default and reason. The same declaration is the struct, the reader, the list of
//! known keys (anything else is a mistake) and the reference in docs/configuration.md.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::mistake::{At, Collector};
use super::resolved::Cidr;
use super::units;

/// Bytes of a string value: longer ones are not names, URLs or paths.
const STRING_BYTES_MAX: usize = 4096;

/// Elements of a list, sections included.
const LIST_MAX: usize = 10_000;

/// What a key has when the file does not mention it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// That is a mistake.
    Required,
    /// Nothing: the type is an `Option`.
    Absent,
    /// This TOML value, read as if it stood in the file.
    Toml(&'static str),
}

/// One key of a section, for reading and for the reference.
#[derive(Debug)]
pub(super) struct KeyInfo {
    pub(super) ident: &'static str,
    pub(super) type_name: fn() -> String,
    /// The keys of the section or sections it holds.
    pub(super) keys: &'static [KeyInfo],
    pub(super) default: Fallback,
    pub(super) meaning: &'static str,
    /// Why the default is what it is; for an absent one, what stands in for it.
    pub(super) why: &'static str,
}

impl KeyInfo {
    /// The key as the file has it (Rust's reserved words are raw identifiers here).
    pub(super) fn name(&self) -> &'static str {
        self.ident.strip_prefix("r#").unwrap_or(self.ident)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Key<T> {
    pub(super) value: T,
    pub(super) at: At,
}

impl<T> Deref for Key<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A type that can be read from a TOML value.
pub(super) trait FromToml: Sized {
    /// The keys below, if it is a section or a list of them.
    const KEYS: &'static [KeyInfo] = &[];

    /// The type's name in the reference.
    fn type_name() -> String;

    /// Reads `value`, or notes why it cannot be read.
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self>;

    /// What stands in for a value that cannot be read, so that the rest of the file is looked at all the same. It is
    /// never used: the mistake is noted. `at` is where the value would stand.
    fn stand_in(at: &At) -> Self;
}

/// Reads one key of a section. What cannot be read is noted, and something stands in for it.
pub(super) fn key<T: FromToml>(table: &DeTable<'_>, at: &At, info: &KeyInfo, found: &mut Collector) -> Key<T> {
    let name = info.name();
    let entry = table.iter().find(|(key, _)| key.get_ref().as_ref() == name);
    if let Some((_, value)) = entry {
        return read_or_stand_in(value.get_ref(), at.child(name, value.span()), found);
    }
    let at = At { default: true, ..at.child(name, at.span.clone()) };
    match info.default {
        Fallback::Required => {
            found.add(&at, format!("is missing; {}", info.meaning.trim()));
            found.unread(&at);
            Key { value: T::stand_in(&at), at }
        }
        // Only options are declared so.
        Fallback::Absent => Key { value: T::stand_in(&at), at },
        Fallback::Toml(text) => {
            let value = DeValue::parse(text).expect("defaults are TOML, as a test of the whole table checks");
            read_or_stand_in(value.get_ref(), at, found)
        }
    }
}

fn read_or_stand_in<T: FromToml>(value: &DeValue<'_>, at: At, found: &mut Collector) -> Key<T> {
    match T::read(value, &at, found) {
        Some(value) => Key { value, at },
        None => {
            found.unread(&at);
            Key { value: T::stand_in(&at), at }
        }
    }
}

/// Notes every key of `table` that is not in `keys`.
pub(super) fn known(table: &DeTable<'_>, at: &At, keys: &[KeyInfo], found: &mut Collector) {
    /// Where people put secrets (THREATS B10).
    const SECRETS: [&str; 8] = ["secret", "token", "password", "api_key", "apikey", "key", "value", "client_secret"];
    for (key, _) in table {
        let name = key.get_ref().as_ref();
        if keys.iter().any(|known| known.name() == name) {
            continue;
        }
        let at = at.child(&printable(name), key.span());
        if SECRETS.contains(&name) {
            found.add(&at, "secrets do not belong in this file; name a `file` or a systemd `credential` that holds it");
        } else {
            let names: Vec<_> = keys.iter().map(KeyInfo::name).collect();
            found.add(&at, format!("is unknown; known here: {}", names.join(", ")));
        }
    }
}

/// A caller-chosen name without control characters, cut short.
fn printable(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Declares a section: `key: Type = default, "why";` after the key's meaning as a doc comment.
macro_rules! section {
    ($(#[$attr:meta])* $name:ident {
        $($(#[doc = $meaning:literal])+ $field:ident: $ty:ty = $default:expr, $why:literal;)+
    }) => {
        $(#[$attr])*
        #[derive(Debug)]
        pub(super) struct $name {
            /// Where the section stands.
            #[allow(dead_code, reason = "not every section is the subject of a mistake")]
            pub(super) at: $crate::config::mistake::At,
            $($(#[doc = $meaning])+ pub(super) $field: $crate::config::read::Key<$ty>,)+
        }

        impl $crate::config::read::FromToml for $name {
            const KEYS: &'static [$crate::config::read::KeyInfo] = &[$($crate::config::read::KeyInfo {
                ident: stringify!($field),
                type_name: <$ty as $crate::config::read::FromToml>::type_name,
                keys: <$ty as $crate::config::read::FromToml>::KEYS,
                default: $default,
                meaning: concat!($($meaning,)+),
                why: $why,
            },)+];

            fn type_name() -> String {
                "section".to_owned()
            }

            fn read(
                value: &toml::de::DeValue<'_>,
                at: &$crate::config::mistake::At,
                found: &mut $crate::config::mistake::Collector,
            ) -> Option<Self> {
                let Some(table) = value.as_table() else {
                    found.add(at, "has to be a section, that is, a table of keys");
                    return None;
                };
                $crate::config::read::known(table, at, Self::KEYS, found);
                let mut keys = Self::KEYS.iter();
                $(let $field = $crate::config::read::key(table, at, keys.next()?, found);)+
                Some(Self { at: at.clone(), $($field,)+ })
            }

            fn stand_in(at: &$crate::config::mistake::At) -> Self {
                Self {
                    $($field: $crate::config::read::Key {
                        value: <$ty as $crate::config::read::FromToml>::stand_in(at),
                        at: at.clone(),
                    },)+
                    at: at.clone(),
                }
            }
        }
    };
}
pub(super) use section;

/// Declares how one of several words is read.
macro_rules! choice {
    ($ty:ty: $($word:literal => $value:expr),+ $(,)?) => {
        impl $crate::config::read::FromToml for $ty {
            fn type_name() -> String {
                [$(concat!("`\"", $word, "\"`"),)+].join(" \\| ")
            }
            fn read(
                value: &toml::de::DeValue<'_>,
                at: &$crate::config::mistake::At,
                found: &mut $crate::config::mistake::Collector,
            ) -> Option<Self> {
                match value.as_str() {
                    $(Some($word) => Some($value),)+
                    _ => {
                        let words = [$(concat!("\"", $word, "\""),)+].join(", ");
                        found.add(at, format!("has to be one of {words}"));
                        None
                    }
                }
            }
            fn stand_in(_: &$crate::config::mistake::At) -> Self {
                let [first, ..] = [$($value,)+];
                first
            }
        }
    };
}
pub(super) use choice;

impl<T: FromToml> FromToml for Option<T> {
    const KEYS: &'static [KeyInfo] = T::KEYS;
    fn type_name() -> String {
        T::type_name()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        T::read(value, at, found).map(Some)
    }
    fn stand_in(_: &At) -> Self {
        None
    }
}

impl<T: FromToml> FromToml for Vec<Key<T>> {
    const KEYS: &'static [KeyInfo] = T::KEYS;
    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        let Some(elements) = value.as_array() else {
            let wanted =
                if T::KEYS.is_empty() { "a list, as in [\"a\", \"b\"]" } else { "a list of sections, [[…]]" };
            found.add(at, format!("has to be {wanted}"));
            return None;
        };
        if elements.len() > LIST_MAX {
            found.add(at, format!("has more than {LIST_MAX} elements"));
            return None;
        }
        let read = |(index, element): (usize, &toml::Spanned<DeValue<'_>>)| {
            read_or_stand_in(element.get_ref(), at.element(index, element.span()), found)
        };
        Some(elements.iter().enumerate().map(read).collect())
    }
    fn stand_in(_: &At) -> Self {
        Self::new()
    }
}

impl FromToml for bool {
    fn type_name() -> String {
        "true \\| false".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        let read = value.as_bool();
        found.expect(read.is_some(), at, || "has to be true or false, without quotes".to_owned());
        read
    }
    fn stand_in(_: &At) -> Self {
        false
    }
}

impl FromToml for u64 {
    fn type_name() -> String {
        "number".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        let read = value.as_integer().and_then(|n| Self::from_str_radix(n.as_str(), n.radix()).ok());
        found.expect(read.is_some(), at, || "has to be a whole number of 0 or more, without quotes".to_owned());
        read
    }
    fn stand_in(_: &At) -> Self {
        0
    }
}

impl FromToml for String {
    fn type_name() -> String {
        "text".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        let Some(text) = value.as_str() else {
            found.add(at, "has to be text in quotes");
            return None;
        };
        let plain = text.len() <= STRING_BYTES_MAX && !text.chars().any(char::is_control);
        found.expect(plain, at, || format!("has control characters or more than {STRING_BYTES_MAX} bytes"));
        plain.then(|| text.to_owned())
    }
    fn stand_in(_: &At) -> Self {
        Self::new()
    }
}

/// Reads text that has a grammar of its own.
fn parsed<T>(
    value: &DeValue<'_>,
    at: &At,
    found: &mut Collector,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = String::read(value, at, found)?;
    parse(&text).map_err(|advice| found.add(at, advice)).ok()
}

impl FromToml for Duration {
    fn type_name() -> String {
        "duration".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        if let Some(number) = value.as_integer() {
            found.add(at, format!("has no unit; write \"{number}s\" for seconds"));
            return None;
        }
        parsed(value, at, found, units::duration)
    }
    fn stand_in(_: &At) -> Self {
        Self::ZERO
    }
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

impl FromToml for Size {
    fn type_name() -> String {
        "size".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        if let Some(number) = value.as_integer() {
            found.add(at, format!("has no unit; write \"{number} B\" for bytes"));
            return None;
        }
        parsed(value, at, found, units::size).map(Self)
    }
    fn stand_in(_: &At) -> Self {
        Self(0)
    }
}

/// Pico-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Money(pub(super) u128);

impl FromToml for Money {
    fn type_name() -> String {
        "money".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        if value.is_integer() || value.is_float() {
            found.add(at, "has no currency; write it in quotes, as in \"500 USD\"");
            return None;
        }
        parsed(value, at, found, units::money).map(Self)
    }
    fn stand_in(_: &At) -> Self {
        // Not nothing: a budget is not pointless because its tool's price cannot be read.
        Self(1)
    }
}

impl FromToml for Cidr {
    fn type_name() -> String {
        "CIDR".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        parsed(value, at, found, units::cidr)
    }
    fn stand_in(_: &At) -> Self {
        Self { address: Ipv4Addr::UNSPECIFIED.into(), prefix: 32 }
    }
}

impl FromToml for SocketAddr {
    fn type_name() -> String {
        "address:port".to_owned()
    }
    fn read(value: &DeValue<'_>, at: &At, found: &mut Collector) -> Option<Self> {
        parsed(value, at, found, |text| {
            text.parse().map_err(|_| {
                format!("{text:?} is no address; write IP address and port, as in \"127.0.0.1:9900\" or \"[::]:8443\"")
            })
        })
    }
    fn stand_in(_: &At) -> Self {
        Self::from((Ipv4Addr::UNSPECIFIED, 0))
    }
}
