//! Opening a route: finding its place again, or choosing where a new one begins.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use tidemill_core::config::{RouteConfig, Start};
use tidemill_core::port::{Backlog, BrokerError, Origin};
use tokio::time::Instant;

use crate::keys;
use crate::log::lock;
use crate::position::{Interest, Position, PositionRow, When};
use crate::route::Route;
use crate::row::{MessageRow, ReturningRow};
use crate::store::Table;
use crate::transaction::Transaction;

/// Opens the route, or takes it over from an earlier source of this process: what that one had is handed out again.
pub(crate) fn open(tx: &mut Transaction<'_>, config: &RouteConfig, now: Instant) -> Result<Arc<Route>, BrokerError> {
    let stream = find_stream(tx, config)?;
    let known = &tx.ledger.streams[stream];
    let interest = Interest::new(&config.subjects, &known.settings.subjects);
    let (messages, end) = (known.messages, tx.visible_end(stream));

    if let Some(route) = tx.open_route(&config.name) {
        check_stream(config, &route.stream)?;
        // No pull may read on between counting what is ahead and saying so.
        let reading = lock(&route.reading);
        let from = lock(&route.position).next();
        let ahead = count_ahead(tx, stream, &interest, from)?;
        let mut position = lock(&route.position);
        position.turn_to(interest, end, ahead);
        position.give_all_back();
        drop(position);
        drop(reading);
        return Ok(route);
    }

    let row = match read_position(tx, config)? {
        Some(row) => row,
        None => {
            PositionRow { stream: config.stream.clone(), next: start(tx, stream, config.start)?, unsettled: vec![] }
        }
    };
    let returning = read_returning(tx, config)?;
    let ahead = count_ahead(tx, stream, &interest, row.next)?;
    let mut position = Position::restore(row, interest, end, ahead);
    for (origin, row) in returning {
        position.comes_back(origin, row.attempt, row.redriven, due(&row, tx.now, now));
    }
    let route = Arc::new(Route::new(config.name.clone(), messages, config.stream.clone(), position));
    tx.note_moved(&route);
    tx.add_route(Arc::clone(&route));
    Ok(route)
}

/// The backlog of a route that this process has not opened.
pub(crate) fn backlog_of_closed(tx: &mut Transaction<'_>, config: &RouteConfig) -> Result<Backlog, BrokerError> {
    let Some(row) = read_position(tx, config)? else { return Ok(Backlog::default()) };
    let stream = find_stream(tx, config)?;
    let interest = Interest::new(&config.subjects, &tx.ledger.streams[stream].settings.subjects);
    let ahead = count_ahead(tx, stream, &interest, row.next)?;
    let now = tx.now;
    let returning = read_returning(tx, config)?;
    let parked = returning.iter().filter(|(_, row)| row.due > now).count() as u64;
    let ready = returning.len() as u64 - parked;
    Ok(Backlog { undelivered: ahead + row.unsettled.len() as u64 + ready, in_flight: 0, parked })
}

fn find_stream(tx: &Transaction<'_>, config: &RouteConfig) -> Result<usize, BrokerError> {
    let found = tx.ledger.streams.iter().position(|stream| stream.settings.name == config.stream);
    found.ok_or_else(|| {
        BrokerError::Refused(format!(
            "the route `{}` reads the stream `{}`, which does not exist; declare it under `streams` in runtime.yaml",
            config.name, config.stream
        ))
    })
}

fn read_position(tx: &mut Transaction<'_>, config: &RouteConfig) -> Result<Option<PositionRow>, BrokerError> {
    let row = tx.read(Table::ROUTES, &keys::route(&config.name), PositionRow::decode)?;
    if let Some(row) = &row {
        check_stream(config, &row.stream)?;
    }
    Ok(row)
}

fn check_stream(config: &RouteConfig, stands_in: &tidemill_core::name::StreamName) -> Result<(), BrokerError> {
    if config.stream == *stands_in {
        return Ok(());
    }
    Err(BrokerError::Incompatible(format!(
        "the route `{}` stands in the stream `{stands_in}`, `runtime.yaml` wants `{}`; give the route another name to \
         begin anew",
        config.name, config.stream
    )))
}

/// The first sequence that a new route looks at.
fn start(tx: &mut Transaction<'_>, stream: usize, start: Start) -> Result<u64, BrokerError> {
    let extent = tx.ledger.streams[stream].extent;
    Ok(match start {
        Start::New => extent.end,
        Start::All => extent.first,
        Start::Sequence(sequence) => sequence.max(extent.first),
        Start::Time(time) => first_since(tx, stream, time)?,
    })
}

/// Sequences are dense and times do not run backwards, so halving finds the first message of a time.
fn first_since(tx: &mut Transaction<'_>, stream: usize, time: SystemTime) -> Result<u64, BrokerError> {
    let known = &tx.ledger.streams[stream];
    let (messages, extent) = (known.messages, known.extent);
    let (mut low, mut high) = (extent.first, tx.visible_end(stream));
    while low < high {
        let middle = low + (high - low) / 2;
        let stored = tx.read(messages, &keys::sequence(middle), MessageRow::stored)?;
        if stored.is_some_and(|stored| stored < time) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// How many messages in the store from `from` on are of interest.
fn count_ahead(tx: &mut Transaction<'_>, stream: usize, interest: &Interest, from: u64) -> Result<u64, BrokerError> {
    let known = &tx.ledger.streams[stream];
    let (messages, extent) = (known.messages, known.extent);
    let (from, end) = (from.max(extent.first), tx.visible_end(stream));
    if interest.is_everything() {
        return Ok(end.saturating_sub(from));
    }
    let mut count = Ok(0);
    let scanned = tx.store.scan(messages, &keys::sequence(from), &keys::sequence(end), |_, row| {
        match (MessageRow::subject(row), &mut count) {
            (Ok(subject), Ok(count)) => *count += u64::from(interest.admits(subject)),
            (Err(error), count) => *count = Err(error),
            (Ok(_), Err(_)) => {}
        }
        ControlFlow::Continue(())
    });
    tx.check(scanned)?;
    Ok(count?)
}

fn read_returning(tx: &mut Transaction<'_>, config: &RouteConfig) -> Result<Vec<(Origin, ReturningRow)>, BrokerError> {
    let prefix = keys::returning_of(&config.name);
    let mut rows = Vec::new();
    let scanned = tx.store.scan(Table::RETURNING, &prefix, &keys::after_prefix(&prefix), |key, row| {
        rows.push((keys::read_returning(key, &prefix), ReturningRow::decode(row)));
        ControlFlow::Continue(())
    });
    tx.check(scanned)?;
    rows.into_iter().filter_map(|(origin, row)| origin.map(|origin| Ok((origin, row?)))).collect()
}

fn due(row: &ReturningRow, wall: SystemTime, now: Instant) -> When {
    match row.due.duration_since(wall) {
        Ok(left) if !left.is_zero() => When::At(now + left),
        _ => When::Now,
    }
}
