//! What is asked for and what is ordered: organizations, the variants of their dashboards, and which orders a
//! variant shows.
//!
//! The variants are what a dashboard offers: this year, last quarter, this quarter, this month, each for all
//! regions or for one. They overlap, so that one order alters several of them and leaves the others alone.

use serde::{Deserialize, Serialize};

/// How many organizations the example has at full size.
pub const ORGANIZATIONS: u16 = 200;

/// How many variants of its dashboard each organization's people ask for.
pub const VARIANTS: u8 = (Period::ALL.len() * Region::ALL.len()) as u8;

/// A period that the dashboard offers. "Today" is the last day of the example's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// This year.
    Year,
    /// The quarter before this one.
    LastQuarter,
    /// This quarter.
    Quarter,
    /// This month.
    Month,
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Year, Self::LastQuarter, Self::Quarter, Self::Month];

    /// Its first and last day, as the query takes them.
    pub const fn days(self) -> (&'static str, &'static str) {
        match self {
            Self::Year => ("2025-01-01", "2025-12-31"),
            Self::LastQuarter => ("2025-07-01", "2025-09-30"),
            Self::Quarter => ("2025-10-01", "2025-12-31"),
            Self::Month => ("2025-12-01", "2025-12-31"),
        }
    }

    /// Whether a month of 2025, from 1, is in it.
    pub fn has(self, month: u8) -> bool {
        match self {
            Self::Year => true,
            Self::LastQuarter => (7..=9).contains(&month),
            Self::Quarter => (10..=12).contains(&month),
            Self::Month => month == 12,
        }
    }
}

/// What a dashboard may be narrowed to, and where a customer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// Not narrowed.
    All,
    /// One region.
    North,
    /// One region.
    South,
    /// One region.
    East,
    /// One region.
    West,
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::All, Self::North, Self::South, Self::East, Self::West];

    /// Its name in the database and in the query.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::North => "north",
            Self::South => "south",
            Self::East => "east",
            Self::West => "west",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|region| region.name() == name)
    }
}

/// A day of 2025.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// 1 to 12.
    pub month: u8,
    /// 1 to 28: every month has it.
    pub day: u8,
}

impl Day {
    /// As ISO 8601 writes it.
    pub fn date(self) -> String {
        format!("2025-{:02}-{:02}", self.month, self.day)
    }
}

/// One of the dashboards of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant(u8);

impl Variant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..VARIANTS).map(Self)
    }

    /// That of a period and region.
    pub fn of(period: Period, region: Region) -> Self {
        Self(period as u8 * Region::ALL.len() as u8 + region as u8)
    }

    /// The one of this number, counted from 0; there are [`VARIANTS`].
    pub fn numbered(number: usize) -> Self {
        Self((number % usize::from(VARIANTS)) as u8)
    }

    /// Its period.
    pub fn period(self) -> Period {
        Period::ALL[usize::from(self.0) / Region::ALL.len()]
    }

    /// Its region.
    pub fn region(self) -> Region {
        Region::ALL[usize::from(self.0) % Region::ALL.len()]
    }

    /// Whether it shows an order of its organization.
    pub fn shows(self, order: &Order) -> bool {
        self.covers(order.day.month, order.region)
    }

    /// Whether it shows what was ordered in a month of 2025, from 1, in a region.
    pub fn covers(self, month: u8, region: Region) -> bool {
        self.period().has(month) && (self.region() == Region::All || self.region() == region)
    }
}

/// One dashboard: what a cache has one entry for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The organization, from 1.
    pub org: u16,
    /// Which of its dashboards.
    pub variant: Variant,
}

impl Key {
    /// How many keys there are of so many organizations.
    pub fn count(organizations: u16) -> usize {
        usize::from(organizations) * usize::from(VARIANTS)
    }

    /// Those of so many organizations, by [`Key::place`].
    pub fn all(organizations: u16) -> impl Iterator<Item = Self> {
        (1..=organizations).flat_map(|org| Variant::all().map(move |variant| Self { org, variant }))
    }

    /// Its place among all keys.
    pub fn place(self) -> usize {
        usize::from(self.org.saturating_sub(1)) * usize::from(VARIANTS)
            + usize::from(self.variant.0)
    }

    /// Path and query string.
    pub fn path(self) -> String {
        let (from, to) = self.variant.period().days();
        let region = self.variant.region().name();
        format!(
            "/org/{}/dashboard?from={from}&to={to}&region={region}",
            self.org
        )
    }

