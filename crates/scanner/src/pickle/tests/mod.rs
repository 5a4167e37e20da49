//! Pickles built by an assembler, so that no attack lies in the tree as a file.

mod assembler;
mod containers;
mod examples;
mod limits;
mod shapes;

use gate_core::coverage::CoverageClass;
use gate_core::finding::{FileRole, Finding};

use crate::context::FileContext;

const CTX: FileContext<'static> = FileContext { path: "pkg/weights.dat", role: FileRole::Library, installed: true };

/// The class and the findings of a file with this content.
fn analysed(bytes: &[u8]) -> (CoverageClass, Vec<Finding>) {
    let mut findings = Vec::new();
    let class = super::analyse(&mut &*bytes, &CTX, &mut findings);
    (class, findings)
}

fn rules(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.rule.as_str()).collect()
}

fn is_analysed(class: &CoverageClass) -> bool {
    matches!(class, CoverageClass::Analysed { .. })
}
