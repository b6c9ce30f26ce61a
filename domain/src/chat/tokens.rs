//! A model's own tokens in a text that comes in pieces.

/// The text before the first of the tokens, that token, and what is behind it. Where none is whole, the text before what
/// may be the beginning of one, and that beginning.
///
/// Tokens begin with `<`: the text is gone over once, up to the first of them.
pub(crate) fn split_at_token<'t>(text: &'t str, tokens: &[&'static str]) -> (&'t str, Option<&'static str>, &'t str) {
    for (at, _) in text.match_indices('<') {
        let (before, rest) = text.split_at(at);
        let split = tokens.iter().find_map(|token| Some((*token, rest.strip_prefix(token)?)));
        if let Some((token, behind)) = split {
            return (before, Some(token), behind);
        }
    }
    // Tokens are ASCII: so is every beginning of one, and its place is a character's boundary.
    let begun =
        |token: &&str| (1..token.len()).rev().find(|len| token.get(..*len).is_some_and(|head| text.ends_with(head)));
    let longest = tokens.iter().filter_map(begun).max().unwrap_or(0);
    let (before, begun) = text.split_at(text.len() - longest);
    (before, None, begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_splits_and_the_longest_beginning_is_held() {
        let split = |text| split_at_token(text, &["<a>", "<ab>"]);
        assert_eq!(split("x<ab>y<a>"), ("x", Some("<ab>"), "y<a>"));
        assert_eq!(split("x<<a"), ("x<", None, "<a"));
        assert_eq!(split("x<ab"), ("x", None, "<ab"));
        assert_eq!(split("é模<b"), ("é模<b", None, ""));
        assert_eq!(split(""), ("", None, ""));
    }
}
