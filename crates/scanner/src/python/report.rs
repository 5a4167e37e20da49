//! Turns offsets of a source into findings with line, column and snippet.

use std::cell::OnceCell;
use std::collections::HashMap;

use gate_core::finding::{Finding, Location};
use ruff_notebook::NotebookIndex;
use ruff_source_file::LineIndex;
use ruff_text_size::TextSize;

use super::rules;
use crate::context::FileContext;

/// The most findings of one rule that are kept for one file: the rest would say the same again.
pub const MAX_PER_RULE: usize = 100;

/// Where findings of one source go.
pub(super) struct Reporter<'a> {
    context: &'a FileContext<'a>,
    text: &'a str,
    index: OnceCell<LineIndex>,
    cells: Option<&'a NotebookIndex>,
    first_line: u32,
    findings: &'a mut Vec<Finding>,
    counts: HashMap<String, usize>,
    seen: std::collections::HashSet<(String, u32, u32)>,
}

impl<'a> Reporter<'a> {
    /// For a source that is a whole file.
    pub(super) fn new(context: &'a FileContext<'a>, text: &'a str, findings: &'a mut Vec<Finding>) -> Self {
        Self {
            context,
            text,
            index: OnceCell::new(),
            cells: None,
            first_line: 1,
            findings,
            counts: HashMap::new(),
            seen: std::collections::HashSet::new(),
        }
    }

    /// For the code cells of a notebook, joined.
    pub(super) fn with_cells(mut self, cells: &'a NotebookIndex) -> Self {
        self.cells = Some(cells);
        self
    }

    /// For a source that starts at a later line of its file.
    pub(super) fn starting_at(mut self, first_line: u32) -> Self {
        self.first_line = first_line;
        self
    }

    pub(super) fn context(&self) -> &'a FileContext<'a> {
        self.context
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Reports `rule` at a byte offset of the source. The same rule at the same place is reported once.
    pub(super) fn report(&mut self, rule: &str, offset: TextSize) {
        let index = self.index.get_or_init(|| LineIndex::from_source_text(self.text));
        let offset = offset.min(TextSize::of(self.text));
        let place = index.line_column(offset, self.text);
        let range = index.line_range(place.line, self.text);
        let snippet = rules::snippet(&self.text[range]);
        let column = number(place.column.get());
        let location = match self.cells.map(|cells| (cells.cell(place.line), cells.cell_row(place.line))) {
            Some((Some(cell), Some(row))) => {
                let path = format!("{}#{}", self.context.path, cell.get());
                Location { path, ..self.context.location(Some(number(row.get())), Some(column)) }
            }
            _ => {
                let line = number(place.line.get()).saturating_add(self.first_line - 1);
                self.context.location(Some(line), Some(column))
            }
        };
        let count = self.counts.entry(rule.to_owned()).or_default();
        if *count >= MAX_PER_RULE || !self.seen.insert((rule.to_owned(), number(place.line.get()), column)) {
            return;
        }
        *count += 1;
        self.findings.push(rules::finding(rule, location, Some(snippet)));
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use gate_core::finding::FileRole;

    use super::*;

    #[test]
    fn columns_count_characters_and_lines_may_start_later() {
        let context = FileContext { path: "a.py", role: FileRole::Library, installed: true };
        let mut findings = Vec::new();
        let text = "x\r\nü; eval(x)\n";
        Reporter::new(&context, text, &mut findings).starting_at(7).report("S307", TextSize::new(6));
        let location = findings[0].location.clone().unwrap();
        assert_eq!((location.line, location.column), (Some(8), Some(3)));
        assert_eq!(findings[0].snippet.as_deref(), Some("ü; eval(x)"));
    }

    #[test]
    fn one_rule_is_kept_so_many_times_and_no_more() {
        for (found, kept) in [(MAX_PER_RULE - 1, 99), (MAX_PER_RULE, 100), (MAX_PER_RULE + 1, 100)] {
            let context = FileContext { path: "a.py", role: FileRole::Library, installed: true };
            let text = "eval(x)\n".repeat(found);
            let mut findings = Vec::new();
            let mut reporter = Reporter::new(&context, &text, &mut findings);
            for line in 0..found {
                reporter.report("S307", TextSize::try_from(line * 8).unwrap());
                reporter.report("S307", TextSize::try_from(line * 8).unwrap());
            }
            assert_eq!(findings.len(), kept);
        }
    }
}
