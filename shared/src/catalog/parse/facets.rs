//! Facets: what a table's rows are told apart by, and by what of it a query is narrowed.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::{Document, QueryTable, Source, Span, carries, column_path, placeholder};
use crate::{
    catalog::{Catalog, CatalogError, ColumnPath, MemberScope, Narrowed, Query},
    param::{ParamSpecs, ParamType},
    part::FacetKind,
};

/// The most facets by which the queries of a family may be narrowed: each multiplies what a change touches.
const MOST_FACETS: usize = 3;

const WHERE_HELP: &str = "where = { day = \"{from}..{to}\", region = \"{region}\" }: parameters between which a day lies, or that a word equals; \"{region} unless all\" where one value stands for any";

impl Source<'_> {
    /// The facets that a table declares.
    pub(super) fn facets(
        &self,
        declared: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<BTreeMap<String, ColumnPath>, CatalogError> {
        let mut facets = BTreeMap::new();
        for (facet, path) in declared {
            self.name(facet, "facet")?;
            let column = placeholder(path.get_ref()).and_then(column_path);
            let column = column.ok_or_else(|| {
                self.error(
                    &path.span(),
                    format!("{:?} is no facet of a table", path.get_ref()),
                    "\"{ordered_on}\" for a column of the table's own, or \"{customers.region}\" along a foreign key to customers",
                )
            })?;
            facets.insert(facet.get_ref().clone(), column);
        }
        Ok(facets)
    }

    /// By what a query says that it is narrowed.
    pub(super) fn narrowed(
        &self,
        declared: &BTreeMap<Spanned<String>, Spanned<String>>,
        params: &ParamSpecs,
    ) -> Result<BTreeMap<String, Narrowed>, CatalogError> {
        let mut narrowed = BTreeMap::new();
        for (facet, by) in declared {
            let fail = |problem: String| self.error(&by.span(), problem, WHERE_HELP);
            let spec = |param: &str| {
                let spec = params.get(param);
                spec.ok_or_else(|| fail(format!("where names {{{param}}}, which is not in params")))
            };
            let days = |from: &str, to: &str| Narrowed::Days {
                from: from.to_owned(),
                to: to.to_owned(),
            };
            let by = match Condition::parse(by.get_ref()) {
                None => return Err(fail(format!("{:?} narrows nothing", by.get_ref()))),
                Some(Condition::Between(from, to)) => {
                    for param in [from, to] {
                        let kind = &spec(param)?.kind;
                        if *kind != ParamType::Date {
                            return Err(fail(format!("{{{param}}} is a {kind}, and no date")));
                        }
                    }
                    days(from, to)
                }
                Some(Condition::Is(param, unless)) => match &spec(param)?.kind {
                    ParamType::Date if unless.is_none() => days(param, param),
                    kind if kind.is_identity() => Narrowed::Word {
                        param: param.to_owned(),
                        unless: match unless.map(|unless| kind.parse_text(unless)) {
                            None => None,
                            Some(Ok(value)) => Some(value),
                            Some(Err(error)) => {
                                return Err(fail(format!("the value behind unless {error}")));
                            }
                        },
                    },
                    kind => return Err(fail(format!("a {kind} can't narrow a facet"))),
                },
            };
            self.name(facet, "facet")?;
            narrowed.insert(facet.get_ref().clone(), by);
        }
        Ok(narrowed)
    }

    /// Holds what queries are narrowed by against what tables tell.
    pub(super) fn join_facets(
        &self,
        document: &Document,
        catalog: &mut Catalog,
    ) -> Result<(), CatalogError> {
        for (name, declared) in &document.query {
            if let Some(query) = catalog.queries.get(name.get_ref()) {
                self.facets_fit(declared, query, catalog)?;
            }
        }
        self.facets_are_used(document, catalog)?;
        let is_parted = |query: &Query| {
            let family = query.member.as_ref().map(|member| member.family.as_str());
            family.is_some_and(|family| {
                let mut reads = query.reads.iter();
                reads.any(|table| catalog.facets(table, family).is_some())
            })
        };
        let whole = catalog.queries.values().filter(|query| !is_parted(query));
        let whole: Vec<_> = whole.map(|query| query.name.clone()).collect();
        for name in whole {
            if let Some(query) = catalog.queries.get_mut(&name) {
                query.parts = None;
            }
        }
        Ok(())
    }

    /// That a query is narrowed by something that its tables tell.
    fn facets_fit(
        &self,
        declared: &QueryTable,
        query: &Query,
        catalog: &Catalog,
    ) -> Result<(), CatalogError> {
        let Some((first, _)) = declared.narrowed.first_key_value() else {
            return Ok(());
        };
        let fail = |facet: &Spanned<String>, problem: String, help: String| {
            Err(self.error(&facet.span(), problem, help))
        };
        let Some(MemberScope { family, .. }) = &query.member else {
            return fail(
                first,
                "a query without a scope has no parts that it could be narrowed to".to_owned(),
                "scope = \"org:{org}\" beside where".to_owned(),
            );
        };
        if !query.policy.is_cacheable() {
            return fail(
                first,
                "a query that is never cached needs no narrowing".to_owned(),
                "max_staleness = \"1s\", say, or leave where out".to_owned(),
            );
        }
        let all: BTreeSet<&String> = catalog
            .queries_of(family)
            .flat_map(|(query, _)| query.parts.iter().flatten())
            .map(|(facet, _)| facet)
            .collect();
        if all.len() > MOST_FACETS {
            return fail(
                first,
                format!(
                    "queries of the family {family:?} are narrowed by {} facets ({}), and each multiplies what a change touches",
                    all.len(),
                    listed(&all, ", ")
                ),
                format!("at most {MOST_FACETS}, those that keep the most answers apart"),
            );
        }
        for (facet, by) in query.parts.iter().flatten() {
            let declared = declared.narrowed.keys();
            let span = declared.clone().find(|key| key.get_ref() == facet);
            let span = span.unwrap_or(first).span();
            self.is_of_one_kind(&span, facet, by.kind(), family, catalog)?;
            if !self.is_told(&span, facet, query, family, catalog)? {
                return Err(self.error(
                    &span,
                    format!(
                        "no table in reads that belongs to {family:?} tells {}",
                        listed(&all, " and ")
                    ),
                    format!("[table.orders] with facets = {{ {facet} = \"{{COLUMN}}\" }}, say"),
                ));
            }
        }
        Ok(())
    }

    /// That all queries of a family take a facet for the same.
    fn is_of_one_kind(
        &self,
        at: &Span,
        facet: &String,
        kind: FacetKind,
        family: &str,
        catalog: &Catalog,
    ) -> Result<(), CatalogError> {
        let contradicts = |(query, _): &(&Query, &MemberScope)| {
            let by = query.parts.as_ref().and_then(|parts| parts.get(facet));
            by.is_some_and(|by| by.kind() != kind)
        };
        let Some((other, _)) = catalog.queries_of(family).find(contradicts) else {
            return Ok(());
        };
        Err(self.error(
            at,
            format!(
                "{facet} is a {kind} here, and none in query {:?}",
                other.name
            ),
            "one kind for one facet, or another name",
        ))
    }

    /// Whether some table that a query reads tells a facet; and that whatever moves its rows is noticed.
    fn is_told(
        &self,
        at: &Span,
        facet: &String,
        query: &Query,
        family: &str,
        catalog: &Catalog,
    ) -> Result<bool, CatalogError> {
        let mut is_told = false;
        for table in &query.reads {
            let told = catalog.facets(table, family).into_iter().flatten();
            for source in told.filter(|source| source.facet == *facet) {
                is_told = true;
                let unnoticed = source.path.via.iter().find(|step| {
                    !query.reads.contains(step) || !carries(&catalog.tables, step, family)
                });
                if let Some(step) = unnoticed {
                    return Err(self.error(
                        at,
                        format!(
                            "{table} tells its {facet} along {step}, whose changes would go unnoticed"
                        ),
                        format!(
                            "{step:?} in reads, and [table.{step}] with a scope of the family {family:?}"
                        ),
                    ));
                }
            }
        }
        Ok(is_told)
    }

    /// A facet by which no query is narrowed is most likely misspelt.
    fn facets_are_used(&self, document: &Document, catalog: &Catalog) -> Result<(), CatalogError> {
        for table in document.table.values() {
            for facet in table.facets.keys() {
                let is_used = |query: &Query| {
                    let parts = query.parts.as_ref();
                    parts.is_some_and(|parts| parts.contains_key(facet.get_ref()))
                };
                if !catalog.queries.values().any(is_used) {
                    return Err(self.error(
                        &facet.span(),
                        format!("no query is narrowed by the facet {:?}", facet.get_ref()),
                        "a query with where = { … } that names it, or remove it",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn listed(facets: &BTreeSet<&String>, separator: &str) -> String {
    let names: Vec<_> = facets.iter().map(|facet| facet.as_str()).collect();
    names.join(separator)
}

/// What a query says of a facet.
enum Condition<'a> {
    /// Between two parameters.
    Between(&'a str, &'a str),
    /// Equal to a parameter, unless that has this value.
    Is(&'a str, Option<&'a str>),
}

impl<'a> Condition<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if let Some((from, to)) = text.split_once("..") {
            return Some(Self::Between(placeholder(from)?, placeholder(to)?));
        }
        Some(match text.split_once(" unless ") {
            None => Self::Is(placeholder(text)?, None),
            Some((param, unless)) => Self::Is(placeholder(param)?, Some(unless)),
        })
    }
}
