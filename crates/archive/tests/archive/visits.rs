//! What a visitor may do with a body.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use gate_archive::forge::{TarGz, Zip, ZipEntry};
use gate_archive::{Format, Limits, WalkError, walk};

fn broken() -> Vec<u8> {
    Zip::new().entry(ZipEntry::file("a", vec![7; 200_000]).both(|h| h.crc ^= 1)).file("b", "2").build()
}

#[test]
fn a_refusal_stands_before_the_visitors_error() {
    let outcome = walk(Cursor::new(broken()), Format::Zip, &Limits::default(), |_, body| {
        { io::copy(body, &mut io::sink()).map_err(|_| "my own words") }.map(drop)
    });
    assert!(matches!(outcome, Err(WalkError::Refused(refusal)) if refusal.code() == "checksum-mismatch"));
}

#[test]
fn a_partly_read_body_is_still_checked() {
    let outcome = walk(Cursor::new(broken()), Format::Zip, &Limits::default(), |_, body| -> Result<(), io::Error> {
        body.read_exact(&mut [0; 100])
    });
    assert!(matches!(outcome, Err(WalkError::Refused(refusal)) if refusal.code() == "checksum-mismatch"));
}

#[test]
fn a_reader_that_failed_goes_on_failing() {
    let mut errors = Vec::new();
    let outcome = walk(Cursor::new(broken()), Format::Zip, &Limits::default(), |_, body| -> Result<(), io::Error> {
        for _ in 0..2 {
            errors.extend(io::copy(body, &mut io::sink()).err().map(|error| error.to_string()));
        }
        Ok(())
    });
    assert_eq!(errors, [r#"the member "a" has a wrong checksum"#; 2]);
    assert!(matches!(outcome, Err(WalkError::Refused(_))));
}

#[test]
fn the_visitors_error_ends_the_walk() {
    for (format, archive) in [
        (Format::Zip, Zip::new().file("a", "1").file("b", "2").build()),
        (Format::TarGz, TarGz::new().file("a", "1").file("b", "2").build()),
    ] {
        let mut seen = 0;
        let outcome = walk(Cursor::new(archive), format, &Limits::default(), |_, _| {
            seen += 1;
            Err("enough")
        });
        assert!(matches!(outcome, Err(WalkError::Visit("enough"))));
        assert_eq!(seen, 1);
    }
}

#[test]
fn bodies_are_the_same_for_any_read_size() {
    let data: Vec<u8> = (0..300_000_u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
    for (format, archive) in [
        (Format::Zip, Zip::new().file("a", &data).stored("b", &data).build()),
        (Format::TarGz, TarGz::new().file("a", &data).file("b", &data).build()),
        (Format::Tar, TarGz::new().file("a", &data).file("b", &data).build_tar()),
    ] {
        for size in [1, 7, 4096, 65_536, 65_537, 1 << 20] {
            walk(Cursor::new(&archive), format, &Limits::default(), |_, body| -> Result<(), io::Error> {
                let mut bytes = Vec::new();
                let mut chunk = vec![0; size];
                loop {
                    match body.read(&mut chunk)? {
                        0 => break,
                        count => bytes.extend_from_slice(&chunk[..count]),
                    }
                }
                assert!(bytes == data, "{format:?} {size}");
                Ok(())
            })
            .unwrap();
        }
    }
}

/// Fails, after so many reads, as a disk would.
struct Flaky(Cursor<Vec<u8>>, usize);

impl Read for Flaky {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1.checked_sub(1).ok_or_else(|| io::Error::other("the disk is gone"))?;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.0.read(out)
    }
}

impl Seek for Flaky {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_failing_disk_is_not_a_refusal() {
    for (format, archive) in [
        (Format::Zip, Zip::new().file("a", "1").stored("b", vec![7; 200_000]).build()),
        (Format::TarGz, TarGz::new().file("a", "1").file("b", "2").build()),
        (Format::Tar, TarGz::new().file("a", "1").file("b", vec![7; 200_000]).build_tar()),
    ] {
        let mut reads = 0;
        loop {
            let flaky = Flaky(Cursor::new(archive.clone()), reads);
            match walk(flaky, format, &Limits::default(), |_, body| io::copy(body, &mut io::sink()).map(drop)) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, WalkError::Io(_)), "{format:?} {reads}: {error}"),
            }
            reads += 1;
        }
        assert!(reads > 3);
    }
}
