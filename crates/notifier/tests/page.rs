//! The page, from the reader's side.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Run, file, finding};
use gate_core::finding::Category;
use gate_core::outcome::{Reason, Verdict};
use gate_core::severity::Severity;
use gate_core::text::is_deceptive;
use gate_notifier::page;
use proptest::prelude::*;

/// Where a person can look at the sample: `target/tmp/report-*.html`.
fn keep(name: &str, page: &str) {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(path, page).unwrap();
}

/// The text of a page, one line a text node, without style and tags.
fn text(page: &str) -> String {
    let (_, body) = page.split_once("</style>").unwrap();
    let mut out = String::new();
    for part in body.split('<').skip(1) {
        let (_, text) = part.split_once('>').unwrap();
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        if !text.trim().is_empty() {
            out.push_str(text.trim());
            out.push('\n');
        }
    }
    out
}

#[test]
fn a_run_with_every_verdict_reads_well() {
    let page = page::render(&common::run(true).view());
    keep("report-with-advisories.html", &page);
    insta::assert_snapshot!(text(&page));
}

#[test]
fn it_shouts_when_no_advisories_were_consulted() {
    let page = page::render(&common::run(false).view());
    keep("report-without-advisories.html", &page);
    let text = text(&page);
    assert!(text.contains("No advisories were consulted."));
    let approved = common::run(false).document.rows.iter().filter(|row| row.verdict == Verdict::Approved).count();
    assert!(approved > 0);
    assert_eq!(
        text.matches("Known vulnerabilities were not looked for.").count(),
        approved + 1,
        "each row and the basis"
    );
    assert!(!self::text(&page::render(&common::run(true).view())).contains("were not looked for"));
}

#[test]
fn old_advisories_are_named_from_the_seventh_day_on() {
    let mut run = common::run(true);
    for (newest, old) in
        [("2024-11-13T10:42:01Z", false), ("2024-11-13T10:42:00Z", true), ("2024-11-13T10:41:59Z", true)]
    {
        run.consulted.as_mut().unwrap().newest = Some(newest.parse().unwrap());
        let text = text(&page::render(&run.view()));
        assert_eq!(text.contains("The advisories are 7 days old."), old, "{newest}");
    }
}

#[test]
fn it_loads_nothing_and_runs_nothing() {
    let page = page::render(&common::run(true).view());
    assert!(page.contains("default-src 'none'"));
    for forbidden in
        ["<script", "javascript:", " src=", "url(", "@import", "<link", "<img", "<iframe", " style=", " onclick"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for link in page.split("<a ").skip(1) {
        let tag = link.split('>').next().unwrap();
        let outside = tag.contains("href=\"https://") && tag.contains("rel=\"noreferrer noopener\"");
        assert!(outside || tag.contains("href=\"#"), "{tag}");
    }
}

#[test]
fn the_style_is_the_one_that_the_content_policy_allows() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let page = page::render(&Run::empty(gate_core::policy::BUILT_IN).view());
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    assert!(page.contains(&format!("style-src 'sha256-{hash}'")));
    assert!(text(&page).contains("Nothing was requested"));
}

