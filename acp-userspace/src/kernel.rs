//! The kernel plane: refuse declared sources under penalty before accept, steer, and keep the independent ledger.
