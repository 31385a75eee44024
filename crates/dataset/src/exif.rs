//! The three values of EXIF that matter for boxes: how to turn the picture, and how large it says it is (Exif 2.32, TIFF 6.0).

use image::metadata::Orientation;

/// Entries of a directory that are read; cameras write a few dozen.
const MOST_ENTRIES: usize = 1000;

/// What EXIF says about a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exif {
    /// 1 to 8 as it should be; any number as it is written.
    pub orientation: Option<u16>,
    /// Width and height.
    pub size: Option<[u32; 2]>,
}

impl Exif {
    /// How to turn the picture; as it is where that makes no sense.
    pub fn turn(&self) -> Orientation {
        let value = self.orientation.and_then(|value| u8::try_from(value).ok());
        value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }

    /// Reads a chunk that begins with the TIFF header (`II*\0` or `MM\0*`). What is wrong with it where it is none.
    pub fn read(chunk: &[u8]) -> Result<Exif, &'static str> {
        let little = match chunk.get(..4) {
            Some(b"II*\0") => true,
            Some(b"MM\0*") => false,
            _ => return Err("EXIF does not begin with a TIFF header"),
        };
        let tiff = Tiff { chunk, little };
        let mut exif = Exif::default();
        let first = tiff.long(4).ok_or(CUT)? as usize;
        let mut inner = None;
        tiff.entries(first, |tag, value| match tag {
            0x0112 => exif.orientation = value.and_then(|value| u16::try_from(value).ok()),
            0x8769 => inner = value,
            _ => {}
        })?;
        let mut size = [None; 2];
        if let Some(inner) = inner {
            tiff.entries(inner as usize, |tag, value| match tag {
                0xa002 => size[0] = value,
                0xa003 => size[1] = value,
                _ => {}
            })?;
        }
        if let [Some(width), Some(height)] = size {
            exif.size = Some([width, height]);
        }
        Ok(exif)
    }
}

const CUT: &str = "EXIF is cut short";

struct Tiff<'a> {
    chunk: &'a [u8],
    little: bool,
}

impl Tiff<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = self.chunk.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = self.chunk.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// Each entry's tag, with its value where that is one whole number.
    fn entries(&self, at: usize, mut take: impl FnMut(u16, Option<u32>)) -> Result<(), &'static str> {
        let count = usize::from(self.short(at).ok_or(CUT)?).min(MOST_ENTRIES);
        for index in 0..count {
            let entry = at + 2 + index * 12;
            let tag = self.short(entry).ok_or(CUT)?;
            let kind = self.short(entry + 2).ok_or(CUT)?;
            let value = match kind {
                3 => self.short(entry + 8).map(u32::from),
                4 => self.long(entry + 8),
                _ => None,
            };
            take(tag, value);
        }
        Ok(())
    }
}

/// A chunk with these values, for tests.
#[cfg(test)]
pub(crate) fn chunk(orientation: u16, size: [u32; 2]) -> Vec<u8> {
    let mut bytes = b"MM\0*\0\0\0\x08".to_vec();
    let entry = |tag: u16, kind: u16, value: [u8; 4]| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &1u32.to_be_bytes(), &value].concat()
    };
    bytes.extend(2u16.to_be_bytes());
    bytes.extend(entry(0x0112, 3, [(orientation >> 8) as u8, orientation as u8, 0, 0]));
    bytes.extend(entry(0x8769, 4, 38u32.to_be_bytes()));
    bytes.extend([0; 4]);
    bytes.extend(2u16.to_be_bytes());
    bytes.extend(entry(0xa002, 4, size[0].to_be_bytes()));
    bytes.extend(entry(0xa003, 4, size[1].to_be_bytes()));
    bytes.extend([0; 4]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_and_nonsense_is_told() {
        let whole = chunk(6, [640, 480]);
        let exif = Exif::read(&whole).unwrap();
        assert_eq!(exif, Exif { orientation: Some(6), size: Some([640, 480]) });
        assert_eq!(exif.turn(), Orientation::Rotate90);
        assert_eq!(Exif::read(&chunk(9, [1, 1])).unwrap().turn(), Orientation::NoTransforms);
        assert_eq!(Exif::read(&whole[..whole.len() - 20]), Err(CUT));
        assert_eq!(Exif::read(b"no"), Err("EXIF does not begin with a TIFF header"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 4..80)) {
            bytes[..4].copy_from_slice(b"II*\0");
            let _ = Exif::read(&bytes);
        }
    }
}
