//! Small pages for browsers: they load nothing, run nothing, may not be framed, are kept nowhere and tell no other site
//! the address that they were read at.

use std::fmt::Write as _;

use super::output::Output;
use crate::error::{ApiError, Kind};

const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const STYLE: &str = ":root { color-scheme: light dark; } \
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1.5rem; } \
    code, pre { font: 14px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; } \
    input, button { font: inherit; padding: .5rem .75rem; } \
    td { padding: .2rem .8rem .2rem 0; } \
    article { border-top: 1px solid color-mix(in srgb, currentColor 18%, transparent); padding: .5rem 0; }";

/// Text as it may stand in a page, also within the quotes of an attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A page with a plain title and a body that is HTML already.
#[must_use]
pub fn page(title: &str, body: &str) -> Output {
    let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let title = escape(title);
    // Writing to a text cannot fail.
    _ = write!(
        html,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} · Guildhall</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    );
    guard(Output::text("text/html; charset=utf-8", html), POLICY).header("cache-control", "no-store")
}

/// What a page is sent under: its policy; it is nothing but what it is called, and tells no other site its address.
#[must_use]
pub fn guard(output: Output, policy: &str) -> Output {
    output
        .header("content-security-policy", policy)
        .header("x-content-type-options", "nosniff")
        .header("referrer-policy", "no-referrer")
}

/// A refusal as a page, for whoever came with a browser.
///
/// # Errors
/// Our own fault stays an error: its cause is logged.
pub fn refuse(error: ApiError) -> Result<Output, ApiError> {
    if error.kind == Kind::Internal {
        return Err(error);
    }
    let mut output =
        page("That did not work", &format!("<p>{}</p>", escape(&error.message))).status(error.kind.status());
    output.headers.extend(error.headers.iter().cloned());
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::output::Body;

    #[test]
    fn nothing_breaks_out_of_a_page() {
        assert_eq!(escape(r#"<a href="x" id='y'>&"#), "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;");
        let Body::Whole(body) = page("<script>", "<p>kept</p>").body else { panic!("no body") };
        let html = String::from_utf8(body).unwrap();
        assert!(html.contains("<p>kept</p>") && !html.contains("<script>"), "{html}");
    }
}
