//! Numbers as they lie in a file.

use half::{bf16, f16};

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

/// A tensor found in a file: name, shape, and where its numbers lie. Nothing is copied before [`StoredTensor::decode`].
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor<'a> {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<usize>,
    /// Distance in elements between neighbours along each axis.
    pub strides: Vec<usize>,
    /// The storage from the tensor's first element on.
    pub bytes: &'a [u8],
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

impl StoredTensor<'_> {
    /// Checks that every element lies inside the storage and that no element is told twice (a tiny storage could claim any size).
    pub fn check(&self) -> Result<(), String> {
        let size = self.element.size();
        if size == 0 {
            return Err("its element type is not one of float16, bfloat16, float32, float64 or an integer".into());
        }
        let held = self.bytes.len() / size;
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

    /// Writes the elements as float32 in row-major order. `values` has as many places as the shape has elements and
    /// [`StoredTensor::check`] has passed.
    pub fn decode(&self, values: &mut [f32]) {
        match self.element {
            ElementType::F16 => self.decode_as(values, |bytes| f16::from_le_bytes(bytes).to_f32()),
            ElementType::BF16 => self.decode_as(values, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            ElementType::F32 => self.decode_as(values, f32::from_le_bytes),
            ElementType::F64 => self.decode_as(values, |bytes| f64::from_le_bytes(bytes) as f32),
            ElementType::U8 => self.decode_as(values, |[byte]| f32::from(byte)),
            ElementType::I8 => self.decode_as(values, |bytes| f32::from(i8::from_le_bytes(bytes))),
            ElementType::I16 => self.decode_as(values, |bytes| f32::from(i16::from_le_bytes(bytes))),
            ElementType::I32 => self.decode_as(values, |bytes| i32::from_le_bytes(bytes) as f32),
            ElementType::I64 => self.decode_as(values, |bytes| i64::from_le_bytes(bytes) as f32),
            ElementType::Other => {}
        }
    }

    fn decode_as<const SIZE: usize>(&self, values: &mut [f32], read: impl Fn([u8; SIZE]) -> f32) {
        let (stored, _) = self.bytes.as_chunks::<SIZE>();
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

    #[test]
    fn a_transposed_view_is_read_in_row_major_order() {
        let bytes = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let view = StoredTensor {
            name: "t".into(),
            element: ElementType::F32,
            shape: vec![3, 2],
            strides: vec![1, 3],
            bytes: &bytes,
        };
        view.check().unwrap();
        let mut values = [0.0; 6];
        view.decode(&mut values);
        assert_eq!(values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn a_view_beyond_its_storage_and_an_expanded_one_are_errors() {
        let bytes = floats(&[0.0, 1.0]);
        let view = |shape: Vec<usize>, strides: Vec<usize>| StoredTensor {
            name: "t".into(),
            element: ElementType::F32,
            shape,
            strides,
            bytes: &bytes,
        };
        assert_eq!(view(vec![3], vec![1]).check().unwrap_err(), "its storage is too short: 2 elements of 3");
        assert_eq!(view(vec![1000], vec![0]).check().unwrap_err(), "its storage is too short: 2 elements of 1000");
        assert!(view(vec![usize::MAX, 3], vec![1, 1]).check().is_err());
        let mut values = [7.0; 2];
        let unused_stride = view(vec![2, 1], vec![1, usize::MAX]);
        unused_stride.check().unwrap();
        unused_stride.decode(&mut values);
        assert_eq!(values, [0.0, 1.0]);
        assert!(view(vec![0], vec![1]).check().is_ok());
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
            let stored = StoredTensor { name: String::new(), element, shape: vec![], strides: vec![], bytes: &bytes };
            stored.check().unwrap();
            stored.decode(&mut value);
            assert_eq!(value[0].abs(), 3.0, "{element:?}");
        }
    }
}
