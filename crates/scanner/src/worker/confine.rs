//! Rights that the child gives up (Landlock, Linux 5.13 and later): it has its artifact, and needs nothing else of the machine.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

/// The interface that is asked for; an older kernel gives what it knows of it.
const INTERFACE: ABI = ABI::V6;

/// Takes from this thread, and from those that it will start, the right to open any file but a temporary one that it makes, to
/// start a program, and to connect to or wait on any TCP port.
///
/// A second wall: nothing that the scanner does needs these rights, and no code of a package is ever run. So a kernel that
/// cannot do it is no reason not to scan; says what the kernel did.
pub(super) fn this_thread() -> RulesetStatus {
    restrict().unwrap_or(RulesetStatus::NotEnforced)
}

fn restrict() -> Result<RulesetStatus, RulesetError> {
    // The spool of a nested archive is made, written and read, and has no name.
    let spool: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::MakeReg;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(INTERFACE))?
        .handle_access(AccessNet::from_all(INTERFACE))?
        .create()?;
    if let Ok(folder) = PathFd::new(std::env::temp_dir()) {
        rules = rules.add_rule(PathBeneath::new(folder, spool))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_confined_thread_can_spool_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let confined = std::thread::spawn(move || {
            if this_thread() == RulesetStatus::NotEnforced {
                return; // this kernel has no Landlock
            }
            let mut spool = tempfile::tempfile().unwrap();
            spool.write_all(b"x").unwrap();
            for path in ["/etc/passwd", "/proc/self/environ", "/bin/true"] {
                assert_eq!(File::open(path).unwrap_err().kind(), ErrorKind::PermissionDenied, "{path}");
            }
            let run = std::process::Command::new("/bin/true").status();
            assert_eq!(run.unwrap_err().kind(), ErrorKind::PermissionDenied);
            let connected = TcpStream::connect(("127.0.0.1", port));
            assert!(connected.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied));
        });
        confined.join().unwrap();
        assert!(File::open("/etc/passwd").is_ok(), "other threads keep their rights");
    }
}
