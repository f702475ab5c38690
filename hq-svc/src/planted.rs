//! Bugs that a test plants to see that they are noticed. Outside of tests and simulations there are
//! none, and nothing that asks for them.

/// Whether this bug was planted: the environment variable `TILLSYNC_PLANTED` names it.
#[cfg(any(test, feature = "simulation"))]
pub(crate) fn planted(bug: &str) -> bool {
    static BUG: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    BUG.get_or_init(|| std::env::var("TILLSYNC_PLANTED").ok()).as_deref() == Some(bug)
}

/// It was not.
#[cfg(not(any(test, feature = "simulation")))]
#[inline(always)]
pub(crate) const fn planted(_: &str) -> bool {
    false
}
