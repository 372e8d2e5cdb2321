//! Rows of `events`.

use laneway_core::event::{Event, Recorded, Subject};
use laneway_core::time::Timestamp;
use serde_json::Value;

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any};

macro_rules! event_columns {
    () => {
        "events.seq, events.host, events.at, events.name, events.data, events.workspace, events.lane, \
         events.worker, events.run, events.correlation, events.actor"
    };
}
pub(crate) use event_columns;

pub(crate) struct EventRecord {
    pub(crate) seq: i64,
    pub(crate) host: String,
    pub(crate) at: i64,
    pub(crate) name: String,
    /// What the kind of event has to say, as JSON.
    pub(crate) data: String,
    pub(crate) workspace: Option<String>,
    pub(crate) lane: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) correlation: String,
    /// Who asked, as JSON.
    pub(crate) actor: String,
}

impl TableRow for EventRecord {
    type Record = Recorded;
    const TABLE: &'static str = "events";
    const WIDTH: usize = 11;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: cells.take()?,
            host: cells.take()?,
            at: cells.take()?,
            name: cells.take()?,
            data: cells.take()?,
            workspace: cells.take()?,
            lane: cells.take()?,
            worker: cells.take()?,
            run: cells.take()?,
            correlation: cells.take()?,
            actor: cells.take()?,
        })
    }
}

impl From<&Recorded> for EventRecord {
    fn from(recorded: &Recorded) -> Self {
        let Ok(Value::Object(mut event)) = serde_json::to_value(&recorded.event) else {
            unreachable!("an event is a JSON object with its name and its data")
        };
        let name = event.remove("event").and_then(|name| name.as_str().map(str::to_owned));
        debug_assert_eq!(name.as_deref(), Some(recorded.event.name()));
        let subject = recorded.subject;
        Self {
            seq: recorded.seq.cast_signed(),
            host: recorded.host.to_string(),
            at: recorded.at.0,
            name: name.expect("every event has a name"),
            data: event.remove("data").expect("every event has data").to_string(),
            workspace: subject.workspace.map(|id| id.to_string()),
            lane: subject.lane.map(|id| id.to_string()),
            worker: subject.worker.map(|id| id.to_string()),
            run: subject.run.map(|id| id.to_string()),
            correlation: recorded.correlation.to_string(),
            actor: serde_json::to_string(&recorded.actor).expect("an actor is JSON"),
        }
    }
}

impl TryFrom<EventRecord> for Recorded {
    type Error = BadCell;
    fn try_from(row: EventRecord) -> Result<Self, BadCell> {
        let data: Value = serde_json::from_str(&row.data).map_err(|error| BadCell::new("data", error))?;
        let event: Event = serde_json::from_value(serde_json::json!({ "event": row.name, "data": data }))
            .map_err(|error| BadCell::new("name and data", error))?;
        Ok(Self {
            host: parsed("host", &row.host)?,
            seq: row.seq.cast_unsigned(),
            at: Timestamp(row.at),
            event,
            subject: Subject {
                workspace: parsed_if_any("workspace", row.workspace.as_deref())?,
                lane: parsed_if_any("lane", row.lane.as_deref())?,
                worker: parsed_if_any("worker", row.worker.as_deref())?,
                run: parsed_if_any("run", row.run.as_deref())?,
            },
            correlation: parsed("correlation", &row.correlation)?,
            actor: serde_json::from_str(&row.actor).map_err(|error| BadCell::new("actor", error))?,
        })
    }
}
