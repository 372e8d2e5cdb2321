//! The dependencies: their licences are on the list of `deny.toml`, and there are not too many of them.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell;

/// The most packages in `Cargo.lock`. Each one is code that somebody has to trust.
const MAX_PACKAGES: usize = 350;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Checks both.
pub(crate) fn check() -> Result<()> {
    shell::heading("licences and the number of packages");
    let deny = fs::read_to_string(shell::root().join("deny.toml")).context("deny.toml")?;
    let allowed = toml::from_str::<Deny>(&deny).context("deny.toml")?.licenses.allow;
    let output = shell::cargo().args(["metadata", "--locked", "--format-version", "1"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(|license| fits(license, &allowed)))
        .map(|package| {
            format!("{} {} ({})", package.name, package.version, package.license.as_deref().unwrap_or("none"))
        })
        .collect();
    if !refused.is_empty() {
        bail!("licences that are not on the list of deny.toml: {}", refused.join(", "));
    }
    let n_packages = metadata.packages.len();
    if n_packages > MAX_PACKAGES {
        bail!("Cargo.lock has {n_packages} packages, more than {MAX_PACKAGES}");
    }
    shell::remark(&format!("{n_packages} packages, every licence on the list"));
    Ok(())
}

/// Whether an SPDX expression can be met with the allowed licences. `OR` binds weaker than `AND`; `WITH` belongs
/// to the licence before it. Parentheses only ever group one level here.
fn fits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut depth = 0_usize;
    for (operator, all) in [(" OR ", false), (" AND ", true)] {
        let mut parts = Vec::new();
        let mut start = 0;
        for (at, character) in expression.char_indices() {
            match character {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ if depth == 0 && at >= start && expression[at..].starts_with(operator) => {
                    parts.push(&expression[start..at]);
                    start = at + operator.len();
                }
                _ => {}
            }
        }
        parts.push(&expression[start..]);
        if parts.len() > 1 {
            return if all {
                parts.iter().all(|part| fits(part, allowed))
            } else {
                parts.iter().any(|part| fits(part, allowed))
            };
        }
    }
    let one = expression.trim();
    match one.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => fits(inner, allowed),
        None => allowed.contains(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_as_they_are_meant() {
        let allowed: BTreeSet<String> = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
        assert!(fits("MIT OR GPL-3.0", &allowed));
        assert!(fits("MIT/Apache-2.0", &allowed));
        assert!(fits("(MIT OR GPL-3.0) AND Unicode-3.0", &allowed));
        assert!(!fits("MIT AND GPL-3.0", &allowed));
        assert!(!fits("GPL-3.0", &allowed));
        assert!(!fits("(MIT OR Apache-2.0) AND GPL-3.0", &allowed));
    }
}
