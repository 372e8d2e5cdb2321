//! The measurements. Each fills one row or several that come from the same rounds; those that are compared are
//! measured in turn, so that a change of the machine's mood meets all of them.

mod answering;
mod events;
mod lanes;
mod latency;
mod many;
mod many_lanes;
mod memory;
mod output;
mod starting;
mod supervision;
mod tmux_windows;

use std::collections::HashMap;

use anyhow::Result;

use super::measure::statistics::Samples;
use super::stage::Stage;
use super::table::{Figure, Line, Row, Target};

/// Fills rows.
pub(crate) struct Measurement {
    /// The rows it fills.
    pub(crate) rows: Vec<Row>,
    /// How.
    pub(crate) measure: Measure,
}

/// Measures; what it has set when it fails is kept.
pub(crate) type Measure = Box<dyn Fn(&Stage, &mut Figures) -> Result<()>>;

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Measurement> {
    let mut all = output::measurements();
    all.extend(answering::measurements());
    all.extend(latency::measurements());
    all.extend(starting::measurements());
    all.extend(memory::measurements());
    all.extend(many::measurements());
    all.extend(tmux_windows::measurements());
    all.extend(events::measurements());
    all.extend(supervision::measurements());
    all.extend(lanes::measurements());
    all.extend(many_lanes::measurements());
    all
}

fn measurement(
    rows: Vec<Row>,
    measure: impl Fn(&Stage, &mut Figures) -> Result<()> + 'static,
) -> Measurement {
    Measurement { rows, measure: Box::new(measure) }
}

fn row(name: impl Into<String>, unit: &'static str, target: Target) -> Row {
    Row { name: name.into(), unit, target, needs_tmux: false }
}

/// A row that is left out where there is no tmux.
fn row_with_tmux(name: impl Into<String>, unit: &'static str, target: Target) -> Row {
    Row { needs_tmux: true, ..row(name, unit, target) }
}

/// What was measured, by the name of the row.
#[derive(Debug, Default)]
pub(crate) struct Figures(HashMap<String, Figure>);

impl Figures {
    /// Ours beside another's.
    fn set(&mut self, name: impl Into<String>, ours: f64, against: f64) {
        self.0.insert(name.into(), Figure { ours, against: Some(against), note: None });
    }

    /// The medians of both, with the range of ours in a note.
    fn set_medians(&mut self, name: impl Into<String>, ours: &Samples, against: &Samples) {
        let note = format!("{} samples each: {} against {}", ours.len(), ours.range(), against.range());
        let figure = Figure { ours: ours.median(), against: Some(against.median()), note: Some(note) };
        self.0.insert(name.into(), figure);
    }

    /// Ours, with nobody to compare it with.
    fn set_alone(&mut self, name: impl Into<String>, ours: f64) {
        self.0.insert(name.into(), Figure { ours, against: None, note: None });
    }

    /// The median of ours, with nobody to compare it with.
    fn set_median(&mut self, name: impl Into<String>, ours: &Samples) {
        let note = format!("{} samples: {}", ours.len(), ours.range());
        self.0.insert(name.into(), Figure { ours: ours.median(), against: None, note: Some(note) });
    }

    /// Something to know about a row that is set.
    fn note(&mut self, name: &str, note: String) {
        if let Some(figure) = self.0.get_mut(name) {
            figure.note = Some(match figure.note.take() {
                Some(before) => format!("{before}; {note}"),
                None => note,
            });
        }
    }

    /// The lines of these rows: what was set, and for the rest why it was not.
    pub(crate) fn into_lines(
        mut self,
        rows: &[Row],
        error: Option<&anyhow::Error>,
        has_tmux: bool,
    ) -> Vec<Line> {
        let rows = rows.iter().filter(|row| has_tmux || !row.needs_tmux);
        rows.map(|row| {
            let outcome = self.0.remove(&row.name).ok_or_else(|| match error {
                Some(error) => format!("{error:#}"),
                None => "it was not measured".to_owned(),
            });
            Line { row: row.clone(), outcome }
        })
        .collect()
    }
}
