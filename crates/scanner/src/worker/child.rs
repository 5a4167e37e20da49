//! The child's side: limits first, then one scan, then one line.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::status::StatusWriter;
use super::{Answer, Job};
use crate::scan::{Options, ScanError, scan};

/// Files that may be open at once: the three standard ones, their copies, and a few spools of nested archives.
const OPEN_FILES: u64 = 32;

/// Address space that the program itself takes: its code, the main thread's stack, the allocator's arenas.
const PROGRAM_BYTES: u64 = 128 << 20;

/// Does what the last argument asks for; whoever calls this has nothing else to do in this process.
///
/// The artifact is the standard input, the answer goes to the standard output, what is being read to the standard error.
#[must_use]
pub fn child_main(args: impl Iterator<Item = String>) -> ExitCode {
    let Some(job) = args.last().and_then(|text| serde_json::from_str::<Job>(&text).ok()) else {
        let _ =
            writeln!(io::stderr(), "this is a part of the gate that it starts itself; there is nothing to do by hand");
        return ExitCode::from(2);
    };
    match run(&job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(job: &Job) -> io::Result<()> {
    limit(job)?;
    let artifact = File::from(copy(io::stdin())?);
    let status = StatusWriter::new(File::from(copy(io::stderr())?));
    let mut output = File::from(copy(io::stdout())?);
    let stack = usize::try_from(job.stack).map_err(io::Error::other)?;
    std::thread::scope(|scope| {
        let work = move || {
            let answer = answer(job, artifact, &status);
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            output.write_all(&line)
        };
        let thread = std::thread::Builder::new().name("scan".to_owned()).stack_size(stack).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the scan panicked"))?
    })
}

fn answer(job: &Job, artifact: File, status: &StatusWriter) -> Answer {
    let options = Options { skip: job.skip.clone(), ..Options::default() };
    match scan(artifact, job.digest, &options, &|path| status.at(path)) {
        Ok(report) => Answer::Report(Box::new(report)),
        Err(ScanError::NotAnArchive { what }) => Answer::NotAnArchive(what),
        Err(ScanError::OtherBytes { actual }) => Answer::OtherBytes(actual),
        Err(ScanError::Io(error)) => Answer::Unreadable(error.to_string()),
    }
}

/// Sets the limits of this process; what a stricter parent has set already stays.
fn limit(job: &Job) -> io::Result<()> {
    let options = Options::default();
    for (resource, wanted) in [
        (Resource::Core, 0),
        (Resource::Nofile, OPEN_FILES),
        // Nothing is written but the spools of nested archives.
        (Resource::Fsize, options.limits.member_bytes),
        (Resource::Cpu, job.cpu_seconds),
        (Resource::As, job.memory.saturating_add(job.stack).saturating_add(PROGRAM_BYTES)),
    ] {
        let hard = getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        super::confine::this_thread();
    }
    Ok(())
}

fn copy(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    descriptor.as_fd().try_clone_to_owned()
}
