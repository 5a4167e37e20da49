//! Environment markers (PEP 508): which of the policy's targets a requirement is for.
//!
//! The text comes from a hostile package, which rules out `pep508_rs`: it builds a decision diagram, whose size doubles with
//! every 35 bytes of `extra == 'a1' and extra == 'b1' or …` (556 bytes take 0.6 s), panics on the name `foo-`, and leaves out
//! comparisons that it cannot read, so that `os_name == 'nt' or …` becomes false. Here a marker is a syntax tree of bounded
//! depth, walked once per target.
//!
//! What a target does not fix is decided in favour of "applies". That is sound because a marker has `and` and `or` but no
//! `not`: a part that is taken for true can only make the whole true.

use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifier};

use super::{LINE_BYTES, Problem, admits};
use crate::coordinates::normalize;

/// The deepest nesting of parentheses.
pub(super) const DEPTH: usize = 50;

/// A parsed marker.
#[derive(Debug)]
pub(super) enum Marker {
    /// True if one is.
    Or(Vec<Marker>),
    /// True if all are.
    And(Vec<Marker>),
    /// `left operator right`.
    Compare(Term, Operator, Term),
}

/// One side of a comparison.
#[derive(Debug)]
pub(super) enum Term {
    /// A quoted string.
    Text(String),
    /// A name that the environment gives a value.
    Variable(Variable),
}

/// The names of PEP 508, in groups that are evaluated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    PythonVersion,
    /// `python_full_version`, and `implementation_version`, which is the same on CPython.
    PythonFullVersion,
    OsName,
    SysPlatform,
    PlatformMachine,
    PlatformSystem,
    PlatformPythonImplementation,
    ImplementationName,
    Extra,
    /// The kernel's release and build, and the names that only lock files use: no target fixes them.
    Open,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    In,
    NotIn,
    /// One that versions and strings share, or versions alone.
    Sign(&'static str),
}

/// A machine with an interpreter: CPython on Linux.
#[derive(Debug)]
pub(super) struct Environment<'a> {
    /// `3.10`.
    pub(super) python: &'a str,
    /// `x86_64`.
    pub(super) machine: &'a str,
    /// The extras that were asked for, normalised.
    pub(super) extras: &'a [String],
}

impl Marker {
    /// Reads a whole marker.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > LINE_BYTES {
            return Err(Problem::TooLong);
        }
        let mut parser = Parser { rest: text, depth: 0 };
        let marker = parser.any()?;
        parser.skip_space();
        if parser.rest.is_empty() { Ok(marker) } else { Err(Problem::Marker) }
    }

    /// Whether a requirement with this marker applies there. True also where the environment does not decide it.
    pub(super) fn applies(&self, environment: &Environment<'_>) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.applies(environment)),
            Self::And(parts) => parts.iter().all(|part| part.applies(environment)),
            Self::Compare(Term::Variable(variable), operator, Term::Text(text)) => {
                environment.compare(*variable, *operator, text).unwrap_or(true)
            }
            Self::Compare(Term::Text(text), operator, Term::Variable(variable)) => {
                environment.compare_flipped(text, *operator, *variable).unwrap_or(true)
            }
            // Two strings or two variables: no target decides that.
            Self::Compare(..) => true,
        }
    }
}

