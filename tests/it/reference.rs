//! docs/reference is written from the code: from its tables of words and their documentation, and from the help of the verbs.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it reference` writes the pages anew. What a page is made of must be all there is: the sources are
//! searched for words that stand in no table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use lanlord::cli::Cli;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn source(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn page(name: &str, title: &str, text: &str) {
    let path = root(&format!("docs/reference/{name}.md"));
    let whole = format!("# {title}\n\n<!-- Written from the code: UPDATE_GOLDEN=1 cargo test --test it reference -->\n\n{}\n", text.trim());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &whole).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == whole, "{} is not what the code says: UPDATE_GOLDEN=1 cargo test --test it reference", path.display());
}

/// Items with their documentation: `(line of the item, documentation)`, in the order of the file.
fn documented(text: &str) -> Vec<(String, String)> {
    let mut documentation: Vec<&str> = Vec::new();
    let mut items = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            documentation.push(words.trim());
        } else if !line.starts_with("#[") {
            if !documentation.is_empty() {
                items.push((line.to_owned(), documentation.join(" ")));
            }
            documentation.clear();
        }
    }
    items
}

/// `pub const NAME: &str = "word";` and what the word means.
fn words(text: &str) -> Vec<(String, String)> {
    let word = |line: &str| Some(line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.strip_suffix("\";")?.to_owned());
    documented(text).into_iter().filter_map(|(line, meaning)| Some((word(&line)?, meaning))).collect()
}

/// A part of a file that begins with `from`, to the line that closes it.
fn part<'t>(text: &'t str, from: &str) -> &'t str {
    let text = &text[text.find(from).unwrap_or_else(|| panic!("{from} is there"))..];
    &text[..text.find("\n}").expect("it is closed")]
}

fn table(head: [&str; 2], rows: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = format!("| {} | {} |\n|---|---|\n", head[0], head[1]);
    for (key, meaning) in rows {
        text.push_str(&format!("| {key} | {} |\n", meaning.replace('|', "\\|")));
    }
    text
}

fn code(word: &str) -> String {
    format!("`{word}`")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .collect()
}

#[test]
fn events() {
    let reasons = words(part(&source("src/facts/event.rs"), "pub mod reason {"));
    assert!(reasons.len() > 20, "{reasons:?}");
    let rows = reasons.iter().map(|(word, meaning)| {
        let (on, what) = meaning.split_once(". ").expect("on what object. What for.");
        (format!("{} | {on}", code(word)), what.to_owned())
    });
    let text = "Lanlord writes an Event when something changes, and none at rest. `kubectl describe` of the object shows its Events, `kubectl get \
                events -A` all of them; Kubernetes forgets Events after an hour. Each message says what is so, why, and what to do.\n\n| \
                reason | on | what for |\n|---|---|---|\n";
    let rows: String = rows.map(|(first, what)| format!("| {first} | {what} |\n")).collect();
    page("events", "Events", &format!("{text}{rows}"));
    let known: BTreeSet<String> = reasons.into_iter().map(|(word, _)| word).collect();
    for file in ["src/leader", "src/bgp"].iter().flat_map(|folder| sources(&root(folder))) {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let stray = text.lines().filter(|line| line.contains("EventKind::")).flat_map(|line| line.split('"').skip(1).step_by(2));
        let stray: Vec<&str> = stray.filter(|word| word.chars().all(char::is_alphanumeric) && !known.contains(*word)).collect();
        assert!(stray.is_empty(), "{}: {stray:?} belongs into facts::reason", file.display());
    }
}

#[test]
fn annotations() {
    let known = words(part(&source("src/facts/service.rs"), "pub mod annotation {"));
    let of = |who: &str| {
        let rows = known.iter().filter_map(|(word, meaning)| Some((word, meaning.strip_prefix(who)?)));
        rows.map(|(word, meaning)| (code(word), meaning.trim().to_owned())).collect::<Vec<_>>()
    };
    let (yours, ours) = (of("You write it."), of("Lanlord writes it."));
    assert_eq!(yours.len() + ours.len(), known.len(), "each says who writes it");
    let text = format!(
        "Of Services. Where no prefix is given, each of `lanlord.dev/`, `metallb.io/` and `metallb.universe.tf/` does; of several, the first of \
         these counts.\n\n## You write\n\n{}\n## Lanlord writes\n\n{}",
        table(["annotation", "meaning"], yours),
        table(["annotation", "meaning"], ours)
    );
    page("annotations", "Annotations", &text);
    // What is written on Services goes through leader::tell: it has no words of its own.
    let told = source("src/leader/tell.rs");
    assert!(!told.contains("\"lanlord.dev/"), "annotations are in facts::annotation");
}

