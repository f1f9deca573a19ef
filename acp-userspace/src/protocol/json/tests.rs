use proptest::prelude::*;
use serde_json::Value;

use super::oracle::{has_duplicates, same};
use super::*;

#[track_caller]
fn refuses(body: &[u8], expected: JsonError) {
    let mut walker = Walker::new();
    assert_eq!(walker.walk(body, &Limits::default()).map(|_| ()), Err(expected), "{}", String::from_utf8_lossy(body));
}

#[track_caller]
fn accepts(body: &[u8]) {
    let mut walker = Walker::new();
    let document = walker.walk(body, &Limits::default()).expect("valid");
    same(document.root(), &serde_json::from_slice(body).expect("serde_json agrees"));
}

/// The walk and simd-json, a third reader, see the same tokens.
#[track_caller]
fn same_as_tape(document: Document<'_>, body: &str) {
    let mut copy = body.as_bytes().to_vec();
    let tape = simd_json::to_tape(&mut copy).expect("simd-json accepts");
    assert_eq!(tape.0.len(), document.nodes().count());
    for (node, theirs) in document.nodes().zip(&tape.0) {
        match (node.kind(), theirs) {
            (Kind::Key | Kind::String, simd_json::Node::String(text)) => assert_eq!(node.text(), Some(*text)),
            (Kind::Object, simd_json::Node::Object { len, .. }) => assert_eq!(node.members().count(), *len),
            (Kind::Array, simd_json::Node::Array { len, .. }) => assert_eq!(node.items().count(), *len),
            (Kind::Number | Kind::Bool(_) | Kind::Null, simd_json::Node::Static(_)) => {}
            (ours, theirs) => panic!("{ours:?} {theirs:?}"),
        }
    }
}

