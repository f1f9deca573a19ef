//! Map ABI and decision functions of the kernel plane.
