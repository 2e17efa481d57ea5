//! The thin binary: parse arguments, start the runtime, print the error chain, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lanlord::app;
use lanlord::cli::run::{LogForm, PageFor, Run};
use lanlord::cli::{Cli, Verb};
use lanlord::config::origin::Origins;
use lanlord::facts::NodeName;
use lanlord::telemetry::guard::Audience;
use lanlord::telemetry::log::{self, LogFormat};

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Check(check) => check.run(),
        Verb::Health(health) => health.run(),
        Verb::Convert(convert) => convert.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::Plan(plan) => plan.run(),
        Verb::Move(relocation) => relocation.run(),
        Verb::RouterConfig(router_config) => router_config.run(),
        Verb::Status(status) => status.run(),
        Verb::Watch(watch) => watch.run(),
        Verb::Suggest(suggest) => suggest.run(),
        Verb::Probe(probe) => probe.run(),
        Verb::Links(links) => links.run(),
        Verb::Metrics(metrics) => metrics.run(),
        Verb::Run(run) => match serve(run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Without a standard error there is nobody to tell.
                drop(writeln!(std::io::stderr(), "lanlord: {error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn serve(run: Run) -> anyhow::Result<()> {
    let format = match run.log_format {
        LogForm::Text => LogFormat::Text,
        LogForm::Json => LogFormat::Json,
    };
    log::init(format, Some(&run.log))?;
    let options = app::Options {
        node: NodeName::new(&run.node),
        config: Origins::try_from(run.config)?,
        namespace: run.namespace,
        http: run.http,
        audience: match run.page_for {
            PageFor::ThisHost => Audience::ThisHost,
            PageFor::Everyone => Audience::Everyone,
        },
        health: run.health_socket,
        state: run.state,
    };
    // One thread: the API's share of the work is small, and a Pi has other things to do. Layer 2 gets its own (see app).
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(app::run(options))
}
