//! The parent's side: starts children, watches them, and believes of their answer what can be checked.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate_core::coverage::{CoverageClass, FileCoverage, LostReason};
use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{ScanState, Scanner};
use gate_core::report::{ContentReport, ScannerVersion};
use gate_core::{SCHEMA_VERSION, text};

use super::status::Status;
use super::{Answer, Job, WorkerLimits};
use crate::scan::{Skip, WHOLE_ARCHIVE};

/// The longest answer that is read, in bytes: 200,000 files and 10,000 findings take less than half of it.
const ANSWER_BYTES: u64 = 256 << 20;

/// How long a child may take to end after it has answered.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often the parent looks whether the child has moved on.
const WATCH: Duration = Duration::from_millis(100);

/// Runs scans in children of a given program.
#[derive(Clone, Debug)]
pub struct Worker {
    program: PathBuf,
    args: Vec<OsString>,
    limits: WorkerLimits,
}

/// How one child ended.
enum End {
    Answer(Answer),
    /// It died, or was killed, while it was at this member.
    Died {
        path: String,
        why: String,
    },
    /// It died before it was at any.
    NotStarted {
        why: String,
    },
    /// The artifact's time is over, or nobody waits for it any more.
    OutOfTime,
}

impl Worker {
    /// The program and the arguments under which it calls [`child_main`](super::child_main).
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
        limits: WorkerLimits,
    ) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect(), limits }
    }

    /// The same, with at most so much time for an artifact.
    #[must_use]
    pub fn for_at_most(mut self, time: Duration) -> Self {
        self.limits.artifact = self.limits.artifact.min(time);
        self
    }

    /// Scans an artifact; blocks until it is done, at most [`WorkerLimits::artifact`].
    ///
    /// # Errors
    ///
    /// When there is nothing to report on: no archive, other bytes than the digest's, or no scanner.
    pub fn scan(&self, artifact: &File, digest: &Sha256) -> Result<ContentReport, Failure> {
        self.scan_until(artifact, digest, &AtomicBool::new(false))
    }

    fn scan_until(&self, artifact: &File, digest: &Sha256, cancelled: &AtomicBool) -> Result<ContentReport, Failure> {
        let size = artifact.metadata().map_err(|error| unreadable(&error))?.len();
        let deadline = Instant::now() + self.limits.artifact;
        let mut skip: Vec<Skip> = Vec::new();
        loop {
            match self.run(artifact, digest, &skip, deadline, cancelled)? {
                End::Answer(Answer::Report(report)) => return checked(*report, digest, size, &skip),
                End::Answer(Answer::NotAnArchive(what)) => {
                    let message = format!("it is not a zip or tar archive but {what}");
                    return Err(Failure::new(FailureCode::NotAnArchive, message));
                }
                End::Answer(Answer::OtherBytes(actual)) => {
                    let message =
                        format!("the stored bytes have the SHA-256 {actual}, not {digest}; fetch the package again");
                    return Err(Failure::new(FailureCode::DigestMismatch, message));
                }
                End::Answer(Answer::Unreadable(error)) => return Err(unreadable(&error)),
                End::NotStarted { why } => return Err(unavailable(&why)),
                End::OutOfTime => {
                    let seconds = self.limits.artifact.as_secs();
                    return Ok(gave_up(digest, size, skip, &format!("its scan took longer than {seconds} seconds")));
                }
                End::Died { path, why } => {
                    let again = skip.iter().any(|known| known.path == path);
                    if path == WHOLE_ARCHIVE || again || skip.len() == self.limits.restarts {
                        return Ok(gave_up(digest, size, skip, &why));
                    }
                    skip.push(Skip { path, detail: why });
                }
            }
        }
    }

    /// One child from start to end.
    fn run(
        &self,
        artifact: &File,
        digest: &Sha256,
        skip: &[Skip],
        deadline: Instant,
        cancelled: &AtomicBool,
    ) -> Result<End, Failure> {
        let job = Job {
            digest: *digest,
            skip: skip.to_vec(),
            cpu_seconds: self.limits.cpu.as_secs(),
            memory: self.limits.memory,
            stack: self.limits.stack,
        };
        let job = serde_json::to_string(&job).map_err(|error| unavailable(&error))?;
        let (mut status, errors) = Status::new().map_err(|error| unavailable(&error))?;
        let input = artifact.try_clone().map_err(|error| unreadable(&error))?;
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .arg(job)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(errors))
            .spawn()
            .map_err(|error| unavailable(&error))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let output = child.stdout.take();
        // Not waited for: it ends with the pipe.
        std::thread::spawn(move || drop(sender.send(output.and_then(read_answer))));
        let watched = watch(&receiver, &status, self.limits.file, deadline, cancelled);
        let exit = end(&mut child, if matches!(watched, Watched::Ended(_)) { FAREWELL } else { Duration::ZERO })?;
        Ok(match watched {
            Watched::Ended(Some(answer)) if exit.success() => End::Answer(answer),
            Watched::Late => End::OutOfTime,
            Watched::Ended(_) | Watched::Silent if status.count() == 0 => End::NotStarted {
                why: format!("it ended at once ({exit}): {}", text::escape_to(&status.messages(), 200)),
            },
            Watched::Ended(_) => died(&status.path(), died_of(exit, &status.messages())),
            Watched::Silent => {
                let seconds = self.limits.file.as_secs();
                died(&status.path(), format!("its analyzer took longer than {seconds} seconds and was stopped"))
            }
        })
    }
}

