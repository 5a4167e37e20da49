//! The request: `external-package-request.csv` at one commit.
//!
//! Columns are `name,source[,sha256][,requester]`; `url` is another word for `source`. A header is optional, and with one the
//! columns may stand in any order. A row is one line: names, sources, digests and addresses hold no line break, so that an
//! unbalanced quote spoils its own row and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use crate::coordinates::PackageName;
use crate::digest::Sha256;
use crate::source::{Source, SourceKey};

/// The most rows of a request.
pub const MAX_ROWS: usize = 10_000;
/// The most bytes of a request: [`MAX_ROWS`] rows of 1.6 KiB.
pub const MAX_BYTES: usize = 16 << 20;
/// The most bytes of one cell.
pub const MAX_CELL_BYTES: usize = 4 << 10;

/// What can be wrong with a row; the codes of [`Problem`].
pub const PROBLEM_CODES: [&str; 10] = [
    "bad-quoting",
    "too-many-columns",
    "cell-too-long",
    "not-utf8",
    "bad-name",
    "no-source",
    "bad-source",
    "name-mismatch",
    "bad-sha256",
    "bad-requester",
];

/// The whole file cannot be read. No row was looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A byte-order mark or NUL pattern of UTF-16 or UTF-32.
    #[error("line 1, column 1: the file is in UTF-16 or UTF-32; save it as UTF-8 (in Excel: 'CSV UTF-8')")]
    Utf16,
    /// More than [`MAX_BYTES`].
    #[error("the file has {0} bytes and at most {MAX_BYTES} are read; split the request")]
    TooLarge(usize),
    /// More than [`MAX_ROWS`].
    #[error("the file has {0} rows and at most {MAX_ROWS} are allowed; split the request")]
    TooManyRows(usize),
    /// A header with a column that means nothing here, or one twice.
    #[error(
        "line {line}: the header has a column '{column}' that is unknown or repeated; the columns are name, source, sha256 and requester"
    )]
    Header {
        /// 1-based.
        line: u64,
        /// As written, escaped.
        column: String,
    },
}

/// One row, readable or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// 1-based.
    pub line: u64,
    /// The `name` cell as written, escaped for showing.
    pub name: String,
    /// The `source` cell as written, escaped for showing; credentials in it are masked.
    pub source: String,
    /// What it asks for, or what is wrong with it.
    pub wanted: Result<Wanted, Problem>,
}

/// What a readable row asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The package.
    pub name: PackageName,
    /// Where it is.
    pub source: Source,
    /// The bytes it must have, if the requester pins them.
    pub sha256: Option<Sha256>,
    /// Who is told, besides the author of the commit.
    pub requester: Option<String>,
}

/// The first thing that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Kebab-case and stable.
    pub code: &'static str,
    /// 1-based; 0 when the row as a whole is meant.
    pub column: usize,
    /// Reason and remedy.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.column > 0 {
            write!(f, "column {}: ", self.column)?;
        }
        f.write_str(&self.message)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Name,
    Source,
    Sha256,
    Requester,
}

const COLUMNS: [Column; 4] = [Column::Name, Column::Source, Column::Sha256, Column::Requester];

impl Column {
    fn named(header: &str) -> Option<Self> {
        match header.trim().to_ascii_lowercase().as_str() {
            "name" => Some(Self::Name),
            "source" | "url" => Some(Self::Source),
            "sha256" => Some(Self::Sha256),
            "requester" => Some(Self::Requester),
            _ => None,
        }
    }
}

/// Reads a request. Blank lines are passed over; every other line but the header is a row.
///
/// # Errors
/// [`Unreadable`] when no row can be told from another.
pub fn parse(bytes: &[u8]) -> Result<Vec<Row>, Unreadable> {
    if bytes.len() > MAX_BYTES {
        return Err(Unreadable::TooLarge(bytes.len()));
    }
    let utf16_without_mark = bytes.len() >= 4
        && (bytes[..4].iter().step_by(2).all(|b| *b == 0) || bytes[1..4].iter().step_by(2).all(|b| *b == 0));
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || utf16_without_mark {
        return Err(Unreadable::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = lines(bytes).filter(|(_, line)| !line.trim_ascii().is_empty()).peekable();
    let mut columns = COLUMNS.to_vec();
    if let Some((number, line)) = lines.peek()
        && let Some(header) = header(*number, line)?
    {
        columns = header;
        lines.next();
    }
    let mut rows = Vec::new();
    while let Some((number, line)) = lines.next() {
        if rows.len() == MAX_ROWS {
            return Err(Unreadable::TooManyRows(MAX_ROWS + 1 + lines.count()));
        }
        rows.push(row(number, line, &columns));
    }
    Ok(rows)
}

/// Lines with their 1-based numbers; LF, CRLF and a lone CR end one.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = Some(bytes);
    (1..).map_while(move |number| {
        let bytes = rest?;
        let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
            rest = None;
            return Some((number, bytes));
        };
        let ending = if bytes[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&bytes[end + ending..]);
        Some((number, &bytes[..end]))
    })
}

