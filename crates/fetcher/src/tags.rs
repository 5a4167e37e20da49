//! Which wheels run on a target, and which of two an installer prefers.
//!
//! Source: the order of `packaging.tags.sys_tags` for CPython on Linux with glibc, which pip follows.

use gate_core::policy::Targets;

/// One interpreter on one machine: CPython, Linux, glibc.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// The minor version of CPython 3.
    pub(crate) minor: u32,
    /// As in platform tags, `x86_64`.
    pub(crate) machine: String,
    /// The minor version of glibc 2.
    pub(crate) glibc: u32,
}

/// How far down an installer's list a tag is; the lower, the better.
pub(crate) type Rank = (u32, u32);

/// Every target of a policy; a version that is not CPython 3 or glibc 2 gives none.
pub(crate) fn targets(policy: &Targets) -> Vec<Target> {
    let minor = |text: &str, major: &str| -> Option<u32> { text.strip_prefix(major)?.strip_prefix('.')?.parse().ok() };
    let Some(glibc) = minor(&policy.glibc, "2") else { return Vec::new() };
    let mut targets: Vec<_> = policy
        .python
        .iter()
        .filter_map(|python| minor(python, "3"))
        .flat_map(|minor| policy.machines.iter().map(move |machine| Target { minor, machine: machine.clone(), glibc }))
        .collect();
    targets.sort();
    targets.dedup();
    targets
}

impl Target {
    /// The rank of the best of a wheel's tags; none when the wheel does not run here.
    pub(crate) fn rank(&self, tags: &[(String, String, String)]) -> Option<Rank> {
        tags.iter().filter_map(|(python, abi, platform)| self.rank_one(python, abi, platform)).min()
    }

    fn rank_one(&self, python: &str, abi: &str, platform: &str) -> Option<Rank> {
        let interpreter = python.strip_prefix("cp3").and_then(plain_number);
        // Interpreter range of `packaging`: py3N, py3, then py3(N-1) down to py30.
        let generic = match python.strip_prefix("py3") {
            Some("") => Some(1),
            Some(minor) => {
                plain_number(minor).filter(|minor| *minor <= self.minor).map(|minor| match self.minor - minor {
                    0 => 0,
                    older => older + 1,
                })
            }
            None => None,
        };
        let abi_here = if self.minor < 8 { format!("cp3{}m", self.minor) } else { format!("cp3{}", self.minor) };
        // Each class of the list comes before the next whatever the platform.
        const OWN_ABI: u32 = 0;
        const STABLE_ABI: u32 = 1;
        const OWN_NO_ABI: u32 = 2;
        const OLDER_STABLE_ABI: u32 = 100;
        const GENERIC: u32 = 200;
        const OWN_ANY: u32 = 300;
        const GENERIC_ANY: u32 = 400;
        if platform == "any" {
            return match (interpreter, generic, abi) {
                (Some(minor), _, "none") if minor == self.minor => Some((OWN_ANY, 0)),
                (_, Some(generic), "none") => Some((GENERIC_ANY + generic, 0)),
                _ => None,
            };
        }
        let platform = self.platform_rank(platform)?;
        let class = match (interpreter, generic, abi) {
            (Some(minor), _, abi) if minor == self.minor && abi == abi_here => OWN_ABI,
            (Some(minor), _, "abi3") if minor == self.minor => STABLE_ABI,
            (Some(minor), _, "none") if minor == self.minor => OWN_NO_ABI,
            // The stable ABI begins with CPython 3.2 (PEP 384).
            (Some(minor), _, "abi3") if (2..self.minor).contains(&minor) => OLDER_STABLE_ABI + (self.minor - minor),
            (_, Some(generic), "none") => GENERIC + generic,
            _ => return None,
        };
        Some((class, platform))
    }

    /// The newest glibc that is not newer than the target's comes first, plain `linux_` last (PEP 513, 571, 599, 600).
    fn platform_rank(&self, platform: &str) -> Option<u32> {
        const PLAIN_LINUX: u32 = 10_000;
        let rest = platform.strip_suffix(self.machine.as_str())?.strip_suffix('_')?;
        let glibc = match rest {
            "linux" => return Some(PLAIN_LINUX),
            "manylinux1" => 5,
            "manylinux2010" => 12,
            "manylinux2014" => 17,
            _ => plain_number(rest.strip_prefix("manylinux_2_")?)?,
        };
        // manylinux1 and 2010 exist for x86 alone; other machines begin with glibc 2.17.
        let oldest = if matches!(self.machine.as_str(), "x86_64" | "i686") { 5 } else { 17 };
        (oldest..=self.glibc).contains(&glibc).then(|| self.glibc - glibc)
    }
}

