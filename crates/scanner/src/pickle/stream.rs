//! Finds the pickles of one stream and follows them: pickles one after another, joblib's arrays between opcodes, and
//! pickles that start again after raw data.
//!
//! A joblib file can be read in two ways: joblib skips an array's bytes, `pickle.load` takes them for opcodes. Both are
//! followed, so that neither can hide behind the other.

use std::io::{self, Read};

use super::Limits;
use super::machine::{Array, Broken, Machine, Step};
use super::opcode::{Decoded, decode, may_start};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// How a pickle was come upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The first of the stream, or one inside it that its loader reads as well.
    Start,
    /// After another one, directly or behind raw data.
    Later,
    /// The second reading of a joblib file: an array's bytes as opcodes.
    Shadow,
    /// The second reading of a joblib file: the pickle of an array of objects, with the memo of the pickle around it. It is
    /// full of names that no module has.
    NestedShadow,
}

impl Origin {
    fn is_shadow(self) -> bool {
        matches!(self, Self::Shadow | Self::NestedShadow)
    }
}

/// One pickle that was followed to its end.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) machine: &'a Machine,
    /// Absent when it reached its `STOP`.
    pub(super) broken: Option<Broken>,
    pub(super) origin: Origin,
}

impl Reading<'_> {
    /// Whether these bytes are meant as a pickle: they have a protocol header and several opcodes fit, or they end as a
    /// pickle ends. Random data that begins with 0x80 is none.
    pub(super) fn is_pickle(&self) -> bool {
        let machine = self.machine;
        let named = machine.globals.iter().any(|g| is_dotted_name(&g.module) && is_dotted_name(&g.name));
        let header = machine.protocol.is_some();
        match self.broken {
            // What a shadow did before it parted from its twin proves nothing.
            _ if self.origin == Origin::NestedShadow => false,
            Some(_) if self.origin.is_shadow() => false,
            None => header || named || !machine.tricks.is_empty(),
            Some(_) => header && (machine.opcodes >= PLAUSIBLE || machine.framed || named),
        }
    }
}

/// Opcodes that must fit before bytes with a protocol header count as a pickle. Of random bytes behind a
/// header, one in some thousands passes.
const PLAUSIBLE: u64 = 8;

/// A module's or attribute's name as Python could import it.
pub(super) fn is_dotted_name(name: &str) -> bool {
    !name.is_empty()
        && name.split('.').all(|part| {
            part.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic())
                && part.chars().all(|c| c == '_' || c.is_alphanumeric())
        })
}

/// What was read beside the pickles themselves.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Whether there was a pickle.
    pub(super) pickle: bool,
    /// Why a pickle at the start broke.
    pub(super) broken: Option<&'static str>,
    /// Set when a limit stopped the reading.
    pub(super) limit: Option<&'static str>,
    /// Set when a joblib array could not be measured.
    pub(super) unmeasured_array: bool,
    /// Whether the first bytes are text.
    pub(super) text: bool,
}

/// The part of the stream in memory.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    /// Where in the stream it starts.
    offset: u64,
    ended: bool,
}

impl Window {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn at(&self, position: u64) -> &[u8] {
        let from = position.checked_sub(self.offset).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        self.bytes.get(from..).unwrap_or_default()
    }

    fn fill(&mut self, reader: &mut dyn Read, keep_from: u64) -> io::Result<()> {
        let drop = usize::try_from(keep_from.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..drop);
        self.offset += drop as u64;
        let read = reader.take(CHUNK as u64).read_to_end(&mut self.bytes)?;
        self.ended = read < CHUNK;
        Ok(())
    }
}

/// One line of reading; all of it goes on from [`Track::position`].
enum Track {
    Pickle(Line),
    /// The opcodes before described a joblib array; its bytes follow.
    Array(Line, Array),
    /// A pickle ended here.
    After(u64),
    /// Looks for the next pickle in raw data.
    Search(u64),
}

struct Line {
    machine: Machine,
    /// The pickles in which this one is an array.
    outer: Vec<Machine>,
    origin: Origin,
}

impl Track {
    fn position(&self) -> u64 {
        match self {
            Self::Pickle(line) | Self::Array(line, _) => line.machine.next,
            Self::After(position) | Self::Search(position) => *position,
        }
    }
}

struct Reader<'a> {
    limits: &'a Limits,
    window: Window,
    /// Tracks to go on with in this window, and in the next one.
    now: Vec<Track>,
    next: Vec<Track>,
    opcodes: u64,
    pickles: u64,
    copied: u64,
    summary: Summary,
    each: &'a mut dyn FnMut(&Reading<'_>),
}

