//! Decoding: formats, depths, channels, orientation.

mod common;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use yolo11_dataset::{DatasetDescription, Picture, ScanOptions, SplitName, decode::decode};

const RED: [u8; 3] = [220, 20, 20];
const GREEN: [u8; 3] = [20, 220, 20];
const BLUE: [u8; 3] = [20, 20, 220];
const WHITE: [u8; 3] = [240, 240, 240];

/// 32 rows, 48 columns, a colour in each quarter.
fn quarters() -> RgbImage {
    RgbImage::from_fn(48, 32, |x, y| {
        Rgb(match (x < 24, y < 16) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    })
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(pixels: &[u8], width: u16, height: u16, colour: ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(pixels, width, height, colour).unwrap();
    bytes
}

fn corners(picture: &Picture) -> [[u8; 3]; 4] {
    let at = |y: usize, x: usize| {
        let start = (y * picture.width + x) * 3;
        [picture.pixels[start], picture.pixels[start + 1], picture.pixels[start + 2]]
    };
    let (bottom, right) = (picture.height - 3, picture.width - 3);
    [at(2, 2), at(2, right), at(bottom, 2), at(bottom, right)]
}

fn assert_near(found: [[u8; 3]; 4], expected: [[u8; 3]; 4], what: &str) {
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!(found.abs_diff(*expected) <= 6, "{what}: {found} for {expected}");
    }
}

/// The JPEG with an EXIF segment that holds this orientation, in either byte order.
fn with_orientation(jpeg: &[u8], orientation: u8, little: bool) -> Vec<u8> {
    let tiff: Vec<u8> = if little {
        [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0], &[0; 4]].concat()
    } else {
        [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"[..], &[0, orientation, 0, 0], &[0; 4]].concat()
    };
    let length = (2 + 6 + tiff.len()) as u16;
    [&jpeg[..2], &[0xff, 0xe1], &length.to_be_bytes()[..], b"Exif\0\0", &tiff, &jpeg[2..]].concat()
}

#[test]
fn every_orientation_is_turned_upright_and_its_size_is_known() {
    let plain = jpeg(quarters().as_raw(), 48, 32, ColorType::Rgb);
    let [r, g, b, w] = [RED, GREEN, BLUE, WHITE];
    let expected = [
        [r, g, b, w],
        [g, r, w, b],
        [w, b, g, r],
        [b, w, r, g],
        [r, b, g, w],
        [b, r, w, g],
        [w, g, b, r],
        [g, w, r, b],
    ];
    let root = common::folder();
    for (index, expected) in expected.into_iter().enumerate() {
        let orientation = index as u8 + 1;
        for little in [false, true] {
            let bytes = with_orientation(&plain, orientation, little);
            let picture = decode(&bytes).unwrap();
            assert_near(corners(&picture), expected, &format!("orientation {orientation}"));
            assert_eq!(picture.size(), if orientation < 5 { [32, 48] } else { [48, 32] });
            common::write(&root.path().join(format!("images/{orientation}-{little}.jpg")), bytes);
        }
    }
    common::write(&root.path().join("dataset.yaml"), "train: images\nnames: [x]\n");
    let description = DatasetDescription::read(root.path().join("dataset.yaml")).unwrap();
    let (split, _) = description.scan(SplitName::Train, &ScanOptions::default()).unwrap();
    let sizes: Vec<[usize; 2]> = split.images.iter().step_by(2).map(|image| image.size).collect();
    assert_eq!(sizes, [[[32, 48]; 4], [[48, 32]; 4]].concat());
}

#[test]
fn all_formats_give_the_same_colours() {
    let image = DynamicImage::ImageRgb8(quarters());
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Tiff] {
        let picture = decode(&encode(&image, format)).unwrap();
        assert_eq!(picture.size(), [32, 48]);
        assert_eq!(picture.pixels, *quarters().as_raw(), "{format:?}");
    }
    let picture = decode(&jpeg(quarters().as_raw(), 48, 32, ColorType::Rgb)).unwrap();
    assert_near(corners(&picture), [RED, GREEN, BLUE, WHITE], "JPEG");
}

#[test]
fn grey_alpha_and_sixteen_bits_become_rgb() {
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(5, 4, Luma([77])));
    let grey16 = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(5, 4, Luma([77 * 257])));
    let grey_alpha = DynamicImage::ImageLumaA8(ImageBuffer::from_pixel(5, 4, LumaA([77, 0])));
    for image in [grey, grey16, grey_alpha] {
        assert_eq!(decode(&encode(&image, ImageFormat::Png)).unwrap().pixels, [77; 60]);
    }
    // Alpha is dropped, not blended.
    let alpha = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(2, 1, Rgba([10, 20, 30, 0])));
    let deep = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(2, 1, Rgb([10 * 257, 20 * 257, 30 * 257])));
    for (image, format) in
        [(&alpha, ImageFormat::Png), (&alpha, ImageFormat::WebP), (&deep, ImageFormat::Png), (&deep, ImageFormat::Tiff)]
    {
        assert_eq!(decode(&encode(image, format)).unwrap().pixels, [10, 20, 30, 10, 20, 30], "{format:?}");
    }
    let grey = decode(&jpeg(&[77; 64], 8, 8, ColorType::Luma)).unwrap();
    assert!(grey.pixels.iter().all(|value| value.abs_diff(77) <= 1), "grey JPEG");
}

#[test]
fn cmyk_jpegs_have_the_colours_of_print() {
    let inks: Vec<u8> = [[0, 255, 255, 0]; 256].concat();
    for colour in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let picture = decode(&jpeg(&inks, 16, 16, colour)).unwrap();
        assert_near(corners(&picture), [[255, 0, 0]; 4], &format!("{colour:?}"));
    }
}

#[test]
fn bytes_that_are_no_picture_say_so() {
    assert_eq!(decode(b"").unwrap_err(), "the file is empty");
    assert_eq!(decode(b"plain text").unwrap_err(), "not a JPEG, PNG, BMP, WebP or TIFF picture");
    assert!(decode(&[0xff, 0xd8, 0xff]).unwrap_err().starts_with("the file is cut short"));
}