/// A number as tags write it: no sign, no leading zero.
fn plain_number(text: &str) -> Option<u32> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { minor: 12, machine: "x86_64".to_owned(), glibc: 34 }
    }

    fn rank(tag: &str) -> Option<Rank> {
        let [python, abi, platform] = tag.split('-').collect::<Vec<_>>()[..] else { panic!("{tag}") };
        target().rank(&[(python.to_owned(), abi.to_owned(), platform.to_owned())])
    }

    #[test]
    fn tags_rank_as_an_installer_ranks_them() {
        let best_first = [
            "cp312-cp312-manylinux_2_34_x86_64",
            "cp312-cp312-manylinux_2_28_x86_64",
            "cp312-cp312-manylinux2014_x86_64",
            "cp312-cp312-manylinux_2_12_x86_64",
            "cp312-cp312-manylinux1_x86_64",
            "cp312-cp312-linux_x86_64",
            "cp312-abi3-manylinux_2_34_x86_64",
            "cp312-none-manylinux_2_34_x86_64",
            "cp311-abi3-manylinux_2_34_x86_64",
            "cp311-abi3-linux_x86_64",
            "cp310-abi3-manylinux_2_34_x86_64",
            "cp32-abi3-manylinux2014_x86_64",
            "py312-none-manylinux2014_x86_64",
            "py3-none-manylinux_2_34_x86_64",
            "py3-none-linux_x86_64",
            "py311-none-manylinux_2_34_x86_64",
            "py30-none-manylinux_2_34_x86_64",
            "cp312-none-any",
            "py312-none-any",
            "py3-none-any",
            "py311-none-any",
            "py30-none-any",
        ];
        let ranks: Vec<_> = best_first.iter().map(|tag| rank(tag).unwrap_or_else(|| panic!("{tag}"))).collect();
        assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
        assert_eq!(rank("cp312-cp312-manylinux2014_x86_64"), rank("cp312-cp312-manylinux_2_17_x86_64"));
        assert_eq!(rank("cp312-cp312-manylinux2010_x86_64"), rank("cp312-cp312-manylinux_2_12_x86_64"));
        assert_eq!(rank("cp312-cp312-manylinux1_x86_64"), rank("cp312-cp312-manylinux_2_5_x86_64"));
    }

    #[test]
    fn what_does_not_run_on_the_target_has_no_rank() {
        for tag in [
            "cp312-cp312-manylinux_2_35_x86_64",
            "cp312-cp312-manylinux_2_4_x86_64",
            "cp312-cp312-manylinux_3_1_x86_64",
            "cp312-cp312-manylinux_2_017_x86_64",
            "cp312-cp312-manylinux2014_aarch64",
            "cp312-cp312-musllinux_1_1_x86_64",
            "cp312-cp312-macosx_11_0_x86_64",
            "cp312-cp312-win_amd64",
            "cp312-cp312-any",
            "cp312-cp312t-manylinux2014_x86_64",
            "cp312-cp311-manylinux2014_x86_64",
            "cp311-cp311-manylinux2014_x86_64",
            "cp313-abi3-manylinux2014_x86_64",
            "cp31-abi3-manylinux2014_x86_64",
            "cp27-abi3-manylinux2014_x86_64",
            "py313-none-any",
            "py2-none-any",
            "cp311-none-any",
            "py3-abi3-any",
            "py3-none-",
            "pp310-pypy310_pp73-manylinux2014_x86_64",
            "cp3-none-any",
        ] {
            assert_eq!(rank(tag), None, "{tag}");
        }
    }

    #[test]
    fn old_manylinux_is_for_x86_alone() {
        let arm = Target { machine: "aarch64".to_owned(), ..target() };
        assert_eq!(arm.platform_rank("manylinux2010_aarch64"), None);
        assert_eq!(arm.platform_rank("manylinux_2_16_aarch64"), None);
        assert_eq!(arm.platform_rank("manylinux_2_17_aarch64"), Some(17));
        assert_eq!(arm.platform_rank("manylinux_2_34_aarch64"), Some(0));
        assert_eq!(arm.platform_rank("manylinux_2_35_aarch64"), None);
    }
}
