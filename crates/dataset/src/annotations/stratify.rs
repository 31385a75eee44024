//! Dividing pictures so that each part has its share of every class (iterative stratification: Sechidis, Tsoumakas and
//! Vlahavas, 2011).

use crate::random::Random;

/// Pictures that stay together, with how many of them there are and how many objects of each class they hold; the last "class" is
/// pictures without objects.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub pictures: usize,
    pub counts: Vec<usize>,
}

/// Gives each unit its part. `shares` sum to 1; `classes` false looks at the number of pictures alone.
pub(super) fn divide(units: &[Unit], shares: &[f64], classes: bool, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..units.len()).collect();
    Random::new(&[seed, 0x5917]).shuffle(&mut order);
    // Large groups are hardest to place: they come first.
    order.sort_by_key(|&unit| std::cmp::Reverse(units[unit].pictures));
    let kinds = units.first().map_or(0, |unit| unit.counts.len());
    let total = |kind: usize| units.iter().map(|unit| unit.counts[kind]).sum::<usize>() as f64;
    let pictures = units.iter().map(|unit| unit.pictures).sum::<usize>() as f64;
    let mut wanted: Vec<Vec<f64>> =
        shares.iter().map(|share| (0..kinds).map(|kind| share * total(kind)).collect()).collect();
    let mut room: Vec<f64> = shares.iter().map(|share| share * pictures).collect();
    let mut parts = vec![usize::MAX; units.len()];
    let mut left: Vec<usize> = (0..kinds).map(|kind| total(kind) as usize).collect();
    loop {
        // The rarest kind first, while there is choice.
        let rarest = (0..kinds).filter(|&kind| classes && left[kind] > 0).min_by_key(|&kind| left[kind]);
        let candidates: Vec<usize> = order
            .iter()
            .copied()
            .filter(|&unit| parts[unit] == usize::MAX && rarest.is_none_or(|kind| units[unit].counts[kind] > 0))
            .collect();
        if candidates.is_empty() {
            return parts;
        }
        for unit in candidates {
            let need = |part: usize| (rarest.map_or(0.0, |kind| wanted[part][kind]), room[part]);
            let open = (0..shares.len()).filter(|&part| shares[part] > 0.0);
            let part = open.max_by(|&a, &b| {
                let (a_need, b_need) = (need(a), need(b));
                // Of equals the first.
                a_need.0.total_cmp(&b_need.0).then(a_need.1.total_cmp(&b_need.1)).then(b.cmp(&a))
            });
            let part = part.unwrap_or(0);
            parts[unit] = part;
            room[part] -= units[unit].pictures as f64;
            for kind in 0..kinds {
                wanted[part][kind] -= units[unit].counts[kind] as f64;
                left[kind] -= units[unit].counts[kind];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_part_has_its_share_of_every_class() {
        // 200 pictures with class 0, each tenth with class 1, each twentieth with class 2 too.
        let unit = |index: usize| Unit {
            pictures: 1,
            counts: vec![3, usize::from(index.is_multiple_of(10)), usize::from(index.is_multiple_of(20)), 0],
        };
        let units: Vec<Unit> = (0..200).map(unit).collect();
        let parts = divide(&units, &[0.7, 0.2, 0.1], true, 5);
        let count = |part: usize, kind: usize| {
            units.iter().zip(&parts).filter(|(_, at)| **at == part).map(|(unit, _)| unit.counts[kind]).sum::<usize>()
        };
        assert_eq!([0, 1, 2].map(|part| count(part, 2)), [7, 2, 1]);
        assert_eq!([0, 1, 2].map(|part| count(part, 1)), [14, 4, 2]);
        for (part, expected) in [(0, 420), (1, 120), (2, 60)] {
            assert!(count(part, 0).abs_diff(expected) <= 6, "{part}: {}", count(part, 0));
        }
        assert_eq!(divide(&units, &[0.7, 0.2, 0.1], true, 5), parts);
        assert_ne!(divide(&units, &[0.7, 0.2, 0.1], true, 6), parts);
    }

    proptest! {
        #[test]
        fn every_unit_has_a_part(sizes in proptest::collection::vec((1usize..5, 0usize..4, 0usize..4), 0..40), seed in 0u64..9) {
            let units: Vec<Unit> = sizes.iter().map(|&(pictures, a, b)| Unit { pictures, counts: vec![a, b, usize::from(a + b == 0)] }).collect();
            for classes in [true, false] {
                let parts = divide(&units, &[0.8, 0.0, 0.2], classes, seed);
                prop_assert_eq!(parts.len(), units.len());
                prop_assert!(parts.iter().all(|&part| part == 0 || part == 2));
            }
        }
    }
}
