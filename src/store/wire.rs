//! Bytes to and from records: fixed-width, big-endian, with a checksum at the end.

use crate::error::{Cause, Error, Result};

/// The largest encoded record. Far above any certificate; a bound so that a damaged length cannot ask
/// for memory and one object cannot fill a store.
pub(super) const MAX_RECORD: usize = 16 << 20;

/// Writes the parts of a record.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(512))
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes whose number is known from the format.
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A number of parts, or of bytes, that follow.
    pub(super) fn count(&mut self, count: usize) -> Result<()> {
        self.u32(u32::try_from(count).map_err(|_| too_large())?);
        Ok(())
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.count(bytes.len())?;
        self.fixed(bytes);
        Ok(())
    }

    /// 0, or 1 and the part.
    pub(super) fn option<T>(
        &mut self,
        part: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.u8(u8::from(part.is_some()));
        part.map_or(Ok(()), |part| write(self, part))
    }

    /// The record with its checksum.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let sum = crc32(&self.0);
        self.u32(sum);
        if self.0.len() > MAX_RECORD { Err(too_large()) } else { Ok(self.0) }
    }
}

fn too_large() -> Error {
    Cause::StoreFull.with("one record is larger than 16 MiB")
}

/// Reads the parts of a record. Every failure is `RecordCorrupt`, and nothing is allocated before the
/// bytes for it are known to be there.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the checksum and starts in front of the first part.
    pub(super) fn new(record: &'a [u8]) -> Result<Self> {
        let (body, sum) = record.split_last_chunk::<4>().ok_or_else(|| damaged("it is cut short"))?;
        if record.len() > MAX_RECORD {
            return Err(damaged("it is too long"));
        }
        if crc32(body) != u32::from_be_bytes(*sum) {
            return Err(damaged("its checksum is wrong"));
        }
        Ok(Self(body))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| damaged("it is cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// How many parts follow, each of at least `least` bytes.
    pub(super) fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        if count > self.0.len() / least.max(1) {
            return Err(damaged("it is cut short"));
        }
        Ok(count)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| damaged("it is cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a text is not UTF-8"))
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(damaged("a flag is neither 0 nor 1")),
        }
    }

    pub(super) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(damaged("bytes follow its end")) }
    }
}

pub(super) fn damaged(why: &'static str) -> Error {
    Cause::RecordCorrupt.with(why)
}

/// The checksum of zlib and PNG. It finds accidents; the seal finds malice. Eight bytes at a time,
/// because a search checks every record that it looks at.
fn crc32(bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let sum = eights.iter().fold(!0, |sum, eight| {
        let mixed = u64::from_le_bytes(*eight) ^ u64::from(sum);
        mixed
            .to_le_bytes()
            .iter()
            .zip(CRC_TABLES.iter().rev())
            .fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)])
    });
    !rest.iter().fold(sum, |sum, byte| (sum >> 8) ^ CRC_TABLES[0][usize::from(sum as u8 ^ byte)])
}

/// `[k][b]`: what the byte `b` with `k` zero bytes after it adds to the sum.
static CRC_TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let sum = tables[zeros - 1][byte];
            tables[zeros][byte] = (sum >> 8) ^ tables[0][(sum & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(super::crc32(b""), 0);
        assert_eq!(super::crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(super::crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    }
}
