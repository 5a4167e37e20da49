use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

#[derive(Default)]
struct Made {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
    programs: BTreeMap<String, String>,
    asked: RefCell<Vec<String>>,
}

impl Machine for Made {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn read(&self, path: &Path) -> Option<String> {
        self.files.get(path).cloned()
    }
    fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        self.asked.borrow_mut().push(format!("{program} {}", arguments[0]));
        self.programs.get(program).cloned()
    }
}

impl Made {
    fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.to_owned());
        self
    }
    fn program(mut self, name: &str, output: &str) -> Self {
        self.programs.insert(name.to_owned(), output.to_owned());
        self
    }
    fn found(&self, given: Option<&str>) -> (String, String) {
        let found = find_index(given, self).unwrap();
        (found.url.to_string(), found.origin)
    }
}

fn conf(section: &str, host: &str) -> String {
    format!("[{section}]\nindex-url = https://{host}.example/simple\n")
}

/// The shape of `uv help pip install`, wrapped where uv wraps it.
const UV_HELP: &str = "
      --index <INDEX>
          All indexes take priority over the index specified by `--default-index` (which defaults
          to the usual one).
      --default-index <DEFAULT_INDEX>
          The URL of the default package index (by
          default: <https://uv.example/simple>).
      --index-url <INDEX_URL>
          (Deprecated) The URL (by default: <https://other.example/simple>).
";

/// Every source at once; each line of the test takes the first away.
#[test]
#[cfg(all(unix, not(target_os = "macos")))]
fn the_first_that_is_set_counts() {
    let mut machine = Made::default()
        .var("PIP_INDEX_URL", "https://pip-env.example/simple")
        .var("UV_DEFAULT_INDEX", "corp=https://uv-default.example/simple")
        .var("UV_INDEX_URL", "https://uv-env.example/simple")
        .var("PIP_CONFIG_FILE", "/opt/pip.conf")
        .var("VIRTUAL_ENV", "/venv")
        .var("HOME", "/home/jane")
        .file("/opt/pip.conf", &conf("global", "special"))
        .file("/venv/pip.conf", &conf("global", "venv"))
        .file("/home/jane/.config/pip/pip.conf", &conf("global", "user"))
        .file("/home/jane/.pip/pip.conf", &conf("global", "legacy"))
        .file("/etc/pip.conf", &conf("global", "etc"))
        .file("/etc/xdg/pip/pip.conf", &conf("global", "xdg"))
        .file("/home/jane/.config/uv/uv.toml", "index-url = 'https://uv-user.example/simple'")
        .file("/etc/uv/uv.toml", "index-url = 'https://uv-etc.example/simple'")
        .program("python3", "a warning\nhttps://python3.example/simple\n")
        .program("python", "https://python.example/simple\n")
        .program("uv", UV_HELP);
    let is = |machine: &Made, host: &str, origin: &str| {
        assert_eq!(machine.found(None), (format!("https://{host}.example/simple/"), origin.to_owned()));
    };
    assert_eq!(machine.found(Some("https://given.example")).1, "--index-url");
    is(&machine, "pip-env", "PIP_INDEX_URL");
    machine.variables.remove("PIP_INDEX_URL");
    is(&machine, "uv-default", "UV_DEFAULT_INDEX");
    machine.variables.remove("UV_DEFAULT_INDEX");
    is(&machine, "uv-env", "UV_INDEX_URL");
    machine.variables.remove("UV_INDEX_URL");
    for (host, path) in [
        ("special", "/opt/pip.conf"),
        ("venv", "/venv/pip.conf"),
        ("user", "/home/jane/.config/pip/pip.conf"),
        ("legacy", "/home/jane/.pip/pip.conf"),
        ("etc", "/etc/pip.conf"),
        ("xdg", "/etc/xdg/pip/pip.conf"),
        ("uv-user", "/home/jane/.config/uv/uv.toml"),
        ("uv-etc", "/etc/uv/uv.toml"),
    ] {
        is(&machine, host, path);
        machine.files.remove(Path::new(path));
    }
    assert!(machine.asked.borrow().is_empty(), "no program runs while a setting answers");
    is(&machine, "python3", "the default of pip");
    machine.programs.remove("python3");
    is(&machine, "python", "the default of pip");
    machine.programs.remove("python");
    is(&machine, "uv", "the default of uv");
    machine.programs.remove("uv");
    let failure = find_index(None, &machine).unwrap_err();
    assert_eq!(failure.code, FailureCode::BadIndex);
    assert!(failure.message.contains("--index-url"), "{failure}");
}

#[test]
fn a_project_cannot_choose_the_index() {
    let machine = Made::default()
        .file("uv.toml", "index-url = 'https://evil.example/simple'")
        .file("pyproject.toml", "[tool.uv]\nindex-url = 'https://evil.example/simple'")
        .file("pip.conf", &conf("global", "evil"));
    assert!(find_index(None, &machine).is_err());
}

#[test]
fn pip_configuration_is_read_as_pip_reads_it() {
    for (text, found) in [
        ("[global]\nindex-url = https://a.example", Some("https://a.example")),
        ("\u{feff}[global]\r\nINDEX_URL: https://a.example\r\n", Some("https://a.example")),
        ("[global]\nindex-url=https://a.example\n[install]\nindex-url=https://b.example", Some("https://b.example")),
        ("[install]\nindex-url=https://b.example\n[global]\nindex-url=https://a.example", Some("https://b.example")),
        ("[global]\nindex-url=https://u:p=w@a.example/x", Some("https://u:p=w@a.example/x")),
        ("[global]\n# index-url = https://a.example\n;index-url=x", None),
        ("[global]\nextra-index-url =\n    https://x.example\n    index-url = https://y.example", None),
        ("[search]\nindex-url = https://a.example", None),
        ("index-url = https://a.example", None),
        ("[global]\nindex-url =", None),
        ("", None),
    ] {
        assert_eq!(pip_index_url(text).as_deref(), found, "{text:?}");
    }
}

#[test]
fn a_null_file_switches_pips_files_off() {
    let machine = Made::default().var("PIP_CONFIG_FILE", "/dev/null").file("/etc/pip.conf", &conf("global", "etc"));
    assert!(find_index(None, &machine).is_err());
}

#[test]
fn uv_configuration_names_a_default_index() {
    for (text, found) in [
        ("index-url = 'https://a.example'", Some("https://a.example")),
        ("[pip]\nindex-url = 'https://a.example'", Some("https://a.example")),
        (
            "[[index]]\nurl='https://x.example'\n[[index]]\nurl='https://b.example'\ndefault=true",
            Some("https://b.example"),
        ),
        ("index-url='https://a.example'\n[[index]]\nurl='https://b.example'\ndefault=true", Some("https://b.example")),
        ("[[index]]\nurl='https://x.example'", None),
        ("not toml [", None),
    ] {
        assert_eq!(uv_index_url(text).as_deref(), found, "{text}");
    }
}

#[test]
fn a_bad_address_is_told_without_its_password() {
    for text in
        ["ftp://jane:s3cr3t@h.example/simple", "https://jane:s3cr3t@h.example/simple?x", "jane:s3cr3t@h.example"]
    {
        let failure = find_index(None, &Made::default().var("PIP_INDEX_URL", text)).unwrap_err();
        assert!(!failure.message.contains("s3cr3t"), "{failure}");
        assert!(failure.message.contains("PIP_INDEX_URL"), "{failure}");
    }
    let machine = Made::default().var("PIP_INDEX_URL", "https://jane:s3cr3t@h.example/simple?");
    assert!(!format!("{:?}", find_index(None, &machine)).contains("s3cr3t"));
}

#[test]
#[cfg(unix)]
fn programs_run_without_pythons_variables_and_give_up_in_time() {
    let output = ThisMachine.output("sh", &["-c", "pwd; env | grep -c '^PYTHON'; true"]);
    assert_eq!(output.as_deref(), Some("/\n0\n"));
    assert_eq!(ThisMachine.output("sh", &["-c", "echo x; exit 1"]), None);
    assert_eq!(ThisMachine.output("no-such-program-here", &[]), None);
}
