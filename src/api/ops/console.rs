//! The operators' console: one page and the modules that it is made of, all of them part of the program.
//!
//! The page is everybody's; what it shows it reads from `/admin/v1/*`, with the token that the operator gives it.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::html::guard;
use crate::http::input::{IfNoneMatch, Path};
use crate::http::output::Output;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Documents", dialect TokenHub;
    /// Open the console.
    Get "/admin" Access::Public => show_page;
    /// Open the console.
    Get "/admin/" Access::Public => show_page;
    /// Read a file of the console.
    ///
    /// The style and the modules that the page loads. Their names may change with any version.
    Get "/admin/console/{file}" Access::Public => show_file;
}

/// One file.
struct File {
    name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(File { name: $name, text: include_str!(concat!("console/", $name)) }),+]
    };
}

/// The page comes first.
const FILES: &[File] = files![
    "index.html",
    "style.css",
    "icon.svg",
    "chart.js",
    "client.js",
    "dom.js",
    "feed.js",
    "form.js",
    "format.js",
    "list.js",
    "logs.js",
    "main.js",
    "overview.js",
    "series.js",
    "settings.js",
    "things.js",
];

/// Everything is this origin's, and nothing that is written into the page can become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// One version for all of them: what is asked for again is all new, or all known.
static ETAG: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for file in FILES {
        digest.update(file.text);
    }
    let digest = format!("{:x}", digest.finalize());
    format!("\"{}\"", digest.get(..16).unwrap_or_default())
});

async fn show_page(_: Cx, (known, ()): (IfNoneMatch, ())) -> Result<Output, ApiError> {
    serve("index.html", &known)
}

async fn show_file(_: Cx, (known, Path(name)): (IfNoneMatch, Path)) -> Result<Output, ApiError> {
    serve(&name, &known)
}

fn serve(name: &str, known: &IfNoneMatch) -> Result<Output, ApiError> {
    let file = FILES.iter().find(|file| file.name == name).ok_or_else(|| ApiError::not_found("file"))?;
    let output =
        if known.has(&ETAG) { Output::empty().status(304) } else { Output::text(content_type(name), file.text) };
    // A browser asks each time whether there is another version; as a rule that is a 304.
    Ok(guard(output, POLICY).header("etag", &*ETAG).header("cache-control", "no-cache, must-revalidate"))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}
