//! Rows of `specs`.

use laneway_core::launch::{LaunchSpec, TerminalSpec};
use laneway_core::os_text::OsText;

use super::{BadCell, Cells, TableRow, parsed, there};

macro_rules! spec_columns {
    () => {
        "specs.worker, specs.number, specs.argv, specs.cwd, specs.environment, specs.terminal, \
         specs.terminal_columns, specs.terminal_rows, specs.record"
    };
}
pub(crate) use spec_columns;

pub(crate) struct SpecRecord {
    pub(crate) worker: String,
    pub(crate) number: u32,
    /// A JSON list: strings, or `{"base64": …}` for what is not UTF-8.
    pub(crate) argv: String,
    pub(crate) cwd: Vec<u8>,
    pub(crate) environment: String,
    pub(crate) terminal: String,
    pub(crate) terminal_columns: Option<u16>,
    pub(crate) terminal_rows: Option<u16>,
    pub(crate) record: bool,
}

impl TableRow for SpecRecord {
    type Record = LaunchSpec;
    const TABLE: &'static str = "specs";
    const WIDTH: usize = 9;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            worker: cells.take()?,
            number: cells.take()?,
            argv: cells.take()?,
            cwd: cells.take()?,
            environment: cells.take()?,
            terminal: cells.take()?,
            terminal_columns: cells.take()?,
            terminal_rows: cells.take()?,
            record: cells.take()?,
        })
    }
}

impl From<&LaunchSpec> for SpecRecord {
    fn from(spec: &LaunchSpec) -> Self {
        let (terminal, terminal_columns, terminal_rows) = match spec.terminal {
            TerminalSpec::Pty { columns, rows } => ("pty", Some(columns), Some(rows)),
            TerminalSpec::Pipes => ("pipes", None, None),
        };
        Self {
            worker: spec.worker.to_string(),
            number: spec.number,
            argv: serde_json::to_string(&spec.argv).expect("a list of texts is JSON"),
            cwd: spec.cwd.as_bytes().to_vec(),
            environment: spec.environment.clone(),
            terminal: terminal.to_owned(),
            terminal_columns,
            terminal_rows,
            record: spec.record,
        }
    }
}

impl TryFrom<SpecRecord> for LaunchSpec {
    type Error = BadCell;
    fn try_from(row: SpecRecord) -> Result<Self, BadCell> {
        Ok(Self {
            worker: parsed("worker", &row.worker)?,
            number: row.number,
            argv: serde_json::from_str(&row.argv).map_err(|error| BadCell::new("argv", error))?,
            cwd: OsText::from_bytes(row.cwd),
            environment: row.environment,
            record: row.record,
            terminal: match row.terminal.as_str() {
                "pty" => TerminalSpec::Pty {
                    columns: there("terminal_columns", row.terminal_columns)?,
                    rows: there("terminal_rows", row.terminal_rows)?,
                },
                "pipes" => TerminalSpec::Pipes,
                other => return Err(BadCell::new("terminal", format_args!("{other:?} is none"))),
            },
        })
    }
}
