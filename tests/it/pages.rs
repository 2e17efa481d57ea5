//! Links within the documentation lead somewhere, to a file that is there and to a heading that it has; and the version of Kubernetes that
//! is named is the one that the tests run on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::fences::pages;

/// What GitHub makes of the headings of a page.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |letter: &char| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter);
    headings.map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let (mut dead, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            if target.starts_with("http") || target.contains(' ') {
                continue;
            }
            seen += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if !file.exists() || (!heading.is_empty() && !anchors(&file).contains(heading)) {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere: {dead:#?}");
    assert!(seen > 50, "the links are found");
}

#[test]
fn the_version_of_kubernetes_that_is_named_is_the_one_that_the_tests_run_on() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let script = read("scripts/kube.sh");
    let version = script.lines().find_map(|line| line.strip_prefix("KUBERNETES=v")).expect("scripts/kube.sh names the version");
    assert!(read("docs/concepts.md").contains(&format!("Kubernetes {version} ")), "docs/concepts.md names another than {version}");
}
