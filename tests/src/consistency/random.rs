//! Chances: everything that the test leaves to them follows from one seed.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// A stream of chances of its own for each who needs one, so that what one takes does not change
/// what another one gets.
#[derive(Debug)]
pub struct Chance(SmallRng);

impl Chance {
    /// The stream number `stream` of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        // Streams must not begin alike: neighbouring seeds are mixed by the generator itself.
        Self(SmallRng::seed_from_u64(
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream,
        ))
    }

    /// A number from 1 to `most`.
    pub fn one_of(&mut self, most: i64) -> i64 {
        self.0.random_range(1..=most.max(1))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound.max(1))
    }

    /// True this often in a hundred.
    pub fn percent(&mut self, often: u32) -> bool {
        self.0.random_range(0..100) < often
    }

    /// A number between two.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    fn fraction(&mut self) -> f64 {
        self.0.random::<f64>()
    }
}

/// Zipf's law: the first of `n` things is wanted most, the second one half as often, and so on.
#[derive(Clone, Debug)]
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// Over `n` things.
    pub fn over(n: usize) -> Self {
        let mut sum = 0.0;
        let mut rank = 0.0;
        let sums: Vec<f64> = (0..n)
            .map(|_| {
                rank += 1.0;
                sum += 1.0 / rank;
                sum
            })
            .collect();
        Self(sums.iter().map(|part| part / sum).collect())
    }

    /// One of them, counted from 0.
    pub fn pick(&self, chance: &mut Chance) -> usize {
        let fraction = chance.fraction();
        let place = self.0.partition_point(|&sum| sum < fraction);
        place.min(self.0.len().saturating_sub(1))
    }
}
