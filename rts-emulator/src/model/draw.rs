//! Chance, keyed (rule R3). What is drawn for a call depends on the seed and on what the call is (channel,
//! method, subject, how many times it has come before), never on which other calls were drawn for first. So
//! the same calls get the same service times and faults however they interleave.

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::{BuildHasherDefault, Hasher},
};

use rand::{RngExt as _, TryRng};

use super::Call;

/// What is drawn for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    ServiceTime = 1,
    Fault = 2,
    LinkOut = 3,
    LinkBack = 4,
    LossOut = 5,
    LossBack = 6,
}

/// A hash of the seed and of what a call is, attempt included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u64);

impl Key {
    /// A generator of its own for each thing that is drawn.
    pub(super) fn rng(self, draw: Draw) -> SplitMix {
        SplitMix(fnv(self.0, &[draw as u8]))
    }

    /// A number from 0 (included) to 1 (excluded).
    pub(super) fn fraction(self, draw: Draw) -> f64 {
        self.rng(draw).random()
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): good enough for service times, ready at once for any seed, and the
/// same in every release of every crate. A generator for each draw has to be cheap to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitMix(u64);

impl TryRng for SplitMix {
    type Error = Infallible;

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// A channel's name as the model remembers it. Channels whose names had the same hash would share their limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChannelKey(u64);

impl ChannelKey {
    pub(super) fn of(channel: &str) -> Self {
        Self(fnv(OFFSET, channel.as_bytes()))
    }
}

/// What has been hashed already needs no other hash.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv(self.0, bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        // The table looks at the highest bits and at the lowest ones; the highest of FNV are its best.
        self.0 = hash ^ (hash >> 32);
    }
}

/// A map by what has been hashed already.
pub(super) type HashedMap<K, V> = HashMap<K, V, BuildHasherDefault<Hashed>>;

/// Counts how many times each call has come. Two generations of at most [`Keys::GENERATION`] entries: when the
/// newer one is full, the older one is forgotten, and a call that comes again after that counts from 0 and
/// repeats its first draws.
#[derive(Debug)]
pub(super) struct Keys {
    seed: u64,
    newer: HashedMap<u64, u32>,
    older: HashedMap<u64, u32>,
}

impl Keys {
    /// Entries in each generation.
    const GENERATION: usize = 65_536;

    pub(super) fn new(seed: u64) -> Self {
        Self { seed: fnv(OFFSET, &seed.to_le_bytes()), newer: HashMap::default(), older: HashMap::default() }
    }

    /// The key of a call that has come now.
    pub(super) fn next(&mut self, call: &Call<'_>) -> Key {
        let name = self.name(call);
        let attempt = match self.newer.get(&name).or_else(|| self.older.get(&name)) {
            Some(attempts) => attempts.saturating_add(1),
            None => 0,
        };
        if self.newer.len() >= Self::GENERATION && !self.newer.contains_key(&name) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(name, attempt);
        Self::key(name, attempt)
    }

    /// The same for a call that has never come before and never comes again: it is not remembered.
    pub(super) fn once(&self, call: &Call<'_>) -> Key {
        Self::key(self.name(call), 0)
    }

    fn name(&self, call: &Call<'_>) -> u64 {
        // 0xff is no part of UTF-8 text: it keeps the fields apart.
        let name = fnv(fnv(self.seed, call.channel.as_bytes()), &[0xff, call.method as u8]);
        fnv(name, call.subject)
    }

    fn key(name: u64, attempt: u32) -> Key {
        Key(fnv(fnv(name, &[0xff]), &attempt.to_le_bytes()))
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a: unlike the standard library's hasher it is the same in every release.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Method;

    fn call<'a>(channel: &'a str, subject: &'a str) -> Call<'a> {
        Call { channel, method: Method::Create, subject: subject.as_bytes() }
    }

    #[test]
    fn r3_a_key_depends_on_the_call_and_its_attempt_not_on_others() {
        let mut one = Keys::new(7);
        let a = [one.next(&call("s1", "a")), one.next(&call("s1", "a"))];
        let b = one.next(&call("s1", "b"));
        let mut other = Keys::new(7);
        assert_eq!(other.next(&call("s1", "b")), b);
        assert_eq!([other.next(&call("s1", "a")), other.next(&call("s1", "a"))], a);
        let c = other.next(&call("s2", "a"));
        let keys = [a[0], a[1], b, c, Keys::new(8).next(&call("s1", "a")), other.next(&call("s1a", ""))];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{keys:?}");
        }
        assert_ne!(a[0].rng(Draw::Fault), a[0].rng(Draw::ServiceTime));
        assert_eq!(one.once(&call("s1", "a")), a[0], "as if for the first time");
    }

    #[test]
    fn split_mix_is_the_published_one() {
        let mut rng = SplitMix(1_234_567);
        let drawn: [u64; 3] = [rng.random(), rng.random(), rng.random()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn z3_attempts_are_counted_for_a_bounded_number_of_calls() {
        let mut keys = Keys::new(1);
        let first = keys.next(&call("s1", "kept"));
        let again = keys.next(&call("s1", "kept"));
        for n in 0..Keys::GENERATION {
            keys.next(&call("s1", &n.to_string()));
        }
        assert_ne!(keys.next(&call("s1", "kept")), first, "the older generation is still known");
        for n in 0..2 * Keys::GENERATION {
            keys.next(&call("s2", &n.to_string()));
        }
        assert!(keys.newer.len() + keys.older.len() <= 2 * Keys::GENERATION);
        assert_eq!(keys.next(&call("s1", "kept")), first);
        assert_eq!(keys.next(&call("s1", "kept")), again);
    }
}
