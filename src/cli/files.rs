//! Files that commands are given: those of a configuration, read as the agents read them, and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::task::Texts;
use crate::config::task::path::read_path;
use crate::config::{Accepted, Problem, Problems, Source, parse};

/// All files together, as one configuration.
///
/// # Errors
/// Which of them cannot be read, and why.
pub(super) fn read_configuration(files: &[PathBuf], input: &mut dyn Read) -> Result<Result<Accepted, Problems>, String> {
    let (mut sources, alone): (Vec<Source>, bool) = (Vec::new(), files.len() == 1);
    for path in files {
        match read_one(path, input).map_err(|problem| problem.to_string())? {
            Texts::Absent => return Err(format!("{} does not exist", path.display())),
            Texts::Files(files) if files.is_empty() => return Err(format!("{} holds no *.yaml, *.yml or *.json file", path.display())),
            Texts::Files(files) => sources.extend(files),
            keys @ Texts::Keys(..) if alone => return Ok(keys.parse()),
            Texts::Keys(called, _) => return Err(format!("{called} is a mounted ConfigMap: give it on its own")),
        }
    }
    Ok(parse(&sources))
}

/// What a file is called, and its text; `-` is standard input.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read_text(path: &Path, input: &mut dyn Read) -> Result<(String, String), String> {
    if is_input(path) {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|error| format!("standard input cannot be read: {error}"))?;
        return Ok((INPUT.to_owned(), text));
    }
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    Ok((name, text))
}

const INPUT: &str = "standard input";

fn is_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read_one(path: &Path, input: &mut dyn Read) -> Result<Texts, Problem> {
    if !is_input(path) {
        return read_path(path);
    }
    let mut bytes = Vec::new();
    let text = input.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned());
    // What could be read before an error is checked; an unreadable stream is empty.
    Ok(Texts::Files(vec![Source::file(INPUT, text.unwrap_or_default())]))
}
