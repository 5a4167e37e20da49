//! Single files that are compressed: how to tell, and how to read them.

use std::io::{self, BufRead as _, BufReader, Read};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952; several members are one file.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The xz format, version 1.2.
    Xz,
    /// The format of `lzma_alone`, without a magic number.
    Lzma,
    /// An LZ4 frame.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// Memory that a dictionary may take, in bytes: `xz -9` asks for 64 MiB.
const DICTIONARY_BYTES: u32 = 96 << 20;

impl Compression {
    /// By the first bytes.
    pub(crate) fn of(prefix: &[u8]) -> Option<Self> {
        match prefix {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // The block's magic is pi, the stream's end is the root of pi.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // The usual properties, a dictionary of a power of two, and no size or one below 256 GiB (`xz`'s own heuristic).
            [0x5d, dictionary @ .., _, _] if is_lzma(dictionary) => Some(Self::Lzma),
            _ => None,
        }
    }

    /// What the stream inflates to.
    ///
    /// # Errors
    ///
    /// When its header is broken; what comes later is an error of the reader.
    pub(crate) fn reader<'r>(self, source: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
        let kib = DICTIONARY_BYTES / 1024;
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(source)),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(BufReader::new(source), true, kib)),
            Self::Lzma => Box::new(lzma_rust2::LzmaReader::new_mem_limit(BufReader::new(source), kib, None)?),
            Self::Lz4 => {
                Box::new(Lz4Frames { decoder: lz4_flex::frame::FrameDecoder::new(BufReader::new(source)), any: false })
            }
            Self::Zstd => Box::new(ZstdFrames { source: BufReader::new(source), frame: None }),
        })
    }
}

fn is_lzma(rest: &[u8]) -> bool {
    let Some((dictionary, rest)) = rest.split_first_chunk::<4>() else { return false };
    let Some(size) = rest.first_chunk::<8>() else { return false };
    let (dictionary, size) = (u32::from_le_bytes(*dictionary), u64::from_le_bytes(*size));
    dictionary.is_power_of_two() && dictionary >= 4096 && (size == u64::MAX || size < 1 << 38)
}

/// LZ4 frames one after the other; the library ends after each, and takes a cut header for an end.
struct Lz4Frames<R: Read> {
    decoder: lz4_flex::frame::FrameDecoder<BufReader<R>>,
    any: bool,
}

impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(buffer)?;
            self.any |= count > 0;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if self.decoder.get_mut().fill_buf()?.is_empty() {
                return if self.any { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

/// Zstandard frames one after the other; the library reads one.
struct ZstdFrames<R: Read> {
    source: BufReader<R>,
    frame: Option<Box<FrameDecoder>>,
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None if self.source.fill_buf()?.is_empty() => return Ok(0),
                None => {
                    let mut frame = Box::new(FrameDecoder::new());
                    frame.set_max_window_size(DICTIONARY_BYTES.into());
                    frame.init(&mut self.source).map_err(io::Error::other)?;
                    self.frame.insert(frame)
                }
            };
            while frame.can_collect() < buffer.len() && !frame.is_finished() {
                let enough = BlockDecodingStrategy::UptoBytes(buffer.len());
                frame.decode_blocks(&mut self.source, enough).map_err(io::Error::other)?;
            }
            let count = frame.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.frame = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hello hello hello hello\n` as the usual tools pack it.
    const PACKED: [(Compression, &[u8]); 6] = [
        (Compression::Gzip, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcbH\xcd\xc9\xc9W\xc8@'\xb9\x00\x00\x88Y\x0b\x18\x00\x00\x00"),
        (Compression::Bzip2, b"BZh91AY&SYoO\x10\xf3\x00\x00\x05\xd1\x00\x00\x10@\x00\x02D\xa0\x000\xc0\x02\xa84q\x0d\xad\x87\x0f\x17rE8P\x90oO\x10\xf3"),
        (Compression::Xz, b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\xe0\x00\x17\x00\x0c]\x004\x19I\xee\x8d\xe9V\x0a\xc1!\xb0\x00\x00l\x14\xed\x1b;h\xbb\x91\x00\x01(\x18\xd7\x83\xb7n\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"),
        (Compression::Lzma, b"]\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x004\x19I\xee\x8d\xe9V\x0a\xc1\xb6 \xb7\xff\xff\xba4\x00\x00"),
        (Compression::Lz4, b"\x04\x22M\x18d@\xa7\x0f\x00\x00\x00ihello \x06\x00Pello\x0a\x00\x00\x00\x00\xe2\xff\x03B"),
        (Compression::Zstd, b"(\xb5/\xfd\x04Xm\x00\x008hello \x0a\x01\x00\x99K\x11\xa8|.\xa8"),
    ];

    fn unpack(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        compression.reader(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_the_usual_tools_pack_is_unpacked() {
        for (compression, bytes) in PACKED {
            assert_eq!(Compression::of(bytes), Some(compression));
            assert_eq!(unpack(compression, bytes).unwrap(), b"hello hello hello hello\n", "{compression:?}");
        }
    }

    #[test]
    fn several_streams_are_one_file_where_the_tools_say_so() {
        for (compression, bytes) in PACKED {
            if compression != Compression::Lzma {
                let twice = [bytes, bytes].concat();
                assert_eq!(unpack(compression, &twice).unwrap().len(), 48, "{compression:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_was_cut_is_an_error_and_never_a_shorter_file() {
        for (compression, bytes) in PACKED {
            for cut in 6..bytes.len() - 1 {
                // At the end of a block LZ4 has given all that there is.
                let whole = |out: Vec<u8>| compression == Compression::Lz4 && out == b"hello hello hello hello\n";
                let unpacked = unpack(compression, &bytes[..cut]);
                assert!(unpacked.ok().is_none_or(whole), "{compression:?} {cut} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn a_dictionary_beyond_the_limit_is_an_error() {
        let (_, lzma) = PACKED.iter().find(|(compression, _)| *compression == Compression::Lzma).unwrap();
        let mut large = lzma.to_vec();
        large[1..5].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        assert_eq!(Compression::of(&large), Some(Compression::Lzma));
        assert!(unpack(Compression::Lzma, &large).is_err());
    }

    #[test]
    fn prose_is_no_compressed_file() {
        for text in [&b"BZh9 is how bzip2 begins"[..], b"]\0\0\0", b"7zXZ", b"]]]]]]]]]]]]]]]]"] {
            assert_eq!(Compression::of(text), None);
        }
    }
}
