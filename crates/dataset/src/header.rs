//! What a picture's header says, without decoding it: size, orientation, and whether the file is whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use image::{ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use crate::Check;
use crate::exif::Exif;

/// Extensions of pictures that are looked for in folders.
pub(crate) const EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"];

/// Whether the name ends like that of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// How a picture's colours are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Three channels of 8 bits.
    Colour,
    /// One channel of 8 bits.
    Grey,
    /// Anything else, in words.
    Odd(&'static str),
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `[height, width]` as it is seen: orientation applied.
    pub size: [usize; 2],
    /// The format by its content.
    pub format: ImageFormat,
    pub mode: Mode,
    /// EXIF, where there is some: its values, or what is wrong with it.
    pub exif: Option<Result<Exif, &'static str>>,
}

/// Why a picture cannot be used.
pub(crate) type Broken = (Check, String);

/// Reads a picture's header. Fails with what is wrong where the file is empty, no picture, or cut short.
pub(crate) fn probe(path: &Path) -> Result<Header, Broken> {
    let unreadable = |error: std::io::Error| (Check::PictureUnreadable, format!("cannot be read: {error}"));
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length == 0 {
        return Err((Check::PictureEmpty, "the file is empty".into()));
    }
    let mut start = [0; 32];
    let got = read_up_to(&mut file, &mut start).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let header = if start.starts_with(&[0xff, 0xd8]) {
        let mut reader = BufReader::with_capacity(16 << 10, file);
        let header = jpeg_header(&mut reader).map_err(|message| (broken_jpeg(&message), message))?;
        check_jpeg_end(&mut reader, length).map_err(|message| (Check::PictureTruncated, message))?;
        Header { size: header.size(), format: ImageFormat::Jpeg, mode: header.mode, exif: header.exif }
    } else {
        let reader = BufReader::with_capacity(16 << 10, file);
        probe_other(path, reader, &start[..got], length)?
    };
    if header.size.contains(&0) {
        return Err((Check::PictureUnreadable, "the picture has no pixels".into()));
    }
    Ok(header)
}

fn broken_jpeg(message: &str) -> Check {
    if message.contains("cut short") { Check::PictureTruncated } else { Check::PictureUnreadable }
}

fn probe_other(path: &Path, mut file: BufReader<File>, start: &[u8], length: u64) -> Result<Header, Broken> {
    let unreadable = |error: std::io::Error| (Check::PictureUnreadable, format!("cannot be read: {error}"));
    let undecodable = |error| (Check::PictureUnreadable, format!("cannot be decoded: {error}"));
    let format = image::guess_format(start)
        .map_err(|_| (Check::PictureUnreadable, "not a JPEG, PNG, BMP, WebP or TIFF picture".to_string()))?;
    let complete = match format {
        ImageFormat::Png => {
            let mut end = [0; 8];
            file.seek(SeekFrom::Start(length.saturating_sub(8))).map_err(unreadable)?;
            file.read_exact(&mut end).map_err(unreadable)?;
            file.rewind().map_err(unreadable)?;
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
        let cut = |message: String| {
            // What can be said of an unfinished file of these formats is that it ends too soon.
            let ends = matches!(format, ImageFormat::Png | ImageFormat::WebP);
            (if ends { Check::PictureTruncated } else { Check::PictureUnreadable }, message)
        };
        crate::decode::decode_file(path).map_err(|error| match error {
            crate::Error::Picture { message, .. } => cut(message),
            other => cut(other.to_string()),
        })?;
    }
    let mut reader = ImageReader::new(file);
    reader.set_format(format);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    let exif = decoder.exif_metadata().ok().flatten().map(|chunk| Exif::read(&chunk));
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let is_palette = format == ImageFormat::Png && start.get(25) == Some(&3);
    let mode = if is_palette { Mode::Odd("a palette") } else { mode_of(decoder.original_color_type()) };
    Ok(Header { size: oriented([height as usize, width as usize], orientation), format, mode, exif })
}

fn mode_of(colour: ExtendedColorType) -> Mode {
    use ExtendedColorType as Type;
    match colour {
        Type::Rgb8 | Type::Bgr8 => Mode::Colour,
        Type::L8 | Type::L1 | Type::L2 | Type::L4 => Mode::Grey,
        Type::L16 | Type::Rgb16 => Mode::Odd("16 bits a channel"),
        Type::La16 | Type::Rgba16 => Mode::Odd("16 bits a channel, with transparency"),
        Type::La8 | Type::Rgba8 | Type::Bgra8 | Type::A8 => Mode::Odd("transparency"),
        Type::Cmyk8 | Type::Cmyk16 => Mode::Odd("CMYK"),
        _ => Mode::Odd("an unusual kind of pixels"),
    }
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
    mode: Mode,
    exif: Option<Result<Exif, &'static str>>,
}

impl JpegHeader {
    /// How the picture is to be turned.
    pub fn orientation(&self) -> Orientation {
        self.exif.and_then(Result::ok).map_or(Orientation::NoTransforms, |exif| exif.turn())
    }

    fn size(&self) -> [usize; 2] {
        oriented([self.height, self.width], self.orientation())
    }
}

/// Walks a JPEG's segments (ITU T.81, annex B) up to the first scan.
pub(crate) fn jpeg_header<R: Read + Seek>(reader: &mut R) -> Result<JpegHeader, String> {
    let cut = |_| "the file is cut short inside its header".to_string();
    let mut exif = None;
    let mut frame_header = None;
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
                let mut frame = [0; 6];
                reader.read_exact(&mut frame).map_err(cut)?;
                let two = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                let mode = match (frame[0], frame[5]) {
                    (8, 1) => Mode::Grey,
                    (8, 3) => Mode::Colour,
                    (8, 4) => Mode::Odd("CMYK"),
                    _ => Mode::Odd("more than 8 bits a channel"),
                };
                frame_header = Some((two(1), two(3), mode));
                reader.seek_relative(length as i64 - 6).map_err(cut)?;
            }
            0xe1 => {
                let mut segment = vec![0; length as usize];
                reader.read_exact(&mut segment).map_err(cut)?;
                if let Some(chunk) = segment.strip_prefix(b"Exif\0\0") {
                    exif = Some(Exif::read(chunk));
                }
            }
            _ => reader.seek_relative(length as i64).map_err(cut)?,
        }
    }
    let (height, width, mode) = frame_header.ok_or("the file has no picture header")?;
    Ok(JpegHeader { height, width, mode, exif })
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
