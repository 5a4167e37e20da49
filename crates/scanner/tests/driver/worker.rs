use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use gate_archive::forge::{Zip, wheel};
use gate_core::coverage::CoverageClass;
use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::ports::{ScanState, Scanner as _};
use gate_core::report::ContentReport;
use gate_scanner::scan::WHOLE_ARCHIVE;
use gate_scanner::worker::{BuiltIn, Worker, WorkerLimits};

use crate::{class, scan};

fn stored(bytes: &[u8]) -> (File, Sha256) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    (file, Sha256::of(bytes))
}

pub(crate) fn real(limits: WorkerLimits) -> Worker {
    Worker::new(env!("CARGO_BIN_EXE_gate-scan-worker"), Vec::<String>::new(), limits)
}

/// A child that is a shell script. `at PATH` writes the status as a real one does.
pub(crate) fn fake(script: &str, limits: WorkerLimits) -> Worker {
    let at = r#"at() { printf "\\$1\\0\\0\\0\\0\\0\\0\\0\\0$(printf '%o' ${#2})\\0\\0\\0\\0\\0\\0\\0$2" 1<>/proc/self/fd/2; }"#;
    Worker::new("/bin/sh", ["-c".to_owned(), format!("{at}\n{script}")], limits)
}

fn run(worker: &Worker, bytes: &[u8]) -> ContentReport {
    let (file, digest) = stored(bytes);
    worker.scan(&file, &digest).unwrap()
}

