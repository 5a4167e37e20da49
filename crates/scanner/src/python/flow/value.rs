//! What is known of a value while code is read.

use std::ops::{BitAnd, BitOr, BitOrAssign, Deref};
use std::rc::Rc;

/// Where a value comes from; a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taint(u32);

impl Taint {
    pub(super) const NONE: Self = Self(0);
    /// Came out of a decoder, a decompressor or a cipher.
    pub(super) const DECODED: Self = Self(1);
    /// Text that was put together from character numbers, reversed, translated or combined by exclusive or.
    pub(super) const SCRAMBLED: Self = Self(1 << 1);
    /// Came from the network, from an address that the file itself names or takes from elsewhere.
    pub(super) const DOWNLOADED: Self = Self(1 << 2);
    /// All environment variables.
    pub(super) const ENVIRONMENT: Self = Self(1 << 3);
    /// The content of a file that holds credentials.
    pub(super) const CREDENTIAL: Self = Self(1 << 4);
    /// A network socket.
    pub(super) const SOCKET: Self = Self(1 << 5);
    /// An argument of the function that is being read.
    pub(super) const ARGUMENT: Self = Self(1 << 6);
    /// Name of the machine or user.
    pub(super) const HOST: Self = Self(1 << 7);

    /// A character made of a number.
    pub(super) const CHARACTER: Self = Self(1 << 8);
    /// Combined by exclusive or.
    pub(super) const COMBINED: Self = Self(1 << 9);
    /// Was decoded from text that is written in this file.
    pub(super) const EMBEDDED: Self = Self(1 << 10);
    /// Came from an address on the network that the function's caller names.
    pub(super) const FETCHED: Self = Self(1 << 11);

    /// The content of a file that holds a token, which is made to be presented to a server.
    pub(super) const TOKEN: Self = Self(1 << 16);
    /// Came over a connection, from a peer that both ends know.
    pub(super) const RECEIVED: Self = Self(1 << 13);
    /// The folder of this package, or a path in it.
    pub(super) const PACKAGE: Self = Self(1 << 14);
    /// The content of a file of this package that is no source.
    pub(super) const DATA: Self = Self(1 << 15);

    /// A long list of numbers that is written in this file.
    pub(super) const NUMBERS: Self = Self(1 << 12);

    /// Any way to hide what a text says.
    pub(super) const HIDDEN: Self = Self(Self::DECODED.0 | Self::SCRAMBLED.0);
    /// Anything worth stealing.
    pub(super) const SECRET: Self = Self(Self::ENVIRONMENT.0 | Self::CREDENTIAL.0 | Self::TOKEN.0);

    pub(super) fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    pub(super) fn without(self, of: Self) -> Self {
        Self(self.0 & !of.0)
    }
}

impl BitOr for Taint {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Taint {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Taint {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Stands in a [`Value::text`] for a part that is not known.
pub(super) const GAP: char = '\u{fffc}';

/// What is put together is cut here, so that a chain of additions costs no more than its length.
pub(super) const MAX_TEXT: usize = 1024 * 1024;

/// The text up to [`MAX_TEXT`] bytes.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// A text that many values share, and that grows in place when only one does.
#[derive(Clone, Debug)]
pub(super) struct Text(Rc<String>);

impl Text {
    /// This text with others behind it.
    pub(super) fn push(self, more: &[&str]) -> Self {
        let mut text = Rc::unwrap_or_clone(self.0);
        text.extend(more.iter().copied());
        Self(Rc::new(text))
    }

    /// Whether nobody else holds it.
    pub(super) fn is_alone(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Rc::new(text))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// What an expression gives, as far as reading the code tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Value {
    /// Of the value and of all its elements.
    pub(super) taint: Taint,
    /// The dotted name of a module, a function or a kind of object: `os.system`, `requests.Session`.
    pub(super) path: Option<Rc<str>>,
    /// Text or bytes, with a [`GAP`] for each part that is not known.
    pub(super) text: Option<Text>,
    pub(super) number: Option<i64>,
    /// The elements of a list or tuple that is written out.
    pub(super) items: Option<Rc<[Value]>>,
    /// A function of this file, by its number.
    pub(super) function: Option<usize>,
    /// The path that an open file was opened by.
    pub(super) file: Option<Text>,
}

impl Value {
    pub(super) fn tainted(taint: Taint) -> Self {
        Self { taint, ..Self::default() }
    }

    pub(super) fn path(path: impl AsRef<str>) -> Self {
        Self { path: Some(path.as_ref().into()), ..Self::default() }
    }

    /// A text that is written out; it is kept whole.
    pub(super) fn literal(text: &str) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// A text that was put together.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if text.len() <= MAX_TEXT { Self::literal(text) } else { Self::literal(&format!("{}{GAP}", cut(text))) }
    }

    pub(super) fn with(mut self, taint: Taint) -> Self {
        self.taint |= taint;
        self
    }

    /// The text when all of it is known.
    pub(super) fn whole_text(&self) -> Option<&str> {
        self.text.as_deref().filter(|text| !text.contains(GAP))
    }

    /// The text with gaps, or one gap.
    pub(super) fn some_text(&self) -> &str {
        self.text.as_deref().unwrap_or("\u{fffc}")
    }

    /// What a command line made of this value says: the text, or the elements with blanks between them.
    pub(super) fn command_line(&self) -> Option<String> {
        match (&self.text, &self.items) {
            (Some(text), _) => Some(cut(text).to_owned()),
            (None, Some(items)) => Some(items.iter().map(|item| cut(item.some_text())).collect::<Vec<_>>().join(" ")),
            (None, None) => None,
        }
    }

    /// What a decoder makes of this value and of others with this taint.
    pub(super) fn decoded(&self, taint: Taint, kind: Taint) -> Self {
        let embedded = self.text.as_deref().is_some_and(|text| text.chars().any(|c| c != GAP));
        Self::tainted(taint | kind | if embedded { Taint::EMBEDDED } else { Taint::NONE })
    }

    /// One of two values, whichever is taken when the code runs.
    pub(super) fn either(self, other: Self) -> Self {
        let taint = self.taint | other.taint;
        let first = if self.says_nothing() { other } else { self };
        Self { taint, ..first }
    }

    /// What a variable holds after an assignment. It may not be reached (`requests = None` where an import fails), so what the
    /// variable stood for and its taint stay; its text does not.
    pub(super) fn over(self, old: Self) -> Self {
        self.either(Self { text: None, number: None, items: None, ..old })
    }

    fn says_nothing(&self) -> bool {
        self.path.is_none()
            && self.text.is_none()
            && self.number.is_none()
            && self.items.is_none()
            && self.function.is_none()
            && self.file.is_none()
    }
}
