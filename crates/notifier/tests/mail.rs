//! The mails, from the requester's side.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;

use common::{Run, told};
use gate_core::message;
use gate_core::outcome::{Reason, Verdict};
use gate_core::ports::{MAX_MAIL_BODY, MAX_MAIL_KEY, Mail, Outbox as _};
use gate_core::text::is_deceptive;
use gate_notifier::DirectoryOutbox;
use gate_notifier::digest::{self, BODY_BYTES, SUBJECT_CHARS};
use proptest::prelude::*;

fn shown(mail: &Mail) -> String {
    format!("To: {}\nSubject: {}\n\n{}", mail.to.as_deref().unwrap_or("(nobody)"), mail.subject, mail.body)
}

#[test]
fn one_digest_a_requester_and_each_row_once() {
    let run = common::run(true);
    let told =
        told(&[(0, &["ada@corp.example"]), (4, &["ada@corp.example", "Bob@corp.example"]), (6, &["bob@corp.example"])]);
    let mails = digest::digests(&run.view(), &told);
    let to: Vec<_> = mails.iter().map(|mail| mail.to.as_deref()).collect();
    assert_eq!(to, [Some("ada@corp.example"), Some("Bob@corp.example"), None]);
    let lines = |mail: &Mail| -> Vec<u64> {
        let heads = mail.body.lines().filter_map(|line| line.strip_prefix("* "));
        heads.map(|head| head.split("(line ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(lines(&mails[0]), [2, 6]);
    assert_eq!(lines(&mails[1]), [6, 8]);
    let rest: BTreeSet<_> = lines(&mails[2]).into_iter().collect();
    assert_eq!(rest, BTreeSet::from([3, 4, 5, 7, 9, 10, 11, 12, 13]));
    insta::assert_snapshot!(mails.iter().map(shown).collect::<Vec<_>>().join("\n----------\n"));
}

#[test]
fn it_shouts_when_no_advisories_were_consulted() {
    let with = digest::digests(&common::run(true).view(), &[]);
    let without = digest::digests(&common::run(false).view(), &[]);
    assert!(!with[0].body.contains("NO ADVISORIES"));
    assert_eq!(without[0].body.matches("NO ADVISORIES WERE CONSULTED").count(), 1);
}

#[test]
fn an_address_that_could_break_a_header_gets_nothing_and_the_row_is_not_lost() {
    let run = common::run(true);
    let mails =
        digest::digests(&run.view(), &told(&[(0, &["x@y.example\r\nBcc: z@y.example"]), (99, &["ada@corp.example"])]));
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, None);
    assert!(mails[0].body.contains("* flask 3.0.3"));
}

#[test]
fn no_sentence_asks_for_what_only_the_local_program_can_do() {
    let cool_down = message::cool_down("a-1.0-py3-none-any.whl", common::now());
    for reason in [message::advisories_required(), message::advisories_not_consulted(), cool_down] {
        assert!(!reason.message.contains("--advisories") && !reason.message.contains("ask again"), "{reason:?}");
    }
    let mut run = Run::empty(gate_core::policy::BUILT_IN);
    run.undecided("a", "pkg:pypi/a@1", Verdict::Failed, Reason::new("busy", "no answer"));
    let texts = [digest::digests(&run.view(), &[])[0].body.clone(), gate_notifier::page::render(&run.view())];
    for text in texts {
        assert!(text.contains("trying again later may help"), "{text}");
        assert!(!text.contains("Run the request again") && !text.contains("--advisories"), "{text}");
    }
}

#[test]
fn no_rows_no_mail() {
    assert!(digest::digests(&Run::empty(gate_core::policy::BUILT_IN).view(), &[]).is_empty());
}

#[test]
fn ten_thousand_outcomes_are_one_mail_within_the_limit() {
    for verdict in [Verdict::Refused, Verdict::Failed] {
        let mut run = Run::empty(gate_core::policy::BUILT_IN);
        for _ in 0..10_000 {
            run.undecided(&"日".repeat(100), "pkg:pypi/a@1", verdict, Reason::new("busy", &"語".repeat(2_000)));
        }
        let mails = digest::digests(&run.view(), &[]);
        assert_eq!(mails.len(), 1);
        let body = &mails[0].body;
        assert!(body.len() <= BODY_BYTES && body.len() > BODY_BYTES - 3, "{}", body.len());
        assert!(body.ends_with("[This mail was cut. The whole report: .gate/report.html]\n"));
        assert_eq!(mails[0].subject, format!("Package Gate: 10,000 {}", verdict.as_str()));
        let forwarded = digest::forwarded(mails[0].clone(), &"x@y.example\n".repeat(100), ".gate/report.html");
        assert!(forwarded.body.len() <= BODY_BYTES, "{}", forwarded.body.len());
    }
}

#[test]
fn rows_of_all_verdicts_are_one_mail_within_the_limit() {
    let mut run = Run::empty(gate_core::policy::BUILT_IN);
    for at in 0..220 {
        let verdict = gate_notifier::words::VERDICTS[at % 5];
        for code in 0..5 {
            let message = format!("{code} {}", "why ".repeat(400));
            match code {
                0 => run.undecided("package", "pkg:pypi/a@1", verdict, Reason::new("any", &message)),
                _ => run.document.rows[at].reasons.push(Reason::new("any", &message)),
            };
        }
    }
    let body = &digest::digests(&run.view(), &[])[0].body;
    assert!(body.len() <= MAX_MAIL_BODY && body.contains("[This mail was cut."), "{}", body.len());
}

#[test]
fn the_longest_key_is_one_that_the_port_takes() {
    let run = format!("{}-{}", "r".repeat(70), "0".repeat(16));
    let address = format!("{}@{}.example", "a".repeat(64), "b".repeat(181));
    assert!(digest::key(&run, Some(&address)).len() <= MAX_MAIL_KEY);
}

#[test]
fn a_group_lists_so_many_rows_and_counts_the_rest() {
    for (rows, more) in [(199, None), (200, None), (201, Some("and 1 more: see the report."))] {
        let mut run = Run::empty(gate_core::policy::BUILT_IN);
        for _ in 0..rows {
            run.undecided("a", "pkg:pypi/a@1", Verdict::Failed, Reason::new("busy", "later"));
        }
        let body = &digest::digests(&run.view(), &[])[0].body;
        assert_eq!(body.matches("* a 1").count(), rows.min(digest::ROWS_LISTED));
        assert_eq!(body.contains("more: see the report"), more.is_some());
        assert!(more.is_none_or(|more| body.contains(more)));
    }
}

#[test]
fn the_outbox_keeps_one_mail_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = DirectoryOutbox::new(dir.path(), common::now());
    let run = common::run(true);
    let mails = digest::digests(&run.view(), &told(&[(0, &["ada@corp.example"])]));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for mail in mails.iter().chain(&mails) {
        let key = digest::key("run-1", mail.to.as_deref());
        let sent = std::pin::pin!(outbox.send(&key, mail)).poll(&mut context);
        assert!(matches!(sent, std::task::Poll::Ready(Ok(()))), "{sent:?}");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("run-1-ada-") && names[1] == "run-1-default.eml", "{names:?}");
    let text = std::fs::read_to_string(dir.path().join(&names[0])).unwrap();
    assert!(text.contains("\r\nTo: <ada@corp.example>\r\nSubject: Package Gate: flask 3.0.3 approved\r\n"), "{text}");
}

/// Text as a hostile row or package would have it.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\r\nBcc: all@corp.example\r\n".to_owned()),
        Just("\u{202e}\u{2066}\u{200b}\u{1b}[31m\0\u{7f}".to_owned()),
        Just("<a href=\"https://evil.example\">click</a>".to_owned()),
        Just("HtTp://user:hunter2@www.evil.example/?q".to_owned()),
        any::<String>(),
        "[\\PC]{0,150}",
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hostile_row_breaks_neither_subject_nor_body(
        name in hostile(), source in hostile(), message in hostile(), code in hostile(), add in hostile(), version in hostile(),
        verdict in 0..5_usize,
    ) {
        let mut run = Run::empty(gate_core::policy::BUILT_IN);
        run.undecided(&name, &source, gate_notifier::words::VERDICTS[verdict], Reason { code, message });
        run.document.rows[0].coordinates = Some(format!("pkg:pypi/{name}@{version}"));
        run.rows_to_add[0] = vec![add];
        run.fixed[0] = Some(version);
        let mails = digest::digests(&run.view(), &[]);
        let Mail { subject, body, .. } = &mails[0];
        prop_assert!(subject.len() <= SUBJECT_CHARS && subject.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{subject:?}");
        prop_assert!(!body.contains(|c: char| is_deceptive(c) && c != '\n'), "{body:?}");
        prop_assert!(body.len() <= BODY_BYTES);
        prop_assert!(!body.contains("hunter2") && !subject.contains("hunter2"));
        let own = body.replace("http://127.0.0.1:8080/simple/", "").replace("hxxp://", "").replace("hxxps://", "").to_ascii_lowercase();
        prop_assert!(!own.contains("://") && !own.contains("www.e"), "{own}");
    }
}
