//! Owns telling what makes no sense in a field of an image. Light: what some runtime may understand is let through.

use crate::time::Time;

/// The names of Linux's signals (signal(7)) without `SIG`.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// The highest number of a signal on Linux.
const SIGNAL_MAX: u32 = 64;

pub(super) fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// Nothing that would break a line or a word.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

pub(super) fn is_user(text: &str) -> bool {
    is_word(text) && !text.starts_with(':') && text.matches(':').count() <= 1
}

pub(super) fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && is_text(text)
}

/// One part of `OS/ARCH/VARIANT`.
pub(super) fn is_platform_part(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

pub(super) fn is_time(text: &str) -> bool {
    Time::parse(text).is_ok()
}

/// `PORT[-PORT][/PROTOCOL]`.
pub(super) fn is_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let in_order = match (number(first), number(last)) {
        (Some(first), Some(last)) => 0 < first && first <= last,
        _ => false,
    };
    in_order && matches!(protocol, "tcp" | "udp" | "sctp")
}

/// `SIGTERM`, `SIGRTMIN+3`, or a number.
pub(super) fn is_signal(text: &str) -> bool {
    let number = |text: &str, max: u32| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits && text.parse().is_ok_and(|n: u32| (1..=max).contains(&n))
    };
    let Some(name) = text.strip_prefix("SIG") else {
        return number(text, SIGNAL_MAX);
    };
    let real_time = name
        .strip_prefix("RTMIN+")
        .or_else(|| name.strip_prefix("RTMAX-"));
    match real_time {
        Some(distance) => number(distance, 30),
        None => SIGNALS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_numbers_and_a_protocol() {
        for good in ["80", "80/tcp", "53/udp", "1-65535/sctp"] {
            assert!(is_port(good), "{good}");
        }
        for bad in [
            "", "0", "65536", "http", "80/", "80/TCP", "2-1", "80-", "-80", "+80", "80/tcp/",
        ] {
            assert!(!is_port(bad), "{bad}");
        }
    }

    #[test]
    fn signals_are_those_of_linux() {
        for good in ["SIGTERM", "SIGRTMIN", "SIGRTMIN+3", "SIGRTMAX-1", "9", "64"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in [
            "",
            "SIG",
            "TERM",
            "SIGterm",
            "SIGFOO",
            "0",
            "65",
            "+9",
            "SIGRTMIN+99",
            "SIGRTMIN-1",
        ] {
            assert!(!is_signal(bad), "{bad}");
        }
    }

    #[test]
    fn users_have_a_group_at_the_most() {
        for good in ["root", "0", "1000:1000", "app:"] {
            assert!(is_user(good), "{good}");
        }
        for bad in ["", ":0", "a b", "a:b:c", "a\nb"] {
            assert!(!is_user(bad), "{bad}");
        }
    }
}
