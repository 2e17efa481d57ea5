//! What the verbs that answer a question have in common: the forms of an answer, and the exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

/// All is well.
pub(super) const WELL: u8 = 0;
/// There is something to look at.
pub(super) const PROBLEMS: u8 = 1;
/// The question could not be asked, or there is nothing to read.
pub(super) const UNASKED: u8 = 2;

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(super) enum Output {
    /// Tables and sentences for people
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// Waits for what an answer is made of.
///
/// # Errors
/// Its own, or that nothing can be waited for.
pub(super) fn wait_for<T>(answer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(answer)
}

/// How the process ends.
pub(super) fn exit(code: io::Result<u8>) -> ExitCode {
    // Nobody reads the answer any more (a closed pipe): then the code is all there is to say.
    ExitCode::from(code.unwrap_or(PROBLEMS))
}

/// Writes a report in the form asked for, or why there is none. Returns the exit code, `is_well` deciding between the first two.
///
/// # Errors
/// When a stream cannot be written.
pub(super) fn write_report<R: Serialize>(
    asked: anyhow::Result<R>,
    output: Output,
    text: impl FnOnce(&R) -> String,
    is_well: impl FnOnce(&R) -> bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let report = match asked {
        Ok(report) => report,
        Err(why) => {
            writeln!(err, "lanlord: {why:#}")?;
            return Ok(UNASKED);
        }
    };
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Output::Text => write!(out, "{}", printable(&text(&report)))?,
    }
    Ok(if is_well(&report) { WELL } else { PROBLEMS })
}

/// `text` with what would move the cursor or change colours replaced: Services, Events and routers say in it what they like.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
