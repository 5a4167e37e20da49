//! How far a run is: on a terminal one line for each row that is being worked on and one for the whole, on a pipe one line for
//! each row that is examined and one when it has ended.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gate_core::outcome::{Reason, Verdict};
use gate_notifier::{plain, words};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The most rows that have a line of their own; the others are counted in the last line. With it the display fits the 24 lines of
/// the smallest usual terminal, however many rows run at once.
const LINES: usize = 16;
/// The line of a run and of a row.
const WHOLE: &str = "{bar:20} {pos}/{len} rows {elapsed} {wide_msg}";
const LINE: &str = "  {prefix} {wide_msg}";
/// The widest name, in columns.
const NAME: usize = 24;
/// The longest reason in a line, in characters.
const REASON: usize = 160;

use crate::table::style::{fit, pad};

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Lines that are drawn anew, on a standard error that is a terminal.
    Terminal,
    /// A line for each row that is examined or has ended, on standard error.
    Plain,
    /// Nothing.
    Silent,
}

/// What is being done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage<'a> {
    /// Its files are on their way.
    Fetching,
    /// A file of the set is being scanned.
    Scanning {
        /// Which. Untrusted.
        filename: &'a str,
    },
    /// The built-in scanner is done, an external one may not be.
    Awaiting {
        /// Its name.
        scanner: &'a str,
    },
    /// The policy decides.
    Deciding,
    /// Approved bytes are copied.
    Publishing,
}

impl Stage<'_> {
    fn text(self) -> String {
        match self {
            Self::Fetching => "fetching".to_owned(),
            Self::Scanning { filename } => format!("scanning {}", plain::shown(filename, 120)),
            Self::Awaiting { scanner } => format!("waiting for {scanner}"),
            Self::Deciding => "deciding".to_owned(),
            Self::Publishing => "publishing".to_owned(),
        }
    }
}

/// The progress of a run. Clones show the same run. Dropping the last one, or [`Progress::finish`], clears the terminal's lines.
#[derive(Clone)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
}

struct Shared {
    rows: usize,
    sink: Sink,
    state: Mutex<State>,
}

enum Sink {
    Terminal { lines: MultiProgress, whole: ProgressBar },
    Plain(Mutex<Box<dyn Write + Send>>),
    Silent,
}

#[derive(Default)]
struct State {
    ended: [usize; words::VERDICTS.len()],
    /// Rows that are examined and have not ended.
    waiting: BTreeSet<usize>,
    active: usize,
    with_line: usize,
}

impl Progress {
    /// The progress of a run of `rows` rows.
    #[must_use]
    pub(crate) fn new(rows: usize, mode: Mode) -> Self {
        match mode {
            Mode::Terminal => Self::drawn(rows, ProgressDrawTarget::stderr()),
            Mode::Plain => Self::with(rows, Sink::Plain(Mutex::new(Box::new(std::io::stderr())))),
            Mode::Silent => Self::with(rows, Sink::Silent),
        }
    }

    fn drawn(rows: usize, target: ProgressDrawTarget) -> Self {
        let lines = MultiProgress::with_draw_target(target);
        let whole = lines.add(ProgressBar::new(rows as u64).with_style(style(WHOLE)));
        whole.enable_steady_tick(Duration::from_millis(500));
        Self::with(rows, Sink::Terminal { lines, whole })
    }

    fn with(rows: usize, sink: Sink) -> Self {
        Self { shared: Arc::new(Shared { rows, sink, state: Mutex::default() }) }
    }

    /// The progress of one row, which begins now. `index` is 0-based; `name` is the row's, as written.
    #[must_use]
    pub(crate) fn row(&self, index: usize, name: &str) -> RowProgress {
        self.shared.state().active += 1;
        self.shared.tell();
        let name = plain::shown(name, 60);
        RowProgress { shared: Arc::clone(&self.shared), index, name, bar: Mutex::default() }
    }

