//! The login name of a user of this machine.

use std::fs;

use laneway_core::name::Name;

/// Where the system keeps its users.
const PASSWD: &str = "/etc/passwd";

/// The login name of a user, as a name of ours; `uid-N` where the machine's own list does not have him.
pub(crate) fn name_of(uid: u32) -> Name {
    fs::read(PASSWD)
        .ok()
        .and_then(|users| find(&users, uid))
        .unwrap_or_else(|| format!("uid-{uid}").parse().expect("letters, a dash and digits are a name"))
}

fn find(users: &[u8], uid: u32) -> Option<Name> {
    let uid = uid.to_string();
    users.split(|byte| *byte == b'\n').find_map(|line| {
        // `name:password:uid:…`
        let mut fields = line.split(|byte| *byte == b':');
        let (name, uid_there) = (fields.next()?, fields.nth(1)?);
        let is_meant = uid_there == uid.as_bytes();
        is_meant.then(|| Name::from_free_text(&String::from_utf8_lossy(name))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_his_number_alone() {
        let users = b"root:x:0:0:root:/root:/bin/sh\n\nodd\nAnna.B:x:1000:0:1001:/:/\n-_-:x:5:5::/:/\n";
        let name = |uid| find(users, uid).map(|name| name.to_string());
        assert_eq!(name(0).as_deref(), Some("root"));
        assert_eq!(name(1000).as_deref(), Some("anna.b"), "as names are spelled");
        assert_eq!((name(1001), name(5)), (None, None));
        assert_eq!(name_of(u32::MAX).as_str(), "uid-4294967295");
    }
}
