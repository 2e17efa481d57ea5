//! The status page: one file with nothing from elsewhere, joined at build from three. It shows what `/events` tells and can change
//! nothing.
//!
//! Whatever a Service is called, it cannot become more than text: the policy lets nothing run but the script with this very hash, lets it
//! speak with nobody but this agent, and forbids it to turn text into markup at all (Trusted Types).

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use ring::digest::{SHA256, digest};

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page, and the `Content-Security-Policy` to send with it.
pub static PAGE: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let html = FRAME.replace("@STYLE@", STYLE).replace("@SCRIPT@", SCRIPT);
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    (Bytes::from(html), policy)
});

/// As CSP names the content of one element.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}
