//! Numbers as they lie in a file.

use half::{bf16, f16};

use crate::error::Problem;
use crate::source::Source;

/// Type of one element of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    F16,
    BF16,
    F32,
    F64,
    U8,
    I8,
    I16,
    I32,
    I64,
    /// Known to the format, of no use for weights (complex, quantised …).
    Other,
}

impl ElementType {
    /// Bytes of one element; 0 where the type cannot be read.
    pub fn size(self) -> usize {
        match self {
            ElementType::U8 | ElementType::I8 => 1,
            ElementType::F16 | ElementType::BF16 | ElementType::I16 => 2,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F64 | ElementType::I64 => 8,
            ElementType::Other => 0,
        }
    }
}

/// A stretch of a file that holds numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    /// What messages call it.
    pub name: String,
    /// Where it begins in the file.
    pub start: u64,
    /// Its bytes. They lie inside the file.
    pub length: u64,
    /// CRC-32 of its bytes, where the file tells one.
    pub checksum: Option<u32>,
}

impl Storage {
    /// Reads the stretch into a buffer that is used again, and compares its checksum.
    pub fn read(&self, source: &Source, buffer: &mut Vec<u8>) -> Result<(), Problem> {
        source.read_into(self.start, self.length, buffer)?;
        match self.checksum {
            Some(checksum) if crc32fast::hash(buffer) != checksum => {
                Err(Problem::damaged(&*self.name, "its checksum does not match its content"))
            }
            _ => Ok(()),
        }
    }
}

/// A tensor found in a file: name, shape, and where its numbers lie. Nothing is read before it is decoded.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<usize>,
    /// Distance in elements between neighbours along each axis.
    pub strides: Vec<usize>,
    pub storage: Storage,
    /// Elements of the storage before the tensor's first.
    pub offset: usize,
}

/// Row-major strides of a shape; saturating, so that a hostile shape is no panic.
pub(crate) fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].max(1).saturating_mul(strides[axis]);
    }
    strides
}

/// Number of elements of a shape, if it can be counted.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

impl StoredTensor {
    /// Checks that every element lies inside the storage and that no element is told twice (a tiny storage could claim any size).
    pub fn check(&self) -> Result<(), String> {
        let size = self.element.size();
        if size == 0 {
            return Err("its element type is not one of float16, bfloat16, float32, float64 or an integer".into());
        }
        let held = usize::try_from(self.storage.length).unwrap_or(usize::MAX) / size;
        let held = held.saturating_sub(self.offset);
        let count = elements(&self.shape).ok_or("its shape is too large to count")?;
        let last =
            self.shape.iter().zip(&self.strides).try_fold(0usize, |sum, (&length, &stride)| {
                sum.checked_add(length.saturating_sub(1).checked_mul(stride)?)
            });
        let needed =
            if count == 0 { 0 } else { last.and_then(|last| last.checked_add(1)).ok_or("its strides overflow")? };
        if needed > held || count > held {
            let needed = needed.max(count);
            return Err(format!("its storage is too short: {held} elements of {needed}"));
        }
        Ok(())
    }

