//! Searching: through the index, in the order of insertion, in short transactions.

use super::fault::Outcome;
use crate::store::terms::{self, Term};
use crate::store::{Cursor, ObjectId, Page, Query};
use rusqlite::{Connection, OptionalExtension, params};

/// How many candidates, or leaps between them, one transaction looks at, so that it stays within milliseconds.
const EFFORT: usize = 4096;
/// How many rows are asked for at once where there is nothing to skip.
const BATCH: usize = 256;
/// A list that is no longer than this is looked through, whatever else is asked for: to look into a long list as well
/// costs as much as to read a record.
const SHORT: usize = 4;

/// How a query is answered.
pub(super) struct Plan<'q> {
    query: &'q Query,
    /// Every object that matches is in the index under each of these; none of them: all objects.
    terms: Vec<Term>,
}

impl<'q> Plan<'q> {
    pub(super) fn new(query: &'q Query) -> Self {
        Self { query, terms: terms::of_query(query) }
    }

    /// The next matches after `after`.
    pub(super) fn page(&self, connection: &Connection, after: Option<Cursor>, limit: usize) -> Outcome<Page> {
        let mut page = Page::default();
        let mut candidates = Candidates::new(connection, &self.terms, after.map_or(0, |cursor| cursor.0 as i64));
        while page.ids.len() < limit {
            match candidates.next()? {
                Step::End => return Ok(page),
                Step::Pause => break,
                Step::Known(id) if self.query.equal.is_empty() => page.ids.push(id),
                Step::Known(_) | Step::Candidate => self.confirm(connection, candidates.last, &mut page)?,
            }
        }
        page.next = Some(Cursor(candidates.last as u64));
        Ok(page)
    }

    /// Adds the object to the page, if its record says what the index says, and the rest of the query. A damaged
    /// record may say anything.
    fn confirm(&self, connection: &Connection, seq: i64, page: &mut Page) -> Outcome<()> {
        let sql = "SELECT id, version, record FROM object JOIN record USING (seq) WHERE seq = ?1";
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        if terms::confirms(self.query, bytes) {
            page.add(ObjectId::from_bytes(row.get(0)?), row.get::<_, i64>(1)? as u64, bytes);
        }
        Ok(())
    }
}

/// What came next.
enum Step {
    /// The object at `last` is in the index under all the terms.
    Candidate,
    /// The same, and this is its id.
    Known(ObjectId),
    /// Enough for one transaction.
    Pause,
    /// There are no more.
    End,
}

/// The objects that are in the index under all of some terms, by ascending `seq`.
///
/// One term, or none, is a scan, and so are several if the first one's list is short: such as an id and a class. Else they
/// are intersected by leaping: each list in turn is asked for its first entry not below the best so far, so that the work
/// is bounded by the shortest list and nothing needs to be known beforehand about which one that is.
struct Candidates<'a> {
    connection: &'a Connection,
    terms: &'a [Term],
    /// Everything up to here was answered or ruled out.
    last: i64,
    effort: usize,
    /// What a scan read ahead, in reverse.
    ahead: Vec<(i64, Option<ObjectId>)>,
    /// Whether nothing follows what was read ahead.
    at_end: bool,
    /// Whether the lists are looked through one by one; `None` before the first step.
    scans: Option<bool>,
}

impl<'a> Candidates<'a> {
    fn new(connection: &'a Connection, terms: &'a [Term], after: i64) -> Self {
        Self { connection, terms, last: after, effort: EFFORT, ahead: Vec::new(), at_end: false, scans: None }
    }

    fn next(&mut self) -> Outcome<Step> {
        let scans = match (self.scans, self.terms) {
            (Some(scans), _) => scans,
            (None, [] | [_]) => true,
            (None, [first, ..]) => self.begin_short(first)?,
        };
        self.scans = Some(scans);
        if scans { self.scan() } else { self.leap(self.terms) }
    }

    /// Reads a list ahead if it is short. Whether it is.
    fn begin_short(&mut self, term: &Term) -> Outcome<bool> {
        let all = self.list(term, SHORT + 1)?;
        let is_short = all.len() <= SHORT;
        if is_short {
            self.ahead = all;
            self.ahead.reverse();
            self.at_end = true;
        }
        Ok(is_short)
    }

    fn scan(&mut self) -> Outcome<Step> {
        if self.effort == 0 {
            return Ok(Step::Pause);
        }
        self.effort -= 1;
        if self.ahead.is_empty() && !self.at_end {
            self.ahead = self.read_ahead()?;
            self.at_end = self.ahead.len() < BATCH;
            self.ahead.reverse();
        }
        let Some((seq, id)) = self.ahead.pop() else { return Ok(Step::End) };
        self.last = seq;
        Ok(id.map_or(Step::Candidate, Step::Known))
    }

    fn read_ahead(&self) -> Outcome<Vec<(i64, Option<ObjectId>)>> {
        if let [term] = self.terms {
            return self.list(term, BATCH);
        }
        let mut ahead = Vec::new();
        let sql = "SELECT seq, id FROM object WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params![self.last, BATCH as i64])?;
        while let Some(row) = rows.next()? {
            ahead.push((row.get(0)?, Some(ObjectId::from_bytes(row.get(1)?))));
        }
        Ok(ahead)
    }

    /// The next entries under a term.
    fn list(&self, (kind, value): &Term, most: usize) -> Outcome<Vec<(i64, Option<ObjectId>)>> {
        let sql = "SELECT seq FROM lookup WHERE type = ?1 AND value = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params![kind, value, self.last, most as i64])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push((row.get(0)?, None));
        }
        Ok(entries)
    }

    fn leap(&mut self, terms: &[Term]) -> Outcome<Step> {
        let sql = "SELECT seq FROM lookup WHERE type = ?1 AND value = ?2 AND seq >= ?3 ORDER BY seq LIMIT 1";
        let mut seek = self.connection.prepare_cached(sql)?;
        let mut agreed = 0;
        for (kind, value) in terms.iter().cycle() {
            if self.effort == 0 {
                return Ok(Step::Pause);
            }
            self.effort -= 1;
            // No row of ours comes near the end of the numbers; a doctored one must not start the search anew.
            let Some(best) = self.last.checked_add(1) else { return Ok(Step::End) };
            let Some(seq) = seek.query_row(params![kind, value, best], |row| row.get(0)).optional()? else {
                return Ok(Step::End);
            };
            agreed = if seq == best { agreed + 1 } else { 1 };
            self.last = seq - 1;
            if agreed == terms.len() {
                self.last = seq;
                return Ok(Step::Candidate);
            }
        }
        Ok(Step::End)
    }
}
