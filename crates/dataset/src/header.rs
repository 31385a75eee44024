//! What a picture's header says, without decoding it: size, orientation, and whether the file is whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, ImageReader};

/// Extensions of pictures that are looked for in folders.
pub(crate) const EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"];

/// Whether the name ends like that of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The picture's size `[height, width]` as it is seen (orientation applied). Fails with what is wrong where the file is
/// empty, no picture, or cut short.
pub(crate) fn probe(path: &Path) -> Result<[usize; 2], String> {
    let read = |error: std::io::Error| format!("cannot be read: {error}");
    let mut file = File::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    if length == 0 {
        return Err("the file is empty".into());
    }
    let mut start = [0; 16];
    let got = read_up_to(&mut file, &mut start).map_err(read)?;
    file.rewind().map_err(read)?;
    let size = if start.starts_with(&[0xff, 0xd8]) {
        let mut reader = BufReader::with_capacity(16 << 10, file);
        let header = jpeg_header(&mut reader)?;
        check_jpeg_end(&mut reader, length)?;
        header.size()
    } else {
        let reader = BufReader::with_capacity(16 << 10, file);
        probe_other(path, reader, &start[..got], length)?
    };
    if size.contains(&0) { Err("the picture has no pixels".into()) } else { Ok(size) }
}

fn probe_other(path: &Path, mut file: BufReader<File>, start: &[u8], length: u64) -> Result<[usize; 2], String> {
    let read = |error: std::io::Error| format!("cannot be read: {error}");
    let format = image::guess_format(start).map_err(|_| "not a JPEG, PNG, BMP, WebP or TIFF picture".to_string())?;
    let complete = match format {
        ImageFormat::Png => {
            let mut end = [0; 8];
            file.seek(SeekFrom::Start(length.saturating_sub(8))).map_err(read)?;
            file.read_exact(&mut end).map_err(read)?;
            file.rewind().map_err(read)?;
            end.starts_with(b"IEND")
        }
        ImageFormat::WebP => {
            let riff = start.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            u64::from(riff) + 8 <= length
        }
        // Their data may lie anywhere: only decoding tells.
        _ => false,
    };
    if !complete {
        return crate::decode::decode_file(path).map(|picture| picture.size()).map_err(|error| match error {
            crate::Error::Picture { message, .. } => message,
            other => other.to_string(),
        });
    }
    let mut reader = ImageReader::new(file);
    reader.set_format(format);
    let mut decoder = reader.into_decoder().map_err(|error| format!("cannot be decoded: {error}"))?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(oriented([height as usize, width as usize], orientation))
}

/// The size after the orientation is applied.
pub(crate) fn oriented([height, width]: [usize; 2], orientation: Orientation) -> [usize; 2] {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            [width, height]
        }
        _ => [height, width],
    }
}

pub(crate) struct JpegHeader {
    height: usize,
    width: usize,
    pub orientation: Orientation,
}

impl JpegHeader {
    fn size(&self) -> [usize; 2] {
        oriented([self.height, self.width], self.orientation)
    }
}

/// Walks a JPEG's segments (ITU T.81, annex B) up to the first scan.
pub(crate) fn jpeg_header<R: Read + Seek>(reader: &mut R) -> Result<JpegHeader, String> {
    let cut = |_| "the file is cut short inside its header".to_string();
    let mut orientation = Orientation::NoTransforms;
    let mut size = None;
    reader.seek(SeekFrom::Start(2)).map_err(cut)?;
    loop {
        let mut byte = [0];
        reader.read_exact(&mut byte).map_err(cut)?;
        if byte[0] != 0xff {
            continue;
        }
        while byte[0] == 0xff {
            reader.read_exact(&mut byte).map_err(cut)?;
        }
        let marker = byte[0];
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if matches!(marker, 0xd9 | 0xda) {
            break;
        }
        let mut length = [0; 2];
        reader.read_exact(&mut length).map_err(cut)?;
        let length = u64::from(u16::from_be_bytes(length)).saturating_sub(2);
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let mut frame = [0; 5];
                reader.read_exact(&mut frame).map_err(cut)?;
                let two = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                size = Some([two(1), two(3)]);
                reader.seek_relative(length as i64 - 5).map_err(cut)?;
            }
            0xe1 => {
                let mut segment = vec![0; length as usize];
                reader.read_exact(&mut segment).map_err(cut)?;
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    orientation = Orientation::from_exif_chunk(exif).unwrap_or(orientation);
                }
            }
            _ => reader.seek_relative(length as i64).map_err(cut)?,
        }
    }
    let [height, width] = size.ok_or("the file has no picture header")?;
    Ok(JpegHeader { height, width, orientation })
}

/// Looks for the end-of-image marker: at the very end, where it nearly always is (before padding), or else anywhere
/// after the header, where the reader stands.
fn check_jpeg_end<R: Read + Seek>(reader: &mut R, length: u64) -> Result<(), String> {
    let read = |error: std::io::Error| format!("cannot be read: {error}");
    let scan_start = reader.stream_position().map_err(read)?;
    let tail_start = length.saturating_sub(64).max(scan_start);
    reader.seek(SeekFrom::Start(tail_start)).map_err(read)?;
    let mut tail = Vec::with_capacity(64);
    reader.read_to_end(&mut tail).map_err(read)?;
    while tail.last() == Some(&0) {
        tail.pop();
    }
    if tail.ends_with(&[0xff, 0xd9]) {
        return Ok(());
    }
    reader.seek(SeekFrom::Start(scan_start)).map_err(read)?;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).map_err(read)?;
    // Inside a scan a byte 0xff is always followed by 0 or a marker, so this pair is the end itself.
    if rest.windows(2).any(|pair| pair == [0xff, 0xd9]) {
        return Ok(());
    }
    Err("the file is cut short: no end-of-image marker".into())
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
