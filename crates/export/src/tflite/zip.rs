//! A zip archive of one stored file at the end of other bytes, where readers of zip archives find it.

/// Appends an archive with one file.
pub(super) fn append(mut bytes: Vec<u8>, name: &str, content: &[u8]) -> Vec<u8> {
    let start = bytes.len() as u32;
    let (size, checksum) = (content.len() as u32, crc32fast::hash(content));
    // Version 2.0, no flags, stored, no date; then checksum, two sizes, length of the name, no extra field.
    let mut common = [20u16, 0, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    common.extend([checksum, size, size].iter().flat_map(|word| word.to_le_bytes()));
    common.extend([name.len() as u16, 0].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(b"PK\x03\x04");
    bytes.extend(&common);
    bytes.extend(name.as_bytes());
    bytes.extend(content);
    let directory = bytes.len() as u32;
    bytes.extend(b"PK\x01\x02\x14\x00");
    bytes.extend(&common);
    // No comment, disk 0, no attributes.
    bytes.extend([0; 10]);
    bytes.extend(start.to_le_bytes());
    bytes.extend(name.as_bytes());
    let length = bytes.len() as u32 - directory;
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    bytes.extend(length.to_le_bytes());
    bytes.extend(directory.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_points_to_the_file() {
        let bytes = append(b"before".to_vec(), "a.txt", b"hello");
        assert!(bytes.starts_with(b"beforePK\x03\x04"));
        let end = bytes.len() - 22;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let directory = word(end + 16);
        assert_eq!(&bytes[directory..directory + 4], b"PK\x01\x02");
        assert_eq!(word(directory + 42), 6);
        assert_eq!(directory + word(end + 12), end);
    }
}
