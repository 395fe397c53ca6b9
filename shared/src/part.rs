//! Parts of a member: what a change concerns, and an answer shows, of `org:42` by a period or by a word.
//!
//! A **facet** is what rows are told apart by below the member that they belong to: the day of an order, the
//! region of its customer. A change knows the facets of its rows; a query may be narrowed by some of them. So
//! that both meet by comparing names, and by nothing else, a change touches a part at each granularity at which
//! it could be asked for, and an answer depends on the few parts that cover what it shows:
//!
//! ```text
//! an order of 2025-12-07 in the north      …?day=2025-12-07&region=north   …?day=2025-12-07
//! touches, of org:42                       …?day=2025-12&region=north      …?day=2025-12
//!                                          …?day=2025-Q4&region=north      …?day=2025-Q4
//!                                          …?day=2025&region=north         …?day=2025
//!                                          …?region=north                  …?
//! a dashboard of November and December, of all regions,
//! depends on                               …?day=2025-11    …?day=2025-12
//! one of the north, at any time,           …?region=north
//! one that is not narrowed                 …?
//! ```
//!
//! A change that does not know a facet concerns the member as a whole, as does one of too many parts: it
//! touches `org:42`, on which every answer about the member depends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::civil::Date;

use crate::scope::Scope;

/// The most periods that a range of days is covered by; a finer cover is rounded up to whole months,
/// quarters or years, which costs precision only.
const MOST_PERIODS: usize = 8;

/// The most distinct parts of a member that a change is taken to consist of; more are the whole.
const MOST_TOUCHED: usize = 64;

/// What the values of a facet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FacetKind {
    /// Days, which queries take from ranges.
    Day,
    /// Words, numbers or UUIDs, which are equal or not.
    Word,
}

impl fmt::Display for FacetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Word => "word",
        })
    }
}

/// The value that a row has for a facet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FacetValue {
    /// A day.
    Day(Date),
    /// A word, by the canonical text of a parameter.
    Word(String),
}

impl FacetValue {
    /// A day as ISO 8601 writes it, of the years 1 to 9999; none for any other text.
    pub fn day(text: &str) -> Option<Self> {
        let day = text.parse::<Date>().ok();
        day.filter(|day| day.year() > 0 && text.len() == "YYYY-MM-DD".len())
            .map(Self::Day)
    }

    /// The texts of all parts that it lies in: the finest first.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Day(day) => Unit::ALL
                .iter()
                .map(|unit| Period::of(*unit, *day).to_string())
                .collect(),
            Self::Word(word) => vec![Scope::escaped(word)],
        }
    }
}

/// What a changed row is told by: each facet with its value.
pub type Facets = Vec<(String, FacetValue)>;

/// What changed rows touch of a family: for each its member and, if all of them are known, its facets, always
/// the same ones in the same order.
pub fn touched(
    family: &str,
    rows: impl IntoIterator<Item = (String, Option<Facets>)>,
) -> BTreeSet<Scope> {
    let mut members = BTreeMap::<String, Option<BTreeSet<Facets>>>::new();
    for (member, facets) in rows {
        let parts = members
            .entry(member)
            .or_insert_with(|| Some(BTreeSet::new()));
        match (parts.as_mut(), facets) {
            (Some(known), Some(facets))
                if known.len() < MOST_TOUCHED || known.contains(&facets) =>
            {
                known.insert(facets);
            }
            _ => *parts = None,
        }
    }
    let mut scopes = BTreeSet::new();
    for (member, parts) in members {
        let Some(parts) = parts else {
            scopes.insert(Scope::member(family, &member));
            continue;
        };
        for facets in parts {
            let texts = facets.into_iter().map(|(facet, value)| {
                let mut texts: Vec<_> = value.texts().into_iter().map(Some).collect();
                // Whoever does not ask for this facet.
                texts.push(None);
                (facet, texts)
            });
            scopes.extend(parts_of(family, &member, texts));
        }
    }
    scopes
}