impl Environment<'_> {
    fn text(&self, variable: Variable) -> Option<&str> {
        match variable {
            Variable::PythonVersion => Some(self.python),
            Variable::OsName => Some("posix"),
            Variable::SysPlatform => Some("linux"),
            Variable::PlatformMachine => Some(self.machine),
            Variable::PlatformSystem => Some("Linux"),
            Variable::PlatformPythonImplementation => Some("CPython"),
            Variable::ImplementationName => Some("cpython"),
            Variable::PythonFullVersion | Variable::Extra | Variable::Open => None,
        }
    }

    /// `variable operator "text"`; nothing where the target does not decide it.
    fn compare(&self, variable: Variable, operator: Operator, text: &str) -> Option<bool> {
        match (variable, operator) {
            (Variable::Extra, Operator::Sign(sign)) => self.compare_extra(sign, text),
            (Variable::PythonVersion, Operator::Sign(sign)) => {
                Some(admits(&VersionSpecifier::from_str(&format!("{sign}{text}")).ok()?, &self.python.parse().ok()?))
            }
            (Variable::PythonFullVersion, Operator::Sign(sign)) => self.compare_full(sign, text),
            (_, Operator::In) => Some(text.contains(self.text(variable)?)),
            (_, Operator::NotIn) => Some(!text.contains(self.text(variable)?)),
            (_, Operator::Sign("==" | "===")) => Some(self.text(variable)? == text),
            (_, Operator::Sign("!=")) => Some(self.text(variable)? != text),
            (_, Operator::Sign(_)) => None,
        }
    }

    /// `"text" operator variable`.
    fn compare_flipped(&self, text: &str, operator: Operator, variable: Variable) -> Option<bool> {
        let sign = match operator {
            Operator::In => return Some(self.text(variable)?.contains(text)),
            Operator::NotIn => return Some(!self.text(variable)?.contains(text)),
            Operator::Sign("<") => ">",
            Operator::Sign("<=") => ">=",
            Operator::Sign(">") => "<",
            Operator::Sign(">=") => "<=",
            Operator::Sign("~=") => return None,
            Operator::Sign(sign) => sign,
        };
        self.compare(variable, Operator::Sign(sign), text)
    }

    fn compare_extra(&self, sign: &str, text: &str) -> Option<bool> {
        let asked_for = self.extras.contains(&normalize(text));
        match sign {
            "==" | "===" => Some(asked_for),
            "!=" => Some(!asked_for),
            _ => None,
        }
    }

    /// A target names no patch release, so this asks whether any patch release compares so: the first, one beyond all, and
    /// the one that the marker itself names, if it is of this target.
    fn compare_full(&self, sign: &str, text: &str) -> Option<bool> {
        let specifier = VersionSpecifier::from_str(&format!("{sign}{text}")).ok()?;
        let minor: Version = self.python.parse().ok()?;
        let patch = |number| Version::new(minor.release().iter().copied().chain([number]));
        let named = specifier.version();
        let ours = named.release().starts_with(minor.release());
        let samples = [Some(patch(0)), Some(patch(9999)), ours.then(|| named.only_release())];
        Some(samples.iter().flatten().any(|version| admits(&specifier, version)))
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Marker, Problem> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Marker::Or(parts) })
    }

    fn all(&mut self) -> Result<Marker, Problem> {
        let mut parts = vec![self.one()?];
        while self.word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Marker::And(parts) })
    }

    fn one(&mut self) -> Result<Marker, Problem> {
        self.skip_space();
        if !self.eat("(") {
            return Ok(Marker::Compare(self.term()?, self.operator()?, self.term()?));
        }
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Problem::TooDeep);
        }
        let marker = self.any()?;
        self.skip_space();
        self.depth -= 1;
        if self.eat(")") { Ok(marker) } else { Err(Problem::Marker) }
    }

    fn term(&mut self) -> Result<Term, Problem> {
        self.skip_space();
        for quote in ["'", "\""] {
            if self.eat(quote) {
                let (text, rest) = self.rest.split_once(quote).ok_or(Problem::Marker)?;
                self.rest = rest;
                return Ok(Term::Text(text.to_owned()));
            }
        }
        let name = self.identifier();
        // The dotted names are those of PEP 345; installers still read them.
        Ok(Term::Variable(match name {
            "python_version" => Variable::PythonVersion,
            "python_full_version" | "implementation_version" => Variable::PythonFullVersion,
            "os_name" | "os.name" => Variable::OsName,
            "sys_platform" | "sys.platform" => Variable::SysPlatform,
            "platform_machine" | "platform.machine" => Variable::PlatformMachine,
            "platform_system" => Variable::PlatformSystem,
            "platform_python_implementation" | "platform.python_implementation" | "python_implementation" => {
                Variable::PlatformPythonImplementation
            }
            "implementation_name" => Variable::ImplementationName,
            "extra" => Variable::Extra,
            "platform_release" | "platform_version" | "platform.version" | "extras" | "dependency_groups" => {
                Variable::Open
            }
            _ => return Err(Problem::Marker),
        }))
    }

    fn operator(&mut self) -> Result<Operator, Problem> {
        self.skip_space();
        // Longest first.
        for sign in ["===", "~=", "==", "!=", "<=", ">=", "<", ">"] {
            if self.eat(sign) {
                return Ok(Operator::Sign(sign));
            }
        }
        match self.identifier() {
            "in" => Ok(Operator::In),
            "not" if self.word("in") => Ok(Operator::NotIn),
            _ => Err(Problem::Marker),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    fn identifier(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// Consumes this word if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let before = self.rest;
        self.skip_space();
        let found = self.identifier() == word;
        if !found {
            self.rest = before;
        }
        found
    }
}
