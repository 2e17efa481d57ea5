//! `metadata.resourceVersion`: numbers that grow (guaranteed since Kubernetes 1.35, true long before).

/// Whether an object of version `known` is at least as new as one of version `wanted`. What is no number is compared as text.
pub fn is_at_least(known: &str, wanted: &str) -> bool {
    match (known.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(known), Ok(wanted)) => known >= wanted,
        (Ok(_) | Err(_), _) => known == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_at_least("10", "9") && is_at_least("9", "9") && !is_at_least("9", "10"));
        assert!(is_at_least("x", "x") && !is_at_least("x", "y"));
    }
}
