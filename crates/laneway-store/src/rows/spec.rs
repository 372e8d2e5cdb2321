//! Rows of `specs`.

use laneway_core::launch::{LaunchSpec, TerminalSpec};
use laneway_core::os_text::OsText;

use super::{BadCell, Cells, TableRow, parsed, there};

macro_rules! spec_columns {
    () => {
        "specs.worker, specs.number, specs.argv, specs.cwd, specs.environment, specs.terminal, \
         specs.terminal_columns, specs.terminal_rows, specs.record, specs.tmux_socket, specs.tmux_session"
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
    pub(crate) tmux_socket: Option<Vec<u8>>,
    pub(crate) tmux_session: Option<String>,
}

impl TableRow for SpecRecord {
    type Record = LaunchSpec;
    const TABLE: &'static str = "specs";
    const WIDTH: usize = 11;

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
            tmux_socket: cells.take()?,
            tmux_session: cells.take()?,
        })
    }
}

impl From<&LaunchSpec> for SpecRecord {
    fn from(spec: &LaunchSpec) -> Self {
        let mut row = Self {
            worker: spec.worker.to_string(),
            number: spec.number,
            argv: serde_json::to_string(&spec.argv).expect("a list of texts is JSON"),
            cwd: spec.cwd.as_bytes().to_vec(),
            environment: spec.environment.clone(),
            terminal: String::new(),
            terminal_columns: None,
            terminal_rows: None,
            record: spec.record,
            tmux_socket: None,
            tmux_session: None,
        };
        let terminal = match &spec.terminal {
            TerminalSpec::Pty { columns, rows } => {
                (row.terminal_columns, row.terminal_rows) = (Some(*columns), Some(*rows));
                "pty"
            }
            TerminalSpec::Pipes => "pipes",
            TerminalSpec::Tmux { socket, session } => {
                (row.tmux_socket, row.tmux_session) = (Some(socket.as_bytes().to_vec()), session.clone());
                "tmux"
            }
        };
        terminal.clone_into(&mut row.terminal);
        row
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
                "tmux" => TerminalSpec::Tmux {
                    socket: OsText::from_bytes(there("tmux_socket", row.tmux_socket)?),
                    session: row.tmux_session,
                },
                other => return Err(BadCell::new("terminal", format_args!("{other:?} is none"))),
            },
        })
    }
}