fn cells(line: &[u8]) -> Option<csv::ByteRecord> {
    let mut record = csv::ByteRecord::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(line);
    reader.read_byte_record(&mut record).ok()?.then_some(record)
}

fn header(number: u64, line: &[u8]) -> Result<Option<Vec<Column>>, Unreadable> {
    let Some(record) = cells(line) else { return Ok(None) };
    let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
    let known: Vec<_> = cells.iter().filter_map(|cell| Column::named(cell)).collect();
    if !(known.contains(&Column::Name) && known.contains(&Column::Source)) {
        return Ok(None);
    }
    let mut seen = BTreeSet::new();
    let columns = cells.iter().map(|cell| {
        let column = Column::named(cell).filter(|column| seen.insert(*column));
        column.ok_or_else(|| Unreadable::Header { line: number, column: crate::text::escape_to(cell, 40) })
    });
    columns.collect::<Result<_, _>>().map(Some)
}

fn row(line: u64, bytes: &[u8], columns: &[Column]) -> Row {
    let record = cells(bytes).unwrap_or_default();
    let cell = |column| {
        let at = columns.iter().position(|c| *c == column);
        at.and_then(|at| record.get(at)).map(String::from_utf8_lossy).unwrap_or_default()
    };
    let wanted = wanted(bytes, &record, columns);
    let (name, source) = (cell(Column::Name), cell(Column::Source));
    // A readable row has a checked name, and a source without credentials.
    let (name, source) = match wanted {
        Ok(_) => (name, source),
        Err(_) => (mask_credentials(&name).into(), mask_credentials(&source).into()),
    };
    let shown = |text: &str| crate::text::escape_to(text, MAX_CELL_BYTES);
    Row { line, name: shown(&name), source: shown(&source), wanted }
}

/// Hides what may be credentials in a cell that could not be read: all between the first `:` or `/` and the last `@`.
fn mask_credentials(cell: &str) -> String {
    match (cell.find([':', '/', '\\']), cell.rfind('@')) {
        (Some(begin), Some(at)) if begin < at && !cell.starts_with("pkg:") => {
            format!("{}***{}", &cell[..=begin], &cell[at..])
        }
        _ => cell.to_owned(),
    }
}

fn wanted(line: &[u8], record: &csv::ByteRecord, columns: &[Column]) -> Result<Wanted, Problem> {
    let problem = |code, column, message: String| Problem { code, column, message };
    if line.iter().filter(|b| **b == b'"').count() % 2 == 1 {
        let message = "a quotation mark is not closed on its line; close it, or double it if it is meant".to_owned();
        return Err(problem("bad-quoting", 0, message));
    }
    if record.len() > columns.len() {
        let message =
            format!("there are {} columns where at most {} are known; remove the rest", record.len(), columns.len());
        return Err(problem("too-many-columns", columns.len() + 1, message));
    }
    let mut cells = BTreeMap::new();
    for (at, (column, cell)) in columns.iter().zip(record).enumerate() {
        if cell.len() > MAX_CELL_BYTES {
            let message =
                format!("the cell has {} bytes and at most {MAX_CELL_BYTES} are allowed; shorten it", cell.len());
            return Err(problem("cell-too-long", at + 1, message));
        }
        let text = std::str::from_utf8(cell).map_err(|error| {
            let message = format!("byte {} of the cell is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1);
            problem("not-utf8", at + 1, message)
        })?;
        cells.insert(*column, (at + 1, text));
    }
    let get = |column| match cells.get(&column) {
        Some((at, text)) if !text.is_empty() => Some((*at, *text)),
        _ => None,
    };
    let place = |column| columns.iter().position(|c| *c == column).map_or(0, |at| at + 1);

    let (at, text) = get(Column::Name).unwrap_or((place(Column::Name), ""));
    let remedy = if text.contains([';', '\t']) {
        "separate the columns with commas"
    } else {
        "write the package's name as the index does"
    };
    let name: PackageName =
        text.parse().map_err(|error| problem("bad-name", at, format!("the name cannot be used: {error}; {remedy}")))?;
    let (at, text) = get(Column::Source).ok_or_else(|| {
        problem(
            "no-source",
            place(Column::Source),
            format!("the source is missing; give an https URL or a purl such as pkg:pypi/{name}@1.2.3"),
        )
    })?;
    let source: Source =
        text.parse().map_err(|error| problem("bad-source", at, format!("the source cannot be used: {error}")))?;
    if let Source::Pypi { name: in_purl, .. } = &source
        && in_purl.normalized() != name.normalized()
    {
        let message = format!("the purl is of '{in_purl}' and the row's name is '{name}'; make them the same");
        return Err(problem("name-mismatch", at, message));
    }
    let sha256 = get(Column::Sha256)
        .map(|(at, text)| {
            text.parse()
                .map_err(|error| problem("bad-sha256", at, format!("{error}; copy it again, or leave the cell empty")))
        })
        .transpose()?;
    let requester = get(Column::Requester)
        .map(|(at, text)| {
            let message =
                "the requester is not a mail address; write it as name@company.example, or leave the cell empty";
            if is_mail_address(text) {
                Ok(text.to_owned())
            } else {
                Err(problem("bad-requester", at, message.to_owned()))
            }
        })
        .transpose()?;
    Ok(Wanted { name, source, sha256, requester })
}

/// A dot-atom at a host name (RFC 5321, 4.1.2, without quoting), at most 254 characters.
fn is_mail_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let label = |label: &str, extra: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    text.len() <= 254
        && local.len() <= 64
        && local.split('.').all(|part| label(part, "!#$%&'*+/=?^_`{|}~-"))
        && domain.contains('.')
        && domain
            .split('.')
            .all(|part| label(part, "-") && part.len() <= 63 && !part.starts_with('-') && !part.ends_with('-'))
}

