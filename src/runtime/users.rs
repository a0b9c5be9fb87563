//! Owns who `Config.User` means, by the image's own `/etc/passwd` and `/etc/group` (image-spec config.md, "User", and
//! conversion.md, "Config.User").
//!
//! A line that does not have its numbers is none, whoever it names: to take nothing for the number 0 would make root
//! of somebody.

use super::ConvertError;
use crate::path::escape;

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
pub const USER_TABLE_MAX: u64 = 16 << 20;

/// The most additional groups that Linux gives a process (NGROUPS_MAX).
const GROUPS_MAX: usize = 65_536;

/// An image's tables of users and groups, as far as it has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Accounts {
    /// The bytes of `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// The bytes of `/etc/group`.
    pub group: Option<Vec<u8>>,
}

/// Who a container runs as.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In the order of `/etc/group`, each once.
    pub(super) additional: Vec<u32>,
    /// Where a line of `/etc/passwd` says it.
    pub(super) home: Option<String>,
}

/// A user or a group, as `Config.User` has it.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Id(u32),
    Name(&'a [u8]),
}

/// A line of `/etc/passwd`.
#[derive(Clone, Copy)]
struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// A line of `/etc/group`.
#[derive(Clone, Copy)]
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl Accounts {
    /// Finds who `text` means: nothing for root, `user`, `uid`, `user:group`, `uid:gid`, or one of each.
    pub(super) fn find(&self, text: &str) -> Result<Account, ConvertError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let named = match user {
            "" => Wanted::Id(0),
            _ => wanted(user, "user")?,
        };
        let line = self.users().find(|line| named.is(line.name, line.uid));
        let mut account = match (named, line) {
            (_, Some(line)) => Account {
                uid: line.uid,
                gid: line.gid,
                additional: Vec::new(),
                home: home(&line)?,
            },
            (Wanted::Id(uid), None) => Account {
                uid,
                ..Account::default()
            },
            (Wanted::Name(_), None) => return Err(self.no_user(user)),
        };
        match (group, line) {
            (Some(group), _) => account.gid = self.gid_of(group)?,
            // A number has the user's own group, and no further ones; the default user has all.
            (None, Some(line)) if user.is_empty() || matches!(named, Wanted::Name(_)) => {
                account.additional = self.groups_of(line.name)?;
            }
            (None, _) => {}
        }
        Ok(account)
    }

    fn gid_of(&self, group: &str) -> Result<u32, ConvertError> {
        match wanted(group, "group")? {
            Wanted::Id(gid) => Ok(gid),
            named @ Wanted::Name(_) => self
                .groups()
                .find(|line| named.is(line.name, line.gid))
                .map(|line| line.gid)
                .ok_or_else(|| self.no_group(group)),
        }
    }

    fn groups_of(&self, user: &[u8]) -> Result<Vec<u32>, ConvertError> {
        let mut seen = std::collections::HashSet::new();
        let is_in = |line: &Group<'_>| line.members.split(|b| *b == b',').any(|name| name == user);
        let groups = self.groups().filter(is_in).map(|line| line.gid);
        let groups: Vec<u32> = groups.filter(|gid| seen.insert(*gid)).collect();
        if groups.len() > GROUPS_MAX {
            return Err(ConvertError::new(format!(
                "the user '{}' is in {} groups, more than {GROUPS_MAX}",
                escape(user),
                groups.len()
            )));
        }
        Ok(groups)
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        lines(self.passwd.as_deref()).filter_map(User::parse)
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        lines(self.group.as_deref()).filter_map(Group::parse)
    }

    fn no_user(&self, user: &str) -> ConvertError {
        let place = table("/etc/passwd", self.passwd.as_deref());
        ConvertError::new(format!("its user '{user}' is not in {place}"))
    }

    fn no_group(&self, group: &str) -> ConvertError {
        let place = table("/etc/group", self.group.as_deref());
        ConvertError::new(format!("its group '{group}' is not in {place}"))
    }
}

fn table(path: &str, bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(_) => format!("the image's {path}"),
        None => format!("{path}, which the image does not have"),
    }
}

