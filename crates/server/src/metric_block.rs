//! The points of one metric as they are stored: packed, a batch in a row.
//!
//! A block is a count, then for each point the timestamp and the step as differences to the point before, all of them as variable-length
//! whole numbers (zigzag, 7 bits a byte), and the value's eight bytes. A point logged every step needs about 11 bytes; a row of a table
//! of points would need more than 100.

/// A point of a metric's history.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Step.
    pub step: i64,
    /// Value; may be NaN, is never infinite.
    pub value: f64,
}

impl Point {
    /// The order of points: by step, timestamp and value. The last in this order is a metric's latest; NaN is after every number.
    pub fn order(&self, other: &Point) -> std::cmp::Ordering {
        let nan = |point: &Point| point.value.is_nan();
        (self.step, self.timestamp, nan(self)).cmp(&(other.step, other.timestamp, nan(other))).then_with(|| {
            // Two zeros of different sign are one value.
            self.value.partial_cmp(&other.value).unwrap_or(std::cmp::Ordering::Equal)
        })
    }
}

/// The value as it is kept: infinities become the largest number, as other servers do.
pub fn storable(value: f64) -> f64 {
    match value {
        value if value.is_nan() => f64::NAN,
        value => value.clamp(f64::MIN, f64::MAX),
    }
}

/// Packs points, in the order given.
pub fn pack(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + points.len() * 12);
    number(&mut bytes, points.len() as u64);
    let (mut timestamp, mut step) = (0i64, 0i64);
    for point in points {
        number(&mut bytes, zigzag(point.timestamp.wrapping_sub(timestamp)));
        number(&mut bytes, zigzag(point.step.wrapping_sub(step)));
        bytes.extend_from_slice(&point.value.to_le_bytes());
        (timestamp, step) = (point.timestamp, point.step);
    }
    bytes
}

/// Unpacks a block onto the end of `points`; `false` where it is damaged.
#[must_use]
pub fn unpack(mut bytes: &[u8], points: &mut Vec<Point>) -> bool {
    let Some(count) = take_number(&mut bytes) else { return false };
    // Each point has ten bytes at least.
    if count > bytes.len() as u64 / 10 {
        return false;
    }
    points.reserve(count as usize);
    let (mut timestamp, mut step) = (0i64, 0i64);
    for _ in 0..count {
        let (Some(later), Some(further)) = (take_number(&mut bytes), take_number(&mut bytes)) else { return false };
        let Some((value, rest)) = bytes.split_first_chunk::<8>() else { return false };
        bytes = rest;
        timestamp = timestamp.wrapping_add(unzigzag(later));
        step = step.wrapping_add(unzigzag(further));
        points.push(Point { timestamp, step, value: f64::from_le_bytes(*value) });
    }
    bytes.is_empty()
}

/// Puts points in order and keeps one of those that are the same in everything.
pub fn in_order(points: &mut Vec<Point>) {
    if !points.is_sorted_by(|a, b| a.order(b).is_lt()) {
        points.sort_by(Point::order);
        points.dedup_by(|a, b| a.order(b).is_eq());
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(given in prop::collection::vec((any::<i64>(), any::<i64>(), any::<f64>()), 0..200)) {
            let points: Vec<Point> = given.iter().map(|&(timestamp, step, value)| Point { timestamp, step, value }).collect();
            let mut found = Vec::new();
            prop_assert!(unpack(&pack(&points), &mut found));
            prop_assert_eq!(found.len(), points.len());
            for (a, b) in points.iter().zip(&found) {
                prop_assert_eq!((a.timestamp, a.step, a.value.to_bits()), (b.timestamp, b.step, b.value.to_bits()));
            }
        }

        #[test]
        fn damage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn points_of_a_step_by_step_training_need_eleven_bytes() {
        let points: Vec<Point> = (0..1000)
            .map(|step| Point { timestamp: 1_700_000_000_000 + step * 50, step, value: step as f64 * 0.1 })
            .collect();
        assert_eq!(pack(&points).len(), 2 + 6 + 1 + 8 + 999 * 10);
    }

    #[test]
    fn equal_points_are_kept_once_and_nan_is_last() {
        let point = |step, value| Point { timestamp: 7, step, value };
        let mut points =
            vec![point(2, f64::NAN), point(1, 0.5), point(2, 3.0), point(1, 0.5), point(2, f64::NAN), point(1, -0.5)];
        in_order(&mut points);
        let found: Vec<String> = points.iter().map(|point| format!("{} {}", point.step, point.value)).collect();
        assert_eq!(found, ["1 -0.5", "1 0.5", "2 3", "2 NaN"]);
    }
}
