//! Rows: what is compared, what is aimed at, and whether it was met.

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde_json::{Value, json};

use super::measure::statistics::number;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// One line of the table before it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// `what/with-what`; unique.
    pub(crate) name: String,
    /// What `ours` and `against` are counted in.
    pub(crate) unit: &'static str,
    /// What is aimed at.
    pub(crate) target: Target,
    /// It can only be measured where there is tmux.
    pub(crate) needs_tmux: bool,
}

/// What is aimed at. All but ratios are in the row's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// ours / against is at least this: more is better.
    RatioAtLeast(f64),
    /// ours / against is at most this: less is better.
    RatioAtMost(f64),
    /// ours − against is at most this; the ratio only informs.
    MoreByAtMost(f64),
    /// ours is at most this; `against` only informs.
    AtMost(f64),
    /// Nothing: the row informs.
    Informs,
}

impl Target {
    fn text(self, unit: &str) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("ratio ≥ {least}"),
            Self::RatioAtMost(most) => format!("ratio ≤ {most}"),
            Self::MoreByAtMost(most) => format!("≤ {most} {unit} more"),
            Self::AtMost(most) => format!("≤ {most} {unit}"),
            Self::Informs => "–".to_owned(),
        }
    }

    fn is_met(self, figure: &Figure) -> Option<bool> {
        match self {
            Self::RatioAtLeast(least) => Some(figure.ratio()? >= least),
            Self::RatioAtMost(most) => Some(figure.ratio()? <= most),
            Self::MoreByAtMost(most) => Some(figure.ours - figure.against? <= most),
            Self::AtMost(most) => Some(figure.ours <= most),
            Self::Informs => None,
        }
    }
}

/// What was measured for a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// Laneway's.
    pub(crate) ours: f64,
    /// The other's, or Laneway's own at rest.
    pub(crate) against: Option<f64>,
    /// What a reader must know about it.
    pub(crate) note: Option<String>,
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        self.against.filter(|against| *against > 0.0).map(|against| self.ours / against)
    }
}

/// A row with its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What was to be measured.
    pub(crate) row: Row,
    /// The figures, or why there are none.
    pub(crate) outcome: Result<Figure, String>,
}

impl Line {
    /// It was measured and misses no target.
    pub(crate) fn is_fine(&self) -> bool {
        self.outcome.is_ok() && self.ok() != Some(false)
    }

    /// Whether the target is met; none where there is no target.
    fn ok(&self) -> Option<bool> {
        match &self.outcome {
            Ok(figure) => match self.row.target {
                Target::Informs => None,
                target => Some(target.is_met(figure).unwrap_or(false)),
            },
            Err(_) => Some(false),
        }
    }

    fn to_json(&self) -> Value {
        let figure = self.outcome.as_ref().ok();
        let mut line = json!({
            "name": self.row.name,
            "ours": figure.map(|figure| figure.ours),
            "against": figure.and_then(|figure| figure.against),
            "unit": self.row.unit,
            "ratio": figure.and_then(Figure::ratio),
            "target": self.row.target.text(self.row.unit),
            "ok": self.ok(),
        });
        if let Some(note) = figure.and_then(|figure| figure.note.as_ref()) {
            line["note"] = json!(note);
        }
        if let Err(error) = &self.outcome {
            line["error"] = json!(error);
        }
        line
    }

    fn cells(&self) -> [String; 7] {
        let target = self.row.target.text(self.row.unit);
        let (name, unit) = (self.row.name.clone(), self.row.unit.to_owned());
        let word = match self.ok() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        match &self.outcome {
            Ok(figure) => [
                name,
                number(figure.ours),
                figure.against.map(number).unwrap_or_default(),
                unit,
                figure.ratio().map(number).unwrap_or_default(),
                target,
                word.to_owned(),
            ],
            Err(_) => [name, "error".to_owned(), String::new(), unit, String::new(), target, word.to_owned()],
        }
    }
}

/// One JSON document on standard output.
pub(crate) fn print_json(lines: &[Line], remarks: &[String]) -> Result<()> {
    let rows: Vec<Value> = lines.iter().map(Line::to_json).collect();
    anstream::println!("{}", serde_json::to_string_pretty(&json!({ "rows": rows, "remarks": remarks }))?);
    Ok(())
}

