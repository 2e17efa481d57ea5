//! Every code fence of the documentation is true: YAML is read as the agents read it, command lines of ours are parsed by the program and
//! by the scripts that they name, and every other command line stands in `tests/golden/fences.txt`, with the test that runs it or the
//! reason why none does. What stands there and in no page any more is an error, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use lanlord::cli::{Cli, Verb};
use serde::Deserialize;
use serde_yaml::Value;

/// Languages of fences. `text` is what a program prints, or a picture: nothing to run.
const LANGUAGES: [&str; 4] = ["sh", "yaml", "json", "text"];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

struct Fence {
    /// `page:line`.
    place: String,
    language: String,
    text: String,
}

/// The pages that people read.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/reference", "kind", "manifests/chart"] {
        let files = fs::read_dir(root(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    pages.sort();
    pages
}

fn fences(page: &Path) -> Vec<Fence> {
    let called = page.strip_prefix(root("")).unwrap().display().to_string();
    let (mut all, mut open): (Vec<Fence>, Option<(usize, Fence)>) = (Vec::new(), None);
    for (number, line) in fs::read_to_string(page).unwrap().lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let fence = Fence { place: format!("{called}:{}", number + 1), language: language.to_owned(), text: String::new() };
                open = Some((indent, fence));
            }
            (Some(_), Some(_)) => all.extend(open.take().map(|(_, fence)| fence)),
            (None, Some((indent, fence))) => fence.text += &format!("{}\n", line.get(*indent..).unwrap_or_default()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{called}: a fence is not closed");
    all
}

fn all_fences() -> Vec<Fence> {
    let all: Vec<Fence> = pages().iter().flat_map(|page| fences(page)).collect();
    assert!(all.len() > 40, "the pages are found");
    all
}

/// The list of what is not checked here.
struct Exceptions {
    entries: Vec<(String, String)>,
    used: BTreeSet<String>,
}

impl Exceptions {
    fn read() -> Self {
        let text = fs::read_to_string(root("tests/golden/fences.txt")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let entries = lines.map(|line| line.split_once('\t').map(|(command, why)| (command.to_owned(), why.to_owned())));
        Self { entries: entries.map(|entry| entry.expect("COMMAND, a tab, and why")).collect(), used: BTreeSet::new() }
    }

    /// Whether `line` stands in the list, as it is or by its beginning (entries that end with `…`).
    fn has(&mut self, line: &str) -> bool {
        let fits = |entry: &&(String, String)| entry.0.strip_suffix('…').map_or(line == entry.0, |begin| line.starts_with(begin));
        // An entry of its own goes before a shared one.
        let entry = self.entries.iter().filter(fits).max_by_key(|(command, _)| (!command.ends_with('…'), command.len()));
        entry.map(|(command, _)| self.used.insert(command.clone())).is_some()
    }
}

/// Lines of a shell as they are run: without comments, and whole where they go on in the next.
fn statements(text: &str) -> Vec<String> {
    let (mut all, mut whole) = (Vec::new(), String::new());
    for line in text.lines().map(without_comment).filter(|line| !line.is_empty()) {
        whole = format!("{whole} {}", line.trim_end_matches('\\').trim()).trim().to_owned();
        let in_loop = whole.contains("while ") && !whole.ends_with("done");
        if !line.ends_with('\\') && !line.ends_with('|') && !line.ends_with("&&") && !in_loop {
            all.push(std::mem::take(&mut whole));
        }
    }
    assert_eq!(whole, "", "a command goes on after the fence");
    all
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in line.char_indices() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            ('#', None) if before == ' ' => return line[..at].trim(),
            _ => {}
        }
        before = letter;
    }
    line.trim()
}

/// The simple commands of a statement, each as its words.
fn commands(statement: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None);
    for letter in statement.chars().chain([';']) {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            (' ' | '|' | '&' | ';', None) => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                if letter != ' ' && !words.is_empty() {
                    all.push(std::mem::take(&mut words));
                }
            }
            _ => word.push(letter),
        }
    }
    all
}

/// The arguments of the program in a command that runs it: here, in a pod, or by the plugin.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|it| it.trim_start_matches('/') == word);
    if is(0, "lanlord") {
        return Some(words.to_vec());
    }
    if is(0, "kubectl") && is(1, "lanlord") {
        // The plugin's own flag, before or behind the verb.
        let node = words.iter().position(|word| word == "--node").unwrap_or(words.len());
        return Some(words[1..].iter().enumerate().filter(|(at, _)| at + 1 != node && *at != node).map(|(_, word)| word.clone()).collect());
    }
    let inside = words.iter().position(|word| word == "--").filter(|at| is(0, "kubectl") && is(at + 1, "lanlord"))?;
    Some(words[inside + 1..].to_vec())
}

