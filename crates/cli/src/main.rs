//! `gate`: Package Gate on one machine. The steps are the libraries' that run on AWS; the ports are local.

mod args;
mod check;
mod dependencies;
mod explain;
mod external;
mod inspect;
mod pipeline;
mod progress;
mod serve;
mod store;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use gate_publisher::directory::DirectoryRepository;

use crate::args::{Cli, Command, PolicyCommand};

/// A scan makes and drops millions of small syntax nodes: an eighth less processor time than with glibc's allocator, measured
/// over the benchmark's corpus.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The exit status of everything that could not be done.
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::ScanWorker { args } => return gate_scanner::worker::child_main(args.into_iter()),
        Command::Check(args) => on_runtime(check::run(args)),
        Command::Scan(args) => inspect::scan(&args),
        Command::Explain(args) => on_runtime(inspect::explain(args)),
        Command::Serve(args) => on_runtime(serve(args)),
        Command::Policy { command: PolicyCommand::Check { file } } => inspect::check_policy(&file),
    };
    match ended {
        Ok(status) => status.into(),
        Err(error) => {
            // What a request, a package or a server says may be part of an error.
            let text: Vec<_> = error.chain().map(ToString::to_string).collect();
            let text: Vec<_> = text.join(": ").lines().map(|line| gate_core::text::escape(line).into_owned()).collect();
            let _ = writeln!(anstream::stderr(), "error: {}", text.join("\n  "));
            TROUBLE.into()
        }
    }
}

fn on_runtime(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn serve(args: args::Serve) -> Result<u8> {
    let ready = |address| {
        let mut out = anstream::stdout();
        let _ = writeln!(out, "serving http://{address}/simple/  (ends with Ctrl-C)");
        let _ = writeln!(out, "pip install --index-url http://{address}/simple/ NAME");
        let _ = out.flush();
    };
    let until = async {
        // Without a signal handler the program ends all the same, only less gently.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    serve::serve(DirectoryRepository::new(args.out.join("approved")), args.port, ready, until).await?;
    Ok(0)
}

/// The columns of the terminal that standard output is; none for a pipe or a file.
pub(crate) fn terminal_width() -> Option<u16> {
    std::io::stdout().is_terminal().then(|| terminal_size::terminal_size().map_or(80, |(width, _)| width.0))
}
