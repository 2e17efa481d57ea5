//! The doors: `k3s/install.sh`, `kind/quickstart.sh` and `scripts/image.sh` on machines that are a folder. The commands they call are
//! stand-ins, first on the path, that note each call and answer what the test wants; so a test sees what is said, what is done, and in
//! which order.

mod image;
mod k3s;
mod kind;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A machine: its files below `root`, its commands in `bin`.
struct Machine {
    folder: tempfile::TempDir,
}

/// What a script said and did.
struct Outcome {
    succeeded: bool,
    /// Standard output, then standard error.
    said: String,
    /// One call a line, as it would be typed.
    calls: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.path("bin")).unwrap();
        fs::create_dir(machine.path("root")).unwrap();
        // What the machine that runs the tests has of these must not be found.
        for name in ["docker", "podman", "nerdctl", "kind", "kubectl", "k3s", "systemctl", "rc-service", "ip"] {
            machine.command(name, "exit 127");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the machine.
    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.path("root").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path("root").join(path.trim_start_matches('/'))).ok()
    }

    /// A command of the machine: it notes how it was called, then does this.
    fn command(&self, name: &str, body: &str) -> &Self {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>\"$CALLS\"\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// A command that answers the first of these whose pattern (of `case`) its arguments match, with this text.
    fn answers(&self, name: &str, answers: &[(&str, &str)]) -> &Self {
        let mut body = "case \"$*\" in\n".to_owned();
        for (pattern, text) in answers {
            let quoted = text.replace('\'', "'\\''");
            body.push_str(&format!("{pattern}) printf '%s' '{quoted}' ;;\n"));
        }
        body.push_str("*) exit 1 ;;\nesac");
        self.command(name, &body)
    }

    fn run(&self, script: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
        let _ = fs::remove_file(self.path("calls"));
        let shell = if script.starts_with("scripts/") { "bash" } else { "sh" };
        let output = Command::new(shell)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("CALLS", self.path("calls"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect();
        Outcome { succeeded: output.status.success(), said, calls }
    }

    /// Every file of the machine, with what is in it.
    fn files(&self) -> Vec<(PathBuf, String)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.path("root")]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push((path.clone(), fs::read_to_string(path).unwrap())) }
            }
        }
        files.sort();
        files
    }
}

impl Outcome {
    /// It went well, and all of this was said in this order.
    #[track_caller]
    fn says(&self, lines: &[&str]) -> &Self {
        assert!(self.succeeded, "{}", self.said);
        self.tells(lines)
    }

    /// It refused, with this reason.
    #[track_caller]
    fn refuses(&self, reason: &str) -> &Self {
        assert!(!self.succeeded, "it was to refuse: {reason}\n{}", self.said);
        self.tells(&["error: ", reason])
    }

    #[track_caller]
    fn tells(&self, lines: &[&str]) -> &Self {
        let mut rest = &*self.said;
        for line in lines {
            let at = rest.find(line).unwrap_or_else(|| panic!("not said, or not here: {line:?}\n{}", self.said));
            rest = &rest[at + line.len()..];
        }
        self
    }

    #[track_caller]
    fn is_silent_about(&self, text: &str) -> &Self {
        assert!(!self.said.contains(text), "{text:?} was said:\n{}", self.said);
        self
    }

    /// No call but such as only look.
    #[track_caller]
    fn only_looked(&self) -> &Self {
        let looks = [
            " get",
            " info",
            " ps",
            " inspect",
            " --version",
            "is-active",
            "status",
            "uname",
            "addr show",
            "route show",
            " config get-contexts",
        ];
        for call in &self.calls {
            assert!(looks.iter().any(|look| call.contains(look)), "this is more than a look: {call}\n{}", self.said);
        }
        self
    }

    #[track_caller]
    fn called(&self, call: &str) -> &Self {
        assert!(self.calls.iter().any(|seen| seen == call), "no call {call:?} among\n{}\n{}", self.calls.join("\n"), self.said);
        self
    }
}