/// The table on standard output.
pub(crate) fn print(lines: &[Line], remarks: &[String]) {
    let heads = ["name", "ours", "against", "unit", "ratio", "target", "ok"].map(str::to_owned);
    let cells: Vec<[String; 7]> = lines.iter().map(Line::cells).collect();
    let mut widths = [0; 7];
    for row in std::iter::once(&heads).chain(&cells) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    anstream::println!("{BOLD}{}{BOLD:#}", joined(&heads, &widths));
    for (line, cells) in lines.iter().zip(&cells) {
        let style = match line.ok() {
            Some(true) => GOOD,
            Some(false) => BAD,
            None => Style::new(),
        };
        let text = joined(cells, &widths);
        let (before, verdict) = text.split_at(text.len() - cells[6].len());
        anstream::println!("{before}{style}{verdict}{style:#}");
        if let Err(error) = &line.outcome {
            anstream::println!("  {BAD}{error}{BAD:#}");
        }
    }
    anstream::println!();
    for line in lines {
        if let Ok(Figure { note: Some(note), .. }) = &line.outcome {
            anstream::println!("{DIM}{:<width$}  {note}{DIM:#}", line.row.name, width = widths[0]);
        }
    }
    let n_missed = lines.iter().filter(|line| !line.is_fine()).count();
    let n_aimed = lines.iter().filter(|line| line.ok().is_some()).count();
    anstream::println!("\n{} of {n_aimed} targets met", n_aimed - n_missed);
    for remark in remarks {
        anstream::println!("{remark}");
    }
}

/// Numbers to the right, words to the left.
fn joined(cells: &[String; 7], widths: &[usize; 7]) -> String {
    let mut text = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let space = " ".repeat(width.saturating_sub(cell.chars().count()));
        let is_number = matches!(index, 1 | 2 | 4);
        let (before, after) = if is_number { (space.as_str(), "") } else { ("", space.as_str()) };
        text.push_str(before);
        text.push_str(cell);
        if index < 6 {
            text.push_str(after);
            text.push_str("  ");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(target: Target, ours: f64, against: Option<f64>) -> Line {
        let row = Row { name: "a/b".to_owned(), unit: "ms", target, needs_tmux: false };
        Line { row, outcome: Ok(Figure { ours, against, note: None }) }
    }

    #[test]
    fn a_verdict_follows_the_kind_of_its_target() {
        for (target, ours, against, ok) in [
            (Target::RatioAtLeast(0.85), 85.0, Some(100.0), Some(true)),
            (Target::RatioAtLeast(0.85), 84.0, Some(100.0), Some(false)),
            (Target::RatioAtMost(1.5), 3.0, Some(2.0), Some(true)),
            (Target::RatioAtMost(1.5), 3.1, Some(2.0), Some(false)),
            (Target::RatioAtMost(1.5), 3.1, None, Some(false)),
            (Target::MoreByAtMost(3.0), 3.5, Some(0.5), Some(true)),
            (Target::MoreByAtMost(3.0), 3.6, Some(0.5), Some(false)),
            (Target::AtMost(1.5), 1.5, Some(0.1), Some(true)),
            (Target::AtMost(1.5), 1.6, None, Some(false)),
            (Target::Informs, 9.0, Some(1.0), None),
        ] {
            assert_eq!(line(target, ours, against).ok(), ok, "{target:?} {ours} {against:?}");
        }
    }

    #[test]
    fn a_row_that_could_not_be_measured_misses_its_target() {
        let mut failed = line(Target::Informs, 0.0, None);
        failed.outcome = Err("broken".to_owned());
        assert!(!failed.is_fine());
        assert_eq!(failed.to_json()["error"], "broken");
    }

    #[test]
    fn json_has_the_fields_that_were_promised() {
        let value = line(Target::MoreByAtMost(3.0), 2.0, Some(0.5)).to_json();
        let expected = json!({
            "name": "a/b", "ours": 2.0, "against": 0.5, "unit": "ms", "ratio": 4.0,
            "target": "≤ 3 ms more", "ok": true,
        });
        assert_eq!(value, expected);
    }
}
