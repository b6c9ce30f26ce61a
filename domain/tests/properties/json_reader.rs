//! The reader accepts what serde_json accepts, and finds the members that it finds.

use guildhall_domain::json::{JsonError, Reader};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::json_values::{to_text, value};

fn read_all(bytes: &[u8]) -> Result<(), JsonError> {
    let mut reader = Reader::new(bytes);
    reader.read_value()?;
    reader.finish()
}

/// Reads by stepping through every container instead of skipping.
fn walk(reader: &mut Reader<'_>) -> Result<Value, JsonError> {
    use guildhall_domain::json::Kind;
    match reader.peek()? {
        Kind::Object => {
            reader.enter_object()?;
            let mut members = serde_json::Map::new();
            while let Some(member) = reader.next_member()? {
                members.insert(String::from_utf8(member.key.into_owned()).unwrap(), walk(reader)?);
            }
            Ok(Value::Object(members))
        }
        Kind::Array => {
            reader.enter_array()?;
            let mut items = Vec::new();
            while reader.next_item()? {
                items.push(walk(reader)?);
            }
            Ok(Value::Array(items))
        }
        _ => Ok(serde_json::from_slice(reader.read_value()?.bytes).unwrap()),
    }
}

proptest! {
    #[test]
    fn json_is_accepted_and_understood(value in value(), is_pretty: bool) {
        let text = to_text(&value, is_pretty);
        prop_assert_eq!(read_all(text.as_bytes()), Ok(()));
        let mut reader = Reader::new(text.as_bytes());
        let walked = walk(&mut reader).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        // Through text once more: floats are compared as serde_json reads them.
        prop_assert_eq!(walked, serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn damaged_json_is_judged_like_serde_does(
        value in value(),
        is_pretty: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..3),
    ) {
        let mut bytes = to_text(&value, is_pretty).into_bytes();
        for (at, byte, what) in damage {
            if bytes.is_empty() {
                break;
            }
            // Bytes of the grammar do more harm than others.
            let byte = b"{}[],:\"\\0-.eE+nt \n"[usize::from(byte) % 18];
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        let expected = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
        prop_assert_eq!(read_all(&bytes).is_ok(), expected, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read_all(&bytes);
        let mut reader = Reader::new(&bytes);
        if reader.enter_object() == Ok(true) {
            while let Ok(Some(_)) = reader.next_member() {
                if reader.read_value().is_err() {
                    break;
                }
            }
        }
    }
}
