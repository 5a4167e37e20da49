//! The extension headers that stand in front of a member: pax records (`x`), GNU long names (`L`, `K`); and global pax (`g`).

use crate::Code;

/// What extension headers said about the next member.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pax: bool,
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    any: bool,
}

impl Extensions {
    /// Whether some extension header waits for its member.
    pub(super) fn pending(&self) -> bool {
        self.any
    }

    /// Takes the body of a pax header.
    pub(super) fn add_pax(&mut self, body: &[u8]) -> Result<(), Code> {
        if self.pax {
            return Err(Code::StackedHeaders);
        }
        self.pax = true;
        self.any = true;
        let mut seen: Vec<&[u8]> = Vec::new();
        for record in Records(body) {
            let (key, value) = record?;
            if seen.contains(&key) {
                return Err(Code::BadPax);
            }
            seen.push(key);
            match key {
                b"path" => set(&mut self.path, value)?,
                b"linkpath" => set(&mut self.link, value)?,
                b"size" => self.size = Some(decimal(value).ok_or(Code::BadPax)?),
                _ => refuse_key(key)?,
            }
        }
        Ok(())
    }

    /// Takes the body of a GNU long name (`link` false) or long link name: text with a NUL at its end. Without it readers differ:
    /// Python goes on into the padding.
    pub(super) fn add_long(&mut self, link: bool, body: &[u8]) -> Result<(), Code> {
        self.any = true;
        let text = body.strip_suffix(&[0]).ok_or(Code::BadTarHeader)?;
        set(if link { &mut self.link } else { &mut self.path }, text)
    }
}

/// Checks a global pax header: a comment, as `git archive` writes it, or times and owners, but nothing that changes what the
/// members after it are. `Some(code)` is the refusal.
pub(super) fn check_global(body: &[u8]) -> Result<(), Code> {
    for record in Records(body) {
        let (key, _) = record?;
        match key {
            b"path" | b"linkpath" | b"size" => return Err(Code::GlobalPax),
            _ => refuse_key(key)?,
        }
    }
    Ok(())
}

/// A second value for what another extension header already said is refused: which one holds depends on the reader.
fn set(slot: &mut Option<Vec<u8>>, value: &[u8]) -> Result<(), Code> {
    if slot.is_some() {
        return Err(Code::StackedHeaders);
    }
    if value.is_empty() {
        return Err(Code::BadPax);
    }
    *slot = Some(value.to_owned());
    Ok(())
}

fn refuse_key(key: &[u8]) -> Result<(), Code> {
    match key {
        b"hdrcharset" => Err(Code::BadPax),
        key if key.starts_with(b"GNU.sparse.") => Err(Code::Sparse),
        key if key.starts_with(b"SCHILY.realsize") || key.starts_with(b"SUN.holesdata") => Err(Code::Sparse),
        _ => Ok(()),
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// The records of a pax header: `length key=value\n`, the length in decimal and counting the whole record.
struct Records<'b>(&'b [u8]);

impl<'b> Iterator for Records<'b> {
    type Item = Result<(&'b [u8], &'b [u8]), Code>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.split();
        if record.is_none() {
            self.0 = &[];
        }
        Some(record.ok_or(Code::BadPax))
    }
}

impl<'b> Records<'b> {
    fn split(&mut self) -> Option<(&'b [u8], &'b [u8])> {
        let space = self.0.iter().take(20).position(|&byte| byte == b' ')?;
        let digits = &self.0[..space];
        let length = usize::try_from(decimal(digits).filter(|_| digits[0] != b'0')?).ok()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = pair.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
        self.0 = rest;
        Some((&pair[..equals], &pair[equals + 1..]))
    }
}
