//! Searching: through the index, in the order of insertion, a page a statement.

use super::fault::Outcome;
use super::migrate;
use super::schema::format_now;
use crate::store::terms::{self, Term};
use crate::store::{Cursor, ObjectId, Page, Query};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// How many candidates one statement looks at, so that it stays within milliseconds.
const EFFORT: usize = 4096;
/// How many records one statement brings, and how long one may be to be among them.
const RECORDS: usize = 256;
const MAX_RECORD: &str = "65536";

/// How a query is answered.
pub(super) struct Plan<'q> {
    query: &'q Query,
    terms: Vec<Term>,
    reads_records: bool,
    statement: String,
}

impl<'q> Plan<'q> {
    pub(super) fn new(query: &'q Query) -> Self {
        let terms = terms::of_query(query);
        // The index is believed for "all", and otherwise every record is looked at.
        let reads_records = !(query.equal.is_empty() && terms.is_empty());
        let statement = statement(&terms, reads_records);
        Self { query, terms, reads_records, statement }
    }

    /// The next matches after `after`.
    pub(super) async fn page(&self, client: &Client, name: &str, after: Option<Cursor>, limit: usize) -> Outcome<Page> {
        let begin = after.map_or(0, |cursor| cursor.0 as i64);
        if limit == 0 {
            return Ok(Page { next: Some(Cursor(begin as u64)), ..Page::default() });
        }
        let effort = EFFORT as i64;
        let most = limit.min(if self.reads_records { RECORDS } else { EFFORT });
        let most_rows = most as i64;
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&name, Type::TEXT), (&begin, Type::INT8), (&effort, Type::INT8), (&most_rows, Type::INT8)];
        for (kind, value) in &self.terms {
            parameters.push((kind, Type::INT8));
            parameters.push((value, Type::BYTEA));
        }
        let rows = client.query_typed(&self.statement, &parameters).await?;
        // There is always a row: that of the counts, where nothing was found.
        let Some(first) = rows.first() else { return Ok(Page::default()) };
        migrate::check(first.try_get(0)?)?;
        let (candidates, last): (i64, Option<i64>) = (first.try_get(1)?, first.try_get(2)?);
        let mut page = Page::default();
        let mut found = 0;
        let mut last_found = None;
        for row in &rows {
            let Some(seq) = row.try_get::<_, Option<i64>>(3)? else { break };
            found += 1;
            last_found = Some(seq);
            self.confirm(client, name, row, &mut page).await?;
        }
        page.next = match (found >= most, candidates >= effort) {
            (true, _) => last_found,
            (false, true) => last,
            (false, false) => None,
        }
        .map(|seq| Cursor(seq as u64));
        Ok(page)
    }

    /// Adds the object to the page, if its record says what the index says, and the rest of the query.
    async fn confirm(&self, client: &Client, name: &str, row: &Row, page: &mut Page) -> Outcome<()> {
        let id: &[u8] = row.try_get(4)?;
        // Not an id of ours: an object that nobody can get.
        let Ok(bytes) = <[u8; 16]>::try_from(id) else { return Ok(()) };
        let id = ObjectId::from_bytes(bytes);
        if !self.reads_records {
            page.ids.push(id);
            return Ok(());
        }
        let long;
        let (version, record) = match row.try_get::<_, Option<&[u8]>>(6)? {
            Some(record) => (row.try_get::<_, i64>(5)? as u64, record),
            None => match super::stored(client, name, &id).await? {
                Some((version, record)) => {
                    long = record;
                    (version, long.as_slice())
                }
                None => return Ok(()),
            },
        };
        if terms::confirms(self.query, record) {
            page.add(id, version, record);
        }
        Ok(())
    }
}

/// Candidates are the objects under the first term, of which there are the fewest as a rule; the others are looked up
/// for each of them (`OFFSET 0` has the planner do that, and not read another list as a whole). `$1` is the token's
/// name, `$2` the place to begin after, `$3` the number of candidates, `$4` that of matches, and the terms follow.
fn statement(terms: &[Term], reads_records: bool) -> String {
    let token = "(SELECT number FROM datakey_token WHERE name = $1)";
    let candidates = match terms {
        [] => format!("SELECT seq FROM datakey_object WHERE token = {token} AND seq > $2 ORDER BY seq LIMIT $3"),
        _ => format!(
            "SELECT seq FROM datakey_lookup WHERE token = {token} AND type = $5 AND value = $6 AND seq > $2 \
             ORDER BY seq LIMIT $3"
        ),
    };
    let others: String = (1..terms.len())
        .map(|number| {
            format!(
                " AND EXISTS (SELECT 1 FROM datakey_lookup l WHERE l.token = {token} AND l.type = ${} \
                 AND l.value = ${} AND l.seq = c.seq OFFSET 0)",
                5 + 2 * number,
                6 + 2 * number
            )
        })
        .collect();
    let record = match reads_records {
        false => "NULL::BYTEA".to_owned(),
        true => format!("CASE WHEN octet_length(o.record) <= {MAX_RECORD} THEN o.record END"),
    };
    format!(
        "WITH c AS ({candidates}), \
         m AS (SELECT c.seq FROM c WHERE true{others} ORDER BY c.seq LIMIT $4), \
         f AS (SELECT o.seq, o.id, o.version, {record} AS record FROM m JOIN datakey_object o ON o.token = {token} AND o.seq = m.seq) \
         SELECT {format}, (SELECT count(*) FROM c), (SELECT max(seq) FROM c), f.seq, f.id, f.version, f.record \
         FROM (SELECT 1) AS one LEFT JOIN f ON true ORDER BY f.seq",
        format = format_now!(),
    )
}
