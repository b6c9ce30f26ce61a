use super::*;

fn read_all(text: &str) -> Result<(), JsonError> {
    let mut reader = Reader::new(text.as_bytes());
    reader.read_value()?;
    reader.finish()
}

#[test]
fn accepts_json() {
    for text in [
        "null",
        " true ",
        "false",
        "0",
        "-0",
        "-12.5e+10",
        "1E5",
        "\"\"",
        "\"a\\n\\u00e9\\\"\"",
        "[]",
        "{}",
        "[ ]",
        "{ }",
        "[1,[2,{\"a\":[]}],null]",
        "{\"a\":1,\"b\":{\"c\":[true]}}",
        "\t[\r\n1 , 2 ]\n",
        "\"é模\"",
        "\"\u{7f}\"",
        "\"0123456789012345678901234567890\"",
    ] {
        assert_eq!(read_all(text), Ok(()), "{text}");
    }
}

#[test]
fn refuses_what_is_not_json() {
    for text in [
        "",
        " ",
        "nul",
        "tru",
        "nullx",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"0123456\u{1f}\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "[}",
        "{]",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "'a'",
        "NaN",
        "[1]]",
        "\"\\",
        "\u{feff}1",
    ] {
        assert!(read_all(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_is_read_to_a_depth() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(read_all(&nested(128)), Ok(()));
    // An empty innermost array opens nothing.
    for depth in [130, 1_000, 200_000] {
        assert_eq!(read_all(&nested(depth)).unwrap_err().reason, "nested too deeply");
    }
    let text = "[".repeat(63) + &"{\"k\":".repeat(65) + "1" + &"}".repeat(65) + &"]".repeat(62);
    assert!(read_all(&text).is_err());
    assert_eq!(read_all(&(text + "]")), Ok(()));
}

#[test]
fn steps_through_containers() {
    let text = br#" { "a" : [1, "x" ,{}] , "b\u0063":null,"d":{} } "#;
    let mut reader = Reader::new(text);
    assert!(reader.enter_object().unwrap());
    let member = reader.next_member().unwrap().unwrap();
    assert_eq!((member.key.as_ref(), member.start, member.separator), (b"a".as_slice(), 3, 2));
    assert!(reader.enter_array().unwrap());
    let mut items = Vec::new();
    while reader.next_item().unwrap() {
        items.push(reader.read_value().unwrap());
    }
    assert_eq!(items.iter().map(Raw::kind).collect::<Vec<_>>(), [Kind::Number, Kind::String, Kind::Object]);
    assert_eq!(&text[items[1].range()], b"\"x\"");
    let member = reader.next_member().unwrap().unwrap();
    assert_eq!(member.key.as_ref(), b"bc");
    assert_eq!(text[member.separator], b',');
    // Not an object: skipped.
    assert!(!reader.enter_object().unwrap());
    assert_eq!(reader.next_member().unwrap().unwrap().key.as_ref(), b"d");
    assert!(reader.enter_object().unwrap());
    assert!(reader.next_member().unwrap().is_none());
    assert!(reader.next_member().unwrap().is_none());
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn steps_refuse_bad_separators() {
    for text in ["{\"a\":1 \"b\":2}", "{,}", "{\"a\":1,}", "{\"a\":1,,\"b\":1}", "{\"a\" 1}", "{1:2}"] {
        let mut reader = Reader::new(text.as_bytes());
        assert!(reader.enter_object().unwrap());
        let mut walk = || -> Result<(), JsonError> {
            while reader.next_member()?.is_some() {
                reader.read_value()?;
            }
            Ok(())
        };
        assert!(walk().is_err(), "{text}");
    }
    for text in ["[1 2]", "[,]", "[1,]"] {
        let mut reader = Reader::new(text.as_bytes());
        assert!(reader.enter_array().unwrap());
        let mut walk = || -> Result<(), JsonError> {
            while reader.next_item()? {
                reader.read_value()?;
            }
            Ok(())
        };
        assert!(walk().is_err(), "{text}");
    }
}

#[test]
fn raw_values_convert() {
    let raw = |text: &'static str| Reader::new(text.as_bytes()).read_value().unwrap();
    assert!(matches!(raw("\"plain\"").to_text(), Some(Cow::Borrowed("plain"))));
    assert_eq!(raw("\"a\\u00e9\"").to_text().as_deref(), Some("aé"));
    assert_eq!(raw("\"\\ud800\"").to_text(), None);
    assert_eq!(raw("12").to_text(), None);
    assert_eq!(raw("12").to_u64(), Some(12));
    for text in ["-1", "1.0", "1e3", "\"1\"", "18446744073709551616"] {
        assert_eq!(raw(text).to_u64(), None, "{text}");
    }
    assert_eq!((raw("true").to_bool(), raw("false").to_bool(), raw("1").to_bool()), (Some(true), Some(false), None));
}

#[test]
fn strings_are_escaped_like_serde() {
    for text in ["", "plain", "a\"b\\c/d", "\n\r\t\u{0}\u{1}\u{1f}\u{7f}", "é模\u{2028}"] {
        let mut out = Vec::new();
        push_string(text, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
