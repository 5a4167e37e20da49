//! The Publish step.

use gate_core::advisory::AdvisoryDb;
use gate_core::decision::{Case, Decision, Examined, decide};
use gate_core::failure::{Failure, FailureCode};
use gate_core::outcome::Verdict;
use gate_core::policy::Policy;
use gate_core::ports::{Begin, Clock, PackageRepository, PublishedFile, Quarantine, Records};
use gate_core::report::ScannerVersion;
use gate_core::request::Wanted;
use gate_core::run::FetchedFile;
use gate_core::{ledger, message};

/// A set that somebody says is approved.
#[derive(Clone, Copy, Debug)]
pub struct ToPublish<'a> {
    /// The row.
    pub wanted: &'a Wanted,
    /// The whole set, in the order of the file names.
    pub files: &'a [FetchedFile],
}

/// Where the step looks, and where it publishes.
#[derive(Debug)]
pub struct Ports<'a, Q, R, P, C> {
    /// The artifacts.
    pub quarantine: &'a Q,
    /// The content reports.
    pub records: &'a R,
    /// Where approved packages go.
    pub repository: &'a P,
    /// The time.
    pub clock: &'a C,
    /// Whose reports are needed: the built-in scanner first.
    pub scanners: &'a [ScannerVersion],
    /// The advisories, if there are any.
    pub advisories: Option<&'a AdvisoryDb>,
    /// The policy.
    pub policy: &'a Policy,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// Users can install it, now or since before.
    Published(Box<Decision>),
    /// It is not approved, whatever the caller says; or what the repository holds under its coordinates stands against it. The
    /// decision says which, and is never [`Verdict::Approved`].
    NotPublished(Box<Decision>),
}

/// Publishes a set, if it is approved.
///
/// The caller's word is not taken for anything: the reports are read again by digest, the decision is made again, and every
/// byte is hashed again on its way into the repository. Doing it twice publishes once.
///
/// # Errors
/// When a store cannot be read or written, a scanner in use has not reported ([`FailureCode::ScannerUnavailable`]), or stored
/// bytes no longer have their digest. Nothing of the set is visible to users then.
pub async fn publish<Q: Quarantine, R: Records, P: PackageRepository, C: Clock>(
    set: ToPublish<'_>,
    ports: &Ports<'_, Q, R, P, C>,
) -> Result<Outcome, Failure> {
    let mut examined = Vec::with_capacity(set.files.len());
    for file in set.files {
        let report = ledger::merged_report(ports.records, &file.sha256, ports.scanners).await?.ok_or_else(|| {
            Failure::new(
                FailureCode::ScannerUnavailable,
                format!("there is no report on {} by every scanner in use; scan it again", file.sha256),
            )
        })?;
        let FetchedFile { filename, sha256, size, evidence } = file.clone();
        examined.push(Examined { filename, sha256, size, evidence, report });
    }
    let decision = decide(&Case {
        name: &set.wanted.name,
        source: &set.wanted.source,
        files: &examined,
        advisories: ports.advisories,
        policy: ports.policy,
        now: ports.clock.now(),
    });
    let (Verdict::Approved, Some(coordinates)) = (decision.verdict, &decision.coordinates) else {
        return Ok(Outcome::NotPublished(Box::new(decision)));
    };
    let (coordinates, decision) = (coordinates.clone(), Box::new(decision));
    let against = |verdict, reason| {
        let decision = Decision { verdict, reasons: vec![reason], ..(*decision).clone() };
        Ok(Outcome::NotPublished(Box::new(decision)))
    };

    let files: Vec<_> = examined.into_iter().map(published).collect();
    let mut publication = match ports.repository.begin(&coordinates, &files).await? {
        Begin::Reserved(publication) => publication,
        Begin::Published => return Ok(Outcome::Published(decision)),
        Begin::Taken => return against(Verdict::Invalid, message::coordinates_taken(&coordinates)),
        Begin::InPart(missing) => {
            return against(Verdict::Held, message::published_in_part(&coordinates, &missing, files.len()));
        }
        Begin::Withdrawn => return against(Verdict::Held, message::withdrawn_by_hand(&coordinates)),
    };
    for file in &files {
        let bytes = ports.quarantine.open(&file.sha256).await?;
        if let Err(failure) = ports.repository.put(&mut publication, file, bytes).await {
            // The next run fetches it again; bytes that are whole would come back the same, for ever.
            if failure.code == FailureCode::DigestMismatch && !ports.quarantine.discard_damaged(&file.sha256).await? {
                return Err(Failure::new(FailureCode::Storage, failure.message));
            }
            return Err(failure);
        }
    }
    ports.repository.commit(publication).await?;
    Ok(Outcome::Published(decision))
}

/// The file as users see it; what the index did not say of it, its own metadata may.
fn published(file: Examined) -> PublishedFile {
    let mut evidence = file.evidence;
    if evidence.requires_python.is_none() {
        evidence.requires_python = file.report.distribution.and_then(|distribution| distribution.requires_python);
    }
    PublishedFile { filename: file.filename, sha256: file.sha256, size: file.size, evidence }
}