#[test]
fn reads_every_kind_of_value() {
    accepts(br#"{"a":[1,-2.5e3,true,false,null,"x",{},[]],"b":{"c":"d"}}"#);
    accepts(b" \t\r\n[ 1 , 2 ]\n");
    accepts(b"\"top\"");
    accepts(b"0");
    accepts("{\"\u{e4}\":\"\u{1f600}\u{0}\"}".replace('\0', "\\u0000").as_bytes());
    accepts(br#"["\"\\\/\b\f\n\r\t\u0040\ud83d\ude00"]"#);
}

#[test]
fn refuses_what_breaks_the_grammar() {
    refuses(b"", JsonError::Syntax(0));
    refuses(b"  ", JsonError::Syntax(2));
    refuses(b"{", JsonError::Syntax(1));
    refuses(b"[1,]", JsonError::Syntax(3));
    refuses(b"{\"a\":1,}", JsonError::Syntax(7));
    refuses(b"{\"a\" 1}", JsonError::Syntax(5));
    refuses(b"{a:1}", JsonError::Syntax(1));
    refuses(b"[1}", JsonError::Syntax(2));
    refuses(b"[1 2]", JsonError::Syntax(3));
    refuses(b"'a'", JsonError::Syntax(0));
    refuses(b"tru", JsonError::Syntax(0));
    refuses(b"[NaN]", JsonError::Syntax(1));
    refuses(b"[01]", JsonError::Syntax(2));
    refuses(b"[1] //", JsonError::Trailing(4));
    refuses(b"{}{}", JsonError::Trailing(2));
    refuses(b"\"abc", JsonError::Syntax(4));
    refuses(b"[\"abc\\", JsonError::Escape(5));
}

#[test]
fn refuses_bad_strings() {
    refuses(b"\"a\nb\"", JsonError::Control(2));
    refuses(&[b"\"0123456789012345678901234567890\x01".as_slice(), b"\""].concat(), JsonError::Control(32));
    refuses(br#""\x""#, JsonError::Escape(1));
    refuses(br#""\u12g4""#, JsonError::Escape(1));
    refuses(br#""\u+123""#, JsonError::Escape(1));
    refuses(br#""\ud800""#, JsonError::Escape(7));
    refuses(br#""\ud800\u0041""#, JsonError::Escape(1));
    refuses(br#""\udc00""#, JsonError::Escape(1));
    refuses(b"\"\xff\"", JsonError::Utf8(1));
    refuses(b"\"\xed\xa0\x80\"", JsonError::Utf8(1));
    refuses(b"\xef\xbb\xbf{}", JsonError::ByteOrderMark);
}

#[test]
fn threat_a09_refuses_a_key_twice_at_any_depth_and_however_written() {
    refuses(br#"{"a":1,"a":2}"#, JsonError::DuplicateKey(13));
    refuses(br#"[{"x":{"a":1,"b":2,"\u0061":3}}]"#, JsonError::DuplicateKey(30));
    refuses(br#"{"":1,"":1}"#, JsonError::DuplicateKey(11));
    accepts(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#);
    accepts(br#"{"a":1,"A":2}"#);
    accepts(br#"{"12345678":1,"123456789":2,"a2345678":3,"1234567890123456":4}"#);
}

#[test]
fn finds_a_repeated_key_of_any_length_next_to_the_end() {
    for len in 0..40 {
        let key = "k".repeat(len);
        for value in ["1", r#""a longer value that ends behind the key""#] {
            let body = format!(r#"{{"{key}":{value},"other":0,"{key}":{value}}}"#);
            refuses(body.as_bytes(), JsonError::DuplicateKey(body.len()));
            accepts(body.replacen("other", "another", 1).replacen(&format!("\"{key}\""), "\"x\\t\"", 1).as_bytes());
        }
    }
}

#[test]
fn finds_a_repeated_key_among_many() {
    let members: Vec<String> = (0..5_000).map(|i| format!("\"key{i}\":{i}")).collect();
    accepts(format!("{{{}}}", members.join(",")).as_bytes());
    let body = format!("{{{},\"key17\":0}}", members.join(","));
    refuses(body.as_bytes(), JsonError::DuplicateKey(body.len()));
}

#[test]
fn threat_a09_folded_levels_refuse_look_alike_keys() {
    let limits = Limits { folded_depth: 2, ..Limits::default() };
    let mut walker = Walker::new();
    let mut check = |body: &str, valid: bool| {
        let body = body.as_bytes();
        assert_eq!(walker.walk(body, &limits).is_ok(), valid, "{}", String::from_utf8_lossy(body));
    };
    check(r#"{"name":1,"Name":2}"#, false);
    check(r#"{"params":{"name":1,"na\u200bme":2}}"#, false);
    check(r#"{"params":{"x":{"name":1,"Name":2}}}"#, true);
    check(r#"{"params":{"a":1,"b":2},"method":3}"#, true);
}

#[test]
fn depth_and_nodes_are_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    accepts(&nested(DEPTH_MAX));
    refuses(&nested(DEPTH_MAX + 1), JsonError::TooDeep(DEPTH_MAX));
    let limits = Limits { nodes: 3, ..Limits::default() };
    let mut walker = Walker::new();
    assert!(walker.walk(b"[1,2]", &limits).is_ok());
    assert_eq!(walker.walk(b"[1,2,3]", &limits).map(|_| ()), Err(JsonError::TooLarge));
}

#[test]
fn a_walker_is_reusable_after_an_error() {
    let mut walker = Walker::new();
    assert!(walker.walk(br#"[{"\u0061":[1"#, &Limits::default()).is_err());
    let document = walker.walk(br#"{"b":"\u0062"}"#, &Limits::default()).unwrap();
    assert_eq!(document.root().get("b").unwrap().as_str(), Some("b"));
    assert_eq!(document.escaped_text(), "b\0");
}

#[test]
fn nodes_know_their_place() {
    let body = br#"{"a/b":[0,{"c~":"\u0041"}],"n":-1.5}"#;
    let mut walker = Walker::new();
    let document = walker.walk(body, &Limits::default()).unwrap();
    let list = document.root().get("a/b").unwrap();
    let object = list.items().nth(1).unwrap();
    let text = object.get("c~").unwrap();
    assert_eq!(text.pointer(), "/a~1b/1/c~0");
    let mut pointers = Pointers::default();
    assert_eq!(pointers.of(text.key().unwrap(), |key| key.text() == Some("a/b")), "/*/1/c~0");
    assert_eq!(document.root().pointer(), "");
    assert_eq!(text.token(), r#""\u0041""#);
    assert_eq!(text.text(), Some("A"));
    assert_eq!(document.token_at(text.span().start), Some(text));
    assert_eq!(document.token_at(0), None);
    assert_eq!(document.escaped_at(0), Some((text, 0)));
    assert_eq!(document.escaped_at(1), None);
    assert_eq!(document.root().get("n").unwrap().number(), Some(Number::Decimal(-15_000)));
    assert!(list.encloses(&text) && !object.encloses(&list));
    assert_eq!(text.parent(), Some(object));
    assert_eq!(list.items().next().unwrap().key(), None);
}

#[test]
fn pointers_are_short_and_count_each_array_once() {
    let items: Vec<String> = (0..300).map(|i| format!("[{i},[{i}]]")).collect();
    let body = format!("[{}]", items.join(","));
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
    let mut pointers = Pointers::default();
    let numbers: Vec<_> = document.nodes().filter(|node| node.kind() == Kind::Number).collect();
    for (i, pair) in numbers.chunks(2).enumerate() {
        assert_eq!(pointers.of(pair[0], |_| false), format!("/{i}/0"));
        assert_eq!(pointers.of(pair[1], |_| false), format!("/{i}/1/0"));
    }
    let body = format!(r#"{{"{}":{{"{}":1}}}}"#, "k".repeat(65), "é".repeat(30));
    let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(document.nodes().last().unwrap().pointer(), format!("/*/{}", "é".repeat(30)));
    let deep = format!("{}1{}", r#"{"a234567890":"#.repeat(60), "}".repeat(60));
    let document = walker.walk(deep.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(document.nodes().last().unwrap().pointer(), format!("{}/*", "/a234567890".repeat(23)));
}

/// JSON text with all the freedom the grammar leaves: spaces, escapes, number spellings.
fn json() -> impl Strategy<Value = String> {
    let space = prop_oneof![5 => Just(""), 1 => Just(" "), 1 => Just("\n\t")];
    let string = prop::collection::vec(
        prop_oneof![
            "[a-z@. ]{0,9}",
            "\\PC",
            Just("\\u0040".into()),
            Just("\\\"".into()),
            Just("\\ud83d\\ude00".into())
        ],
        0..6,
    )
    .prop_map(|parts| {
        let escape =
            |part: String| if part.len() > 1 && part.starts_with('\\') { part } else { part.replace(['"', '\\'], "") };
        format!("\"{}\"", parts.into_iter().map(escape).collect::<String>())
    });
    let number = "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number.prop_map(String::from),
        string.clone(),
    ];
    (leaf, space).prop_map(|(leaf, space)| format!("{space}{leaf}{space}")).prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((string.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(key, value)| format!("{key} :{value}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_reads(body in json()) {
        let mut walker = Walker::new();
        let value: Value = serde_json::from_str(&body).expect("the strategy makes JSON");
        match walker.walk(body.as_bytes(), &Limits::default()) {
            Ok(document) => {
                prop_assert!(!has_duplicates(&body));
                same(document.root(), &value);
                same_as_tape(document, &body);
            }
            Err(error) => {
                prop_assert!(matches!(error, JsonError::DuplicateKey(_)), "{}", error);
                prop_assert!(has_duplicates(&body));
            }
        }
    }

    #[test]
    fn whatever_is_accepted_after_damage_serde_json_accepts(
        body in json(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[],:0-.eu \n\0".to_vec())],
        cut in any::<bool>(),
    ) {
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let mut walker = Walker::new();
        let accepted = walker.walk(&bytes, &Limits::default()).is_ok();
        // serde_json refuses numbers beyond a double's range, which are valid JSON and passed on as text.
        let refused = serde_json::from_slice::<Value>(&bytes).err();
        let out_of_range = refused.as_ref().is_some_and(|error| error.to_string().contains("out of range"));
        prop_assert!(!accepted || refused.is_none() || out_of_range, "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut walker = Walker::new();
        let limits = Limits { folded_depth: 3, ..Limits::default() };
        let accepted = walker.walk(&bytes, &limits).is_ok();
        prop_assert!(!accepted || serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
    }
}