/// Every part of a member that has, for each facet, one of these texts, or none.
pub(crate) fn parts_of(
    family: &str,
    member: &str,
    facets: impl IntoIterator<Item = (String, Vec<Option<String>>)>,
) -> Vec<Scope> {
    let mut names = vec![String::new()];
    for (facet, texts) in facets {
        let mut longer = Vec::with_capacity(names.len() * texts.len());
        for name in &names {
            longer.extend(texts.iter().map(|text| match text {
                None => name.clone(),
                Some(text) if name.is_empty() => format!("{facet}={text}"),
                Some(text) => format!("{name}&{facet}={text}"),
            }));
        }
        names = longer;
    }
    let part = |facets| Scope::part(family, member, facets);
    names.into_iter().map(part).collect()
}

/// What was touched, for people: without the parts that hold another one which was touched as well.
pub fn finest(scopes: &[Scope]) -> Vec<&Scope> {
    let mut members = BTreeMap::<_, Vec<&str>>::new();
    for scope in scopes {
        if let Scope::Part { family, id, facets } = scope {
            members.entry((family, id)).or_default().push(facets);
        }
    }
    let is_finest = |scope: &&Scope| match scope {
        Scope::Part { family, id, facets } => {
            let others = members.get(&(family, id)).into_iter().flatten();
            !others
                .into_iter()
                .any(|other| *other != facets && holds(facets, other))
        }
        Scope::Table(_) | Scope::Member { .. } | Scope::Family(_) => true,
    };
    scopes.iter().filter(is_finest).collect()
}

