//! md5 of many messages side by side: a vector register holds one word of each message, so that one core digests as many as it has lanes.
//!
//! md5 (RFC 1321) is a chain: each of its 64 steps needs the one before, so a single message leaves most of a core idle.

use std::array::from_fn;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;
/// RFC 1321, 3.3.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// RFC 1321, 3.4: the whole part of 2³² · |sin(step)|.
const SINES: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8,
    0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
    0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87,
    0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
    0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039,
    0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
    0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
    0xeb86d391,
];

/// A message as far as it has been digested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Digest {
    words: [u32; 4],
    length: u64,
}

impl Digest {
    /// Of nothing yet.
    pub fn new() -> Digest {
        Digest { words: START, length: 0 }
    }

    /// After the last bytes: fewer than a block, those that [`update`] left over. As 32 hexadecimal digits.
    pub fn finish(mut self, rest: &[u8]) -> String {
        let mut end = [0; 2 * BLOCK];
        end[..rest.len()].copy_from_slice(rest);
        end[rest.len()] = 0x80;
        let length = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        let bits = (self.length + rest.len() as u64).wrapping_mul(8);
        end[length - 8..length].copy_from_slice(&bits.to_le_bytes());
        single(&mut self.words, &end[..length]);
        self.words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Digests the whole blocks of each message's next bytes; what is less than a block is left to the next call or to [`Digest::finish`].
/// A panic where there are not as many digests as messages.
pub(crate) fn update(digests: &mut [Digest], messages: &[&[u8]]) {
    assert_eq!(digests.len(), messages.len());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has been asked for the instructions.
            return side_by_side(digests, messages, |words, data, blocks| unsafe { x86::sixteen(words, data, blocks) });
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has been asked for the instructions.
            return side_by_side(digests, messages, |words, data, blocks| unsafe { x86::eight(words, data, blocks) });
        }
    }
    one_by_one(digests, messages);
}

fn one_by_one(digests: &mut [Digest], messages: &[&[u8]]) {
    for (digest, message) in digests.iter_mut().zip(messages) {
        single(&mut digest.words, &message[..whole(message)]);
        digest.length += whole(message) as u64;
    }
}

/// Bytes in whole blocks.
fn whole(message: &[u8]) -> usize {
    message.len() / BLOCK * BLOCK
}

/// A message in a lane: which, and how many of its bytes are digested.
#[derive(Clone, Copy)]
struct Seat {
    message: usize,
    position: usize,
}

/// Keeps the lanes filled: when a message ends, the next takes its lane. `compress` digests so many blocks of every lane.
fn side_by_side<const LANES: usize>(
    digests: &mut [Digest],
    messages: &[&[u8]],
    compress: impl Fn(&mut [[u32; LANES]; 4], &[&[u8]; LANES], usize),
) {
    let mut words = [[0; LANES]; 4];
    let mut seats: [Option<Seat>; LANES] = [None; LANES];
    let mut waiting = (0..messages.len()).filter(|&message| messages[message].len() >= BLOCK);
    loop {
        for (lane, seat) in seats.iter_mut().enumerate().filter(|(_, seat)| seat.is_none()) {
            let Some(message) = waiting.next() else { break };
            *seat = Some(Seat { message, position: 0 });
            words.iter_mut().zip(digests[message].words).for_each(|(word, start)| word[lane] = start);
        }
        let left = |seat: &Seat| (messages[seat.message].len() - seat.position) / BLOCK;
        let taken = seats.iter().flatten().count();
        let Some(blocks) = seats.iter().flatten().map(left).min() else { return };
        if taken == 1 {
            // Alone, a message is digested as fast without company.
            for (lane, seat) in seats.iter().enumerate() {
                let Some(seat) = seat else { continue };
                let message = messages[seat.message];
                let mut alone = from_fn(|word| words[word][lane]);
                single(&mut alone, &message[seat.position..whole(message)]);
                digests[seat.message].words = alone;
                digests[seat.message].length += whole(message) as u64;
            }
            return;
        }
        // Empty lanes repeat another's bytes, and nobody looks at what comes out.
        let some = seats.iter().flatten().next().map_or(&[][..], |seat| &messages[seat.message][seat.position..]);
        let data = from_fn(|lane| seats[lane].map_or(some, |seat| &messages[seat.message][seat.position..]));
        compress(&mut words, &data, blocks);
        for (lane, place) in seats.iter_mut().enumerate() {
            let Some(seat) = place else { continue };
            seat.position += blocks * BLOCK;
            if seat.position == whole(messages[seat.message]) {
                digests[seat.message].words = from_fn(|word| words[word][lane]);
                digests[seat.message].length += seat.position as u64;
                *place = None;
            }
        }
    }
}

