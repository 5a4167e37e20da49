use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use gate_core::digest::Sha256;
use gate_core::failure::{Failure, FailureCode};
use gate_core::ports::{Mail, Outbox};
use jiff::Timestamp;

use crate::eml;

/// A folder with one `.eml` file for each key.
///
/// A file appears whole or not at all, and a key that is there is never written again: the mail that was "sent" first stays.
#[derive(Clone, Debug)]
pub struct DirectoryOutbox {
    dir: PathBuf,
    at: Timestamp,
}

impl DirectoryOutbox {
    /// An outbox in `dir`, which is made when the first mail comes. `at` is the `Date` of its mails.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, at: Timestamp) -> Self {
        Self { dir: dir.into(), at }
    }

    /// The file that a key is stored in.
    #[must_use]
    pub fn file(&self, key: &str) -> PathBuf {
        self.dir.join(file_name(key))
    }

    fn write(&self, key: &str, mail: &Mail) -> Result<(), Failure> {
        let failure = |error: &dyn std::fmt::Display| {
            let dir = self.dir.display();
            Failure::new(FailureCode::Storage, format!("the outbox {dir} cannot be written: {error}"))
        };
        let file = self.file(key);
        if file.try_exists().map_err(|error| failure(&error))? {
            return Ok(());
        }
        let bytes = eml::bytes(key, mail, self.at)?;
        std::fs::create_dir_all(&self.dir).map_err(|error| failure(&error))?;
        let mut temporary =
            tempfile::Builder::new().prefix(".mail-").tempfile_in(&self.dir).map_err(|error| failure(&error))?;
        temporary.write_all(&bytes).map_err(|error| failure(&error))?;
        temporary.as_file().sync_all().map_err(|error| failure(&error))?;
        match temporary.persist_noclobber(&file) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failure(&error.error)),
        }
    }
}

impl Outbox for DirectoryOutbox {
    /// Writes to the local disk without yielding: a mail is small.
    async fn send(&self, key: &str, mail: &Mail) -> Result<(), Failure> {
        self.write(key, mail)
    }
}

/// The most characters of a key that a file name shows.
const KEY_CHARS: usize = 100;

/// The key where it is a harmless file name; else its harmless characters and a digest that tells it from others.
fn file_name(key: &str) -> String {
    let harmless = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let unambiguous = !key.is_empty() && !key.starts_with('.') && !key.contains("--");
    if unambiguous && key.len() <= KEY_CHARS && key.chars().all(harmless) {
        return format!("{key}.eml");
    }
    let shown: String = key.chars().filter(char::is_ascii).take(KEY_CHARS).collect::<String>().to_ascii_lowercase();
    let shown: String = shown.chars().map(|c| if harmless(c) { c } else { '-' }).collect();
    format!("{}--{}.eml", shown.trim_start_matches('.'), Sha256::of(key.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn mail(body: &str) -> Mail {
        Mail {
            to: Some("ada@corp.example".to_owned()),
            subject: "Package Gate: 1 approved".to_owned(),
            body: body.to_owned(),
        }
    }

    fn at() -> Timestamp {
        "2024-11-20T10:42:00Z".parse().unwrap()
    }

    #[test]
    fn a_key_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = DirectoryOutbox::new(dir.path().join("outbox"), at());
        outbox.write("run-1-ada", &mail("first\n")).unwrap();
        outbox.write("run-1-ada", &mail("second\n")).unwrap();
        outbox.write("run-2-ada", &mail("third\n")).unwrap();
        let names: BTreeSet<_> = std::fs::read_dir(dir.path().join("outbox"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names, BTreeSet::from(["run-1-ada.eml".to_owned(), "run-2-ada.eml".to_owned()]));
        let text = std::fs::read_to_string(outbox.file("run-1-ada")).unwrap();
        assert!(text.contains("first") && !text.contains("second"), "{text}");
    }

    #[test]
    fn no_key_leaves_the_folder_or_meets_another() {
        let long = "a".repeat(KEY_CHARS + 1);
        let keys = [
            "a",
            "A",
            "a/b",
            "a-b",
            "a-b--c14cddc033f64b9d",
            "../a",
            "..",
            ".",
            "",
            "a\0",
            "é",
            ".hidden",
            &long,
            &long[1..],
        ];
        let names: BTreeSet<_> = keys.iter().map(|key| file_name(key)).collect();
        assert_eq!(names.len(), keys.len(), "{names:?}");
        for name in names {
            assert!(!name.starts_with('.') && !name.contains(['/', '\0', '\\']) && name.len() <= 130, "{name}");
            assert!(name.chars().all(|c| !c.is_ascii_uppercase()), "{name}: some file systems fold case");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_storage_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DirectoryOutbox::new(file.path().join("outbox"), at()).write("key", &mail("text\n")).unwrap_err();
        assert_eq!(error.code, FailureCode::Storage);
    }

    #[test]
    fn the_bytes_depend_on_nothing_but_the_inputs() {
        let mail = mail("naïve line\nsecond line\n");
        let first = eml::bytes("key", &mail, at()).unwrap();
        assert_eq!(first, eml::bytes("key", &mail, at()).unwrap());
        insta::assert_snapshot!(String::from_utf8(first).unwrap().replace('\r', ""));
    }
}
