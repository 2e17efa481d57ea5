//! `lanlord check`: reads configuration as the agents do, offline, and says what is wrong or what it amounts to.
//!
//! Exit codes: 0 all is well, 1 there are problems, 2 the question could not be asked (wrong arguments, a path that is not there).

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::config::task::{Texts, read_path};
use crate::config::{Accepted, Note, Place, Problem, Problems, Source, effective, parse};

/// Check configuration files without a cluster, by the same code the agents run
#[derive(Args, Clone, Debug)]
#[command(after_help = "All files together are one configuration, as in a directory given to `lanlord run --config`.
They may hold native YAML, MetalLB documents, JSON, or the manifest of the ConfigMap.

Exit codes: 0 all is well, 1 there are problems, 2 wrong arguments or nothing to read.

Examples:
  lanlord check lanlord.yaml
  lanlord check manifests/
  kubectl get configmap -n lanlord lanlord -o yaml | lanlord check -
  kubectl get ipaddresspools,l2advertisements -n metallb-system -o yaml | lanlord check --output yaml -")]
pub struct Check {
    /// Files and directories (their *.yaml, *.yml and *.json files); `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// The form of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Output {
    /// Sentences for people
    #[default]
    Text,
    /// One JSON object: accepted, summary, hash, problems, notes, config
    Json,
    /// The configuration in force with every default written out, as native YAML
    Yaml,
}

/// All is well.
const WELL: u8 = 0;
/// There are problems.
const PROBLEMS: u8 = 1;
/// Nothing to read.
const UNREADABLE: u8 = 2;

impl Check {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        let code = self.run_on(&mut io::stdin(), &mut io::stdout().lock(), &mut io::stderr().lock());
        // Nobody reads the answer any more (a closed pipe): then the code is all there is to say.
        ExitCode::from(code.unwrap_or(PROBLEMS))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let outcome = match self.read(input) {
            Ok(outcome) => outcome,
            Err(message) => {
                writeln!(err, "error: {message}")?;
                return Ok(UNREADABLE);
            }
        };
        match self.output {
            Output::Json => writeln!(out, "{:#}", as_json(&outcome))?,
            Output::Text => as_text(&outcome, out, err)?,
            Output::Yaml => as_yaml(&outcome, out, err)?,
        }
        Ok(if outcome.is_ok() { WELL } else { PROBLEMS })
    }

    fn read(&self, input: &mut dyn Read) -> Result<Result<Accepted, Problems>, String> {
        let mut sources: Vec<Source> = Vec::new();
        for path in &self.files {
            match read_one(path, input).map_err(|problem| problem.to_string())? {
                Texts::Absent => return Err(format!("{} does not exist", path.display())),
                Texts::Files(files) if files.is_empty() => return Err(format!("{} holds no *.yaml, *.yml or *.json file", path.display())),
                Texts::Files(files) => sources.extend(files),
                keys @ Texts::Keys(..) if self.files.len() == 1 => return Ok(keys.parse()),
                Texts::Keys(called, _) => return Err(format!("{called} is a mounted ConfigMap: check it on its own")),
            }
        }
        Ok(parse(&sources))
    }
}

fn read_one(path: &Path, input: &mut dyn Read) -> Result<Texts, Problem> {
    if path.as_os_str() != "-" {
        return read_path(path);
    }
    let mut bytes = Vec::new();
    let text = input.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned());
    // What could be read before an error is checked; an unreadable stream is empty.
    Ok(Texts::Files(vec![Source::file("standard input", text.unwrap_or_default())]))
}

fn as_text(outcome: &Result<Accepted, Problems>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    match outcome {
        Ok(accepted) => {
            for note in &accepted.notes {
                writeln!(out, "note: {note}")?;
            }
            writeln!(out, "{}", accepted.summary)
        }
        Err(problems) => {
            writeln!(err, "{}", problems.rendered())?;
            writeln!(err, "{} {}", problems.len(), if problems.len() == 1 { "problem" } else { "problems" })
        }
    }
}

fn as_yaml(outcome: &Result<Accepted, Problems>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let Ok(accepted) = outcome else { return as_text(outcome, out, err) };
    for note in &accepted.notes {
        writeln!(err, "note: {note}")?;
    }
    let yaml = serde_yaml::to_string(&effective(&accepted.config)).map_err(io::Error::other)?;
    write!(out, "{yaml}")
}

fn as_json(outcome: &Result<Accepted, Problems>) -> serde_json::Value {
    let place = |place: &Place| json!({"source": place.source.name, "key": place.source.key, "line": place.line, "column": place.column});
    let with = |mut value: serde_json::Value, more: serde_json::Value| {
        if let (Some(value), serde_json::Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    };
    let problem = |problem: &Problem| with(place(&problem.place), json!({"message": problem.message, "help": problem.help}));
    let note = |note: &Note| with(place(&note.place), json!({"message": note.message}));
    match outcome {
        Ok(accepted) => json!({
            "accepted": true,
            "summary": accepted.summary,
            "hash": accepted.config.hash,
            "problems": [],
            "notes": accepted.notes.iter().map(note).collect::<Vec<_>>(),
            "config": effective(&accepted.config),
        }),
        Err(problems) => json!({"accepted": false, "problems": problems.iter().map(problem).collect::<Vec<_>>()}),
    }
}
