//! Facts cross module boundaries as whole values; who follows one is woken only when it has become another.

/// Puts `new` in the place of `known`; whether it is another. For `watch::Sender::send_if_modified`.
pub fn replace<T: PartialEq>(known: &mut T, new: T) -> bool {
    let changed = *known != new;
    if changed {
        *known = new;
    }
    changed
}
