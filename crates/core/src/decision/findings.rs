//! Weighing findings by the policy.

use std::collections::BTreeMap;

use pep440_rs::Version;

use super::{Case, Examined, Weighed};
use crate::advisory::AdvisoryDb;
use crate::coordinates::{Coordinates, Format, normalize};
use crate::digest::Sha256;
use crate::finding::{Category, FileRole, Finding, Location};
use crate::message;
use crate::outcome::Reason;
use crate::severity::Severity;

pub(super) struct Weighing<'a> {
    case: &'a Case<'a>,
    version: Option<&'a str>,
    pub(super) findings: Vec<Weighed>,
    pub(super) notes: Vec<Reason>,
}

impl<'a> Weighing<'a> {
    pub(super) fn new(case: &'a Case<'a>, version: Option<&'a str>) -> Self {
        Self { case, version, findings: Vec::new(), notes: Vec::new() }
    }

    /// Findings about the coordinates.
    pub(super) fn add_all(&mut self, findings: Vec<Finding>) {
        let files: Vec<_> = self.case.files.iter().map(|file| file.sha256).collect();
        for finding in findings {
            let rule = finding.rule.clone();
            self.add(None, &files, &[&rule], finding);
        }
    }

    /// The findings of one file's content report.
    pub(super) fn add_content(&mut self, file: &Examined) {
        for finding in &file.report.findings {
            self.add(Some(&file.filename), &[file.sha256], &[&finding.rule], finding.clone());
        }
    }

    /// Advisories of the package itself and of exact pins in its installed metadata. Other pins are noted.
    pub(super) fn add_advisories(&mut self, db: &AdvisoryDb, coordinates: &Coordinates) {
        let mut wanted = BTreeMap::<(String, String), Option<&str>>::new();
        if coordinates.format == Format::Pypi {
            wanted.insert((coordinates.name.clone(), coordinates.version.clone()), None);
        }
        for pin in self.case.files.iter().flat_map(|file| &file.report.pins) {
            let key = (normalize(&pin.name), pin.version.clone());
            if pin.installed {
                wanted.entry(key).or_insert(Some(&pin.path));
            } else if let Ok(version) = pin.version.parse::<Version>() {
                let ids: Vec<_> = db.lookup(&key.0, &version).iter().map(|advisory| advisory.id().to_owned()).collect();
                if !ids.is_empty() {
                    let note =
                        message::pinned_elsewhere(&pin.path, &format!("{} {}", pin.name, pin.version), &ids.join(", "));
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
        }
        let files: Vec<_> = self.case.files.iter().map(|file| file.sha256).collect();
        for ((name, version), pinned_in) in wanted {
            let Ok(parsed) = version.parse::<Version>() else { continue };
            for advisory in db.lookup(&name, &parsed) {
                let mut finding = if pinned_in.is_some() { advisory.to_pin_finding() } else { advisory.to_finding() };
                if let Some(path) = pinned_in {
                    finding.location = Some(Location {
                        path: path.to_owned(),
                        line: None,
                        column: None,
                        role: FileRole::Library,
                        installed: true,
                    });
                }
                let ids: Vec<_> = advisory.ids().collect();
                self.add(None, &files, &ids, finding);
            }
        }
    }

    fn add(&mut self, filename: Option<&str>, files: &[Sha256], rules: &[&str], finding: Finding) {
        let most = self.case.policy.supporting_files_at_most;
        let mut weight = finding.severity;
        let mut remark = None;
        if is_light(&finding) && weight > most && weight != Severity::Unknown {
            weight = most;
            remark = Some(format!("counts as {most}: the file is a test, an example or documentation"));
        }
        let hostile = is_hostile(&finding);
        let mut refuses =
            hostile || weight != Severity::Unknown && weight >= self.case.policy.threshold(finding.category);
        if (refuses || weight == Severity::Unknown)
            && !hostile
            && let Some(waiver) = self.case.waiver(rules, self.version, files)
        {
            let note = message::waived(&finding.rule, &waiver.approver, &waiver.reason, &waiver.expires.to_string());
            refuses = false;
            weight = Severity::Info;
            remark = Some(note.message.clone());
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.findings.push(Weighed { filename: filename.map(str::to_owned), finding, weight, refuses, remark });
    }
}

/// Whether the archive is made to deceive, or is another package than it was asked for: no threshold and no waiver lets that in.
/// A wheel whose `RECORD` is not right may be the work of a careless tool.
fn is_hostile(finding: &Finding) -> bool {
    match finding.category {
        Category::Identity => true,
        Category::Archive => !finding.rule.starts_with("record-"),
        _ => false,
    }
}

/// Whether the finding lies in a file that weighs less. What an installation runs or copies keeps its full weight for the
/// categories whose danger does not depend on somebody calling the code.
fn is_light(finding: &Finding) -> bool {
    let Some(location) = &finding.location else { return false };
    let runs_anyway =
        matches!(finding.category, Category::InstallTime | Category::Malware | Category::Pickle | Category::Secret);
    let about_the_whole = matches!(finding.category, Category::Advisory | Category::Archive | Category::Identity);
    location.role == FileRole::Supporting && !about_the_whole && !(runs_anyway && location.installed)
}

/// The reasons of a refusal: one a rule and severity, the worst first.
pub(super) fn reasons(findings: &[Weighed]) -> Vec<Reason> {
    let mut groups = Vec::<(&Weighed, usize)>::new();
    for weighed in findings.iter().filter(|weighed| weighed.refuses) {
        let same = |(first, _): &&mut (&Weighed, usize)| {
            first.finding.rule == weighed.finding.rule
                && first.weight == weighed.weight
                && first.finding.title == weighed.finding.title
        };
        match groups.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => groups.push((weighed, 1)),
        }
    }
    groups
        .into_iter()
        .map(|(Weighed { finding, weight, .. }, count)| {
            let place = finding.location.as_ref().map(|location| match location.line {
                Some(line) => format!("{}:{line}", location.path),
                None => location.path.clone(),
            });
            message::refusing(
                finding.category.as_str(),
                *weight,
                &finding.rule,
                &finding.title,
                place.as_deref(),
                count - 1,
                &finding.remedy,
            )
        })
        .collect()
}