/// Follows all pickles of this stream; `each` is given every one as it ends.
///
/// # Errors
/// What `source` gives.
pub(super) fn read(source: &mut dyn Read, limits: &Limits, each: &mut dyn FnMut(&Reading<'_>)) -> io::Result<Summary> {
    let first = Line { machine: Machine::new(0), outer: Vec::new(), origin: Origin::Start };
    let mut reader = Reader {
        limits,
        window: Window::default(),
        now: vec![Track::Pickle(first)],
        next: Vec::new(),
        opcodes: 0,
        pickles: 0,
        copied: 0,
        summary: Summary::default(),
        each,
    };
    loop {
        let keep_from = reader.now.iter().map(Track::position).min().unwrap_or(u64::MAX);
        let window = &mut reader.window;
        let started = window.end() > 0;
        window.fill(source, keep_from)?;
        if !started {
            let valid = std::str::from_utf8(&window.bytes).map_or_else(|e| e.error_len().is_none(), |_| true);
            reader.summary.text = valid && !window.bytes.contains(&0);
        }
        while let Some(track) = reader.now.pop() {
            match track {
                Track::Pickle(line) => reader.follow(line),
                Track::Array(line, array) => reader.array(line, array),
                Track::After(position) => reader.after(position),
                Track::Search(position) => reader.search(position),
            }
            if reader.summary.limit.is_some() {
                reader.abandon();
            }
        }
        if reader.window.ended || reader.next.is_empty() {
            return Ok(reader.summary);
        }
        reader.now = std::mem::take(&mut reader.next);
    }
}

impl Reader<'_> {
    fn follow(&mut self, mut line: Line) {
        let before = line.machine.opcodes;
        let step =
            line.machine.run(&self.window.bytes, self.window.offset, self.limits.opcodes - self.opcodes, self.limits);
        self.opcodes += line.machine.opcodes - before;
        match step {
            Step::NeedMore if self.window.ended => self.broken(&line, Broken::Invalid("it ends in the middle")),
            Step::NeedMore => self.next.push(Track::Pickle(line)),
            Step::Broken(broken) => self.broken(&line, broken),
            Step::Array(array) => self.now.push(Track::Array(line, array)),
            Step::Stop => {
                let position = line.machine.next;
                self.ended(&line.machine, None, line.origin);
                if let Some(mut machine) = line.outer.pop() {
                    machine.next = position;
                    self.now.push(Track::Pickle(Line { machine, ..line }));
                } else if !line.origin.is_shadow() {
                    self.now.push(Track::After(position));
                }
            }
        }
    }

    fn ended(&mut self, machine: &Machine, broken: Option<Broken>, origin: Origin) {
        let reading = Reading { machine, broken, origin };
        let is_pickle = reading.is_pickle();
        (self.each)(&reading);
        self.pickles += 1;
        if self.pickles > self.limits.pickles {
            self.summary.limit.get_or_insert("more pickles than the limit");
        }
        self.summary.pickle |= is_pickle;
        match broken {
            Some(Broken::Limit(reason)) => {
                self.summary.limit.get_or_insert(reason);
            }
            Some(Broken::Invalid(reason)) if origin == Origin::Start && is_pickle => {
                self.summary.broken.get_or_insert(reason);
            }
            _ => {}
        }
    }

    fn broken(&mut self, line: &Line, broken: Broken) {
        let start = line.outer.first().unwrap_or(&line.machine).start;
        let first = Reading { machine: &line.machine, broken: Some(broken), origin: line.origin };
        let go_on = !line.origin.is_shadow() && (start > 0 || first.is_pickle() || !line.outer.is_empty());
        self.ended(&line.machine, Some(broken), line.origin);
        for outer in &line.outer {
            self.ended(outer, Some(broken), line.origin);
        }
        if go_on {
            self.now.push(Track::Search((start + 1).max(self.window.offset)));
        }
    }

    /// What a limit cut off is reported as far as it came.
    fn abandon(&mut self) {
        for track in self.now.drain(..).chain(self.next.drain(..)).collect::<Vec<_>>() {
            if let Track::Pickle(line) | Track::Array(line, _) = track {
                for machine in line.outer.iter().chain([&line.machine]) {
                    let broken = Some(Broken::Limit("a limit"));
                    (self.each)(&Reading { machine, broken, origin: line.origin });
                }
            }
        }
    }

    fn array(&mut self, mut line: Line, array: Array) {
        let after = self.window.at(line.machine.next);
        let Some(&first) = after.first() else {
            return match self.window.ended {
                true => self.broken(&line, Broken::Invalid("a joblib array is missing")),
                false => self.next.push(Track::Array(line, array)),
            };
        };
        // Only a padding, which joblib has since version 1.2, is no opcode for certain.
        if array != Array::Unknown && !matches!(decode(after), Decoded::Bad(_)) {
            self.copied += line.machine.weight();
            if self.copied > self.limits.copies || self.next.len() > self.limits.tracks {
                self.summary.limit.get_or_insert("more second readings of joblib arrays than the limit");
            }
            let machine = line.machine.clone();
            let origin = if array == Array::Pickle { Origin::NestedShadow } else { Origin::Shadow };
            self.now.push(Track::Pickle(Line { machine, outer: Vec::new(), origin }));
        }
        match array {
            Array::Raw { bytes, padded } => {
                let padding = if padded { 1 + u64::from(first) } else { 0 };
                line.machine.next = line.machine.next.saturating_add(padding).saturating_add(bytes);
            }
            Array::Pickle => {
                if line.outer.len() >= self.limits.tracks {
                    self.summary.limit.get_or_insert("arrays of objects nested deeper than the limit");
                }
                let inner = Machine::new(line.machine.next);
                line.outer.push(std::mem::replace(&mut line.machine, inner));
            }
            Array::Unknown => self.summary.unmeasured_array |= line.origin == Origin::Start,
        }
        self.now.push(Track::Pickle(line));
    }

    fn after(&mut self, position: u64) {
        match (self.window.at(position), self.window.ended) {
            ([], true) => {}
            ([], false) => self.next.push(Track::After(position)),
            _ => self.later(position),
        }
    }

    fn later(&mut self, position: u64) {
        self.now.push(Track::Pickle(Line {
            machine: Machine::new(position),
            outer: Vec::new(),
            origin: Origin::Later,
        }));
    }

    /// Goes on at the next place where a pickle with a header may start.
    fn search(&mut self, position: u64) {
        let bytes = self.window.at(position);
        let header = |at: &[u8]| at[0] == 0x80 && (2..=5).contains(&at[1]) && may_start(at[2]);
        match bytes.windows(3).position(header) {
            Some(at) => self.later(position + at as u64),
            None if self.window.ended => {}
            None => self.next.push(Track::Search(position.max(self.window.end().saturating_sub(2)))),
        }
    }
}
