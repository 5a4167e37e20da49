//! Git's ids of contents.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Whether these bytes have this id: SHA-1 of `blob LENGTH\0` and the bytes, or SHA-256 where the repository uses it
/// (gitformat-pack, "git hash-object").
pub(super) fn has_id(bytes: &[u8], id: &str) -> bool {
    let header = format!("blob {}\0", bytes.len());
    match id.len() {
        40 => hex(&Sha1::new().chain_update(&header).chain_update(bytes).finalize()) == id,
        64 => hex(&Sha256::new().chain_update(&header).chain_update(bytes).finalize()) == id,
        _ => false,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_the_ids_that_git_gives_them() {
        for (bytes, id) in [
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            ("hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
            ("hello\n", "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"),
        ] {
            assert!(has_id(bytes.as_bytes(), id), "{id}");
            assert!(!has_id(format!("{bytes}x").as_bytes(), id), "{id}");
            assert!(!has_id(bytes.as_bytes(), &id.to_uppercase()));
            assert!(!has_id(bytes.as_bytes(), &id[1..]));
        }
        assert!(!has_id(b"", ""));
    }
}
