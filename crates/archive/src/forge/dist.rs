//! Python distributions: wheels (PEP 427, `dist-info` by PEP 376) and sdists (PEP 625).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{TarGz, Zip, ZipEntry};

/// A correct wheel of one project; its files are added with [`WheelBuilder::file`].
#[must_use]
pub fn wheel(name: &str, version: &str) -> WheelBuilder {
    WheelBuilder {
        stem: stem(name, version),
        metadata: metadata(name, version),
        tag: "py3-none-any".to_owned(),
        files: Vec::new(),
        record: Vec::new(),
    }
}

/// A correct sdist of one project, with the least that a build needs.
#[must_use]
pub fn sdist(name: &str, version: &str) -> SdistBuilder {
    SdistBuilder { stem: stem(name, version), metadata: metadata(name, version), files: Vec::new() }
}

/// `name-version` as PEP 491 and PEP 625 write it: lower case, `_` for runs of anything else.
fn stem(name: &str, version: &str) -> String {
    let words: Vec<String> =
        name.split(['-', '_', '.']).filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    format!("{}-{version}", words.join("_"))
}

fn metadata(name: &str, version: &str) -> String {
    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
}

type Edit = Box<dyn FnOnce(&mut String)>;

/// Builds a wheel.
pub struct WheelBuilder {
    stem: String,
    metadata: String,
    tag: String,
    files: Vec<(String, Vec<u8>)>,
    record: Vec<Edit>,
}

impl WheelBuilder {
    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, data: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), data.as_ref().to_vec()));
        self
    }

    /// Adds a `Requires-Dist`.
    #[must_use]
    pub fn requires(self, requirement: &str) -> Self {
        let line = format!("Requires-Dist: {requirement}\n");
        self.metadata(move |metadata| metadata.push_str(&line))
    }

    /// Another compatibility tag than `py3-none-any`.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    /// Lies in METADATA; RECORD then holds the hash of the lie.
    #[must_use]
    pub fn metadata(mut self, edit: impl FnOnce(&mut String)) -> Self {
        edit(&mut self.metadata);
        self
    }

    /// Lies in the finished RECORD. An empty RECORD is left out of the wheel.
    #[must_use]
    pub fn record(mut self, edit: impl FnOnce(&mut String) + 'static) -> Self {
        self.record.push(Box::new(edit));
        self
    }

    /// The wheel's file name.
    #[must_use]
    pub fn filename(&self) -> String {
        format!("{}-{}.whl", self.stem, self.tag)
    }

    /// The wheel's bytes.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        self.zip().build()
    }

    /// The wheel as a zip, to be lied in further.
    #[must_use]
    pub fn zip(self) -> Zip {
        let dist_info = format!("{}.dist-info", self.stem);
        let wheel =
            format!("Wheel-Version: 1.0\nGenerator: forge\nRoot-Is-Purelib: true\nTag: {}\n", self.tag.as_str());
        let mut files = self.files;
        files.push((format!("{dist_info}/METADATA"), self.metadata.into_bytes()));
        files.push((format!("{dist_info}/WHEEL"), wheel.into_bytes()));
        let mut record = String::new();
        let mut zip = Zip::new();
        for (path, data) in files {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&data));
            record.push_str(&format!("{path},sha256={hash},{}\n", data.len()));
            zip = zip.file(path, data);
        }
        record.push_str(&format!("{dist_info}/RECORD,,\n"));
        self.record.into_iter().for_each(|edit| edit(&mut record));
        if record.is_empty() { zip } else { zip.entry(ZipEntry::file(format!("{dist_info}/RECORD"), record)) }
    }
}

/// Builds an sdist.
pub struct SdistBuilder {
    stem: String,
    metadata: String,
    files: Vec<(String, Vec<u8>)>,
}

impl SdistBuilder {
    /// Adds a file below the one top directory.
    #[must_use]
    pub fn file(mut self, path: &str, data: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), data.as_ref().to_vec()));
        self
    }

    /// Lies in PKG-INFO.
    #[must_use]
    pub fn metadata(mut self, edit: impl FnOnce(&mut String)) -> Self {
        edit(&mut self.metadata);
        self
    }

    /// The sdist's file name.
    #[must_use]
    pub fn filename(&self) -> String {
        format!("{}.tar.gz", self.stem)
    }

    /// The sdist's bytes.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        self.tar().build()
    }

    /// The sdist as a tar.gz, to be lied in further.
    #[must_use]
    pub fn tar(self) -> TarGz {
        let tar = TarGz::new().directory(&self.stem).file(&format!("{}/PKG-INFO", self.stem), self.metadata);
        self.files.into_iter().fold(tar, |tar, (path, data)| tar.file(&format!("{}/{path}", self.stem), data))
    }
}
