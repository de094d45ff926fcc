//! Named random streams: every draw of a synthetic workload has a generator of its own, found by name.
//!
//! A stream is xoshiro256++ seeded from (master seed, name, purpose) by a stable hash. The law: what a stream yields
//! depends on its name alone, so a further profile, replica or distribution changes no draw of another stream, on any
//! machine and with any version of the random number crates (the seeding is written out here).

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// What a stream's draws decide. The numbers are part of every seed: they stay when variants are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Which profile the next arrival belongs to.
    ProfileChoice = 1,
    /// Gaps between arrivals.
    Arrival = 2,
    /// Prompt lengths.
    PromptTokens = 3,
    /// Limits of answers.
    MaxOutputTokens = 4,
    /// Lengths of answers.
    OutputTokens = 5,
    /// Priorities.
    Priority = 6,
    /// Whether an answer is streamed.
    Streaming = 7,
    /// Which prefix pattern a prompt begins with.
    PrefixPattern = 8,
    /// Identities of sessions.
    Session = 9,
    /// Whether a session goes on.
    Continuation = 10,
    /// Time between an answer and the next turn.
    ThinkTime = 11,
    /// Gaps between arrivals of a load that has a rate.
    LoadGaps = 12,
    /// How long states of a load's rate last, and which follow.
    LoadStates = 13,
    /// How long a user pauses between sessions.
    UserPause = 14,
    /// Which document a prompt holds.
    Document = 15,
    /// How long a document is.
    DocumentTokens = 16,
    /// How long a model reasons.
    Reasoning = 17,
    /// How many images a prompt has.
    Images = 18,
    /// Whether a turn is a tool's.
    ToolCall = 19,
    /// Whether, and how many, sub-agents an answer starts.
    SubAgents = 20,
}

/// Golden ratio · 2^64, the increment of `SplitMix64`.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): a bijection that spreads every bit over all.
const fn spread(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes `value` onto `hash`. One to one in `value`, so under one `hash` no two values meet.
#[must_use]
pub const fn combine(hash: u64, value: u64) -> u64 {
    spread(spread(hash.wrapping_add(GOLDEN)) ^ value)
}

/// Stable hash of a name (FNV-1a, spread).
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    spread(hash)
}

/// The generator that `seed` stands for.
#[must_use]
pub fn generator(seed: u64) -> Xoshiro256PlusPlus {
    let mut bytes = [0; 32];
    let mut state = seed;
    for word in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(GOLDEN);
        word.copy_from_slice(&spread(state).to_le_bytes());
    }
    Xoshiro256PlusPlus::from_seed(bytes)
}

/// The stream for `purpose` of whatever `owner` stands for: the master seed, a profile, a turn of a session.
#[must_use]
pub fn stream(owner: u64, purpose: Purpose) -> Xoshiro256PlusPlus {
    generator(combine(owner, purpose as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::rand_core::Rng;

    #[test]
    fn streams_are_told_apart_by_seed_name_and_purpose() {
        let first = |seed, name: &str, purpose| stream(combine(seed, hash_bytes(name.as_bytes())), purpose).next_u64();
        let base = first(1, "chat", Purpose::Arrival);
        assert_eq!(base, first(1, "chat", Purpose::Arrival));
        assert_ne!(base, first(2, "chat", Purpose::Arrival));
        assert_ne!(base, first(1, "code", Purpose::Arrival));
        assert_ne!(base, first(1, "chat", Purpose::PromptTokens));
    }

    #[test]
    fn combining_is_not_symmetric() {
        assert_ne!(combine(1, 2), combine(2, 1));
        assert_ne!(combine(combine(7, 1), 2), combine(combine(7, 2), 1));
    }

    /// The published first outputs of `SplitMix64` from seed 0 seed the generator, so files made today can be made
    /// again tomorrow.
    #[test]
    fn seeding_is_splitmix64() {
        assert_eq!(spread(GOLDEN), 0xe220_a839_7b1d_cdaf);
    }
}
