//! Pickles from words: `proto 2; global os system; mark; string id; tuple; reduce; stop`.

/// The bytes of a program of these words. Panics on a word that it does not know.
pub(super) fn assemble(program: &str) -> Vec<u8> {
    program.split(';').flat_map(|line| op(line.trim())).collect()
}

fn op(line: &str) -> Vec<u8> {
    let mut words = line.split(' ');
    let name = words.next().unwrap();
    let rest: Vec<&str> = words.collect();
    let text = rest.join(" ");
    let number = || text.parse::<u32>().unwrap_or_else(|_| panic!("{line}"));
    let code = |code: u8| vec![code];
    match name {
        "proto" => vec![0x80, number() as u8],
        "frame" => [&[0x95][..], &u64::from(number()).to_le_bytes()].concat(),
        "stop" => code(b'.'),
        "mark" => code(b'('),
        "pop" => code(b'0'),
        "pop-mark" => code(b'1'),
        "dup" => code(b'2'),
        "none" => code(b'N'),
        "reduce" => code(b'R'),
        "build" => code(b'b'),
        "append" => code(b'a'),
        "appends" => code(b'e'),
        "setitem" => code(b's'),
        "setitems" => code(b'u'),
        "tuple" => code(b't'),
        "empty-tuple" => code(b')'),
        "tuple1" => code(0x85),
        "tuple2" => code(0x86),
        "tuple3" => code(0x87),
        "empty-list" => code(b']'),
        "empty-dict" => code(b'}'),
        "dict" => code(b'd'),
        "list" => code(b'l'),
        "obj" => code(b'o'),
        "newobj" => code(0x81),
        "newobj-ex" => code(0x92),
        "stack-global" => code(0x93),
        "memoize" => code(0x94),
        "false" => code(0x89),
        "true" => code(0x88),
        "get" => vec![b'h', number() as u8],
        "put" => vec![b'q', number() as u8],
        "put-line" => format!("p{text}\n").into_bytes(),
        "get-line" => format!("g{text}\n").into_bytes(),
        "long-put" => [&b"r"[..], &number().to_le_bytes()].concat(),
        "long-get" => [&b"j"[..], &number().to_le_bytes()].concat(),
        "ext" => vec![0x82, number() as u8],
        "persistent" => format!("P{text}\n").into_bytes(),
        "int" => [&b"J"[..], &number().to_le_bytes()].concat(),
        "string" => format!("S'{text}'\n").into_bytes(),
        "unicode" => format!("V{text}\n").into_bytes(),
        "short" => [&[0x8c, text.len() as u8][..], text.as_bytes()].concat(),
        "binunicode" => [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat(),
        // So many bytes of 0xff.
        "bytes" => [&b"B"[..], &number().to_le_bytes(), &vec![0xff; number() as usize]].concat(),
        // So many letters.
        "letters" => [&b"X"[..], &number().to_le_bytes(), &vec![b'a'; number() as usize]].concat(),
        "global" => format!("c{}\n{}\n", rest[0], rest[1]).into_bytes(),
        "inst" => format!("i{}\n{}\n", rest[0], rest[1]).into_bytes(),
        // Bytes that are no opcode.
        "junk" => vec![0xff; number() as usize],
        other => panic!("no such word: {other}"),
    }
}
