//! What a client of Anthropic's says in headers, and its provider is told too.

/// Longest list of features.
const MAX_BETA_BYTES: usize = 1_024;
/// The version of the API that is spoken here.
pub const VERSION: &str = "2023-06-01";

/// What a client asks of the API beside its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHeaders {
    /// `anthropic-version`: the client's, unless it is older than [`VERSION`], which is what is read here.
    pub version: String,
    /// `anthropic-beta`: names of features, separated by commas; may be empty.
    pub beta: String,
}

impl ClientHeaders {
    /// Reads both headers, empty where the client sent none; `None` when it asks for nothing beside [`VERSION`].
    ///
    /// # Errors
    /// The header at fault, and what is wrong with it.
    pub fn read(version: &str, beta: &str) -> Result<Option<Self>, (&'static str, String)> {
        if !version.is_empty() && !is_date(version) {
            return Err(("anthropic-version", format!("anthropic-version: must be a date such as {VERSION}")));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_., ".contains(&byte);
        if beta.len() > MAX_BETA_BYTES || !beta.bytes().all(is_name) {
            let text = "anthropic-beta: must be names separated by commas, at most";
            return Err(("anthropic-beta", format!("{text} {MAX_BETA_BYTES} bytes")));
        }
        let headers = Self { version: version.max(VERSION).to_owned(), beta: beta.to_owned() };
        Ok(Some(headers).filter(|headers| headers.version != VERSION || !headers.beta.is_empty()))
    }
}

/// `YYYY-MM-DD`; such dates compare as texts.
fn is_date(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == VERSION.len() && text.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_asks_for_is_kept_within_bounds() {
        let read = |version: &str, beta: &str| ClientHeaders::read(version, beta);
        let headers =
            |version: &str, beta: &str| Ok(Some(ClientHeaders { version: version.into(), beta: beta.into() }));
        assert_eq!(read("", ""), Ok(None));
        assert_eq!(read(VERSION, ""), Ok(None));
        assert_eq!(read("2023-01-01", ""), Ok(None), "its answers are not read here");
        assert_eq!(read("2027-01-01", ""), headers("2027-01-01", ""));
        assert_eq!(read("", "a-2025-01-01, b.c_d"), headers(VERSION, "a-2025-01-01, b.c_d"));
        for version in ["2023-6-1", "latest", "2023-06-01\r\nx: y", "20230-6-01", "é023-06-01"] {
            assert_eq!(read(version, "").unwrap_err().0, "anthropic-version", "{version}");
        }
        for beta in ["a\r\nx: y", "a;b", "é", &"a".repeat(1_025)] {
            assert_eq!(read("", beta).unwrap_err().0, "anthropic-beta", "{beta}");
        }
        assert!(read("", &"a".repeat(1_024)).is_ok());
    }
}
