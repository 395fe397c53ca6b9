//! What answers add to the edge's metrics: see [`tidemark_shared::figure`]. The [`tally`](crate::tally) tells
//! it to Redis.

use std::collections::HashMap;

use http::StatusCode;
use tidemark_shared::{figure::Figure, outcome::CacheStatus};

/// What has been counted, by query. A catalog has few queries, and an instance answers fewer still.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(String, HashMap<Figure, u64>)>);

impl Figures {
    /// Counts an answer to a query: what the cache did, what the client is told, and how long it took.
    pub(crate) fn answered(
        &mut self,
        query: &str,
        cache: CacheStatus,
        status: StatusCode,
        took_us: u64,
    ) {
        let figures = self.of(query);
        let mut add = |figure, amount| *figures.entry(figure).or_default() += amount;
        add(Figure::Answered(cache.outcome), 1);
        add(Figure::of_latency(took_us), 1);
        add(Figure::Micros, took_us);
        if cache.collapsed {
            add(Figure::Collapsed, 1);
        }
        if status.is_server_error() {
            add(Figure::Failed, 1);
        }
    }

    /// Counts an entry of a query that was stored.
    pub(crate) fn stored(&mut self, query: &str, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let figures = self.of(query);
        *figures.entry(Figure::Stored).or_default() += 1;
        *figures.entry(Figure::StoredBytes).or_default() += bytes;
    }

    /// What has to be added to which field.
    pub(crate) fn into_fields(self) -> Vec<(String, u64)> {
        let of_query = |(query, figures): (String, HashMap<Figure, u64>)| {
            let figures = figures.into_iter();
            figures.map(move |(figure, amount)| (figure.field(&query), amount))
        };
        self.0.into_iter().flat_map(of_query).collect()
    }

    fn of(&mut self, query: &str) -> &mut HashMap<Figure, u64> {
        let place = self.0.iter().position(|(name, _)| name == query);
        let place = place.unwrap_or_else(|| {
            self.0.push((query.to_owned(), HashMap::new()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::outcome::Outcome;

    use super::*;

    #[test]
    fn answers_add_up_by_query() {
        let mut figures = Figures::default();
        let hit = CacheStatus::of(Outcome::Hit);
        let shared = CacheStatus {
            collapsed: true,
            ..CacheStatus::of(Outcome::Miss)
        };
        figures.answered("a", hit, StatusCode::OK, 600);
        figures.answered("a", hit, StatusCode::NOT_FOUND, 600);
        figures.answered("b", shared, StatusCode::SERVICE_UNAVAILABLE, 600);
        figures.stored("b", 700);
        let mut fields = figures.into_fields();
        fields.sort();
        let expected = [
            ("a:answered:hit", 2),
            ("a:micros", 1_200),
            ("a:took:1000", 2),
            ("b:answered:miss", 1),
            ("b:collapsed", 1),
            ("b:failed", 1),
            ("b:micros", 600),
            ("b:stored", 1),
            ("b:stored-bytes", 700),
            ("b:took:1000", 1),
        ];
        let expected = expected.map(|(field, amount)| (field.to_owned(), amount));
        assert_eq!(fields, expected);
    }
}
