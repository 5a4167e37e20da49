//! How each row of a run ended.

use std::collections::BTreeSet;

use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::ledger;
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::ports::Records;
use gate_core::run::{
    self, Inputs, Look, Notice, Noticed, OutcomeDocument, RETRY_FIRST, RETRY_FOR, RowDocument, RunDocument,
};
use gate_core::step::StepError;
use jiff::Timestamp;

use crate::words;

/// Writes down how a row ended: the notice, and by what it was decided.
///
/// That a row could not be decided again is no outcome: the verdict that it has stands.
pub(super) async fn keep(
    records: &impl Records,
    row: &RowDocument,
    ended: OutcomeDocument,
    now: Timestamp,
) -> Result<Noticed, StepError> {
    if ended.outcome.verdict == Verdict::Failed
        && let Some(noticed) = let_stand(records, row, &ended, now).await?
    {
        return Ok(noticed);
    }
    let noticed = run::keep_notice(records, row, &ended, now).await?;
    run::keep_look(records, &row.key, &look(row, &ended, ended.again_at, now)).await?;
    Ok(noticed)
}

fn look(row: &RowDocument, ended: &OutcomeDocument, again_at: Option<Timestamp>, now: Timestamp) -> Look {
    Look { schema_version: SCHEMA_VERSION, run: row.run.clone(), at: now, inputs: ended.inputs.clone(), again_at }
}

/// Lets the verdict of another run stand, or of this one when the row has ended just now, and has it tried again; none when there
/// is no verdict.
async fn let_stand(
    records: &impl Records,
    row: &RowDocument,
    failed: &OutcomeDocument,
    now: Timestamp,
) -> Result<Option<Noticed>, StepError> {
    let newest = run::latest_notice(records, &row.key).await?;
    let Some(standing) = newest.filter(|notice| stands(&notice.ended)) else { return Ok(None) };
    let before = run::latest_look(records, &row.key).await?;
    // The step may run twice.
    if before.as_ref().is_none_or(|before| before.run != row.run) {
        let again_at = again_at(&standing.ended, before, failed, now);
        run::keep_look(records, &row.key, &look(row, failed, again_at, now)).await?;
    }
    run::hear(records, row).await
}

/// Whether it is a verdict on the package. What reading the request has ended is over when the row is worked on.
fn stands(ended: &OutcomeDocument) -> bool {
    match ended.outcome.verdict {
        Verdict::Approved | Verdict::Refused | Verdict::Held => true,
        Verdict::Invalid => ended.decision.is_some(),
        Verdict::Failed => false,
    }
}

/// When a row is decided again whose verdict stands. Each wait is twice the one before, so that all of them together are at most
/// [`RETRY_FOR`]; and the day on which the verdict itself may change is not missed.
fn again_at(
    standing: &OutcomeDocument,
    before: Option<Look>,
    failed: &OutcomeDocument,
    now: Timestamp,
) -> Option<Timestamp> {
    let waited = before
        .filter(|before| before.again_at != standing.again_at)
        .and_then(|before| Some(before.again_at?.duration_since(before.at)));
    let wait = waited.map_or(RETRY_FIRST, |waited| (waited * 2).max(RETRY_FIRST));
    let retry = failed.again_at.filter(|_| wait <= RETRY_FOR / 2).and_then(|_| now.checked_add(wait).ok());
    retry.into_iter().chain(standing.again_at.filter(|at| *at > now)).min()
}

/// Whether another run has decided a row after the run that it ended in: a redrive may come days later.
pub(super) async fn is_overtaken(
    records: &impl Records,
    row: &RowDocument,
    ended: &OutcomeDocument,
) -> Result<bool, StepError> {
    let Some(notice) = run::latest_notice(records, &row.key).await?.filter(|notice| notice.run != row.run) else {
        return Ok(false);
    };
    let look = run::latest_look(records, &row.key).await?.filter(|look| look.run != row.run);
    let other = look.map_or(notice.at, |look| look.at.max(notice.at));
    let Some(head) = run::read_json::<RunDocument>(records, &row.run.document_key()).await? else { return Ok(false) };
    if other <= head.read_at {
        return Ok(false);
    }
    // A decision that says what one before it said is not stored again, and may be older than its run.
    let decision = match &ended.decision {
        Some(key) => ledger::decision(records, key).await?,
        None => None,
    };
    Ok(decision.is_none_or(|decision| other > decision.decided_at))
}

/// Ends a row that a fault of the system has stopped; `inputs` is what is in force, so that a change of it decides the row again
/// also when nobody tries any more.
pub(super) async fn fail(
    records: &impl Records,
    row: &RowDocument,
    code: FailureCode,
    inputs: Option<Inputs>,
    now: Timestamp,
) -> Result<Noticed, StepError> {
    let again_at = run::retry_at(records, &row.key, code, now).await?;
    let failed = OutcomeDocument::of_reason(row, Verdict::Failed, fault(code, again_at), again_at);
    let ended = OutcomeDocument { inputs, ..failed };
    run::keep_outcome(records, row, &ended).await?;
    keep(records, row, ended, now).await
}

/// The reason of a row that a fault of the system has stopped.
pub(super) fn fault(code: FailureCode, again_at: Option<Timestamp>) -> Reason {
    Reason::new(code.as_str(), &words::fault(code, again_at.is_some()))
}

/// A row at its end.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) ended: OutcomeDocument,
    /// Who hears of it in this run; none when it is no news.
    pub(super) told: Option<BTreeSet<String>>,
    /// Whether it was not decided in this run, so that somebody may redrive it.
    pub(super) may_change: bool,
}

