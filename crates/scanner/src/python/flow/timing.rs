//! What happens when a package is installed or imported, without being asked for.

use std::collections::HashSet;

use gate_core::finding::FileRole;
use ruff_text_size::TextSize;

use super::Flow;
use crate::context::FileContext;

/// Something that code has no business to do at install or import time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Network,
    /// Sends something about the machine over the network.
    Beacon,
    /// Decodes and runs what its caller gives.
    DecodedCode,
    /// Runs what it fetches from an address that its caller names.
    RemoteCode,
    Process,
    /// Installs a package from an address.
    Package,
    /// Only tries whether a connection can be made.
    Connection,
    /// Runs a file of its package that is no source.
    DataFile,
    Exec,
    Credentials,
    Persistence,
    /// A build or install command of its own.
    Command,
}

impl Effect {
    fn at_install(self) -> &'static str {
        match self {
            Self::Network | Self::Beacon | Self::Connection | Self::Package => "install-time-network",
            Self::DataFile => "data-file-exec",
            Self::DecodedCode => "obfuscated-exec",
            Self::RemoteCode => "downloaded-exec",
            Self::Process => "install-time-process",
            Self::Exec => "install-time-exec",
            Self::Credentials => "install-time-credentials",
            Self::Persistence => "install-time-persistence",
            Self::Command => "install-time-command",
        }
    }

    /// Executing text at import is common (named tuples, version files) and says nothing by itself; so does reading a file.
    fn at_import(self, package: bool) -> Option<&'static str> {
        match self {
            Self::Connection => Some("module-time-network"),
            Self::DataFile => Some("data-file-exec"),
            Self::Network if !package => Some("module-time-network"),
            Self::Network | Self::Beacon | Self::Package => Some("import-time-network"),
            Self::DecodedCode => Some("obfuscated-exec"),
            Self::RemoteCode => Some("downloaded-exec"),
            Self::Process => Some("import-time-process"),
            Self::Persistence if package => Some("install-time-persistence"),
            Self::Persistence | Self::Exec | Self::Credentials | Self::Command => None,
        }
    }
}

/// Whether other code imports this file. Tests, examples and tools are started by a person, but a package's `__init__.py`
/// is imported wherever it lies. What has a blank in its path is a script.
pub(super) fn is_imported(context: &FileContext<'_>) -> bool {
    let importable =
        context.path.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | '+' | '!' | '#'));
    importable && (context.role == FileRole::Library || context.path.ends_with("__init__.py"))
}

/// Whether importing the package runs this file: its `__init__.py`, or a module that lies at the top.
pub(super) fn is_package(context: &FileContext<'_>) -> bool {
    context.path.ends_with("__init__.py") || !context.path.contains('/')
}

impl Flow {
    pub(super) fn effect(&mut self, effect: Effect, at: TextSize) {
        let at = self.place.unwrap_or(at);
        if self.install {
            self.report(effect.at_install(), at);
            return;
        }
        match self.current {
            Some(function) => {
                let effects = &mut self.functions[function].effects;
                if !effects.contains(&(effect, at)) {
                    effects.push((effect, at));
                }
            }
            None if self.guarded || !self.import_time => {}
            None => {
                if let Some(rule) = effect.at_import(self.package) {
                    self.report(rule, at);
                }
            }
        }
    }

    pub(super) fn calls(&mut self, function: usize) {
        match self.current {
            Some(caller) => {
                self.functions[caller].calls.insert(function);
            }
            None if self.guarded => {}
            None => self.import_calls.push(function),
        }
    }

    /// Reports the effects of all functions that are called, directly or not, while the file is imported.
    pub(super) fn report_import_time(&mut self) {
        if self.install || !self.import_time {
            return;
        }
        let mut reached = HashSet::new();
        let mut open = std::mem::take(&mut self.import_calls);
        while let Some(function) = open.pop() {
            if !self.functions[function].deferred && reached.insert(function) {
                open.extend(&self.functions[function].calls);
            }
        }
        let mut found: Vec<_> = reached
            .into_iter()
            .flat_map(|function| self.functions[function].effects.iter())
            .filter_map(|(effect, at)| Some((effect.at_import(self.package)?, *at)))
            .collect();
        found.sort_unstable();
        self.found.extend(found);
    }
}