/// Whether the command is ours; then it is one that the program or the script takes.
fn is_ours(words: &[String], place: &str) -> bool {
    let words: Vec<String> = words.iter().skip_while(|word| ["sudo", "sh"].contains(&word.as_str())).cloned().collect();
    for path in words.iter().filter(|word| ["manifests/", "scripts/", "k3s/", "kind/"].iter().any(|folder| word.starts_with(folder))) {
        assert!(root(path).exists(), "{place}: {path} is not there");
    }
    if let Some(arguments) = arguments(&words) {
        // `page` is the plugin's own.
        let parsed = if arguments[1..] == ["page"] { Ok(()) } else { Cli::try_parse_from(&arguments).map(drop) };
        parsed.unwrap_or_else(|error| panic!("{place}: {}\n{error}", words.join(" ")));
        return true;
    }
    let is_script = words.first().is_some_and(|word| word.contains('/') && root(word).is_file());
    if is_script {
        let interpreter = if words[0].starts_with("scripts/") { "bash" } else { "sh" };
        let help = Command::new(interpreter).arg(root(&words[0])).arg("--help").stdin(Stdio::null()).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.starts_with("Usage: "), "{place}: {} --help says how it is used", words[0]);
        let known: BTreeSet<&str> = help.split(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric()).collect();
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(known.contains(option.as_str()), "{place}: {} does not know {option}\n{help}", words[0]);
        }
    }
    is_script
}

/// Whether the agents would read the document as configuration.
fn is_configuration(document: &Value) -> bool {
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    match text("kind") {
        Some("ConfigMap") => document["metadata"]["name"] == "lanlord",
        Some(_) => text("apiVersion").is_some_and(|version| version.starts_with("metallb.io/")),
        None => true,
    }
}

fn accepted(text: &str) -> Result<(), String> {
    let Verb::Check(check) = Cli::try_parse_from(["lanlord", "check", "-"]).unwrap().verb else { panic!("it is check") };
    let mut said = Vec::new();
    let code = check.run_on(&mut text.as_bytes(), &mut Vec::new(), &mut said).unwrap();
    if code == 0 { Ok(()) } else { Err(String::from_utf8(said).unwrap()) }
}

#[test]
fn every_fence_says_what_it_is() {
    for Fence { place, language, .. } in all_fences() {
        assert!(LANGUAGES.contains(&&*language), "{place}: a fence is one of {LANGUAGES:?}, not {language:?}");
    }
}

#[test]
fn every_fence_is_checked_or_listed_with_the_test_that_runs_it_or_the_reason_why_none_does() {
    let mut exceptions = Exceptions::read();
    let mut missing = Vec::new();
    for Fence { place, language, text } in all_fences() {
        match &*language {
            "sh" => {
                for statement in statements(&text) {
                    // All of them are looked at, so no `any`.
                    let ours: Vec<bool> = commands(&statement).iter().map(|words| is_ours(words, &place)).collect();
                    if ours.contains(&false) && !exceptions.has(&statement) {
                        missing.push(format!("{place}: {statement}"));
                    }
                }
            }
            "yaml" => {
                let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
                let documents: Vec<Value> = documents.map(|it| it.unwrap_or_else(|error| panic!("{place}: {error}"))).collect();
                let first = text.lines().find(|line| !line.starts_with('#')).expect("it is not empty");
                if documents.iter().any(is_configuration) && !exceptions.has(first) {
                    accepted(&text).unwrap_or_else(|problems| panic!("{place}: {problems}"));
                }
            }
            "json" => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{place}: {error}"))),
            _ => {}
        }
    }
    assert!(missing.is_empty(), "not in tests/golden/fences.txt:\n{}", missing.join("\n"));
    let stale: Vec<&String> = exceptions.entries.iter().map(|(line, _)| line).filter(|line| !exceptions.used.contains(*line)).collect();
    assert!(stale.is_empty(), "in tests/golden/fences.txt, and in no page: {stale:#?}");
}

#[test]
fn what_is_said_to_run_a_command_is_there() {
    for (command, why) in Exceptions::read().entries {
        let Some(runner) = why.strip_prefix("run by: ") else {
            assert!(why.strip_prefix("not run here: ").is_some_and(|reason| reason.len() > 10), "{command}: a test, or a reason: {why:?}");
            continue;
        };
        let (file, test) = runner.split_once("::").unwrap_or((runner, ""));
        let text = fs::read_to_string(root(file)).unwrap_or_else(|error| panic!("{command}: {file}: {error}"));
        assert!(test.is_empty() || text.contains(&format!("#[test]\nfn {test}()")), "{command}: {file} has no test {test}");
    }
}