/// Whether a part holds another one, by their facets.
fn holds(one: &str, other: &str) -> bool {
    let facets = |part: &'_ str| {
        let facets = part.split('&').filter_map(|facet| facet.split_once('='));
        facets
            .map(|(facet, text)| (facet.to_owned(), text.to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let within = facets(other);
    facets(one).iter().all(|(facet, text)| {
        within.get(facet).is_some_and(|finer| {
            let period = || Some(Period::parse(finer)?.lies_in(Period::parse(text)?));
            finer == text || period().unwrap_or(false)
        })
    })
}

/// A period of the calendar, as parts are named by it: `2025-12-07`, `2025-12`, `2025-Q4` or `2025`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    unit: Unit,
    first: Date,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Day,
    Month,
    Quarter,
    Year,
}

impl Unit {
    const ALL: [Self; 4] = [Self::Day, Self::Month, Self::Quarter, Self::Year];
}

impl Period {
    /// The one that a day lies in.
    fn of(unit: Unit, day: Date) -> Self {
        let month = match unit {
            Unit::Day | Unit::Month => day.month(),
            Unit::Quarter => (day.month() - 1) / 3 * 3 + 1,
            Unit::Year => 1,
        };
        let first = match unit {
            Unit::Day => day,
            _ => Date::new(day.year(), month, 1).unwrap_or(day),
        };
        Self { unit, first }
    }

    /// Reads what [`fmt::Display`] writes.
    fn parse(text: &str) -> Option<Self> {
        let date = |text: &str| text.parse::<Date>().ok();
        let (unit, first) = match text.len() {
            4 => (Unit::Year, date(&format!("{text}-01-01"))),
            7 => match text.split_once("-Q") {
                None => (Unit::Month, date(&format!("{text}-01"))),
                Some((year, quarter)) => {
                    let month = 3 * quarter.parse::<u8>().ok()?.checked_sub(1)? + 1;
                    (Unit::Quarter, date(&format!("{year}-{month:02}-01")))
                }
            },
            10 => (Unit::Day, date(text)),
            _ => return None,
        };
        Some(Self::of(unit, first?)).filter(|period| period.to_string() == text)
    }

    fn lies_in(self, other: Self) -> bool {
        self.unit < other.unit && Self::of(other.unit, self.first) == other
    }

    /// Its last day.
    fn last(self) -> Date {
        match self.unit {
            Unit::Day => self.first,
            Unit::Month => self.first.last_of_month(),
            Unit::Quarter => {
                let month = Date::new(self.first.year(), self.first.month() + 2, 1);
                month.unwrap_or(self.first).last_of_month()
            }
            Unit::Year => self.first.last_of_year(),
        }
    }

    /// Few periods that all days between two lie in, in whichever order the two come; none where even
    /// whole years would be too many.
    pub(crate) fn covering(one: Date, other: Date) -> Option<Vec<Self>> {
        let (first, last) = (one.min(other), one.max(other));
        Unit::ALL.iter().find_map(|finest| {
            let first = Self::of(*finest, first).first;
            let last = Self::of(*finest, last).last();
            Self::exactly(*finest, first, last)
        })
    }

    /// The fewest periods, none finer than this, that these days are; if they are few.
    fn exactly(finest: Unit, first: Date, last: Date) -> Option<Vec<Self>> {
        let mut periods = Vec::with_capacity(MOST_PERIODS);
        let mut next = Some(first);
        while let Some(day) = next.filter(|day| *day <= last) {
            let begun = |unit: &&Unit| {
                let period = Self::of(**unit, day);
                period.first == day && period.last() <= last
            };
            let unit = Unit::ALL.iter().rev().find(begun).unwrap_or(&finest);
            let period = Self::of((*unit).max(finest), day);
            if periods.len() == MOST_PERIODS {
                return None;
            }
            periods.push(period);
            next = period.last().tomorrow().ok();
        }
        Some(periods)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month) = (self.first.year(), self.first.month());
        match self.unit {
            Unit::Day => write!(f, "{}", self.first),
            Unit::Month => write!(f, "{year:04}-{month:02}"),
            Unit::Quarter => write!(f, "{year:04}-Q{}", (month + 2) / 3),
            Unit::Year => write!(f, "{year:04}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn cover(first: &str, last: &str) -> Vec<String> {
        let periods = Period::covering(day(first), day(last)).unwrap();
        periods.iter().map(Period::to_string).collect()
    }

    fn touched_by(rows: &[(&str, Option<&str>, Option<&str>)]) -> Vec<String> {
        let rows = rows.iter().map(|(member, day, region)| {
            let day = day.and_then(FacetValue::day);
            let region = region.map(|region| FacetValue::Word(region.to_owned()));
            let facets = day
                .zip(region)
                .map(|(day, region)| vec![("day".to_owned(), day), ("region".to_owned(), region)]);
            ((*member).to_owned(), facets)
        });
        let scopes = touched("org", rows);
        scopes.iter().map(Scope::to_string).collect()
    }

    #[test]
    fn a_range_is_covered_by_few_periods() {
        for (first, last, expected) in [
            ("2025-01-01", "2025-12-31", &["2025"][..]),
            ("2025-07-01", "2025-09-30", &["2025-Q3"]),
            ("2025-12-01", "2025-12-31", &["2025-12"]),
            ("2025-12-07", "2025-12-07", &["2025-12-07"]),
            ("2025-12-31", "2025-12-01", &["2025-12"]),
            (
                "2024-02-28",
                "2024-03-01",
                &["2024-02-28", "2024-02-29", "2024-03-01"],
            ),
            (
                "2024-11-01",
                "2025-04-30",
                &["2024-11", "2024-12", "2025-Q1", "2025-04"],
            ),
            (
                "2024-12-31",
                "2026-01-01",
                &["2024-12-31", "2025", "2026-01-01"],
            ),
            // Rounded up: days to months, and months to quarters.
            ("2025-01-05", "2025-02-20", &["2025-01", "2025-02"]),
            ("2022-02-03", "2024-11-05", &["2022", "2023", "2024"]),
        ] {
            assert_eq!(cover(first, last), expected, "{first}..{last}");
        }
        assert_eq!(Period::covering(day("1990-01-01"), day("2025-01-01")), None);
        assert_eq!(cover("9999-12-31", "9999-12-31"), ["9999-12-31"]);
        assert_eq!(cover("0001-01-01", "0001-12-31"), ["0001"]);
    }

    #[test]
    fn a_change_touches_each_granularity_at_which_it_could_be_asked_for() {
        assert_eq!(
            touched_by(&[("42", Some("2025-12-07"), Some("north"))]),
            [
                "org:42?",
                "org:42?day=2025",
                "org:42?day=2025&region=north",
                "org:42?day=2025-12",
                "org:42?day=2025-12&region=north",
                "org:42?day=2025-12-07",
                "org:42?day=2025-12-07&region=north",
                "org:42?day=2025-Q4",
                "org:42?day=2025-Q4&region=north",
                "org:42?region=north",
            ]
        );
    }

    #[test]
    fn what_does_not_know_a_facet_concerns_the_whole_member() {
        let known = ("42", Some("2025-12-07"), Some("north"));
        for unknown in [
            ("42", None, Some("north")),
            ("42", Some("2025-12-07"), None),
            ("42", Some("infinity"), Some("north")),
            ("42", Some("0044-03-15 BC"), Some("north")),
        ] {
            assert_eq!(touched_by(&[unknown]), ["org:42"]);
            assert_eq!(touched_by(&[known, unknown]), ["org:42"]);
            assert_eq!(touched_by(&[unknown, known]), ["org:42"]);
        }
        let others = touched_by(&[known, ("43", None, None)]);
        assert_eq!(others.len(), 11);
        assert!(others.contains(&"org:43".to_owned()));
    }

    #[test]
    fn what_is_of_many_parts_concerns_the_whole_member() {
        let words: Vec<_> = (0..=MOST_TOUCHED).map(|n| n.to_string()).collect();
        let rows: Vec<_> = words
            .iter()
            .map(|word| ("42", Some("2025-12-07"), Some(word.as_str())))
            .collect();
        assert_eq!(touched_by(&rows), ["org:42"]);
        assert_ne!(touched_by(&rows[1..]), ["org:42"]);
    }

    #[test]
    fn no_word_can_pose_as_another_part() {
        let touched = touched_by(&[("42", Some("2025-12-07"), Some("a&day=2025"))]);
        assert!(touched.contains(&"org:42?region=a%26day%3D2025".to_owned()));
    }

    #[test]
    fn people_are_told_the_finest_parts() {
        let told = |rows: &[(&str, Option<&str>, Option<&str>)]| {
            let scopes = touched_by(rows);
            let scopes: Vec<_> = scopes.iter().filter_map(|it| Scope::parse(it)).collect();
            finest(&scopes)
                .into_iter()
                .map(Scope::to_string)
                .collect::<Vec<_>>()
        };
        let north = ("42", Some("2025-12-07"), Some("north"));
        let south = ("42", Some("2025-07-01"), Some("south"));
        assert_eq!(
            told(&[north, south, ("43", None, None)]),
            [
                "org:43",
                "org:42?day=2025-07-01&region=south",
                "org:42?day=2025-12-07&region=north",
            ]
        );
    }

    prop_compose! {
        fn any_day()(year in 1_i16..=9999, of_year in 1_i16..=365) -> Date {
            Date::new(year, 1, 1).unwrap().with().day_of_year(of_year).build().unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_day_in_a_range_shares_a_part_with_it(
            one in any_day(), length in 0_i32..4_000, offset in 0_i32..4_000,
        ) {
            use jiff::ToSpan as _;
            let other = one.checked_add(length.days()).unwrap_or(Date::MAX);
            let within = one.checked_add((offset % (length + 1)).days()).unwrap_or(other).min(other);
            if let Some(cover) = Period::covering(one, other) {
                prop_assert!(!cover.is_empty() && cover.len() <= MOST_PERIODS);
                let texts = FacetValue::Day(within).texts();
                prop_assert!(cover.iter().any(|period| texts.contains(&period.to_string())));
            } else {
                prop_assert!(length > 365 * 7);
            }
        }

        #[test]
        fn periods_are_read_as_they_are_written(day in any_day()) {
            let mut finer: Option<Period> = None;
            for unit in Unit::ALL {
                let period = Period::of(unit, day);
                prop_assert_eq!(Period::parse(&period.to_string()), Some(period));
                prop_assert!(finer.is_none_or(|finer| finer.lies_in(period) && !period.lies_in(finer)));
                finer = Some(period);
            }
        }

        #[test]
        fn a_short_range_shares_no_part_with_a_day_outside(
            one in any_day(), length in 0_i32..8, offset in 1_i32..400,
        ) {
            use jiff::ToSpan as _;
            let Ok(other) = one.checked_add(length.days()) else { return Ok(()) };
            let Ok(outside) = other.checked_add(offset.days()) else { return Ok(()) };
            let cover = Period::covering(one, other).unwrap();
            let texts = FacetValue::Day(outside).texts();
            prop_assert!(!cover.iter().any(|period| texts.contains(&period.to_string())));
        }
    }
}
