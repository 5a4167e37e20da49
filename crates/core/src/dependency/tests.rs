use std::fmt::Write as _;

use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree};
use proptest::prelude::*;

use super::*;
use crate::policy::SdistPolicy;

fn targets(python: &[&str], machines: &[&str]) -> Targets {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    Targets { python: owned(python), machines: owned(machines), glibc: "2.34".to_owned(), sdist: SdistPolicy::Fallback }
}

fn read_with(line: &str, extras: &[&str]) -> Requirements {
    let extras: Vec<String> = extras.iter().map(ToString::to_string).collect();
    applicable(&[line.to_owned()], &targets(&["3.10", "3.13"], &["x86_64", "aarch64"]), &extras)
}

fn one(line: &str) -> Requirement {
    let read = read_with(line, &[]);
    assert!(read.problems.is_empty(), "{line}: {:?}", read.problems);
    assert_eq!(read.applicable.len(), 1, "{line}");
    read.applicable.into_iter().next().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn specifiers(text: &str) -> VersionSpecifiers {
    if text.is_empty() { VersionSpecifiers::empty() } else { text.parse().unwrap() }
}

#[test]
fn every_form_of_a_requirement_is_read() {
    for (line, name, wanted, extras) in [
        ("six", "six", "", &[][..]),
        ("  Six  ", "six", "", &[]),
        ("Jinja2>=3.1.2", "jinja2", ">=3.1.2", &[]),
        ("zope.interface (>=5.0,<6)", "zope-interface", ">=5.0, <6", &[]),
        ("urllib3<3,>=1.21.1", "urllib3", ">=1.21.1, <3", &[]),
        ("a>=1,", "a", ">=1", &[]),
        ("typing_extensions ~= 4.0", "typing-extensions", "~=4.0", &[]),
        ("requests[socks,Use.Chardet]==2.*", "requests", "==2.*", &["socks", "use-chardet"]),
        ("requests [ ] >= 2", "requests", ">=2", &[]),
        ("numpy!=1.24.0,>=1.20.3; python_version >= '3.8'", "numpy", ">=1.20.3, !=1.24.0", &[]),
    ] {
        let read = one(line);
        assert_eq!(read.name, name);
        assert_eq!(read.specifiers.to_string(), wanted, "{line}");
        assert_eq!(read.extras, extras);
        assert_eq!(read.raw, line);
    }
}

#[test]
fn a_line_that_cannot_be_followed_is_a_problem_and_is_not_dropped() {
    let nested = |depth| format!("a; {}os_name=='posix'{}", "(".repeat(depth), ")".repeat(depth));
    for (line, problem) in [
        ("", Problem::Name),
        (">=1", Problem::Name),
        ("-a", Problem::Name),
        ("naïve", Problem::Specifier),
        // `pep508_rs` panics on these two.
        ("foo- >=1", Problem::Name),
        ("foo[a-]", Problem::Name),
        ("foo[a", Problem::Name),
        ("foo[a,,b]", Problem::Name),
        ("a 1.0", Problem::Specifier),
        ("a >=1 <2", Problem::Specifier),
        ("a >=2.7.*", Problem::Specifier),
        ("a (>=1", Problem::Specifier),
        ("a >=1)", Problem::Specifier),
        ("a ===1.0-not-a-version", Problem::Specifier),
        ("a;", Problem::Marker),
        ("a; os_name", Problem::Marker),
        ("a; os_name=='x", Problem::Marker),
        ("a; (os_name=='x'", Problem::Marker),
        ("a; os_name=='x')", Problem::Marker),
        ("a; os_name=='x' xor os_name=='y'", Problem::Marker),
        ("a; os_name not 'x'", Problem::Marker),
        ("a; system=='x'", Problem::Marker),
        (&nested(marker::DEPTH + 1), Problem::TooDeep),
        ("a @ https://files.example/a.whl", Problem::Url),
        ("a@https://files.example/a.whl", Problem::Url),
        ("a @ https://files.example/a;x=1.whl", Problem::Url),
        // No white space before the semicolon: it belongs to the URL, so no marker excludes it.
        ("a @ https://files.example/a.whl;os_name=='nt'", Problem::Url),
        ("a @ git+ssh://git@files.example/a.git ; os_name=='posix'", Problem::Url),
    ] {
        let read = read_with(line, &[]);
        assert_eq!(read.problems, [(line.to_owned(), problem)]);
        assert!(read.applicable.is_empty(), "{line}");
    }
    one(&nested(marker::DEPTH));
    one(&nested(marker::DEPTH - 1));
}

#[test]
fn the_length_of_a_line_has_a_limit() {
    for (length, problem) in [(LINE_BYTES - 1, None), (LINE_BYTES, None), (LINE_BYTES + 1, Some(Problem::TooLong))] {
        let line = format!("a{}", " ".repeat(length - 1));
        assert_eq!(read_with(&line, &[]).problems.first().map(|(_, problem)| *problem), problem, "{length}");
    }
}

#[test]
fn markers_are_decided_for_the_targets_and_what_they_leave_open_applies() {
    for (marker, applies) in [
        ("python_version >= '3.8'", true),
        ("python_version < '3.11'", true),
        ("python_version < '3.10'", false),
        ("python_version > '3.13'", false),
        ("'3.11' > python_version", true),
        ("'3.10' > python_version", false),
        ("python_version == '3.*'", true),
        ("python_version == '2.*'", false),
        ("python_version ~= '3.12'", true),
        ("python_version in '3.9, 3.10'", true),
        ("python_version in '2.7 3.6'", false),
        ("python_version not in '3.10 3.13'", false),
        ("python_full_version < '3.11.0a7'", true),
        ("python_full_version < '3.10.0'", false),
        ("python_full_version < '3.10.1'", true),
        ("python_full_version == '3.13.7'", true),
        ("python_full_version == '3.12.7'", false),
        ("python_full_version > '3.13.4'", true),
        ("python_full_version != '3.9.7'", true),
        ("python_full_version in '3.9.7'", true),
        ("implementation_version >= '3.14'", false),
        ("os_name == 'nt'", false),
        ("os.name == 'posix'", true),
        ("sys_platform == 'win32'", false),
        ("sys_platform != 'win32'", true),
        ("'linux' in sys_platform", true),
        ("'win' in sys_platform", false),
        ("sys_platform in 'linux darwin'", true),
        ("'win' not in sys_platform", true),
        ("platform_system == 'Darwin'", false),
        ("platform_system == \"Linux\"", true),
        ("platform_machine == 'x86_64'", true),
        ("platform_machine == 'aarch64'", true),
        ("platform_machine == 'ppc64le'", false),
        ("platform_machine not in 'x86_64'", true),
        ("platform_machine not in 'x86_64 aarch64'", false),
        ("platform_python_implementation == 'CPython'", true),
        ("platform_python_implementation != 'PyPy'", true),
        ("python_implementation == 'PyPy'", false),
        ("implementation_name == 'cpython'", true),
        ("extra == 'dev'", false),
        ("'dev' == extra", false),
        ("extra != 'dev'", true),
        ("os_name == 'nt' or python_version >= '3'", true),
        ("os_name == 'nt' and python_version >= '3'", false),
        ("os_name == 'nt' and (python_version >= '3' or extra == 'dev')", false),
        ("os_name == 'posix' or os_name == 'x' and os_name == 'y'", true),
        ("(os_name == 'posix' or os_name == 'x') and os_name == 'y'", false),
        // Both must hold on one and the same target.
        ("python_version < '3.11' and python_version > '3.11'", false),
        // Left open by the targets.
        ("platform_release >= '20'", true),
        ("'microsoft' in platform_version", true),
        ("sys_platform == 'win32' and platform_release >= '10'", false),
        // Nothing that can be compared.
        ("python_version > 'three'", true),
        ("'a' == 'b'", true),
        ("os_name == sys_platform", true),
        ("os_name ~= 'posix'", true),
        ("os_name == 'nt' or platform_machine >= 'x'", true),
    ] {
        let read = read_with(&format!("a; {marker}"), &[]);
        assert!(read.problems.is_empty(), "{marker}: {:?}", read.problems);
        assert_eq!(!read.applicable.is_empty(), applies, "{marker}");
    }
}

#[test]
fn extras_are_asked_for_by_their_normal_name() {
    let line = "a; extra == 'Use_Chardet' and python_version >= '3'";
    assert!(read_with(line, &[]).applicable.is_empty());
    assert_eq!(read_with(line, &["use.chardet"]).applicable.len(), 1);
    assert!(read_with("a; extra != 'x'", &["x"]).applicable.is_empty());
}

#[test]
fn an_excluded_line_is_no_problem_however_odd_its_head() {
    assert_eq!(read_with("a @ https://files.example/a.whl ; extra == 'dev'", &[]), Requirements::default());
    assert_eq!(read_with("a 1.0; os_name == 'nt'", &[]), Requirements::default());
}

#[test]
fn equal_requirements_count_once() {
    let lines = ["a>=1".to_owned(), "A >= 1 ; os_name == 'posix'".to_owned(), "a<2".to_owned()];
    assert_eq!(applicable(&lines, &targets(&["3.10"], &["x86_64"]), &[]).applicable.len(), 2);
}

#[test]
fn versions_satisfy_specifiers_as_installers_see_it() {
    for (wanted, candidate, satisfied) in [
        ("", "1.0", true),
        ("", "1.0rc1", false),
        ("", "1.0.dev1", false),
        ("", "1.0.post1", true),
        (">=1.0", "2.0rc1", false),
        (">=1.0rc1", "1.0rc1", true),
        (">=1.0rc1", "2.0b1", true),
        ("==2.0rc1", "2.0rc1", true),
        ("!=2.0rc1", "3.0rc1", false),
        (">=1,!=2.0rc1", "3.0rc1", false),
        ("<2", "2.0", false),
        ("<2", "1.9", true),
        (">1.0", "1.0.post1", false),
        (">=1.0", "1.0.post1", true),
        ("==1.0", "1", true),
        ("==1.0", "1.0+cu118", true),
        ("==1.0+cu118", "1.0", false),
        ("<=1.0", "1.0+cu118", true),
        ("==1.2.*", "1.2", true),
        ("==1.2.*", "1.2.9", true),
        ("==1.2.*", "1.20", false),
        ("==1.2.*", "1", false),
        ("!=1.2.*", "1", true),
        ("!=1.2.*", "1.2.5", false),
        ("==1.0.*", "1", true),
        ("~=1.4.2", "1.4.9", true),
        ("~=1.4.2", "1.5", false),
        ("~=1.4", "1.9", true),
        ("~=2.2", "2", false),
        ("===1.0", "1.0", true),
        ("===1.0", "1.0.0", false),
        ("<1!2", "5.0", true),
        (">=2021.1", "1!1.0", true),
    ] {
        assert_eq!(satisfies(&version(candidate), &specifiers(wanted)), satisfied, "{candidate} for {wanted:?}");
    }
}

#[test]
fn missing_says_what_would_do_and_what_was_found() {
    let read = applicable(
        &["six".to_owned(), "Urllib3<3,>=2".to_owned(), "idna".to_owned(), "urllib3 (>=2,<3)".to_owned()],
        &targets(&["3.10"], &["x86_64"]),
        &[],
    );
    let available = [("URLLIB3", "1.26.19"), ("urllib3", "1.9"), ("idna", "3.7"), ("other", "1")]
        .map(|(n, v)| (n.to_owned(), version(v)));
    let missing = missing(&read.applicable, &available);
    let shown: Vec<_> = missing
        .iter()
        .map(|m| {
            (m.name.as_str(), m.specifiers.to_string(), m.found.iter().map(ToString::to_string).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("six", String::new(), vec![]),
            ("urllib3", ">=2, <3".to_owned(), vec!["1.9".to_owned(), "1.26.19".to_owned()]),
        ]
    );
}

#[test]
fn only_an_exact_version_is_a_pin() {
    for (line, pin) in [
        ("a==1.2.3", Some("1.2.3")),
        ("a (==1.2)", Some("1.2")),
        ("a===1.2", Some("1.2")),
        ("a!=1.1,==1.2", Some("1.2")),
        ("a==1.2rc1", Some("1.2rc1")),
        ("a==1.2.*", None),
        ("a>=1.2", None),
        ("a~=1.2", None),
        ("a", None),
    ] {
        assert_eq!(exact_pin(&one(line)), pin.map(version), "{line}");
    }
}

/// 2^n nodes as a decision diagram; here one walk.
#[test]
fn a_marker_that_defeats_decision_diagrams_costs_nothing() {
    let mut line = "a; os_name=='nt'".to_owned();
    for i in 0.. {
        let mut part = String::new();
        write!(part, " or extra=='a{i:03}' and extra=='b{i:03}'").unwrap();
        if line.len() + part.len() > LINE_BYTES {
            break;
        }
        line.push_str(&part);
    }
    assert_eq!(read_with(&line, &[]), Requirements::default());
    assert_eq!(read_with(&line, &["a300", "b300"]).applicable.len(), 1);
}

fn comparison() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let minor = prop::sample::select(vec!["2.7", "3", "3.8", "3.10", "3.11", "3.13", "4.0"]);
    prop_oneof![
        (sign, minor, any::<bool>()).prop_map(|(sign, minor, flip)| {
            if flip { format!("'{minor}'{sign} python_version") } else { format!("python_version {sign}\"{minor}\"") }
        }),
        prop::sample::select(vec![
            "os_name == 'nt'",
            "os_name != 'nt'",
            "sys_platform == 'linux'",
            "'win' in sys_platform",
            "platform_machine in 'x86_64 amd64'",
            "platform_machine not in 'x86_64 amd64'",
            "platform_system != \"Linux\"",
            "implementation_name == 'cpython'",
            "platform_python_implementation == 'PyPy'",
            "extra == 'dev'",
            "extra != 'dev'",
            "'docs' == extra",
        ])
        .prop_map(str::to_owned),
    ]
}

fn marker_text() -> impl Strategy<Value = String> {
    comparison().prop_recursive(4, 12, 3, |inner| {
        (prop::collection::vec(inner, 1..4), any::<bool>()).prop_map(|(parts, all)| {
            let joined = parts.join(if all { " and " } else { " or " });
            format!("({joined})")
        })
    })
}

fn library_environment(python: &str, machine: &str) -> MarkerEnvironment {
    MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: python,
        os_name: "posix",
        platform_machine: machine,
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: &format!("{python}.0"),
        python_version: python,
        sys_platform: "linux",
    }
    .try_into()
    .unwrap()
}

