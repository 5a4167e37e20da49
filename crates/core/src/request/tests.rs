use super::*;

const SHA: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn only(text: impl AsRef<[u8]>) -> Row {
    let rows = parse(text.as_ref()).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

fn code(text: impl AsRef<[u8]>) -> (&'static str, usize) {
    let problem = only(text).wanted.unwrap_err();
    assert!(PROBLEM_CODES.contains(&problem.code));
    (problem.code, problem.column)
}

fn verdicts(text: &str) -> Vec<&'static str> {
    let rows = parse(text.as_bytes()).unwrap();
    let standings = standings(&rows, |_| false);
    let word = |standing: &Standing| match standing {
        Standing::Runs { .. } => "runs",
        Standing::SameAs(_) => "same",
        Standing::Conflicts(_) => "conflicts",
        Standing::Invalid(_) => "invalid",
    };
    standings.iter().map(word).collect()
}

#[test]
fn the_same_request_in_many_spellings() {
    let plain = only("six,pkg:pypi/six@1.16.0").wanted.unwrap();
    for text in [
        "\u{feff}six,pkg:pypi/six@1.16.0",
        "name,url\nsix,pkg:pypi/six@1.16.0",
        "name,source\r\nsix,pkg:pypi/six@1.16.0\r\n",
        "Source,Name\npkg:pypi/six@1.16.0,six",
        "\n\n  \nsix,pkg:pypi/six@1.16.0\n\n",
        "six,pkg:pypi/six@1.16.0\r",
        "\"six\",\"pkg:pypi/six@1.16.0\"",
        " six , pkg:pypi/six@1.16.0 ,,",
        "six,pkg:pypi/six@1.16.0,\"\",",
    ] {
        assert_eq!(only(text).wanted.as_ref(), Ok(&plain), "{text:?}");
    }
}

#[test]
fn each_fault_names_its_column() {
    for (text, expected) in [
        ("../../x,pkg:pypi/x@1", ("bad-name", 1)),
        (",pkg:pypi/x@1", ("bad-name", 1)),
        ("six", ("no-source", 2)),
        ("six;pkg:pypi/six@1.16.0", ("bad-name", 1)),
        ("six,", ("no-source", 2)),
        ("six,http://h.example/a.zip", ("bad-source", 2)),
        ("six,https://u:p@h.example/a.zip", ("bad-source", 2)),
        ("six,pkg:pypi/seven@1", ("name-mismatch", 2)),
        ("six,pkg:pypi/six@1,zz", ("bad-sha256", 3)),
        ("six,pkg:pypi/six@1,,nobody", ("bad-requester", 4)),
        ("six,pkg:pypi/six@1,,a@b.example\u{202e}", ("bad-requester", 4)),
        ("six,pkg:pypi/six@1,,,", ("too-many-columns", 5)),
        ("name,url\nsix,pkg:pypi/six@1,x", ("too-many-columns", 3)),
        ("six,\"pkg:pypi/six@1", ("bad-quoting", 0)),
    ] {
        assert_eq!(code(text), expected, "{text:?}");
    }
    assert_eq!(code(b"s\xefx,pkg:pypi/six@1"), ("not-utf8", 1));
}

#[test]
fn a_bad_row_touches_no_other() {
    let text = b"a,pkg:pypi/a@1\n\"b,pkg:pypi/b@1\nc\xff,pkg:pypi/c@1\nd,x,y,z,w,v\ne,pkg:pypi/e@1".as_slice();
    let rows = parse(text).unwrap();
    let good: Vec<_> = rows.iter().filter(|row| row.wanted.is_ok()).map(|row| (row.line, row.name.as_str())).collect();
    assert_eq!(good, [(1, "a"), (5, "e")]);
    assert_eq!(rows.len(), 5);
}

#[test]
fn limits_hold_exactly() {
    let cell = |bytes: usize| format!("six,https://h.example/{}", "a".repeat(bytes - "https://h.example/".len()));
    assert!(only(cell(MAX_CELL_BYTES - 1)).wanted.is_ok());
    assert!(only(cell(MAX_CELL_BYTES)).wanted.is_ok());
    assert_eq!(code(cell(MAX_CELL_BYTES + 1)), ("cell-too-long", 2));

    let rows = |count: usize| "six,pkg:pypi/six@1\n".repeat(count);
    assert_eq!(parse(rows(MAX_ROWS - 1).as_bytes()).unwrap().len(), MAX_ROWS - 1);
    assert_eq!(parse(rows(MAX_ROWS).as_bytes()).unwrap().len(), MAX_ROWS);
    assert_eq!(parse(rows(MAX_ROWS + 1).as_bytes()), Err(Unreadable::TooManyRows(MAX_ROWS + 1)));
    assert_eq!(parse(rows(100_000).as_bytes()), Err(Unreadable::TooManyRows(100_000)));

    assert!(parse(&vec![b'\n'; MAX_BYTES]).is_ok());
    assert_eq!(parse(&vec![b'\n'; MAX_BYTES + 1]), Err(Unreadable::TooLarge(MAX_BYTES + 1)));
}