fn lines(table: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let lines = table.unwrap_or_default().split(|b| *b == b'\n');
    lines.filter(|line| !line.starts_with(b"#"))
}

/// Reads a user or a group: what is all digits is a number, whatever the tables name so.
fn wanted<'a>(text: &'a str, what: &str) -> Result<Wanted<'a>, ConvertError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Wanted::Name(text.as_bytes()));
    }
    let id = id(text.as_bytes()).ok_or_else(|| {
        let last = u32::MAX - 1;
        ConvertError::new(format!("its {what} {text} is over {last}, the last id"))
    })?;
    Ok(Wanted::Id(id))
}

/// Reads an id: digits alone, and not 4294967295, which system calls take for "leave as it is".
fn id(digits: &[u8]) -> Option<u32> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all)?;
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn home(user: &User<'_>) -> Result<Option<String>, ConvertError> {
    let name = || escape(user.name);
    match std::str::from_utf8(user.home) {
        Ok("") => Ok(None),
        Ok(home) if home.contains('\0') => Err(ConvertError::new(format!(
            "the home of '{}' in the image's /etc/passwd has a NUL in it",
            name()
        ))),
        Ok(home) => Ok(Some(home.to_owned())),
        Err(_) => Err(ConvertError::new(format!(
            "the home of '{}' in the image's /etc/passwd is not UTF-8",
            name()
        ))),
    }
}

impl Wanted<'_> {
    fn is(self, name: &[u8], id: u32) -> bool {
        match self {
            Self::Id(wanted) => wanted == id,
            Self::Name(wanted) => wanted == name,
        }
    }
}

impl<'a> User<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (id(fields.next()?)?, id(fields.next()?)?);
        let (_comment, home) = (fields.next(), fields.next().unwrap_or_default());
        Some(Self {
            name,
            uid,
            gid,
            home,
        })
    }
}

