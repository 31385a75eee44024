//! What the targets share: archives around a pickle, a server's calls, and the bound on what a reader may allocate.

#[path = "../../crates/checkpoint/tests/common/counting.rs"]
mod counting;
pub mod life;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Runs a reader on a file of `length` bytes; it may hold four times as much, and what errors and the network's description take.
pub fn bounded<T>(length: usize, read: impl FnOnce() -> T) -> T {
    let (result, used) = counting::measure(read);
    assert!(used.peak <= 4 * length + (1 << 22), "{} bytes held for a file of {length}", used.peak);
    result
}

/// A stored zip archive of these entries, with right checksums.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let mut fields = vec![10, 0, 0, 8, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32fast::hash(data).to_le_bytes());
        fields.extend((data.len() as u32).to_le_bytes());
        fields.extend((data.len() as u32).to_le_bytes());
        fields.extend((name.len() as u32).to_le_bytes());
        directory.extend(b"PK\x01\x02\0\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(*data);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([(entries.len() as u16).to_le_bytes(); 2].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}
