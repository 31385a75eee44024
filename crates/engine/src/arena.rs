//! Places for memory that is needed only for a while.

/// One piece of memory: how long, and during which steps (both ends included) it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub length: usize,
    pub first: usize,
    pub last: usize,
}

/// Offsets for all pieces so that no two that are needed at the same time overlap, and the total length. The largest are placed
/// first, each at the lowest place that is free while it lives.
pub(crate) fn place(pieces: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(pieces[index].length));
    let mut offsets = vec![0; pieces.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let piece = pieces[index];
        let mut taken: Vec<(usize, usize)> = (placed.iter())
            .filter(|&&other| pieces[other].first <= piece.last && piece.first <= pieces[other].last)
            .map(|&other| (offsets[other], offsets[other] + pieces[other].length))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + piece.length <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[index] = offset;
        total = total.max(offset + piece.length);
        placed.push(index);
    }
    (offsets, total)
}

/// Memory for values, aligned for the widest vectors, with room past the end for whole-vector reads.
pub(crate) struct Memory {
    values: Vec<f32>,
    start: usize,
}

impl Memory {
    /// `length` zeros. Pages that are never touched cost nothing.
    pub(crate) fn new(length: usize) -> Memory {
        let values = vec![0.0f32; length + 128];
        let start = values.as_ptr().align_offset(64).min(64);
        Memory { values, start }
    }

    /// The start.
    pub(crate) fn shared(&mut self) -> crate::cpu::Shared {
        crate::cpu::Shared(self.values[self.start..].as_mut_ptr())
    }

    /// Values from `offset` on.
    pub(crate) fn slice(&self, offset: usize, length: usize) -> &[f32] {
        &self.values[self.start + offset..][..length]
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_time_do_not_overlap_and_others_share() {
        let piece = |length, first, last| Lifetime { length, first, last };
        let pieces = [piece(10, 0, 1), piece(20, 1, 2), piece(10, 2, 3), piece(5, 0, 3)];
        let (offsets, total) = place(&pieces);
        for (i, a) in pieces.iter().enumerate() {
            for (j, b) in pieces.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let overlap = offsets[i] < offsets[j] + b.length && offsets[j] < offsets[i] + a.length;
                assert!(!(together && overlap), "{i} {j}");
            }
        }
        assert_eq!(total, 35);
    }
}