/// What the parent saw of a child.
enum Watched {
    /// It closed its output; the answer, if it was one.
    Ended(Option<Answer>),
    /// It stayed at one file for too long.
    Silent,
    /// The artifact's time is over, or nobody waits any more.
    Late,
}

fn watch(
    answers: &mpsc::Receiver<Option<Answer>>,
    status: &Status,
    limit: Duration,
    deadline: Instant,
    cancelled: &AtomicBool,
) -> Watched {
    let mut count = 0;
    let mut moved = Instant::now();
    loop {
        match answers.recv_timeout(WATCH) {
            Ok(answer) => return Watched::Ended(answer),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Watched::Ended(None),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if now >= deadline || cancelled.load(Ordering::Relaxed) {
            return Watched::Late;
        }
        let seen = status.count();
        if seen != count {
            (count, moved) = (seen, now);
        } else if now - moved >= limit {
            return Watched::Silent;
        }
    }
}

fn read_answer(output: ChildStdout) -> Option<Answer> {
    let mut line = Vec::new();
    output.take(ANSWER_BYTES).read_to_end(&mut line).ok()?;
    serde_json::from_slice(&line).ok()
}

/// Waits for the child's end for so long, then brings it about.
fn end(child: &mut Child, grace: Duration) -> Result<ExitStatus, Failure> {
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        if let Some(exit) = child.try_wait().map_err(|error| unavailable(&error))? {
            return Ok(exit);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    // It may have ended in this moment, which is as good.
    let _ = child.kill();
    child.wait().map_err(|error| unavailable(&error))
}

fn died(path: &Option<String>, why: String) -> End {
    End::Died { path: path.clone().unwrap_or_else(|| WHOLE_ARCHIVE.to_owned()), why }
}

/// In words, from what the runtime wrote and how the process ended.
fn died_of(exit: ExitStatus, messages: &str) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let cpu = rustix::process::Signal::XCPU.as_raw();
    let kill = rustix::process::Signal::KILL.as_raw();
    if messages.contains("overflowed its stack") {
        "it is nested too deeply for its analyzer".to_owned()
    } else if messages.contains("memory allocation") || messages.contains("capacity overflow") {
        "its analyzer ran out of memory".to_owned()
    } else if messages.contains("panicked") {
        "its analyzer met with a fault of its own".to_owned()
    } else if exit.signal() == Some(cpu) {
        "its analyzer ran out of processor time".to_owned()
    } else if exit.signal() == Some(kill) {
        "its analyzer was killed, probably for want of memory or processor time".to_owned()
    } else {
        format!("its analyzer died ({exit})")
    }
}

/// What can be checked of a child's report, is.
fn checked(mut report: ContentReport, digest: &Sha256, size: u64, skip: &[Skip]) -> Result<ContentReport, Failure> {
    let expected = crate::version();
    if report.schema_version != SCHEMA_VERSION || report.scanner != expected {
        return Err(unavailable(&"the scanning program is of another version than this one"));
    }
    if report.artifact != *digest || report.size != size {
        return Err(unavailable(&"its report is about other bytes"));
    }
    // A child cannot make a file that killed it go away by leaving it out.
    for known in skip {
        let is_lost = |file: &FileCoverage| file.path == known.path && matches!(file.class, CoverageClass::Lost { .. });
        if !report.coverage.iter().any(is_lost) {
            report.coverage.push(lost_row(known.clone()));
        }
    }
    Ok(report)
}

/// The report on an artifact that no child got through.
fn gave_up(digest: &Sha256, size: u64, skip: Vec<Skip>, why: &str) -> ContentReport {
    let detail = format!("{why}; the rest of the archive was not checked");
    let rest = Skip { path: WHOLE_ARCHIVE.to_owned(), detail };
    ContentReport {
        schema_version: SCHEMA_VERSION,
        artifact: *digest,
        size,
        scanner: crate::version(),
        distribution: None,
        pins: Vec::new(),
        findings: Vec::new(),
        analyzers: Vec::new(),
        coverage: skip.into_iter().chain([rest]).map(lost_row).collect(),
    }
}

fn lost_row(skip: Skip) -> FileCoverage {
    let class = CoverageClass::Lost { reason: LostReason::AnalyzerDied, detail: skip.detail };
    FileCoverage { path: skip.path, size: 0, class }
}

fn unavailable(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureCode::ScannerUnavailable, format!("the built-in scanner could not do its work: {why}"))
}

