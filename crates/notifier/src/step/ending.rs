//! How each row of a run ended.

use gate_core::SCHEMA_VERSION;
use gate_core::digest::Sha256;
use gate_core::failure::FailureCode;
use gate_core::outcome::{Reason, RowOutcome, Verdict};
use gate_core::ports::Records;
use gate_core::run::{self, Inputs, Look, Notice, Noticed, OutcomeDocument, RowDocument};
use gate_core::step::StepError;
use jiff::Timestamp;

use crate::words;

/// Writes down how a row ended: the notice, and by what it was decided.
pub(super) async fn keep(
    records: &impl Records,
    row: &RowDocument,
    ended: OutcomeDocument,
    now: Timestamp,
) -> Result<Noticed, StepError> {
    let look = Look {
        schema_version: SCHEMA_VERSION,
        run: row.run.clone(),
        at: now,
        inputs: ended.inputs.clone(),
        again_at: ended.again_at,
    };
    let notice = Notice { schema_version: SCHEMA_VERSION, run: row.run.clone(), line: row.line, ended, at: now };
    let noticed = run::keep_notice(records, &row.key, &notice).await?;
    run::keep_look(records, &row.key, &look).await?;
    Ok(noticed)
}

/// Ends a row that a fault of the system has stopped, and gives its outcome; `inputs` is what is in force, so that a change of it
/// decides the row again also when nobody tries any more.
pub(super) async fn fail(
    records: &impl Records,
    row: &RowDocument,
    code: FailureCode,
    inputs: Option<Inputs>,
    now: Timestamp,
) -> Result<(OutcomeDocument, Noticed), StepError> {
    let again_at = run::retry_at(records, &row.key, code, now).await?;
    let ended = OutcomeDocument {
        schema_version: SCHEMA_VERSION,
        outcome: row.outcome(Verdict::Failed, vec![fault(code, again_at)]),
        decision: None,
        inputs,
        again_at,
    };
    run::keep_outcome(records, row, &ended).await?;
    let noticed = keep(records, row, ended.clone(), now).await?;
    Ok((ended, noticed))
}

/// The reason of a row that a fault of the system has stopped.
pub(super) fn fault(code: FailureCode, again_at: Option<Timestamp>) -> Reason {
    Reason::new(code.as_str(), &words::fault(code, again_at.is_some()))
}

/// A row at its end.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) ended: OutcomeDocument,
    /// Whether it ended so in this run for the first time.
    pub(super) is_news: bool,
}

impl End {
    /// As the row reads in this run: another commit may have moved it.
    pub(super) fn of(row: &RowDocument, mut ended: OutcomeDocument, is_news: bool) -> Self {
        ended.outcome.line = row.line;
        ended.outcome.name.clone_from(&row.name);
        ended.outcome.source.clone_from(&row.source);
        Self { ended, is_news }
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
        && notice.run == row.run
        && notice.line == row.line
    {
        return Ok(End::of(row, notice.ended.clone(), true));
    }
    let mut own = Vec::with_capacity(outcomes.len());
    for key in outcomes {
        own.push(run::read::<OutcomeDocument>(records, key).await?);
    }
    if let Some(notice) = newest {
        let is_news = notice.run == row.run;
        // The words of this run say the line of this run.
        if let Some(same) = own.iter().find(|outcome| notice.says_the_same_as(outcome)) {
            return Ok(End::of(row, same.clone(), is_news));
        }
        // Another run has decided the same row meanwhile.
        let looked_at = || async { run::latest_look(records, &row.key).await };
        let is_over = is_news || notice.at >= begun;
        if is_over || own.is_empty() && looked_at().await?.is_some_and(|look| look.at >= begun) {
            return Ok(End::of(row, notice.ended, is_news));
        }
    }
    let (ended, noticed) = match <[OutcomeDocument; 1]>::try_from(own) {
        Ok([ended]) => {
            let noticed = keep(records, row, ended.clone(), now).await?;
            (ended, noticed)
        }
        Err(_) => fail(records, row, FailureCode::Storage, Some(inputs.clone()), now).await?,
    };
    Ok(End::of(row, ended, matches!(noticed, Noticed::News(_))))
}

/// What makes an outcome worth a mail, as 16 hexadecimal digits: two outcomes that
/// [say the same](gate_core::run::Notice::says_the_same_as) have the same.
pub(super) fn says(outcome: &RowOutcome) -> String {
    let mut text = format!("{}\n{}", outcome.verdict.as_str(), outcome.coordinates.as_deref().unwrap_or_default());
    for file in &outcome.artifacts {
        text.push_str(&format!("\n{}", file.sha256));
    }
    for reason in outcome.reasons.iter().filter(|_| outcome.verdict != Verdict::Failed) {
        text.push_str(&format!("\n{}", reason.code));
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
        let ended = |outcome: &RowOutcome| OutcomeDocument {
            schema_version: SCHEMA_VERSION,
            outcome: outcome.clone(),
            decision: None,
            inputs: None,
            again_at: None,
        };
        for one in &all {
            let at = Timestamp::UNIX_EPOCH;
            let notice = Notice { schema_version: SCHEMA_VERSION, run: run.clone(), line: 2, ended: ended(one), at };
            for other in &all {
                assert_eq!(says(one) == says(other), notice.says_the_same_as(&ended(other)), "{one:?} {other:?}");
            }
        }
    }
}
