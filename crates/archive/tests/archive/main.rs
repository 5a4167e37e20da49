//! One forged archive for each attack, honest ones, limits and properties.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "helpers of tests")]

mod honest;
mod limits;
mod names;
mod properties;
mod refusals;
mod tar_attacks;
mod visits;
mod zip_attacks;

use std::convert::Infallible;
use std::io::Cursor;

use gate_archive::{Format, Limits, Member, Refusal, Summary, WalkError, walk};

/// A member with its whole body.
type Read = (Member, Vec<u8>);

/// Walks an archive by its content and reads every body.
fn read(archive: &[u8]) -> Result<(Vec<Read>, Summary), Refusal> {
    read_within(archive, &Limits::default())
}

fn read_within(archive: &[u8], limits: &Limits) -> Result<(Vec<Read>, Summary), Refusal> {
    let prefix = &archive[..archive.len().min(Format::PREFIX_BYTES)];
    read_as(archive, Format::detect(prefix).expect("no known format"), limits)
}

fn read_as(archive: &[u8], format: Format, limits: &Limits) -> Result<(Vec<Read>, Summary), Refusal> {
    let mut members = Vec::new();
    let outcome = walk(Cursor::new(archive), format, limits, |member, body| -> Result<(), Infallible> {
        let mut bytes = Vec::new();
        // The error is dropped on purpose: the walk must remember it.
        let _ = body.read_to_end(&mut bytes);
        members.push((member.clone(), bytes));
        Ok(())
    });
    match outcome {
        Ok(summary) => Ok((members, summary)),
        Err(WalkError::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

/// The code with which an archive is refused, read and unread.
#[track_caller]
fn refused(archive: &[u8], format: Format) -> &'static str {
    let refusal = match read_as(archive, format, &Limits::default()) {
        Err(refusal) => refusal,
        Ok((members, _)) => panic!("accepted: {:?}", members.iter().map(|(member, _)| member).collect::<Vec<_>>()),
    };
    let unread = walk(Cursor::new(archive), format, &Limits::default(), |_, _| Ok::<(), Infallible>(()));
    assert!(matches!(&unread, Err(WalkError::Refused(other)) if *other == refusal), "{unread:?}, not {refusal:?}");
    let shown = refusal.to_string();
    assert!(!shown.chars().any(char::is_control) && !shown.contains('\u{202e}'), "{shown:?}");
    assert!(shown.starts_with("the member \"") || shown.starts_with("the archive "), "{shown}");
    refusal.code()
}

/// Checks a table of `(what, archive, expected code)`.
#[track_caller]
fn check_refused(format: Format, cases: Vec<(&str, Vec<u8>, &str)>) {
    for (what, archive, code) in cases {
        println!("{what}");
        assert_eq!(refused(&archive, format), code, "{what}");
    }
}