    /// Whether an order alters it.
    pub fn shows(self, order: &Order) -> bool {
        self.org == order.org && self.variant.shows(order)
    }
}

/// By which way an order gets into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Way {
    /// `POST` to the contender.
    Application,
    /// SQL on a connection of somebody else's, as another service or `psql` would.
    Elsewhere,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Application, Self::Elsewhere];

    /// How many units an order has that comes by it. The sum of units in an answer tells how many orders of
    /// each way it has.
    pub const fn units(self) -> u64 {
        match self {
            Self::Application => 1,
            Self::Elsewhere => 1_001,
        }
    }
}

/// An order to be entered: one line of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The organization that sells.
    pub org: u16,
    /// Its customer.
    pub customer: u32,
    /// Where that customer is.
    pub region: Region,
    /// When it was ordered.
    pub day: Day,
    /// What was ordered.
    pub product: u32,
    /// How it gets into the database.
    pub way: Way,
}

/// What a dashboard says in its totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Orders.
    pub orders: u64,
    /// Units in them.
    pub units: u64,
}

impl Totals {
    /// Reads them from the beginning of a dashboard's JSON, without reading all of it: with or without spaces.
    pub fn scan(body: &[u8]) -> Option<Self> {
        let totals = after(body, b"\"totals\"")?;
        Some(Self {
            orders: number(after(totals, b"\"orders\"")?)?,
            units: number(after(totals, b"\"units\"")?)?,
        })
    }
}

fn after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let place = text.windows(word.len()).position(|here| here == word)?;
    text.get(place + word.len()..)
}

fn number(text: &[u8]) -> Option<u64> {
    let rest = text.iter().skip_while(|it| b" :".contains(it));
    let digits: Vec<u8> = rest.take_while(|it| it.is_ascii_digit()).copied().collect();
    str::from_utf8(&digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(month: u8, region: Region) -> Order {
        Order {
            org: 7,
            customer: 7,
            region,
            day: Day { month, day: 3 },
            product: 1,
            way: Way::Application,
        }
    }

    #[test]
    fn every_variant_is_one_of_period_and_region() {
        let all: Vec<_> = Variant::all().collect();
        assert_eq!(all.len(), 20);
        for variant in all {
            assert_eq!(Variant::of(variant.period(), variant.region()), variant);
        }
    }

    #[test]
    fn keys_have_places_without_gaps() {
        let places: Vec<_> = Key::all(3).map(Key::place).collect();
        assert_eq!(places, (0..Key::count(3)).collect::<Vec<_>>());
    }

    #[test]
    fn an_order_alters_the_variants_that_show_it() {
        let altered = |order: Order| {
            let variants = Variant::all();
            variants.filter(|variant| variant.shows(&order)).count()
        };
        assert_eq!(altered(order(12, Region::North)), 6, "year, quarter, month");
        assert_eq!(altered(order(10, Region::West)), 4, "year, quarter");
        assert_eq!(altered(order(7, Region::South)), 4, "year, last quarter");
        assert_eq!(altered(order(2, Region::East)), 2, "year");
    }

    #[test]
    fn another_organization_is_not_altered() {
        let variant = Variant::of(Period::Year, Region::All);
        assert!(Key { org: 7, variant }.shows(&order(12, Region::North)));
        assert!(!Key { org: 8, variant }.shows(&order(12, Region::North)));
    }

    #[test]
    fn totals_are_found_however_the_json_is_spaced() {
        let expected = Some(Totals {
            orders: 12,
            units: 345,
        });
        let postgres = br#"{"organization" : {"id" : 1}, "totals" : {"orders" : 12, "customers" : 3, "units" : 345, "revenue" : 1.00}}"#;
        assert_eq!(Totals::scan(postgres), expected);
        let node = br#"{"organization":{"id":1},"totals":{"orders":12,"customers":3,"units":345}}"#;
        assert_eq!(Totals::scan(node), expected);
        assert_eq!(Totals::scan(br#"{"title":"Not Found"}"#), None);
        assert_eq!(Totals::scan(br#"{"totals" : {"orders" : "#), None);
    }

    #[test]
    fn a_path_names_all_parameters() {
        let key = Key {
            org: 42,
            variant: Variant::of(Period::Month, Region::East),
        };
        assert_eq!(
            key.path(),
            "/org/42/dashboard?from=2025-12-01&to=2025-12-31&region=east"
        );
    }
}
