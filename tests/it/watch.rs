//! `lanlord watch` as a person runs it: events over HTTP in, lines out, across a restart of the agent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};

use clap::Parser;
use lanlord::app::report::{Report, TransitionReport};
use lanlord::cli::watch::Watch;

#[derive(Parser)]
#[command(name = "lanlord watch")]
struct Cli {
    #[command(flatten)]
    watch: Watch,
}

/// A state of the agent `instance` that knows transitions `numbers`.
fn state(instance: &str, numbers: std::ops::RangeInclusive<u64>) -> String {
    let entry = |number| TransitionReport {
        number,
        at: "2026-11-21T11:40:22.123Z".to_owned(),
        kind: "owner".to_owned(),
        text: format!("{instance} says {number}\u{1b}[2J"),
        ..TransitionReport::default()
    };
    let report = Report { instance: instance.to_owned(), transitions: numbers.map(entry).collect(), ..Report::default() };
    format!("id: 1\nretry: 1000\nevent: state\ndata: {}\n\n: nothing new\n\n", serde_json::to_string(&report).unwrap())
}

/// Answers one connection after the other with these.
fn serve(answers: Vec<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /events "));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

/// A terminal that is closed after so many lines.
struct Terminal {
    lines: usize,
    text: Vec<u8>,
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.iter().filter(|byte| **byte == b'\n').count() >= self.lines {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.iter().filter(|byte| **byte == b'\n').count() >= self.lines { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

fn watch(http: SocketAddr, more: &[&str], lines: usize) -> (io::Result<u8>, Vec<String>, String) {
    let http = http.to_string();
    let cli = Cli::try_parse_from(["lanlord watch", "--http", &http].iter().chain(more)).unwrap();
    let (mut out, mut err) = (Terminal { lines, text: Vec::new() }, Vec::new());
    let code = cli.watch.run_on(&mut out, &mut err);
    let text = String::from_utf8(out.text).unwrap();
    (code, text.lines().map(str::to_owned).collect(), String::from_utf8(err).unwrap())
}

const HEAD: &str = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[test]
fn transitions_are_lines_told_once_across_a_restart_and_gaps_are_told() {
    let first = format!("{HEAD}{}{}{}", state("a", 1..=3), state("a", 1..=4), state("a", 8..=8));
    let http = serve(vec![first, "HTTP/1.0 503 x\r\n\r\nfull\n".to_owned(), format!("{HEAD}{}", state("b", 1..=2))]);
    let (end, lines, err) = watch(http, &["--last", "1"], 5);
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::BrokenPipe, "Ctrl-C or a closed terminal is its end");
    let said: Vec<&str> = lines.iter().map(|line| line.split("says").next().unwrap().trim()).collect();
    assert_eq!(said.len(), 5);
    assert_eq!(lines[0], "2026-11-21T11:40:22Z  owner          a says 3\u{fffd}[2J", "nothing of it moves the cursor");
    for (line, words) in lines.iter().zip(["a says 3", "a says 4", "a says 8", "b says 1", "b says 2"]) {
        assert!(line.contains(words), "{words} in {lines:?}");
    }
    assert!(err.contains("3 transitions are missing here") && err.contains("ended; trying on"), "{err}");
    assert_eq!(err.lines().count(), 2, "{err}");
}

#[test]
fn the_json_form_is_one_object_a_line() {
    let (_, lines, _) = watch(serve(vec![format!("{HEAD}{}", state("a", 1..=2))]), &["-o", "json"], 2);
    let entries: Vec<TransitionReport> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_agent_that_cannot_be_watched_is_told_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, lines, err) = watch(nobody, &[], 1);
    assert_eq!((code.unwrap(), lines.len()), (2, 0));
    assert!(err.contains("no agent answers") && err.contains("kubectl get pods -A") && err.contains("--http"), "{err}");
    let (code, _, err) = watch(serve(vec!["HTTP/1.0 403 x\r\n\r\nonly from this host\n".to_owned()]), &[], 1);
    assert!(code.unwrap() == 2 && err.contains("403: only from this host"), "{err}");
    let (code, _, err) = watch(serve(vec!["HTTP/1.0 404 x\r\n\r\n".to_owned()]), &[], 1);
    assert!(code.unwrap() == 2 && err.contains("older than this command"), "{err}");
}
