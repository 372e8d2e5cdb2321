//! Versions of the two ends of a request.

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// True if `theirs` is a later version than `ours`. Versions are `major.minor.patch`; what cannot be
/// read is never newer.
pub fn is_newer(theirs: &str, ours: &str) -> bool {
    match (parse(theirs), parse(ours)) {
        (Some(theirs), Some(ours)) => theirs > ours,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn parse(version: &str) -> Option<[u64; 3]> {
    let plain = version.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(str::parse);
    let parsed = [parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?];
    parts.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_by_number_not_by_text() {
        assert!(is_newer("0.10.0", "0.9.9"));
        assert!(is_newer("1.0.0", "0.99.0"));
        assert!(!is_newer("0.1.0", "0.1.0"));
        assert!(!is_newer("nonsense", "0.1.0"));
        assert!(!is_newer("0.1", "0.1.0"));
    }
}
