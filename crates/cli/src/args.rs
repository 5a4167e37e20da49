//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The port of `gate serve`.
pub(crate) const PORT: u16 = 8765;

/// As the parameter `ScanSeconds` of template.yaml.
const SCAN_SECONDS: u32 = 3600;

/// Decides which open-source packages may be used, by a written policy, and publishes the approved ones.
#[derive(Debug, Parser)]
#[command(name = "gate", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch, scan and decide every row of a request; publish what is approved
    ///
    /// The request is a CSV file of rows `name,source[,sha256][,requester]`. A source is the https URL of an archive, or a
    /// release on the Python index: pkg:pypi/flask@3.0.3
    ///
    /// Exit status: 0 all approved; 1 some refused or held; 2 some failed or invalid, or the request cannot be read.
    Check(Check),
    /// Scan and decide one archive on disk; publish nothing
    ///
    /// Exit status as of `gate check`.
    Scan(Scan),
    /// Tell why a verdict is what it is
    Explain(Explain),
    /// Serve the approved packages on this machine, for pip
    ///
    /// pip install --index-url http://127.0.0.1:PORT/simple/ NAME
    Serve(Serve),
    /// Work with policies
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// The child process of a scan
    #[command(hide = true)]
    ScanWorker {
        /// For the scanner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Report every fault of a policy at once
    ///
    /// Exit status: 0 none, 2 some.
    Check {
        /// The policy.toml
        file: PathBuf,
    },
}

/// What verdicts depend on besides the packages.
#[derive(Debug, Args)]
pub(crate) struct Rules {
    /// The policy; without it the built-in one, which is examples/policy.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Known vulnerabilities: an OSV export of the PyPI ecosystem, a zip or a folder
    #[arg(long, value_name = "PATH")]
    pub(crate) advisories: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The request
    pub(crate) request: PathBuf,
    #[command(flatten)]
    pub(crate) rules: Rules,
    /// The Python index; default: PIP_INDEX_URL, else what this machine's pip or uv is configured with or carries
    #[arg(long, value_name = "URL")]
    pub(crate) index_url: Option<String>,
    /// Where everything is kept: fetched archives, reports, decisions, approved packages, mails, report.html
    #[arg(long, value_name = "DIR", default_value = ".gate")]
    pub(crate) out: PathBuf,
    /// Rows worked on at once; default: twice the number of cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Require a report of this scanner too; needs a `gate` that was built with `--features external`
    ///
    /// Region, credentials and endpoint are found as every AWS SDK finds them: AWS_REGION, AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_CODEGURU_SECURITY. A row on which the scanner does not report is failed.
    #[arg(long, value_name = "NAME")]
    pub(crate) external_scanner: Option<ExternalScanner>,
    /// After how many seconds an external scan counts as lost
    #[arg(long, value_name = "N", default_value_t = SCAN_SECONDS, requires = "external_scanner",
        value_parser = clap::value_parser!(u32).range(1..=14_400))]
    pub(crate) scan_seconds: u32,
    /// Print one JSON document instead of a table (docs/check.schema.json)
    #[arg(long)]
    pub(crate) json: bool,
}

/// A scanner besides the built-in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExternalScanner {
    /// Amazon CodeGuru Security, which ended on 2025-11-20, or a private endpoint of the same API
    #[value(name = "codeguru-security")]
    CodeGuruSecurity,
}

#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// A wheel, sdist, zip or tar.gz
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) rules: Rules,
    /// Print one JSON document instead of text (docs/check.schema.json)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A package's name, or at least 8 digits of an artifact's SHA-256
    #[arg(value_name = "NAME|DIGEST")]
    pub(crate) subject: String,
    /// The output folder of `gate check`
    #[arg(long, value_name = "DIR", default_value = ".gate")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = PORT)]
    pub(crate) port: u16,
    /// The output folder of `gate check`
    #[arg(long, value_name = "DIR", default_value = ".gate")]
    pub(crate) out: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, Command, ExternalScanner, Parser as _};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_external_scan_has_a_limit_and_only_a_known_scanner_has_one() {
        let check = |extra: &[&str]| match Cli::try_parse_from(["gate", "check", "request.csv"].iter().chain(extra)) {
            Ok(Cli { command: Command::Check(check) }) => Some((check.external_scanner, check.scan_seconds)),
            _ => None,
        };
        let scanner = ["--external-scanner", "codeguru-security"];
        assert_eq!(check(&[]), Some((None, 3600)));
        assert_eq!(check(&scanner), Some((Some(ExternalScanner::CodeGuruSecurity), 3600)));
        for (seconds, fits) in [(0, false), (1, true), (2, true), (14_399, true), (14_400, true), (14_401, false)] {
            let seconds = seconds.to_string();
            let found = check(&[&scanner[..], &["--scan-seconds", &seconds]].concat());
            assert_eq!(found.is_some(), fits, "{seconds}");
            assert_eq!(check(&["--scan-seconds", &seconds]), None, "of what?");
        }
        for name in ["", "codeguru", "CodeGuru-Security", "codeguru-security,snyk", "built-in"] {
            assert_eq!(check(&["--external-scanner", name]), None, "{name}");
        }
    }
}
