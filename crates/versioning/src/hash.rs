//! md5 of files, read once and copied on the way where a copy is wanted.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use md5::{Digest, Md5};

use crate::{Error, Result, Watch};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// The md5 of bytes, as 32 hexadecimal digits.
pub(crate) fn md5_of(bytes: &[u8]) -> String {
    hexadecimal(&Md5::digest(bytes))
}

/// The md5 of a file's bytes.
pub(crate) fn md5_of_file(path: &Path, watch: &Watch) -> Result<String> {
    copied(path, None, watch)
}

/// The md5 of a file's bytes as DVC 2 took it: of text, a line end is `\n` alone.
pub(crate) fn legacy_md5_of_file(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if !is_text(&bytes) {
        return Ok(md5_of(&bytes));
    }
    let mut plain = Vec::with_capacity(bytes.len());
    for (index, &byte) in bytes.iter().enumerate() {
        if byte != b'\r' || bytes.get(index + 1) != Some(&b'\n') {
            plain.push(byte);
        }
    }
    Ok(md5_of(&plain))
}

/// DVC 2's guess from the first 512 bytes: no zero byte, and fewer than 30 % that are no usual letters.
fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(512)];
    let odd = head
        .iter()
        .filter(|&&byte| !matches!(byte, b'\n' | b'\r' | b'\t' | 0x0c | 0x08 | b' '..=b'~' | 0x80..))
        .count();
    !head.contains(&0) && odd * 10 <= head.len() * 3
}

/// Copies a file's bytes into `target`, if there is one, and returns their md5: of exactly the bytes that were written.
pub(crate) fn copied(path: &Path, target: Option<(&mut File, &Path)>, watch: &Watch) -> Result<String> {
    let mut source = File::open(path).map_err(Error::io("read", path))?;
    let mut digest = Md5::new();
    let length = source.metadata().map_err(Error::io("read", path))?.len();
    let mut buffer = vec![0; CHUNK.min(length as usize + 1)];
    let mut target = target;
    loop {
        watch.check()?;
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(hexadecimal(&digest.finalize())),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            count => count.map_err(Error::io("read", path))?,
        };
        digest.update(&buffer[..count]);
        if let Some((file, name)) = &mut target {
            file.write_all(&buffer[..count]).map_err(Error::io("write", name))?;
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
        .collect()
}