pub(crate) fn detail(report: &ContentReport, path: &str) -> String {
    let found = report.coverage.iter().find_map(|file| match &file.class {
        CoverageClass::Lost { detail, .. } if file.path == path => Some(detail.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{path} is not lost: {:#?}", report.coverage))
}

fn small() -> Vec<u8> {
    wheel("demo", "1.0").file("a.py", "import os\nos.system('x')\n").file("b.py", "x = 1\n").build()
}

#[test]
fn a_child_says_what_the_scan_in_process_says() {
    let bytes = small();
    assert_eq!(run(&real(WorkerLimits::default()), &bytes), scan(&bytes));
}

/// Inputs on which recursive parsers die or that take them minutes.
#[test]
fn parser_bombs_end_as_lost_files_and_nothing_else() {
    let bombs: [(&str, String); 9] = [
        ("not", format!("x = {}1\n", "not ".repeat(250_000))),
        ("sum", format!("x = {}1\n", "1+".repeat(256_000))),
        ("lambda", format!("x = {}1\n", "lambda:".repeat(64_000))),
        ("bracket", format!("x = {}\n", "[".repeat(1_000_000))),
        ("attribute", format!("x = a{}\n", ".b".repeat(500_000))),
        ("call", format!("x = f{}\n", "()".repeat(200_000))),
        ("minus", format!("x = {}1\n", "-".repeat(1_000_000))),
        ("walrus", format!("x = {}1{}\n", "(a:=".repeat(64_000), ")".repeat(64_000))),
        ("comprehension", format!("x = {}1{}\n", "[".repeat(16_000), " for a in b]".repeat(16_000))),
    ];
    let worker = real(WorkerLimits::default());
    let mut whole = Zip::new();
    for (name, source) in &bombs {
        let started = Instant::now();
        let bytes = Zip::new().stored("bomb.py", source).file("after.py", "x = 1\n").build();
        let report = run(&worker, &bytes);
        assert!(class(&report, "bomb.py").starts_with("lost "), "{name}: {}", class(&report, "bomb.py"));
        assert_eq!(class(&report, "after.py"), "analysed python", "{name}");
        assert!(started.elapsed() < Duration::from_secs(60), "{name}");
        whole = whole.stored(format!("{name}.py"), source);
    }
    let report = run(&worker, &whole.file("after.py", "x = 1\n").build());
    assert_eq!(report.counts().lost, bombs.len() as u64);
    assert_eq!(class(&report, "after.py"), "analysed python");
}

#[test]
fn a_stack_overflow_costs_one_file() {
    let chain = format!("x = {}1\n", "1+".repeat(9_000));
    let bytes = Zip::new().file("a.py", "x = 1\n").file("deep.py", chain).file("z.py", "x = 1\n").build();
    let report = run(&real(WorkerLimits { stack: 1 << 20, ..WorkerLimits::default() }), &bytes);
    assert_eq!(class(&report, "deep.py"), "lost analyzer-died");
    assert_eq!(detail(&report, "deep.py"), "it is nested too deeply for its analyzer");
    assert_eq!(class(&report, "a.py"), "analysed python");
    assert_eq!(class(&report, "z.py"), "analysed python");
    assert_eq!(report.coverage.len(), 3);
}

#[test]
fn a_memory_bomb_costs_one_file() {
    let bomb = "a\n".repeat(1_000_000);
    let bytes = Zip::new().stored("bomb.py", bomb).file("z.py", "x = 1\n").build();
    // Enough for the program and a small file, in both profiles.
    let limits = WorkerLimits { memory: 64 << 20, stack: 64 << 20, ..WorkerLimits::default() };
    let report = run(&real(limits), &bytes);
    assert_eq!(detail(&report, "bomb.py"), "its analyzer ran out of memory");
    assert_eq!(class(&report, "z.py"), "analysed python");
}

#[test]
fn processor_time_is_limited() {
    let line = "f(a, b)[c].d = {e: [g for g in h if g], 'i': not j or k}\n";
    let source = line.repeat(1_900_000 / line.len());
    let mut zip = Zip::new();
    for n in 0..40 {
        zip = zip.stored(format!("{n}.py"), &source);
    }
    let limits = WorkerLimits { cpu: Duration::from_secs(1), restarts: 0, ..WorkerLimits::default() };
    let report = run(&real(limits), &zip.build());
    assert_eq!(report.analyzers, Vec::<String>::new());
    assert!(detail(&report, WHOLE_ARCHIVE).contains("processor time"), "{}", detail(&report, WHOLE_ARCHIVE));
}

#[test]
fn silence_ends_at_the_limit_and_the_next_artifact_is_fine() {
    let limits = WorkerLimits { file: Duration::from_millis(300), ..WorkerLimits::default() };
    let started = Instant::now();
    let report = run(&fake("at 1 a.py; exec sleep 60", limits), &small());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(detail(&report, "a.py").contains("longer than"), "{report:#?}");
    assert!(detail(&report, WHOLE_ARCHIVE).contains("was not checked"));
    assert_eq!(report.analyzers, Vec::<String>::new());
    assert_eq!(run(&real(WorkerLimits::default()), &small()).counts().lost, 0);
}

#[test]
fn a_child_that_moves_on_is_not_silent() {
    let limits = WorkerLimits { file: Duration::from_millis(600), ..WorkerLimits::default() };
    let script = "for n in 1 2 3 4 5 6; do at $n a.py; sleep 0.2; done; kill -KILL $$";
    let report = run(&fake(script, WorkerLimits { restarts: 0, ..limits }), &small());
    assert!(detail(&report, WHOLE_ARCHIVE).contains("was killed"), "{report:#?}");
}

#[test]
fn the_artifact_has_a_limit_of_its_own() {
    let limits = WorkerLimits { artifact: Duration::from_millis(300), ..WorkerLimits::default() };
    let report = run(&fake("while :; do at 1 a.py; at 2 b.py; done", limits), &small());
    assert!(detail(&report, WHOLE_ARCHIVE).contains("scan took longer"), "{report:#?}");
}

#[test]
fn every_way_to_die_is_told() {
    for (death, words) in [
        ("kill -SEGV $$", "died (signal: 11"),
        ("kill -XCPU $$", "ran out of processor time"),
        ("kill -KILL $$", "was killed"),
        ("echo 'thread scan has overflowed its stack' >&2; kill -ABRT $$", "nested too deeply"),
        ("echo 'memory allocation of 8 bytes failed' >&2; kill -ABRT $$", "out of memory"),
        ("echo nonsense", "died (exit status: 0)"),
        ("echo '{\"report\":{}}'; exit 0", "died"),
        ("exit 101", "died (exit status: 101)"),
        ("echo 'the scan panicked' >&2; exit 1", "a fault of its own"),
        ("exec >&-; exec sleep 60", "was killed"),
        ("head -c 300000000 /dev/zero", "died"),
    ] {
        let worker = fake(&format!("at 1 a.py; {death}"), WorkerLimits { restarts: 1, ..WorkerLimits::default() });
        let report = run(&worker, &small());
        assert!(detail(&report, "a.py").contains(words), "{death}: {}", detail(&report, "a.py"));
        assert!(report.analyzers.is_empty() && report.counts().lost == 2, "{death}");
    }
}

#[test]
fn a_scan_that_nobody_waits_for_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let path = folder.path().join("artifact");
    std::fs::write(&path, small()).unwrap();
    let script = format!("at 1 a.py; echo $$ > '{}'; exec sleep 60", pid.display());
    let scanner = BuiltIn::new(fake(&script, WorkerLimits::default()), move |_: &Sha256| File::open(&path));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let running = runtime.block_on(scanner.start(&Sha256::of(&small()))).unwrap();
    let until = |done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&|| std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
    let process = format!("/proc/{}", std::fs::read_to_string(&pid).unwrap().trim());
    assert!(std::fs::exists(&process).unwrap());
    drop(running);
    until(&|| !std::fs::exists(&process).unwrap());
}

#[test]
fn restarts_are_bounded() {
    // Dies on another file each time: the job in $0 grows with every death.
    let script = "n=$(printf '%s' \"$0\" | wc -c); at 1 f$n; kill -SEGV $$";
    for restarts in [0, 1, 3] {
        let report = run(&fake(script, WorkerLimits { restarts, ..WorkerLimits::default() }), &small());
        assert_eq!(report.coverage.len(), restarts + 1);
        assert_eq!(report.counts().lost, restarts as u64 + 1);
    }
}

#[test]
fn an_answer_about_something_else_is_no_answer() {
    let other = run(&real(WorkerLimits::default()), &Zip::new().file("a.txt", "a").build());
    let bytes = small();
    let truth = run(&real(WorkerLimits::default()), &bytes);
    let mut forged = Vec::new();
    forged.push(other);
    forged.push(ContentReport { size: truth.size + 1, ..truth.clone() });
    forged.push(ContentReport { schema_version: 2, ..truth.clone() });
    let mut version = truth.scanner.clone();
    version.rules = "0".repeat(16);
    forged.push(ContentReport { scanner: version, ..truth });
    for report in forged {
        let folder = tempfile::tempdir().unwrap();
        let answer = folder.path().join("answer");
        std::fs::write(&answer, format!("{{\"report\":{}}}", serde_json::to_string(&report).unwrap())).unwrap();
        let worker = fake(&format!("at 1 a.py; exec cat '{}'", answer.display()), WorkerLimits::default());
        let (file, digest) = stored(&bytes);
        let failure = worker.scan(&file, &digest).unwrap_err();
        assert_eq!(failure.code, FailureCode::ScannerUnavailable);
    }
}

#[test]
fn a_child_cannot_leave_out_the_file_that_killed_it() {
    let bytes = small();
    let mut report = run(&real(WorkerLimits::default()), &bytes);
    report.coverage.retain(|file| file.path != "a.py");
    report.findings.clear();
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    std::fs::write(&answer, format!("{{\"report\":{}}}", serde_json::to_string(&report).unwrap())).unwrap();
    let script = format!("at 1 a.py; case \"$0\" in *a.py*) exec cat '{}';; esac; kill -SEGV $$", answer.display());
    let report = run(&fake(&script, WorkerLimits::default()), &bytes);
    assert_eq!(class(&report, "a.py"), "lost analyzer-died");
}

#[test]
fn what_gives_no_report_is_a_failure_with_a_name() {
    let (file, digest) = stored(b"<html>not found</html>");
    let failure = real(WorkerLimits::default()).scan(&file, &digest).unwrap_err();
    assert_eq!(failure.code, FailureCode::NotAnArchive);
    assert!(failure.message.contains("an HTML page"));

    let (file, _) = stored(&small());
    let failure = real(WorkerLimits::default()).scan(&file, &Sha256::of(b"")).unwrap_err();
    assert_eq!(failure.code, FailureCode::DigestMismatch);

    let (file, digest) = stored(&small());
    for worker in [
        Worker::new("/nonexistent/program", Vec::<String>::new(), WorkerLimits::default()),
        fake("echo no such thing >&2; exit 1", WorkerLimits::default()),
        Worker::new(
            env!("CARGO_BIN_EXE_gate-scan-worker"),
            Vec::<String>::new(),
            WorkerLimits { stack: u64::MAX, ..WorkerLimits::default() },
        ),
    ] {
        assert_eq!(worker.scan(&file, &digest).unwrap_err().code, FailureCode::ScannerUnavailable);
    }
}

#[test]
fn the_child_gets_no_environment() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = format!("/usr/bin/env > '{0}'; pwd >> '{0}'; kill -SEGV $$", seen.display());
    let (file, digest) = stored(&small());
    let _ = fake(&script, WorkerLimits::default()).scan(&file, &digest);
    let text = std::fs::read_to_string(seen).unwrap();
    // What the shell itself adds.
    let own =
        |line: &str| line == "/" || line.starts_with("PWD=") || line.starts_with("_=") || line.starts_with("SHLVL=");
    assert!(text.lines().all(|line| own(line) || line.starts_with("OLDPWD")), "{text}");
}

#[tokio::test]
async fn the_port_starts_polls_and_collects() {
    let bytes = small();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("artifact");
    std::fs::write(&path, &bytes).unwrap();
    let scanner = BuiltIn::new(real(WorkerLimits::default()), move |_: &Sha256| File::open(&path));
    let digest = Sha256::of(&bytes);
    let mut running = scanner.start(&digest).await.unwrap();
    while scanner.poll(&mut running).await.unwrap() == ScanState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let report = scanner.collect(running).await.unwrap();
    assert_eq!((report.artifact, &report.scanner), (digest, &scanner.version()));
    assert_eq!(report.counts().lost, 0);
    assert_eq!(scanner.version().rules.len(), 16);
}

#[test]
fn a_confined_child_can_still_spool_a_large_archive_within() {
    let noise: Vec<u8> = (0..10_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
    let inner = Zip::new().stored("weights.bin", noise).file("x.py", "x = 1\n").build();
    let report = run(&real(WorkerLimits::default()), &Zip::new().stored("model.pt", inner).build());
    assert_eq!(class(&report, "model.pt!/x.py"), "analysed python");
}
