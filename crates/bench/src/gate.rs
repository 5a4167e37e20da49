//! P3 and P8: the whole program on one small package, from an index on loopback.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use gate_core::policy::BUILT_IN;
use serde_json::Value;

use crate::corpus::ONE;
use crate::loopback::Index;
use crate::measure::{Cost, Run};
use crate::plan::{Contender, Plan, scan_command};
use crate::result::{Figure, Measured, Role, Target, note};

/// Both figures; none when the gate is not built.
pub(crate) fn p3_and_p8(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    let Some(gate) = plan.gate() else {
        note("P3, P8: not measured; build the gate: cargo build --release -p gate")?;
        return Ok(Vec::new());
    };
    note("P3 and P8: one small wheel")?;
    let wheel = &plan.corpus.wheel;
    let filename = format!("{}-{}-py2.py3-none-any.whl", ONE.name, ONE.version);
    let index = Index::serve(ONE.name, &filename, &plan.corpus.wheel_sha256, std::fs::read(wheel)?)?;
    let folder = tempfile::tempdir_in(plan.target)?;
    let check = Check::new(&gate, folder.path(), &index, &plan.corpus.wheel_sha256)?;

    // P3: into an empty folder each time.
    let mut first = Vec::new();
    for run in 0..plan.runs {
        first.push(check.run(&folder.path().join(format!("first-{run}")))?);
    }
    let downloads_first = index.downloads();
    // P8: into a folder that knows the wheel.
    let known = folder.path().join("first-0");
    let mut again = Vec::new();
    for _ in 0..plan.runs {
        again.push(check.run(&known)?);
    }
    let downloads_again = index.downloads() - downloads_first;

    let others = plan.measure(vec![
        Contender::new(Role::Ours, "gate scan, the file on disk", vec![scan_command(&gate, wheel)]),
        Contender::new(Role::Floor, "all of it", vec![plan.work("floor", std::iter::once(wheel.as_path()))]),
        Contender::new(Role::Floor, "gate --version", vec![Run::new([gate.as_os_str(), "--version".as_ref()])]),
    ])?;
    let first = Measured::of(
        Role::Ours,
        format!("gate check, first time ({downloads_first} downloads in {} runs)", plan.runs),
        &first,
    );
    let again = Measured::of(Role::Ours, format!("gate check, again, pinned ({downloads_again} downloads)"), &again);
    let p3 = vec![
        Target::at_most("gate check, CPU ms", first.cpu_s * 1e3, 20.0),
        Target::at_most("gate scan, CPU ms", others[0].cpu_s * 1e3, 20.0),
    ];
    let p8 = vec![
        Target::at_most("downloads", downloads_again as f64, 0.0),
        Target::at_most("again / first, CPU", again.cpu_s / first.cpu_s, 1.0),
    ];
    let mut lines = vec![first];
    lines.extend(others);
    Ok(vec![
        Figure::new("P3", "one small wheel from a loopback index, whole program, without advisories", lines, p3),
        Figure::new("P8", "the same row again, whole program", vec![again], p8),
    ])
}

/// `gate check` of one pinned row.
struct Check<'a> {
    gate: &'a Path,
    own: std::path::PathBuf,
    request: std::path::PathBuf,
    policy: std::path::PathBuf,
    index_url: String,
}

impl<'a> Check<'a> {
    fn new(gate: &'a Path, folder: &Path, index: &Index, sha256: &str) -> Result<Self> {
        let request = folder.join("request.csv");
        let row = format!("{0},pkg:pypi/{0}@{1},{sha256}\n", ONE.name, ONE.version);
        std::fs::write(&request, row)?;
        // Loopback is never reached unless it is listed.
        let rule =
            format!("allow = [{{ host = \"127.0.0.1\", cidrs = [\"127.0.0.1/32\"], ports = [{}] }}]", index.port);
        let text = BUILT_IN.replacen("\nallow = []\n", &format!("\n{rule}\n"), 1);
        if text == BUILT_IN {
            bail!("the built-in policy has no empty [network] allow");
        }
        let policy = folder.join("policy.toml");
        std::fs::write(&policy, text)?;
        let index_url = format!("http://127.0.0.1:{}/simple/", index.port);
        Ok(Self { gate, own: std::env::current_exe()?, request, policy, index_url })
    }

    fn run(&self, out: &Path) -> Result<Cost> {
        let mut run = Run::new([self.gate.as_os_str(), "check".as_ref(), self.request.as_os_str(), "--json".as_ref()]);
        run.command.extend(["--policy".into(), self.policy.clone().into_os_string()]);
        run.command.extend(["--index-url".into(), self.index_url.clone().into(), "--out".into(), out.into()]);
        let cost = run.measure(&self.own)?;
        // A quick refusal would look like speed.
        let document: Value = serde_json::from_str(&cost.output).context("gate check printed no document")?;
        match document["rows"][0]["verdict"].as_str() {
            Some("approved") => Ok(cost),
            verdict => bail!("{} is {verdict:?}: {}", ONE.name, document["rows"][0]["reasons"]),
        }
    }
}
