use gate_core::coverage::{CoverageClass, FileCoverage, LostReason, OpaqueKind};
use gate_core::ledger;
use gate_core::outcome::Verdict;
use gate_core::severity::Severity;
use gate_core::testing;
use gate_notifier::step::{Limits, ROWS_AT_ONCE};

use crate::world::{ADA, World, external, malware, run_id};

const FINDINGS: &str = "Findings and coverage are not listed here";

#[tokio::test]
async fn so_many_findings_are_shown_and_no_more() {
    for (findings, abridged) in [(3, 0), (4, 0), (5, 1)] {
        let world = World::with(Limits { findings: 6, ..Limits::default() });
        let run = run_id(1);
        world.head(&run, [2, 3], &[]).await;
        for (line, count) in [(2, 2), (3, findings)] {
            let row = world.row(&run, line, &format!("package{line}"), &[ADA]).await;
            let found = (0..count).map(|at| testing::finding(&format!("S60{at}"), Severity::High)).chain([malware()]);
            let state = world.decided(&row, found.take(count).collect()).await;
            world.notifier().notify(state).await.unwrap();
        }
        world.summarise(&run).await;
        let page = world.text(&run.report_key()).await;
        assert_eq!(page.matches(FINDINGS).count(), abridged, "{findings}");
        assert!(page.contains("S600"));
    }
}

#[tokio::test]
async fn a_row_whose_findings_are_left_out_has_its_words_all_the_same() {
    let mut told = Vec::new();
    for findings in [100, 0] {
        let world = World::with(Limits { findings, ..Limits::default() });
        let run = run_id(1);
        world.head(&run, [2, 3, 4], &[]).await;
        for (line, name, found) in [
            (2, "stolen", vec![testing::finding("S602", Severity::High), malware()]),
            (3, "old", Vec::new()),
            (4, "old", vec![testing::finding("S602", Severity::High)]),
        ] {
            let row = world.row(&run, line, name, &[ADA]).await;
            let state = world.decided(&row, found).await;
            world.notifier().notify(state).await.unwrap();
        }
        world.summarise(&run).await;
        told.push(world.body(ADA));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[1].contains("Do not install it") && told[1].contains("Version 1.1 has none"), "{}", told[1]);
}

#[tokio::test]
async fn the_coverage_of_so_many_files_and_rows_is_read_and_of_no_more() {
    // Each report has two files.
    for (covered_files, rows_with_reports, listed) in
        [(7, 9, 3), (8, 9, 4), (9, 9, 4), (99, 3, 3), (99, 4, 4), (99, 5, 4), (0, 9, 0), (99, 0, 0)]
    {
        let world = World::with(Limits { covered_files, rows_with_reports, ..Limits::default() });
        let run = run_id(1);
        world.head(&run, 2..6, &[]).await;
        for line in 2..6 {
            let row = world.row(&run, line, &format!("package{line}"), &[ADA]).await;
            let mut file = testing::wheel(&row.name, "1.0");
            let class = CoverageClass::Opaque { kind: OpaqueKind::Native };
            file.report.coverage.push(FileCoverage { path: format!("only-in-{line}.so"), size: 1, class });
            let state = world.examined(&row, file).await;
            world.notifier().notify(state).await.unwrap();
        }
        world.summarise(&run).await;
        let page = world.text(&run.report_key()).await;
        let found = (2..6).filter(|line| page.contains(&format!("only-in-{line}.so"))).count();
        assert_eq!(found, listed, "{covered_files} {rows_with_reports}");
    }
}

#[tokio::test]
async fn what_an_external_scanner_lost_is_on_the_page() {
    let mut world = World::new();
    world.config.external = vec![external()];
    let run = run_id(1);
    world.head(&run, [2, 3], &[]).await;
    for (line, has_both) in [(2, true), (3, false)] {
        let row = world.row(&run, line, &format!("package{line}"), &[ADA]).await;
        let file = testing::wheel(&row.name, "1.0");
        if has_both {
            let mut report = file.report.clone();
            report.scanner = external();
            let class = CoverageClass::Lost { reason: LostReason::Limit, detail: "too large for them".to_owned() };
            report.coverage = vec![FileCoverage { path: "big.bin".to_owned(), size: 1, class }];
            ledger::keep_report(&world.records.inner, &report).await.unwrap();
        }
        let state = world.examined(&row, file).await;
        world.notifier().notify(state).await.unwrap();
    }
    world.summarise(&run).await;
    let page = world.text(&run.report_key()).await;
    assert!(page.contains("too large for them"));
}

#[tokio::test]
async fn ten_thousand_rows_take_few_calls_and_few_at_once() {
    let (world, run) = (World::new(), run_id(1));
    let rows = 10_000;
    world.head(&run, 2..2 + rows, &[]).await;
    let mut lost = 0;
    for line in 2..2 + rows {
        let name = format!("package{line}");
        // A hundred requesters; every tenth row never ended.
        let address = format!("user{}@corp.example", line % 100);
        if line % 10 == 0 {
            world.row(&run, line, &name, &[&address]).await;
            lost += 1;
        } else {
            world.approved(&run, line, &name, &[&address]).await;
        }
    }
    world.at(60);
    world.records.take();
    let summarised = world.summarise(&run).await;
    let (calls, at_once) = world.records.take();
    assert_eq!((summarised.mails, summarised.verdicts[&Verdict::Failed]), (100, lost));
    // Row, notices, notice, decision; for a row that never ended a dozen.
    let expected = 4 * 10_000 + 12 * lost + 2_000 + 3 * 100 + 10;
    assert!(calls <= expected, "{calls} > {expected}");
    assert!(at_once <= ROWS_AT_ONCE && at_once > 1, "{at_once}");
    assert_eq!(world.summary(&run).await.rows.len(), 10_000);
    // Doing it again reads and sends nothing more.
    assert_eq!(world.summarise(&run).await.mails, 100);
    assert_eq!(world.mails().len(), 100);
}
