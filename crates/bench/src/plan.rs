//! Who runs in which figure, and what is asked of the ratios.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::corpus::{Corpus, Entry, Set};
use crate::measure::{self, Cost, Run};
use crate::peers::Peers;
use crate::result::{Figure, Measured, Role, Target, note};

/// What every figure needs.
pub(crate) struct Plan<'a> {
    /// This program.
    pub(crate) own: &'a Path,
    pub(crate) target: &'a Path,
    pub(crate) corpus: &'a Corpus,
    pub(crate) peers: &'a Peers,
    pub(crate) runs: usize,
}

/// One line of a figure.
pub(crate) struct Contender {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) commands: Vec<Run>,
}

impl Contender {
    pub(crate) fn new(role: Role, name: &str, commands: Vec<Run>) -> Self {
        Self { role, name: name.to_owned(), commands }
    }
}

impl Plan<'_> {
    /// The built gate, beside this program.
    pub(crate) fn gate(&self) -> Option<PathBuf> {
        let gate = self.own.with_file_name("gate");
        gate.exists().then_some(gate)
    }

    pub(crate) fn work<'p>(&self, kind: &str, archives: impl Iterator<Item = &'p Path>) -> Run {
        let mut command = [self.own.as_os_str(), "work".as_ref(), kind.as_ref()].map(OsString::from).to_vec();
        command.extend(archives.map(OsString::from));
        Run::new(command)
    }

    fn in_process(&self, role: Role, name: &str, kind: &str, set: Set) -> Contender {
        Contender::new(role, name, vec![self.work(kind, zips(self.corpus, set))])
    }

    /// The program itself, with its child process and its decision; none when it is not built.
    fn gate_scans(&self, set: Set) -> Option<Contender> {
        let gate = self.gate()?;
        let scans = zips(self.corpus, set).map(|zip| scan_command(&gate, zip));
        Some(Contender::new(Role::Ours, "gate scan, a program for each archive", scans.collect()))
    }

    /// All contenders in turn, so that a busy minute hits them all.
    pub(crate) fn measure(&self, contenders: Vec<Contender>) -> Result<Vec<Measured>> {
        let mut costs: Vec<Vec<Cost>> = contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.runs {
            for (contender, costs) in contenders.iter().zip(&mut costs) {
                costs.push(measure::all(&contender.commands, self.own)?);
            }
        }
        Ok(contenders
            .into_iter()
            .zip(costs)
            .map(|(contender, costs)| Measured::of(contender.role, contender.name, &costs))
            .collect())
    }

    /// A set of archives, all analyzers on.
    pub(crate) fn p1(&self) -> Result<Figure> {
        note("P1: set tree")?;
        let trees = || trees(self.corpus, Set::Tree);
        let mut contenders = vec![
            self.in_process(Role::Ours, "scan, all analyzers, one process", "scan", Set::Tree),
            self.in_process(Role::Ours, "archive walk and the S rules alone", "rules", Set::Tree),
            Contender::new(Role::Peer, "ruff check --select S", vec![self.peers.ruff(trees())]),
            self.in_process(Role::Floor, "inflate", "inflate", Set::Tree),
            self.in_process(Role::Floor, "inflate, literals, 7 regexes", "literals", Set::Tree),
            self.in_process(Role::Floor, "inflate, parse", "parse", Set::Tree),
            self.in_process(Role::Floor, "inflate, parse, visit", "visit", Set::Tree),
            self.in_process(Role::Floor, "all of it", "floor", Set::Tree),
        ];
        contenders.extend(self.gate_scans(Set::Tree));
        let measured = self.measure(contenders)?;
        let targets = vec![
            Target::at_most("scan / floor", measured[0].cpu_s / measured[7].cpu_s, 1.5),
            Target::at_most("scan / ruff", measured[0].cpu_s / measured[2].cpu_s, 1.25),
            Target::at_most("S rules alone / ruff", measured[1].cpu_s / measured[2].cpu_s, 1.0),
        ];
        Ok(Figure::new("P1", "set tree, one thread", measured, targets))
    }

    /// A set of small archives, whole programs.
    pub(crate) fn p2(&self) -> Result<Figure> {
        note("P2: set small")?;
        let trees = || trees(self.corpus, Set::Small);
        let mut contenders = vec![self.in_process(Role::Ours, "scan, all analyzers, one process", "scan", Set::Small)];
        let gate = self.gate_scans(Set::Small);
        let has_gate = gate.is_some();
        contenders.extend(gate);
        let first_peer = contenders.len();
        contenders.push(Contender::new(Role::Peer, "bandit -r", vec![self.peers.bandit(trees())]));
        let semgrep = self.peers.semgrep(trees());
        let has_semgrep = semgrep.is_some();
        contenders.extend(semgrep.map(|run| Contender::new(Role::Peer, "semgrep, three local rules", vec![run])));
        contenders.push(Contender::new(Role::Peer, "ruff check --select S", vec![self.peers.ruff(trees())]));
        contenders.push(self.in_process(Role::Floor, "all of it", "floor", Set::Small));
        let measured = self.measure(contenders)?;

        let ratio = |peer: usize, ours: usize| measured[first_peer + peer].cpu_s / measured[ours].cpu_s;
        let mut targets = vec![Target::at_least("bandit / scan", ratio(0, 0), 30.0)];
        if has_semgrep {
            targets.push(Target::at_least("semgrep / scan", ratio(1, 0), 20.0));
        }
        if has_gate {
            targets.push(Target::at_least("bandit / gate scan", ratio(0, 1), 30.0));
        }
        if has_gate && has_semgrep {
            targets.push(Target::at_least("semgrep / gate scan", ratio(1, 1), 20.0));
        }
        Ok(Figure::new("P2", "set small, whole process", measured, targets))
    }
}

/// `gate scan` of one archive; what it decides is not what is measured.
pub(crate) fn scan_command(gate: &Path, archive: &Path) -> Run {
    let mut run = Run::new([gate.as_os_str(), "scan".as_ref(), "--json".as_ref(), archive.as_os_str()]);
    run.may_end_with = &[0, 1];
    run
}

fn zips(corpus: &Corpus, set: Set) -> impl Iterator<Item = &Path> {
    corpus.of(set).map(|Entry { zip, .. }| zip.as_path())
}

fn trees(corpus: &Corpus, set: Set) -> impl Iterator<Item = &Path> {
    corpus.of(set).map(|Entry { tree, .. }| tree.as_path())
}
