//! How fast the gate scans, beside what else does the work and beside what the work costs at least: `make bench`.
//!
//! Every figure is measured in one run of this program, each contender in a process of its own and all of them in turn, so that
//! the ratios hold on a machine that is busy with other things. Nothing here passes or fails; it prints.

mod corpus;
mod fetch;
mod gate;
mod loopback;
mod machine;
mod measure;
mod peers;
mod plan;
mod result;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// The gate's own, so that what is measured in process is what the gate does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What this program takes.
const OURS: [&str; 4] = ["P1", "P2", "P3", "P8"];
/// All that `make bench ONLY=` may name: these, and what `tests/aws/bench` takes.
const IDS: [&str; 10] = ["P1", "P2", "P3", "P4", "P5", "P5-member", "P6", "P7", "P8", "manifest"];

/// Ours against ruff, bandit and the floors: prints a table, and adds the figures to bench.json in the target folder.
#[derive(Debug, Parser)]
struct Cli {
    /// How often each contender runs; the figures are medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=101))]
    runs: u16,
    /// The Python index, where it is not the one that this machine's pip uses.
    #[arg(long, value_name = "URL")]
    index_url: Option<String>,
    /// Only these, for example P2,P8; those of the AWS half are left to it.
    #[arg(long, value_delimiter = ',', value_name = "P", value_parser = clap::builder::PossibleValuesParser::new(IDS))]
    only: Vec<String>,
    #[command(subcommand)]
    command: Option<Child>,
}

/// What this program runs of itself.
#[derive(Debug, Subcommand)]
enum Child {
    /// Runs a command and prints what it cost.
    #[command(hide = true)]
    Measure {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Does one kind of work on archives.
    #[command(hide = true)]
    Work { kind: work::Kind, archives: Vec<PathBuf> },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Child::Measure { command }) => measure::child(&command),
        Some(Child::Work { kind, archives }) => work::run(kind, archives),
        None => bench(&cli),
    }
}

fn bench(cli: &Cli) -> Result<()> {
    let wanted = |id: &str| cli.only.is_empty() || cli.only.iter().any(|only| only == id);
    if !OURS.into_iter().any(wanted) {
        return result::note("P1, P2, P3, P8: not asked for");
    }
    let own = std::env::current_exe()?;
    // …/target/release/gate-bench
    let target = own.ancestors().nth(2).context("this program does not lie in a target folder")?.to_owned();
    let corpus = fetch::corpus(&target.join("bench-corpus"), cli.index_url.as_deref())?;
    let peers = peers::install(&target.join("bench-venv"))?;
    let plan = plan::Plan { own: &own, target: &target, corpus: &corpus, peers: &peers, runs: cli.runs.into() };
    let path = target.join("bench.json");
    let mut document = result::Document {
        machine: machine::read(),
        runs: cli.runs,
        peers: peers.versions(),
        corpus: corpus.sets(),
        figures: Vec::new(),
    };
    // Stored one after the other: it takes long.
    if wanted("P1") {
        document.figures.push(plan.p1()?);
        document.merge_into(&path)?;
    }
    if wanted("P2") {
        document.figures.push(plan.p2()?);
        document.merge_into(&path)?;
    }
    if wanted("P3") || wanted("P8") {
        let both = gate::p3_and_p8(&plan)?;
        document.figures.extend(both.into_iter().filter(|figure| wanted(figure.id)));
        document.merge_into(&path)?;
    }
    result::print(&document, &path)
}
