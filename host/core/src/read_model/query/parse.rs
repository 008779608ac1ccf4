//! Parameters to a query.

use uuid::Uuid;

use super::super::collection::Collection;
use super::super::field::FieldPath;
use super::super::index_value::IndexValue;
use super::cursor::{self, Cursor};
use super::error::QueryError;
use super::options::{Parameter, QueryOptions};
use super::{Direction, Query, filter};

/// Documents of a page unless the question says otherwise.
const DEFAULT_LIMIT: usize = 20;

/// And at most.
const MAX_LIMIT: usize = 500;

/// Filters of one question: all operators on seven fields.
const MAX_FILTERS: usize = 64;

/// Fields that one question sorts by.
const MAX_SORT: usize = 4;

/// Documents that are sorted in memory where no index does it.
pub(super) const MAX_UNINDEXED: usize = 1000;

/// What a page needs to know of its question beside the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Paging {
    pub(super) question: Uuid,
    /// The copy that the cursor belongs to.
    pub(super) copy: Option<u64>,
    /// The documents that are wanted; the query may have to look at more.
    pub(super) limit: usize,
    pub(super) unindexed: Option<Unindexed>,
}

/// An order that no index has: the documents are fetched by key and sorted here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unindexed {
    pub(super) fields: Vec<FieldPath>,
    pub(super) after: Option<(Vec<IndexValue>, String)>,
}

// === impl Query ===

impl Query {
    /// Reads a question from parameters, decoded and in their order:
    ///
    /// - `FIELD=VALUE`, `FIELD[OPERATOR]=VALUE` for indexed fields. `eq`, `ne`, `in` (values separated by commas), `gt`, `gte`,
    ///   `lt`, `lte` (numbers among numbers, texts among texts), `exists` (`true`, `false`), `prefix` (of texts). `ne` finds
    ///   everything else, documents without the field too. All filters must hold. See [`typed`](super::typed) for values.
    ///   A field whose name is that of a parameter below is written with its operator.
    /// - `sort=FIELD,FIELD` or `sort=-FIELD,-FIELD`; the document's key, `key`, comes last in any case.
    /// - `limit` (20 unless given, at most 500), `cursor` (the `next` of the page before).
    /// - `fields`, `wait_for`, `timeout`, `stale`: see [`QueryOptions`].
    pub fn parse(params: &[Parameter], collection: &Collection) -> Result<(Self, QueryOptions), QueryError> {
        let (mut options, rest) = QueryOptions::take(params)?;
        let mut question = Question::default();
        for (name, value) in rest {
            question.read(name, value)?;
        }
        let mut query = Query::default();
        for (name, value) in &question.filters {
            query.conditions.extend(filter::conditions(collection, name, value)?);
        }
        let sort = question.sort.map(sort).transpose()?.unwrap_or_default();
        query.direction = sort.direction;
        let limit = question.limit.map(limit).transpose()?.unwrap_or(DEFAULT_LIMIT);
        let columns: Option<Vec<usize>> = sort.fields.iter().map(|field| collection.column(field.as_str())).collect();
        let sorted = sort.fields.len();
        let mut unindexed = None;
        match columns {
            // One more shows whether there is a next page.
            Some(columns) => (query.sort, query.limit) = (columns, limit + 1),
            None => {
                query.limit = MAX_UNINDEXED + 1;
                unindexed = Some(Unindexed { fields: sort.fields, after: None });
            }
        }
        let parts = question.filters.iter().copied().chain(question.sort.map(|sort| ("sort", sort)));
        let digest = cursor::digest(collection.name.as_str(), parts);
        let cursor = question.cursor.map(|text| own(Cursor::decode(text)?, digest, sorted)).transpose()?;
        let copy = cursor.as_ref().map(|cursor| cursor.copy);
        let after = cursor.map(|cursor| (cursor.values, cursor.key));
        match &mut unindexed {
            Some(unindexed) => unindexed.after = after,
            None => query.after = after,
        }
        options.paging = Paging { question: digest, copy, limit, unindexed };
        Ok((query, options))
    }
}

/// The parameters by what they are.
#[derive(Default)]
struct Question<'a> {
    filters: Vec<(&'a str, &'a str)>,
    sort: Option<&'a str>,
    limit: Option<&'a str>,
    cursor: Option<&'a str>,
}

impl<'a> Question<'a> {
    fn read(&mut self, name: &'a str, value: &'a str) -> Result<(), QueryError> {
        let place = match name {
            "sort" => &mut self.sort,
            "limit" => &mut self.limit,
            "cursor" => &mut self.cursor,
            _ => return self.filter(name, value),
        };
        if place.replace(value).is_some() {
            return Err(QueryError::repeated(name));
        }
        Ok(())
    }

    fn filter(&mut self, name: &'a str, value: &'a str) -> Result<(), QueryError> {
        let same = filter::split(name)?;
        if self.filters.iter().any(|(known, _)| filter::split(known).is_ok_and(|known| known == same)) {
            let hint = match same {
                (field, "eq" | "in") => format!("; `{field}[in]=A,B` finds either"),
                _ => String::new(),
            };
            return Err(QueryError::Repeated {
                parameter: super::error::shown(name),
                hint: super::error::shown(&hint),
            });
        }
        if self.filters.len() == MAX_FILTERS {
            let expected = format!("at most {MAX_FILTERS} filters");
            return Err(QueryError::bad_value(name, expected, value));
        }
        self.filters.push((name, value));
        Ok(())
    }
}

/// The cursor, if it is one of this question.
fn own(cursor: Cursor, question: Uuid, sorted: usize) -> Result<Cursor, QueryError> {
    if cursor.question != question || cursor.values.len() != sorted {
        return Err(QueryError::BadCursor("it belongs to another question"));
    }
    Ok(cursor)
}

#[derive(Default)]
struct Sort {
    /// Without the key, which comes last by itself.
    fields: Vec<FieldPath>,
    direction: Direction,
}

fn sort(text: &str) -> Result<Sort, QueryError> {
    let descending = text.starts_with('-');
    let mut fields = Vec::new();
    for part in text.split(',') {
        let name = match (part.strip_prefix('-'), descending) {
            (Some(name), true) => name,
            (None, false) => part,
            _ => {
                let expected = "one direction for all fields: `a,b` or `-a,-b`";
                return Err(QueryError::bad_value("sort", expected, text));
            }
        };
        let field = FieldPath::try_new(name)?;
        if fields.contains(&field) {
            return Err(QueryError::bad_value("sort", "each field once", text));
        }
        fields.push(field);
    }
    if let Some(place) = fields.iter().position(|field| field.as_str() == "key") {
        if place + 1 < fields.len() {
            return Err(QueryError::bad_value("sort", "nothing after `key`, which no two documents share", text));
        }
        fields.pop();
    }
    if fields.len() > MAX_SORT {
        return Err(QueryError::bad_value("sort", format!("at most {MAX_SORT} fields"), text));
    }
    Ok(Sort { fields, direction: if descending { Direction::Descending } else { Direction::Ascending } })
}

fn limit(text: &str) -> Result<usize, QueryError> {
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| QueryError::bad_value("limit", format!("a number from 1 to {MAX_LIMIT}"), text))
}
