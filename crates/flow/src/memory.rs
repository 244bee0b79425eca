//! Memory that was freed, and that the allocator keeps for the next.

use std::sync::OnceLock;

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// `give_back` is what [`give_back`] does from now on; the first one counts. For the program, which alone knows its
/// allocator.
pub fn on_give_back(give_back: fn()) {
    let _ = GIVE_BACK.set(give_back);
}

/// Gives the system back what was freed: whoever begins work that may take all of its limit finds nothing of the work
/// before beside it. Does nothing in a program that did not say how.
pub fn give_back() {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back();
    }
}