#[test]
fn conditions() {
    let file = source("src/plan/reason.rs");
    let arms = part(&file, "pub fn reason(&self)");
    let reason: BTreeMap<&str, &str> = arms
        .lines()
        .filter_map(|line| {
            let (variant, word) = line.trim().strip_prefix("Self::")?.split_once(" => \"")?;
            Some((variant.split([' ', '{']).next()?, word.strip_suffix("\",")?))
        })
        .collect();
    let variants = documented(part(&file, "pub enum NotAnnounced {"));
    let named = |line: &str| line.split([' ', '{', ',']).next().unwrap_or_default().to_owned();
    let why: Vec<(String, String)> =
        variants.iter().filter_map(|(line, meaning)| Some((code(reason.get(named(line).as_str())?), meaning.clone()))).collect();
    assert_eq!(why.len(), reason.len(), "each reason has its variant, and its documentation");
    let strip = |meaning: &str| meaning.trim_start_matches("`reason` of the condition: ").to_owned();
    let others = words(&source("src/leader/tell.rs")).into_iter().map(|(word, meaning)| (code(&word), strip(&meaning)));
    let failed =
        (code(lanlord::facts::reason::ALLOCATION_FAILED), "no address is assigned: the message says why, and what to do.".to_owned());
    let text = format!(
        "Every Service that Lanlord serves has the condition `lanlord.dev/Announced` in its status: `kubectl wait \
         --for=condition=lanlord.dev/Announced service/NAME`. Its message says the same as the last Event, and does not vanish after an \
         hour.\n\n{}\nIf an address is assigned and nobody announces it, the status is `False` with one of these reasons:\n\n{}",
        table(["reason", "meaning"], others.chain([failed])),
        table(["reason", "why nobody announces it"], why)
    );
    page("conditions", "The condition of a Service", &text);
}

#[test]
fn settings() {
    let file = source("src/config/settings.rs");
    let rows = |from: &str| {
        let fields = documented(part(&file, from)).into_iter().filter(|(line, _)| line.starts_with("pub ") && line.ends_with(','));
        fields
            .map(|(line, meaning)| (line.trim_start_matches("pub ").split(':').next().unwrap_or_default().to_owned(), meaning))
            .collect::<Vec<_>>()
    };
    let keyed = |(name, meaning): (String, String)| match meaning.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        Some((key, rest)) => (code(key), rest.trim_start_matches([':', '.', ' ']).to_owned()),
        None => (code(&camel(&name)), meaning),
    };
    let all: Vec<(String, String)> = rows("pub struct Settings {").into_iter().map(keyed).collect();
    let read: BTreeSet<&str> = part(&file, "pub(crate) fn read(")
        .lines()
        .flat_map(|line| line.split("fields.").skip(1))
        .filter_map(|call| call.split_once("(\"")?.1.split('"').next())
        .collect();
    let told: BTreeSet<&str> = all.iter().map(|(key, _)| key.trim_matches('`')).collect();
    assert_eq!(read, told, "each setting that is read is documented");
    let mut text =
        "Keys of the ConfigMap `lanlord`, or fields of its `config.yaml`, or of a file given with `--config`. Nothing has to be set.\n\n"
            .to_owned();
    text.push_str(&table(["setting", "meaning"], all));
    for line in file.lines().map(str::trim).filter(|line| line.starts_with("let words = [")) {
        let values: Vec<(&str, &str)> = line
            .split("(\"")
            .skip(1)
            .filter_map(|pair| pair.split_once("\", ").map(|(word, rest)| (word, rest.split(')').next().unwrap_or_default())))
            .collect();
        let enumeration = values[0].1.split("::").next().unwrap();
        let variants = documented(part(&file, &format!("pub enum {enumeration} {{")));
        let meaning = |variant: &str| {
            let name = variant.rsplit("::").next().unwrap();
            let found = variants.iter().find(|(line, _)| line.trim_end_matches(',') == name);
            found.unwrap_or_else(|| panic!("{variant} is documented")).1.clone()
        };
        let rows = values.iter().map(|(word, variant)| (code(word), meaning(variant)));
        text.push_str(&format!("\n## {}\n\n{}", heading(&file, line), table(["value", "meaning"], rows)));
    }
    let of = |from: &str| {
        rows(from).into_iter().map(keyed).map(|(key, meaning)| (key, meaning.replace("bfd.DetectMult: ", ""))).collect::<Vec<_>>()
    };
    text.push_str(&format!("\n## liveness\n\n{}", table(["field", "meaning"], of("pub struct Liveness {"))));
    text.push_str(&format!("\nOf `wired` and `wireless`:\n\n{}", table(["field", "meaning"], of("pub struct Pace {"))));
    let keys: String =
        source("src/config/configmap.rs").lines().filter_map(|line| line.strip_prefix("//! |")).map(|row| format!("|{row}\n")).collect();
    text.push_str(&format!("\n## Which key of the ConfigMap is read how\n\n{keys}"));
    page("settings", "Settings", &text);
}

/// The setting whose values the line names: it is told a few lines below.
fn heading(file: &str, line: &str) -> String {
    let after = &file[file.find(line).unwrap()..];
    let call = &after[after.find("word(text, \"").expect("it is used") + 12..];
    call.split('"').next().unwrap().to_owned()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn commands() {
    let mut text = "Where to run them: in an agent's pod, `kubectl exec -n lanlord ds/lanlord -- lanlord VERB`, or with the plugin, `kubectl lanlord VERB`; \
                    those that only read files anywhere.\n"
        .to_owned();
    let mut all = Cli::command();
    all.build();
    for verb in all.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let name = verb.get_name().to_owned();
        // What the variables hold here is nobody else's.
        let help = verb.clone().mut_args(|argument| argument.hide_env_values(true)).term_width(100).render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!("\n## lanlord {name}\n\n```text\n{}\n```\n", help.join("\n").trim()));
    }
    page("commands", "Commands", &text);
}
