//! A function's environment variables, read once.

use std::collections::BTreeMap;
use std::str::FromStr;

use gate_core::step::{ErrorName, StepError};
use gate_core::text::escape;

use super::metric;

/// The environment of a function. What is missing or bad is remembered, and [`Settings::finish`] names all of it at once: whoever
/// has forgotten three variables deploys once more, not three times.
///
/// A variable that is empty counts as missing. Values appear in no message: one may be a secret in the wrong place.
#[derive(Debug)]
pub struct Settings {
    variables: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Settings {
    /// The process's environment. A variable that is not UTF-8 is missing. Every function needs `STACK_NAME`: the stack that its
    /// metrics are of.
    #[must_use]
    pub fn from_env() -> Self {
        let mut settings = Self::of(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        metric::count_for(&settings.text("STACK_NAME"));
        settings
    }

    /// These variables.
    #[must_use]
    pub fn of<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: variables.filter(|(_, value)| !value.is_empty()).collect(), faults: Vec::new() }
    }

    /// A text that must be there. Empty when it is not; then [`Settings::finish`] fails.
    pub fn text(&mut self, name: &str) -> String {
        let value = self.variables.get(name).cloned();
        value.unwrap_or_else(|| {
            self.fault(name, "is missing");
            String::new()
        })
    }

    /// A text that may be absent.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// A comma-separated list, each item trimmed, empty items left out. Empty when the variable is absent.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.variables.get(name).map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A number that must be there. Zero when it is not, or is none; then [`Settings::finish`] fails.
    pub fn number<N: FromStr + Default>(&mut self, name: &str) -> N {
        let text = self.text(name);
        if text.is_empty() {
            return N::default();
        }
        text.parse().unwrap_or_else(|_| {
            self.fault(name, "is not a number of the right size");
            N::default()
        })
    }

    /// Remembers that a variable has a value that cannot be used; `problem` follows the name: `is not a URL`.
    pub fn fault(&mut self, name: &str, problem: &str) {
        self.faults.push(format!("{name} {problem}"));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ErrorName::Configuration`], naming everything that is missing or bad.
    pub fn finish(self) -> Result<(), StepError> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let faults = self.faults.join("; ");
        let message = format!("environment variables of this function: {}. Set them in the template.", escape(&faults));
        Err(StepError::new(ErrorName::Configuration, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_or_bad_is_named_at_once() {
        let mut settings = Settings::of([
            ("DATA_BUCKET", "data"),
            ("EMPTY", ""),
            ("SECONDS", "hunter2"),
            ("BIG", "256"),
            ("FINE", "7"),
        ]);
        assert_eq!(settings.text("DATA_BUCKET"), "data");
        assert_eq!(settings.text("CONFIG_BUCKET"), "");
        assert_eq!(settings.text("EMPTY"), "");
        assert_eq!(settings.number::<u64>("SECONDS"), 0);
        assert_eq!(settings.number::<u8>("BIG"), 0);
        assert_eq!(settings.number::<u8>("FINE"), 7);
        assert_eq!(settings.number::<u8>("MAX_ARTIFACT_BYTES"), 0);
        assert_eq!(settings.optional("EMPTY"), None);
        settings.fault("INDEX_URL", "is not a URL");
        let error = settings.finish().unwrap_err();
        assert_eq!(error.name, ErrorName::Configuration);
        for name in ["CONFIG_BUCKET", "EMPTY", "SECONDS", "BIG", "MAX_ARTIFACT_BYTES", "INDEX_URL is not a URL"] {
            assert!(error.message.contains(name), "{error}");
        }
        for absent in ["hunter2", "DATA_BUCKET", "FINE"] {
            assert!(!error.message.contains(absent), "{error}");
        }
    }

    #[test]
    fn a_number_has_a_size() {
        for (text, number) in [("254", Some(254)), ("255", Some(255)), ("256", None), ("-1", None), ("1 ", None)] {
            let mut settings = Settings::of([("N", text)]);
            assert_eq!(settings.number::<u8>("N"), number.unwrap_or_default(), "{text}");
            assert_eq!(settings.finish().is_ok(), number.is_some(), "{text}");
        }
    }

    #[test]
    fn a_list_is_trimmed_and_may_be_empty() {
        for (text, items) in [("", vec![]), (" , ", vec![]), ("a", vec!["a"]), ("a, b ,,c", vec!["a", "b", "c"])] {
            let mut settings = Settings::of([("L", text)]);
            assert_eq!(settings.list("L"), items, "{text}");
            assert_eq!(settings.finish(), Ok(()));
        }
    }
}