/// How a row stands among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is worked on. `wanted` carries a pin that an identical row may have added; `told` is everybody who asked.
    Runs {
        /// What to work on.
        wanted: Wanted,
        /// The mail addresses of all identical rows, sorted.
        told: BTreeSet<String>,
    },
    /// The same request as an earlier line, whose outcome it shares.
    SameAs(u64),
    /// It asks for the same package as these other lines, from elsewhere.
    Conflicts(Vec<u64>),
    /// It cannot be read.
    Invalid(Problem),
}

/// Judges all rows together; one standing a row. The result does not depend on the order of the rows, except that the first of
/// several identical ones is the one that runs.
///
/// `decided` tells of a request whether the ledger has a verdict on it: such a row stands, and those in conflict with it do not.
#[must_use]
pub fn standings(rows: &[Row], decided: impl Fn(&Wanted) -> bool) -> Vec<Standing> {
    struct Asked<'a> {
        lines: Vec<u64>,
        pins: BTreeSet<Sha256>,
        told: BTreeSet<String>,
        first: &'a Wanted,
    }
    type Key = (String, SourceKey);
    let key = |wanted: &Wanted| -> Key { (wanted.name.normalized(), wanted.source.key()) };

    let mut asked = BTreeMap::<Key, Asked<'_>>::new();
    let mut rivals = BTreeMap::<(String, Option<Version>), BTreeSet<Key>>::new();
    for row in rows {
        let Ok(wanted) = &row.wanted else { continue };
        let entry = asked.entry(key(wanted)).or_insert_with(|| Asked {
            lines: Vec::new(),
            pins: BTreeSet::new(),
            told: BTreeSet::new(),
            first: wanted,
        });
        entry.lines.push(row.line);
        entry.pins.extend(wanted.sha256);
        entry.told.extend(wanted.requester.clone());
        let version = wanted.source.claimed_version();
        rivals.entry((wanted.name.normalized(), version)).or_default().insert(key(wanted));
    }

    rows.iter()
        .map(|row| {
            let wanted = match &row.wanted {
                Ok(wanted) => wanted,
                Err(problem) => return Standing::Invalid(problem.clone()),
            };
            let own_key = key(wanted);
            let own = &asked[&own_key];
            if own.pins.len() > 1 {
                return Standing::Conflicts(own.lines.iter().copied().filter(|line| *line != row.line).collect());
            }
            if let Some(first) = own.lines.first().filter(|first| **first != row.line) {
                return Standing::SameAs(*first);
            }
            let version = wanted.source.claimed_version();
            let others = rivals[&(wanted.name.normalized(), version)].iter().filter(|other| **other != own_key);
            let others: Vec<u64> = others.flat_map(|other| asked[other].lines.iter().copied()).collect();
            if !others.is_empty() && !decided(wanted) {
                return Standing::Conflicts(others);
            }
            let wanted = Wanted { sha256: own.pins.first().copied(), ..own.first.clone() };
            Standing::Runs { wanted, told: own.told.clone() }
        })
        .collect()
}

#[cfg(test)]
mod tests;
