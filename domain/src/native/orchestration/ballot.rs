//! What a judge chose.

use serde_json::Value;

use super::super::think::strip_think;

/// Names under which judges put their choice when they answer in JSON.
const CHOICE_KEYS: [&str; 5] = ["choice", "selected", "best", "answer", "number"];

/// The index of the answer that the judge's reply takes, of `count` numbered from 1.
///
/// JSON first: the number itself, or a member that names it. Else the first whole number in range
/// that stands as a word of its own: the 1 of `10`, `1.5`, `1/3` or `v1` is none. `None` if the reply
/// takes none.
pub(super) fn parse_choice(reply: &str, count: usize) -> Option<usize> {
    let reply = strip_think(reply);
    let in_range = |number: u64| usize::try_from(number).ok().filter(|number| (1..=count).contains(number));
    if let Ok(value) = serde_json::from_str::<Value>(&reply) {
        let member = CHOICE_KEYS.iter().find_map(|key| value.get(key)).unwrap_or(&value);
        let number = member.as_u64().or_else(|| member.as_str()?.trim().parse().ok());
        return number.and_then(in_range).map(|number| number - 1);
    }
    let words = reply.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | ',' | '-' | '/' | '%')));
    // A full stop or a comma at the end of a word is punctuation; within it, it is a part.
    let numbers = words.filter_map(|word| word.trim_end_matches(['.', ',', '-']).parse::<u64>().ok());
    numbers.filter_map(in_range).map(|number| number - 1).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_whole_number_in_range() {
        let cases = [
            ("2", Some(1)),
            (" 2.\n", Some(1)),
            ("**3**", Some(2)),
            ("Response #1 is best.", Some(0)),
            ("2 is better than 3", Some(1)),
            ("10", None),
            ("10, no: 2", Some(1)),
            ("0", None),
            ("1.5", None),
            ("v1", None),
            ("-1", None),
            ("3/3, so 2", Some(1)),
            ("100%", None),
            ("none", None),
            ("", None),
            (r#"{"choice": 3}"#, Some(2)),
            (r#"{"selected":"2"}"#, Some(1)),
            (r#"{"choice": 9}"#, None),
            ("<think>1 or 3?</think>2", Some(1)),
            ("99999999999999999999999 2", Some(1)),
        ];
        for (reply, expected) in cases {
            assert_eq!(parse_choice(reply, 3), expected, "{reply}");
        }
    }
}
