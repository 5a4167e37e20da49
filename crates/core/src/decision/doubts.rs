//! What the same bytes would give rise to again: a human must look.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{Case, Examined};
use crate::SCHEMA_VERSION;
use crate::coverage::{CoverageClass, LostReason, OpaqueKind};
use crate::dependency::{self, Problem};
use crate::message;
use crate::outcome::Reason;
use crate::policy::Yanked;

/// All doubts that no waiver covers; covered ones become notes.
pub(super) fn of(case: &Case<'_>, version: Option<&str>, notes: &mut Vec<Reason>) -> Vec<Reason> {
    let mut doubts = Vec::new();
    if case.files.is_empty() {
        doubts.push(message::nothing_examined("the set"));
    }
    for file in case.files {
        doubts.extend(incomplete(case, file));
        let waivable = lost(file)
            .into_iter()
            .chain(opaque(case, file))
            .chain(release(case, file, notes))
            .chain(direct_urls(case, file));
        for doubt in waivable {
            match case.waiver(&[&doubt.code], version, &[file.sha256]) {
                Some(waiver) => notes.push(message::waived(
                    &doubt.code,
                    &waiver.approver,
                    &waiver.reason,
                    &waiver.expires.to_string(),
                )),
                None => doubts.push(doubt),
            }
        }
    }
    doubts.dedup();
    doubts
}

/// A report that proves nothing. No waiver covers these: there is nothing that a person could have accepted.
fn incomplete(case: &Case<'_>, file: &Examined) -> Vec<Reason> {
    let report = &file.report;
    if report.schema_version != SCHEMA_VERSION || report.artifact != file.sha256 || report.size != file.size {
        return vec![message::report_mismatch(&file.filename)];
    }
    let mut doubts = Vec::new();
    if report.coverage.is_empty() {
        doubts.push(message::nothing_examined(&file.filename));
    }
    let missing = case.policy.required_analyzers.iter().filter(|analyzer| !report.analyzers.contains(analyzer));
    doubts.extend(missing.map(|analyzer| message::analyzer_missing(&file.filename, analyzer)));
    doubts
}

fn lost(file: &Examined) -> Vec<Reason> {
    let mut groups = BTreeMap::<LostReason, (&str, &str, usize)>::new();
    for covered in &file.report.coverage {
        if let CoverageClass::Lost { reason, detail } = &covered.class {
            groups.entry(*reason).and_modify(|(_, _, more)| *more += 1).or_insert((&covered.path, detail, 0));
        }
    }
    let reason =
        |(reason, (path, detail, more))| message::lost(reason, &format!("{path} in {}", file.filename), detail, more);
    groups.into_iter().map(reason).collect()
}

fn opaque(case: &Case<'_>, file: &Examined) -> Vec<Reason> {
    let mut groups = BTreeMap::<OpaqueKind, (&str, usize)>::new();
    for covered in &file.report.coverage {
        if let CoverageClass::Opaque { kind } = covered.class
            && case.policy.hold_opaque.contains(&kind)
        {
            groups.entry(kind).and_modify(|(_, more)| *more += 1).or_insert((&covered.path, 0));
        }
    }
    let reason = |(kind, (path, more))| message::opaque(kind, &format!("{path} in {}", file.filename), more);
    groups.into_iter().map(reason).collect()
}

/// Dependencies that an installer would fetch from elsewhere than the approved index.
fn direct_urls(case: &Case<'_>, file: &Examined) -> Option<Reason> {
    let lines = &file.report.distribution.as_ref()?.requires_dist;
    let problems = dependency::applicable(lines, &case.policy.targets, &[]).problems;
    let (line, _) = problems.into_iter().find(|(_, problem)| *problem == Problem::Url)?;
    Some(message::dependency_url(&file.filename, &line))
}

/// What the index says of the release. What it does not say is a note, never a reason.
fn release(case: &Case<'_>, file: &Examined, notes: &mut Vec<Reason>) -> Vec<Reason> {
    let mut doubts = Vec::new();
    if let Some(why) = &file.evidence.yanked {
        let yanked = message::yanked(&file.filename, why);
        match case.policy.yanked {
            Yanked::Hold => doubts.push(yanked),
            Yanked::Note => notes.push(yanked),
        }
    }
    if case.policy.cool_down_days > 0 {
        let wait = SignedDuration::from_hours(24 * i64::from(case.policy.cool_down_days));
        match file.evidence.upload_time.map(|uploaded| uploaded.checked_add(wait)) {
            None => notes.push(message::unknown_age(&file.filename)),
            Some(Ok(until)) if until <= case.now => {}
            Some(Ok(until)) => doubts.push(message::cool_down(&file.filename, until)),
            Some(Err(_)) => doubts.push(message::cool_down(&file.filename, jiff::Timestamp::MAX)),
        }
    }
    doubts
}