proptest! {
    /// On markers that the library decides, both decide alike.
    #[test]
    fn markers_agree_with_the_library(
        text in marker_text(),
        python in prop::sample::select(vec!["3.10", "3.11", "3.13"]),
        machine in prop::sample::select(vec!["x86_64", "aarch64"]),
        dev in any::<bool>(),
    ) {
        let tree: MarkerTree = text.parse().unwrap();
        let extras: Vec<ExtraName> = if dev { vec!["dev".parse().unwrap()] } else { Vec::new() };
        let expected = tree.evaluate(&library_environment(python, machine), &extras);
        let extras = if dev { vec!["dev".to_owned()] } else { Vec::new() };
        let line = format!("a; {text}");
        let read = applicable(&[line], &targets(&[python], &[machine]), &extras);
        prop_assert_eq!(read.problems, vec![]);
        prop_assert_eq!(!read.applicable.is_empty(), expected);
    }

    /// No line panics, and each is a requirement, a problem or excluded by its marker.
    #[test]
    fn any_line_has_an_outcome(line in "[a-c.\\- \\[\\]();@'\"<=>!~,*0-9é]{0,40}|a ?;[ a-z_'\"<=>()0-9.]{0,40}") {
        let read = read_with(&line, &[]);
        prop_assert!(read.applicable.len() + read.problems.len() <= 1);
        prop_assert!(line.contains(';') || read.applicable.len() + read.problems.len() == 1);
    }
}