fn unreadable(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureCode::Storage, format!("the stored archive could not be read: {why}"))
}

/// The built-in scanner behind the port that external ones have, too. `F` opens the artifact that has a digest.
pub struct BuiltIn<F> {
    worker: Worker,
    open: F,
}

impl<F: Fn(&Sha256) -> io::Result<File> + Send + Sync> BuiltIn<F> {
    /// A scanner of the artifacts that `open` opens.
    pub fn new(worker: Worker, open: F) -> Self {
        Self { worker, open }
    }
}

/// A scan under way. Dropping it stops it.
#[derive(Debug)]
pub struct RunningScan {
    thread: Option<JoinHandle<Result<ContentReport, Failure>>>,
    cancelled: Arc<AtomicBool>,
}

impl Drop for RunningScan {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl<F: Fn(&Sha256) -> io::Result<File> + Send + Sync> Scanner for BuiltIn<F> {
    type Scan = RunningScan;

    fn version(&self) -> ScannerVersion {
        crate::version()
    }

    async fn start(&self, artifact: &Sha256) -> Result<RunningScan, Failure> {
        let file = (self.open)(artifact).map_err(|error| unreadable(&error))?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let (worker, digest, stop) = (self.worker.clone(), *artifact, Arc::clone(&cancelled));
        let thread = std::thread::Builder::new()
            .name("scan-watch".to_owned())
            .spawn(move || worker.scan_until(&file, &digest, &stop))
            .map_err(|error| unavailable(&error))?;
        Ok(RunningScan { thread: Some(thread), cancelled })
    }

    async fn poll(&self, scan: &mut RunningScan) -> Result<ScanState, Failure> {
        let done = scan.thread.as_ref().is_none_or(JoinHandle::is_finished);
        Ok(if done { ScanState::Done } else { ScanState::Running })
    }

    /// Waits for a scan that is not done.
    async fn collect(&self, mut scan: RunningScan) -> Result<ContentReport, Failure> {
        let Some(thread) = scan.thread.take() else { return Err(unavailable(&"it was collected before")) };
        thread.join().unwrap_or_else(|_| Err(unavailable(&"its supervisor panicked")))
    }
}
