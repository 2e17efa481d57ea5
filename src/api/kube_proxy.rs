//! Asks this node's kube-proxy for its health: `GET /healthz` on port 10256, 200 while it keeps up with the Services, 503 when it does
//! not (or when its Node is about to be deleted, KEP-3836). On k3s the same, inside the k3s process.
//!
//! A node may have no kube-proxy at all (Cilium replaces it), or one that listens elsewhere: nobody who never answered is unhealthy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// kube-proxy's `--healthz-bind-address` has this port by default.
const PORT: u16 = 10256;
/// Between two questions.
const PERIOD: Duration = Duration::from_secs(2);
/// For one answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// So many bad answers in a row make it unhealthy: a kube-proxy that is restarted is back before.
const BAD: u32 = 3;
/// So many good answers in a row make it healthy again.
const GOOD: u32 = 2;

/// Publishes whether kube-proxy is unhealthy, until `shutdown`.
///
/// # Errors
/// None.
pub async fn run(unhealthy: watch::Sender<bool>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut verdict = Verdict::default();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let answer = ask().await;
        if verdict.hear(answer) {
            if verdict.unhealthy {
                tracing::warn!(?answer, "kube-proxy of this node is unhealthy: other nodes are preferred");
            } else {
                tracing::info!("kube-proxy of this node is healthy");
            }
            unhealthy.send_replace(verdict.unhealthy);
        }
    }
}

/// What came of one question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// 200
    Healthy,
    /// 503
    Unhealthy,
    /// Nobody listens, or somebody else does, or nothing came in time.
    None,
}

/// In IPv6-only clusters it may listen on `::1` alone.
async fn ask() -> Answer {
    for host in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        match tokio::time::timeout(DEADLINE, status(host, PORT)).await {
            Ok(Ok(200)) => return Answer::Healthy,
            Ok(Ok(503)) => return Answer::Unhealthy,
            Ok(Ok(_)) | Err(_) => return Answer::None,
            Ok(Err(_)) => {}
        }
    }
    Answer::None
}

/// The status code; 0 if what listens there does not speak HTTP.
async fn status(host: IpAddr, port: u16) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let code = std::str::from_utf8(&line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
    Ok(code.unwrap_or(0))
}

/// Several answers alike change it, a single one does not.
#[derive(Debug, Default)]
struct Verdict {
    unhealthy: bool,
    answered: bool,
    /// Answers in a row that speak against `unhealthy` as it is.
    against: u32,
}

impl Verdict {
    /// Whether that changed it.
    fn hear(&mut self, answer: Answer) -> bool {
        self.answered |= answer != Answer::None;
        let bad = self.answered && answer != Answer::Healthy;
        self.against = if bad == self.unhealthy { 0 } else { self.against + 1 };
        let changes = self.against >= if self.unhealthy { GOOD } else { BAD };
        if changes {
            self.unhealthy = bad;
            self.against = 0;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// `h`ealthy, `u`nhealthy, `-` none → the verdict after each: `.` healthy, `!` unhealthy.
    fn heard(answers: &str) -> String {
        let mut verdict = Verdict::default();
        answers
            .chars()
            .map(|answer| {
                let answer = match answer {
                    'h' => Answer::Healthy,
                    'u' => Answer::Unhealthy,
                    _ => Answer::None,
                };
                let before = verdict.unhealthy;
                assert_eq!(verdict.hear(answer), before != verdict.unhealthy);
                if verdict.unhealthy { '!' } else { '.' }
            })
            .collect()
    }

    #[test]
    fn who_never_answered_is_not_unhealthy() {
        assert_eq!(heard("--------"), "........");
        assert_eq!(heard("----h---"), ".......!");
    }

    #[test]
    fn three_bad_answers_in_a_row_make_it_unhealthy_and_two_good_ones_healthy() {
        assert_eq!(heard("huuhu-u"), "......!");
        assert_eq!(heard("uuuhuhh-hh"), "..!!!!....");
    }

    #[tokio::test]
    async fn the_status_code_is_read_and_anything_else_is_no_answer() {
        for (reply, expected) in
            [("HTTP/1.1 200 OK\r\n\r\n", Some(200)), ("HTTP/1.1 503 X\r\n\r\n", Some(503)), ("SSH-2.0-x yes", Some(0)), ("", None)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
                stream.write_all(reply.as_bytes()).await.unwrap();
            };
            let (_, status) = tokio::join!(serve, status(Ipv4Addr::LOCALHOST.into(), port));
            assert_eq!(status.ok(), expected, "{reply:?}");
        }
    }
}
