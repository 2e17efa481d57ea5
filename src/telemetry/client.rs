//! The asking side of [`super::server`]: one GET over a stream, without a runtime, for commands that ask an agent on this host; and
//! what they do with an answer that goes on.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;

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
    Ok((code(head)?, body.to_owned()))
}

fn code(head: &str) -> io::Result<u16> {
    let code = head.strip_prefix("HTTP/").and_then(|head| head.split_whitespace().nth(1)?.parse().ok());
    code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// Gives the data of each server-sent event at `path` to `each` until that breaks or the stream ends. Returns what `each` broke with, or
/// the status code and the first line of an answer without events.
///
/// # Errors
/// The stream's, and `InvalidData` for an answer that is not HTTP.
pub fn follow<B>(
    mut stream: impl Read + Write,
    path: &str,
    mut each: impl FnMut(&str) -> ControlFlow<B>,
) -> io::Result<Result<Option<B>, (u16, String)>> {
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut next = || -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = reader.by_ref().take(LIMIT).read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    };
    let code = code(&next()?.unwrap_or_default())?;
    while next()?.is_some_and(|header| !header.is_empty()) {}
    if code != 200 {
        return Ok(Err((code, next()?.unwrap_or_default())));
    }
    // The agent writes the data of an event as one line.
    while let Some(line) = next()? {
        if let Some(data) = line.strip_prefix("data: ")
            && let ControlFlow::Break(with) = each(data)
        {
            return Ok(Ok(Some(with)));
        }
    }
    Ok(Ok(None))
}