impl<'a> Group<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = id(fields.next()?)?;
        let members = fields.next().unwrap_or_default();
        Some(Self { name, gid, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        daemon:x:1:1::/:/bin/false\n\
        \n\
        # a comment: with colons:1:2\n\
        broken:x:nine:9::/broken:\n\
        short:x:7\n\
        ada:x:1000:1001:Ada,,,:/home/ada:/bin/sh\n\
        twice:x:1000:7::/second:\n\
        ada:x:5:5::/other:\n\
        homeless:x:12:12\n\
        123:x:77:77::/digits:\n\
        last:x:4294967294:4294967294::/last:\n\
        over:x:4294967295:0::/over:\n\
        +::::::";

    const GROUP: &str = "root:x:0:root\n\
        bin:x:1:root,bin,daemon\n\
        ada:x:1001:\n\
        video:x:44:ada,other\n\
        audio:x:29:other,ada\n\
        again:x:44:ada\n\
        nearly:x:50:adam,xada\n\
        broken:x:x:ada\n\
        over:x:4294967296:ada\n\
        short:x:9\n";

    fn accounts() -> Accounts {
        Accounts {
            passwd: Some(PASSWD.into()),
            group: Some(GROUP.into()),
        }
    }

    fn account(uid: u32, gid: u32, additional: &[u32], home: &str) -> Account {
        Account {
            uid,
            gid,
            additional: additional.to_vec(),
            home: Some(home.to_owned()).filter(|home| !home.is_empty()),
        }
    }

    #[test]
    fn every_spelling_of_a_user_means_what_the_tables_say() {
        for (text, wanted) in [
            // Nobody is said: root, with root's groups.
            ("", account(0, 0, &[0, 1], "/root")),
            ("root", account(0, 0, &[0, 1], "/root")),
            // The first line of a name, and all groups that name it, each once.
            ("ada", account(1000, 1001, &[44, 29], "/home/ada")),
            ("ada:", account(1000, 1001, &[44, 29], "/home/ada")),
            // A number: its line's group and home, no further groups.
            ("1000", account(1000, 1001, &[], "/home/ada")),
            ("01000", account(1000, 1001, &[], "/home/ada")),
            ("0", account(0, 0, &[], "/root")),
            // A group that is said is the only one.
            ("ada:video", account(1000, 44, &[], "/home/ada")),
            ("ada:5000", account(1000, 5000, &[], "/home/ada")),
            ("1000:video", account(1000, 44, &[], "/home/ada")),
            ("1000:6", account(1000, 6, &[], "/home/ada")),
            (":video", account(0, 44, &[], "/root")),
            ("root:short", account(0, 9, &[], "/root")),
            // Numbers that the tables do not have.
            ("5000", account(5000, 0, &[], "")),
            ("5000:6000", account(5000, 6000, &[], "")),
            // All digits are a number, even where a user is called so.
            ("123", account(123, 0, &[], "")),
            ("homeless", account(12, 12, &[], "")),
            ("last", account(4_294_967_294, 4_294_967_294, &[], "/last")),
            ("4294967294:0", account(4_294_967_294, 0, &[], "/last")),
        ] {
            assert_eq!(accounts().find(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn who_is_not_there_is_an_error_that_says_where_was_looked() {
        for (text, why) in [
            ("eve", "its user 'eve' is not in the image's /etc/passwd"),
            ("Ada", "its user 'Ada' is not in"),
            (" ada", "its user ' ada' is not in"),
            ("-1", "its user '-1' is not in"),
            ("+5", "its user '+5' is not in"),
            // Lines whose numbers are none name nobody.
            ("broken", "its user 'broken' is not in"),
            ("short", "its user 'short' is not in"),
            ("over", "its user 'over' is not in"),
            ("+", "its user '+' is not in"),
            ("# a comment", "its user '# a comment' is not in"),
            (
                "ada:eve",
                "its group 'eve' is not in the image's /etc/group",
            ),
            ("1000:broken", "its group 'broken' is not in"),
            ("1000:over", "its group 'over' is not in"),
            ("ada:video:x", "its group 'video:x' is not in"),
            ("4294967295", "its user 4294967295 is over 4294967294"),
            ("4294967296", "its user 4294967296 is over"),
            ("99999999999999999999999", "is over 4294967294, the last id"),
            ("0:4294967295", "its group 4294967295 is over"),
        ] {
            let said = accounts().find(text).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn an_image_without_tables_has_numbers_only() {
        let none = Accounts::default();
        assert_eq!(none.find("").unwrap(), account(0, 0, &[], ""));
        assert_eq!(none.find("7:8").unwrap(), account(7, 8, &[], ""));
        assert_eq!(
            none.find("ada").unwrap_err().to_string(),
            "its user 'ada' is not in /etc/passwd, which the image does not have"
        );
        assert_eq!(
            none.find("7:ada").unwrap_err().to_string(),
            "its group 'ada' is not in /etc/group, which the image does not have"
        );
    }

    #[test]
    fn a_home_that_no_json_can_hold_is_refused_only_for_its_user() {
        let accounts = Accounts {
            passwd: Some(b"ada:x:1:1::/h\xff:\nbob:x:2:2::/h\0:\neve:x:3:3::/h:".to_vec()),
            group: None,
        };
        assert!(
            accounts
                .find("ada")
                .unwrap_err()
                .to_string()
                .contains("not UTF-8")
        );
        assert!(accounts.find("2").unwrap_err().to_string().contains("NUL"));
        assert_eq!(accounts.find("eve").unwrap(), account(3, 3, &[], "/h"));
        assert_eq!(accounts.find("4").unwrap(), account(4, 0, &[], ""));
    }

    #[test]
    fn more_groups_than_a_process_can_have_are_refused() {
        let groups = |count: u32| Accounts {
            passwd: Some(b"ada:x:1:1".to_vec()),
            group: Some(
                (0..count)
                    .map(|gid| format!("g:x:{gid}:ada\n"))
                    .collect::<String>()
                    .into(),
            ),
        };
        assert_eq!(groups(65_536).find("ada").unwrap().additional.len(), 65_536);
        let said = groups(65_537).find("ada").unwrap_err().to_string();
        assert_eq!(said, "the user 'ada' is in 65537 groups, more than 65536");
    }
}
