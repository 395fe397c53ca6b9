//! The trace: which requests are made, in which order, the same for every contender.
//!
//! Made up front from one seed. Organizations are asked for by Zipf's law with exponent 1, the variants of
//! each evenly. Writes are orders; whose, the same law says. Three in four are of this month, one in four is
//! entered late, for any month of the year.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_tests::consistency::random::{Chance, Zipf};

use super::setting::{Day, Key, Order, Region, VARIANTS, Variant, Way};

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A dashboard is read.
    Read(Key),
    /// An order is entered.
    Write(Order),
}

/// What a trace is made by.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// All chances follow from it.
    pub seed: u64,
    /// How many requests.
    pub steps: usize,
    /// How many of a thousand requests are writes.
    pub writes_per_thousand: usize,
    /// How many of a hundred writes go past the application.
    pub elsewhere_per_hundred: u32,
    /// How many products there are to be ordered.
    pub products: u32,
}

/// The customers of each organization, and where they are.
pub type Customers = BTreeMap<u16, Vec<(u32, Region)>>;

/// Requests in order.
#[derive(Clone, Debug)]
pub struct Trace(Vec<Step>);

impl Recipe {
    /// Makes it, for organizations 1 to n that have customers.
    pub fn trace(&self, customers: &Customers) -> Trace {
        let organizations: Vec<_> = customers.iter().collect();
        let popularity = Zipf::over(organizations.len());
        let mut chance = Chance::new(self.seed, 0);
        let mut product = 0;
        let steps = (0..self.steps).map(|_| {
            let (&org, customers) = organizations[popularity.pick(&mut chance)];
            if chance.below(1_000) >= self.writes_per_thousand {
                let variant = Variant::numbered(chance.below(usize::from(VARIANTS)));
                return Step::Read(Key { org, variant });
            }
            let (customer, region) = customers[chance.below(customers.len())];
            let month = match chance.percent(75) {
                true => 12,
                false => chance.between(1, 12) as u8,
            };
            let day = chance.between(1, 28) as u8;
            // In turn, so that nothing is sold out.
            product = product % self.products.max(1) + 1;
            let way = match chance.percent(self.elsewhere_per_hundred) {
                true => Way::Elsewhere,
                false => Way::Application,
            };
            Step::Write(Order {
                org,
                customer,
                region,
                day: Day { month, day },
                product,
                way,
            })
        });
        Trace(steps.collect())
    }
}

impl Trace {
    /// One read of each key, in the order in which this trace first reads them.
    #[must_use]
    pub fn of_first_reads(&self) -> Self {
        let mut seen = BTreeSet::new();
        let first = |step: &&Step| matches!(step, Step::Read(key) if seen.insert(*key));
        Self(self.0.iter().filter(first).copied().collect())
    }

    /// The request of this number; none after the last.
    pub fn step(&self, number: usize) -> Option<Step> {
        self.0.get(number).copied()
    }

    /// Its requests.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customers() -> Customers {
        let one = |org| {
            (
                org,
                vec![(u32::from(org), Region::North), (900, Region::West)],
            )
        };
        (1..=200).map(one).collect()
    }

    fn recipe(seed: u64) -> Recipe {
        Recipe {
            seed,
            steps: 200_000,
            writes_per_thousand: 10,
            elsewhere_per_hundred: 25,
            products: 5_000,
        }
    }

    #[test]
    fn a_seed_is_a_trace() {
        let trace = recipe(1).trace(&customers());
        assert_eq!(trace.steps(), recipe(1).trace(&customers()).steps());
        assert_ne!(trace.steps(), recipe(2).trace(&customers()).steps());
    }

    #[test]
    fn a_shorter_trace_is_the_beginning_of_a_longer_one() {
        let long = recipe(1).trace(&customers());
        let mut short = recipe(1);
        short.steps = 1_000;
        assert_eq!(short.trace(&customers()).steps(), &long.steps()[..1_000]);
    }

    #[test]
    fn first_reads_are_each_key_once_in_the_order_of_the_trace() {
        let trace = recipe(5).trace(&customers());
        let first = trace.of_first_reads();
        assert_eq!(first.steps().len(), Key::count(200));
        let mut rest = trace.steps().iter();
        assert!(first.steps().iter().all(|step| rest.any(|it| it == step)));
        let distinct: BTreeSet<_> = first
            .steps()
            .iter()
            .map(|step| format!("{step:?}"))
            .collect();
        assert_eq!(distinct.len(), first.steps().len());
    }

    #[test]
    fn one_request_in_a_hundred_writes_and_one_write_in_four_goes_past_the_application() {
        let trace = recipe(3).trace(&customers());
        let orders = trace.steps().iter().filter_map(|step| match step {
            Step::Write(order) => Some(order),
            Step::Read(_) => None,
        });
        let orders: Vec<_> = orders.collect();
        assert!((1_800..2_200).contains(&orders.len()), "{}", orders.len());
        let elsewhere = orders.iter().filter(|it| it.way == Way::Elsewhere).count();
        assert!((400..600).contains(&elsewhere), "{elsewhere}");
    }

    #[test]
    fn reads_follow_the_law_over_organizations_and_are_even_over_variants() {
        let trace = recipe(4).trace(&customers());
        let mut by_org = [0_f64; 201];
        let mut by_variant = BTreeMap::<_, usize>::new();
        for step in trace.steps() {
            if let Step::Read(key) = step {
                by_org[usize::from(key.org)] += 1.0;
                *by_variant.entry(key.variant).or_default() += 1;
            }
        }
        for org in [2, 4, 8] {
            let ratio = by_org[1] / by_org[org];
            let off = (ratio / org as f64 - 1.0).abs();
            assert!(off < 0.1, "organization {org}: {ratio}");
        }
        assert_eq!(by_variant.len(), usize::from(VARIANTS));
        let least = by_variant.values().min().copied().unwrap_or_default();
        let most = by_variant.values().max().copied().unwrap_or_default();
        assert!(most < least * 11 / 10, "{least} … {most}");
    }
}
