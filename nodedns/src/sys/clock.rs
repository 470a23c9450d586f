//! Whether somebody keeps this machine's clock right, as the kernel was told.

/// Whether the kernel says that its clock is synchronised (`adjtimex(2)`); nothing
/// when it may not be asked. No right is needed: nothing is adjusted.
pub(crate) fn is_synchronized() -> Option<bool> {
    // SAFETY: all fields are integers, for which zeroes are good values; no `modes`: nothing is set.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is a valid timex that lives for the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    if answer < 0 {
        return None;
    }
    Some(answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_the_same_twice() {
        assert_eq!(is_synchronized(), is_synchronized());
    }
}
