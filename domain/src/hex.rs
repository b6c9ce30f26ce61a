//! Lower-case hexadecimal text of bytes.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes two digits a byte; what does not fit into `out` is left out.
pub(crate) fn encode_into(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Two digits a byte.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    push_hex(bytes, &mut text);
    text
}

/// Appends two digits a byte.
pub(crate) fn push_hex(bytes: &[u8], out: &mut String) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Whether every character is a lower-case hex digit.
pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_every_nibble() {
        let mut text = String::from("x");
        push_hex(&[0x01, 0x9a, 0xff], &mut text);
        assert_eq!(text, "x019aff");
        let mut out = [0; 6];
        encode_into(&[0x01, 0x9a, 0xff], &mut out);
        assert_eq!(&out, b"019aff");
        assert!(is_lower_hex("019aff") && !is_lower_hex("019aFf"));
    }
}
