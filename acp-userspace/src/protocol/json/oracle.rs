//! serde_json as a second reader, which the walk has to agree with.

use serde_json::Value;

use super::{Kind, Node, Number};

/// The walk and serde_json read the same value.
#[track_caller]
pub(super) fn same(node: Node<'_>, value: &Value) {
    match value {
        Value::Null => assert_eq!(node.kind(), Kind::Null),
        Value::Bool(bool) => assert_eq!(node.kind(), Kind::Bool(*bool)),
        Value::String(text) => assert_eq!(node.as_str(), Some(text.as_str())),
        Value::Number(number) => match node.number().expect("a number") {
            Number::Int(int) if node.token() != "-0" => assert_eq!(number.as_i64(), Some(int)),
            Number::Decimal(scaled) => {
                let float = number.as_f64().expect("a float");
                assert!((float * 1e4 - scaled as f64).abs() <= float.abs() * 1e-6, "{} {scaled}", node.token());
            }
            _ => {}
        },
        Value::Array(items) => {
            assert_eq!(node.kind(), Kind::Array);
            assert_eq!(node.items().count(), items.len());
            node.items().zip(items).for_each(|(node, item)| same(node, item));
        }
        Value::Object(members) => {
            assert_eq!(node.kind(), Kind::Object);
            assert_eq!(node.members().count(), members.len());
            for (key, member) in node.members() {
                same(member, &members[key.text().expect("keys have text")]);
            }
        }
    }
}

/// Whether some object of `body` has a key twice, by a reader that keeps both.
pub(super) fn has_duplicates(body: &str) -> bool {
    struct Strict;
    impl<'de> serde::Deserialize<'de> for Strict {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Visitor).map(|()| Self)
        }
    }
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }
        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }
        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }
        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }
        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }
        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            while items.next_element::<Strict>()?.is_some() {}
            Ok(())
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            let mut keys = std::collections::HashSet::new();
            while let Some((key, _)) = members.next_entry::<String, Strict>()? {
                if !keys.insert(key) {
                    return Err(serde::de::Error::custom("twice"));
                }
            }
            Ok(())
        }
    }
    serde_json::from_str::<Strict>(body).is_err_and(|error| error.is_data())
}
