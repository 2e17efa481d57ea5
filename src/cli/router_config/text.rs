//! Lines of a configuration, and comments among them in the router's own form.

use std::net::IpAddr;

use crate::addr::Family;

/// A text that grows by lines.
pub(super) struct Text {
    mark: &'static str,
    text: String,
}

impl Text {
    /// With what comments begin with.
    pub(super) fn new(mark: &'static str) -> Self {
        Self { mark, text: String::new() }
    }

    /// A line.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// A comment.
    pub(super) fn say(&mut self, comment: impl AsRef<str>) {
        self.line(format!("{} {}", self.mark, comment.as_ref()));
    }

    /// A comment that begins a part.
    pub(super) fn part(&mut self, comment: impl AsRef<str>) {
        self.line(self.mark);
        self.say(comment);
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }
}

/// `4` or `6`.
pub(super) fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// The prefix of one address.
pub(super) fn host(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{length}")
}
