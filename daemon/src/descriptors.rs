//! The limit of open files. The usual soft limit is 1024, which is meant for
//! programs that use `select`.

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Raises the limit as far as this process may. Gives the number of descriptors
/// that may be open from now on; `None`: as many as there is memory for.
#[must_use]
pub fn raise_limit() -> Option<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit of open files");
        limit = getrlimit(Resource::Nofile);
    }
    limit.current.and_then(|limit| usize::try_from(limit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let allowed = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(allowed.map(|count| count as u64), limit.maximum);
    }
}
