//! `lanlord status` as a person runs it: a status over HTTP in, words and exit code out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use clap::Parser;
use lanlord::app::problems::problems;
use lanlord::app::report::Report;
use lanlord::cli::status::Status;

use crate::config::golden;

#[derive(Parser)]
#[command(name = "lanlord status")]
struct Cli {
    #[command(flatten)]
    status: Status,
}

/// Answers one request.
fn serve(code: u16, body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        assert!(request.starts_with(b"GET /status "), "{}", String::from_utf8_lossy(&request));
        write!(stream, "HTTP/1.0 {code} whatever\r\nx: y\r\n\r\n{body}").unwrap();
    });
    address
}

fn status(http: SocketAddr, more: &[&str]) -> (u8, String, String) {
    let http = http.to_string();
    let cli = Cli::try_parse_from(["lanlord status", "--http", &http].iter().chain(more)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.status.run_on(&mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn read(name: &str) -> String {
    std::fs::read_to_string(golden().join("status").join(name)).unwrap_or_default()
}

/// A golden status, with its problems, as an agent answers it.
fn answer(name: &str) -> String {
    let mut report: Report = serde_json::from_str(&read(&format!("{name}.json"))).unwrap();
    report.problems = problems(&report);
    serde_json::to_string(&report).unwrap()
}

#[test]
fn people_read_what_the_agent_sees_and_what_to_do() {
    let all = ["well", "trouble", "starting"].into_iter().flat_map(|name| [(name, None), (name, Some("bgp"))]);
    for (name, part) in all {
        let (code, out, err) = status(serve(200, answer(name)), part.as_slice());
        let text = part.map_or(format!("{name}.txt"), |part| format!("{name}-{part}.txt"));
        let expected = u8::from(name == "trouble" || name == "starting" && part.is_none());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(golden().join("status").join(&text), &out).unwrap();
        }
        assert_eq!((code, err.as_str()), (expected, ""), "{name}");
        assert_eq!(out, read(&text), "{name}");
    }
}

#[test]
fn what_others_wrote_moves_no_cursor() {
    let mut report: Report = serde_json::from_str(&read("trouble.json")).unwrap();
    report.problems = problems(&report);
    report.problems[0].what = "pool \u{1b}[2Jall is well\r was asked for".to_owned();
    let (_, out, _) = status(serve(200, serde_json::to_string(&report).unwrap()), &[]);
    assert!(out.contains("pool \u{fffd}[2Jall is well\u{fffd} was asked for"), "{out}");
}

#[test]
fn the_json_form_is_the_agents_answer_as_it_is() {
    let answer = answer("trouble");
    let (code, out, err) = status(serve(200, answer.clone()), &["-o", "json"]);
    assert_eq!((code, out.trim_end(), err.as_str()), (1, answer.trim_end(), ""));
    let (_, out, _) = status(serve(200, answer), &["bgp", "-o", "json"]);
    let part: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&part["node"], &part["bgp"][0]["name"], part.as_object().unwrap().len()), (&"pi1".into(), &"tor".into(), 2));
}

#[test]
fn an_agent_that_cannot_be_asked_is_told_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, out, err) = status(nobody, &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("no agent answers") && err.contains("kubectl get pods -A") && err.contains("--http"), "{err}");
    let (code, _, err) = status(serve(403, "only from this host\n".to_owned()), &[]);
    assert!(code == 2 && err.contains("only from this host") && err.contains("127.0.0.1:7475"), "{err}");
    let (code, _, err) = status(serve(200, "<html>".to_owned()), &[]);
    assert!(code == 2 && err.contains("is no status"), "{err}");
}
