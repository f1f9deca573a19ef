//! The six calls in order.
