//! Laws of machines (placeholder).
