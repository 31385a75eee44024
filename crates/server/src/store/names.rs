//! Names for what was given none, and ids.

use crate::error::ApiError;

const MANNERS: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clear", "coral", "crisp", "eager", "early", "fair", "fleet", "fresh", "gentle",
    "golden", "happy", "hazel", "jolly", "keen", "lively", "lucky", "mellow", "nimble", "proud", "quick", "quiet",
    "rapid", "silver", "steady", "sunny", "swift", "warm", "wise",
];

const ANIMALS: [&str; 32] = [
    "badger", "bee", "crane", "deer", "dolphin", "eagle", "falcon", "finch", "fox", "gull", "hare", "hawk", "heron",
    "ibis", "jay", "koala", "lark", "lynx", "marten", "mole", "moth", "otter", "owl", "panda", "quail", "raven",
    "seal", "stork", "swan", "tern", "toad", "wren",
];

/// Random bytes.
///
/// # Errors
/// The system gives none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ApiError::internal(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

/// 32 hexadecimal digits that nobody else has.
pub(crate) fn id() -> Result<String, ApiError> {
    Ok(random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Two words and a number.
pub(crate) fn name() -> Result<String, ApiError> {
    let [a, b, c, d] = random()?;
    let number = u16::from_le_bytes([c, d]) % 1000;
    Ok(format!("{}-{}-{number}", MANNERS[usize::from(a % 32)], ANIMALS[usize::from(b % 32)]))
}