impl End {
    /// As the row reads in this run: another commit may have moved it. `own` are the outcomes that it had there.
    pub(super) fn of(row: &RowDocument, notice: &Notice, own: &[OutcomeDocument]) -> Self {
        // The words of this run say the line of this run.
        let same = own.iter().find(|outcome| notice.says_the_same_as(outcome));
        let ended = same.unwrap_or(&notice.ended).clone().told_of(row);
        let is_failed = |outcome: &RowOutcome| outcome.verdict == Verdict::Failed;
        let may_change = is_failed(&ended.outcome) || !notice.has(row) && own.iter().all(|own| is_failed(&own.outcome));
        Self { ended, told: notice.hearers(row).cloned(), may_change }
    }
}

/// How a row ended in its run; `outcomes` are the keys of all outcomes that it had there, `begun` is when the run was read, and
/// `inputs` is what is in force.
///
/// A row whose execution did not come to its Notify step is told of here: with its outcome if it had one, else as failed.
pub(super) async fn of(
    records: &impl Records,
    row: &RowDocument,
    outcomes: &[String],
    begun: Timestamp,
    inputs: &Inputs,
    now: Timestamp,
) -> Result<End, StepError> {
    let newest = run::latest_notice(records, &row.key).await?;
    if let Some(notice) = &newest
        && notice.has(row)
    {
        return Ok(End::of(row, notice, &[]));
    }
    let mut own = Vec::with_capacity(outcomes.len());
    for key in outcomes {
        own.push(run::read::<OutcomeDocument>(records, key).await?);
    }
    let known = match newest {
        Some(notice) if is_known(records, row, &notice, &own, begun).await? => run::hear(records, row).await?,
        _ => None,
    };
    let noticed = match (known, &own[..]) {
        (Some(noticed), _) => noticed,
        (None, [ended]) => keep(records, row, ended.clone(), now).await?,
        (None, _) => fail(records, row, FailureCode::Storage, Some(inputs.clone()), now).await?,
    };
    let (Noticed::News(notice) | Noticed::Known(notice)) = noticed;
    Ok(End::of(row, &notice, &own))
}

/// Whether a notice is the end of a row that has these outcomes in a run that was read at `begun`: it says what one of them says,
/// or another run has decided the row meanwhile.
async fn is_known(
    records: &impl Records,
    row: &RowDocument,
    notice: &Notice,
    own: &[OutcomeDocument],
    begun: Timestamp,
) -> Result<bool, StepError> {
    if own.iter().any(|outcome| notice.says_the_same_as(outcome)) || notice.hearers(row).is_some() || notice.at >= begun
    {
        return Ok(true);
    }
    Ok(own.is_empty() && run::latest_look(records, &row.key).await?.is_some_and(|look| look.at >= begun))
}

/// What makes an outcome worth a mail, as 16 hexadecimal digits: two outcomes that
/// [say the same](gate_core::run::Notice::says_the_same_as) have the same. `again_at` is when a failure is tried again.
pub(super) fn says(outcome: &RowOutcome, again_at: Option<Timestamp>) -> String {
    let mut text = format!("{}\n{}", outcome.verdict.as_str(), outcome.coordinates.as_deref().unwrap_or_default());
    for file in &outcome.artifacts {
        text.push_str(&format!("\n{}", file.sha256));
    }
    match outcome.verdict == Verdict::Failed && again_at.is_some() {
        true => text.push_str("\nis tried again"),
        false => outcome.reasons.iter().for_each(|reason| text.push_str(&format!("\n{}", reason.code))),
    }
    Sha256::of(text.as_bytes()).short()
}

#[cfg(test)]
mod tests {
    use gate_core::outcome::OutcomeArtifact;
    use gate_core::run::RunId;

    use super::*;

    #[test]
    fn what_says_the_same_has_the_same_digest() {
        let outcome = |verdict, codes: &[&str], coordinates: Option<&str>, files: &[&str]| RowOutcome {
            line: codes.len() as u64,
            name: format!("name{}", files.len()),
            source: String::new(),
            coordinates: coordinates.map(str::to_owned),
            verdict,
            reasons: codes.iter().map(|code| Reason::new(code, "why")).collect(),
            artifacts: files
                .iter()
                .map(|file| OutcomeArtifact { filename: "f".to_owned(), sha256: Sha256::of(file.as_bytes()), size: 1 })
                .collect(),
        };
        let mut all = Vec::new();
        for verdict in [Verdict::Approved, Verdict::Refused, Verdict::Held, Verdict::Failed, Verdict::Invalid] {
            for codes in [&["a"][..], &["b"], &["a", "b"]] {
                for coordinates in [None, Some("pkg:pypi/a@1"), Some("pkg:pypi/a@2")] {
                    for files in [&[][..], &["1"], &["1", "2"]] {
                        all.push(outcome(verdict, codes, coordinates, files));
                    }
                }
            }
        }
        let run = RunId::of_commit(1, "r", "c", 1);
        let at = Timestamp::UNIX_EPOCH;
        let with = |again_at| move |outcome| (outcome, again_at);
        let all: Vec<_> = all.iter().map(with(None)).chain(all.iter().map(with(Some(at)))).collect();
        let ended = |(outcome, again_at): (&RowOutcome, _)| OutcomeDocument {
            schema_version: SCHEMA_VERSION,
            outcome: outcome.clone(),
            decision: None,
            inputs: None,
            again_at,
        };
        let says = |(outcome, again_at)| says(outcome, again_at);
        for one in &all {
            let (run, told) = (run.clone(), BTreeSet::new());
            let schema_version = SCHEMA_VERSION;
            let notice = Notice { schema_version, run, line: 2, told, also: Vec::new(), ended: ended(*one), at };
            for other in &all {
                assert_eq!(says(*one) == says(*other), notice.says_the_same_as(&ended(*other)), "{one:?} {other:?}");
            }
        }
    }
}
