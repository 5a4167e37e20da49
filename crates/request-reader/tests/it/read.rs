use std::collections::BTreeSet;
use std::time::Instant;

use axum::http::{HeaderMap, StatusCode};
use gate_core::digest::Sha256;
use gate_core::outcome::{Reason, Verdict};
use gate_core::ports::Records as _;
use gate_core::request::{MAX_BYTES, MAX_ROWS};
use gate_core::run::{
    self, Delivery, FetchedDocument, Intake, OutcomeDocument, RowItem, RowState, RunDocument, RunId, RunKind,
};
use gate_core::step::ErrorName;
use serde_json::json;

use crate::world::{World, commit};

async fn document(world: &World, intake: &Intake) -> RunDocument {
    world.document(&intake.run.document_key()).await
}

fn attempt(intake: &Intake, attempt: u32) -> Intake {
    let run = RunId::of_commit(123_456, "refs/heads/main", &commit(1), attempt);
    Intake { run, ..intake.clone() }
}

#[tokio::test]
async fn every_row_of_a_first_push_is_new() {
    let world = World::new().await;
    let csv = "name,source,sha256,requester\nsix,pkg:pypi/six@1.16.0\n\nflask,pkg:pypi/flask@3.0.3,,B@Corp.Example\n";
    let (intake, lines) = world.push_and_read(1, csv).await;
    assert_eq!(lines, [2, 4]);
    let run = document(&world, &intake).await;
    assert_eq!(run.lines, [2, 4]);
    assert_eq!((run.commit, run.kind, run.unreadable), (commit(1), RunKind::Push, None));
    assert_eq!(run.blob, Some(crate::world::blob_id(csv.as_bytes())));
    let row = world.row(&intake.run, 4).await;
    assert_eq!(row.told, BTreeSet::from(["author@corp.example".to_owned(), "b@corp.example".to_owned()]));
    assert_eq!(row.wanted.unwrap().source.to_string(), "pkg:pypi/flask@3.0.3");
    let items: Vec<RowItem> = world.document(&intake.run.manifest_key()).await;
    assert_eq!(items[0].execution, intake.run.execution(2));
    assert_eq!(items[0].state, RowState::new(intake.run.row_key(2)));
}

#[tokio::test]
async fn reading_twice_changes_nothing_and_asks_github_once() {
    let world = World::new().await;
    let (intake, lines) = world.push_and_read(1, "six,pkg:pypi/six@1.16.0\nbad row\n").await;
    let before = snapshot(&world).await;
    let asked = world.asked("contents");
    world.end(&intake.run, 1, Verdict::Refused, None).await;
    assert_eq!(world.read(&intake).await, Ok(lines));
    assert_eq!(world.asked("contents"), asked);
    let after = snapshot(&world).await;
    assert!(before.iter().all(|document| after.contains(document)));
    assert_eq!(after.len(), before.len() + 2, "the notice and the look of the row's end");
}

async fn rows(world: &World, intake: &Intake) -> usize {
    gate_request_reader::read(intake, &world.ports(), world.rules()).await.unwrap().rows
}

