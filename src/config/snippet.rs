//! The line that a problem stands in with a mark below, for people at a terminal. Of a long line a window is shown.
//!
//! What looks like the value of a password is never shown, however its key is spelt: the output of `lanlord check` ends up in bug reports.

use super::problem::edits;

/// Characters shown.
const WIDTH: usize = 160;

/// Line and column from 1; empty if the line cannot, or must not, be shown.
pub(super) fn snippet(text: &str, line: u32, column: u32) -> String {
    let (Some(above), Some(column)) = (line.checked_sub(1), column.checked_sub(1)) else { return String::new() };
    let (number, above, mut column) = (line.to_string(), above as usize, column as usize);
    let Some(line) = text.lines().nth(above) else { return String::new() };
    if line.trim().is_empty() || is_inside_password(text, above, line) {
        return String::new();
    }
    // A tab counts one column but prints as many.
    let mut shown: Vec<char> = line.chars().map(|c| if c == '\t' { '→' } else { c }).collect();
    if let Some(value) = value_of_password(line) {
        shown.truncate(value);
        shown.extend([' ', '…']);
        column = column.min(value + 1);
    }
    let skipped = if column < WIDTH { 0 } else { column - WIDTH / 2 };
    let dots = if skipped > 0 { "…" } else { "" };
    let shown: String = shown.into_iter().skip(skipped).take(WIDTH).collect();
    let mark = " ".repeat(column - skipped + dots.chars().count());
    format!("  {number} | {dots}{}\n  {} | {mark}^\n", shown.trim_end(), " ".repeat(number.len()))
}

/// How many characters stand before the value of the first password of a line, if there is one.
fn value_of_password(line: &str) -> Option<usize> {
    let ends = line.char_indices().filter(|(_, c)| matches!(c, ':' | '='));
    let found = ends.map(|(at, _)| at).find(|at| is_password(&key(&line[..*at])))?;
    let has_value = !line[found + 1..].trim().is_empty();
    has_value.then(|| line[..=found].chars().count())
}

/// Whether the line goes on with a password that an earlier one began, as `password: |` does.
fn is_inside_password(text: &str, above: usize, line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let names = |line: &&str| {
        let key = key(line.trim_end().trim_end_matches(['|', '>', '-', '+', ' ', '"', '\'', ':']));
        is_password(&key) && !key.contains("secret") || value_of_password(line).is_some()
    };
    let before: Vec<&str> = text.lines().take(above).filter(|line| !line.trim().is_empty()).collect();
    let outer = before.iter().rev().find(|before| indent(before) < indent(line));
    let is_entry = line.contains(':');
    outer.is_some_and(names) || before.last().is_some_and(|before| names(before) && !is_entry)
}

/// The word at the end of `text`: small letters and digits.
fn key(text: &str) -> String {
    let word = text.trim_end().trim_end_matches(['"', '\'', '\\']).rsplit(|c: char| !c.is_alphanumeric() && !"-_".contains(c)).next();
    word.unwrap_or_default().chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_password(key: &str) -> bool {
    const SIGNS: [&str; 5] = ["passw", "passphrase", "pwd", "secret", "md5"];
    let [key_chars, password]: [Vec<char>; 2] = [key.chars().take(64).collect(), "password".chars().collect()];
    key == "pass" || SIGNS.iter().any(|sign| key.contains(sign)) || edits(&key_chars, &password) <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_points_at_the_column() {
        assert_eq!(snippet("a\n\tb: c\n", 2, 2), "  2 | →b: c\n    |  ^\n");
        assert_eq!(snippet("a: b", 2, 1), "");
        assert_eq!(snippet("a: b", 0, 0), "");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_column_is_shown() {
        let shown = snippet(&format!("{}: b", "a".repeat(300)), 1, 303);
        let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
        assert_eq!(lines[0][lines[1].iter().position(|c| *c == '^').unwrap()], 'b', "{shown}");
        assert!(lines[0].len() < 200);
    }

    #[test]
    fn a_password_is_not_shown_however_it_is_written() {
        for line in [
            "password: hunter2",
            "pasword: hunter2",
            "  - \"passwd\": hunter2, x: 1",
            "{name: a, password: 'hunter2', x: 1}",
            "passwordSecret: hunter2",
            "password=hunter2",
            "passw0rd :hunter2",
            "x: \"{\\\"password\\\":\\\"hunter2\\\"}\"",
        ] {
            let shown = snippet(line, 1, 1);
            assert!(!shown.contains("hunter2") && shown.contains('^'), "{shown}");
        }
        for (text, line) in [
            ("password: |\n  x\n  hunter2\n", 3),
            ("password: >\n hunter2", 2),
            ("  password: |\n hunter2", 2),
            ("password:\n  [hunter2]", 2),
            ("password: \"x\n  hunter2\"", 2),
        ] {
            assert_eq!(snippet(text, line, 1), "", "{text}");
        }
        for (text, line) in [("passiveMode: 3", 1), ("password: x\nname: y", 2), ("passwordSecret:\n  name: y", 2)] {
            assert!(snippet(text, line, 1).contains(text.lines().nth(line as usize - 1).unwrap()), "{text}");
        }
    }
}
