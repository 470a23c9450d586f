//! What an answer of `/readyz` means.

use crate::decide::Finding;

/// The finding, and what is to be told of it when it is not well.
pub(super) fn judge(status: u16, body: &[u8]) -> (Finding, Option<String>) {
    match status {
        200..=299 => (Finding::Ready, None),
        // It has no time for us now, which says nothing about readiness.
        429 => (Finding::Alive, None),
        500..=599 => {
            let checks = failed_checks(body);
            let separator = if checks.is_empty() { "" } else { ": " };
            let reason = format!("readyz says {status}{separator}{checks}");
            (Finding::Draining, Some(reason))
        }
        403 => {
            let reason = "readyz says 403: it does not know us, or nobody yet for it is starting";
            (Finding::Unsaid, Some(reason.to_owned()))
        }
        // It wants to know who asks (401) or has no /readyz (404): alive, readiness unknown.
        _ => (Finding::Ready, None),
    }
}

/// The checks that an API server lists as failed: `[-]etcd failed: reason withheld`.
fn failed_checks(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let checks: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("[-]")?.split(' ').next())
        .take(MAX_CHECKS)
        .collect();
    printable(&checks.join(", "), MAX_WORDS)
}

/// What a stranger said, fit for a log line.
pub(super) fn printable(text: &str, length: usize) -> String {
    text.chars()
        .filter(|&c| c.is_ascii_graphic() || c == ' ')
        .take(length)
        .collect()
}

const MAX_CHECKS: usize = 4;
const MAX_WORDS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_shuts_down_is_draining_and_says_why() {
        let body = b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]shutdown failed: reason withheld\nreadyz check failed\n";
        let (finding, reason) = judge(500, body);
        assert_eq!(finding, Finding::Draining);
        assert_eq!(reason.unwrap(), "readyz says 500: etcd, shutdown");
        assert_eq!(judge(503, b"").1.unwrap(), "readyz says 503");
    }

    #[test]
    fn one_that_does_not_know_us_is_not_draining() {
        for status in [200, 401, 404] {
            assert_eq!(judge(status, b"anything"), (Finding::Ready, None));
        }
        assert_eq!(judge(403, b"anything").0, Finding::Unsaid);
        assert_eq!(judge(429, b""), (Finding::Alive, None));
    }

    #[test]
    fn what_a_stranger_says_cannot_forge_log_lines() {
        let body = format!(
            "[-]\u{1b}[31mevil\u{7}\u{2028}{} failed\n",
            "x".repeat(4_000)
        );
        let reason = judge(500, body.as_bytes()).1.unwrap();
        assert!(reason.len() < 200, "{reason}");
        assert!(
            reason.chars().all(|c| c.is_ascii_graphic() || c == ' '),
            "{reason}"
        );
    }
}