    /// Takes the lines away, so that something else can be printed.
    pub(crate) fn finish(&self) {
        if let Sink::Terminal { lines, whole } = &self.shared.sink {
            whole.finish_and_clear();
            // What cannot be cleared stays: progress is no reason to fail.
            let _ = lines.clear();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counters cannot be left half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line on a pipe.
    fn say(&self, index: usize, name: &str, what: &str) {
        let Sink::Plain(out) = &self.sink else { return };
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed standard error is no reason to fail.
        let _ = writeln!(out, "[{}/{}] {name}: {what}", index + 1, self.rows);
    }

    /// Draws the line of the whole run anew.
    fn tell(&self) {
        let Sink::Terminal { whole, .. } = &self.sink else { return };
        let state = self.state();
        let mut parts: Vec<_> = words::VERDICTS
            .iter()
            .zip(state.ended)
            .filter(|(_, number)| *number > 0)
            .map(|(verdict, number)| format!("{number} {}", verdict.as_str()))
            .collect();
        if !state.waiting.is_empty() {
            parts.push(format!("{} examined", state.waiting.len()));
        }
        let hidden = state.active - state.with_line;
        if hidden > 0 {
            parts.push(format!("{hidden} more at work"));
        }
        let done = state.ended.iter().sum::<usize>() + state.waiting.len();
        drop(state);
        // The message is what draws.
        whole.set_position(done as u64);
        whole.set_message(parts.join(", "));
    }
}

/// The progress of one row. Dropping it without [`RowProgress::end`] takes its line away and counts nothing.
pub(crate) struct RowProgress {
    shared: Arc<Shared>,
    index: usize,
    name: String,
    bar: Mutex<Option<ProgressBar>>,
}

impl RowProgress {
    /// What is being done now.
    pub(crate) fn stage(&self, stage: Stage<'_>) {
        let Sink::Terminal { lines, whole } = &self.shared.sink else { return };
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.is_none() {
            let mut state = self.shared.state();
            if state.with_line == LINES {
                return;
            }
            state.with_line += 1;
            drop(state);
            let line = ProgressBar::no_length().with_style(style(LINE));
            *bar = Some(lines.insert_before(whole, line.with_prefix(pad(&fit(&self.name, NAME), NAME))));
            self.shared.tell();
        }
        if let Some(bar) = &*bar {
            bar.set_message(stage.text());
        }
    }

    /// All is known about the row but its end, for which it waits until the others are as far.
    pub(crate) fn waits(self) {
        self.shared.state().waiting.insert(self.index);
        self.shared.say(self.index, &self.name, "examined");
    }

    /// How the row ended, and why.
    pub(crate) fn end(self, verdict: Verdict, reason: Option<&Reason>) {
        {
            let mut state = self.shared.state();
            state.waiting.remove(&self.index);
            if let Some((_, number)) =
                words::VERDICTS.iter().zip(&mut state.ended).find(|(known, _)| **known == verdict)
            {
                *number += 1;
            }
        }
        let reason = reason.map(|reason| format!(": {}", plain::shown(&reason.message, REASON))).unwrap_or_default();
        self.shared.say(self.index, &self.name, &format!("{}{reason}", verdict.as_str()));
    }
}

impl Drop for RowProgress {
    fn drop(&mut self) {
        let bar = self.bar.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        {
            let mut state = self.shared.state();
            state.active -= 1;
            state.with_line -= usize::from(bar.is_some());
        }
        if let (Sink::Terminal { lines, .. }, Some(bar)) = (&self.shared.sink, bar) {
            bar.finish_and_clear();
            lines.remove(&bar);
        }
        self.shared.tell();
    }
}

/// A style of the library; its default if the template, which is a constant here, had a fault.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn reason(message: &str) -> Reason {
        Reason { code: "code".to_owned(), message: message.to_owned() }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn terminal(rows: usize) -> (Progress, InMemoryTerm) {
        let term = InMemoryTerm::new(24, 80);
        (Progress::drawn(rows, ProgressDrawTarget::term_like(Box::new(term.clone()))), term)
    }

    #[test]
    fn every_template_is_valid() {
        for template in
            ["{bar:20} {pos}/{len} rows {elapsed} {wide_msg}", &format!("  {{prefix:{NAME}!}} {{wide_msg}}")]
        {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn on_a_pipe_a_line_appears_when_a_row_ends() {
        let written = Written::default();
        let progress = Progress::with(3, Sink::Plain(Mutex::new(Box::new(written.clone()))));
        let row = progress.row(1, "evil\u{1b}[2J\u{202e}");
        row.stage(Stage::Deciding);
        drop(progress.row(2, "given up"));
        assert!(written.0.lock().unwrap().is_empty());
        row.end(Verdict::Refused, Some(&reason("bad\nthing")));
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "[2/3] evil\\u{001b}[2J\\u{202e}: refused: bad\\nthing\n");
        progress.row(0, "six").waits();
        progress.row(0, "six").end(Verdict::Approved, None);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("\n[1/3] six: examined\n[1/3] six: approved\n"), "{text}");
    }

    #[test]
    fn a_terminal_shows_what_is_at_work() {
        let (progress, term) = terminal(3);
        let first = progress.row(0, "flask");
        let second = progress.row(1, "a-name-that-is-longer-than-its-column");
        first.stage(Stage::Fetching);
        second.stage(Stage::Scanning { filename: "evil\u{1b}[2J.whl" });
        let shown = term.contents();
        assert!(shown.contains("  flask                    fetching"), "{shown}");
        assert!(shown.contains("  a-name-that-is-longer-t… scanning evil\\u{001b}[2J.whl"), "{shown}");
        assert!(shown.contains("0/3 rows"), "{shown}");
        first.waits();
        let shown = term.contents();
        assert!(!shown.contains("flask") && shown.contains("1/3 rows") && shown.contains("1 examined"), "{shown}");
        progress.row(0, "flask").end(Verdict::Approved, Some(&reason("fine")));
        second.end(Verdict::Held, Some(&reason("a doubt")));
        let shown = term.contents();
        assert!(!shown.contains("examined"), "{shown}");
        assert!(
            !shown.contains("flask") && shown.contains("2/3 rows") && shown.contains("1 approved, 1 held"),
            "{shown}"
        );
        progress.finish();
        assert_eq!(term.contents(), "");
    }

    #[test]
    fn ten_thousand_rows_at_once_still_fit() {
        let (progress, term) = terminal(10_000);
        let rows: Vec<_> = (0..10_000).map(|row| progress.row(row, &format!("package-{row}"))).collect();
        rows.iter().for_each(|row| row.stage(Stage::Deciding));
        let shown = term.contents();
        assert_eq!(shown.lines().count(), LINES + 1, "{shown}");
        assert!(shown.contains(&format!("{} more at work", 10_000 - LINES)), "{shown}");
        let mut rows = rows.into_iter();
        rows.next().unwrap().end(Verdict::Approved, None);
        // A line that became free goes to the next row that has something to say.
        rows.as_slice()[5_000].stage(Stage::Publishing);
        let shown = term.contents();
        assert!(shown.contains("package-5001") && shown.contains("publishing"), "{shown}");
        drop(rows);
        let shown = term.contents();
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.contains("1/10000 rows") && shown.contains("1 approved"), "{shown}");
    }

    #[test]
    fn silence_is_silent() {
        let progress = Progress::new(1, Mode::Silent);
        let row = progress.row(0, "a");
        row.stage(Stage::Fetching);
        row.end(Verdict::Failed, None);
        assert_eq!(progress.shared.state().ended.iter().sum::<usize>(), 1);
        progress.finish();
    }
}
