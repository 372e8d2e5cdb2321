//! Writes the description of the API: what `cargo xtask codegen` keeps as `docs/openapi.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(laneway_daemon::openapi().as_bytes())
}
