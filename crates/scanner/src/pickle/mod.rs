//! Pickles and models: what would be imported and called if a file were loaded, told from its opcodes. Nothing is executed
//! and no object is built.
//!
//! A file is judged by its content, whatever it is called. Globals are held against lists that are data
//! (`rules/pickle_globals.toml`); what is on none of them is a finding. Python runs a pickle's opcodes until one fails, so
//! findings before a break count.
//!
//! Read as pickles: protocols 0 to 5, several in one file (torch's legacy format), joblib files with their arrays between
//! the opcodes, and those inside zlib or gzip. [`npy`] reads numpy arrays, [`keras`] looks for code in Keras models. The
//! members of torch's and numpy's zip files are files of their own to the caller.

mod compressed;
pub mod keras;
mod machine;
pub mod npy;
mod opcode;
mod rules;
mod stream;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashSet;
use std::io::Read;

use gate_core::coverage::{CoverageClass, LostReason, OpaqueKind};
use gate_core::finding::Finding;

use self::machine::{Broken, Machine, Step, Trick};
pub use self::rules::rules_digest_input;
use self::rules::{Judgement, TABLES, Tables};
use self::stream::{Origin, Reading};
use crate::context::FileContext;

/// Bytes of a file's start that [`looks_like_pickle`] wants to see, where there are as many.
pub const PREFIX_BYTES: usize = 4096;

const UNSAFE: &str = "pickle-unsafe-global";
const UNLISTED: &str = "pickle-unlisted-global";

/// How much of a file is followed. Beyond any of them the file counts as lost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Opcodes of all pickles of a file.
    pub opcodes: u64,
    /// Pickles of a file, those in raw data that prove to be none included.
    pub pickles: u64,
    /// Values on the stack of a pickle.
    pub stack: usize,
    /// Entries of a pickle's memo that are kept; later ones are only counted.
    pub memo: usize,
    /// Bytes of text in a memo that are kept.
    pub memo_text: usize,
    /// Different globals of a pickle.
    pub globals: usize,
    /// Values that are copied to read joblib files the second way.
    pub copies: u64,
    /// Readings at once, and depth of pickled arrays in pickles.
    pub tracks: usize,
    /// Bytes that a compressed file may inflate to.
    pub inflated: u64,
}

/// The limits of a scan: about a second of work and 150 MB of memory in the worst case.
pub const LIMITS: Limits = Limits {
    opcodes: 200_000_000,
    pickles: 1_000_000,
    stack: 2_000_000,
    memo: 2_000_000,
    memo_text: 16 * 1024 * 1024,
    globals: 10_000,
    copies: 20_000_000,
    tracks: 8,
    inflated: 4 * 1024 * 1024 * 1024,
};

/// Whether a file that starts with `prefix` (up to [`PREFIX_BYTES`]) is for [`analyse`]: a pickle by its content, plain,
/// in an object array, or in zlib. The name, which is anybody's choice, does not count.
///
/// It may say yes to a file that turns out to be none; [`analyse`] then says what it is.
#[must_use]
pub fn looks_like_pickle(prefix: &[u8], _name: &str) -> bool {
    if npy::is_npy(prefix) {
        return true;
    }
    match compressed::Method::of(prefix) {
        Some(method) => {
            let inner = method.start(prefix, PREFIX_BYTES);
            looks_like_plain(&inner, inner.len() >= PREFIX_BYTES)
        }
        None => looks_like_plain(prefix, prefix.len() >= PREFIX_BYTES),
    }
}

/// `cut`: whether more bytes follow the prefix.
fn looks_like_plain(prefix: &[u8], cut: bool) -> bool {
    let mut start = 0;
    loop {
        let mut machine = Machine::new(start);
        let broken = match machine.run(prefix, 0, LIMITS.opcodes, &LIMITS) {
            Step::Stop => None,
            Step::Broken(broken) => Some(broken),
            // In the middle of an opcode's argument: nothing that fits so far speaks against it.
            Step::NeedMore if machine.protocol.is_some() => return true,
            // Nothing imports what has no name: text whose lines begin with `c`.
            Step::NeedMore if cut => return machine.globals.iter().all(|g| stream::is_dotted_name(&g.module)),
            Step::NeedMore => Some(Broken::Invalid("the end")),
            Step::Array(_) => return true,
        };
        let reading = Reading { machine: &machine, broken, origin: Origin::Start };
        if reading.is_pickle() || calls_something_unsafe(&reading) {
            return true;
        }
        // A pickle of plain data says nothing of the next one.
        if broken.is_some() || machine.next >= prefix.len() as u64 {
            return false;
        }
        start = machine.next;
    }
}

/// Reports what loading this file would import and call. Reads the whole stream, in windows of bounded memory.
///
/// - A pickle that could not be followed to its end is lost, with the findings made until then.
/// - A numpy array without objects is inert.
/// - What proves to be no pickle is inert when it is text, else opaque.
pub fn analyse(reader: &mut dyn Read, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    analyse_within(&LIMITS, reader, ctx, findings)
}

