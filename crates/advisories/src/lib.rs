//! Reads an OSV export from disk: the zip that is published per ecosystem, or a folder of its documents.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use gate_core::advisory::{AdvisoryDb, DocumentsDigest, RECORD_BYTES, RecordFault};
use gate_core::digest::Sha256;
use sha2::Digest as _;
use walkdir::WalkDir;
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

/// The records in this zip or folder: each `*.json`, however deep. Other files are passed over.
///
/// # Errors
/// Something cannot be read, or a document is no record: the message names it. An export with a hole is not used, because
/// the missing record may be the one that matters.
pub fn load(path: &Path) -> Result<AdvisoryDb> {
    let read = if path.is_dir() { load_folder(path) } else { load_zip(path) };
    read.with_context(|| format!("the advisories in {} cannot be used", path.display()))
}

fn load_zip(path: &Path) -> Result<AdvisoryDb> {
    let mut file = File::open(path)?;
    let sha256 = digest_of(&mut file)?;
    // The same open file, so that a zip that is put in its place meanwhile is not read under this digest.
    read_zip(BufReader::new(file), sha256)
}

/// The records in a zip that is already at hand, and has this digest.
///
/// # Errors
/// As for [`load`].
pub fn read_zip(zip: impl Read + Seek, sha256: Sha256) -> Result<AdvisoryDb> {
    let mut archive = ZipArchive::new(zip).context("it is neither a folder nor a zip")?;
    let mut builder = AdvisoryDb::builder();
    let mut inflater = Inflater::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index)?;
        if is_document(member.name()) {
            let name = member.name().to_owned();
            let json = inflater.read(member).with_context(|| name.clone())?;
            builder.add(&name, json)?;
        }
    }
    Ok(builder.finish(sha256)?)
}

/// Unpacks one member after another with one set of buffers. An export has tens of thousands of members of 2 KB; buffers of
/// their own, allocated between the records that stay, would leave holes that are three times the size of the records.
struct Inflater {
    state: Decompress,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
}

impl Inflater {
    fn new() -> Self {
        Self { state: Decompress::new(false), packed: Vec::new(), unpacked: Vec::new() }
    }

    fn read<R: Read>(&mut self, mut member: ZipFile<'_, R>) -> Result<&[u8]> {
        let (size, method, crc) = (member.size(), member.compression(), member.crc32());
        if member.encrypted() {
            bail!("it is encrypted");
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= RECORD_BYTES).ok_or(RecordFault::TooLong)?;
        self.packed.clear();
        member.by_ref().take(RECORD_BYTES as u64).read_to_end(&mut self.packed)?;
        let bytes = match method {
            CompressionMethod::Stored => &self.packed,
            CompressionMethod::Deflated => {
                // One byte of room more than the size that is claimed: it must stay empty.
                if self.unpacked.len() <= size {
                    self.unpacked.resize(size + 1, 0);
                }
                self.state.reset(false);
                let status =
                    self.state.decompress(&self.packed, &mut self.unpacked[..=size], FlushDecompress::Finish)?;
                if status != Status::StreamEnd {
                    bail!("it is cut off, or larger than it claims");
                }
                &self.unpacked
            }
            other => bail!("it is packed by a method that is not read here ({other})"),
        };
        let bytes = bytes.get(..size).context("it is smaller than it claims")?;
        let mut sum = Crc::new();
        sum.update(bytes);
        if sum.sum() != crc || (method == CompressionMethod::Deflated && self.state.total_out() != size as u64) {
            bail!("its size or checksum is not what it claims");
        }
        Ok(bytes)
    }
}

fn load_folder(root: &Path) -> Result<AdvisoryDb> {
    let mut names = Vec::new();
    // A link that was passed over would be a hole.
    for entry in WalkDir::new(root).follow_links(true) {
        let entry = entry?;
        let name = entry.path().strip_prefix(root)?;
        let Some(name) = name.to_str() else { bail!("{} is not UTF-8", name.display()) };
        if entry.file_type().is_file() && is_document(name) {
            names.push(name.replace(std::path::MAIN_SEPARATOR, "/"));
        }
    }
    names.sort();
    let (mut builder, mut digest) = (AdvisoryDb::builder(), DocumentsDigest::default());
    for name in names {
        let mut json = Vec::new();
        let file = File::open(root.join(&name)).with_context(|| name.clone())?;
        file.take(RECORD_BYTES as u64 + 1).read_to_end(&mut json).with_context(|| name.clone())?;
        builder.add(&name, &json)?;
        digest.add(&name, &json);
    }
    Ok(builder.finish(digest.finish())?)
}