#[test]
fn other_encodings_are_named() {
    for text in [b"\xff\xfes\0i\0x\0".as_slice(), b"\xfe\xff\0s\0i", b"s\0i\0x\0,\0", b"\0s\0i\0x\0,"] {
        assert_eq!(parse(text), Err(Unreadable::Utf16), "{text:?}");
    }
}

#[test]
fn unknown_and_repeated_header_columns_are_named() {
    for header in ["name,url,when", "name,url,source", "name,url,\u{202e}"] {
        assert!(matches!(parse(header.as_bytes()), Err(Unreadable::Header { line: 1, .. })), "{header}");
    }
}

#[test]
fn what_is_shown_is_escaped_and_carries_no_password() {
    let row = only("si\u{202e}x,https://user:hunter2@h.example/a.zip");
    assert_eq!(row.name, "si\\u{202e}x");
    assert_eq!(row.source, "https:***@h.example/a.zip");
    for text in [
        "six,https:/user:hunter2@h.example/x",
        "six,https:\\\\user:hunter2@h.example/x",
        "six,https://user:hun/hunter2@h.example/x",
        "six,https://user:hun#?hunter2@h.example/x",
        "six,//user:hunter2@h.example/x",
        "https://user:hunter2@h.example/x,six",
    ] {
        assert!(!format!("{:?}", only(text)).contains("hunter2"), "{text}");
    }
    let long = format!("six,https://{}:hunter2@h.example/x", "u".repeat(1000));
    assert!(!format!("{:?}", only(&long)).contains("hunter2"));
}

#[test]
fn a_long_source_is_shown_whole() {
    let source = format!("https://h.example/a.zip?token={}", "x".repeat(1000));
    assert_eq!(only(format!("six,{source}")).source, source);
}

#[test]
fn identical_rows_are_one_request_and_all_are_told() {
    let text = format!("six,pkg:pypi/six@1,,a@b.example\nSIX,pkg:pypi/Six@1.0\nsix,pkg:pypi/six@1,{SHA},c@d.example");
    let rows = parse(text.as_bytes()).unwrap();
    let standings = standings(&rows, |_| false);
    let Standing::Runs { wanted, told } = &standings[0] else { panic!("{standings:?}") };
    assert_eq!(wanted.sha256.unwrap().to_string(), SHA);
    assert_eq!(told.iter().map(String::as_str).collect::<Vec<_>>(), ["a@b.example", "c@d.example"]);
    assert_eq!(standings[2], Standing::SameAs(1));
}

#[test]
fn rows_that_cannot_both_hold_conflict_in_any_order() {
    for (text, expected) in [
        ("a,pkg:pypi/a@1\na,pkg:pypi/a@2", ["runs", "runs"]),
        ("a,pkg:pypi/a@1\nA,https://h.example/a-1.0-py3-none-any.whl", ["conflicts", "conflicts"]),
        ("a,https://h.example/x.zip\na,https://h.example/y.zip", ["conflicts", "conflicts"]),
        ("a,https://h.example/x.zip\na,pkg:pypi/a@1", ["runs", "runs"]),
    ] {
        assert_eq!(verdicts(text), expected, "{text}");
        let reversed: Vec<_> = text.lines().rev().collect();
        assert_eq!(verdicts(&reversed.join("\n")), expected, "{text}, reversed");
    }
    let other = SHA.replace('0', "1");
    assert_eq!(verdicts(&format!("a,pkg:pypi/a@1,{SHA}\na,pkg:pypi/a@1,{other}")), ["conflicts", "conflicts"]);
}

#[test]
fn a_row_already_decided_stands_in_a_conflict() {
    let rows = parse(b"a,https://h.example/x.zip\na,https://h.example/y.zip").unwrap();
    let standings = standings(&rows, |wanted| wanted.source.to_string().ends_with("y.zip"));
    assert_eq!(standings[0], Standing::Conflicts(vec![2]));
    assert!(matches!(standings[1], Standing::Runs { .. }));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        if let Ok(rows) = parse(&bytes) {
            let standings = standings(&rows, |_| false);
            proptest::prop_assert_eq!(rows.len(), standings.len());
            for row in rows {
                proptest::prop_assert!(!row.name.contains(crate::text::is_deceptive));
                proptest::prop_assert!(!row.source.contains(crate::text::is_deceptive));
            }
        }
    }
}
