//! `lanlord check`: reads configuration as the agents do, offline, and says what is wrong or what it amounts to.
//!
//! Exit codes: 0 all is well, 1 there are problems, 2 the question could not be asked (wrong arguments, a path that is not there).

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::answer::{PROBLEMS, UNASKED, WELL, exit};
use super::files::read_configuration;
use crate::config::{Accepted, Effective, Place, Problems, effective};

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

impl Check {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdin(), &mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let outcome = match read_configuration(&self.files, input) {
            Ok(outcome) => outcome,
            Err(message) => {
                writeln!(err, "error: {message}")?;
                return Ok(UNASKED);
            }
        };
        match self.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&answer(&outcome))?)?,
            Output::Text => as_text(&outcome, out, err)?,
            Output::Yaml => as_yaml(&outcome, out, err)?,
        }
        Ok(if outcome.is_ok() { WELL } else { PROBLEMS })
    }
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

/// The JSON form, field by field.
#[derive(Serialize)]
struct Answer<'a> {
    /// It can be put in force.
    accepted: bool,
    /// What it amounts to, in one line; only if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    /// Hash of its meaning, as the agents' Leases tell it; only if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
    /// Everything that is wrong; empty if it is accepted.
    problems: Vec<Told<'a>>,
    /// What is not wrong but should be known; only if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Vec<Told<'a>>>,
    /// The configuration with every default written out, in the words of native YAML; only if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Effective<'a>>,
}

/// Something that is to be said of a place.
#[derive(Serialize)]
struct Told<'a> {
    /// A path as it was given, `standard input`, or `ConfigMap namespace/name`.
    source: &'a str,
    /// The key of the ConfigMap; `null` for files.
    key: Option<&'a str>,
    /// From 1; 0: the source as a whole.
    line: u32,
    /// From 1, in characters.
    column: u32,
    /// One sentence without a full stop.
    message: &'a str,
    /// What to do about it, of problems.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

fn told<'a>(place: &'a Place, message: &'a str, help: Option<&'a str>) -> Told<'a> {
    Told { source: &place.source.name, key: place.source.key.as_deref(), line: place.line, column: place.column, message, help }
}

fn answer(outcome: &Result<Accepted, Problems>) -> Answer<'_> {
    match outcome {
        Ok(accepted) => Answer {
            accepted: true,
            summary: Some(&accepted.summary),
            hash: Some(&accepted.config.hash),
            problems: Vec::new(),
            notes: Some(accepted.notes.iter().map(|note| told(&note.place, &note.message, None)).collect()),
            config: Some(effective(&accepted.config)),
        },
        Err(problems) => {
            let problems = problems.iter().map(|it| told(&it.place, &it.message, Some(&it.help))).collect();
            Answer { accepted: false, summary: None, hash: None, problems, notes: None, config: None }
        }
    }
}