fn is_document(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn digest_of(reader: &mut impl Read) -> Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Sha256::finish(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn record(id: &str) -> String {
        let package = r#"{"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": ["1.0"]}"#;
        format!(r#"{{"id": "{id}", "modified": "2024-01-02T03:04:05Z", "affected": [{package}]}}"#)
    }

    fn write_zip(path: &Path, members: &[(&str, &str)]) {
        write_zip_by(path, CompressionMethod::Deflated, members);
    }

    fn write_zip_by(path: &Path, method: CompressionMethod, members: &[(&str, &str)]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, text) in members {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    fn error(path: &Path) -> String {
        format!("{:#}", load(path).unwrap_err())
    }

    #[test]
    fn a_zip_and_a_folder_of_the_same_records_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let zip = dir.path().join("all.zip");
        let folder = dir.path().join("all");
        let members = [("PYSEC-1.json", record("PYSEC-1")), ("deep/er/PYSEC-2.JSON", record("PYSEC-2"))];
        write_zip(&zip, &[(members[0].0, &members[0].1), (members[1].0, &members[1].1), ("README.md", "not a record")]);
        std::fs::create_dir_all(folder.join("deep/er")).unwrap();
        std::fs::write(folder.join("README.md"), "not a record").unwrap();
        for (name, text) in &members {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let (zipped, unpacked) = (load(&zip).unwrap(), load(&folder).unwrap());
        for db in [&zipped, &unpacked] {
            assert_eq!(db.records(), 2);
            assert_eq!(db.newest(), Some("2024-01-02T03:04:05Z".parse().unwrap()));
            assert_eq!(db.lookup("demo", &"1.0".parse().unwrap()).len(), 2);
        }
        assert_eq!(zipped.sha256(), Sha256::of(&std::fs::read(&zip).unwrap()));
        assert_eq!(unpacked.sha256(), load(&folder).unwrap().sha256());
        std::fs::write(folder.join("PYSEC-1.json"), record("PYSEC-3")).unwrap();
        assert_ne!(unpacked.sha256(), load(&folder).unwrap().sha256());
    }

    #[test]
    fn a_bad_record_is_named_and_nothing_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let zip = dir.path().join("all.zip");
        write_zip(&zip, &[("PYSEC-1.json", &record("PYSEC-1")), ("x/PYSEC-2.json", "{")]);
        assert!(error(&zip).contains("x/PYSEC-2.json: it is not valid JSON"), "{}", error(&zip));
        let folder = dir.path().join("all");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("PYSEC-1.json"), record("PYSEC-1")).unwrap();
        std::fs::write(folder.join("PYSEC-2.json"), "{}").unwrap();
        assert!(error(&folder).contains("PYSEC-2.json: it is not an OSV record: it has no id"), "{}", error(&folder));
    }

    #[test]
    fn what_is_no_export_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(error(dir.path()).contains("there is no advisory record in it"));
        assert!(error(&dir.path().join("absent.zip")).contains("cannot be used"));
        let text = dir.path().join("text.zip");
        std::fs::write(&text, "text").unwrap();
        assert!(error(&text).contains("it is neither a folder nor a zip"));
    }

    /// Where the only member's entry begins in the central directory (APPNOTE 4.3.12).
    fn central(zip: &[u8]) -> usize {
        zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap()
    }

    #[test]
    fn a_member_that_is_not_what_it_claims_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.zip");
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            write_zip_by(&path, method, &[("PYSEC-1.json", &record("PYSEC-1"))]);
            let good = std::fs::read(&path).unwrap();
            assert_eq!(load(&path).unwrap().records(), 1);
            let (flags, checksum, size) = (8, 16, 24);
            // 255 more is one less.
            for (offset, more) in [(flags, 1), (checksum, 1), (size, 1), (size, 255)] {
                let mut bad = good.clone();
                let at = central(&bad) + offset;
                bad[at] = bad[at].wrapping_add(more);
                std::fs::write(&path, bad).unwrap();
                assert!(error(&path).contains("PYSEC-1.json: "), "{method} {offset}: {}", error(&path));
            }
        }
    }

    #[test]
    fn a_record_in_a_zip_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.zip");
        for (length, refused) in [(RECORD_BYTES - 1, false), (RECORD_BYTES, false), (RECORD_BYTES + 1, true)] {
            let mut text = record("PYSEC-1");
            text.push_str(&" ".repeat(length - text.len()));
            write_zip_by(&path, CompressionMethod::Deflated, &[("PYSEC-1.json", &text)]);
            assert_eq!(load(&path).is_err(), refused, "{length}");
        }
        assert!(error(&path).contains("PYSEC-1.json: it is larger than"), "{}", error(&path));
    }
}
