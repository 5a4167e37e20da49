//! Links: the bytes behind one were read under another name, which must not have been a way to be read more kindly.

use std::collections::{BTreeSet, HashSet};

use gate_core::coverage::{CoverageClass, FileCoverage, LostReason};
use gate_core::finding::FileRole;

use crate::content;
use crate::distribution::Layout;

/// A symbolic or hard link of the outermost archive.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: String,
    /// Where it leads: a path in the archive.
    pub(super) target: String,
}

impl Link {
    /// A symbolic link, whose target is relative to the folder that the link is in.
    pub(super) fn symbolic(path: &str, target: &str) -> Self {
        let mut segments: Vec<&str> = path.split('/').collect();
        segments.pop();
        for segment in target.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name),
            }
        }
        Self { path: path.to_owned(), target: segments.join("/") }
    }
}

/// Gives each link its coverage: inert where its target was read, under the same kind of name and no milder role; else lost.
pub(super) fn judge(links: &[Link], layout: &Layout, coverage: &mut Vec<FileCoverage>) {
    if links.is_empty() {
        return;
    }
    let classes = {
        let mut files = HashSet::new();
        let mut folders = BTreeSet::new();
        for file in coverage.iter() {
            files.insert(file.path.as_str());
            for (slash, _) in file.path.match_indices('/') {
                folders.insert(&file.path[..slash]);
            }
        }
        let class = |link: &Link| {
            let milder = |inside: &str| {
                let weight = |path: &str| weight(layout, &format!("{path}{inside}"));
                weight(&link.path) > weight(&link.target)
            };
            let harmless = if files.contains(link.target.as_str()) {
                // A document may be linked from wherever; what an interpreter reads may not change its role.
                content::same_reading(&link.path, &link.target)
                    && (!milder("") || content::same_reading(&link.target, "text"))
            } else {
                // A folder, or nothing in the archive, in which case nothing can be read through the link.
                !folders.contains(link.target.as_str()) || !milder("/x.py")
            };
            if harmless {
                CoverageClass::Inert { kind: "link".to_owned() }
            } else {
                let detail = format!("a link to {}, which was checked as another kind of file", link.target);
                CoverageClass::Lost { reason: LostReason::Unparsable, detail }
            }
        };
        links.iter().map(class).collect::<Vec<_>>()
    };
    coverage.extend(links.iter().zip(classes).map(|(link, class)| FileCoverage {
        path: link.path.clone(),
        size: 0,
        class,
    }));
}

/// How much findings in a file weigh because of its role.
fn weight(layout: &Layout, path: &str) -> u8 {
    match layout.place(path).0 {
        FileRole::Supporting => 0,
        FileRole::Library => 1,
        FileRole::InstallTime => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_that_would_be_read_more_strictly_are_lost() {
        let mut coverage: Vec<_> =
            ["a/README.md", "a/docs/notes.txt", "a/tests/evil.py", "a/pkg/x.py", "a/pkg/sub/y.py"]
                .map(|path| FileCoverage {
                    path: path.to_owned(),
                    size: 1,
                    class: CoverageClass::Inert { kind: "text".into() },
                })
                .into();
        let before = coverage.len();
        let table = [
            ("a/docs/README.md", "../README.md", false),
            ("a/CHANGES", "docs/notes.txt", false),
            ("a/setup.py", "docs/notes.txt", true),
            ("a/setup.py", "tests/evil.py", true),
            ("a/pkg/evil.py", "../tests/evil.py", true),
            ("a/tests/x.py", "../pkg/x.py", false),
            ("a/other", "tests", true),
            ("a/tests/pkg", "../pkg", false),
            ("a/x.pth", "pkg/x.py", true),
            ("a/nowhere", "missing", false),
        ];
        let links: Vec<_> = table.iter().map(|(path, target, _)| Link::symbolic(path, target)).collect();
        judge(&links, &Layout::default(), &mut coverage);
        for (file, (path, target, lost)) in coverage[before..].iter().zip(table) {
            assert_eq!(matches!(file.class, CoverageClass::Lost { .. }), lost, "{path} -> {target}");
        }
    }
}
