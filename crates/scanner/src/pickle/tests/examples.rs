//! Every rule's own examples.

use super::assembler::assemble;
use super::{CTX, analysed, rules};
use crate::pickle::rules::TABLES;
use crate::pickle::{keras, looks_like_pickle};

fn keras_config(layer: &str, function: &str) -> String {
    format!(
        r#"{{"module": "keras.layers", "class_name": "{layer}", "config": {{"name": "l", "function": {function}}}}}"#
    )
}

/// The rules that an example fires.
fn fired(example: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let code = format!("4wEAAAAAAAAA{}", "AAAB".repeat(20));
    match example {
        "keras-lambda" => {
            let config =
                keras_config("Lambda", &format!(r#"{{"class_name": "__lambda__", "config": {{"code": "{code}\n"}}}}"#));
            keras::analyse(&mut config.as_bytes(), &CTX, &mut findings).unwrap();
        }
        "keras-dense" => {
            let config = keras_config("Dense", r#""relu""#);
            keras::analyse(&mut config.as_bytes(), &CTX, &mut findings).unwrap();
        }
        program => {
            let bytes = assemble(program);
            findings = analysed(&bytes).1;
            if !findings.is_empty() {
                assert!(looks_like_pickle(&bytes, "data.txt"), "the classifier passes over: {program}");
            }
        }
    }
    rules(&findings).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_rule_fires_and_stays_silent_on_its_examples() {
    let tables = TABLES.as_ref().unwrap();
    assert!(tables.rules.len() >= 9);
    for (id, rule) in &tables.rules {
        assert!(!rule.fire.is_empty() && !rule.silent.is_empty(), "{id} lacks an example");
        for example in &rule.fire {
            assert!(fired(example).contains(id), "{id} does not fire on: {example}, but {:?}", fired(example));
        }
        for example in &rule.silent {
            assert!(!fired(example).contains(id), "{id} fires on: {example}");
        }
    }
}

#[test]
fn dangerous_globals_of_the_published_lists_are_all_found() {
    for (module, name) in [
        ("os", "system"),
        ("os.path", "os"),
        ("posix", "popen"),
        ("nt", "system"),
        ("subprocess", "check_output"),
        ("builtins", "eval"),
        ("builtins", "__import__"),
        ("__builtin__", "execfile"),
        ("importlib", "import_module"),
        ("runpy", "_run_code"),
        ("sys", "modules"),
        ("socket", "create_connection"),
        ("pty", "spawn"),
        ("shutil", "rmtree"),
        ("webbrowser", "open"),
        ("ctypes", "CDLL"),
        ("operator", "attrgetter"),
        ("operator", "methodcaller"),
        ("functools", "partial"),
        ("code", "InteractiveInterpreter.runcode"),
        ("pip", "main"),
        ("pip._internal", "main"),
        ("bdb", "Bdb.run"),
        ("asyncio.unix_events", "_UnixSubprocessTransport._start"),
        ("torch.hub", "load"),
        ("numpy.f2py.crackfortran", "getlincoef"),
        ("numpy.testing._private.utils", "runstring"),
        ("timeit", "timeit"),
        ("cProfile", "run"),
        ("pydoc", "locate"),
        ("pkgutil", "resolve_name"),
        ("uuid", "_get_command_stdout"),
        ("imaplib", "IMAP4_stream"),
        ("_io", "FileIO"),
        ("logging", "FileHandler"),
        ("urllib.request", "urlopen"),
        ("torch.utils.collect_env", "run"),
        ("torch._inductor.codecache", "compile_file"),
        ("commands", "getoutput"),
        ("ensurepip", "_run_pip"),
        ("sklearn.utils.fixes", "os.system"),
        ("numpy", "os"),
    ] {
        let program = format!("proto 4; short {module}; short {name}; stack-global; short x; tuple1; reduce; stop");
        let (_, findings) = analysed(&assemble(&program));
        assert_eq!(rules(&findings), ["pickle-unsafe-global"], "{module}.{name}");
    }
}

#[test]
fn a_partial_is_judged_by_what_it_calls() {
    const PARTIAL: &str = "proto 4; global functools partial; global";
    let found = |wrapped: &str, rest: &str| fired(&format!("{PARTIAL} {wrapped}; tuple1; reduce; {rest}; stop"));
    let new_block = "pandas.core.internals.blocks new_block";
    // As pandas 1.3 writes it: made, given its state, called.
    let state = |function: &str| format!("mark; global {function}; empty-tuple; empty-dict; none; tuple; build");
    let call = "empty-tuple; reduce";
    assert_eq!(found(new_block, &format!("{}; {call}", state(new_block))), [""; 0]);
    assert!(found("os system", call).contains(&"pickle-unsafe-global".to_owned()));
    assert!(found("some.package function", "none; pop").contains(&"pickle-unlisted-global".to_owned()));
    assert!(!found(new_block, &format!("{}; {call}", state("collections OrderedDict"))).is_empty());
    assert!(!found(new_block, &format!("none; build; {call}")).is_empty());
    let two = format!("{PARTIAL} {new_block}; string id; tuple2; reduce; stop");
    assert!(fired(&two).contains(&"pickle-unsafe-global".to_owned()));
}