#[test]
fn every_anchor_leads_somewhere_and_every_id_is_unique() {
    let page = page::render(&common::run(true).view());
    let values = |attribute: &str| -> Vec<String> {
        let marker = format!(" {attribute}=\"");
        let found = page.split(&marker).skip(1);
        found.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let ids = values("id");
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    let targets = values("href").into_iter().filter_map(|href| href.strip_prefix('#').map(str::to_owned));
    for target in targets.chain(values("aria-labelledby")).chain(values("for")) {
        assert!(ids.contains(&target), "{target}");
    }
}

#[test]
fn a_note_of_any_step_stands_apart_from_the_reasons() {
    let mut run = common::run(true);
    for row in [0, 4] {
        run.document.rows[row].reasons.push(Reason::new("a-code-of-another-crate", "a note that decided nothing"));
        let view = run.view();
        let (why, notes) = gate_notifier::words::why_and_notes(&view.rows[row]);
        assert_eq!(why, run.decisions[row].as_ref().unwrap().reasons.iter().collect::<Vec<_>>());
        assert_eq!(notes.last().unwrap().code, "a-code-of-another-crate");
    }
    // A row that ended otherwise than it was decided: its first reason is why.
    run.document.rows[0].verdict = Verdict::Invalid;
    run.document.rows[0].reasons.insert(0, Reason::new("coordinates-taken", "other bytes are published"));
    let view = run.view();
    let (why, _) = gate_notifier::words::why_and_notes(&view.rows[0]);
    assert_eq!(why[0].code, "coordinates-taken");
}

/// A run of `rows` equal rows with `places` findings each.
fn many(rows: usize, places: usize) -> Run {
    let mut run = Run::empty(gate_core::policy::BUILT_IN);
    let findings: Vec<_> = (0..places)
        .map(|at| finding("S101", "assert", Severity::Low, Category::Code, &format!("pkg/a.py:{}", at + 1), "assert x"))
        .collect();
    let file = file("pkg", "1.0", "pkg-1.0-py3-none-any.whl", 1_000, findings, Vec::new());
    for _ in 0..rows {
        run.decided("pkg", "pkg:pypi/pkg@1.0", std::slice::from_ref(&file), None);
    }
    run
}

#[test]
fn a_group_shows_so_many_places_and_counts_the_rest() {
    for (places, note) in [
        (page::PLACES_SHOWN - 1, None),
        (page::PLACES_SHOWN, None),
        (page::PLACES_SHOWN + 1, Some("1 further place")),
        (10_000, Some("9,800 further places")),
    ] {
        let text = text(&page::render(&many(1, places).view()));
        assert_eq!(text.matches("assert x").count(), places.min(page::PLACES_SHOWN));
        assert_eq!(text.contains("further place"), note.is_some(), "{places}");
        assert!(note.is_none_or(|note| text.contains(note)), "{places}");
    }
}

#[test]
fn ten_thousand_rows_make_a_page_that_a_browser_can_open() {
    let run = many(10_000, 20);
    let page = page::render(&run.view());
    assert_eq!(page.matches("<article").count(), 10_000);
    assert!(page.len() < 64 << 20, "{} bytes", page.len());
    keep("report-ten-thousand.html", &page);
}

/// Text as a hostile package would have it.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("\"><img src=x onerror=alert(1)>".to_owned()),
        Just("' onmouseover='x".to_owned()),
        Just("https://user:hunter2@evil.example/".to_owned()),
        Just("javascript:alert(1)".to_owned()),
        Just("\u{202e}\u{200b}\u{1b}[31m\r\n\t\0".to_owned()),
        Just("&lt;&#60;".to_owned()),
        any::<String>(),
        "[\\PC]{0,40}",
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_of_a_package_becomes_markup_or_deceives(texts in proptest::collection::vec(hostile(), 14)) {
        let mut run = Run::empty(gate_core::policy::BUILT_IN);
        let mut bad = finding("S602", "shell", Severity::High, Category::Code, "a.py:1", "x");
        let location = bad.location.as_mut().unwrap();
        location.path.clone_from(&texts[0]);
        bad.rule.clone_from(&texts[1]);
        bad.title.clone_from(&texts[2]);
        bad.snippet = Some(texts[3].clone());
        bad.remedy.clone_from(&texts[4]);
        bad.references = vec![texts[5].clone(), format!("https://{}", texts[6])];
        let mut file = file("pkg", "1.0", "pkg-1.0-py3-none-any.whl", 1, vec![bad], Vec::new());
        file.evidence.url = Some(texts[7].clone());
        file.evidence.yanked = Some(texts[8].clone());
        file.report.coverage[0].path.clone_from(&texts[9]);
        file.report.coverage[0].class = gate_core::coverage::CoverageClass::Lost {
            reason: gate_core::coverage::LostReason::Limit,
            detail: texts[10].clone(),
        };
        let outcome = run.decided("pkg", "pkg:pypi/pkg@1.0", &[file], None);
        outcome.name.clone_from(&texts[11]);
        outcome.source.clone_from(&texts[12]);
        outcome.coordinates = Some(format!("pkg:pypi/{}@{}", texts[0], texts[1]));
        outcome.reasons.push(Reason { code: texts[13].clone(), message: texts[2].clone() });
        run.decisions[0].as_mut().unwrap().files[0].filename.clone_from(&texts[3]);
        run.rows_to_add[0] = vec![texts[4].clone()];
        run.fixed[0] = Some(texts[5].clone());

        let page = page::render(&run.view());
        let (_, body) = page.split_once("</style>").unwrap();
        prop_assert!(!body.contains(|c: char| is_deceptive(c) && c != '\n'));
        prop_assert!(!body.contains("hunter2"));
        // Every tag is one of ours: names that the template uses, and attributes that it writes.
        for part in body.split('<').skip(1) {
            let (tag, _) = part.split_once('>').unwrap();
            let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            let ours = ["head", "html", "body", "a", "svg", "symbol", "path", "use", "rect", "header", "p", "h1", "h2", "h3", "h4", "h5", "span",
                "strong", "code", "main", "aside", "fieldset", "legend", "div", "input", "label", "b", "table", "caption", "colgroup", "col",
                "thead", "tbody", "tr", "th", "td", "article", "ul", "li", "pre", "details", "summary", "dl", "dt", "dd", "time", "footer"];
            prop_assert!(ours.contains(&&*name), "{tag}");
            prop_assert_eq!(tag.matches('"').count() % 2, 0, "{}", tag);
            let names = tag.split('"').step_by(2).flat_map(str::split_whitespace).skip(1);
            for attribute in names {
                prop_assert!(!attribute.starts_with("on") && !attribute.starts_with("src"), "{}", tag);
            }
        }
    }
}