/// One message's whole blocks.
fn single(words: &mut [u32; 4], message: &[u8]) {
    let mut lanes = words.map(|word| [word]);
    rounds(&mut lanes, message.len() / BLOCK, |block| {
        let bytes = &message[block * BLOCK..][..BLOCK];
        from_fn(|word| [from_fn(|byte| bytes[4 * word + byte])].map(u32::from_le_bytes))
    });
    *words = lanes.map(|[word]| word);
}

/// RFC 1321, 3.4, on every lane; `load` gives a block's 16 words. Plain arrays: inside a function for wide registers they become such registers.
#[inline(always)]
fn rounds<const LANES: usize>(
    words: &mut [[u32; LANES]; 4],
    blocks: usize,
    load: impl Fn(usize) -> [[u32; LANES]; 16],
) {
    for block in 0..blocks {
        let data = load(block);
        let [mut a, mut b, mut c, mut d] = *words;
        macro_rules! step {
            ($mix:expr, $a:ident $b:ident $c:ident $d:ident, $word:expr, $turn:expr, $index:expr) => {
                for lane in 0..LANES {
                    let mixed: u32 = $mix($b[lane], $c[lane], $d[lane]);
                    let sum = $a[lane].wrapping_add(data[$word % 16][lane]).wrapping_add(SINES[$index]);
                    $a[lane] = $b[lane].wrapping_add(sum.wrapping_add(mixed).rotate_left($turn));
                }
            };
        }
        // Written out, so that words and turns are known when it is compiled.
        macro_rules! four {
            ($mix:expr, [$factor:literal, $offset:literal], $turns:expr, $index:expr) => {
                step!($mix, a b c d, $factor * $index + $offset, $turns[0], $index);
                step!($mix, d a b c, $factor * ($index + 1) + $offset, $turns[1], $index + 1);
                step!($mix, c d a b, $factor * ($index + 2) + $offset, $turns[2], $index + 2);
                step!($mix, b c d a, $factor * ($index + 3) + $offset, $turns[3], $index + 3);
            };
        }
        macro_rules! round {
            ($mix:expr, $order:tt, $turns:expr, $index:expr) => {
                four!($mix, $order, $turns, $index);
                four!($mix, $order, $turns, $index + 4);
                four!($mix, $order, $turns, $index + 8);
                four!($mix, $order, $turns, $index + 12);
            };
        }
        round!(|b: u32, c: u32, d: u32| d ^ (b & (c ^ d)), [1, 0], [7, 12, 17, 22], 0);
        round!(|b: u32, c: u32, d: u32| c ^ (d & (b ^ c)), [5, 1], [5, 9, 14, 20], 16);
        round!(|b: u32, c: u32, d: u32| b ^ c ^ d, [3, 5], [4, 11, 16, 23], 32);
        round!(|b: u32, c: u32, d: u32| c ^ (b | !d), [7, 0], [6, 10, 15, 21], 48);
        for (sum, word) in words.iter_mut().zip([a, b, c, d]) {
            *sum = from_fn(|lane| sum[lane].wrapping_add(word[lane]));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::array::from_fn;

    use super::{BLOCK, rounds};

    #[target_feature(enable = "avx512f")]
    pub fn sixteen(words: &mut [[u32; 16]; 4], data: &[&[u8]; 16], blocks: usize) {
        data.iter().for_each(|lane| assert!(lane.len() >= blocks * BLOCK));
        rounds(words, blocks, |block| {
            // SAFETY: every lane has been seen to hold this block's 64 bytes, and the load asks for no alignment.
            let rows = from_fn(|lane| unsafe { _mm512_loadu_epi32(data[lane].as_ptr().add(block * BLOCK).cast()) });
            transposed_16(rows)
        });
    }

    #[target_feature(enable = "avx2")]
    pub fn eight(words: &mut [[u32; 8]; 4], data: &[&[u8]; 8], blocks: usize) {
        data.iter().for_each(|lane| assert!(lane.len() >= blocks * BLOCK));
        rounds(words, blocks, |block| {
            let half = |offset: usize| {
                // SAFETY: every lane has been seen to hold this block's 64 bytes, and the load asks for no alignment.
                transposed_8(from_fn(|lane| unsafe {
                    _mm256_loadu_si256(data[lane].as_ptr().add(block * BLOCK + offset).cast())
                }))
            };
            let (first, second) = (half(0), half(BLOCK / 2));
            from_fn(|word| if word < 8 { first[word] } else { second[word - 8] })
        });
    }

    /// A row is a lane's block; a row of the result is one word of every lane.
    #[target_feature(enable = "avx512f")]
    fn transposed_16(rows: [__m512i; 16]) -> [[u32; 16]; 16] {
        let pairs: [__m512i; 16] = from_fn(|index| match index % 2 {
            0 => _mm512_unpacklo_epi32(rows[index], rows[index + 1]),
            _ => _mm512_unpackhi_epi32(rows[index - 1], rows[index]),
        });
        let quads: [__m512i; 16] = from_fn(|index| {
            let (group, column) = (index / 4 * 4, index % 4);
            let (low, high) = (pairs[group + column / 2], pairs[group + column / 2 + 2]);
            if column % 2 == 0 { _mm512_unpacklo_epi64(low, high) } else { _mm512_unpackhi_epi64(low, high) }
        });
        let mut columns = [_mm512_setzero_si512(); 16];
        for column in 0..4 {
            let [a, b, c, d] = from_fn(|group| quads[4 * group + column]);
            let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
            let (even_2, odd_2) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
            columns[column] = _mm512_shuffle_i32x4::<0x88>(even, even_2);
            columns[column + 4] = _mm512_shuffle_i32x4::<0x88>(odd, odd_2);
            columns[column + 8] = _mm512_shuffle_i32x4::<0xdd>(even, even_2);
            columns[column + 12] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_2);
        }
        // SAFETY: both are 1024 bytes without gaps, and every pattern of bits is a number.
        unsafe { std::mem::transmute(columns) }
    }

    /// A row is half of a lane's block; a row of the result is one word of every lane.
    #[target_feature(enable = "avx2")]
    fn transposed_8(rows: [__m256i; 8]) -> [[u32; 8]; 8] {
        let pairs: [__m256i; 8] = from_fn(|index| match index % 2 {
            0 => _mm256_unpacklo_epi32(rows[index], rows[index + 1]),
            _ => _mm256_unpackhi_epi32(rows[index - 1], rows[index]),
        });
        let quads: [__m256i; 8] = from_fn(|index| {
            let (group, column) = (index / 4 * 4, index % 4);
            let (low, high) = (pairs[group + column / 2], pairs[group + column / 2 + 2]);
            if column % 2 == 0 { _mm256_unpacklo_epi64(low, high) } else { _mm256_unpackhi_epi64(low, high) }
        });
        let columns: [__m256i; 8] = from_fn(|column| {
            let (low, high) = (quads[column % 4], quads[4 + column % 4]);
            if column < 4 {
                _mm256_permute2x128_si256::<0x20>(low, high)
            } else {
                _mm256_permute2x128_si256::<0x31>(low, high)
            }
        });
        // SAFETY: both are 256 bytes without gaps, and every pattern of bits is a number.
        unsafe { std::mem::transmute(columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::md5_of;

    type Update = fn(&mut [Digest], &[&[u8]]);

    /// What this processor can do, the plain way included.
    fn ways() -> Vec<Update> {
        #[allow(unused_mut)]
        let mut ways: Vec<Update> = vec![update, one_by_one];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has been asked for the instructions.
            ways.push(|digests, messages| side_by_side(digests, messages, |a, b, c| unsafe { x86::eight(a, b, c) }));
        }
        ways
    }

    #[test]
    fn messages_side_by_side_have_the_md5_each_has_alone() {
        let bytes: Vec<u8> = (0..200_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let lengths = [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1000, 64 * 1024, 64 * 1024 + 1, 100_003];
        for way in ways() {
            for count in [0, 1, 2, 7, 8, 9, 16, 17, 40] {
                let messages: Vec<&[u8]> =
                    (0..count).map(|index| &bytes[index * 31..][..lengths[(index * 7 + count) % 16]]).collect();
                let mut digests = vec![Digest::new(); count];
                // In two parts, as files come in pieces; the first is whole blocks.
                let parts: Vec<usize> = messages.iter().map(|message| message.len() / 2 / BLOCK * BLOCK).collect();
                let first: Vec<&[u8]> = messages.iter().zip(&parts).map(|(message, &part)| &message[..part]).collect();
                let second: Vec<&[u8]> = messages.iter().zip(&parts).map(|(message, &part)| &message[part..]).collect();
                way(&mut digests, &first);
                way(&mut digests, &second);
                for ((digest, message), second) in digests.iter().zip(&messages).zip(&second) {
                    assert_eq!(digest.finish(&second[whole(second)..]), md5_of(message), "{} bytes", message.len());
                }
            }
        }
    }
}
