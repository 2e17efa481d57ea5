//! The asking side of [`super::server`]: one GET over a stream, without a runtime, for commands that ask an agent on this host.

use std::io::{self, Read, Write};

/// Longest answer that is read, in bytes: a status with thousands of Services.
const LIMIT: u64 = 64 * 1024 * 1024;

/// The status code and the body of the answer.
///
/// # Errors
/// The stream's, and `InvalidData` for an answer that is not HTTP.
pub fn get(mut stream: impl Read + Write, path: &str) -> io::Result<(u16, String)> {
    // HTTP/1.0: the answer ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LIMIT).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.strip_prefix("HTTP/").and_then(|head| head.split_whitespace().nth(1)?.parse().ok());
    let code = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))?;
    Ok((code, body.to_owned()))
}
