//! Log lines on standard error: logfmt (`ts=… level=info msg=assigned address=192.168.1.240 service=default/nginx`) or JSON, one
//! line per transition. Set up once, in `main`.

use std::fmt::{self, Debug, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Libraries that tell each request, or tell again on each attempt what we tell once.
const QUIET: &str = "kube_client=off,kube_runtime=off,hyper=warn,hyper_util=warn,tower=warn,rustls=warn,netlink_proto=warn";

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// logfmt.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The log cannot be set up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// Not a level.
    #[error("{0:?} is no log level: use error, warn, info, debug or trace, or a list such as info,lanlord::l2=debug")]
    Level(String),
    /// Set up twice.
    #[error("the log is set up already")]
    Twice,
}

/// From now on, lines of `level` (default `info`; or a list of `module=level`) and above are written.
pub fn init(format: LogFormat, level: Option<&str>) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(level.unwrap_or("info"))?).with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => builder.fmt_fields(Logfmt).event_format(Logfmt).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_target(false).try_init(),
    }
    .map_err(|_| LogError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = || LogError::Level(level.to_owned());
    for directive in level.split(',') {
        let word = directive.rsplit('=').next().unwrap_or_default().trim();
        // Without this check the filter takes a misspelt level for the name of a module.
        if !["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_ascii_lowercase().as_str()) {
            return Err(wrong());
        }
    }
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|_| wrong())
}

/// Lines and fields as logfmt.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(writer, "ts={} level={level}", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))?;
        let mut fields = Pairs { writer: writer.by_ref(), result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                writer.write_str(fields)?;
            }
        }
        writeln!(writer)
    }
}

impl<'writer> FormatFields<'writer> for Logfmt {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut pairs = Pairs { writer, result: Ok(()) };
        fields.record(&mut pairs);
        pairs.result
    }
}

struct Pairs<'a> {
    writer: Writer<'a>,
    result: fmt::Result,
}

impl Pairs<'_> {
    fn pair(&mut self, field: &Field, text: &str) {
        let key = if field.name() == "message" { "msg" } else { field.name() };
        let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '"' | '\\'));
        let written = if plain { write!(self.writer, " {key}={text}") } else { write!(self.writer, " {key}={text:?}") };
        self.result = self.result.and(written);
    }
}

impl Visit for Pairs<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        self.result = self.result.and(write!(text, "{value:?}"));
        self.pair(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: &str, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(level).unwrap())
            .with_writer(move || writer.clone())
            .fmt_fields(Logfmt)
            .event_format(Logfmt)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_is_logfmt_and_greps_well() {
        let text = lines("info", || {
            let address: std::net::IpAddr = "192.168.1.240".parse().unwrap();
            let _link = tracing::info_span!("link", link = "eth0").entered();
            tracing::info!(%address, service = "default/nginx", why = "a \"b\"\nc", "assigned");
        });
        let (stamp, line) = text.split_once(' ').unwrap();
        assert!(stamp.starts_with("ts=20") && stamp.ends_with('Z'), "{stamp}");
        assert_eq!(line, "level=info msg=assigned address=192.168.1.240 service=default/nginx why=\"a \\\"b\\\"\\nc\" link=eth0\n");
    }

    #[test]
    fn libraries_are_quiet_and_a_level_may_differ_by_module() {
        let text = lines("debug,lanlord::telemetry=warn", || {
            tracing::debug!(target: "kube_client::client", "request");
            tracing::info!("a transition of ours");
            tracing::debug!(target: "elsewhere", "seen");
        });
        assert!(text.ends_with("msg=seen\n") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn a_misspelt_level_is_told() {
        assert_eq!(filter("verbose").unwrap_err(), LogError::Level("verbose".to_owned()));
        assert!(filter("info,lanlord::l2=loud").is_err());
        assert!(filter("WARN").is_ok());
    }
}
