//! The order in which a search wants what it finds.

use std::cmp::Ordering;

use crate::error::ApiError;
use crate::filter::{Entity, parse_order};
use crate::request::Request;

/// The attributes in `order_by`, each with whether it ascends. `things` are what is searched, `known` what they can be ordered by.
///
/// # Errors
/// An order that is not understood, or another attribute.
pub(crate) fn asked(request: &Request, things: &str, known: &[&str]) -> Result<Vec<(String, bool)>, ApiError> {
    let mut orders = Vec::new();
    for text in request.texts("order_by")? {
        let (key, ascending) = parse_order(&text)?;
        if key.entity != Entity::Attribute || !known.contains(&key.name.as_str()) {
            let known = known.join(", ");
            return Err(ApiError::invalid(format!("{things} cannot be ordered by `{}`: {known}", key.name)));
        }
        orders.push((key.name, ascending));
    }
    Ok(orders)
}

/// Sorts by one attribute after the other, and by `natural` what is the same in all of them.
pub(crate) fn sort<T>(
    found: &mut [T],
    orders: &[(String, bool)],
    by: impl Fn(&str, &T, &T) -> Ordering,
    natural: impl Fn(&T, &T) -> Ordering,
) {
    found.sort_by(|a, b| {
        let steps = orders.iter().map(|(name, ascending)| {
            let order = by(name, a, b);
            if *ascending { order } else { order.reverse() }
        });
        steps.fold(Ordering::Equal, Ordering::then).then_with(|| natural(a, b))
    });
}
