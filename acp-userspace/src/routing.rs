//! Routing: where does it go. [`Routed`] is a request ready to be written: re-framed, with the verified identity in it.
