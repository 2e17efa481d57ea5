//! The house keeps its shape: who may import whom, what is pure, where `unsafe` may stand, no file without a heading, no file that no
//! `mod` reaches. One crate has no walls made by the compiler, so this test builds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module → modules it may import, and what its `task.rs` may add. A path names a part: `l2::desired`.
const IMPORTS: &[(&str, &[&str], &[&str])] = &[
    ("machine", &[], &[]),
    ("addr", &[], &[]),
    ("facts", &["addr"], &[]),
    ("wire", &["addr", "facts"], &[]),
    ("net", &["addr", "facts", "machine"], &[]),
    ("telemetry", &["addr", "facts"], &[]),
    ("api", &["addr", "facts"], &[]),
    ("config", &["addr", "facts"], &["api"]),
    ("l2", &["machine", "addr", "facts", "wire"], &["net", "telemetry"]),
    ("bfd", &["machine", "addr", "facts", "wire"], &["net", "telemetry"]),
    // Peers are watched by BFD, as members are.
    ("bgp", &["machine", "addr", "facts", "wire", "bfd::desired", "bfd::status"], &["net", "telemetry"]),
    ("plan", &["addr", "facts", "config", "l2::desired", "bfd::desired", "bgp::desired"], &[]),
    ("membership", &["machine", "addr", "facts", "bfd::desired", "bfd::status"], &["api", "net", "telemetry"]),
    ("leader", &["machine", "addr", "facts", "config", "plan"], &["api", "net", "telemetry"]),
    // Whoever asks from outside judges who lives, and what the leader would do, by the agents' own rules; and asks the LAN in the agents'
    // own words.
    ("cli", &["addr", "facts", "config", "plan", "membership::living", "leader", "l2", "net", "api", "telemetry", "app"], &[]),
    (
        "app",
        &["machine", "addr", "facts", "wire", "net", "telemetry", "api", "config", "l2", "bfd", "bgp", "plan", "membership", "leader"],
        &[],
    ),
];

/// Modules that do I/O; everywhere else only `task.rs` may.
const SHELLS: &[&str] = &["net", "api", "telemetry", "cli", "app", "main", "lib"];

/// Files of shells that are pure all the same.
const PURE: &[&str] = &[
    "api/convert.rs",
    "api/objects.rs",
    "api/store.rs",
    "app/member.rs",
    "app/problems.rs",
    "app/report.rs",
    "app/services.rs",
    "app/transitions.rs",
];

/// What a pure file must not mention.
const IMPURE: &[&str] = &[
    "tokio::",
    "async fn",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "socket2::",
    "fastrand::u",
    "thread::",
];

struct Source {
    path: PathBuf,
    module: String,
    is_task: bool,
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(&root).unwrap().to_path_buf();
            let first = relative.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let is_task = relative.file_name().is_some_and(|name| name == "task.rs") || relative.iter().any(|part| part == "task");
            let code = text
                .split("#[cfg(test)]")
                .next()
                .unwrap()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            Source { path: relative, module: first, is_task, code, text }
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every `crate::a::b` in the code, as `a::b`.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.split("crate::")
        .skip(1)
        .map(|rest| {
            let mut parts = rest.split("::").map(|part| part.chars().take_while(|c| word(*c)).collect::<String>());
            let first = parts.next().unwrap_or_default();
            match parts.next() {
                Some(second) if !second.is_empty() => format!("{first}::{second}"),
                Some(_) | None => first,
            }
        })
        .collect()
}

fn allowed(import: &str, table: &[&str]) -> bool {
    table.iter().any(|entry| import == *entry || import.starts_with(&format!("{entry}::")))
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, (&[&str], &[&str])> = IMPORTS.iter().map(|(module, may, task)| (*module, (*may, *task))).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        if source.module == "main" || source.module == "lib" {
            continue;
        }
        assert!(!source.code.contains("crate::{"), "{}: one path per `use crate::…`, so that this test can read it", source.path.display());
        let (may, task) =
            table.get(source.module.as_str()).unwrap_or_else(|| panic!("module {} is not in the import table", source.module));
        for import in imports(&source.code) {
            let own = import == source.module || import.starts_with(&format!("{}::", source.module));
            if !(own || allowed(&import, may) || (source.is_task && allowed(&import, task))) {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the import table of the design:\n{}", wrong.join("\n"));
}

#[test]
fn only_shells_and_task_files_do_io() {
    let mut wrong = Vec::new();
    let is_pure = |source: &&Source| PURE.iter().any(|path| source.path == Path::new(path)) || !SHELLS.contains(&source.module.as_str());
    for source in sources().iter().filter(|source| !source.is_task).filter(is_pure) {
        wrong.extend(
            IMPURE.iter().filter(|word| source.code.contains(*word)).map(|word| format!("{} mentions {word}", source.path.display())),
        );
    }
    assert!(wrong.is_empty(), "pure files touch the world:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_in_net() {
    let word = concat!("uns", "afe ");
    let outside: Vec<String> = sources()
        .iter()
        .filter(|source| source.module != "net" && source.code.contains(word))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(outside.is_empty(), "outside net/: {outside:?}");
}

#[test]
fn every_file_opens_with_a_heading() {
    let bare: Vec<String> =
        sources().iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.path.display().to_string()).collect();
    assert!(bare.is_empty(), "no //! at the top of {bare:?}");
}

#[test]
fn every_file_is_reached_by_a_mod_line() {
    let sources = sources();
    let orphans: Vec<String> = sources
        .iter()
        .filter(|source| source.module != "main" && source.module != "lib")
        .filter(|source| {
            let path = &source.path;
            let (parent, name) = if path.file_name().unwrap() == "mod.rs" {
                (path.parent().unwrap().parent().unwrap(), path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned())
            } else {
                (path.parent().unwrap(), path.file_stem().unwrap().to_string_lossy().into_owned())
            };
            let declares = |other: &Source| {
                let stem = other.path.with_extension("");
                let is_parent = if parent.as_os_str().is_empty() {
                    other.module == "lib"
                } else {
                    other.path == parent.join("mod.rs") || stem == parent
                };
                let names = [format!("mod {name};"), format!("mod r#{name};")];
                is_parent && other.text.lines().any(|line| names.iter().any(|name| line.ends_with(name)))
            };
            !sources.iter().any(declares)
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(orphans.is_empty(), "no mod line reaches {orphans:?}");
}

#[test]
#[expect(clippy::print_stdout, reason = "sizes are for people: `cargo test sizes -- --nocapture`")]
fn sizes_are_printed_for_whoever_looks() {
    let mut sizes: Vec<(usize, String)> =
        sources().iter().map(|source| (source.text.lines().count(), source.path.display().to_string())).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in sizes.iter().take(12) {
        println!("{lines:6} {path}");
    }
}