/// [`analyse`] under other limits.
pub fn analyse_within(
    limits: &Limits,
    reader: &mut dyn Read,
    ctx: &FileContext<'_>,
    findings: &mut Vec<Finding>,
) -> CoverageClass {
    let mut prefix = Vec::new();
    if let Err(error) = reader.take(PREFIX_BYTES as u64).read_to_end(&mut prefix) {
        return lost(LostReason::Unparsable, &format!("it cannot be read: {error}"));
    }
    let mut whole = prefix.as_slice().chain(reader);
    if npy::is_npy(&prefix) {
        return npy::analyse_within(limits, &mut whole, ctx, findings);
    }
    match compressed::Method::of(&prefix) {
        // Only what begins as a compressed pickle: any text may begin with zlib's `x`.
        Some(method) if looks_like_pickle(&prefix, ctx.path) => {
            method.analyse(limits, &mut whole, |inner| plain(limits, inner, ctx, findings))
        }
        _ => plain(limits, &mut whole, ctx, findings),
    }
}

/// Analyses a stream of pickles, neither compressed nor an array.
fn plain(limits: &Limits, reader: &mut dyn Read, ctx: &FileContext<'_>, findings: &mut Vec<Finding>) -> CoverageClass {
    let tables = match &*TABLES {
        Ok(tables) => tables,
        Err(error) => return lost(LostReason::AnalyzerDied, error),
    };
    let mut reported = Reported { tables, ctx, seen: HashSet::new(), findings };
    let summary = match stream::read(reader, limits, &mut |reading| reported.add(reading)) {
        Ok(summary) => summary,
        Err(error) => return lost(LostReason::Unparsable, &format!("it cannot be read: {error}")),
    };
    let pickle = summary.pickle || !reported.seen.is_empty();
    match summary {
        stream::Summary { limit: Some(reason), .. } => lost(LostReason::Limit, reason),
        stream::Summary { broken: Some(reason), .. } => {
            lost(LostReason::Unparsable, &format!("a broken pickle: {reason}"))
        }
        stream::Summary { unmeasured_array: true, .. } => {
            lost(LostReason::Unparsable, "a joblib array whose size cannot be told from its description")
        }
        _ if pickle => CoverageClass::Analysed { analyzer: "pickle".to_owned() },
        stream::Summary { text: true, .. } => CoverageClass::Inert { kind: "text".to_owned() },
        _ => CoverageClass::Opaque { kind: OpaqueKind::UnknownBinary },
    }
}

fn lost(reason: LostReason, detail: &str) -> CoverageClass {
    CoverageClass::Lost { reason, detail: detail.to_owned() }
}

/// Whether a pickle calls a global that is known to be dangerous.
fn calls_something_unsafe(reading: &Reading<'_>) -> bool {
    let Ok(tables) = &*TABLES else { return true };
    reading.machine.globals.iter().any(|used| {
        let called = used.calls > used.harmless;
        called && matches!(tables.globals.judge(used), Judgement::Report { rule: UNSAFE, .. })
    })
}

/// Findings of one file, each global once.
struct Reported<'a> {
    tables: &'a Tables,
    ctx: &'a FileContext<'a>,
    seen: HashSet<(&'a str, String)>,
    findings: &'a mut Vec<Finding>,
}

/// The most findings of one file; what is beyond is the same kind again.
const MAX_FINDINGS: usize = 200;

impl Reported<'_> {
    fn add(&mut self, reading: &Reading<'_>) {
        let complete = reading.is_pickle();
        // Bytes that only happen to fit for a while name anything; what they call must be known to be dangerous.
        let header = reading.machine.protocol.is_some() && reading.origin == Origin::Start;
        let unsafe_only = !complete;
        if unsafe_only && !header && !calls_something_unsafe(reading) {
            return;
        }
        for used in &reading.machine.globals {
            if let Judgement::Report { rule, why } = self.tables.globals.judge(used)
                && (rule == UNSAFE || !unsafe_only)
            {
                let how = if used.calls > used.harmless { "called" } else { "named" };
                let global = format!("{}.{}", used.module, used.name);
                self.report(rule, global.clone(), &format!("{global}, {how}, {why},"), used.offset);
            }
        }
        for &(trick, offset) in &reading.machine.tricks {
            if complete {
                let (rule, what) = trick_rule(trick);
                self.report(rule, String::new(), what, offset);
            }
        }
    }

    fn report(&mut self, rule: &str, key: String, what: &str, offset: u64) {
        let Some((id, _)) = self.tables.rules.get_key_value(rule) else {
            self.findings.push(self.tables.finding(rule, what, Some(offset), self.ctx));
            return;
        };
        if self.seen.len() < MAX_FINDINGS && self.seen.insert((id.as_str(), key)) {
            self.findings.push(self.tables.finding(rule, what, Some(offset), self.ctx));
        }
    }
}

fn trick_rule(trick: Trick) -> (&'static str, &'static str) {
    match trick {
        Trick::UnresolvedGlobal => ("pickle-unresolved-global", "STACK_GLOBAL with a computed module or name"),
        Trick::IndirectCall => ("pickle-indirect-call", "a call of what another call returned"),
        Trick::PatchedGlobal => ("pickle-patched-global", "new attributes or items for a global"),
        Trick::Extension => ("pickle-extension-code", "EXT opcode"),
    }
}