    /// Writes the elements as float32 in row-major order. `stored` is the storage's content, `values` has as many places as the
    /// shape has elements, and [`StoredTensor::check`] has passed.
    pub fn decode(&self, stored: &[u8], values: &mut [f32]) {
        let skipped = self.offset.saturating_mul(self.element.size()).min(stored.len());
        let stored = &stored[skipped..];
        match self.element {
            ElementType::F16 => self.decode_as(stored, values, |bytes| f16::from_le_bytes(bytes).to_f32()),
            ElementType::BF16 => self.decode_as(stored, values, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            ElementType::F32 => self.decode_as(stored, values, f32::from_le_bytes),
            ElementType::F64 => self.decode_as(stored, values, |bytes| f64::from_le_bytes(bytes) as f32),
            ElementType::U8 => self.decode_as(stored, values, |[byte]| f32::from(byte)),
            ElementType::I8 => self.decode_as(stored, values, |bytes| f32::from(i8::from_le_bytes(bytes))),
            ElementType::I16 => self.decode_as(stored, values, |bytes| f32::from(i16::from_le_bytes(bytes))),
            ElementType::I32 => self.decode_as(stored, values, |bytes| i32::from_le_bytes(bytes) as f32),
            ElementType::I64 => self.decode_as(stored, values, |bytes| i64::from_le_bytes(bytes) as f32),
            ElementType::Other => {}
        }
    }

    fn decode_as<const SIZE: usize>(&self, stored: &[u8], values: &mut [f32], read: impl Fn([u8; SIZE]) -> f32) {
        let (stored, _) = stored.as_chunks::<SIZE>();
        if self.strides == contiguous_strides(&self.shape) {
            for (value, bytes) in values.iter_mut().zip(stored) {
                *value = read(*bytes);
            }
            return;
        }
        let mut position = vec![0usize; self.shape.len()];
        let mut offset = 0usize;
        for value in values {
            *value = read(stored[offset]);
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                // Wrapping: the stride of an axis of length one is never used and may be anything.
                offset = offset.wrapping_add(self.strides[axis]);
                if position[axis] < self.shape[axis] {
                    break;
                }
                offset = offset.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                position[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn view(element: ElementType, shape: &[usize], strides: &[usize], bytes: &[u8]) -> StoredTensor {
        StoredTensor {
            name: "t".into(),
            element,
            shape: shape.into(),
            strides: strides.into(),
            storage: Storage { name: "data/0".into(), start: 0, length: bytes.len() as u64, checksum: None },
            offset: 0,
        }
    }

    #[test]
    fn a_transposed_view_is_read_in_row_major_order() {
        let bytes = floats(&[9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let view = StoredTensor { offset: 1, ..view(ElementType::F32, &[3, 2], &[1, 3], &bytes) };
        view.check().unwrap();
        let mut values = [0.0; 6];
        view.decode(&bytes, &mut values);
        assert_eq!(values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let beyond = StoredTensor { offset: 2, ..view };
        assert_eq!(beyond.check().unwrap_err(), "its storage is too short: 5 elements of 6");
    }

    #[test]
    fn a_view_beyond_its_storage_and_an_expanded_one_are_errors() {
        let bytes = floats(&[0.0, 1.0]);
        let view = |shape: &[usize], strides: &[usize]| view(ElementType::F32, shape, strides, &bytes);
        assert_eq!(view(&[3], &[1]).check().unwrap_err(), "its storage is too short: 2 elements of 3");
        assert_eq!(view(&[1000], &[0]).check().unwrap_err(), "its storage is too short: 2 elements of 1000");
        assert!(view(&[usize::MAX, 3], &[1, 1]).check().is_err());
        let mut values = [7.0; 2];
        let unused_stride = view(&[2, 1], &[1, usize::MAX]);
        unused_stride.check().unwrap();
        unused_stride.decode(&bytes, &mut values);
        assert_eq!(values, [0.0, 1.0]);
        assert!(view(&[0], &[1]).check().is_ok());
    }

    #[test]
    fn every_element_type_becomes_float32() {
        let mut value = [0.0];
        let cases: [(ElementType, Vec<u8>); 9] = [
            (ElementType::F16, f16::from_f32(-3.0).to_le_bytes().to_vec()),
            (ElementType::BF16, bf16::from_f32(-3.0).to_le_bytes().to_vec()),
            (ElementType::F32, (-3f32).to_le_bytes().to_vec()),
            (ElementType::F64, (-3f64).to_le_bytes().to_vec()),
            (ElementType::U8, vec![3]),
            (ElementType::I8, (-3i8).to_le_bytes().to_vec()),
            (ElementType::I16, (-3i16).to_le_bytes().to_vec()),
            (ElementType::I32, (-3i32).to_le_bytes().to_vec()),
            (ElementType::I64, (-3i64).to_le_bytes().to_vec()),
        ];
        for (element, bytes) in cases {
            let stored = view(element, &[], &[], &bytes);
            stored.check().unwrap();
            stored.decode(&bytes, &mut value);
            assert_eq!(value[0].abs(), 3.0, "{element:?}");
        }
    }
}
