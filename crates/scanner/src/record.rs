//! A wheel's `RECORD`: every file of the wheel with its hash, which installers write down and seldom check.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gate_core::finding::Finding;

use crate::structure::{RECORD_ABSENT, RECORD_MISMATCH, RECORD_MISSING, RECORD_UNLISTED, RECORD_UNREADABLE};

/// What the walk saw of a file: its SHA-256 and its size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
}

/// Compares `RECORD` with the wheel's files, given in the archive's order. `dist_info` is the folder, without a slash.
///
/// Source: PyPA specification "Recording installed projects"; PEP 427 asks for SHA-256 or better, and here it must be SHA-256.
pub(crate) fn verify(dist_info: &str, record: Option<&[u8]>, files: &[(String, Seen)]) -> Vec<Finding> {
    let path = format!("{dist_info}/RECORD");
    let Some(record) = record else { return vec![RECORD_MISSING.at(&path, None)] };
    let mut findings = Vec::new();
    let Some(rows) = rows(record) else { return vec![RECORD_UNREADABLE.at(&path, None)] };
    let mut listed: HashMap<&str, Vec<&Row>> = HashMap::with_capacity(rows.len());
    for row in &rows {
        listed.entry(row.path.as_str()).or_default().push(row);
    }
    for (file, seen) in files {
        let rows = listed.remove(file.as_str());
        if is_exempt(file, &path) {
            continue;
        }
        let Some(rows) = rows else {
            findings.push(RECORD_UNLISTED.at(file, None));
            continue;
        };
        let actual = format!("sha256={}", URL_SAFE_NO_PAD.encode(seen.sha256));
        for row in rows {
            if row.hash.trim_end_matches('=') != actual {
                findings.push(RECORD_MISMATCH.at(file, format!("RECORD says '{}', the file is {actual}", row.hash)));
            } else if row.size.parse() != Ok(seen.size) && !row.size.is_empty() {
                findings.push(
                    RECORD_MISMATCH.at(file, format!("RECORD says {} bytes, the file has {}", row.size, seen.size)),
                );
            }
        }
    }
    // A folder has no content that could be missing.
    let mut absent: Vec<_> =
        listed.into_keys().filter(|name| !is_exempt(name, &path) && !name.ends_with('/')).collect();
    absent.sort_unstable();
    findings.extend(absent.into_iter().map(|name| RECORD_ABSENT.at(name, None)));
    findings
}

/// RECORD itself and its signatures are not hashed in it.
fn is_exempt(file: &str, record: &str) -> bool {
    file.strip_prefix(record).is_some_and(|rest| matches!(rest, "" | ".jws" | ".p7s"))
}

struct Row {
    path: String,
    hash: String,
    size: String,
}

fn rows(record: &[u8]) -> Option<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record);
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.ok()?;
        if !(1..=3).contains(&row.len()) {
            return None;
        }
        let field = |index| row.get(index).unwrap_or_default().to_owned();
        rows.push(Row { path: field(0), hash: field(1), size: field(2) });
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use gate_core::digest::Sha256;
    use sha2::Digest as _;

    use super::*;

    fn seen(bytes: &[u8]) -> Seen {
        Seen { sha256: sha2::Sha256::digest(bytes).into(), size: bytes.len() as u64 }
    }

    /// The rules that a RECORD breaks for a wheel of `a.py` (`x`) and RECORD.
    fn broken(record: &str) -> Vec<String> {
        let files = [("a.py".to_owned(), seen(b"x")), ("a-1.dist-info/RECORD".to_owned(), seen(record.as_bytes()))];
        verify("a-1.dist-info", Some(record.as_bytes()), &files).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn each_way_to_disagree_is_a_finding() {
        assert_eq!(Sha256::of(b"x").short(), "2d711642b726b044");
        let good = "a.py,sha256=LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE,1\n";
        let rest = "a-1.dist-info/RECORD,,\n";
        let none = Vec::<String>::new();
        assert_eq!(broken(&format!("{good}{rest}")), none);
        assert_eq!(broken(&good.replace(",1\n", ",\r\n")), none, "a size is optional");
        assert_eq!(broken(&format!("{good}a-1.dist-info/RECORD.jws,,\npkg/,,\n{rest}")), none);
        assert_eq!(broken(rest), ["record-unlisted-file"]);
        assert_eq!(broken(&good.replace("LXEW", "LXEX")), ["record-mismatch"]);
        assert_eq!(broken(&good.replace("sha256", "md5")), ["record-mismatch"]);
        assert_eq!(broken("a.py,,\n"), ["record-mismatch"], "no hash is no match");
        assert_eq!(broken(&good.replace(",1\n", ",2\n")), ["record-mismatch"]);
        assert_eq!(broken(&format!("{good}b.py,sha256=AA,1\n")), ["record-absent-file"]);
        assert_eq!(
            broken(&format!("{good}{}", good.replace("LXEW", "LXEX"))),
            ["record-mismatch"],
            "every row must match"
        );
        assert_eq!(broken("a.py,sha256=AA,1,more\n"), ["record-unreadable"]);
        assert_eq!(broken("a.py\u{0},x"), ["record-unlisted-file", "record-absent-file"]);
        assert_eq!(verify("a-1.dist-info", None, &[])[0].rule, "record-missing");
        assert_eq!(verify("a-1.dist-info", Some(b"\xff\xfe,,"), &[])[0].rule, "record-unreadable");
    }
}