#[tokio::test]
async fn an_attempt_at_a_run_whose_rows_have_all_ended_has_nothing_to_map() {
    let world = World::new().await;
    let (intake, lines) = world.push_and_read(1, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\nbad\n").await;
    for (line, left) in lines.into_iter().zip([2, 0]) {
        let row = world.row(&intake.run, line).await;
        let reason = Reason::new("storage", "why");
        let outcome = OutcomeDocument::of_reason(&row, Verdict::Failed, reason, None);
        assert_eq!(rows(&world, &intake).await, 2);
        run::keep_outcome(&world.records, &row, &outcome).await.unwrap();
        assert_eq!(rows(&world, &intake).await, left);
    }
}

async fn snapshot(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for key in world.records.list("").await.unwrap() {
        let bytes = world.records.get(&key).await.unwrap().unwrap();
        all.push((key, bytes));
    }
    all
}

/// Whatever a reader that was killed has written, in the order in which it writes, the next one ends alike.
#[tokio::test]
async fn a_reader_that_was_killed_is_continued() {
    let csv = "six,pkg:pypi/six@1.16.0\nbad\nflask,pkg:pypi/flask@3.0.3\nb,http://x.example/a.zip\n";
    let whole = World::new().await;
    let (intake, lines) = whole.push_and_read(1, csv).await;
    let whole = snapshot(&whole).await;
    let late = |key: &str| key.ends_with("run.json") || key.ends_with("manifest.json");
    let order = |key: &str| (key.ends_with("run.json"), late(key), !key.contains("rows/"));
    let mut written: Vec<_> = whole.iter().filter(|(key, _)| !key.starts_with("inbox/")).collect();
    written.sort_by_key(|(key, _)| order(key));
    for kept in 0..=written.len() {
        let world = World::new().await;
        world.deliver(&world.push(1, csv)).await;
        for (key, bytes) in written.iter().take(kept) {
            world.records.put_new(key, bytes).await.unwrap();
        }
        assert_eq!(world.read(&intake).await.as_ref(), Ok(&lines), "{kept}");
        assert_eq!(snapshot(&world).await, whole, "{kept}");
    }
}

#[tokio::test]
async fn a_manifest_that_is_under_way_is_the_run_s_whatever_happened_since() {
    let world = World::new().await;
    let csv = "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\n";
    let (first, _) = world.push_and_read(1, csv).await;
    let moved = format!("{csv}\n");
    let (second, lines) = world.push_and_read(2, &moved).await;
    assert_eq!(lines, [1, 2], "the first run has not ended them yet");
    // The second reader is killed before its last document, and the first run ends a row.
    let survivor = World::new().await;
    for (key, bytes) in snapshot(&world).await {
        if key != second.run.document_key() && !key.ends_with("/000002.json") {
            survivor.records.put_new(&key, &bytes).await.unwrap();
        }
    }
    survivor.push(2, &moved);
    survivor.end(&first.run, 1, Verdict::Approved, None).await;
    assert_eq!(survivor.read(&second).await, Ok(vec![1, 2]));
    assert_eq!(document(&survivor, &second).await.lines, [1, 2]);
}

#[tokio::test]
async fn only_rows_without_an_answer_are_read_again() {
    let world = World::new().await;
    let (first, _) =
        world.push_and_read(1, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3,,a@corp.example\nbad\n").await;
    world.end(&first.run, 1, Verdict::Approved, None).await;
    world.end(&first.run, 2, Verdict::Refused, None).await;
    // All rows move and another requester asks, a row is new, one is of another version, one is deleted.
    for (n, csv, new, in_run) in [
        (2, "\nbad\nflask,pkg:pypi/flask@3.0.3,,b@corp.example\n\nSIX,pkg:pypi/six@1.16\n", vec![], vec![3]),
        (3, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\nbad\nrich,pkg:pypi/rich@13.0\n", vec![4], vec![4]),
        (4, "six,pkg:pypi/six@1.17.0\nbad\nworse\n", vec![1], vec![1, 3]),
        (
            5,
            "six,pkg:pypi/six@1.16.0,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
            vec![1],
            vec![1],
        ),
        (6, "six,pkg:pypi/six@1.16.0\n", vec![], vec![]),
        (7, "", vec![], vec![]),
    ] {
        let (intake, lines) = world.push_and_read(n, csv).await;
        assert_eq!(lines, new, "commit {n}");
        assert_eq!(document(&world, &intake).await.lines, in_run, "commit {n}");
    }
}

#[tokio::test]
async fn deliveries_out_of_order_lose_no_row_and_repeat_none() {
    let world = World::new().await;
    let first = world.deliver(&world.push(1, "six,pkg:pypi/six@1.16.0\n")).await;
    let second = world.deliver(&world.push(2, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\n")).await;
    assert_eq!(world.read(&second).await, Ok(vec![1, 2]));
    world.end(&second.run, 1, Verdict::Approved, None).await;
    world.end(&second.run, 2, Verdict::Approved, None).await;
    assert_eq!(world.read(&first).await, Ok(vec![]));
    assert_eq!(world.read(&first).await, Ok(vec![]), "delivered twice");
}

#[tokio::test]
async fn an_attempt_takes_up_what_the_one_before_it_left() {
    let world = World::new().await;
    let (first, _) = world.push_and_read(1, "six,pkg:pypi/six@1.16.0\nflask,pkg:pypi/flask@3.0.3\nbad\n").await;
    world.end(&first.run, 1, Verdict::Failed, None).await;
    let row = world.row(&first.run, 2).await;
    let fetched = FetchedDocument { schema_version: 1, files: Vec::new(), notes: Vec::new() };
    let key = run::keep_fetched(&world.records, &row.key, &fetched).await.unwrap();
    let second = attempt(&first, 2);
    assert_eq!(world.read(&second).await, Ok(vec![2]));
    let items: Vec<RowItem> = world.document(&second.run.manifest_key()).await;
    assert_eq!(items[0].state, RowState::fetched_before(second.run.row_key(2), key));
}

#[tokio::test]
async fn a_bad_row_ends_by_itself_and_touches_no_other() {
    let world = World::new().await;
    let mut csv = String::new();
    for n in 0..1000 {
        csv.push_str(&format!("package-{n},pkg:pypi/package-{n}@1.0\n"));
    }
    csv.push_str(
        "../../x,pkg:pypi/x@1\nx\u{202e}y,pkg:pypi/x@1\n\"open,pkg:pypi/y@1\nh,https://evil.example/h-1.0.zip\n",
    );
    csv.push_str("b,https://user:secret@h.example/x.zip\n");
    let mut world = world;
    world.policy.source_hosts = ["files.example".to_owned()].into();
    let (intake, lines) = world.push_and_read(1, &csv).await;
    assert_eq!(lines, (1..=1000).collect::<Vec<_>>());
    for (line, code) in [
        (1001, "bad-name"),
        (1002, "bad-name"),
        (1003, "bad-quoting"),
        (1004, "source-host-not-allowed"),
        (1005, "bad-source"),
    ] {
        let row = world.row(&intake.run, line).await;
        assert_eq!(row.wanted, None);
        assert_eq!(row.told, BTreeSet::from(["author@corp.example".to_owned()]));
        let notice = world.notice(&row.key).await.unwrap();
        assert_eq!((notice.ended.outcome.verdict, notice.line), (Verdict::Invalid, line));
        assert_eq!(notice.ended.outcome.reasons[0].code, code);
        assert!(run::latest_look(&world.records, &row.key).await.unwrap().is_some());
        let text = serde_json::to_string(&(row, notice)).unwrap();
        assert!(!text.contains('\u{202e}') && !text.contains("secret"), "{text}");
    }
    assert_eq!(world.records.list(&format!("runs/{}/outcomes/", intake.run)).await.unwrap().len(), 5);
}

#[tokio::test]
async fn documents_of_one_row_that_cannot_be_read_stop_no_other() {
    let world = World::new().await;
    let csv = "six,pkg:pypi/six@1.16.0\nbad\n";
    let (first, _) = world.push_and_read(1, csv).await;
    for line in [1, 2] {
        let key = world.row(&first.run, line).await.key;
        for folder in ["fetched", "notices", "looks"] {
            world.records.put_new(&format!("{folder}/{key}/000009.json"), b"{").await.unwrap();
        }
    }
    let (second, lines) = world.push_and_read(2, &format!("{csv}flask,pkg:pypi/flask@3.0.3\n")).await;
    assert_eq!(lines, [1, 3]);
    world.executions.set(&second.run, gate_core::ports::ExecutionStatus::Succeeded);
    gate_request_reader::report(&second.run, &world.ports()).await.unwrap();
}

#[tokio::test]
async fn rows_that_cannot_both_hold_end_and_the_one_that_is_left_is_worked_on() {
    let world = World::new().await;
    let pin = "a".repeat(64);
    let (one, other) = ("six,pkg:pypi/six@1.16.0\n", "six,https://files.example/six-1.16.0.tar.gz\n");
    let (intake, lines) = world.push_and_read(1, &format!("{one}{other}flask,pkg:pypi/flask@3.0.3\n")).await;
    assert_eq!(lines, [3]);
    let key = world.row(&intake.run, 1).await.key;
    assert_eq!(world.notice(&key).await.unwrap().ended.outcome.reasons[0].code, "conflict");
    world.end(&intake.run, 3, Verdict::Refused, None).await;
    // Again with both, then with one of them, then with a rival of the other row, which the ledger has not decided on.
    let flask = format!("flask,pkg:pypi/flask@3.0.3\nflask,pkg:pypi/flask@3.0.3,{pin}\n");
    for (n, csv, new) in [(2, format!("{other}{one}"), vec![]), (3, one.to_owned(), vec![1]), (4, flask, vec![1])] {
        let (_, lines) = world.push_and_read(n, &csv).await;
        assert_eq!(lines, new, "commit {n}");
    }
}

#[tokio::test]
async fn repeated_rows_are_one_and_all_who_asked_are_told() {
    let world = World::new().await;
    let csv = "six,pkg:pypi/six@1.16.0,,a@corp.example\nflask,pkg:pypi/flask@3.0.3\nSix,pkg:pypi/six@1.16,,b@corp.example\n\
        six,pkg:pypi/six@1.16.0,,c@evil.example\n";
    let delivery = world.push(1, csv);
    let mail = |address: &str| Some(address.to_owned());
    world.hub().blame =
        vec![(1, 2, mail("one@corp.example")), (3, 3, mail("three@CORP.example")), (4, 4, mail("x@mail.corp.example"))];
    let intake = world.deliver(&delivery).await;
    assert_eq!(world.read(&intake).await, Ok(vec![1, 2]));
    assert_eq!(document(&world, &intake).await.same_as, [(3, 1), (4, 1)]);
    let told: Vec<_> = world.row(&intake.run, 1).await.told.into_iter().collect();
    assert_eq!(told, ["a@corp.example", "b@corp.example", "one@corp.example", "three@corp.example"]);
    assert_eq!(world.row(&intake.run, 2).await.told, BTreeSet::from(["one@corp.example".to_owned()]));
}

#[tokio::test]
async fn who_asks_for_a_row_that_has_its_answer_hears_of_it() {
    let world = World::new().await;
    let csv = "six,pkg:pypi/six@1.16.0\nbad\n";
    let (first, _) = world.push_and_read(1, csv).await;
    world.end(&first.run, 1, Verdict::Refused, None).await;
    // Deleted, and added by somebody else; the first author's other row is as it was.
    world.push_and_read(2, "bad\n").await;
    let third = world.push(3, "bad\nsix,pkg:pypi/six@1.16.0\n");
    let mail = |address: &str| Some(address.to_owned());
    world.hub().blame = vec![(1, 1, mail("author@corp.example")), (2, 2, mail("bob@corp.example"))];
    let third = world.deliver(&third).await;
    for _ in 0..2 {
        assert_eq!(world.read(&third).await, Ok(vec![]), "there is nothing to work on");
        let read = document(&world, &third).await;
        assert_eq!(read.lines, [2]);
        // Once more without the last document.
        let survivor = World::new().await;
        for (key, bytes) in snapshot(&world).await.into_iter().filter(|(key, _)| *key != third.run.document_key()) {
            survivor.records.put_new(&key, &bytes).await.unwrap();
        }
        survivor.push(3, "bad\nsix,pkg:pypi/six@1.16.0\n");
        survivor.hub().blame = world.hub().blame.clone();
        assert_eq!(survivor.read(&third).await, Ok(vec![]));
        assert_eq!(document(&survivor, &third).await, read);
    }
    let row = world.row(&third.run, 2).await;
    let notice = world.notice(&row.key).await.unwrap();
    assert_eq!(notice.hearers(&row), Some(&BTreeSet::from(["bob@corp.example".to_owned()])));
    assert_eq!((notice.ended.outcome.verdict, notice.run), (Verdict::Refused, first.run));
    let outcomes = world.records.list(&format!("runs/{}/outcomes/", third.run)).await.unwrap();
    let outcome: OutcomeDocument = world.document(&outcomes[0]).await;
    assert_eq!((outcomes.len(), outcome.outcome.line, outcome.outcome.verdict), (1, 2, Verdict::Refused));
    // What cannot be read is no exception, and nobody hears twice.
    let fourth = world.push(4, "bad\nsix,pkg:pypi/six@1.16.0\n\n");
    world.hub().blame = vec![(1, 9, mail("bob@corp.example"))];
    let fourth = world.deliver(&fourth).await;
    assert_eq!((world.read(&fourth).await, document(&world, &fourth).await.lines), (Ok(vec![]), vec![1]));
}

#[tokio::test]
async fn a_push_with_the_same_file_brings_nothing() {
    let world = World::new().await;
    let csv = "six,pkg:pypi/six@1.16.0\nbad\n";
    world.push_and_read(1, csv).await;
    let listed = world.records.list("notices/").await.unwrap();
    let (second, lines) = world.push_and_read(2, csv).await;
    let read = document(&world, &second).await;
    assert_eq!((lines, read.lines, read.unchanged), (vec![], vec![], true));
    assert_eq!(world.asked("graphql"), 1, "no author is asked for");
    assert_eq!(world.records.list("notices/").await.unwrap(), listed);
    // An attempt at the first push is not another push, and another file is another file, also when it was there before.
    let (third, lines) = world.push_and_read(3, "six,pkg:pypi/six@1.16.0\n").await;
    assert_eq!((lines, document(&world, &third).await.unchanged), (vec![1], false));
    let (fourth, lines) = world.push_and_read(4, csv).await;
    assert_eq!((lines, document(&world, &fourth).await.unchanged), (vec![1], false));
    assert_eq!(world.read(&attempt(&fourth, 2)).await.unwrap_err().name, ErrorName::BadInput);
    let again = Intake { run: fourth.run.attempt(2), ..fourth };
    assert_eq!(world.read(&again).await, Ok(vec![1]));
}

#[tokio::test]
async fn who_wrote_what_cannot_be_read_is_told_once() {
    let mut world = World::new().await;
    let told = async |world: &World, n, csv: &str| {
        let (intake, _) = world.push_and_read(n, csv).await;
        let read = document(world, &intake).await;
        assert!(read.unreadable.is_some());
        (read.told.into_iter().collect::<Vec<_>>(), read.unchanged)
    };
    let author = || vec!["author@corp.example".to_owned()];
    assert_eq!(told(&world, 1, "name,source,colour\n").await, (author(), false));
    assert_eq!(told(&world, 2, "name,source,colour\n").await, (vec![], true), "another file was pushed");
    assert_eq!(told(&world, 3, "name,source,weight\n").await, (author(), false));
    world.hub().author = "mallory@evil.example".to_owned();
    assert_eq!(told(&world, 4, "name,source,height\n").await, (vec![], false));
    world.config.mail_domains = gate_request_reader::MailDomains::default();
    assert_eq!(told(&world, 5, "name,source,width\n").await, (vec![], false));
    assert_eq!(world.asked("git/commits"), 3);
}

#[tokio::test]
async fn without_authors_the_rows_go_on_after_a_while() {
    let headers = HeaderMap::new();
    let error = json!({"data": null, "errors": [{"message": "Something went wrong while executing your query."}]});
    for (status, body, times, authored) in [
        (StatusCode::BAD_GATEWAY, String::new(), 2, true),
        (StatusCode::BAD_GATEWAY, String::new(), 3, false),
        (StatusCode::OK, error.to_string(), 3, false),
        (StatusCode::OK, "{}".to_owned(), 3, false),
        (StatusCode::OK, " ".repeat(17 << 20), 1, false),
    ] {
        let world = World::new().await;
        let intake = world.deliver(&world.push(1, "six,pkg:pypi/six@1.16.0,,a@corp.example\n")).await;
        let script = || {
            for _ in 0..times {
                world.hub().scripted.push_back(("/graphql", status, headers.clone(), body.clone().into_bytes()));
            }
        };
        script();
        if times == 3 {
            let second = jiff::SignedDuration::from_secs(1);
            world.wait(world.config.patience.authors_within - second);
            assert_eq!(world.read(&intake).await.unwrap_err().name, ErrorName::Transient, "the step is tried again");
            world.wait(second);
            script();
        }
        assert_eq!(world.read(&intake).await, Ok(vec![1]));
        let told = world.row(&intake.run, 1).await.told;
        assert!(told.contains("a@corp.example"));
        assert_eq!(told.contains("author@corp.example"), authored, "{status} {}", body.len());
    }
}

#[tokio::test]
async fn authors_are_not_asked_for_when_nobody_could_be_told() {
    let mut world = World::new().await;
    world.push_and_read(1, "").await;
    world.config.mail_domains = gate_request_reader::MailDomains::default();
    let (intake, _) = world.push_and_read(2, "six,pkg:pypi/six@1.16.0,,a@corp.example\n").await;
    assert_eq!(world.asked("graphql"), 0);
    assert!(world.row(&intake.run, 1).await.told.is_empty());
}

#[tokio::test]
async fn a_request_that_cannot_be_read_says_why() {
    let entry = |kind: &str, size: usize| json!({"type": kind, "sha": "0".repeat(40), "size": size});
    let too_many = "\na,b".repeat(MAX_ROWS + 1);
    for (csv, entry, code, word) in [
        ("", Some(json!(null)), "request-missing", "no file"),
        ("", Some(entry("dir", 0)), "request-unreadable", "is a dir"),
        ("", Some(entry("symlink", 9)), "request-unreadable", "is a symlink"),
        ("", Some(entry("submodule", 0)), "request-unreadable", "is a submodule"),
        ("", Some(entry("file", MAX_BYTES + 1)), "request-unreadable", "bytes"),
        ("version https://git-lfs.example/spec/v1\noid sha256:0\n", None, "request-unreadable", "Git LFS"),
        ("\u{feff}name,source,colour\n", None, "request-unreadable", "colour"),
        (too_many.as_str(), None, "request-unreadable", "10001 rows"),
    ] {
        let world = World::new().await;
        let intake = world.deliver(&world.push(1, csv)).await;
        match entry {
            Some(entry) if entry.is_null() => world.hub().files.clear(),
            Some(entry) => world.hub().files.get_mut(&commit(1)).unwrap().0 = entry,
            None => {}
        }
        assert_eq!(world.read(&intake).await, Ok(vec![]), "{code} {word}");
        let run = document(&world, &intake).await;
        let reason = run.unreadable.unwrap();
        assert_eq!(reason.code, code);
        assert!(reason.message.contains(word), "{}", reason.message);
        assert!(run.lines.is_empty());
        assert_eq!(
            world.asked("contents"),
            if csv.is_empty() { 1 } else { 2 },
            "a file that is too large is not fetched"
        );
    }
}

#[tokio::test]
async fn a_token_that_sees_nothing_is_not_a_missing_file() {
    let world = World::new().await;
    let intake = world.deliver(&world.push(1, "six,pkg:pypi/six@1.16.0\n")).await;
    world.hub().visible = false;
    assert_eq!(world.read(&intake).await.unwrap_err().name, ErrorName::Denied);
    world.hub().visible = true;
    assert_eq!(world.read(&intake).await, Ok(vec![1]));

    let gone = world.deliver(&world.push(2, "")).await;
    world.hub().files.clear();
    world.hub().commits.clear();
    assert_eq!(world.read(&gone).await, Ok(vec![]));
    let reason = document(&world, &gone).await.unreadable.unwrap();
    assert!(reason.message.contains("no longer"), "{}", reason.message);
}

#[tokio::test]
async fn the_commit_is_read_and_not_the_branch() {
    let world = World::new().await;
    let first = world.deliver(&world.push(1, "six,pkg:pypi/six@1.16.0\n")).await;
    world.push(2, "flask,pkg:pypi/flask@3.0.3\n");
    assert_eq!(world.read(&first).await, Ok(vec![1]));
    assert_eq!(world.row(&first.run, 1).await.name, "six");
    assert_eq!(world.asked(&commit(2)), 0);
}

#[tokio::test]
async fn a_run_of_another_delivery_is_bad_input() {
    let world = World::new().await;
    let one = world.deliver(&world.push(1, "")).await;
    let two = world.deliver(&world.push(2, "")).await;
    let why = Sha256::of(b"why");
    for intake in [
        Intake { run: two.run.clone(), ..one.clone() },
        Intake { kind: RunKind::Again, ..one.clone() },
        Intake { run: RunId::of_change(123_456, "refs/heads/main", &why), ..one.clone() },
        Intake { run: RunId::of_change(7, "refs/heads/main", &why), kind: RunKind::Again, ..one.clone() },
    ] {
        assert_eq!(world.read(&intake).await.unwrap_err().name, ErrorName::BadInput, "{intake:?}");
    }
    let again = Intake { run: RunId::of_change(123_456, "refs/heads/main", &why), kind: RunKind::Again, ..one };
    assert_eq!(world.read(&again).await, Ok(vec![]));
}

#[tokio::test]
async fn a_commit_whose_id_begins_alike_is_not_taken_for_another() {
    let world = World::new().await;
    let (intake, _) = world.push_and_read(1, "six,pkg:pypi/six@1.16.0\n").await;
    let delivery = world.push(1, "");
    let alike = Delivery { commit: format!("{}{}", &delivery.commit[..20], "f".repeat(20)), ..delivery };
    let other = world.deliver(&alike).await;
    assert_eq!(other.run, intake.run);
    assert_eq!(world.read(&other).await.unwrap_err().name, ErrorName::Corrupt);
}

#[tokio::test]
async fn the_largest_request_is_read_in_bounded_time() {
    let world = World::new().await;
    let mut csv = String::new();
    for n in 0..MAX_ROWS {
        let row = match n % 10 {
            0 => format!("package-{n},nowhere\n"),
            _ => format!("package-{n},pkg:pypi/package-{n}@1.0\n"),
        };
        csv.push_str(&row);
    }
    let start = Instant::now();
    let (intake, lines) = world.push_and_read(1, &csv).await;
    assert_eq!(lines.len(), MAX_ROWS * 9 / 10);
    assert_eq!(document(&world, &intake).await.lines.len(), MAX_ROWS);
    let manifest = world.records.get(&intake.run.manifest_key()).await.unwrap().unwrap();
    assert!(manifest.len() <= 300 * MAX_ROWS, "{} bytes", manifest.len());
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
    println!("{MAX_ROWS} rows in {:?}, manifest {} bytes", start.elapsed(), manifest.len());
}
