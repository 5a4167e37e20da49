//! What a file is, from its first bytes, in words for a person: `an HTML page`, `a PDF`.

/// How many of a file's first bytes [`describe`] needs to tell what it can: the `ustar` of a tar archive ends at 262.
pub const PREFIX_BYTES: usize = 512;

/// Magic numbers: offset, bytes, name. The first match wins.
///
/// Source: the formats' own specifications, and `file(1)`'s magic database.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"PK\x07\x08", "a part of a split zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x1f\x9d", "a compress archive"),
    (0, b"!<arch>\n", "an ar archive or Debian package"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"\x7fELF", "an ELF program"),
    (0, b"MZ", "a Windows program"),
    (0, b"\xcf\xfa\xed\xfe", "a macOS program"),
    (0, b"\xce\xfa\xed\xfe", "a macOS program"),
    (0, b"\xca\xfe\xba\xbe", "a macOS program or Java class"),
    (0, b"\0asm", "a WebAssembly module"),
    (0, b"%PDF-", "a PDF"),
    (0, b"\x89PNG\r\n\x1a\n", "an image"),
    (0, b"GIF8", "an image"),
    (0, b"\xff\xd8\xff", "an image"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document or installer"),
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file it stands for"),
    (0, b"#!", "a script"),
];

/// What a file that begins with these bytes is. Give it [`PREFIX_BYTES`], or the whole file if it is shorter.
///
/// For messages only: nothing may be allowed because of what this says.
#[must_use]
pub fn describe(prefix: &[u8]) -> &'static str {
    if prefix.is_empty() {
        return "an empty file";
    }
    let starts =
        |&&(offset, magic, _): &&(usize, &[u8], &str)| prefix.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, name)) = MAGIC.iter().find(starts) {
        return name;
    }
    let text = prefix.strip_prefix(b"\xef\xbb\xbf").unwrap_or(prefix).trim_ascii_start();
    let begins = |words: &[&str]| {
        words.iter().any(|word| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes())))
    };
    if begins(&["<!doctype html", "<html", "<head", "<body"]) || (begins(&["<!--"]) && contains(text, b"<html")) {
        "an HTML page"
    } else if begins(&["<?xml", "<svg", "<rss"]) {
        "an XML document"
    } else if text.is_empty() {
        "nothing but blanks"
    } else if !is_text(prefix) {
        "data of an unknown kind"
    } else if matches!(text[0], b'{' | b'[') {
        "a JSON document"
    } else {
        "plain text"
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

fn is_text(bytes: &[u8]) -> bool {
    let whole = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // The prefix may end within a character.
        Err(error) => error.error_len().is_none(),
    };
    whole && !bytes.iter().any(|&b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_what_they_are() {
        let mut tar = vec![0; PREFIX_BYTES];
        tar[257..262].copy_from_slice(b"ustar");
        for (prefix, name) in [
            (&b""[..], "an empty file"),
            (b" \n\t", "nothing but blanks"),
            (b"<!DOCTYPE html><title>Sign in</title>", "an HTML page"),
            (b"\xef\xbb\xbf\n <HTML lang=en>", "an HTML page"),
            (b"<!-- saved --><html>", "an HTML page"),
            (b"<!-- a comment -->", "plain text"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", "an XML document"),
            (b"{\"message\": \"Not Found\"}", "a JSON document"),
            (b"404: Not Found", "plain text"),
            ("naïve".as_bytes(), "plain text"),
            (&"naï".as_bytes()[..3], "plain text"),
            (b"%PDF-1.7", "a PDF"),
            (b"PK\x03\x04\x14", "a zip archive"),
            (b"PK\x05\x06\0\0", "an empty zip archive"),
            (b"\x1f\x8b\x08", "a gzip archive"),
            (&tar, "a tar archive"),
            (b"\x7fELF\x02", "an ELF program"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer, not the file it stands for"),
            (b"\x00\x01\x02", "data of an unknown kind"),
            (b"caf\xe9 au lait", "data of an unknown kind"),
        ] {
            assert_eq!(describe(prefix), name, "{}", prefix.escape_ascii());
        }
    }
}
